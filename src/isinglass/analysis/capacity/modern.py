"""What is proven of continuous Hopfield networks: separation, basins, errors, capacity."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from isinglass._support.typing import Float
from isinglass._support.validation import (
    check_above_zero,
    check_count,
    check_fraction,
    check_patterns,
)
from isinglass.errors import DomainError, ParameterError

__all__ = [
    "StorageCapacity",
    "basin_radius",
    "contraction_beta",
    "exact_retrieval_radius",
    "fixed_point_error_bound",
    "jacobian_bound",
    "retrieval_error_bound",
    "separation",
    "storage_capacity",
]


def separation(patterns: Float[Tensor, "N d"]) -> Float[Tensor, " N"]:
    """Computes Δ_i = min_{j≠i} (x_i·x_i − x_i·x_j): how far each pattern stands from the others.

    Everything below follows from Δ_i. It is computed in blocks, never N × N at once; of a single
    pattern it is infinite.

    Reference: Ramsauer et al. 2020, arXiv:2008.02217, Section 2.

    Args:
        patterns: ``(N, d)``, one pattern a row.

    Raises:
        ShapeError: If there is no pattern or the tensor is not a matrix.
        DomainError: If a value is not finite.

    Examples:
        >>> separation(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]))
        tensor([0.4000, 0.2000, 0.2000])
    """
    check_patterns(patterns)
    rows = max(1, 2**24 // len(patterns))
    nearest = []
    for start in range(0, len(patterns), rows):
        overlap = patterns[start : start + rows] @ patterns.mT
        overlap.diagonal(start).fill_(-torch.inf)
        nearest.append(overlap.amax(-1))
    return patterns.square().sum(-1) - torch.cat(nearest)


def retrieval_error_bound(
    patterns: Float[Tensor, "N d"], beta: float, distance: float | Tensor = 0.0
) -> Float[Tensor, " N"]:
    """Bounds |f(ξ) − x_i| ≤ 2(N − 1) M exp(−β(Δ_i − 2rM)) after one step from ξ: Theorem 5.

    M is the norm of the longest pattern and r at least max(|ξ − x_i|, |x_i* − x_i|), how far the
    cue and the fixed point are from the pattern.

    Reference: Ramsauer et al. 2020, arXiv:2008.02217, Theorem 5.

    Args:
        patterns: ``(N, d)``, one pattern a row.
        beta: β > 0.
        distance: r ≥ 0, a number or one a pattern.

    Raises:
        ShapeError: If there is no pattern or the tensor is not a matrix.
        DomainError: If a value is not finite, or a distance is negative.
        ParameterError: If ``beta`` is not above zero.

    Examples:
        >>> import isinglass as ig
        >>> bound = retrieval_error_bound(torch.eye(3), beta=10.0, distance=0.1)
        >>> memory = ig.ModernHopfield(torch.eye(3), beta=10.0)
        >>> moved = memory.cccp_update(torch.eye(3) + 0.05)
        >>> bool(((moved - torch.eye(3)).norm(dim=-1) <= bound).all())
        True
    """
    beta = check_above_zero("beta", beta)
    leak = _leak(patterns, beta, distance)
    return 2 * _length(patterns) * leak


def jacobian_bound(
    patterns: Float[Tensor, "N d"], beta: float, distance: float | Tensor = 0.0
) -> Float[Tensor, " N"]:
    """Bounds |J|₂ ≤ 2βNM²(N − 1) exp(−β(Δ_i − 2rM)) within r of x_i: Theorem 4.

    A step brings a cue nearer to the fixed point x_i* by this factor:
    |f(ξ) − x_i*| ≤ |J|₂ |ξ − x_i*|, where r is at least max(|ξ − x_i|, |x_i* − x_i|).

    Reference: Ramsauer et al. 2020, arXiv:2008.02217, Theorem 4.

    Args:
        patterns: ``(N, d)``, one pattern a row.
        beta: β > 0.
        distance: r ≥ 0, a number or one a pattern.

    Raises:
        ShapeError: If there is no pattern or the tensor is not a matrix.
        DomainError: If a value is not finite, or a distance is negative.
        ParameterError: If ``beta`` is not above zero.

    Examples:
        >>> bool((jacobian_bound(torch.eye(3), beta=10.0) < 0.01).all())
        True
    """
    beta = check_above_zero("beta", beta)
    leak = _leak(patterns, beta, distance)
    return 2 * beta * len(patterns) * _length(patterns) ** 2 * leak


def basin_radius(patterns: Float[Tensor, "N d"], beta: float) -> Float[Tensor, " N"]:
    """Computes the radius of the proven basin of each pattern: 1/(βNM) if well separated.

    Where Δ_i ≥ 2/(βN) + β⁻¹ log(2(N − 1)NβM²), the step contracts the ball of this radius around
    x_i into itself: it holds one fixed point, to which every cue in it goes. Basins are mostly
    far larger than what is proven of them.

    Reference: Ramsauer et al. 2020, arXiv:2008.02217, Lemmas A5 to A7.

    Args:
        patterns: ``(N, d)``, one pattern a row.
        beta: β > 0.

    Raises:
        ShapeError: If there is no pattern or the tensor is not a matrix.
        DomainError: If a value is not finite.
        ParameterError: If ``beta`` is not above zero.

    Examples:
        >>> basin_radius(torch.eye(4), beta=10.0)
        tensor([0.0250, 0.0250, 0.0250, 0.0250])
        >>> basin_radius(torch.eye(4), beta=1.0)
        tensor([0., 0., 0., 0.])
    """
    beta = check_above_zero("beta", beta)
    apart, length, count = separation(patterns), _length(patterns), len(patterns)
    needed = (2 / count + torch.log(2 * (count - 1) * count * beta * length**2)) / beta
    return torch.where(apart >= needed, 1 / (beta * count * length), 0.0)


def fixed_point_error_bound(patterns: Float[Tensor, "N d"], beta: float) -> Float[Tensor, " N"]:
    """Bounds |x_i − x_i*| ≤ 2e(N − 1) M exp(−βΔ_i), from x_i to its fixed point: Theorem 5.

    It holds where a fixed point within 1/(2βM) of the pattern is proven, see
    :func:`basin_radius`; elsewhere the bound is infinite.

    Reference: Ramsauer et al. 2020, arXiv:2008.02217, Theorem 5.

    Args:
        patterns: ``(N, d)``, one pattern a row.
        beta: β > 0.

    Raises:
        ShapeError: If there is no pattern or the tensor is not a matrix.
        DomainError: If a value is not finite.
        ParameterError: If ``beta`` is not above zero.

    Examples:
        >>> bool((fixed_point_error_bound(torch.eye(3), beta=10.0) < 1e-3).all())
        True
    """
    beta = check_above_zero("beta", beta)
    leak = _leak(patterns, beta, 0.0)
    proven = basin_radius(patterns, beta) > 0
    return torch.where(proven, 2 * math.e * _length(patterns) * leak, torch.inf)


def contraction_beta(patterns: Float[Tensor, "N d"]) -> float:
    """Computes the β below which all cues go to one global fixed point: 1/max_i |x_i − mean|².

    The Jacobian β Var_p(x) is then below 1 everywhere.

    Reference: Ramsauer et al. 2020, arXiv:2008.02217, Lemma A3.

    Args:
        patterns: ``(N, d)``, one pattern a row.

    Raises:
        ShapeError: If there is no pattern or the tensor is not a matrix.
        DomainError: If a value is not finite.

    Examples:
        >>> contraction_beta(torch.tensor([[2.0, 0.0], [-2.0, 0.0]]))
        0.25
    """
    check_patterns(patterns)
    spread = float((patterns - patterns.mean(0)).square().sum(-1).amax())
    return 1 / spread if spread > 0 else math.inf


def exact_retrieval_radius(
    patterns: Float[Tensor, "N d"], beta: float, margin: float = 1.0
) -> Float[Tensor, " N"]:
    """Computes how near a cue must be for sparse retrieval of x_i in one step; 0 if nowhere.

    The scores of a cue within r of x_i lead by Δ_i − 2rM at least, and a lead of margin/β is
    enough, so r = (Δ_i − margin/β)/(2M).

    Reference: Santos et al. 2024, arXiv:2402.13725.

    Args:
        patterns: ``(N, d)``, one pattern a row.
        beta: β > 0.
        margin: ``memory.margin``: 1/(α − 1) of α-entmax, so 1 of sparsemax and 2 of 1.5-entmax.

    Raises:
        ShapeError: If there is no pattern or the tensor is not a matrix.
        DomainError: If a value is not finite.
        ParameterError: If ``beta`` or ``margin`` is not above zero.

    Examples:
        >>> exact_retrieval_radius(torch.eye(3), beta=4.0)
        tensor([0.3750, 0.3750, 0.3750])
    """
    beta = check_above_zero("beta", beta)
    margin = check_above_zero("margin", margin)
    return ((separation(patterns) - margin / beta) / (2 * _length(patterns))).clamp_min(0)


@dataclass(frozen=True)
class StorageCapacity:
    """How many random patterns can be stored, by :func:`storage_capacity`.

    Attributes:
        base: c; the number of patterns grows as c^((d−1)/4).
        log_count: log(√p c^((d−1)/4)), of the number itself, which may overflow.
        proven: Whether c ≥ (2/√p)^(4/(d−1)), without which nothing is proven.

    Examples:
        >>> found = storage_capacity(beta=1.0, scale=3.0, size=20, failure=0.001)
        >>> found.proven, round(found.log_count, 3)
        (True, 2.003)
    """

    base: float
    log_count: float
    proven: bool

    @property
    def count(self) -> float:
        """√p c^((d−1)/4), infinite where that overflows."""
        return math.exp(self.log_count) if self.log_count < 709 else math.inf


def storage_capacity(beta: float, scale: float, size: int, failure: float) -> StorageCapacity:
    """Bounds how many random patterns are stored: √p c^((d−1)/4), with probability 1 − p.

    The patterns are drawn from the sphere of radius K√(d − 1), and

        a = 2/(d − 1) (1 + log(2βK²p(d − 1))),   b = 2K²β/5,   c = b/W₀(exp(a + log b))

    A pattern is stored where all cues in a ball around it go to one fixed point in it, and the
    balls are disjoint.

    Reference: Ramsauer et al. 2020, arXiv:2008.02217, Theorem 3 (c = 3.1546 at β = 1, K = 3,
    d = 20, p = 0.001; 1.3718 at β = 1, K = 1, d = 75).

    Args:
        beta: β > 0.
        scale: K > 0, the radius in units of √(d − 1).
        size: d ≥ 2, units of a pattern.
        failure: p, the probability allowed for failing, above 0 and at most 1.

    Raises:
        ParameterError: If an argument is out of its range.

    Examples:
        >>> found = storage_capacity(beta=1.0, scale=3.0, size=20, failure=0.001)
        >>> round(found.base, 4), round(found.count, 2), found.proven
        (3.1546, 7.41, True)
    """
    beta, scale = check_above_zero("beta", beta), check_above_zero("scale", scale)
    degrees = check_count("size", size, least=2) - 1
    failure = check_fraction("failure", check_above_zero("failure", failure))
    a = 2 / degrees * (1 + math.log(2 * beta * scale**2 * failure * degrees))
    b = 2 * scale**2 * beta / 5
    # W = exp(a + log b − W), so b/W = exp(W − a), and nothing overflows on the way.
    log_base = _lambert_w_of_exp(a + math.log(b)) - a
    if log_base > 709:
        raise ParameterError(f"c = e^{log_base:.4g} overflows", "Give a smaller beta or scale")
    return StorageCapacity(
        base=math.exp(log_base),
        log_count=math.log(failure) / 2 + log_base * degrees / 4,
        proven=log_base >= 4 / degrees * math.log(2 / math.sqrt(failure)),
    )


def _lambert_w_of_exp(x: float) -> float:
    """W₀(eˣ), the root of w + log w = x, by Newton's method, which climbs to it from below."""
    if x < -40:
        return math.exp(x)  # W₀(y) = y − y² + …
    w = x if x > 1 else math.exp(x)
    for _ in range(20):
        w *= (1 + x - math.log(w)) / (1 + w)
    return w


def _length(patterns: Tensor) -> Tensor:
    """M, the norm of the longest pattern."""
    return patterns.norm(dim=-1).amax()


def _leak(patterns: Tensor, beta: float, distance: float | Tensor) -> Tensor:
    """(N − 1) exp(−β(Δ_i − 2rM)), at least the weight of all other patterns within r of x_i."""
    check_patterns(patterns)
    radius = torch.as_tensor(distance, dtype=patterns.dtype, device=patterns.device)
    if not bool((radius >= 0).all()):
        raise DomainError("a negative distance", "Give distances of zero or more")
    lead = separation(patterns) - 2 * radius * _length(patterns)
    return (len(patterns) - 1) * torch.exp(-beta * lead)
