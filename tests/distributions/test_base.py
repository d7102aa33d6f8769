"""Masks of every distribution: what is forbidden has probability zero, whatever the scores are."""

import math

import pytest
import torch

import isinglass as ig
from isinglass.distributions import (
    Annealing,
    ConditionalBoltzmannMachine,
    ConditionalDBM,
    ConditionalRBM,
    Distribution,
    Enumerated,
    ExpectedEnergyRBM,
    PatternMixture,
)
from isinglass.errors import DomainError, ShapeError
from tests.cases import double
from tests.seeds import seeded

UNIT = ig.Mixed([ig.Spin(1), ig.Categorical(3), ig.Bernoulli(1), ig.Categorical(4, groups=2)])
CHAINS = Annealing(chains=6, levels=6, greedy_chains=6, greedy_levels=6, greedy_sweeps=3)
#: Forbidden are the upper spin, a middle value, the last value of the last group.
ALLOWED = torch.tensor([0, 1, 0, 1, 1, 1, 1, 1, 0], dtype=torch.bool)


def rbm(kind, scale, unit=UNIT, hidden=3):
    return kind(
        unit,
        double(2, unit.size, seed=1, scale=scale),
        ig.Bernoulli(hidden),
        double(2, hidden, seed=2, scale=scale),
        double(hidden, unit.size, seed=3, scale=scale),
        temperature=0.5,
        annealing=CHAINS,
    )


def pairs(scale):
    weight, ids = double(UNIT.size, UNIT.size, seed=4, scale=scale), UNIT.variable_ids()
    coupling = (weight + weight.mT) * (ids[:, None] != ids)
    bias = double(2, UNIT.size, seed=1, scale=scale)
    return ConditionalBoltzmannMachine(UNIT, bias, coupling, temperature=0.5, annealing=CHAINS)


def mixture(scale):
    keys, fields = double(2, 4, seed=1, scale=scale), double(2, 4, UNIT.size, seed=2, scale=scale)
    return PatternMixture(UNIT, keys, fields, 0.5)


MAKE = {
    "mixture": mixture,
    "rbm": lambda scale: rbm(ConditionalRBM, scale),
    "expected": lambda scale: rbm(ExpectedEnergyRBM, scale),
    "pairs": pairs,
    "dbm": lambda scale: ConditionalDBM(
        UNIT, rbm(ConditionalRBM, scale, ig.Mixed([UNIT, ig.Bernoulli(2)]))
    ),
    "enumerated": lambda scale: Enumerated.of(mixture(scale)),
}
every_distribution = pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)


def obeys(states):
    """Which states have nothing on that is forbidden, by the values that units take."""
    return (states[..., 0] == -1) & (states[..., 2] == 0) & (states[..., 8] == 0)


@every_distribution
@pytest.mark.parametrize("scale", [1.0, 1e6, 1e30])
def test_what_is_forbidden_is_never_drawn(make, scale):
    """Scores of any size are no reason: −∞ is below them all."""
    masked, draw = make(scale).masked(ALLOWED), seeded(0)
    for _ in range(20):
        assert obeys(masked.sample(draw)).all()
    assert obeys(masked.mode()).all()


@every_distribution
def test_masked_values_and_scores_are_those_of_what_is_allowed(make):
    distribution = make(0.6)
    masked, states = distribution.masked(ALLOWED), UNIT.enumerate_states()
    keep = obeys(states)
    assert 0 < keep.sum() < len(states)
    before, after = distribution.score_each(states), masked.score_each(states)
    assert not torch.isnan(after).any()
    torch.testing.assert_close(after[:, keep], before[:, keep])
    value = 0.5 * torch.logsumexp(before[:, keep] / 0.5, -1)
    if masked.exact_value:
        torch.testing.assert_close(masked.value(), value)


@every_distribution
def test_forbidden_states_score_minus_infinity(make):
    masked, states = make(0.6).masked(ALLOWED), UNIT.enumerate_states()
    forbidden = states[(states[:, 2] == 1) & (states[:, 0] == -1)]
    assert masked.score_each(forbidden).isneginf().all()
    assert masked.score(forbidden[:2]).isneginf().all()


@pytest.mark.parametrize("name", ["rbm", "expected", "pairs"])
def test_values_of_masked_chains_are_unbiased(name):
    """Weights average to exp(V/T) of what is allowed: 5 standard errors of 4,000 chains."""
    masked = MAKE[name](0.4).masked(ALLOWED)
    states = UNIT.enumerate_states()
    scores = masked.score_each(states[obeys(states)])
    exact = torch.logsumexp(scores / 0.5, -1)
    _, weights = masked._anneal(4_000, 6, seeded(1))
    ratios = (weights - exact).exp()
    error = ratios.std(0) / math.sqrt(4_000)
    assert ((ratios.mean(0) - 1).abs() < 5 * error).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_slopes_of_masked_values_and_scores_are_finite(dtype):
    """Those of a mixture over what is allowed alone; forbidden fields have none."""
    unit = ig.Categorical(6, groups=2)
    keys = double(2, 4, seed=1).to(dtype).requires_grad_()
    fields = double(2, 4, 6, seed=2).to(dtype).requires_grad_()
    allowed = torch.tensor([1, 0, 1, 0, 1, 1], dtype=torch.bool)
    masked = PatternMixture(unit, keys, fields, 0.5).masked(allowed)
    forbidden, fine = torch.eye(6)[[1]] + torch.eye(6)[[4]], torch.eye(6)[[0]] + torch.eye(6)[[4]]
    total = masked.value().sum() + masked.score(fine.to(dtype).expand(2, -1)).sum()
    total.backward()
    assert keys.grad.isfinite().all()
    assert fields.grad.isfinite().all()
    assert (fields.grad[..., ~allowed] == 0).all()
    assert (fields.grad[..., allowed] != 0).any()
    fields.grad = None
    scores = masked.score(forbidden.to(dtype).expand(2, -1))
    torch.where(scores.isneginf(), 0.0, scores).sum().backward()
    assert fields.grad is None or (fields.grad == 0).all()
    states = unit.enumerate_states().to(dtype)
    keep = (states[:, ~allowed] == 0).all(-1)
    kept = PatternMixture(unit, keys, fields, 0.5).score_each(states[keep])
    torch.testing.assert_close(masked.value(), 0.5 * torch.logsumexp(kept / 0.5, -1))


@every_distribution
def test_masks_add_up(make):
    first, second = ALLOWED.clone(), ALLOWED.clone()
    first[[0, 8]], second[2] = True, True
    once, twice = make(0.6).masked(ALLOWED), make(0.6).masked(first).masked(second)
    states = UNIT.enumerate_states()
    torch.testing.assert_close(once.score_each(states), twice.score_each(states))


@every_distribution
def test_a_mask_of_nothing_at_all_is_an_error(make):
    nothing = torch.ones(2, UNIT.size, dtype=torch.bool)
    nothing[1, 1:4] = False
    with pytest.raises(DomainError, match="forbids every"):
        make(0.6).masked(nothing)
    with pytest.raises(DomainError, match="forbids every"):
        make(0.6).masked(ALLOWED).masked(torch.arange(UNIT.size) != 7)


@every_distribution
def test_what_is_observed_and_forbidden_is_an_error(make):
    state = UNIT.enumerate_states()[UNIT.enumerate_states()[:, 2] == 1][:1].expand(2, -1)
    observed = UNIT.variable_ids() == 1
    with pytest.raises(DomainError, match=r"observed at a value|agrees with what is observed"):
        make(0.6).masked(ALLOWED).condition(state, observed)
    with pytest.raises(DomainError, match=r"observed at a value|forbids every"):
        make(0.6).condition(state, observed).masked(ALLOWED)


@every_distribution
@pytest.mark.usefixtures("unannotated")
def test_masks_of_another_form(make):
    with pytest.raises(ShapeError, match="9 bools"):
        make(0.6).masked(ALLOWED.double())
    with pytest.raises(ShapeError, match="9 bools"):
        make(0.6).masked(ALLOWED[:5])


@every_distribution
def test_what_distributions_declare(make):
    distribution = make(0.6)
    assert isinstance(distribution, Distribution)
    given = distribution.restrict(obeys)
    if given is None:
        assert not distribution.exact_value or not isinstance(distribution, Enumerated)
    else:
        torch.testing.assert_close(given.value(), distribution.masked(ALLOWED).value())
    first, second = (distribution.value(seeded(i)) for i in (0, 1))
    assert torch.equal(first, second) == distribution.exact_value
