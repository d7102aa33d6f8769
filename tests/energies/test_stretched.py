"""Laws of real units seen through a stretch, beside integrals on a grid, in float64."""

import math

import pytest
import torch

import isinglass as ig
from tests.cases import double

GRID = torch.linspace(-14, 14, 1_401, dtype=torch.float64)
STEP = float(GRID[1] - GRID[0])


def law(temperature=0.6, size=2, memories=3, rows=2):
    mixture = ig.PatternMixture(
        ig.Gaussian(size),
        double(rows, memories, seed=1),
        double(rows, memories, size, seed=2),
        temperature,
    )
    return ig.Stretched(mixture, 0.6 + double(rows, size, seed=3).abs())


def plane():
    first, second = torch.meshgrid(GRID[::4], GRID[::4], indexing="ij")
    return torch.stack([first.flatten(), second.flatten()], -1)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0])
def test_values_are_integrals(temperature):
    found, points = law(temperature), plane()
    scores = found.score(points.unsqueeze(1).expand(-1, 2, -1))
    total = torch.logsumexp(scores / temperature, 0) + math.log((4 * STEP) ** 2)
    torch.testing.assert_close(found.value(), temperature * total, rtol=0, atol=1e-8)


def test_scores_are_the_mixture_s_at_stretched_states():
    found, state = law(), double(2, 2, seed=5)
    for row in range(2):
        hills = found.law.keys[row] + found.law.fields[row] @ (found.slopes[row] * state[row])
        score = 0.6 * torch.logsumexp(hills / 0.6, -1)
        score = score - (found.slopes[row] * state[row]).square().sum() / 2
        torch.testing.assert_close(found.score(state)[row], score)
    logs = found.log_prob(state)
    torch.testing.assert_close(logs, (found.score(state) - found.value()) / 0.6)


def test_conditionals_are_ratios_of_the_joint_law():
    found = law()
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


def test_draws_have_the_mean_and_spread_of_the_law():
    """One row many times: means within 4.5 of their standard errors."""
    one, draws = law(size=1), 40_000
    scores = one.score(GRID[:, None, None].expand(-1, 2, 1))[:, 0]
    shares = (scores / 0.6).softmax(0)
    many = ig.Stretched(
        ig.PatternMixture(
            ig.Gaussian(1), one.law.keys[0].expand(draws, -1), one.law.fields[0], 0.6
        ),
        one.slopes[0].expand(draws, -1),
    )
    drawn = many.sample(torch.Generator().manual_seed(0))[:, 0]
    for power in (1, 2):
        moment, spread = (shares * GRID**power).sum(), (shares * GRID ** (2 * power)).sum()
        error = float((spread - moment**2).sqrt()) / math.sqrt(draws)
        assert abs(float((drawn**power).mean() - moment)) < 4.5 * error


def test_greedy_states_are_the_top_of_the_law():
    found = law(temperature=0.2, size=1)
    scores = found.score(GRID[:, None, None].expand(-1, 2, 1))
    torch.testing.assert_close(found.score(found.mode()), scores.amax(0), rtol=0, atol=0.02)


def test_lowered_fields():
    found, penalty, state = law(), double(2, 2, seed=7), double(2, 2, seed=8)
    lowered = found.score(state) - (penalty * found.slopes * state).sum(-1)
    torch.testing.assert_close(found.lowered(penalty).score(state), lowered)
