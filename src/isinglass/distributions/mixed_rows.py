"""Rows of a table grouped by which of their numbers are unknown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from isinglass._support.typing import Bool, Float, Int

__all__ = ["Gap", "MixedRows", "gaps_of"]

#: Most numbers of all precision blocks of one group of patterns, for one memory.
BLOCK = 1 << 20


@dataclass(frozen=True)
class MixedRows:
    r"""Rows of numbers and one-hot names, with gaps.

    Args:
        numbers: ``(n, d)``; zero where unknown.
        known: Which numbers are known, ``(n, d)``.
        names: One-hot categories side by side, ``(n, m)``; all zero where a name is unknown.

    Examples:
        >>> data = torch.tensor([[1.0, torch.nan], [2.0, 3.0]])
        >>> rows = MixedRows.of(data, torch.eye(2))
        >>> rows.numbers, rows.take(torch.tensor([1])).known
        (tensor([[1., 0.],
                [2., 3.]]), tensor([[True, True]]))
    """

    numbers: Float[Tensor, "n d"]
    known: Bool[Tensor, "n d"]
    names: Float[Tensor, "n m"]

    @classmethod
    def of(cls, numbers: Float[Tensor, "n d"], names: Tensor | None = None) -> MixedRows:
        """Takes NaN for unknown; no names unless given."""
        known = ~numbers.isnan()
        names = numbers.new_zeros(len(numbers), 0) if names is None else names
        return cls(torch.where(known, numbers, 0.0), known, names)

    def __len__(self) -> int:
        """Returns the number of rows."""
        return len(self.numbers)

    def take(self, index: Tensor | slice) -> MixedRows:
        """Selects rows by their numbers."""
        return MixedRows(self.numbers[index], self.known[index], self.names[index])

    def hidden(self, known: Bool[Tensor, "n d"]) -> MixedRows:
        """Returns the rows with no more than these numbers known."""
        known = known & self.known
        return MixedRows(torch.where(known, self.numbers, 0.0), known, self.names)

    def blocks(self, size: int) -> Iterator[MixedRows]:
        """Yields the rows, so many at a time."""
        for first in range(0, len(self), max(1, size)):
            yield self.take(slice(first, first + max(1, size)))


@dataclass(frozen=True)
class Gap:
    r"""Rows that lack equally many numbers, and the patterns of what they lack.

    Args:
        rows: Their numbers, ``(r,)``.
        cells: The unknown columns of each pattern, ``(p, u)``.
        pattern: The pattern of each row, ``(r,)``.
    """

    rows: Int[Tensor, " r"]
    cells: Int[Tensor, "p u"]
    pattern: Int[Tensor, " r"]

    @property
    def unknown(self) -> Int[Tensor, "r u"]:
        """The unknown columns of each row."""
        return self.cells[self.pattern]


def gaps_of(known: Bool[Tensor, "n d"]) -> list[Gap]:
    """Groups rows with unknown numbers by how many they lack, patterns that are equal once.

    Examples:
        >>> known = torch.tensor([[True, True], [True, False], [False, True], [True, False]])
        >>> (gap,) = gaps_of(known)
        >>> gap.rows, gap.cells, gap.pattern
        (tensor([1, 2, 3]), tensor([[1],
                [0]]), tensor([0, 1, 0]))
    """
    lacking = (~known).sum(1)
    found = []
    for count in lacking.unique().tolist():
        if count == 0:
            continue
        rows = (lacking == count).nonzero().squeeze(-1)
        masks, pattern = (~known[rows]).unique(dim=0, return_inverse=True)
        cells = masks.nonzero()[:, 1].unflatten(0, (-1, count))
        size = max(1, BLOCK // (count * count))
        for first in range(0, len(cells), size):
            inside = ((pattern >= first) & (pattern < first + size)).nonzero().squeeze(-1)
            part = cells[first : first + size]
            found.append(Gap(rows[inside], part, pattern[inside] - first))
    return found
