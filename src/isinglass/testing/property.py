"""What all properties share: how a violation is reported, and how closely numbers must agree."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = [
    "PropertyViolation",
    "require_chi_square",
    "require_close",
    "require_likely",
    "require_within",
]

#: Chance of a normal number beyond 5 standard deviations. Of χ² at one degree of freedom, 5 of its
#: own deviations above the mean are met by chance once in 240 times.
FIVE_SIGMA = math.erfc(5 / math.sqrt(2))


class PropertyViolation(AssertionError):
    """A property does not hold; the message names it and gives the numbers that disagree."""


def require_close(property_name: str, found: Tensor, expected: Tensor, tolerance: float) -> None:
    """Requires |found − expected| ≤ tolerance · max(1, |expected|) everywhere.

    Raises:
        PropertyViolation: If it does not hold.
    """
    if found.shape != expected.shape:
        raise PropertyViolation(
            f"{property_name}: shapes {tuple(found.shape)} and {tuple(expected.shape)}"
        )
    error = (found - expected).abs() / expected.abs().clamp_min(1.0)
    if not bool((error <= tolerance).all()):
        worst = int(error.nan_to_num(nan=torch.inf).argmax())
        raise PropertyViolation(
            f"{property_name}: found {found.flatten()[worst]:.12g}, expected "
            f"{expected.flatten()[worst]:.12g}, tolerance {tolerance:g}"
        )


def require_within(property_name: str, found: Tensor, expected: Tensor, bound: Tensor) -> None:
    """Requires |found − expected| ≤ bound everywhere, the bound taken from theory.

    Raises:
        PropertyViolation: If it does not hold.
    """
    excess = (found - expected).abs() / bound
    if not bool((excess <= 1).all()):
        worst = int(excess.nan_to_num(nan=torch.inf).argmax())
        raise PropertyViolation(
            f"{property_name}: found {found.flatten()[worst]:.6g}, expected "
            f"{expected.flatten()[worst]:.6g} ± {bound.expand_as(excess).flatten()[worst]:.2g}"
        )


def require_chi_square(property_name: str, counts: Tensor, probabilities: Tensor) -> None:
    """Requires that counts follow the probabilities: χ² no rarer than 5 normal deviations.

    Cells with fewer than ten expected counts are pooled, since χ² of rare counts has a longer tail.

    Raises:
        PropertyViolation: If it does not hold.
    """
    expected = counts.sum() * probabilities / probabilities.sum()
    rare = expected < 10
    if bool(rare.any()):
        counts = torch.cat([counts[~rare], counts[rare].sum(0, keepdim=True)])
        expected = torch.cat([expected[~rare], expected[rare].sum(0, keepdim=True)])
    statistic = float(((counts - expected).square() / expected.clamp_min(1e-12)).sum())
    require_likely(property_name, statistic, len(counts) - 1)


def require_likely(property_name: str, statistic: float, freedom: int) -> None:
    """Requires a value that χ² of so many degrees of freedom may have by chance.

    Raises:
        PropertyViolation: If it is rarer than a normal number beyond five standard deviations.
    """
    half = torch.tensor([freedom, statistic], dtype=torch.float64) / 2
    chance = float(torch.special.gammaincc(*half)) if freedom > 0 else 1.0
    if not chance >= FIVE_SIGMA:  # NaN too
        raise PropertyViolation(
            f"{property_name}: χ² = {statistic:.1f} at {freedom} degrees of freedom, which has a "
            f"chance of {chance:.1g}"
        )
