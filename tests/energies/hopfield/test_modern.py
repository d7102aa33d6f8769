"""The modern Hopfield network: its constants, its β, and what it is read out with."""

import copy
import math

import pytest
import torch
from torch import nn

import isinglass as ig
from isinglass.analysis.metastability import metastable_size
from isinglass.energies import ContinuousHopfield, HeteroMemory
from isinglass.energies.hopfield import continuous, modern
from isinglass.errors import DomainError, ParameterError, ShapeError
from tests.cases import double
from tests.seeds import seeded


def paper_energy(patterns, state, beta):
    """Ramsauer et al. 2020, Eq. 1, term by term."""
    lse = sum(torch.exp(beta * (x * state).sum(-1)) for x in patterns).log() / beta
    largest = max(float(x.norm()) for x in patterns)
    return -lse + state.square().sum(-1) / 2 + math.log(len(patterns)) / beta + largest**2 / 2


@pytest.mark.parametrize("beta", [0.05, 1.0, 20.0])
def test_energy_with_the_constants_of_the_paper(beta):
    patterns, states = double(7, 4), double(50, 4, seed=1)
    memory = ig.ModernHopfield(patterns, beta, constants=True)
    torch.testing.assert_close(memory(states), paper_energy(patterns, states, beta))
    bare = ig.ModernHopfield(patterns, beta)
    torch.testing.assert_close(bare(states) + bare.offset, memory(states))
    torch.testing.assert_close(memory.recall(states).state, bare.recall(states).state)


MEMORIES = {
    "softmax": lambda x, beta: ig.ModernHopfield(x, beta, constants=True),
    "entmax": lambda x, beta: ig.SparseHopfield(x, beta, 1.5, constants=True),
    "sparsemax": lambda x, beta: ig.SparseHopfield(x, beta, 2.0, constants=True),
    "subsets": lambda x, beta: ig.SubsetHopfield(x, beta, 3, constants=True),
}


@pytest.mark.parametrize("name", MEMORIES)
@pytest.mark.parametrize("beta", [0.1, 1.0, 30.0])
def test_energy_is_between_zero_and_twice_the_square(name, beta):
    """0 ≤ E ≤ 2M² for |ξ| ≤ M: in the ball, on its sphere, and in the hull of the patterns."""
    patterns = double(9, 5) * torch.linspace(0.2, 2.0, 9, dtype=torch.float64).unsqueeze(-1)
    memory = MEMORIES[name](patterns, beta)
    largest = float(patterns.norm(dim=-1).max())
    on_sphere = largest * nn.functional.normalize(double(300, 5, seed=1), dim=-1)
    inside = on_sphere * torch.rand(300, 1, generator=seeded(2)).double()
    hull = torch.softmax(double(300, 9, seed=3, scale=3.0), -1) @ patterns
    states = torch.cat([on_sphere, inside, hull, patterns, torch.zeros(1, 5).double()])
    energy = memory(states)
    assert (energy >= -1e-12).all()
    assert (energy <= 2 * largest**2 + 1e-12).all()
    outside = memory(100 * on_sphere)
    assert (outside > 2 * largest**2).all()  # the bound means something
    assert (memory.recall(states).energy <= energy + 1e-12).all()


def test_bounds_are_reached():
    """One pattern: E = ½|ξ − x|², zero at the pattern and 2M² opposite to it."""
    pattern = double(1, 4)
    memory = ig.ModernHopfield(pattern, 3.0, constants=True)
    torch.testing.assert_close(memory(pattern), torch.zeros(1).double(), atol=1e-12, rtol=0)
    torch.testing.assert_close(memory(-pattern), 2 * pattern.square().sum(-1))


def test_offset_is_differentiable():
    patterns = nn.Parameter(double(5, 3))

    def offset(x, log_beta):
        memory = ig.ModernHopfield(nn.Parameter(x), 2.0, learn_beta=True)
        return torch.func.functional_call(
            Offset(memory), {"memory.patterns": x, "memory.log_beta": log_beta}, ()
        )

    class Offset(nn.Module):
        def __init__(self, memory):
            super().__init__()
            self.memory = memory

        def forward(self):
            return self.memory.offset

    assert torch.autograd.gradcheck(offset, (patterns, torch.tensor(0.7).double().requires_grad_()))


BUILDERS = {
    "softmax": ig.ModernHopfield,
    "entmax": ig.SparseHopfield,
    "subsets": ig.SubsetHopfield,
}


@pytest.mark.parametrize("name", BUILDERS)
def test_beta_is_learned_through_every_door(name):
    """dE/d(log β) and the gradient through a step are the finite differences."""
    memory = BUILDERS[name](double(6, 3), 1.3, learn_beta=True)
    assert [n for n, _ in memory.named_parameters()] == ["log_beta"]
    state, step = double(4, 3, seed=1), 1e-6
    doors = {
        "forward": memory,
        "cccp_update": memory.cccp_update,
        "sweep": lambda s: memory.sweep(s, 0.0) if name == "softmax" else memory.cccp_update(s),
        "read": lambda s: memory.read(s, double(6, 2, seed=2)),
    }
    for door, call in doors.items():
        weights = double(*call(state).shape, seed=3)
        memory.log_beta.grad = None
        (weights * call(state)).sum().backward()
        ends = []
        for sign in (1, -1):
            memory.beta = math.exp(math.log(1.3) + sign * step)
            ends.append(float((weights * call(state)).sum().detach()))
        memory.beta = 1.3
        expected = (ends[0] - ends[1]) / (2 * step)
        assert memory.log_beta.grad is not None
        assert float(memory.log_beta.grad) == pytest.approx(expected, rel=1e-5, abs=1e-8), door
        assert abs(expected) > 1e-4, door


def test_the_kept_softmax_follows_every_change(tmp_path):
    """Of β and of the patterns, by whatever door they change; copies share nothing."""
    memory = ig.ModernHopfield(double(6, 3), beta=1.3)
    state = double(4, 3, seed=1)

    def step(patterns, beta):
        return torch.softmax(beta * state @ patterns.mT, -1) @ patterns

    assert memory.hidden is memory.hidden  # kept while nothing changes
    torch.testing.assert_close(memory.cccp_update(state), step(memory.patterns, 1.3))
    other = copy.deepcopy(memory)
    memory.beta = 0.4
    torch.testing.assert_close(memory.cccp_update(state), step(memory.patterns, 0.4))
    torch.testing.assert_close(other.cccp_update(state), step(memory.patterns, 1.3))
    memory.patterns = double(9, 3, seed=2)
    torch.testing.assert_close(memory.cccp_update(state), step(double(9, 3, seed=2), 0.4))
    with pytest.warns(UserWarning, match="holds no beta"):  # of an older version
        other.load_state_dict({"patterns": double(6, 3, seed=3)})
    torch.testing.assert_close(other.cccp_update(state), step(double(6, 3, seed=3), 1.3))
    single = copy.deepcopy(other).float()
    found = single.cccp_update(state.float())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), other.cccp_update(state), atol=1e-5, rtol=1e-5)


def test_learning_keeps_beta_above_zero():
    """Steps that would carry β itself below zero."""
    memory = ig.ModernHopfield(double(5, 3), beta=0.5, learn_beta=True)
    rate = torch.optim.SGD(memory.parameters(), lr=3.0)
    for _ in range(50):
        rate.zero_grad()
        memory.beta.backward()
        rate.step()
    assert 0 < memory.beta.item() < 0.05


def test_learned_beta_is_read_set_saved_and_moved(tmp_path):
    memory = ig.ModernHopfield(double(4, 3), beta=2.5, learn_beta=True)
    assert memory.beta.ndim == 0
    assert memory.beta.item() == pytest.approx(2.5, rel=1e-15)
    assert "learn_beta=True" in repr(memory)
    memory.beta = 4.0
    assert float(memory.log_beta.detach()) == pytest.approx(math.log(4.0))
    ig.save(memory, tmp_path / "memory.safetensors")
    copy = ig.load(tmp_path / "memory.safetensors")
    assert isinstance(copy, ig.ModernHopfield)
    assert copy.beta.item() == memory.beta.item()
    assert copy.log_beta.requires_grad
    fixed = ig.ModernHopfield(double(4, 3), beta=4.0)
    torch.testing.assert_close(copy(double(2, 3)), fixed(double(2, 3)))
    assert memory.float().beta.dtype == torch.float32
    assert isinstance(fixed.beta, float)


def test_temperature_of_a_learned_beta():
    """T = 1/(mβ) with β read from the memory, as for a fixed one."""
    one, other = (ig.ModernHopfield(double(4, 3), 1.7, learn_beta=flag) for flag in (True, False))
    draws = [
        memory.sweep(
            double(5, 3),
            1 / (3 * float(torch.as_tensor(memory.beta).detach())),
            seeded(0),
        )
        for memory in (one, other)
    ]
    torch.testing.assert_close(*draws)
    with pytest.raises(ParameterError, match="whole m"):
        one.sweep(double(5, 3), 0.3)


def test_a_beta_of_each_member_of_an_ensemble():
    """vmap over β: what a stack of memories computes one by one."""
    memory = ig.ModernHopfield(double(4, 3), learn_beta=True)
    betas, state = torch.tensor([0.5, 2.0, 8.0]).double(), double(5, 3, seed=1)

    def energy(log_beta):
        return torch.func.functional_call(memory, {"log_beta": log_beta}, (state,))

    expected = [ig.ModernHopfield(double(4, 3), float(beta))(state) for beta in betas]
    torch.testing.assert_close(torch.vmap(energy)(betas.log()), torch.stack(expected))


def test_association_is_the_softmax_and_makes_the_step():
    patterns, states = double(6, 3), double(2, 4, 3, seed=1)
    memory = ig.ModernHopfield(patterns, 1.5)
    weights = memory.association(states)
    torch.testing.assert_close(weights, torch.softmax(1.5 * states @ patterns.T, -1))
    torch.testing.assert_close(weights @ patterns, memory.cccp_update(states))
    torch.testing.assert_close(memory.sweep(states, 0.0), memory.cccp_update(states))
    assert metastable_size(weights).shape == (2, 4)
    assert not memory.retrieves_exactly(1000 * patterns).any()  # softmax never does


def test_a_subclass_needs_two_methods():
    """Fenchel's definition of the potential gives the log-sum-exp."""

    class Derived(ContinuousHopfield):
        def weigh(self, scores):
            return torch.softmax(self.beta * scores, -1)

        def negentropy(self, weights):
            return (weights * weights.log()).sum(-1)

    one, other = Derived(double(5, 3), 2.0), ig.ModernHopfield(double(5, 3), 2.0)
    states = double(7, 3, seed=1)
    torch.testing.assert_close(one(states), other(states))
    torch.testing.assert_close(one.offset, other.offset)
    torch.testing.assert_close(ig.Energy.grad(one, states), other.grad(states))


@pytest.mark.parametrize("kind", BUILDERS.values())
@pytest.mark.parametrize(
    "beta",
    [0.0, -1.0, math.nan, math.inf, "8", None, torch.ones(2), torch.tensor(-1.0),
     torch.tensor(math.nan)],
    ids=str,
)  # fmt: skip
def test_bad_betas(unannotated, kind, beta):
    for learn_beta in (False, True):
        with pytest.raises(ParameterError, match="beta"):
            kind(double(4, 3), beta, learn_beta=learn_beta)
    memory = kind(double(4, 3), learn_beta=True)
    with pytest.raises(ParameterError, match="beta"):
        memory.beta = beta
    assert memory.beta.item() == 1.0


def test_a_beta_that_would_lose_its_gradient_is_refused(unannotated):
    with pytest.raises(ParameterError, match="learn_beta=True"):
        ig.ModernHopfield(double(4, 3), nn.Parameter(torch.tensor(2.0)))
    assert ig.ModernHopfield(double(4, 3), torch.tensor(2.0)).beta == 2.0


def test_bad_betas_of_the_unit(unannotated):
    with pytest.raises(ShapeError, match=r"beta of shape \(2,\)"):
        ig.Multinomial(3, beta=torch.ones(2))
    for beta in (torch.tensor(0.0), torch.tensor(math.nan)):
        with pytest.raises(ParameterError, match="beta"):
            ig.Multinomial(3, beta=beta)


def test_bad_values(unannotated):
    memory = ig.ModernHopfield(double(4, 3))
    with pytest.raises(ShapeError, match=r"\(3, 2\) for 4 patterns"):
        memory.read(double(2, 3), double(3, 2))
    with pytest.raises(ShapeError, match="rows"):
        memory.read(double(2, 3), double(4))
    with pytest.raises(DomainError, match=r"float32.*float64"):
        memory.read(double(2, 3), double(4, 2).float())
    with pytest.raises(DomainError, match="as_tensor"):
        memory.read(double(2, 3), [1.0])
    with pytest.raises(ShapeError, match=r"\(\*batch, 3\)"):
        memory.association(double(2, 5))


def test_the_longest_pattern_is_looked_for_block_by_block(monkeypatch):
    memory = ig.ModernHopfield(double(11, 4), beta=2.0, constants=True)
    state, expected = double(3, 4, seed=1), memory.offset
    energy = memory(state)
    monkeypatch.setattr(continuous, "ROWS", 3)
    torch.testing.assert_close(memory.offset, expected)
    torch.testing.assert_close(memory(state), energy)


def test_beta_is_learned_where_patterns_are_many():
    """Blocks are for where no gradient is wanted, that of β included."""
    patterns, state = double(5000, 4), double(3, 4, seed=1)
    memory = ig.ModernHopfield(patterns, beta=2.0, learn_beta=True).double()
    log_beta = torch.tensor(2.0).double().log().requires_grad_()
    scores = log_beta.exp() * (state @ patterns.T)
    energy = state.square().sum(-1) / 2 - scores.logsumexp(-1) / log_beta.exp()
    step = scores.softmax(-1) @ patterns
    for found, expected in ((memory(state), energy), (memory.cccp_update(state), step)):
        torch.testing.assert_close(found, expected)
        (grad,) = torch.autograd.grad(found.sum(), memory.log_beta)
        (right,) = torch.autograd.grad(expected.sum(), log_beta, retain_graph=True)
        torch.testing.assert_close(grad, right)


def test_states_of_another_dtype_are_named():
    memory = ig.ModernHopfield(double(5, 4).float())
    state = double(3, 4)
    doors = [
        memory, memory.grad, memory.cccp_update, memory.association, memory.retrieves_exactly,
        lambda x: memory.read(x, memory.patterns), memory.attend(), memory.attend(steps=2),
    ]  # fmt: skip
    for door in doors:
        with pytest.raises(DomainError, match=r"float64.*float32"):
            door(state)
    with torch.autocast("cpu", torch.bfloat16):  # which brings them together
        assert memory.cccp_update(state.bfloat16()).shape == (3, 4)


def test_recall_uses_the_index_that_was_built_until_the_patterns_change():
    patterns = torch.nn.functional.normalize(double(3000, 32).float(), dim=-1)
    memory, cues = ig.ModernHopfield(patterns, beta=60.0), patterns[:5] + 0.01
    plain = memory.recall(cues)
    assert "omitted_mass_bound" not in plain.info
    memory.build_index(tolerance=1e-4)
    found = memory.recall(cues)
    assert (found.info["omitted_mass_bound"] <= 1e-4).all()
    assert (found.state - plain.state).abs().max() < 2e-4
    memory.patterns.mul_(-1)
    assert "omitted_mass_bound" not in memory.recall(cues).info
    assert torch.equal(memory.recall(cues, kernel=ig.CCCP()).state, memory.recall(cues).state)


def test_a_memory_that_is_asked_often_builds_its_index(monkeypatch):
    monkeypatch.setattr(modern, "MANY", 3000)
    monkeypatch.setattr(modern, "OFTEN", 12)
    memory = ig.ModernHopfield(double(3000, 8), beta=9.0)
    indexed = ["omitted_mass_bound" in memory.recall(double(5, 8)).info for _ in range(4)]
    assert indexed == [False, False, True, True]
    keys = HeteroMemory(memory, double(3000, 2, seed=3))
    found = keys.recall(double(5, 8))
    torch.testing.assert_close(found.values, found.weights @ keys.values, atol=1e-3, rtol=0)
    small = ig.ModernHopfield(double(2000, 8), beta=9.0)
    assert not any(small.recall(double(9, 8)).info for _ in range(4))
