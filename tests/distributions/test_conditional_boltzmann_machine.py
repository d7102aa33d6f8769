"""Pairs of driven units against enumeration, and the search for the best state."""

import math
from dataclasses import replace

import pytest
import torch

import isinglass as ig
from isinglass.distributions import Annealing, ConditionalBoltzmannMachine, ConditionalRBM
from isinglass.errors import DomainError, ShapeError
from tests.distributions.test_conditional_rbm import distance
from tests.seeds import seeded

NAN = math.nan
ROWWISE = ("bias", "observed", "clamped")
UNITS = [
    ig.Spin(4),
    ig.Categorical(6, groups=2),
    ig.Mixed([ig.Spin(2), ig.Categorical(3)]),
    ig.Bernoulli(4),
]
NAMES = ["spins", "one-hot", "mixed", "bits"]


def pairs(unit, temperature=0.7, **annealing):
    draw = seeded(3)
    variable_ids = unit.variable_ids()
    coupling = torch.randn(unit.size, unit.size, generator=draw, dtype=torch.float64)
    coupling = (coupling + coupling.mT) * (variable_ids[:, None] != variable_ids)
    bias = torch.randn(unit.size, generator=draw, dtype=torch.float64)
    return ConditionalBoltzmannMachine(
        unit,
        bias,
        coupling,
        temperature=temperature,
        offset=0.3,
        annealing=Annealing(**annealing),
    )


def exact(distribution):
    states = distribution.unit.enumerate_states()
    return states, torch.softmax(distribution.score(states) / distribution.temperature, 0)


def index_of(states, found):
    return (found.unsqueeze(-2) == states).all(-1).int().argmax(-1)


@pytest.mark.parametrize("unit", UNITS, ids=NAMES)
def test_the_score_is_the_sum_over_pairs(unit):
    distribution = pairs(unit)
    for state in unit.enumerate_states():
        total = 0.3 + float(distribution.bias @ state)
        for i in range(unit.size):
            for j in range(i):
                total += float(distribution.coupling[i, j] * state[i] * state[j])
        assert abs(float(distribution.score(state)) - total) < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("unit", UNITS, ids=NAMES)
def test_value_and_draws_are_those_of_the_enumerated_distribution(unit):
    distribution = pairs(unit, chains=4_000)
    states, shares = exact(distribution)
    value = distribution.temperature * torch.logsumexp(
        distribution.score(states) / distribution.temperature, 0
    )
    _, weights = distribution._anneal(4_000, 24, seeded(0))
    ratios = (weights - value / distribution.temperature).exp()
    assert abs(float(ratios.mean()) - 1) < 5 * float(ratios.std()) / math.sqrt(4_000)
    many = ConditionalBoltzmannMachine(
        unit,
        distribution.bias.expand(5_000, -1),
        distribution.coupling,
        temperature=distribution.temperature,
        offset=0.3,
        annealing=Annealing(8, 160),
    )
    counts = torch.bincount(index_of(states, many.sample(seeded(1))), minlength=len(states))
    noise = float((shares * (1 - shares) / 5_000).sqrt().sum()) / 2
    assert float((counts / 5_000 - shares).abs().sum()) / 2 < 2 * noise + 0.01


@pytest.mark.parametrize("unit", UNITS, ids=NAMES)
@pytest.mark.parametrize("which", ["swept", "retried"])
def test_sweeps_leave_their_distribution_unchanged(unit, which):
    distribution, draw = pairs(unit), seeded(2)
    states, shares = exact(distribution)
    start = states[torch.multinomial(shares, 40_000, replacement=True, generator=draw)]
    moved = (
        distribution._sweep(start, 1.0, draw)
        if which == "swept"
        else distribution._resample_each(start, 1 / distribution.temperature, draw)
    )
    counts = torch.bincount(index_of(states, moved), minlength=len(states))
    error = (counts / 40_000 - shares).abs()
    assert bool((error < 5 * (shares * (1 - shares) / 40_000).sqrt() + 1e-9).all())


@pytest.mark.parametrize("unit", [ig.Spin(6), ig.Bernoulli(6)], ids=["spins", "bits"])
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_a_sweep_over_bits_is_one_over_each_in_turn(unit, temperature):
    low, high = unit.two_states
    given = pairs(unit, temperature or 1.0)
    observed = torch.arange(6) == 4
    given = replace(given, observed=observed, clamped=torch.full((6,), high, dtype=torch.float64))
    start = torch.full((50, 6), low, dtype=torch.float64)
    start[::2, ::3], start[:, 4] = high, high
    found = given._update_bits_in_turn(start, 0.6, temperature, seeded(1))
    needed = given._thresholds(start, temperature, seeded(1))
    for row, above, end in zip(start.clone(), needed, found, strict=True):
        for i in range(6):
            pull = float(given.bias[i] + 0.6 * given.coupling[i] @ row)
            row[i] = high if pull > float(above[i]) else low
        assert torch.equal(row, end)
    assert bool((found[:, 4] == high).all())


def test_a_bit_that_nothing_pulls_stays():
    zero = torch.zeros(3, dtype=torch.float64)
    free = ConditionalBoltzmannMachine(ig.Spin(3), zero, torch.zeros(3, 3, dtype=torch.float64))
    state = torch.tensor([1.0, -1, 1], dtype=torch.float64)
    assert torch.equal(free._climb(state), state)


def test_the_best_state_given_what_is_clamped():
    distribution = pairs(ig.Spin(4))
    states = ig.Spin(4).enumerate_states()
    assert float(distribution.score(distribution.mode())) == pytest.approx(
        float(distribution.score(states).max())
    )
    observed = torch.tensor([True, False, False, False])
    given = distribution.condition(-distribution.mode(), observed)
    agree = states[states[:, 0] == -distribution.mode()[0]]
    assert torch.equal(given.mode(), agree[distribution.score(agree).argmax()])
    assert float(given.mode()[0]) == -float(distribution.mode()[0])


#: For each kind of units which are clamped, and rows of their values; elsewhere NaN.
CLAMPS = [
    ("spins", [[1.0, NAN, NAN, -1], [-1, NAN, NAN, -1]]),
    ("one-hot", [[NAN, NAN, NAN, 0, 1, 0], [NAN, NAN, NAN, 1, 0, 0]]),
    ("mixed", [[NAN, 1, 0, 0, 1], [NAN, -1, 0, 1, 0]]),
    ("bits", [[1.0, NAN, NAN, 0], [0, NAN, NAN, 0]]),
]


@pytest.fixture(params=CLAMPS, ids=[name for name, _ in CLAMPS])
def clamped(request):
    """Two rows given some units, all states, and their scores where a row still has them."""
    name, rows = request.param
    distribution = pairs(UNITS[NAMES.index(name)])
    values = torch.tensor(rows, dtype=torch.float64)
    observed = ~values.isnan()
    states = distribution.unit.enumerate_states()
    left = ((states == values.unsqueeze(1)) | ~observed.unsqueeze(1)).all(-1)
    scores = distribution.score(states).where(left, -torch.inf)
    return (
        replace(distribution, bias=distribution.bias.expand(2, -1)).condition(values, observed),
        states,
        scores,
    )


def test_clamped_units_keep_their_values_and_the_rest_its_distribution(clamped):
    distribution, states, scores = clamped
    many = {name: getattr(distribution, name).repeat_interleave(2_000, 0) for name in ROWWISE}
    many = replace(distribution, annealing=Annealing(8, 40), **many)
    drawn = many.sample(seeded(2)).reshape(2, 2_000, -1)
    for row, found in zip(scores, drawn, strict=True):
        possible = states[row.isfinite()]
        assert all((possible == state).all(-1).any() for state in found.unique(dim=0))
        apart, noise = distance(found, states, (row / distribution.temperature).softmax(-1))
        assert apart < noise


def test_values_given_clamps_average_to_sums_over_what_is_left(clamped):
    distribution, states, scores = clamped
    t = distribution.temperature
    alone = (distribution.bias @ states.mT + distribution.offset).where(
        scores.isfinite(), -torch.inf
    )
    torch.testing.assert_close(distribution._uncoupled_value(), t * torch.logsumexp(alone / t, -1))
    _, weights = distribution._anneal(1_000, 12, seeded(0))
    ratios = (weights - torch.logsumexp(scores / t, -1)).exp()
    error = ratios.std(0) / math.sqrt(1_000)
    assert bool(((ratios.mean(0) - 1).abs() < 5 * error).all())


def test_the_best_states_given_clamps(clamped):
    distribution, states, scores = clamped
    best = states[scores.argmax(-1)]
    assert torch.equal(distribution.mode(), best)
    how = Annealing(greedy_chains=4, greedy_levels=1, greedy_sweeps=10)
    assert torch.equal(replace(distribution, annealing=how).mode(), best)


def test_scores_given_clamps_are_those_of_the_pairs(clamped):
    distribution, states, scores = clamped
    rows = states.unsqueeze(1).expand(-1, 2, -1)
    kept = scores.isfinite()
    torch.testing.assert_close(distribution.score(rows).mT[kept], scores[kept])
    both = torch.einsum("...i,ij,...j->...", rows, distribution.coupling.triu(), rows)
    torch.testing.assert_close(distribution._score_increment(rows, 0.25, 1.0), 0.75 * both)


def test_all_clamped_leaves_one_state():
    distribution = pairs(UNITS[2])
    state = distribution.unit.enumerate_states()[3]
    given = distribution.condition(state, torch.ones(5, dtype=torch.bool))
    for found in (given.sample(), given.mode()):
        assert torch.equal(found, state)
    torch.testing.assert_close(given.value(), distribution.score(state))


def test_clamps_that_are_no_states():
    distribution = pairs(UNITS[1])
    observed = torch.tensor([True, True, True, False, False, False])
    for state in ([1.0, 1, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0], [0.5, 0.5, 0, 0, 0, 0]):
        with pytest.raises(DomainError, match="condition"):
            distribution.condition(torch.tensor(state, dtype=torch.float64), observed)
    with pytest.raises(ShapeError, match="condition"):
        distribution.condition(torch.zeros(6, dtype=torch.float64), torch.arange(6) == 1)


@pytest.mark.usefixtures("unannotated")
def test_couplings_of_another_shape():
    with pytest.raises(ShapeError, match="ConditionalBoltzmannMachine"):
        ConditionalBoltzmannMachine(ig.Spin(3), torch.zeros(3), torch.zeros(2, 2))


@pytest.mark.parametrize("coupling", [[[0.0, 1], [0, 0]], [[1.0, 0], [0, 0]]])
def test_couplings_that_are_not_between_pairs(coupling):
    with pytest.raises(DomainError, match="not symmetric or has a diagonal"):
        ConditionalBoltzmannMachine(ig.Spin(2), torch.zeros(2), torch.tensor(coupling))


def trap(**annealing):
    """Three blocks of 4 spins: short ways lead down to −1 everywhere, the key is +1 everywhere."""
    blocks = torch.eye(3, dtype=torch.float64).repeat_interleave(4, -1)
    hidden = -6.0 * torch.ones(3, dtype=torch.float64)  # on where a whole block is +1
    bias = -0.5 * torch.ones(12, dtype=torch.float64)
    return ConditionalRBM(
        ig.Spin(12),
        bias,
        ig.Bernoulli(3),
        hidden,
        3 * blocks,
        temperature=0.05,
        annealing=Annealing(**annealing),
    )


def test_the_second_search_leaves_a_trap_that_the_first_falls_into():
    key = torch.ones(12, dtype=torch.float64)
    assert float(trap().score(key)) > float(trap().score(-key))
    assert torch.equal(trap().mode(), -key)
    assert torch.equal(trap(greedy_sweeps=200).mode(), key)


def test_the_second_search_keeps_what_is_clamped():
    observed = torch.zeros(12, dtype=torch.bool)
    observed[0] = True
    distribution = trap(greedy_sweeps=50).condition(-torch.ones(12, dtype=torch.float64), observed)
    assert float(distribution.mode()[0]) == -1


@pytest.mark.parametrize("distribution", [trap(), pairs(ig.Spin(12))], ids=["harmonium", "pairs"])
def test_retrying_at_infinite_sharpness_never_lowers_the_score(distribution):
    draw = seeded(4)
    start = ig.Spin(12).sample(torch.zeros(100, 12, dtype=torch.float64), 1.0, draw)
    ends = distribution._resample_each(start, math.inf, draw)
    assert bool((distribution.score(ends) >= distribution.score(start) - 1e-9).all())


def test_retried_units_of_a_harmonium_leave_their_distribution_unchanged():
    draw = seeded(5)
    weight = torch.randn(3, 4, generator=draw, dtype=torch.float64)
    zero = torch.zeros(4, dtype=torch.float64)
    distribution = ConditionalRBM(
        ig.Spin(4), zero, ig.Bernoulli(3), zero[:3] + 0.2, weight, temperature=0.5
    )
    states = ig.Spin(4).enumerate_states()
    shares = torch.softmax(3 * distribution.score(states), 0)  # another sharpness than 1/T
    start = states[torch.multinomial(shares, 40_000, replacement=True, generator=draw)]
    counts = torch.bincount(
        index_of(states, distribution._resample_each(start, 3.0, draw)), minlength=16
    )
    error = (counts / 40_000 - shares).abs()
    assert bool((error < 5 * (shares * (1 - shares) / 40_000).sqrt()).all())
