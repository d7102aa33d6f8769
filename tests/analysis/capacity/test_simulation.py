"""Simulations against the theory, within the standard error of the simulation."""

from functools import partial

import pytest
import torch

from isinglass import ClassicalHopfield, DenseMemory
from isinglass.analysis.capacity import (
    Estimate,
    critical_load,
    dense_one_step_error,
    large_size_limit,
    one_step_error,
    retrieval_overlap,
    simulate_one_step_error,
    simulate_overlaps,
)
from isinglass.energies import PseudoInverse
from isinglass.errors import ParameterError
from tests.seeds import seeded

SIZE = 400


@pytest.mark.parametrize("load", [0.1, 0.2, 0.4])
def test_one_step_by_hebb(load, generator):
    found = simulate_one_step_error(
        ClassicalHopfield, int(load * SIZE), SIZE, trials=20, generator=generator
    )
    # The formula is right to order 1/d: N − 1 other patterns, fields in steps of 2/d.
    slack = abs(one_step_error(load) - one_step_error(load * (1 + 2 / (load * SIZE))))
    assert abs(found.mean - one_step_error(load)) < 5 * found.error + slack
    assert found.error < 0.1 * found.mean


@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize(("degree", "size", "load"), [(3, 100, 0.08), (4, 40, 0.02)])
def test_one_step_of_dense_memories(degree, size, load, rectified, generator):
    build = partial(DenseMemory, degree=degree, rectified=rectified)
    count = round(load * size ** (degree - 1))
    found = simulate_one_step_error(build, count, size, trials=8, generator=generator)
    expected = dense_one_step_error(load, degree, rectified=rectified, size=size)
    assert abs(found.mean - expected) < 5 * found.error
    assert found.error < 0.1 * found.mean


def test_recall_below_and_above_the_critical_load(generator):
    below = simulate_overlaps(ClassicalHopfield, 100, 1000, trials=4, generator=generator)
    assert below.shape == (4, 100)
    seen = Estimate.of(below.mean(-1))
    assert abs(seen.mean - retrieval_overlap(0.1)) < 5 * seen.error + 1e-3
    above = simulate_overlaps(ClassicalHopfield, 250, 1000, trials=2, generator=generator, cues=50)
    assert critical_load() < 0.25
    assert above.shape == (2, 50)
    assert (above > 0.9).float().mean() < 0.05


def test_flipped_cues_are_mended_by_the_rule_that_is_asked_for(generator):
    overlaps = simulate_overlaps(
        partial(ClassicalHopfield, rule=PseudoInverse()), 20, 200,
        trials=2, generator=generator, flipped=0.1,
    )  # fmt: skip
    assert (overlaps == 1).all()


def test_seeds_are_all_that_counts():
    one, two = (
        simulate_overlaps(
            ClassicalHopfield, 30, 100, trials=2, flipped=0.2,
            generator=seeded(4),
        )
        for _ in range(2)
    )  # fmt: skip
    assert torch.equal(one, two)


def test_bad_input(generator):
    for wrong in ({"trials": 1}, {"patterns": 0}, {"size": 0}, {"looked_at": 0}):
        given = {"patterns": 3, "size": 10, "trials": 2} | wrong
        with pytest.raises(ParameterError, match=next(iter(wrong))):
            simulate_one_step_error(ClassicalHopfield, generator=generator, **given)
    for wrong in ({"trials": 0}, {"flipped": 1.5}, {"cues": 0}):
        given = {"patterns": 3, "size": 10, "trials": 2} | wrong
        with pytest.raises(ParameterError, match=next(iter(wrong))):
            simulate_overlaps(ClassicalHopfield, generator=generator, **given)
    for sizes, errors in (([5, 5], [1.0, 1.0]), ([5, 6], [1.0]), ([5, 6], [1.0, 0.0])):
        with pytest.raises(ParameterError, match=r"sizes|error"):
            large_size_limit(sizes, [0.1, 0.2], errors, 0.5)
    with pytest.raises(ParameterError, match="at least two"):
        Estimate.of(torch.ones(1))


@pytest.mark.parametrize("exponent", [0.5, 2 / 3])
def test_large_sizes_by_the_line_through_the_points(exponent, generator):
    """Points on a line are met; scattered ones are off by as much as the error says."""
    sizes = [100, 200, 400, 800]
    true = torch.tensor([0.14 + 0.7 * size**-exponent for size in sizes], dtype=torch.float64)
    exact = large_size_limit(sizes, true.tolist(), [0.01, 0.02, 0.01, 0.03], exponent)
    assert abs(exact.mean - 0.14) < 1e-12
    noise = 0.01 * torch.randn(400, 4, dtype=torch.float64, generator=generator)
    limits = [large_size_limit(sizes, row, [0.01] * 4, exponent) for row in (true + noise).tolist()]
    z = torch.tensor([(limit.mean - 0.14) / limit.error for limit in limits])
    assert abs(z.mean()) < 5 / 400**0.5
    assert abs(z.std() - 1) < 5 / 800**0.5


def test_standard_error_is_of_the_unbiased_variance():
    found = Estimate.of(torch.tensor([0.9, 1.0, 1.1]))
    assert found.mean == pytest.approx(1.0)
    assert found.error == pytest.approx(0.1 / 3**0.5)
