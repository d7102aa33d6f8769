"""How much dense memories hold, by theory: N random patterns of d spins, degree n."""

from __future__ import annotations

import math
from statistics import NormalDist

import torch
from torch import Tensor

from isinglass._support.validation import check_above_zero, check_at_least_zero, check_count
from isinglass.errors import ParameterError

__all__ = [
    "dense_critical_load",
    "dense_one_step_error",
    "dense_perfect_recall_patterns",
    "exponential_recall_patterns",
]

NORMAL = NormalDist()


def _odd_factorial(degree: int) -> int:
    """(2n − 3)!!, the moment ⟨z^(2n−2)⟩ of a normal number."""
    return math.prod(range(2 * degree - 3, 0, -2))


def dense_one_step_error(
    load: float, degree: int, *, rectified: bool = False, size: int | None = None
) -> float:
    """Computes the share of a stored pattern's units that one dense update turns wrong.

        P = Φ(−1/√(α (2n − 3)!!)),   α = N/d^(n−1)

    The signal in the energy difference is 2n d^(n−1), each other pattern adds noise of variance
    4n² (2n − 3)!! d^(n−1), half of it if F is zero below zero. For n = 2 it is the classical net.
    At finite d signal and noise are a few per cent off; given ``size`` both are summed exactly,

        P = Φ(−S/√((N − 1) V)),  S = F(d) − F(d − 2),  V = ⟨(F(z + 1) − F(z − 1))²⟩,

    over z, the sum of d − 1 random signs, and only the sum over patterns is taken as normal.

    Reference: Krotov & Hopfield 2016, arXiv:1606.01164, section 2.

    Args:
        load: α, above zero.
        degree: n, at least 2.
        rectified: Whether F is zero below zero.
        size: d, at least 2; None is the limit d → ∞.

    Raises:
        ParameterError: If ``load`` is not above zero, or ``degree`` or ``size`` is no whole number
            from 2 on.

    Examples:
        >>> [round(dense_one_step_error(load, n), 4) for n, load in ((2, 0.1507), (3, 0.0502))]
        [0.005, 0.005]
    """
    load = check_above_zero("load", load)
    degree = check_count("degree", degree, least=2)
    if size is None:
        noise = math.log(load) + math.log(_odd_factorial(degree)) - math.log(2 if rectified else 1)
        return NORMAL.cdf(-math.exp(-noise / 2))
    size = check_count("size", size, least=2)
    ups = torch.arange(size, dtype=torch.float64)  # how many of the d − 1 signs are +1
    chances = math.lgamma(size) - torch.lgamma(ups + 1) - torch.lgamma(size - ups)
    chances = (chances - (size - 1) * math.log(2)).exp()
    steps = _steps(2 * ups - size + 1, size, degree, rectified)
    variance = float((chances * steps.square()).sum())
    others = load * math.exp(min((degree - 1) * math.log(size), 700.0)) - 1
    return NORMAL.cdf(-float(steps[-1]) / math.sqrt(others * variance)) if others > 0 else 0.0


def _steps(overlap: Tensor, size: int, degree: int, rectified: bool) -> Tensor:
    """(F(z + 1) − F(z − 1))/dⁿ."""
    above, below = (overlap + 1) / size, (overlap - 1) / size
    if rectified:
        above, below = above.clamp_min(0), below.clamp_min(0)
    return above**degree - below**degree


def dense_critical_load(degree: int, error: float = 0.005, *, rectified: bool = False) -> float:
    """Computes α_n = 1/(z² (2n − 3)!!), the load N/d^(n−1) at which a share ``error`` is wrong.

    z is the normal quantile of the error: 2.576 at 0.5 %.

    Reference: Krotov & Hopfield 2016, arXiv:1606.01164, section 2.

    Args:
        degree: n, at least 2.
        error: Share of wrong units that is put up with, between 0 and ½.
        rectified: Whether F is zero below zero, which doubles α_n.

    Raises:
        ParameterError: If ``degree`` is no whole number from 2 on, or ``error`` out of range.

    Examples:
        >>> [round(dense_critical_load(n), 5) for n in (2, 3, 4)]
        [0.15072, 0.05024, 0.01005]
    """
    degree = check_count("degree", degree, least=2)
    error = check_above_zero("error", error)
    if error >= 0.5:
        raise ParameterError(f"error = {error}", "Give a share between 0 and ½")
    load = 1 / (NORMAL.inv_cdf(error) ** 2 * _odd_factorial(degree))
    return 2 * load if rectified else load


def dense_perfect_recall_patterns(size: int, degree: int) -> float:
    """Computes N up to which a pattern of a dense memory is a fixed point without a single error.

        N = d^(n−1) / (2 (2n − 3)!! ln d)

    For n = 2 it is d/(2 ln d), as for the classical net.

    Reference: Krotov & Hopfield 2016, arXiv:1606.01164, section 2.

    Args:
        size: d, the number of units, at least 2.
        degree: n, at least 2.

    Raises:
        ParameterError: If either is not a whole number of at least 2.

    Examples:
        >>> [round(dense_perfect_recall_patterns(100, n)) for n in (2, 3, 4)]
        [11, 362, 7238]
    """
    size = check_count("size", size, least=2)
    degree = check_count("degree", degree, least=2)
    return size ** (degree - 1) / (2 * _odd_factorial(degree) * math.log(size))


def exponential_recall_patterns(size: int, flipped: float = 0.0) -> float:
    """Computes N up to which E = −Σ exp(x_μ·v) mends a cue with flipped units in one step.

        N = exp(d I(1 − 2ρ)/2),   I(a) = ½ ((1 + a) ln(1 + a) + (1 − a) ln(1 − a))

    Without flips it is 2^(d/2). It is where the exponent stands, with no factor in front.

    Reference: Demircigil, Heusel, Löwe, Upgang & Vermet 2017, arXiv:1702.01929, theorem 3.

    Args:
        size: d, the number of units.
        flipped: ρ, the share of units flipped, from 0 to below ½.

    Raises:
        ParameterError: If ``size`` is no whole number above zero, or ``flipped`` out of range.

    Examples:
        >>> round(exponential_recall_patterns(20)), round(exponential_recall_patterns(20, 0.1))
        (1024, 40)
    """
    size = check_count("size", size)
    flipped = check_at_least_zero("flipped", flipped)
    if flipped >= 0.5:
        raise ParameterError(f"flipped = {flipped}", "Give a share below ½")
    right = 1 - flipped  # I(1 − 2ρ) = ln 2 + ρ ln ρ + (1 − ρ) ln(1 − ρ)
    entropy = sum(-p * math.log(p) for p in (flipped, right) if p > 0)
    return math.exp(size * (math.log(2) - entropy) / 2)
