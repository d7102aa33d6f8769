"""Pairs of propositions, and the lists of neighbors that they make."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from isinglass._support.typing import Int
from isinglass._support.wording import shown
from isinglass.errors import ParameterError, ShapeError

__all__ = ["NeighborLists", "as_pairs", "as_whole", "check_units"]


@dataclass(frozen=True)
class NeighborLists:
    """Neighbors of every key, those of key k at ``target[start[k] : start[k + 1]]``.

    Attributes:
        start: Where the list of each key begins, ``(keys + 1,)``.
        target: The neighbors, ``(2 × pairs,)``.
    """

    start: Tensor
    target: Tensor

    @classmethod
    def of(cls, source: Tensor, target: Tensor, keys: int) -> NeighborLists:
        """Sorts the arrows source → target by their source."""
        order = torch.argsort(source, stable=True)
        counts = torch.bincount(source, minlength=keys)
        return cls(torch.cat([counts.new_zeros(1), counts.cumsum(0)]), target[order])

    def listed(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the neighbors of all these keys, and for each which of the keys it belongs to."""
        first = self.start[keys]
        many = self.start[keys + 1] - first
        which = torch.repeat_interleave(many)
        ends = many.cumsum(0)
        within = torch.arange(len(which), device=which.device) - (ends - many)[which]
        return which, self.target[first[which] + within]


def as_pairs(
    pairs: Sequence[Sequence[int]] | Int[Tensor, "pairs 2"], size: int
) -> Int[Tensor, "pairs 2"]:
    """Returns pairs of propositions as a tensor.

    Raises:
        ShapeError: If they are not pairs.
        ParameterError: If they are no whole numbers, or one is not a proposition 0 … size − 1.
    """
    given = as_whole("exclusions", pairs, "pairs of numbers of propositions: [(0, 1), (1, 2)]")
    if given.numel() == 0:
        return given.reshape(0, 2)
    if given.ndim != 2 or given.shape[1] != 2:
        raise ShapeError(f"exclusions of shape {tuple(given.shape)}", "Give pairs, one a row")
    return check_units(given, size)


def as_whole(name: str, numbers: object, example: str) -> Tensor:
    """Returns whole numbers as a tensor of them.

    Raises:
        ParameterError: If they are others.
    """
    found = None
    with suppress(TypeError, ValueError, RuntimeError, OverflowError):  # of ragged lists and others
        found = None if isinstance(numbers, str) else torch.as_tensor(numbers)
    if found is None or found.is_meta or found.layout != torch.strided:
        raise ParameterError(f"{name} = {shown(numbers)[:60]}", f"Give {example}")
    fractions = found.is_floating_point() or found.is_complex() or found.dtype == torch.bool
    if found.numel() and fractions:
        raise ParameterError(f"{name} of dtype {found.dtype}", f"Give {example}")
    return found.to(torch.int64)


def check_units(units: Tensor, size: int) -> Tensor:
    """Returns propositions, refusing what is not one of 0 … size − 1.

    Raises:
        ParameterError: If there is one.
    """
    wrong = units[(units < 0) | (units >= size)]
    if len(wrong):
        raise ParameterError(
            f"proposition {int(wrong[0])} among {size}", f"Number them from 0 to {size - 1}"
        )
    return units
