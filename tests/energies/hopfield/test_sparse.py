"""Sparse and structured retrieval: the arg-max they claim to be, and when they are exact."""

import builtins
import math
import subprocess
import sys

import pytest
import torch
from entmax import entmax_bisect
from torch import nn

import isinglass as ig
from isinglass.analysis.capacity import exact_retrieval_radius
from isinglass.analysis.metastability import FixedPoint, classify, metastable_size
from isinglass.energies.hopfield._entmax import entmax15, sparsemax
from isinglass.errors import MissingExtraError, ParameterError
from tests.cases import double
from tests.seeds import seeded

ALPHAS = [1.0, 1.2, 1.5, 1.7, 2.0, 3.0]


@pytest.mark.parametrize("alpha", ALPHAS)
def test_weights_are_the_entmax(alpha):
    """Its conditions of optimality: s − ∂Ω/β is one number where p > 0, no more elsewhere."""
    memory = ig.SparseHopfield(torch.eye(8, dtype=torch.float64), 1.7, alpha)
    scores = double(40, 8)
    weights = memory.association(scores)
    torch.testing.assert_close(weights.sum(-1), torch.ones(40).double())
    assert (weights >= 0).all()
    used = weights > 0
    slope = weights.log() if alpha == 1 else weights ** (alpha - 1) / (alpha - 1)
    level = 1.7 * scores - slope
    highest = level.masked_fill(~used, -torch.inf).amax(-1, keepdim=True)
    torch.testing.assert_close(level[used], highest.expand_as(level)[used], atol=1e-6, rtol=1e-6)
    assert (1.7 * scores <= highest + 1e-6)[~used].all()
    if alpha >= 1.5:
        assert not used.all()


def subset_weights(scores, count):
    """argmin |y − s|² over 0 ≤ y ≤ 1, Σy = count, by bisection of τ."""
    low, high = scores.amin(-1, keepdim=True) - 1, scores.amax(-1, keepdim=True)
    for _ in range(200):
        middle = (low + high) / 2
        over = (scores - middle).clamp(0, 1).sum(-1, keepdim=True) > count
        low, high = torch.where(over, middle, low), torch.where(over, high, middle)
    return (scores - (low + high) / 2).clamp(0, 1) / count


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8])
def test_weights_of_subsets_are_the_projection(count):
    memory = ig.SubsetHopfield(torch.eye(8, dtype=torch.float64), 1.7, count)
    ties = torch.tensor([[0.0] * 8, [1.0] * 4 + [0.0] * 4, [2.0, 2.0, 1.9, 1.9, 0, 0, 0, 0]])
    scores = torch.cat([double(60, 8), 0.05 * double(60, 8), ties.double(), 1e3 * double(9, 8)])
    weights = memory.association(scores)
    torch.testing.assert_close(weights, subset_weights(1.7 * scores, count), atol=1e-9, rtol=0)
    torch.testing.assert_close(weights.sum(-1), torch.ones(len(scores)).double())


@pytest.mark.parametrize("count", [1, 3, 8])
def test_weights_of_subsets_among_large_scores(count):
    """In float32 at scores of 10,000 and leads around one."""
    memory = ig.SubsetHopfield(torch.eye(8), 1.0, count)
    scores = (
        1e4 + double(200, 8) * torch.tensor([1.0, 1.0, 1.0, 0.1, 0.1, 50.0, 1e3, 1e3])
    ).float()
    scores[0, :2] = torch.tensor([1e8, 1e9])  # one less is the same number
    weights = memory.association(scores).double()
    torch.testing.assert_close(weights, subset_weights(scores.double(), count), atol=1e-6, rtol=0)


def test_subsets_of_one_are_sparsemax():
    patterns, states = double(9, 4), double(30, 4, seed=1)
    one = ig.SubsetHopfield(patterns, 1.3, 1, constants=True)
    other = ig.SparseHopfield(patterns, 1.3, 2.0, constants=True)
    torch.testing.assert_close(one.association(states), other.association(states))
    torch.testing.assert_close(one(states), other(states))


def test_alpha_one_is_the_modern_network():
    patterns, states = double(9, 4), double(30, 4, seed=1)
    one = ig.SparseHopfield(patterns, 1.3, 1.0, constants=True)
    other = ig.ModernHopfield(patterns, 1.3, constants=True)
    torch.testing.assert_close(one(states), other(states))
    torch.testing.assert_close(one.cccp_update(states), other.cccp_update(states))
    near = ig.SparseHopfield(patterns, 1.3, 1.001)
    torch.testing.assert_close(
        near.association(states), other.association(states), atol=2e-3, rtol=0
    )


MEMORIES = {
    **{
        f"α = {alpha}": lambda x, beta=1.0, alpha=alpha, **k: ig.SparseHopfield(x, beta, alpha, **k)
        for alpha in ALPHAS
    },
    **{
        f"subsets of {size}": lambda x, beta=1.0, size=size, **k: ig.SubsetHopfield(
            x, beta, size, **k
        )
        for size in (1, 2, 4)
    },
}


@pytest.mark.parametrize("name", MEMORIES)
@pytest.mark.parametrize("beta", [0.1, 2.0, 40.0])
def test_a_step_never_raises_the_energy(name, beta):
    memory = MEMORIES[name](double(12, 6), beta)
    state = double(50, 6, seed=1, scale=2.0)
    for _ in range(8):
        moved = memory.cccp_update(state)
        assert (memory(moved) <= memory(state) + 1e-12).all()
        state = moved


@pytest.mark.parametrize("name", MEMORIES)
def test_gradients_through_patterns_state_and_beta(name):
    def energies(x, state, log_beta):
        memory = MEMORIES[name](x, 1.5, learn_beta=True)
        parts = {"patterns": x, "log_beta": log_beta}
        return (
            torch.func.functional_call(memory, parts, (state,)),
            torch.func.functional_call(
                Step(memory), {f"m.{n}": p for n, p in parts.items()}, state
            ),
        )

    class Step(nn.Module):
        def __init__(self, m):
            super().__init__()
            self.m = m

        def forward(self, state):
            return self.m.cccp_update(state)

    inputs = (double(6, 3), double(4, 3, seed=1), torch.tensor(0.4).double())
    assert torch.autograd.gradcheck(energies, [i.requires_grad_() for i in inputs], atol=1e-6)


@pytest.mark.parametrize("name", [name for name in MEMORIES if name != "α = 1.0"])
def test_one_step_is_exact_where_the_margin_says_so_and_not_below(name):
    """Scores whose k-th leads the next by just more, and just less, than margin/β."""
    beta = 3.0
    memory = MEMORIES[name](torch.eye(7, dtype=torch.float64), beta)
    k = memory.subset
    for factor, exact in ((1.001, True), (0.999, False)):
        cues = 0.3 * double(50, 7).sort(-1, descending=True).values
        lead = cues[:, k - 1 : k] - cues[:, k : k + 1]
        cues[:, :k] += factor * memory.margin / beta - lead
        assert (memory.retrieves_exactly(cues) == exact).all()
        target = (torch.arange(7) < k).double() / k
        error = (memory.cccp_update(cues) - target).abs().amax(-1)
        if exact:
            assert (error <= 1e-15).all()
        elif memory.margin <= 1:  # the weight that leaks is (1 − lead)^(1/(α−1)): tiny for small α
            assert (error > 1e-5).all()


@pytest.mark.parametrize("alpha", [1.5, 2.0, 3.0])
def test_patterns_are_retrieved_bitwise_within_the_radius(alpha):
    """Any cue so near, in one step, every bit; and there is a cue a little beyond that is not."""
    patterns = 3 * nn.functional.normalize(double(20, 10), dim=-1)
    beta = 4.0
    memory = ig.SparseHopfield(patterns, beta, alpha)
    radius = exact_retrieval_radius(patterns, beta, memory.margin).unsqueeze(-1)
    assert (radius > 0).all()
    for seed in range(5):
        away = radius * nn.functional.normalize(double(20, 10, seed=seed + 1), dim=-1)
        cues = patterns + 0.999 * away
        assert memory.retrieves_exactly(cues).all()
        assert torch.equal(memory.cccp_update(cues), patterns)
        found = memory.recall(cues)
        assert torch.equal(found.state, patterns)
        assert found.converged.all()
        assert (classify(memory.association(found.state)) == FixedPoint.SINGLE).all()


def test_a_subset_is_retrieved_as_its_mean():
    """Four clusters of three: a cue of one cluster recalls the mean of its three, exactly."""
    generator = seeded(0)
    centers = 4 * torch.eye(4, 8, dtype=torch.float64)
    noise = 0.3 * torch.randn(12, 8, dtype=torch.float64, generator=generator)
    patterns = centers.repeat_interleave(3, 0) + noise
    memory = ig.SubsetHopfield(patterns, beta=1.0, subset=3)
    found = memory.recall(patterns)
    assert memory.retrieves_exactly(patterns).all()
    means = patterns.reshape(4, 3, 8).mean(1).repeat_interleave(3, 0)
    torch.testing.assert_close(found.state, means, atol=1e-14, rtol=0)
    assert (metastable_size(memory.association(found.state)) == 3).all()


def test_every_pattern_together_is_their_mean():
    patterns = double(5, 3)
    memory = ig.SubsetHopfield(patterns, 2.0, 5)
    assert memory.retrieves_exactly(double(4, 3)).all()
    torch.testing.assert_close(memory.cccp_update(double(4, 3)), patterns.mean(0).expand(4, 3))
    lone = ig.SparseHopfield(patterns[:1])
    assert lone.retrieves_exactly(double(4, 3)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", MEMORIES)
def test_dtypes(name, dtype):
    patterns, states = double(30, 8), double(5, 8, seed=1)
    memory = MEMORIES[name](patterns.to(dtype), 0.7)
    weights = memory.association(states.to(dtype))
    assert weights.dtype == dtype
    # Energies are beyond the range of half precision before the states are.
    wide = torch.float32 if dtype == torch.float16 else dtype
    assert memory(states.to(dtype)).dtype == memory.offset.dtype == wide
    scores = double(50, 30, seed=2).to(dtype)
    expected = MEMORIES[name](patterns, 0.7).weigh(scores.double())
    error = (memory.weigh(scores).double() - expected).abs()
    # The rounding of the result, and of 30 terms in float32.
    assert (error <= torch.finfo(dtype).eps * expected + 4e-6).all()


def test_a_subset_met_has_no_slope_even_where_scores_tie():
    """The best five lead by more than the margin: nothing moves with any score."""
    memory = ig.SubsetHopfield(torch.eye(7, dtype=torch.float64), 1.0, 5)
    scores = torch.tensor([0.0, 0, 0, 0, 0, -2, -3]).double().repeat(500, 1)
    scores[:, :3] = double(500, 3, seed=1).sigmoid()
    scores.requires_grad_()
    (memory.weigh(scores) * double(500, 7)).sum().backward()
    assert torch.equal(scores.grad, torch.zeros(500, 7).double())


def test_subsets_under_vmap():
    memory = ig.SubsetHopfield(double(9, 4), 1.3, 3)
    states = double(6, 4, seed=1)
    torch.testing.assert_close(torch.vmap(memory)(states), memory(states))


def test_without_the_package(monkeypatch):
    """Named when the memory is made; what has a closed form does without."""
    real = builtins.__import__

    def without(name, *rest):
        if name == "entmax":
            raise ModuleNotFoundError(name="entmax")
        return real(name, *rest)

    monkeypatch.delitem(sys.modules, "entmax", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"isinglass\[sparse\]"):
        ig.SparseHopfield(double(3, 2), alpha=1.3)
    for alpha in (1.0, 1.5, 2.0):
        ig.SparseHopfield(double(3, 2), alpha=alpha)(double(1, 2))
    ig.SubsetHopfield(double(3, 2))(double(1, 2))


def test_bad_input(unannotated):
    for alpha in (0.9, 0.0, -1.0, math.nan, math.inf, "2", None):
        with pytest.raises(ParameterError, match="alpha"):
            ig.SparseHopfield(double(3, 2), alpha=alpha)
    for subset in (0, -1, 1.5, None, 4):
        with pytest.raises(ParameterError, match="subset"):
            ig.SubsetHopfield(double(3, 2), subset=subset)


MAPPED = pytest.mark.filterwarnings(
    "ignore:`torch.jit.script` is deprecated"  # in torch.func.jacfwd
)


@MAPPED
@pytest.mark.parametrize("alpha", [1.3, 3.0])
def test_maps_over_states_that_are_bisected_are_refused_by_name(alpha):
    memory, states = ig.SparseHopfield(double(6, 4), 2.0, alpha), double(5, 4, seed=1)
    for call in (
        lambda: torch.vmap(memory)(states),
        lambda: torch.vmap(memory.cccp_update)(states),
        lambda: torch.vmap(memory.attend())(states),
        lambda: torch.func.grad(lambda state: memory(state).sum())(states),
        lambda: torch.func.jacfwd(memory.cccp_update)(states[0]),
    ):
        with pytest.raises(ParameterError, match=rf"alpha = {alpha} under torch.func or vmap"):
            call()
    given = {"patterns": memory.patterns.clone()}
    torch.testing.assert_close(torch.func.functional_call(memory, given, states), memory(states))


@MAPPED
@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.0])
def test_closed_forms_can_be_mapped(alpha):
    memory, states = ig.SparseHopfield(double(6, 4), 2.0, alpha), double(5, 4, seed=1)
    for function in (memory, memory.cccp_update, memory.attend()):
        torch.testing.assert_close(torch.vmap(function)(states), function(states))
    torch.testing.assert_close(torch.vmap(torch.func.grad(memory))(states), memory.grad(states))
    forward, backward = (
        torch.vmap(of(memory.cccp_update))(states) for of in (torch.func.jacfwd, torch.func.jacrev)
    )
    torch.testing.assert_close(forward, backward)
    assert (forward != 0).any()


CLOSED = pytest.mark.parametrize(("function", "alpha"), [(entmax15, 1.5), (sparsemax, 2.0)])


def bisected(logits, alpha):
    """α-entmax by bisection of τ, to the last bit of it."""
    scores = (alpha - 1) * logits
    low, high = (scores.amax(-1, keepdim=True) - shift for shift in (1, 0))
    for _ in range(200):
        middle = (low + high) / 2
        over = ((scores - middle).clamp_min(0) ** (1 / (alpha - 1))).sum(-1, keepdim=True) >= 1
        low, high = torch.where(over, middle, low), torch.where(over, high, middle)
    return (scores - low).clamp_min(0) ** (1 / (alpha - 1))


def awkward(width):
    """Rows with ties, with −∞, far apart, alike, and large."""
    rows = [scale * double(9, width, seed=seed) for seed, scale in enumerate((1e-3, 0.3, 1, 5))]
    barred = double(9, width).masked_fill(double(9, width, seed=5) > 0.3, -torch.inf)
    barred[:, 0] = 0.0
    tied = double(9, width).mul(2).round() / 2
    return torch.cat([*rows, barred, tied, 1e6 + rows[2], 1e3 * rows[2], torch.zeros(1, width)])


@CLOSED
@pytest.mark.parametrize("width", [1, 2, 7, 300])
def test_closed_forms_are_those_of_bisection(function, alpha, width):
    """Weights, their gradients and those of the gradients, in double precision."""
    logits = awkward(width)
    torch.testing.assert_close(function(logits), bisected(logits, alpha), atol=1e-9, rtol=0)
    finite = logits[logits.isfinite().all(-1)].requires_grad_()
    wanted = double(*finite.shape, seed=7)
    own, other = (
        torch.autograd.grad((weights * wanted).sum(), finite)[0]
        for weights in (function(finite), entmax_bisect(finite, alpha, n_iter=100))
    )
    torch.testing.assert_close(own, other, atol=1e-9, rtol=0)
    few = double(4, min(width, 7), seed=8).requires_grad_()
    assert torch.autograd.gradcheck(function, few)
    assert torch.autograd.gradgradcheck(function, few)


@CLOSED
def test_closed_forms_of_ties_bars_and_what_is_no_number(function, alpha):
    """Scores that tie share; −∞ has no weight and no slope; NaN and a row of −∞ stay NaN."""
    bar = -torch.inf
    scores = torch.tensor([[3.0, 3.0, 3.0, bar], [1e30, 1e30, 0, bar], [0, bar, bar, bar]])
    scores.requires_grad_()
    weights = function(scores)
    third = 1 / 3
    expected = [[third, third, third, 0], [0.5, 0.5, 0, 0], [1, 0, 0, 0]]
    torch.testing.assert_close(weights, torch.tensor(expected))
    (weights * double(3, 4).float()).sum().backward()
    assert scores.grad.isfinite().all()
    assert (scores.grad[:, 3] == 0).all()
    for row in ([0.0, math.nan, 1], [math.inf, 0, 1], [bar, bar, bar]):
        assert function(torch.tensor(row)).isnan().all()
    margin = 1 / (alpha - 1)  # one that leads by so much has all, to the last bit
    led = torch.tensor([[5.0, 5 - margin, 5 - margin, -margin]]).repeat(50, 1)
    assert torch.equal(function(led), torch.tensor([[1.0, 0, 0, 0]]).expand(50, 4))


@CLOSED
@pytest.mark.parametrize("width", [30, 20_000])
def test_closed_forms_in_single_precision(function, alpha, width):
    """As good as the scores are: half an eps of a score of less than four moves no weight more."""
    for scale in (1e-3, 1.0, 100.0):
        logits = (scale * double(4, width)).float()
        error = (function(logits).double() - bisected(logits.double(), alpha)).abs()
        assert (error <= 4 * torch.finfo(torch.float32).eps).all()


@pytest.mark.slow
def test_sparse_retrieval_compiles_in_one_graph():
    """With gradients or without; in a process of its own, whose warnings are no errors."""
    script = """
import torch, isinglass as ig
torch.manual_seed(0)
patterns, states = torch.randn(6, 4).double(), torch.randn(5, 4).double()

def values(function, memory, state):
    weighed = function(state)
    inputs = [state, *memory.parameters()]
    return weighed, *torch.autograd.grad(weighed.square().sum(), inputs)

for alpha in (1.5, 2.0):
    learned = torch.nn.Parameter(patterns)
    memory = ig.SparseHopfield(learned, 2.0, alpha, learn_beta=True)
    for function in (memory.attend(steps=2), memory):
        compiled = torch.compile(function, fullgraph=True)
        with torch.no_grad():
            torch.testing.assert_close(compiled(states), function(states))
        found, expected = (
            values(f, memory, states.clone().requires_grad_()) for f in (compiled, function)
        )
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other)

memory = ig.SparseHopfield(patterns, 2.0, 1.3)
state = states.clone().requires_grad_()
with torch.no_grad():
    torch.testing.assert_close(torch.compile(memory, fullgraph=True)(states), memory(states))
torch.testing.assert_close(
    torch.autograd.grad(torch.compile(memory)(state).sum(), state)[0], memory.grad(states)
)
torch.compiler.reset()
try:
    torch.compile(memory, fullgraph=True)(state)
except Exception as error:
    assert "Give alpha = 1.5 or 2, or leave fullgraph out" in str(error), error
else:
    raise SystemExit("no error")
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=500)
