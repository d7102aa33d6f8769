"""Driven machines: scores, values and draws beside sums over all states, in float64."""

import itertools
import math
from dataclasses import dataclass, replace

import pytest
import torch

import isinglass as ig
from isinglass.errors import DomainError, ParameterError, ShapeError
from tests.cases import double
from tests.seeds import seeded

UNITS = {
    "spins": ig.Spin(4),
    "one-hot": ig.Categorical(6, groups=2),
    "mixed": ig.Mixed([ig.Categorical(2), ig.Categorical(4)]),
}
HIDDEN = {"bits": ig.Bernoulli(3), "groups": ig.Categorical(6, groups=2)}
KINDS = [ig.ConditionalRBM, ig.ExpectedEnergyRBM]
ROWS = 3
CASES = [("spins", "bits", 0.4), ("one-hot", "groups", 2.5), ("mixed", "bits", 1.0)]

every_unit = pytest.mark.parametrize("unit", UNITS.values(), ids=UNITS)
every_hidden = pytest.mark.parametrize("hidden", HIDDEN.values(), ids=HIDDEN)
every_kind = pytest.mark.parametrize("kind", KINDS)
some_cases = pytest.mark.parametrize(
    ("unit", "hidden", "temperature"),
    [(UNITS[unit], HIDDEN[hidden], temperature) for unit, hidden, temperature in CASES],
    ids=[" ".join(map(str, case)) for case in CASES],
)
some_temperatures = pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])


def machine(unit, hidden, temperature=1.0, kind=ig.ConditionalRBM, scale=0.7, **annealing):
    """Weights are pinned: how far chains get depends on them."""
    return kind(
        unit,
        double(ROWS, unit.size, seed=1, scale=scale, pinned=True),
        hidden,
        double(ROWS, hidden.size, seed=2, scale=scale, pinned=True),
        double(hidden.size, unit.size, seed=3, scale=scale, pinned=True),
        temperature=temperature,
        offset=double(ROWS, seed=4, pinned=True),
        annealing=ig.Annealing(**annealing),
    )


def reference(distribution, states):
    """S of states for every row, ``(rows, states)``, from the joint energy of v and h."""
    h = distribution.hidden.enumerate_states()
    joint = (distribution.hidden_bias @ h.mT).unsqueeze(1) + states @ distribution.weight.mT @ h.mT
    own = distribution.bias @ states.mT + distribution.offset.unsqueeze(-1)
    if isinstance(distribution, ig.ExpectedEnergyRBM):
        return own + (joint * (joint / distribution.temperature).softmax(-1)).sum(-1)
    summed = torch.logsumexp(joint / distribution.temperature, -1) - math.log(len(h))
    return own + distribution.temperature * summed


def exact_value(distribution, states):
    return distribution.temperature * torch.logsumexp(
        reference(distribution, states) / distribution.temperature, -1
    )


def repeated(distribution, row, count):
    """One row many times, each with chains of its own."""
    some = {
        name: getattr(distribution, name)[row].expand(count, *getattr(distribution, name).shape[1:])
        for name in ("bias", "hidden_bias", "offset", "observed", "clamped", "forbidden")
        if getattr(distribution, name) is not None
    }
    return replace(distribution, **some)


def distance(drawn, states, exact):
    """Total variation between counts and a distribution, and a bound that sampling keeps to.

    E[distance] ≤ ½ Σ √(p(1−p)/n); McDiarmid: P(distance > E + t) ≤ exp(−2nt²), here 1e-6.
    """
    n = len(drawn)
    index = (drawn.unsqueeze(1) == states).all(-1).int().argmax(-1)
    shares = torch.bincount(index, minlength=len(states)) / n
    noise = (exact * (1 - exact) / n).sqrt().sum() / 2 + math.sqrt(math.log(1e6) / (2 * n))
    return float((shares - exact).abs().sum() / 2), float(noise)


@every_unit
@every_hidden
@some_temperatures
@every_kind
def test_scores_are_sums_over_hidden_states(unit, hidden, temperature, kind):
    distribution, states = machine(unit, hidden, temperature, kind), unit.enumerate_states()
    scores = distribution.score(states.unsqueeze(1).expand(-1, ROWS, -1)).mT
    torch.testing.assert_close(scores, reference(distribution, states), rtol=0, atol=1e-12)


@every_kind
@every_hidden
def test_scores_have_the_gradient_of_finite_differences(kind, hidden):
    distribution = machine(ig.Spin(4), hidden, 0.7, kind)
    state = double(ROWS, 4, seed=9).sign()

    def score(bias, hidden_bias, weight, offset):
        parts = {"bias": bias, "hidden_bias": hidden_bias, "weight": weight, "offset": offset}
        return replace(distribution, **parts).score(state)

    inputs = [distribution.bias, distribution.hidden_bias, distribution.weight, distribution.offset]
    torch.autograd.gradcheck(score, [x.clone().requires_grad_() for x in inputs])


def held(distribution, states):
    """The distribution with its first unit observed, and which states agree with that."""
    first = distribution.unit.variable_ids() == 0
    distribution = distribution.condition(states[-1].expand(ROWS, -1), first)
    return distribution, (states[:, first] == states[-1, first]).all(-1)


@some_cases
@every_kind
@pytest.mark.parametrize("conditioned", [False, True], ids=["free", "conditioned"])
def test_exponentials_of_values_average_to_the_sum(unit, hidden, temperature, kind, conditioned):
    """Few chains and levels: the estimate is far off, but its exponential is without bias."""
    distribution = machine(unit, hidden, temperature, kind, scale=0.5, chains=2, levels=3)
    states, agree = unit.enumerate_states(), slice(None)
    if conditioned:
        distribution, agree = held(distribution, states)
    exact = exact_value(distribution, states[agree])
    draws = 4_000
    values = repeated(distribution, 1, draws).value(seeded(1))
    ratios = ((values - exact[1]) / temperature).exp()
    error = float(ratios.std()) / math.sqrt(draws)
    assert 1e-5 < error < 0.02
    assert abs(float(ratios.mean()) - 1) < 5 * error


@some_cases
@every_kind
@pytest.mark.parametrize("conditioned", [False, True], ids=["free", "conditioned"])
def test_draws_follow_the_distribution(unit, hidden, temperature, kind, conditioned):
    distribution = machine(unit, hidden, temperature, kind, chains=8, levels=12)
    states, agree = unit.enumerate_states(), slice(None)
    if conditioned:
        distribution, agree = held(distribution, states)
    states = states[agree]
    shares = (reference(distribution, states)[0] / temperature).softmax(-1)
    drawn = repeated(distribution, 0, 4_000).sample(seeded(1))
    assert (drawn.unsqueeze(1) == states).all(-1).any(-1).all()
    found, noise = distance(drawn, states, shares)
    assert found < noise


@dataclass(frozen=True)
class Still(ig.Annealing):
    """Nothing but sweeps at the full coupling."""

    def couplings(self):
        yield from ((1.0, 1.0) for _ in range(self.levels))


@some_cases
def test_sweeps_leave_the_distribution_summed_at_their_own_temperature(unit, hidden, temperature):
    distribution = replace(
        machine(unit, hidden, temperature), annealing=Still(chains=1, levels=160)
    )
    states = unit.enumerate_states()
    shares = (reference(distribution, states)[0] / temperature).softmax(-1)
    drawn = repeated(distribution, 0, 4_000).sample(seeded(2))
    found, noise = distance(drawn, states, shares)
    assert found < noise
    hot = (reference(replace(distribution, temperature=1.0), states)[0] / 1.0).softmax(-1)
    assert temperature == 1.0 or distance(drawn, states, hot)[0] > 2 * noise  # E/T is not F_T/T


@every_unit
@every_kind
def test_without_weights_one_chain_of_one_level_is_exact(unit, kind):
    distribution = machine(unit, HIDDEN["groups"], 0.6, kind, chains=1, levels=1)
    distribution = replace(distribution, weight=torch.zeros_like(distribution.weight))
    states = unit.enumerate_states()
    torch.testing.assert_close(
        distribution.value(torch.Generator()), exact_value(distribution, states)
    )
    shares = (reference(distribution, states)[0] / 0.6).softmax(-1)
    found, noise = distance(
        repeated(distribution, 0, 4_000).sample(torch.Generator()), states, shares
    )
    assert found < noise


@every_unit
@every_hidden
@every_kind
def test_nothing_given_means_zero_scores(unit, hidden, kind):
    bias, hidden_bias = torch.zeros(unit.size), torch.zeros(hidden.size)
    weight = torch.zeros(hidden.size, unit.size)
    distribution = kind(unit, bias, hidden, hidden_bias, weight, temperature=0.3)
    assert distribution.score(unit.enumerate_states().float()).abs().max() < 1e-6
    count = math.log(unit.state_count())
    assert abs(float(distribution.value(torch.Generator())) - 0.3 * count) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_a_mask_forbids_is_never_drawn_and_changes_nothing_else(dtype):
    unit, t, draws = UNITS["mixed"], 0.5, 1_500
    distribution = machine(unit, HIDDEN["bits"], t, scale=0.4, chains=8, levels=12)
    forbidden = torch.zeros(ROWS, unit.size, dtype=torch.float64)
    forbidden[:, [0, 3, 4]] = 1  # the first value of one part, the second and third of the other
    states = unit.enumerate_states()
    allowed = states[(states @ forbidden[0]) == 0]
    exact, shares = (
        exact_value(distribution, allowed),
        (reference(distribution, allowed)[0] / t).softmax(-1),
    )
    masked = distribution.masked(forbidden == 0)
    cast = {
        name: getattr(masked, name).to(dtype)
        for name in ("bias", "hidden_bias", "weight", "offset")
    }
    masked = repeated(replace(masked, **cast), 0, draws)
    ratios = ((masked.value(seeded(0)) - exact[0]) / t).exp().double()
    assert abs(float(ratios.mean()) - 1) < 5 * float(ratios.std()) / math.sqrt(draws) + 1e-5
    drawn = masked.sample(seeded(3)).double()
    assert not (drawn @ forbidden[0]).any()
    found, noise = distance(drawn, allowed, shares)
    assert found < noise
    assert not (masked.mode().double() @ forbidden[0]).any()


@every_unit
def test_greedy_states_are_the_best_and_always_the_same(unit):
    distribution, states = machine(unit, HIDDEN["groups"], 0.3), unit.enumerate_states()
    best, scores = distribution.mode(), reference(distribution, states)
    torch.testing.assert_close(distribution.score(best), scores.amax(-1))
    assert torch.equal(best, distribution.mode())
    conditioned, agree = held(distribution, states)
    torch.testing.assert_close(conditioned.score(conditioned.mode()), scores[:, agree].amax(-1))


def test_climbing_never_lowers_the_score():
    distribution = machine(ig.Spin(60), ig.Bernoulli(30), 0.2, chains=6, levels=1)
    scores = [
        distribution.score(
            replace(distribution, annealing=replace(distribution.annealing, refinements=n)).peaks()
        )
        for n in range(1, 6)
    ]
    for before, after in itertools.pairwise(scores):
        assert (after >= before - 1e-9).all()
    assert (scores[-1] > scores[0] + 1e-3).any()
    assert (scores[-1].amin(0) < scores[-1].amax(0) - 0.1).all()
    torch.testing.assert_close(distribution.score(distribution.mode()), scores[-1].amax(0))


def test_what_was_observed_stays_as_it_was():
    distribution, states = (
        machine(UNITS["spins"], HIDDEN["bits"]),
        UNITS["spins"].enumerate_states(),
    )
    first = torch.tensor([True, False, False, False])
    twice = distribution.condition(states[[0] * ROWS], first).condition(
        states[[-1] * ROWS], ~first | first
    )
    assert twice.sample().tolist() == [[-1.0, 1.0, 1.0, 1.0]] * ROWS
    free = torch.full((ROWS, 4), torch.nan, dtype=torch.float64)
    free[:, 0] = 1.0
    assert (distribution.condition(free, first).sample()[:, 0] == 1).all()


def test_bad_input():
    distribution = machine(UNITS["one-hot"], HIDDEN["bits"])
    with pytest.raises(ShapeError, match=r"b \(3, 6\)"):
        replace(distribution, hidden=ig.Bernoulli(4))
    with pytest.raises(ParameterError, match="temperature"):
        replace(distribution, temperature=0.0)
    with pytest.raises(ParameterError, match="levels"):
        ig.Annealing(levels=0)
    with pytest.raises(ParameterError, match="Use Bernoulli, Spin or Categorical"):
        machine(ig.Spin(2), ig.Gaussian(3), kind=ig.ExpectedEnergyRBM)
    state = torch.zeros(ROWS, 6, dtype=torch.float64)
    whole = torch.tensor([True] * 3 + [False] * 3)
    with pytest.raises(DomainError, match=r"ConditionalRBM\.condition"):
        distribution.condition(state, whole)  # no component of the first unit is on
    with pytest.raises(ShapeError, match=r"ConditionalRBM\.condition"):
        distribution.condition(state, torch.tensor([True] + [False] * 5))
    with pytest.raises(ShapeError, match=r"ConditionalRBM\.condition"):
        distribution.condition(state[:, :5], whole[:5])
