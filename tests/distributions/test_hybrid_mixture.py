"""Mixtures of discrete and real units, beside sums over the first and integrals over the second."""

import math

import numpy as np
import pytest
import torch

import isinglass as ig
from isinglass.distributions import Enumerated, HybridMixture
from isinglass.errors import DomainError, IntractableError, ParameterError, ShapeError
from tests.cases import double
from tests.seeds import seeded

#: Choices, a real axis, a bit, and another real axis: kinds interleave.
UNIT = ig.Mixed([ig.Categorical(3), ig.Gaussian(1), ig.Spin(1), ig.Gaussian(1)])
KINDS = ig.Mixed([ig.Categorical(3), ig.Spin(1)])
REAL = torch.tensor([False, False, False, True, False, True])
POINTS, WEIGHTS = map(torch.tensor, np.polynomial.legendre.leggauss(100))


def mixture(temperature=0.6, rows=2, memories=3, bound=1.0):
    """Pinned, since Gauss's points must resolve its steepest hill."""
    patterns = ig.PatternMixture(
        KINDS,
        double(rows, memories, seed=1, pinned=True),
        double(rows, memories, KINDS.size, seed=2, pinned=True),
        temperature,
    )
    centers = torch.tanh(double(rows, memories, 2, seed=3, pinned=True)) * bound
    slopes = 0.2 + double(rows, memories, 2, seed=4, pinned=True).abs()
    return HybridMixture(UNIT, patterns, centers, slopes, bound)


def written_out(found, state):
    """The score by its formula, pattern by pattern."""
    kinds, x = state[~REAL], state[REAL]
    total = []
    for row in range(len(found.centers)):
        each = [
            key + field @ kinds - ((slope * (x - center)) ** 2).sum() / 2
            for key, field, center, slope in zip(
                found.distribution.keys[row], found.distribution.fields[row],
                found.centers[row], found.slopes[row], strict=True,
            )
        ]  # fmt: skip
        total.append(found.temperature * torch.logsumexp(torch.stack(each) / found.temperature, 0))
    return torch.stack(total)


def grid(bound=1.0):
    """Every discrete state with Gauss's points on both axes, and the log-weight of each."""
    kinds, plane = KINDS.enumerate_states(), torch.cartesian_prod(POINTS, POINTS) * bound
    weights = torch.cartesian_prod(WEIGHTS, WEIGHTS).prod(-1) * bound**2
    states = torch.empty(len(kinds), len(plane), UNIT.size, dtype=torch.float64)
    states[..., ~REAL] = kinds.unsqueeze(1)
    states[..., REAL] = plane
    return states.flatten(0, 1), weights.log().repeat(len(kinds))


def integral(found, states, logs):
    """T log ∫ exp(S/T), row by row."""
    scores = found.score(states.unsqueeze(1).expand(-1, 2, -1))
    return found.temperature * torch.logsumexp(scores / found.temperature + logs.unsqueeze(-1), 0)


@pytest.mark.parametrize("temperature", [0.1, 0.6, 2.0])
@pytest.mark.parametrize("bound", [0.5, 1.0, 3.0])
def test_values_are_sums_of_integrals(temperature, bound):
    found = mixture(temperature, bound=bound)
    states, logs = grid(bound)
    for state in states[:: len(states) // 7]:
        torch.testing.assert_close(found.score(state.expand(2, -1)), written_out(found, state))
    exact = integral(found, states, logs)
    torch.testing.assert_close(found.value(), exact, rtol=0, atol=1e-9)
    logs = found.log_prob(states.unsqueeze(1).expand(-1, 2, -1)) + logs.unsqueeze(-1)
    torch.testing.assert_close(logs.exp().sum(0), torch.ones(2).double(), rtol=0, atol=1e-9)


CLAMPED = {
    "the choice": [0, 1, 2],
    "an axis": [3],
    "a bit and an axis": [4, 5],
    "all that is real": [3, 5],
}


@pytest.mark.parametrize("which", CLAMPED)
def test_conditionals_are_joints_over_marginals(which):
    """log p(free | observed) = log p(free, observed) − log ∫ p(free, observed) d(free)."""
    found = mixture()
    observed = torch.zeros(UNIT.size, dtype=torch.bool)
    observed[CLAMPED[which]] = True
    given = torch.tensor([0.0, 1.0, 0.0, 0.35, -1.0, -0.6], dtype=torch.float64)
    free, _ = grid()
    states = torch.where(observed, given, free)
    # What is clamped is no longer summed over: one representative of each state of the rest.
    kept = (~observed | (free == free[0])).all(-1)
    measure = sum(
        WEIGHTS[torch.searchsorted(POINTS, free[kept][:, axis].contiguous())].log()
        for axis in (3, 5)
        if not observed[axis]
    )
    measure = measure + torch.zeros(int(kept.sum())).double()
    states = states[kept].unsqueeze(1).expand(-1, 2, -1)
    joint = found.score(states) / found.temperature + measure.unsqueeze(-1)
    marginal = torch.logsumexp(joint, 0) * found.temperature
    conditional = found.condition(given.expand(2, -1), observed)
    torch.testing.assert_close(conditional.value(), marginal, rtol=0, atol=1e-9)
    torch.testing.assert_close(conditional.score(states), found.score(states))
    twice = found.condition(given.expand(2, -1), observed & ~REAL)
    twice = twice.condition(given.expand(2, -1), observed & REAL)
    torch.testing.assert_close(twice.value(), marginal, rtol=0, atol=1e-9)
    for state in (conditional.sample(seeded(1)), conditional.mode(), twice.sample(seeded(1))):
        torch.testing.assert_close(state[:, observed], given[observed].expand(2, -1))


def test_draws_are_from_the_distribution():
    """Shares of discrete states, and of halves of each axis given them, within 5 σ."""
    found, draws = mixture(0.4, rows=1), 20_000
    wide = HybridMixture(
        UNIT,
        ig.PatternMixture(
            KINDS,
            found.distribution.keys.expand(draws, -1),
            found.distribution.fields.expand(draws, -1, -1),
            0.4,
        ),
        found.centers,
        found.slopes,
    )
    states = wide.sample(seeded(7))
    assert UNIT.contains(states).all()
    assert (states[:, REAL].abs() <= 1).all()
    points, logs = grid()
    shares = (found.log_prob(points.unsqueeze(1)).squeeze(1) + logs).exp()
    for kind in KINDS.enumerate_states():
        for first in (False, True):
            for second in (False, True):
                here, drawn = (
                    (s[:, ~REAL] == kind).all(-1) & ((s[:, 3] > 0.2) == first)
                    & ((s[:, 5] > 0) == second)
                    for s in (points, states)
                )  # fmt: skip
                p = float(shares[here].sum())
                error = math.sqrt(p * (1 - p) / draws)
                # Gauss's points resolve an edge at 0.2 to half a weight of one point in share.
                assert abs(float(drawn.double().mean()) - p) < 5 * error + 0.02 * p


def test_masks_rule_out_discrete_values():
    found = mixture()
    allowed = torch.tensor([True, False, True, True, False, True])  # no second choice, bit low
    masked = found.masked(allowed)
    states, logs = grid()
    within = (states[:, 1] == 0) & (states[:, 4] == -1)
    exact = integral(found, states[within], logs[within])
    torch.testing.assert_close(masked.value(), exact, rtol=0, atol=1e-9)
    assert masked.score(states[~within & (states[:, 1] == 1)][:1].expand(2, -1)).isneginf().all()
    for state in (masked.sample(seeded(3)), masked.mode()):
        assert (state[:, 1] == 0).all()
        assert (state[:, 4] == -1).all()
    with pytest.raises(DomainError, match="real units"):
        found.masked(~REAL)
    with pytest.raises(DomainError):
        found.condition(torch.tensor([0.0, 1, 0, 0, 1, 0]).double().expand(2, -1),
                        torch.tensor([True] * 3 + [False] * 3)).masked(allowed)  # fmt: skip


@pytest.mark.parametrize("temperature", [0.01, 0.3])
def test_greedy_states_are_the_best(temperature):
    """Nothing on the grid is better; where it is cold. Where it is warm none nearby is."""
    found = mixture(temperature, rows=2, memories=6)
    best, (states, _) = found.mode(), grid()
    score = found.score(best)
    if temperature < 0.1:
        others = found.score(states.unsqueeze(1).expand(-1, 2, -1)).amax(0)
        assert (score >= others - 1e-9).all()
    start = found.mode(refinements=0)
    assert (score >= found.score(start) - 1e-12).all()
    settled = found.mode(refinements=300)
    for step in torch.eye(UNIT.size, dtype=torch.float64)[REAL] * 1e-3:
        for side in (settled + step, settled - step):
            inside = side.clamp(-1, 1)
            assert (found.score(inside) <= found.score(settled) + 1e-9).all()


def test_it_is_differentiable():
    found = mixture(0.5)
    states = grid()[0][::97]

    def through(keys, fields, centers, slopes):
        patterns = ig.PatternMixture(KINDS, keys, fields, 0.5)
        new = HybridMixture(UNIT, patterns, centers, slopes)
        return new.score(states[:2]), new.value()

    parts = found.distribution.keys, found.distribution.fields, found.centers, found.slopes
    assert torch.autograd.gradcheck(through, [p.clone().requires_grad_() for p in parts])


@pytest.mark.usefixtures("unannotated")
def test_what_does_not_fit_is_refused():
    found = mixture()
    with pytest.raises(ParameterError, match="bound"):
        mixture(bound=math.inf)
    with pytest.raises(ShapeError, match="centers"):
        HybridMixture(UNIT, found.distribution, found.centers[..., :1], found.slopes)
    with pytest.raises(ShapeError):
        found.score(torch.zeros(2, 5).double())
    with pytest.raises(ShapeError, match="one-hot"):
        found.condition(torch.zeros(2, 6).double(), torch.tensor([True] + [False] * 5))
    with pytest.raises(IntractableError):
        Enumerated.of(found)
