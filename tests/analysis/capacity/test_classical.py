"""Theory of the classical network against their published numbers and against each other."""

import math

import pytest
import torch

from isinglass import ClassicalHopfield
from isinglass.analysis import capacity
from isinglass.energies import PseudoInverse
from isinglass.errors import ParameterError
from tests.cases import spins


def test_mean_field_equations_hold_and_end_where_they_should():
    """Amit, Gutfreund & Sompolinsky: α_c = 0.138, m = 0.967 there."""
    assert math.isclose(capacity.critical_load(), 0.1379, abs_tol=5e-5)
    for load in (0.01, 0.05, 0.1, 0.13, 0.1379):
        m = capacity.retrieval_overlap(load)
        assert m > 0.96
        # By iteration of the equations themselves, from m = 1 and little noise.
        overlap, r = 1.0, 1.0
        for _ in range(20_000):
            overlap = math.erf(overlap / math.sqrt(2 * load * r))
            slope = math.exp(-(overlap**2) / (2 * load * r))
            r = (1 - math.sqrt(2 / (math.pi * load * r)) * slope) ** -2
        assert math.isclose(m, overlap, abs_tol=1e-6)
    assert math.isclose(capacity.retrieval_overlap(capacity.critical_load()), 0.9676, abs_tol=2e-4)
    assert capacity.retrieval_overlap(0.14) == 0.0


def test_gardner_s_integral():
    for margin in (0.0, 0.5, 2.0):
        t = torch.linspace(-margin, 40, 400_001, dtype=torch.float64)
        density = torch.exp(-t * t / 2) / math.sqrt(2 * math.pi)
        integral = float(torch.trapezoid((t + margin) ** 2 * density, t))
        assert math.isclose(capacity.gardner_load(margin), 1 / integral, rel_tol=1e-6)


def test_cover_s_count_by_hand():
    """In a plane N lines through the origin leave 2N of 2^N dichotomies."""
    assert capacity.separable_probability(5, 2) == pytest.approx(2 * 5 / 2**5, rel=1e-12)
    assert capacity.separable_probability(3, 10) == 1.0
    for size in (5, 50, 500):
        assert capacity.separable_probability(2 * size, size) == pytest.approx(0.5, rel=1e-9)
    assert capacity.separable_probability(10**6, 5 * 10**5) == pytest.approx(0.5, rel=1e-6)
    assert capacity.separable_probability(1800, 1000) > 0.999
    assert capacity.separable_probability(2200, 1000) < 0.001


@pytest.mark.parametrize("load", [0.25, 0.75])
def test_stability_of_the_projection(load):
    """The diagonal of the projection of d = 400 is α up to √(2α(1−α)/d), which moves κ."""
    size = 400
    memory = ClassicalHopfield(spins(int(load * size), size), PseudoInverse())
    expected = capacity.projection_stability(load)
    spread = math.sqrt(2 * load * (1 - load) / size) / (2 * load * load * expected)
    held = memory.stability()
    assert abs(float(held.mean()) - expected) < 5 * spread / math.sqrt(size) + 1 / size
    assert (held - expected).abs().max() < 6 * spread


def test_bad_input():
    for call in (
        lambda: capacity.one_step_error(0.0),
        lambda: capacity.retrieval_overlap(-0.1),
        lambda: capacity.perfect_recall_patterns(1),
        lambda: capacity.gardner_load(-1.0),
        lambda: capacity.separable_probability(0, 3),
        lambda: capacity.projection_stability(float("nan")),
    ):
        with pytest.raises(ParameterError):
            call()


def test_a_margin_beyond_all_bounds():
    assert capacity.gardner_load(1e300) == 0.0
