"""What the numbers of columns may be: a range, and values that come again."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from isinglass._support.typing import Bool, Float

__all__ = ["ValueRange"]

#: Columns with more different values than this are not brought to them.
MOST_VALUES = 1000


@dataclass(frozen=True)
class ValueRange:
    r"""The range of each column, and its values where each comes twice or more on average.

    Args:
        low: The least number seen, ``(d,)``.
        high: The largest, ``(d,)``.
        values: The values of columns that repeat them, ascending, ``(d, most)``, infinite where
            there are no more; columns that do not have none.

    Examples:
        >>> counts = torch.tensor([[0.0, 0.1], [3.0, 0.2], [0.0, 0.3], [3.0, 0.4]])
        >>> found = ValueRange.of(counts, torch.ones_like(counts).bool())
        >>> found.snap(torch.tensor([[-1.0, 0.15], [2.0, 9.0]]))
        tensor([[0.0000, 0.1500],
                [3.0000, 0.4000]])
    """

    low: Float[Tensor, " d"]
    high: Float[Tensor, " d"]
    values: Float[Tensor, "d most"]

    @classmethod
    def of(cls, numbers: Float[Tensor, "n d"], known: Bool[Tensor, "n d"]) -> ValueRange:
        """Takes the range and the values of the known numbers of each column."""
        low = torch.where(known, numbers, torch.inf).amin(0)
        high = torch.where(known, numbers, -torch.inf).amax(0)
        ordered = torch.where(known, numbers, torch.inf).sort(0).values.T
        new = torch.ones_like(ordered, dtype=torch.bool)
        new[:, 1:] = ordered[:, 1:] > ordered[:, :-1]
        new &= ordered.isfinite()
        count = new.sum(1)
        repeated = (count <= known.sum(0) // 2) & (count <= MOST_VALUES)
        most = int(torch.where(repeated, count, 0).max()) if len(count) else 0
        firsts = torch.where(new & repeated.unsqueeze(1), ordered, torch.inf)
        return cls(low, high, firsts.sort(1).values[:, :most].contiguous())

    def outside(self, numbers: Float[Tensor, "n d"]) -> Bool[Tensor, "n d"]:
        """Marks numbers outside the range of their column."""
        return (numbers < self.low) | (numbers > self.high)

    def clip(self, numbers: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Brings numbers into the range of their column."""
        return torch.minimum(torch.maximum(numbers, self.low), self.high)

    def snap(self, numbers: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Brings numbers into range, and to the nearest value of columns that repeat them."""
        numbers = self.clip(numbers)
        if not self.values.numel():
            return numbers
        above = torch.searchsorted(self.values, numbers.T.contiguous())
        above = above.clamp_max(self.values.shape[1] - 1)
        upper = self.values.gather(1, above)
        lower = self.values.gather(1, (above - 1).clamp_min(0))
        nearer = torch.where((upper - numbers.T).abs() < (numbers.T - lower).abs(), upper, lower)
        listed = self.values[:, 0].isfinite()
        return torch.where(listed, nearer.T, numbers)
