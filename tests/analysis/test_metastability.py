"""Association weights: how many patterns they stand for, and which kind of rest that is."""

import math

import pytest
import torch

import isinglass as ig
from isinglass.analysis.metastability import FixedPoint, classify, metastable_size
from isinglass.errors import DomainError, ParameterError, ShapeError
from tests.cases import double


def smallest(weights, mass):
    """One row at a time, one weight at a time, in exact sums."""
    largest = sorted(weights.tolist(), reverse=True)
    return next(k for k in range(1, len(largest) + 1) if math.fsum(largest[:k]) >= mass - 1e-12)


@pytest.mark.parametrize("mass", [0.1, 0.5, 0.9, 0.99])
def test_size_is_the_smallest_that_holds_the_mass(mass):
    weights = torch.softmax(double(20, 3, 30, scale=3.0), -1)
    expected = [smallest(row, mass) for row in weights.flatten(0, 1)]
    assert metastable_size(weights, mass).flatten().tolist() == expected


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_uniform_weights_are_not_one_too_many_for_rounding(dtype):
    for count in (10, 60, 330, 3000):
        weights = torch.full((count,), 1 / count, dtype=dtype)
        assert metastable_size(weights) == 0.9 * count


def test_all_the_mass_is_every_pattern_with_weight():
    weights = torch.tensor([[0.5, 0.0, 0.25, 0.25], [0.0, 0.0, 1.0, 0.0], [0.0] * 4])
    assert metastable_size(weights, 1.0).tolist() == [3, 1, 0]


def test_only_shares_count():
    weights = double(10, 30).abs()
    assert torch.equal(metastable_size(weights), metastable_size(7 * weights))


@pytest.mark.parametrize(
    ("size", "kind"),
    [(0, "NONE"), (1, "SINGLE"), (2, "METASTABLE"), (15, "METASTABLE"), (16, "GLOBAL")],
)
def test_kinds_by_size(size, kind):
    weights = (torch.arange(30) < size).double()
    assert metastable_size(weights, 1.0) == size
    assert classify(weights, 1.0) == FixedPoint[kind]


def test_small_middle_and_large_beta():
    """Three pairs of near twins: one blend of all, a blend of each pair, each by itself."""
    ends = torch.eye(3, dtype=torch.float64).repeat_interleave(2, 0)
    patterns = torch.cat([ends, 0.2 * torch.tensor([[1.0], [-1.0]] * 3).double()], -1)
    kinds = {}
    for beta in (0.1, 8.0, 200.0):
        memory = ig.ModernHopfield(patterns, beta)
        found = memory.recall(patterns, max_steps=1000)
        kinds[beta] = set(classify(memory.association(found.state)).tolist())
    assert kinds == {0.1: {FixedPoint.GLOBAL}, 8.0: {FixedPoint.METASTABLE},
                     200.0: {FixedPoint.SINGLE}}  # fmt: skip


def test_under_vmap():
    weights = torch.softmax(double(4, 9), -1)
    assert torch.equal(torch.vmap(classify)(weights), classify(weights))


def test_bad_input(unannotated):
    with pytest.raises(ShapeError, match="at least one pattern"):
        metastable_size(torch.zeros(3, 0))
    with pytest.raises(ShapeError, match="at least one pattern"):
        classify(torch.tensor(1.0))
    with pytest.raises(DomainError, match="negative"):
        metastable_size(torch.tensor([0.5, -0.5]))
    with pytest.raises(DomainError, match="NaN"):
        metastable_size(torch.tensor([0.5, torch.nan]))
    with pytest.raises(DomainError, match="int64"):
        metastable_size(torch.ones(3, dtype=torch.int64))
    with pytest.raises(DomainError, match="as_tensor"):
        classify([0.5, 0.5])
    for mass in (0.0, 1.1, -1.0, math.nan, "all"):
        with pytest.raises(ParameterError, match="mass"):
            metastable_size(torch.ones(3), mass)
