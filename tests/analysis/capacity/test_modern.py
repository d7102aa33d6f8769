"""The theorems of the modern Hopfield network, held against what it does."""

import math

import pytest
import torch
from torch import nn

import isinglass as ig
from isinglass.analysis import capacity
from isinglass.errors import DomainError, ParameterError, ShapeError
from tests.cases import double


def on_sphere(count, size, radius, seed=0):
    return radius * nn.functional.normalize(double(count, size, seed=seed), dim=-1)


def test_separation_is_its_definition():
    patterns = double(40, 6)
    expected = [
        min(float(x @ x - x @ y) for j, y in enumerate(patterns) if j != i)
        for i, x in enumerate(patterns)
    ]
    torch.testing.assert_close(capacity.separation(patterns), torch.tensor(expected).double())
    assert capacity.separation(patterns[:1]).isinf().all()
    assert capacity.separation(patterns[[0, 0]]).abs().max() < 1e-12


def test_separation_in_blocks():
    """5,000 patterns are two blocks: the diagonal of each is where it should be."""
    patterns = double(5000, 3)
    overlap = patterns @ patterns.T
    expected = overlap.diagonal().clone() - overlap.fill_diagonal_(-torch.inf).amax(-1)
    torch.testing.assert_close(capacity.separation(patterns), expected)


def test_separation_is_differentiable():
    assert torch.autograd.gradcheck(capacity.separation, double(6, 3).requires_grad_())


@pytest.mark.parametrize("beta", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("radius", [0.0, 0.1, 0.5])
def test_errors_are_below_the_bounds(beta, radius):
    """Theorems 4 and 5 at cues at the distance given, near and far from proven basins."""
    patterns = on_sphere(12, 20, 4.0) * torch.linspace(0.8, 1.0, 12).double().unsqueeze(-1)
    memory = ig.ModernHopfield(patterns, beta)
    fixed = memory.recall(patterns, max_steps=2000).state
    away = (fixed - patterns).norm(dim=-1)
    told = 0
    for seed in range(10):
        cues = patterns + on_sphere(12, 20, radius, seed=seed + 1)
        moved = memory.cccp_update(cues)
        distance = away.clamp_min(radius)
        bound = capacity.retrieval_error_bound(patterns, beta, distance)
        assert ((moved - patterns).norm(dim=-1) <= bound).all()
        slope = capacity.jacobian_bound(patterns, beta, distance)
        shrunk = (moved - fixed).norm(dim=-1) <= slope * (cues - fixed).norm(dim=-1) + 1e-12
        assert shrunk.all()
        told += int((bound < 1).sum())
    assert told > 0 or beta < 1  # a bound above the norm itself would say nothing


def test_error_bound_is_tight_to_its_factors():
    """Two opposite patterns: the error is 2M e^(−2βM²) to first order, as is the bound."""
    patterns, beta = torch.tensor([[2.0], [-2.0]]).double(), 2.0
    error = (ig.ModernHopfield(patterns, beta).cccp_update(patterns) - patterns).abs()[0, 0]
    bound = capacity.retrieval_error_bound(patterns, beta)[0]
    assert float(error / bound) == pytest.approx(1.0, rel=1e-6)


def test_jacobian_bound_holds_of_the_jacobian():
    patterns, beta = on_sphere(8, 10, 3.0), 1.0
    memory = ig.ModernHopfield(patterns, beta)
    for x, bound in zip(patterns, capacity.jacobian_bound(patterns, beta), strict=True):
        jacobian = torch.autograd.functional.jacobian(memory.cccp_update, x)
        assert float(torch.linalg.matrix_norm(jacobian, 2)) <= bound


def test_cues_in_a_proven_basin_go_to_one_fixed_point():
    patterns, beta = on_sphere(10, 30, 5.0), 1.0
    memory = ig.ModernHopfield(patterns, beta)
    radius = capacity.basin_radius(patterns, beta)
    torch.testing.assert_close(radius, torch.full((10,), 1 / (beta * 10 * 5.0)).double())
    fixed = memory.recall(patterns).state
    assert ((fixed - patterns).norm(dim=-1) <= radius).all()
    assert (
        (fixed - patterns).norm(dim=-1) <= capacity.fixed_point_error_bound(patterns, beta)
    ).all()
    for seed in range(5):
        cues = patterns + on_sphere(10, 30, 1.0, seed=seed) * radius.unsqueeze(-1)
        moved = memory.cccp_update(cues)
        assert ((moved - patterns).norm(dim=-1) <= radius).all()  # into itself
        torch.testing.assert_close(memory.recall(cues).state, fixed)


def test_nothing_is_proven_of_patterns_too_near():
    patterns = on_sphere(5, 30, 5.0)
    patterns = torch.cat([patterns, patterns[:1] + 1e-3])
    near = torch.tensor([True, False, False, False, False, True])
    assert torch.equal(capacity.basin_radius(patterns, 1.0) == 0, near)
    assert torch.equal(capacity.fixed_point_error_bound(patterns, 1.0).isinf(), near)


def test_below_the_contraction_beta_all_cues_meet():
    patterns = double(9, 4) + 3.0
    beta = 0.99 * capacity.contraction_beta(patterns)
    found = ig.ModernHopfield(patterns, beta).recall(double(50, 4, scale=5.0), max_steps=5000)
    assert (found.state - found.state[0]).abs().max() < 1e-9
    pair = torch.tensor([[2.0], [-2.0]]).double()  # here the condition is necessary, too
    assert capacity.contraction_beta(pair) == 0.25
    above = ig.ModernHopfield(pair, 1.05 * capacity.contraction_beta(pair))
    ends = above.recall(pair, max_steps=5000).state
    assert (ends[0] - ends[1]).abs() > 0.5
    assert capacity.contraction_beta(pair[:1]) == math.inf


def test_capacity_of_the_paper():
    """The two cases of Theorem 3, to its four decimals (it cuts the second: 1.37188)."""
    one = capacity.storage_capacity(beta=1.0, scale=3.0, size=20, failure=0.001)
    two = capacity.storage_capacity(beta=1.0, scale=1.0, size=75, failure=0.001)
    assert one.base == pytest.approx(3.1546, abs=5e-5)
    assert math.floor(two.base * 1e4) / 1e4 == 1.3718
    assert one.proven
    assert two.proven
    assert one.count == pytest.approx(math.sqrt(0.001) * one.base ** (19 / 4))


@pytest.mark.parametrize("beta", [1e-9, 0.01, 1.0, 50.0])
@pytest.mark.parametrize("size", [2, 20, 5000])
def test_capacity_solves_its_equation(beta, size):
    """c = b/W with W e^W = e^(a + log b), in logs: W + log W = a + log b."""
    found = capacity.storage_capacity(beta, 2.0, size, 0.01)
    a = 2 / (size - 1) * (1 + math.log(2 * beta * 4 * 0.01 * (size - 1)))
    b = 2 * 4 * beta / 5
    w = b / found.base
    assert w + math.log(w) == pytest.approx(a + math.log(b), rel=1e-12, abs=1e-12)
    assert found.proven == (found.base >= (2 / math.sqrt(0.01)) ** (4 / (size - 1)))
    expected = math.log(0.1) + (size - 1) / 4 * math.log(found.base)
    assert found.log_count == pytest.approx(expected)
    assert found.count == (math.exp(expected) if expected < 709 else math.inf) or expected < 709


def test_as_many_random_patterns_are_stored_as_the_theorem_says():
    """200 draws of ⌊√p c^((d−1)/4)⌋ patterns: all stored in all but a share p of the draws."""
    scale, size, failure, draws = 3.0, 20, 0.01, 200
    count = int(capacity.storage_capacity(1.0, scale, size, failure).count)
    assert count >= 10
    radius = scale * math.sqrt(size - 1)
    failed = 0
    for seed in range(draws):
        patterns = on_sphere(count, size, radius, seed=seed)
        ball = 1 / (count * radius)  # β = 1
        cues = torch.cat([patterns, patterns + on_sphere(count, size, ball, seed=seed + draws)])
        found = ig.ModernHopfield(patterns).recall(cues)
        within = (found.state - patterns.repeat(2, 1)).norm(dim=-1) <= ball
        failed += not bool(within.all())
    assert failed <= failure * draws + 5 * math.sqrt(failure * draws)
    # Measured: none at all. The theorem is far from tight: see the page on capacity.
    assert failed == 0


def test_exact_retrieval_radius_is_the_largest_that_is_sure():
    """Two opposite patterns and a cue moved straight toward the other: exact up to the radius."""
    patterns, beta = torch.tensor([[2.0, 0.0], [-2.0, 0.0]]).double(), 1.0
    memory = ig.SparseHopfield(patterns, beta, 2.0)
    radius = capacity.exact_retrieval_radius(patterns, beta, memory.margin)
    toward = torch.tensor([[-1.0, 0.0], [1.0, 0.0]]).double()
    inside = patterns + 0.999 * radius.unsqueeze(-1) * toward
    beyond = patterns + 1.001 * radius.unsqueeze(-1) * toward
    assert torch.equal(memory.cccp_update(inside), patterns)
    assert not torch.equal(memory.cccp_update(beyond), patterns)
    assert (capacity.exact_retrieval_radius(patterns, 0.1) == 0).all()


def test_bad_input(unannotated):
    patterns = double(4, 3)
    for call in (
        capacity.separation,
        capacity.contraction_beta,
        lambda x: capacity.basin_radius(x, 1.0),
        lambda x: capacity.retrieval_error_bound(x, 1.0),
        lambda x: capacity.jacobian_bound(x, 1.0),
        lambda x: capacity.fixed_point_error_bound(x, 1.0),
        lambda x: capacity.exact_retrieval_radius(x, 1.0),
    ):
        with pytest.raises(ShapeError, match="at least one pattern"):
            call(torch.zeros(0, 3))
        with pytest.raises(DomainError, match="NaN"):
            call(torch.full((2, 3), torch.nan))
    for call in (
        capacity.basin_radius,
        capacity.retrieval_error_bound,
        capacity.jacobian_bound,
        capacity.fixed_point_error_bound,
        capacity.exact_retrieval_radius,
    ):
        for beta in (0.0, math.nan, "1"):
            with pytest.raises(ParameterError, match="beta"):
                call(patterns, beta)
    for distance in (-0.1, torch.tensor([0.1, -0.1, 0.0, 0.0]), math.nan):
        with pytest.raises(DomainError, match="distance"):
            capacity.retrieval_error_bound(patterns, 1.0, distance)
    with pytest.raises(ParameterError, match="margin"):
        capacity.exact_retrieval_radius(patterns, 1.0, 0.0)
    good = {"beta": 1.0, "scale": 1.0, "size": 20, "failure": 0.1}
    for name, values in {
        "beta": [0.0, math.nan], "scale": [0.0, -1.0], "size": [1, 2.5], "failure": [0.0, 1.5],
    }.items():  # fmt: skip
        for value in values:
            with pytest.raises(ParameterError, match=name):
                capacity.storage_capacity(**good | {name: value})
    with pytest.raises(ParameterError, match="overflow"):
        capacity.storage_capacity(1e-300, 1.0, 2, 1.0)


def test_bounds_by_hand():
    """Three orthogonal patterns of length M = 2: N = 3, Δ = 4."""
    patterns = 2 * torch.eye(3).double()

    def check(found, expected):
        torch.testing.assert_close(found, torch.full((3,), expected).double())

    # Without a distance, and at r = ¼, where Δ − 2rM = 3.
    check(capacity.retrieval_error_bound(patterns, 2.0), 8 * math.exp(-8))
    check(capacity.retrieval_error_bound(patterns, 2.0, 0.25), 8 * math.exp(-6))
    check(capacity.jacobian_bound(patterns, 2.0), 96 * math.exp(-8))
    check(capacity.jacobian_bound(patterns, 2.0, 0.25), 96 * math.exp(-6))
    check(capacity.fixed_point_error_bound(patterns, 2.0), 8 * math.exp(1 - 8))
    # β = 1 needs Δ ≥ ⅔ + log 48 = 4.54, of which log 48 alone is 3.87; β = 2 needs 2.62.
    check(capacity.basin_radius(patterns, 2.0), 1 / 12)
    check(capacity.basin_radius(patterns, 1.0), 0.0)
