"""Distributions of real units seen through a stretch, beside integrals on a grid, in float64."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import isinglass as ig
from isinglass.errors import DomainError, ParameterError
from tests.cases import double
from tests.seeds import seeded

GRID = torch.linspace(-14, 14, 1_401, dtype=torch.float64)
STEP = float(GRID[1] - GRID[0])


def distribution(temperature=0.6, size=2, memories=3, rows=2, bound=math.inf):
    """Pinned, since the grid must hold its mass and resolve its steepest hill."""
    mixture = ig.PatternMixture(
        ig.Gaussian(size),
        double(rows, memories, seed=1, pinned=True),
        double(rows, memories, size, seed=2, pinned=True),
        temperature,
    )
    scale = 0.6 + double(rows, size, seed=3, pinned=True).abs()
    return ig.ScaledTruncatedMixture(mixture, scale, bound)


def in_box(bound):
    """Gauss's points in [−r, r] and their weights."""
    points, weights = np.polynomial.legendre.leggauss(120)
    return bound * torch.tensor(points), bound * torch.tensor(weights)


def plane():
    first, second = torch.meshgrid(GRID[::4], GRID[::4], indexing="ij")
    return torch.stack([first.flatten(), second.flatten()], -1)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0])
def test_values_are_integrals(temperature):
    found, points = distribution(temperature), plane()
    scores = found.score(points.unsqueeze(1).expand(-1, 2, -1))
    total = torch.logsumexp(scores / temperature, 0) + math.log((4 * STEP) ** 2)
    torch.testing.assert_close(found.value(), temperature * total, rtol=0, atol=1e-8)


@pytest.mark.parametrize("temperature", [0.05, 0.3, 2.0])
@pytest.mark.parametrize("bound", [0.3, 1.0, 3.0])
def test_values_in_a_box_are_integrals_over_it(temperature, bound):
    found, (points, weights) = distribution(temperature, bound=bound), in_box(bound)
    states = torch.cartesian_prod(points, points)
    scores = found.score(states.unsqueeze(1).expand(-1, 2, -1))
    logs = torch.cartesian_prod(weights, weights).prod(-1).log().unsqueeze(-1)
    total = torch.logsumexp(scores / temperature + logs, 0)
    torch.testing.assert_close(found.value(), temperature * total, rtol=0, atol=1e-8)


def test_slopes_of_values_in_a_box():
    def value(keys, fields, slopes):
        return ig.ScaledTruncatedMixture(
            ig.PatternMixture(ig.Gaussian(2), keys, fields, 0.6), slopes, 0.9
        ).value()

    found = distribution()
    inputs = (found.distribution.keys, found.distribution.fields, found.slopes)
    torch.autograd.gradcheck(value, [x.clone().requires_grad_() for x in inputs])


def test_a_component_far_outside_its_box_has_finite_values_and_slopes():
    field = torch.tensor([[50.0]], requires_grad=True)
    one = ig.PatternMixture(ig.Gaussian(1), torch.zeros(1), field, 0.01)
    value = ig.ScaledTruncatedMixture(one, torch.ones(1), 1.0).value()
    value.backward()
    assert bool(value.isfinite())
    assert bool(field.grad.isfinite())


def test_conditionals_in_a_box():
    found, (points, weights) = distribution(bound=0.8), in_box(0.8)
    given = torch.tensor([[0.3, torch.nan], [-0.7, torch.nan]], dtype=torch.float64)
    rest = found.condition(given, torch.tensor([True, False]))
    line = torch.stack([given[:, :1].expand(2, len(points)), points.expand(2, -1)], -1)
    for row in range(2):
        joint = found.score(line[row].unsqueeze(1).expand(-1, 2, -1))[:, row]
        value = 0.6 * torch.logsumexp(joint / 0.6 + weights.log(), 0)
        torch.testing.assert_close(rest.value()[row], value, rtol=0, atol=1e-8)
    drawn = rest.sample()
    torch.testing.assert_close(drawn[:, 0], given[:, 0])
    assert bool((drawn[:, 1].abs() <= 0.8).all())


@pytest.mark.parametrize("bound", [0.0, -1.0, math.nan])
def test_a_box_without_width(bound):
    with pytest.raises(ParameterError, match="bound"):
        distribution(bound=bound)


def test_scores_are_the_mixture_s_at_stretched_states():
    found, state = distribution(), double(2, 2, seed=5)
    for row in range(2):
        scores = found.distribution.keys[row] + found.distribution.fields[row] @ (
            found.slopes[row] * state[row]
        )
        score = 0.6 * torch.logsumexp(scores / 0.6, -1)
        score = score - (found.slopes[row] * state[row]).square().sum() / 2
        torch.testing.assert_close(found.score(state)[row], score)
    logs = found.log_prob(state)
    torch.testing.assert_close(logs, (found.score(state) - found.value()) / 0.6)


def test_conditionals_are_ratios_of_the_joint_distribution():
    found = distribution()
    given = torch.tensor([[0.3, torch.nan], [-0.7, torch.nan]], dtype=torch.float64)
    observed = torch.tensor([True, False])
    rest = found.condition(given, observed)
    line = torch.stack([given[:, :1].expand(2, len(GRID)), GRID.expand(2, -1)], -1)
    for row in range(2):
        states = line[row]
        joint = found.score(states.unsqueeze(1).expand(-1, 2, -1))[:, row]
        value = 0.6 * (torch.logsumexp(joint / 0.6, 0) + math.log(STEP))
        torch.testing.assert_close(rest.value()[row], value, rtol=0, atol=1e-8)
        again = rest.score(states.unsqueeze(1).expand(-1, 2, -1))[:, row]
        torch.testing.assert_close(again, joint)
    drawn = rest.sample()
    torch.testing.assert_close(drawn[:, 0], given[:, 0])


@pytest.mark.parametrize("bound", [math.inf, 0.5, 2.0])
def test_draws_have_the_mean_and_spread_of_the_distribution(bound):
    """One row many times: means within 5 of their standard errors."""
    one, draws = distribution(size=1, bound=bound), 40_000
    points, weights = (GRID, torch.ones_like(GRID)) if math.isinf(bound) else in_box(bound)
    scores = one.score(points[:, None, None].expand(-1, 2, 1))[:, 0]
    shares = (scores / 0.6 + weights.log()).softmax(0)
    many = ig.ScaledTruncatedMixture(
        ig.PatternMixture(
            ig.Gaussian(1),
            one.distribution.keys[0].expand(draws, -1),
            one.distribution.fields[0],
            0.6,
        ),
        one.slopes[0].expand(draws, -1),
        bound,
    )
    drawn = many.sample(seeded(0))[:, 0]
    for power in (1, 2):
        moment, spread = (shares * points**power).sum(), (shares * points ** (2 * power)).sum()
        error = float((spread - moment**2).sqrt()) / math.sqrt(draws)
        assert abs(float((drawn**power).mean() - moment)) < 5 * error


def test_greedy_states_are_the_top_of_the_distribution():
    found = distribution(temperature=0.2, size=1)
    scores = found.score(GRID[:, None, None].expand(-1, 2, 1))
    torch.testing.assert_close(found.score(found.mode()), scores.amax(0), rtol=0, atol=0.02)


def test_greedy_states_stay_in_the_box():
    found = distribution(bound=0.4)
    left = replace(found.distribution, fields=found.distribution.fields - 9)
    pushed = replace(found, distribution=left)
    torch.testing.assert_close(pushed.mode(), torch.full((2, 2), -0.4, dtype=torch.float64))


def test_real_units_take_no_mask():
    found = distribution()
    assert found.masked(torch.ones(2, dtype=torch.bool)) is found
    with pytest.raises(DomainError, match="a mask of the real units"):
        found.masked(torch.tensor([True, False]))
