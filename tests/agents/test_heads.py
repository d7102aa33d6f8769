"""Heads: what energies make of features, against their definitions in float64."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces

from isinglass.agents import (
    Annealing,
    DBMEnergy,
    Enumerated,
    FreeEnergyQ,
    MixtureEnergy,
    PairwiseEnergy,
    ProductOfMixtures,
    RBMEnergy,
)
from isinglass.agents.actions._mixture_score import mixture_score
from isinglass.agents.actions.action_codec import ActionCode
from isinglass.errors import ParameterError
from isinglass.units import Bernoulli, Categorical, Gaussian, Multinomial, Spin
from tests.agents.small import ENERGIES, SEEN, SPACES, shaped_policy, small_agent
from tests.seeds import seeded

every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
every_energy = pytest.mark.parametrize("energy", ENERGIES.values(), ids=ENERGIES)
BOX = spaces.Box(-1, 1, (2,), np.float32)


def head_of(energy, unit=Spin(4), width=3, seed=0):  # noqa: B008
    head = energy.head(width, unit, 1.0).double()
    draw = seeded(seed)
    with torch.no_grad():
        for weight in head.parameters():
            weight.normal_(0, 0.6, generator=draw)
    return head


def features(rows=4, width=3):
    draw = seeded(7)
    return torch.randn(rows, width, dtype=torch.float64, generator=draw)


@every_space
@every_energy
@pytest.mark.parametrize("temperature", [0.1, 2.0])
def test_zero_weights_mean_zero_values(space, energy, temperature):
    policy = shaped_policy(space, energy, temperature)
    with torch.no_grad():
        for weight in policy.q_net.parameters():
            weight.zero_()
        exact = Enumerated.of(policy.q_net(torch.ones(2, 2), temperature))
    assert exact.scores.abs().max() < 1e-5


def test_zero_weights_are_flat_values():
    policy = shaped_policy(BOX, MixtureEnergy(3), 0.5)
    with torch.no_grad():
        for weight in policy.q_net.parameters():
            weight.zero_()
        distribution = policy.q_net(torch.ones(1, 2), 0.5)
    assert distribution.score(torch.zeros(1, 2)).abs().max() < 1e-6
    slope = np.log(2) + 1e-3
    assert distribution.score(torch.ones(1, 2)).item() == pytest.approx(-(slope**2), rel=1e-5)


@every_energy
def test_scale_and_offset_move_all_values_alike(energy):
    """Q of scale e^k at temperature T is e^k times Q of scale 1 at T e^−k."""
    head, seen = head_of(energy), features()
    states = Spin(4).enumerate_states()[[3, 5, 6, 10]]
    with torch.no_grad():
        head.log_scale.zero_()
        head.offset.zero_()
        plain = head(seen, 0.5).score(states)
        head.offset.fill_(1.5)
        torch.testing.assert_close(head(seen, 0.5).score(states), plain + 1.5)
        head.log_scale.fill_(0.8)
        factor = float(head.scale)
        scaled = head(seen, 0.5 * factor).score(states)
    torch.testing.assert_close(scaled, factor * plain + 1.5)


@every_energy
def test_all_weights_learn(energy):
    """Every parameter has a gradient, and (where inference is exact) that of finite differences."""
    head, seen = head_of(energy), features()
    states = Spin(4).enumerate_states()[[3, 5, 6, 10]]
    names, weights = zip(*head.named_parameters(), strict=True)
    inputs = [weight.detach().clone().requires_grad_() for weight in weights]

    def score(*given):
        parts = dict(zip(names, given, strict=True))
        return torch.func.functional_call(head, parts, (seen, 0.7)).score(states).sum()

    gradients = torch.autograd.grad(score(*inputs), inputs)
    assert all(float(gradient.abs().max()) > 1e-4 for gradient in gradients)
    if not isinstance(
        energy, DBMEnergy
    ):  # its means are held fixed: see the tests of ConditionalDBM
        torch.autograd.gradcheck(score, inputs)


def test_mixtures_are_the_definition():
    head, seen, t = head_of(MixtureEnergy(3), Gaussian(2)), features(), 0.4
    with torch.no_grad():
        distribution = head(seen, t)
        actions = torch.tanh(features(4, 2))
        heights = head.scale * (head.level(seen) + head.heights(seen)) + head.offset
        centers = torch.tanh(head.centers(seen)).reshape(4, 3, 2)
        slopes = torch.nn.functional.softplus(head.steepness(seen)) * head.scale.sqrt() + 1e-3
        away = (slopes[:, None] * (actions[:, None] - centers)).square().sum(-1) / 2
        exact = t * (torch.logsumexp((heights - away) / t, -1) - np.log(3))
    torch.testing.assert_close(distribution.score(actions), exact)
    inputs = list(head.parameters())
    gradients = torch.autograd.grad(head(seen, t).score(actions).sum(), inputs)
    assert all(float(gradient.abs().max()) > 1e-4 for gradient in gradients)


def joint_values(head, seen, states, hidden, t, expected=False):
    """Q by summing out h, from weights, features and the definition."""
    driven = head.scale * head.bias(seen)
    above = head.scale * (head.hidden_bias(seen)[:, None] + states @ head.weight.mT)
    agreement = above @ hidden.mT
    own = driven[:, 1:] @ states.mT + driven[:, :1] + head.offset
    if expected:
        return own + (agreement * (agreement / t).softmax(-1)).sum(-1)
    return own + t * (torch.logsumexp(agreement / t, -1) - np.log(len(hidden)))


@pytest.mark.parametrize(
    ("energy", "hidden"),
    [
        (ProductOfMixtures(2, 3), Categorical(6, groups=2)),
        (RBMEnergy(5), Bernoulli(5)),
        (RBMEnergy(5, expected=True), Bernoulli(5)),
    ],
    ids=["groups", "restricted", "expected"],
)
def test_machines_are_the_definition(energy, hidden):
    head, seen, t = head_of(energy), features(), 0.6
    states = Spin(4).enumerate_states()
    with torch.no_grad():
        exact = joint_values(
            head, seen, states, hidden.enumerate_states(), t, getattr(energy, "expected", False)
        )
        found = Enumerated.of(head(seen, t)).scores
    torch.testing.assert_close(found, exact)


def test_values_of_random_actions_start_as_wide_as_the_spread():
    """With N patterns of d bits, θ·a deviates by ``init_scale``; 5 relative errors of 1/√(2n)."""
    for energy in (
        MixtureEnergy(400),
        ProductOfMixtures(20, 20),
        RBMEnergy(400),
        DBMEnergy(400, 2),
    ):
        head = energy.head(2, Spin(50), 3.0)
        fields = getattr(head, "fields", None)
        fields = (head.weight if fields is None else fields).detach()  # units on top count as d
        ratio = float(fields.std()) * fields.shape[1] ** 0.5 / 3
        assert abs(ratio - 1) < 5 / (2 * fields.numel()) ** 0.5


@pytest.mark.parametrize("name", ["groups", "restricted", "expected", "deep", "pairs"])
@pytest.mark.parametrize("clamped", [False, True])
def test_a_second_search_never_ends_in_a_lower_value(name, clamped):
    """From one chain of one level each, so that either search alone is often the worse one."""
    unit, seen, scores = Spin(9), features(20), []
    for sweeps in (0, 1, 8):
        how = Annealing(greedy_chains=1, greedy_levels=1, greedy_sweeps=sweeps, refinements=1)
        head = head_of(replace(ENERGIES[name], annealing=how), unit)
        with torch.no_grad():
            distribution = head(seen, 0.1)
            if clamped:
                distribution = distribution.condition(
                    torch.ones(20, 9).double(), torch.arange(9) < 2
                )
            best = distribution.mode()
            scores.append(distribution.score(best))
        assert not clamped or (best[:, :2] == 1).all()
    for better in scores[1:]:
        assert (better >= scores[0] - 1e-9).all()
        assert (better > scores[0] + 1e-3).any()


@pytest.mark.parametrize("energy", [ProductOfMixtures(), RBMEnergy(), DBMEnergy()], ids=str)
def test_products_have_no_distribution_of_real_actions(energy):
    with pytest.raises(
        ParameterError, match=r"actions of Gaussian.*Real actions have MixtureEnergy"
    ):
        shaped_policy(BOX, energy)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (MixtureEnergy, "memories"),
        (ProductOfMixtures, "groups"),
        (ProductOfMixtures, "memories"),
        (RBMEnergy, "hidden"),
        (DBMEnergy, "hidden"),
        (DBMEnergy, "top"),
    ],
)
def test_numbers_that_must_be_whole(kind, name):
    for value in (0, -2):
        with pytest.raises(ParameterError, match=f"{kind.__name__}.*{name}"):
            kind(**{name: value})


def test_units_are_those_of_the_action_space():
    for space in SPACES.values():
        assert shaped_policy(space, MixtureEnergy(2)).q_net.head.unit == ActionCode.of(space).unit
    assert SEEN.shape == (2,)


@every_energy
def test_values_by_the_shorter_way_are_those_of_the_distribution(energy):
    head, seen = head_of(energy), features().requires_grad_()
    state = Spin(4).sample(torch.zeros(4, 4), 1.0, seeded(1)).double()
    weights = torch.arange(1.0, 5.0, dtype=torch.float64)
    learned = [seen, *head.parameters()]
    ways = head.score(seen, 0.3, state), head(seen, 0.3).score(state)
    slopes = [torch.autograd.grad((q * weights).sum(), learned) for q in ways]
    torch.testing.assert_close(*ways)
    torch.testing.assert_close(*slopes)


def test_values_in_mixed_precision():
    head, seen = head_of(MixtureEnergy(3)).float(), features().float()
    state = torch.ones(4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        rough = head.score(seen, 1.0, state)
    torch.testing.assert_close(rough.float(), head.score(seen, 1.0, state), atol=0.05, rtol=0.02)


def test_values_where_the_shorter_way_does_not_go():
    """One state and many actions, slopes of the action, vmap, units that carry an energy."""
    head, seen = head_of(MixtureEnergy(3)), features()
    states = Spin(4).enumerate_states().double()
    distribution = head(seen[:1], 0.3)
    torch.testing.assert_close(head.score(seen[:1], 0.3, states), distribution.score(states))
    drawn = states[:4].requires_grad_()
    head.score(seen, 0.3, drawn).sum().backward()
    assert drawn.grad.abs().max() > 0
    each = torch.vmap(lambda state: head.score(seen[:1], 0.3, state[None])[0])(states)
    torch.testing.assert_close(each, distribution.score(states))

    class Scored(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.head = head

        def forward(self, *given):
            return self.head.score(*given)

    given = (seen, 0.3, states[:4].detach())  # made here, else they are functorch's, too

    def total(fields):
        return torch.func.functional_call(Scored(), {"head.fields": fields}, given).sum()

    assert torch.func.grad(total)(head.fields).abs().max() > 0
    twice = Multinomial(4, draws=2)
    head, state = head_of(MixtureEnergy(3), twice), torch.tensor([[0.5, 0.5, 0, 0]] * 4).double()
    torch.testing.assert_close(head.score(seen, 0.3, state), head(seen, 0.3).score(state))


def test_slopes_of_values_in_one_pass_are_their_differences():
    draw = seeded(2)

    def numbers(*shape):
        return torch.randn(shape, dtype=torch.float64, generator=draw).requires_grad_()

    state = torch.randn(5, 3, dtype=torch.float64, generator=draw)
    scale = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    inputs = (numbers(5, 2), numbers(4, 2), numbers(4), numbers(4, 3), scale, numbers())
    assert torch.autograd.gradcheck(lambda *given: mixture_score(*given, state, 0.4), inputs)
    twice = mixture_score(*inputs, state, 0.4).square().sum()
    (slope,) = torch.autograd.grad(twice, inputs[0], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


FAST = Annealing(chains=2, levels=3, greedy_chains=2, greedy_levels=2, refinements=1)
#: Two that fit each other in shape, where results differ, and what a refusal names.
ALIKE = {
    "annealing of bits": (RBMEnergy(8), RBMEnergy(8, annealing=FAST), Spin(4), Spin(4), None),
    "annealing of groups": (
        ProductOfMixtures(2, 4), ProductOfMixtures(2, 4, FAST), Spin(4), Spin(4), None,
    ),
    "annealing of pairs": (PairwiseEnergy(), PairwiseEnergy(FAST), Spin(4), Spin(4), None),
    "annealing of two layers": (DBMEnergy(4, 3), DBMEnergy(4, 3, FAST), Spin(4), Spin(4), None),
    "expected": (RBMEnergy(8), RBMEnergy(8, expected=True), Spin(4), Spin(4), "kind"),
    "hidden units": (RBMEnergy(8), ProductOfMixtures(2, 4), Spin(4), Spin(4), "hidden"),
    "units of a mixture": (MixtureEnergy(3), MixtureEnergy(3), Spin(4), Bernoulli(4), "unit"),
    "groups of a mixture": (
        MixtureEnergy(3), MixtureEnergy(3), Categorical(4), Categorical(4, groups=2), "unit",
    ),
    "units of pairs": (PairwiseEnergy(), PairwiseEnergy(), Spin(4), Bernoulli(4), "unit"),
    "units of bits": (RBMEnergy(8), RBMEnergy(8), Spin(4), Bernoulli(4), "unit"),
    "units of two layers": (DBMEnergy(4, 3), DBMEnergy(4, 3), Spin(4), Bernoulli(4), "unit"),
}  # fmt: skip


def drawn(head):
    law = head(features(), 0.5)
    score = law.score(torch.ones_like(law.zeros_like_event()))
    return torch.cat([law.sample(seeded(1)), law.mode(), score.unsqueeze(-1)], -1)


@pytest.mark.parametrize("name", ALIKE)
def test_a_state_of_a_head_gives_its_results_or_is_refused(name):
    """What it is made of lies in the metadata, as all tensors are floats to be averaged."""
    energy, other, unit, units, refused = ALIKE[name]
    wrote, reads = head_of(energy, unit), head_of(other, units, seed=1)
    state = wrote.state_dict()
    assert all(value.is_floating_point() for value in state.values())
    copy = head_of(energy, unit, seed=2)
    copy.load_state_dict(state)
    assert torch.equal(drawn(copy), drawn(wrote))
    before = drawn(reads)
    if refused is None:
        reads.load_state_dict(state)
        assert reads.annealing == wrote.annealing
        assert torch.equal(drawn(reads), drawn(wrote))
        return
    with pytest.raises(ParameterError, match=rf"a state of {refused} = .*load dict\(state\)"):
        reads.load_state_dict(state)
    assert torch.equal(drawn(reads), before)
    reads.load_state_dict(dict(state))
    assert different(drawn(reads), drawn(wrote))


def different(one, other):
    return not torch.allclose(one, other)


def test_an_agent_takes_how_it_is_annealed_from_a_file(tmp_path):
    energy, slow = RBMEnergy(4, annealing=FAST), RBMEnergy(4)
    agent = small_agent(energy=energy)
    agent.save(tmp_path / "agent")
    torch.save(agent.policy.state_dict(), tmp_path / "weights")
    loaded = FreeEnergyQ.load(tmp_path / "agent", device="cpu")
    assert loaded.policy.q_net.head.annealing == loaded.policy.energy.annealing == FAST
    other = small_agent(energy=slow)
    other.policy.load_state_dict(torch.load(tmp_path / "weights", weights_only=True))
    assert other.policy.q_net.head.annealing == FAST
    assert other.policy.q_net_target.head.annealing == FAST
    expected = small_agent(energy=RBMEnergy(4, expected=True))
    with pytest.raises(ParameterError, match="a state of kind = 'ConditionalRBM'"):
        expected.set_parameters(agent.get_parameters())
