"""How much the classical network holds, by theory: N random patterns of d spins, load α = N/d."""

from __future__ import annotations

import math
from functools import cache
from statistics import NormalDist

import torch

from isinglass._support.validation import check_above_zero, check_at_least_zero, check_count

__all__ = [
    "critical_load",
    "gardner_load",
    "one_step_error",
    "perfect_recall_patterns",
    "projection_stability",
    "retrieval_overlap",
    "separable_probability",
]

NORMAL = NormalDist()


def one_step_error(load: float) -> float:
    """Computes the share of a stored pattern's units that one step of Hebb's rule turns wrong.

        P = Φ(−1/√α)

    The other patterns add N − 1 signs to each field, of variance α in units of the signal. Right
    to order 1/d.

    Reference: Hertz, Krogh & Palmer 1991, section 2.2.

    Args:
        load: α = N/d, above zero.

    Raises:
        ParameterError: If ``load`` is not a number above zero.

    Examples:
        >>> round(one_step_error(0.138), 4)
        0.0036
    """
    return NORMAL.cdf(-1 / math.sqrt(check_above_zero("load", load)))


def _load_of(y: float) -> float:
    """The load at which m = erf(y) solves the equations of :func:`retrieval_overlap`."""
    root = math.erf(y) / y - 2 / math.sqrt(math.pi) * math.exp(-y * y)
    return root * root / 2


@cache
def _edge() -> float:
    """The y of the largest load that has a solution, by golden section."""
    low, high, shrink = 0.5, 4.0, (math.sqrt(5) - 1) / 2
    while high - low > 1e-9:
        left, right = high - shrink * (high - low), low + shrink * (high - low)
        low, high = (low, right) if _load_of(left) > _load_of(right) else (left, high)
    return (low + high) / 2


def critical_load() -> float:
    """Computes α_c = 0.1379: up to here a state near each pattern is stable under Hebb's rule.

    The largest α at which the equations of :func:`retrieval_overlap` have a solution. There 1.6 %
    of the units are wrong, and above it all is lost at once. (Replica symmetry, which the
    derivation assumes, is broken near α_c; breaking it once gives 0.1382.)

    Reference: Amit, Gutfreund & Sompolinsky 1985, doi:10.1103/PhysRevLett.55.1530, and 1987,
    doi:10.1016/0003-4916(87)90092-3.

    Examples:
        >>> round(critical_load(), 4), round((1 - retrieval_overlap(critical_load())) / 2, 3)
        (0.1379, 0.016)
    """
    return _load_of(_edge())


def retrieval_overlap(load: float) -> float:
    """Computes m = x_μ·v/d of the state that a network with Hebb's rule recalls, d → ∞, T = 0.

        m = erf(m/√(2αr)),   C = √(2/(παr)) exp(−m²/(2αr)),   r = (1 − C)⁻²

    With y = m/√(2αr) this is one equation, √(2α) = erf(y)/y − (2/√π) exp(−y²). The share of
    wrong units is (1 − m)/2; above :func:`critical_load` m = 0 is the only solution.

    Reference: Amit, Gutfreund & Sompolinsky 1987, doi:10.1016/0003-4916(87)90092-3.

    Args:
        load: α = N/d, zero or above.

    Raises:
        ParameterError: If ``load`` is negative or not a number.

    Examples:
        >>> [round(retrieval_overlap(load), 4) for load in (0.0, 0.05, 0.1, 0.137, 0.15)]
        [1.0, 1.0, 0.998, 0.9754, 0.0]
    """
    load = check_at_least_zero("load", load)
    if load > critical_load():
        return 0.0
    low, high = _edge(), 40.0  # between them the load falls as y rises
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _load_of(middle) > load else (low, middle)
    return math.erf(low)


def perfect_recall_patterns(size: int, *, every: bool = False) -> float:
    """Computes N up to which random patterns are fixed points of Hebb's rule without an error.

        N = d / (2 ln d): almost all of them;   N = d / (4 ln d): every one

    with a probability that tends to one with d.

    Reference: McEliece, Posner, Rodemich & Venkatesh 1987, doi:10.1109/TIT.1987.1057328.

    Args:
        size: d, the number of units, at least 2.
        every: Whether all patterns at once are to be fixed.

    Raises:
        ParameterError: If ``size`` is not a whole number of at least 2.

    Examples:
        >>> round(perfect_recall_patterns(1000)), round(perfect_recall_patterns(1000, every=True))
        (72, 36)
    """
    size = check_count("size", size, least=2)
    return size / ((4 if every else 2) * math.log(size))


def gardner_load(margin: float = 0.0) -> float:
    """Computes the largest load at which any couplings hold random patterns with stability κ.

        1/α(κ) = ∫_{−κ}^∞ (t + κ)² Dt = (1 + κ²) Φ(κ) + κ φ(κ),   α(0) = 2

    for couplings free to be unsymmetric: each unit is a perceptron of its own.

    Reference: Gardner 1988, doi:10.1088/0305-4470/21/1/030.

    Args:
        margin: κ, the least x_i (Wx)_i / |W_i|, zero or above.

    Raises:
        ParameterError: If ``margin`` is negative or not a number.

    Examples:
        >>> round(gardner_load(), 3), round(gardner_load(1.0), 3)
        (2.0, 0.52)
    """
    margin = check_at_least_zero("margin", margin)
    return 1 / ((1 + margin * margin) * NORMAL.cdf(margin) + margin * NORMAL.pdf(margin))


def separable_probability(patterns: int, size: int) -> float:
    """Computes how likely a unit with d free couplings can hold N patterns: Cover's count.

        P = 2^(1−N) Σ_{k<d} binom(N − 1, k)

    One half at N = 2d exactly, and a step there as d → ∞: Gardner's α = 2 at finite size.

    Reference: Cover 1965, doi:10.1109/PGEC.1965.264137.

    Args:
        patterns: N, at least 1.
        size: d, the couplings of the unit, at least 1.

    Raises:
        ParameterError: If either is not a whole number of at least 1.

    Examples:
        >>> round(separable_probability(20, 10), 12), separable_probability(10, 10)
        (0.5, 1.0)
    """
    patterns = check_count("patterns", patterns)
    size = check_count("size", size)
    if patterns <= size:
        return 1.0
    counts = torch.arange(size, dtype=torch.float64)
    logs = math.lgamma(patterns) - torch.lgamma(counts + 1) - torch.lgamma(patterns - counts)
    return math.exp(float(logs.logsumexp(0)) - (patterns - 1) * math.log(2))


def projection_stability(load: float) -> float:
    """Computes κ = √((1 − α)/α), the stability of every unit under the pseudo-inverse rule.

    The projection has a diagonal of α, which is left out, and rows of squared length α.

    Reference: Kanter & Sompolinsky 1987, doi:10.1103/PhysRevA.35.380.

    Args:
        load: α = N/d, above zero.

    Raises:
        ParameterError: If ``load`` is not a number above zero.

    Examples:
        >>> projection_stability(0.5), projection_stability(1.0)
        (1.0, 0.0)
    """
    load = check_above_zero("load", load)
    return math.sqrt(max(0.0, (1 - load) / load))
