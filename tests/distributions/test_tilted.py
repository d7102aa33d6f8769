"""A prior times exp(S/T): held against every state listed, in 64 bits."""

import math

import pytest
import torch

from isinglass import Bernoulli, Categorical, ConditionalRBM, Gaussian, Mixed, PatternMixture, Spin
from isinglass.distributions import Enumerated, ExpectedEnergyRBM, ScaledTruncatedMixture
from tests.seeds import shifted

UNITS = {
    "spins": Spin(5),
    "one": Categorical(4),
    "parts": Mixed([Categorical(2), Categorical(3), Categorical(2)]),
    "alike": Categorical(6, groups=2),
}
ROWS = 3


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(shifted(seed))
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def mixture(unit, patterns, temperature, seed, shared=False):
    rows = () if shared else (ROWS,)
    fields = draw(*rows, patterns, unit.size, seed=seed + 1)
    return PatternMixture(unit, draw(ROWS, patterns, seed=seed), fields, temperature)


def by_hand(values, prior):
    """T log Σ_v prior(v) exp(S(v)/T), and log-probabilities of all states, by listing them."""
    states = values.unit.enumerate_states().double()
    density = torch.log_softmax(prior.score_each(states) / prior.temperature, -1)
    logs = density + values.score_each(states) / values.temperature
    total = torch.logsumexp(logs, -1)
    return states, values.temperature * total, logs - total.unsqueeze(-1)


@pytest.mark.parametrize("unit", UNITS.values(), ids=UNITS)
@pytest.mark.parametrize("temperature", [0.05, 0.7, 3.0])
@pytest.mark.parametrize("shared", [False, True])
def test_two_mixtures_are_one_of_all_pairs(unit, temperature, shared):
    values = mixture(unit, 4, temperature, 0, shared)
    prior = mixture(unit, 3, 1.0, 10)
    states, value, logs = by_hand(values, prior)
    tilted = values.tilted(prior)
    assert tilted.keys.shape == (ROWS, 12)
    # Sums of a few terms of order 1/T, each rounded once.
    bound = 1e-13 * (1 + 1 / temperature)
    torch.testing.assert_close(tilted.value(), value, rtol=0, atol=bound)
    found = (tilted.score_each(states) - tilted.value().unsqueeze(-1)) / temperature
    torch.testing.assert_close(found, logs, rtol=0, atol=10 * bound / temperature)
    listed = Enumerated.of(values).tilted(prior)
    torch.testing.assert_close(listed.value(), value, rtol=0, atol=bound)


@pytest.mark.parametrize("unit", UNITS.values(), ids=UNITS)
def test_a_prior_of_another_temperature_is_the_same_density(unit):
    values, prior = mixture(unit, 4, 0.5, 0), mixture(unit, 3, 0.3, 10)
    _, value, _ = by_hand(values, prior)
    torch.testing.assert_close(values.tilted(prior).value(), value, rtol=0, atol=1e-12)


def test_a_restricted_machine_takes_the_patterns_in_as_one_more_group():
    unit, hidden, temperature = Spin(5), Bernoulli(3), 0.6
    values = ConditionalRBM(
        unit, draw(ROWS, 5), hidden, draw(ROWS, 3, seed=1), draw(3, 5, seed=2),
        temperature=temperature, offset=draw(ROWS, seed=3),
    )  # fmt: skip
    prior = mixture(unit, 4, 1.0, 10)
    prior = PatternMixture(unit, prior.keys, prior.fields[0], 1.0)
    _, value, _ = by_hand(values, prior)
    torch.testing.assert_close(
        Enumerated.of(values.tilted(prior)).value(), value, rtol=0, atol=1e-12
    )


def test_gaussians_in_a_box_are_held_against_a_grid():
    temperature, patterns = 0.4, 3
    unit = Gaussian(1)
    values = ScaledTruncatedMixture(
        mixture(unit, patterns, temperature, 0), draw(ROWS, 1, seed=5).exp(), bound=1.0
    )
    prior = ScaledTruncatedMixture(
        mixture(unit, 2, 1.0, 10), draw(ROWS, 1, seed=6).exp(), bound=1.0
    )
    tilted = values.tilted(prior)
    points = 20_001
    grid = torch.linspace(-1, 1, points, dtype=torch.float64)
    states = grid[:, None, None].expand(points, ROWS, 1)
    density = prior.log_prob(states)
    logs = density + values.score(states) / temperature
    weights = torch.full((points,), 2 / (points - 1), dtype=torch.float64)
    weights[0] = weights[-1] = 1 / (points - 1)
    value = temperature * torch.logsumexp(logs + weights.log()[:, None], 0)
    # The rule of trapezoids errs by h²/12 times the second derivative, here below 1e3.
    torch.testing.assert_close(tilted.value(), value, rtol=0, atol=1e-5)
    torch.testing.assert_close(tilted.score(states), temperature * logs, rtol=0, atol=1e-11)
    generator = torch.Generator().manual_seed(shifted(3))
    many = 40_000
    wide = ScaledTruncatedMixture(
        PatternMixture(unit, tilted.distribution.keys[:1].expand(many, -1),
                       tilted.distribution.fields[:1].expand(many, -1, -1), temperature),
        tilted.slopes[:1].expand(many, -1), bound=1.0,
    )  # fmt: skip
    shares = torch.softmax(logs[:, 0] + weights.log(), 0)
    mean, square = (shares * grid).sum(), (shares * grid.square()).sum()
    error = 5 * (square - mean.square()).sqrt() / math.sqrt(many)
    assert (wide.sample(generator).mean() - mean).abs() < error


def test_what_is_not_closed_in_form_says_so():
    values, prior = mixture(Spin(5), 4, 1.0, 0), mixture(Spin(5), 3, 1.0, 10)
    seen = torch.tensor([True, False, False, False, False])
    assert values.condition(torch.ones(ROWS, 5).double(), seen).tilted(prior) is None
    assert values.tilted(Enumerated.of(prior)) is None
    assert values.tilted(mixture(Spin(4), 3, 1.0, 0)) is None
    machine = ExpectedEnergyRBM(
        Spin(5), draw(ROWS, 5), Bernoulli(3), draw(ROWS, 3), draw(3, 5), temperature=1.0
    )
    assert machine.tilted(PatternMixture(Spin(5), prior.keys, prior.fields[0])) is None
