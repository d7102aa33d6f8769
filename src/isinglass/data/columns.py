"""Tables whose columns differ in kind, as states of visible units: numbers, two values, names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isinglass._support.typing import Bool, Float
from isinglass.data.column import (
    Binary,
    CategoricalColumn,
    Cells,
    Column,
    Numeric,
    guessed_kind,
    is_unknown,
    truths,
)
from isinglass.errors import DomainError, ParameterError, ShapeError
from isinglass.units import Mixed, Unit

__all__ = [
    "KINDS",
    "Binary",
    "CategoricalColumn",
    "Cells",
    "Column",
    "Columns",
    "Numeric",
    "is_unknown",
    "kind_of",
]

#: What a column may be called.
KINDS = ("numeric", "binary", "categorical")
#: Most cells of one-hot units, half a gigabyte; a fit takes several times as much.
MOST_ONE_HOT = 2**26


@dataclass(frozen=True)
class Columns:
    """The columns of a table as one layer of visible units.

    Columns of a kind stand side by side in the layer, numbers first, then bits, then one-hot
    units; :attr:`places` says where each column went.

    Args:
        columns: The columns, in the table's order.

    Examples:
        >>> table = [np.array([1.0, 3.0]), np.array(["a", "b"], object), np.array([0.0, 1.0])]
        >>> columns = Columns.of(["size", "kind", "new"], table)
        >>> [type(part).__name__ for part in columns.unit.parts]
        ['Gaussian', 'Bernoulli', 'Categorical']
        >>> state, observed = columns.encode("fit", table)
        >>> state
        tensor([[-1.,  0.,  1.,  0.],
                [ 1.,  1.,  0.,  1.]], dtype=torch.float64)
        >>> [cells.tolist() for cells in columns.decode(state)]
        [[1.0, 3.0], ['a', 'b'], [0.0, 1.0]]
    """

    columns: tuple[Column, ...]

    @classmethod
    def of(
        cls, names: Sequence[str], table: Sequence[Cells], kinds: Mapping[str, str] | None = None
    ) -> Columns:
        """Guesses columns: strings are categories, zeros and ones binary, other numbers numeric.

        Args:
            names: A name for each column.
            table: Its cells.
            kinds: "numeric", "binary" or "categorical" for the columns that are not as they look.

        Raises:
            DomainError: If nothing is known of a column, or its cells are not of their kind.
            ParameterError: If ``kinds`` names a column or a kind that does not exist.
        """
        kinds, known = kinds or {}, set(names)
        for name, kind in kinds.items():
            if name not in known or kind not in KINDS:
                raise ParameterError(
                    f"{name!r}: {kind!r}",
                    f"Name a column of {', '.join(map(str, names))} as one of {', '.join(KINDS)}",
                )  # fmt: skip
        return cls(
            tuple(
                _column(name, cells, kinds.get(name))
                for name, cells in zip(names, table, strict=True)
            )
        )

    @property
    def names(self) -> list[str]:
        """The names of the columns, in order."""
        return [column.name for column in self.columns]

    @property
    def order(self) -> list[int]:
        """The columns' numbers in the order in which the layer holds them."""
        floor = {Numeric: 0, Binary: 1, CategoricalColumn: 2}
        return sorted(
            range(len(self.columns)),
            key=lambda number: (floor[type(self.columns[number])], self.columns[number].width),
        )

    @property
    def places(self) -> list[slice]:
        """Which components of the state each column has."""
        order = self.order
        ends = list(accumulate(self.columns[number].width for number in order))
        places = dict(zip(order, map(slice, [0, *ends], ends), strict=False))
        return [places[number] for number in range(len(order))]

    @property
    def unit(self) -> Unit:
        """The visible units, one layer for all columns."""
        sorted_columns = [self.columns[number] for number in self.order]
        runs = [list(run) for _, run in groupby(sorted_columns, key=lambda c: (type(c), c.width))]
        parts = [run[0].unit(len(run)) for run in runs]
        return parts[0] if len(parts) == 1 else Mixed(parts)

    @property
    def spreads(self) -> Float[Tensor, " size"]:
        """What a number is divided by, for each component; 1 for bits and categories."""
        found = torch.ones(self.unit.size, dtype=torch.float64)
        for column, place in zip(self.columns, self.places, strict=True):
            if isinstance(column, Numeric):
                found[place] = column.spread
        return found

    @property
    def numeric(self) -> Bool[Tensor, " size"]:
        """Which components are numbers."""
        return torch.arange(self.unit.size) < sum(isinstance(c, Numeric) for c in self.columns)

    def encode(
        self, operation: str, table: Sequence[Cells], handle_unknown: str = "error"
    ) -> tuple[Float[Tensor, "rows size"], Bool[Tensor, "rows size"]]:
        """Encodes rows as states, with a mask of the known components; the others are zero.

        Args:
            operation: What is being done, for the error.
            table: The cells of each column.
            handle_unknown: "error", or "missing" for taking new categories as unknown.

        Raises:
            ShapeError: If the table has another number of columns.
            DomainError: If a cell is not of its column's kind, or is a category not seen before, or
                categories are so many that their one-hot units would fill the memory.
        """
        if len(table) != len(self.columns):
            raise ShapeError(
                f"{len(table)} columns, fitted on {len(self.columns)}",
                "Give the columns of the fitted table, in their order", operation=operation,
            )  # fmt: skip
        width, rows = sum(c.width for c in self.columns if c.width > 1), len(table[0])
        if rows * width > MOST_ONE_HOT:
            widest = max(self.columns, key=lambda column: column.width)
            raise DomainError(
                f"{rows} rows of {width} categories, {widest.width} of them in column "
                f"{widest.name!r}",
                "Leave that column out, or call its rare words by one name", operation=operation,
            )  # fmt: skip
        parts = [self.columns[n].encode(operation, table[n], handle_unknown) for n in self.order]
        states = torch.from_numpy(np.concatenate(parts, -1))
        observed = ~states.isnan()
        return torch.where(observed, states, 0.0), observed

    def decode(self, states: Float[Tensor, "rows size"], rounded: bool = True) -> list[Cells]:
        """Decodes states or mean states into the cells of each column."""
        values = states.numpy(force=True)
        return [
            column.decode(values[:, place], rounded)
            for column, place in zip(self.columns, self.places, strict=True)
        ]

    def new(
        self, states: Float[Tensor, "rows size"], among: Float[Tensor, "others size"]
    ) -> Bool[Tensor, "rows size"]:
        """Marks components of categories that none among the other rows has."""
        found = torch.zeros_like(states, dtype=torch.bool)
        for column, place in zip(self.columns, self.places, strict=True):
            if isinstance(column, CategoricalColumn):
                absent = (among[:, place] == 0).all(0)
                found[:, place] = (states[:, place] * absent).any(-1, keepdim=True)
        return found

    def config(self) -> list[dict[str, Any]]:
        """Returns the columns as JSON values."""
        return [column.config() for column in self.columns]

    @classmethod
    def from_config(cls, config: Iterable[dict[str, Any]]) -> Columns:
        """Restores the columns that :meth:`config` described."""
        return cls(tuple(Column.from_config(column) for column in config))


def kind_of(column: Column) -> str:
    """Returns the kind of a column: "numeric", "binary" or "categorical"."""
    return type(column).__name__.lower().removesuffix("column")


def _column(name: str, cells: Cells, kind: str | None) -> Column:
    known = cells[~is_unknown(cells)]
    if len(known) == 0:
        raise DomainError(
            "every cell is unknown",
            "Leave the column out: it says nothing",
            operation=f"column {name!r}",
        )
    kind = kind or guessed_kind(name, known)
    if kind == "categorical":
        return CategoricalColumn.of(name, cells)
    if kind == "numeric":
        return Numeric.of(name, cells)
    column = Binary(name, truths(known))
    column.encode("fit", cells)
    return column
