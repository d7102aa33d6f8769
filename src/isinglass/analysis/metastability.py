"""Metastability by association weights: how many patterns a state blends, kinds of fixed point."""

from __future__ import annotations

from enum import IntEnum

import torch
from torch import Tensor

from isinglass._support.precision import at_least_single
from isinglass._support.typing import Float, Int
from isinglass._support.validation import (
    check_above_zero,
    check_finite,
    check_fraction,
    check_tensor,
    values_visible,
)
from isinglass.errors import DomainError, ShapeError

__all__ = ["FixedPoint", "classify", "metastable_size"]


class FixedPoint(IntEnum):
    """Kind of fixed point, by the size k of its metastable state among N patterns.

    Reference: Ramsauer et al. 2020, arXiv:2008.02217, Section 3, whose class (I) of attention
    heads, k > N/2, is ``GLOBAL`` here; classes (II) to (IV) part the others at N/8 and N/32.

    Attributes:
        NONE: No pattern at all: every weight is zero, as where all patterns are masked.
        SINGLE: One pattern, k = 1.
        METASTABLE: The average of a few, 1 < k ≤ N/2.
        GLOBAL: The average of most or all, k > N/2.
    """

    NONE = 0
    SINGLE = 1
    METASTABLE = 2
    GLOBAL = 3


def metastable_size(weights: Float[Tensor, "*batch N"], mass: float = 0.9) -> Int[Tensor, "*batch"]:
    """Returns the smallest k such that the k largest weights hold at least ``mass`` of their sum.

    Reference: Ramsauer et al. 2020, arXiv:2008.02217, Section 3.

    Args:
        weights: Association weights over N patterns, ``(*batch, N)``, none of them negative.
        mass: Share of the weight that counts as all of it, above 0 and at most 1.

    Returns:
        k for every row, from 1 to N; 0 where every weight is zero.

    Raises:
        ShapeError: If there is no pattern to weigh.
        DomainError: If a weight is negative or not finite, or the weights are no tensor.
        ParameterError: If ``mass`` is not above 0 and at most 1.

    Examples:
        >>> metastable_size(torch.tensor([[0.96, 0.02, 0.02], [0.5, 0.45, 0.05]]))
        tensor([1, 2])
    """
    _check_weights(weights)
    mass = check_fraction("mass", check_above_zero("mass", mass))
    held = at_least_single(weights).sort(-1, descending=True).values.cumsum(-1)
    total = held[..., -1:]
    # A sum that falls short by a millionth, by rounding, has reached the mass.
    return (held < (1 - 1e-6) * mass * total).sum(-1) + (total[..., 0] > 0)


def classify(weights: Float[Tensor, "*batch N"], mass: float = 0.9) -> Int[Tensor, "*batch"]:
    """Classifies each row of weights p as a :class:`FixedPoint`, by its number.

    Of few patterns, more than half are soon averaged: below N = 8 look at
    :func:`metastable_size` itself.

    Args:
        weights: Association weights over N patterns, ``(*batch, N)``, none of them negative.
        mass: Share of the weight that counts as all of it, above 0 and at most 1.

    Raises:
        ShapeError: If there is no pattern to weigh.
        DomainError: If a weight is negative or not finite, or the weights are no tensor.
        ParameterError: If ``mass`` is not above 0 and at most 1.

    Examples:
        >>> weights = torch.softmax(torch.tensor([[9.0, 0, 0, 0], [9, 9, 0, 0], [1, 1, 1, 1]]), -1)
        >>> [FixedPoint(kind).name for kind in classify(weights).tolist()]
        ['SINGLE', 'METASTABLE', 'GLOBAL']
    """
    size = metastable_size(weights, mass)
    several = torch.where(
        2 * size > weights.shape[-1], int(FixedPoint.GLOBAL), int(FixedPoint.METASTABLE)
    )
    return torch.where(size > 1, several, size)  # no pattern is NONE, one is SINGLE


def _check_weights(weights: Tensor) -> None:
    check_tensor("weights", weights)
    if weights.ndim == 0 or weights.shape[-1] == 0:
        raise ShapeError(
            f"weights of shape {tuple(weights.shape)}",
            "Give the weights of at least one pattern in the last dimension",
        )
    if not weights.is_floating_point():
        raise DomainError(f"weights of dtype {weights.dtype}", "Give weights.float()")
    check_finite("the weights", weights)
    if values_visible(weights) and bool((weights < 0).any()):
        raise DomainError(
            "a negative weight", "Give association weights: memory.association(state)"
        )
