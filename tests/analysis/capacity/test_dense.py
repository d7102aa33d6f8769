"""Theory of dense memories against the paper's numbers."""

import math
import statistics

import pytest

from isinglass.analysis import capacity
from isinglass.errors import ParameterError


def test_alpha_n_at_half_a_percent():
    for degree, published in ((2, 0.1507), (3, 0.0502), (4, 0.01005)):
        load = capacity.dense_critical_load(degree)
        assert math.isclose(load, published, abs_tol=6e-5)
        assert math.isclose(capacity.dense_one_step_error(load, degree), 0.005, rel_tol=1e-9)
        half = capacity.dense_one_step_error(2 * load, degree, rectified=True)
        assert math.isclose(half, 0.005, rel_tol=1e-9)
        assert capacity.dense_critical_load(degree, rectified=True) == 2 * load


def test_degree_two_is_the_classical_net():
    for load in (0.05, 0.14, 0.5):
        assert capacity.dense_one_step_error(load, 2) == capacity.one_step_error(load)
    classical = capacity.perfect_recall_patterns(1000)
    assert capacity.dense_perfect_recall_patterns(1000, 2) == classical


def test_exact_sums_tend_to_the_formula():
    for degree, rectified in ((2, False), (3, True), (4, False)):
        probability = dense_error(degree, rectified)
        assert abs(dense_error(degree, rectified, size=2000) / probability - 1) < 0.02
        assert abs(dense_error(degree, rectified, size=200) / probability - 1) < 0.2
    # d = 2, n = 2: a signal of 4, one other pattern, z = ±1 and (z + 1)² − (z − 1)² = ±4.
    expected = statistics.NormalDist().cdf(-4 / 4)
    assert math.isclose(capacity.dense_one_step_error(1.0, 2, size=2), expected)


def dense_error(degree, rectified, size=None):
    return capacity.dense_one_step_error(
        capacity.dense_critical_load(degree), degree, rectified=rectified, size=size
    )


def test_exponential_memory():
    assert math.isclose(capacity.exponential_recall_patterns(30), 2**15)
    wrong = 0.2
    a = 1 - 2 * wrong
    rate = ((1 + a) * math.log(1 + a) + (1 - a) * math.log(1 - a)) / 4
    assert math.isclose(capacity.exponential_recall_patterns(50, wrong), math.exp(50 * rate))


def test_bad_input():
    for call in (
        lambda: capacity.dense_one_step_error(0.1, 1),
        lambda: capacity.dense_one_step_error(-0.1, 2),
        lambda: capacity.dense_critical_load(3, error=0.5),
        lambda: capacity.dense_critical_load(3, error=0.0),
        lambda: capacity.dense_perfect_recall_patterns(1, 3),
        lambda: capacity.exponential_recall_patterns(10, 0.5),
        lambda: capacity.exponential_recall_patterns(0),
    ):
        with pytest.raises(ParameterError):
            call()


def test_extreme_arguments():
    """Large sizes tend to the limit, absurd degrees to chance; neither overflows nor takes long."""
    limit = capacity.dense_one_step_error(0.1, 3)
    assert math.isclose(capacity.dense_one_step_error(0.1, 3, size=100_000), limit, rel_tol=1e-3)
    assert math.isclose(capacity.dense_one_step_error(0.05, 500), 0.5)
