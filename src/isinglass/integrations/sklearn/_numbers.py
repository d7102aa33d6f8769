"""Columns of a table by robust statistics: centers, spreads, and the cells far outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from isinglass._support.typing import Bool, Float
from isinglass.data.columns import Cells, Columns, Numeric, is_unknown
from isinglass.learning.robust import SHARE, RobustStatistics, resolution, winsorized_moments

__all__ = ["Bounds", "fit_columns", "said_of_odd"]

#: JSON has no infinity.
NOWHERE = 1e300


@dataclass(frozen=True)
class Bounds:
    r"""Bounds of the numbers of a table, as states: where they lie, how little they spread.

    Attributes:
        low: The least state that is not far outside, ``(size,)``.
        high: The largest, ``(size,)``.
        resolution: δ/√12, the deviation of what was rounded to δ, ``(size,)``; 0 for other kinds.
    """

    low: Float[Tensor, " size"]
    high: Float[Tensor, " size"]
    resolution: Float[Tensor, " size"]

    def outside(
        self, states: Float[Tensor, "n size"], observed: Bool[Tensor, "n size"]
    ) -> Bool[Tensor, "n size"]:
        """Marks observed states far outside, where they are few: 2 % of a column, or one."""
        found = observed & ((states < self.low) | (states > self.high))
        few = (SHARE * observed.sum(0)).floor().clamp_min(1)
        return found & (found.sum(0) <= few)

    def config(self) -> dict[str, list[float]]:
        """Returns the bounds as JSON values."""
        return {name: bound.clamp(-NOWHERE, NOWHERE).tolist() for name, bound in vars(self).items()}

    @classmethod
    def from_config(cls, config: Mapping[str, list[float]] | None, size: int) -> Bounds:
        """Restores the bounds that :meth:`config` described; None bounds nothing."""
        if config is None:
            nowhere = torch.full((size,), torch.inf, dtype=torch.float64)
            return cls(-nowhere, nowhere, torch.zeros_like(nowhere))
        return cls(**{name: torch.tensor(b, dtype=torch.float64) for name, b in config.items()})


def fit_columns(
    names: Sequence[str], table: Sequence[Cells], kinds: Mapping[str, str]
) -> tuple[Columns, Bounds]:
    """Fits kinds and categories, and centers and spreads of numbers that odd cells cannot move.

    A number far outside (:class:`~isinglass.learning.robust.RobustStatistics`) has no part in them.

    Raises:
        DomainError: If nothing is known of a column, or its cells are not of their kind.
        ParameterError: If ``kinds`` names a column or a kind that does not exist.
    """
    columns = list(Columns.of(names, table, kinds).columns)
    numeric = {n: column for n, column in enumerate(columns) if isinstance(column, Numeric)}
    places = list(numeric)
    size = Columns(tuple(columns)).unit.size
    bounds = Bounds.from_config(None, size)
    if not places:
        return Columns(tuple(columns)), bounds
    numbers = torch.from_numpy(np.stack([_numbers(table[n]) for n in places], 1))
    known = ~numbers.isnan()
    robust = RobustStatistics.of(numbers, known)
    kept = known & ~robust.outside(numbers)
    center, spread = winsorized_moments(numbers, kept, robust)
    cells = torch.where(kept, numbers, torch.nan).numpy()
    odd = (kept != known).any(0).tolist()
    for place, number in enumerate(places):
        column = Numeric.of(names[number], cells[:, place]) if odd[place] else numeric[number]
        if float(spread[place]) > 16 * np.finfo(np.float64).eps * abs(column.center):
            column = replace(column, center=float(center[place]), spread=float(spread[place]))
        columns[number] = column
    found = Columns(tuple(columns))
    center, spread = (
        torch.tensor([getattr(columns[n], of) for n in places], dtype=torch.float64)
        for of in ("center", "spread")
    )
    place_of = {number: place for place, number in enumerate(places)}
    order = [place_of[number] for number in found.order[: len(places)]]  # numbers stand first
    bounds.low[: len(places)] = ((robust.center - robust.reach - center) / spread)[order]
    bounds.high[: len(places)] = ((robust.center + robust.reach - center) / spread)[order]
    bounds.resolution[: len(places)] = (resolution(numbers, kept) / 12**0.5 / spread)[order]
    return found, bounds


def said_of_odd(odd: Mapping[str, int]) -> str:
    """Says how many cells lie far outside in which columns, and what to do."""
    count = sum(odd.values())
    shown = [f"{name!r} ({cells})" for name, cells in list(odd.items())[:10]]
    return (
        f"{count} cell{'s' * (count != 1)} so far from the others of the column that "
        f"{'they were' if count != 1 else 'it was'} not learned from: {', '.join(shown)}"
        f"{', …' * (len(odd) > 10)}. Mend them, or take the logarithm of a column of a long tail"
    )


def _numbers(cells: Cells) -> np.ndarray:
    return np.where(is_unknown(cells), np.nan, cells).astype(np.float64)
