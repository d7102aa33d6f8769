"""One column of a table, and how its cells are states of visible units: numbers, bits, names."""

from __future__ import annotations

import datetime
import math
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from isinglass._support.registry import Configurable
from isinglass.errors import DomainError
from isinglass.units import Bernoulli, Categorical, Gaussian, Unit

__all__ = [
    "Binary",
    "CategoricalColumn",
    "Cells",
    "Column",
    "Numeric",
    "guessed_kind",
    "is_unknown",
    "truths",
]

#: One column of a table: numbers with NaN where unknown, or objects with None.
Cells: TypeAlias = np.ndarray

#: Numbers with more decimals than this are left as they are.
MOST_DECIMALS = 6
#: What Python calls dates and times; pandas' own are among them.
TIMES = (datetime.date, datetime.time, datetime.timedelta)
#: Larger numbers leave no room for a spread about them.
LARGEST = 1e305
#: Most spreads between a number and the center of its column.
FARTHEST = 1e100


@dataclass(frozen=True)
class Column(Configurable, ABC):
    """One column, and how its cells are states of visible units.

    Args:
        name: What the column is called.
    """

    name: str

    @property
    def width(self) -> int:
        """The number of components of a cell as a state."""
        return 1

    @abstractmethod
    def unit(self, columns: int) -> Unit:
        """Returns the visible units of so many columns of this kind and width."""

    @abstractmethod
    def encode(self, operation: str, cells: Cells, handle_unknown: str = "error") -> np.ndarray:
        """Encodes cells as states, ``(rows, width)``, NaN where a cell is unknown."""

    @abstractmethod
    def decode(self, states: np.ndarray, rounded: bool = True) -> Cells:
        """Decodes states or mean states, ``(rows, width)``, into cells."""

    def texts(self, cells: Cells) -> list[str]:
        """Writes decoded cells as Python does, with the decimals of the data."""
        return [f"{c:g}" if isinstance(c, float) else str(c) for c in cells.tolist()]


@dataclass(frozen=True)
class Numeric(Column):
    """Numbers, standardized to (x − center)/spread, as a Gaussian unit.

    Args:
        name: What the column is called.
        center: Their mean.
        spread: Their standard deviation; 1 if all are equal.
        decimals: How many decimals the numbers of the data have; None if too many to matter.

    Examples:
        >>> age = Numeric.of("age", np.array([20.0, 30.0, np.nan]))
        >>> age.center, age.spread, age.decimals
        (25.0, 5.0, 0)
        >>> age.decode(np.array([[0.33]]))
        array([27.])
    """

    center: float = 0.0
    spread: float = 1.0
    decimals: int | None = None

    @classmethod
    def of(cls, name: str, cells: Cells) -> Numeric:
        """Fits center, spread and decimals to the numbers of a column."""
        known = _numbers(f"column {name!r}", cells)
        known = known[~np.isnan(known)]
        largest = float(np.abs(known).max())
        if largest > LARGEST:
            raise DomainError(
                f"a number as large as {largest:g}", "Divide it first", operation=f"column {name!r}"
            )
        # By a power of two, which is exact: squares of huge and tiny numbers are no floats.
        unit = 2.0 ** np.frexp(largest)[1]
        center = float((known / unit).mean() * unit)
        spread = float((known / unit).std() * unit)
        # Numbers that are all equal have a spread of rounding errors only.
        if not spread > 16 * np.finfo(np.float64).eps * abs(center):
            spread = 1.0
        return cls(name, center, spread, _decimals(known, spread))

    def unit(self, columns: int) -> Unit:
        """Returns Gaussian units, one a column."""
        return Gaussian(columns)

    def encode(self, operation: str, cells: Cells, handle_unknown: str = "error") -> np.ndarray:
        """Standardizes cells to (x − center)/spread.

        Raises:
            DomainError: If a cell is no number, infinite, or too far from the data to be squared.
        """
        operation = f"{operation}: column {self.name!r}"
        values = _numbers(operation, cells)
        with np.errstate(over="ignore"):
            states = (values - self.center) / self.spread
        far = np.abs(states) > FARTHEST
        if far.any():
            raise DomainError(
                f"{values[far][0]:g} among numbers near {self.center:g}",
                "Mend the cell",
                operation=operation,
            )
        return states[:, None]

    def decode(self, states: np.ndarray, rounded: bool = True) -> Cells:
        """Decodes states s to center + spread · s, to as many decimals as the data have."""
        values = self.center + self.spread * states[:, 0]
        if rounded and self.decimals is not None:
            values = values.round(self.decimals) + 0.0  # no −0
        return values

    def texts(self, cells: Cells) -> list[str]:
        """Writes numbers with the decimals of the data, else six digits of what differs."""
        if self.decimals is not None:
            return [f"{cell:.{self.decimals}f}" for cell in cells]
        digits = 6 + math.log10(1 + abs(self.center) / self.spread)
        return [f"{cell + 0.0:.{min(round(digits), 17)}g}" for cell in cells]


@dataclass(frozen=True)
class Binary(Column):
    """Zeros and ones, or False and True, as a bit.

    Args:
        name: What the column is called.
        boolean: Whether cells are False and True rather than 0 and 1.
    """

    boolean: bool = False

    def unit(self, columns: int) -> Unit:
        """Returns Bernoulli units, one a column."""
        return Bernoulli(columns)

    def encode(self, operation: str, cells: Cells, handle_unknown: str = "error") -> np.ndarray:
        """Encodes a cell as the number 0 or 1.

        Raises:
            DomainError: If a cell is neither 0 nor 1, unless ``handle_unknown`` is "missing".
        """
        values = _numbers(f"{operation}: column {self.name!r}", cells)
        strange = ~(np.isnan(values) | (values == 0) | (values == 1))
        _refuse_strange(operation, self.name, values[strange], "0, 1", handle_unknown)
        return np.where(strange, np.nan, values)[:, None]

    def decode(self, states: np.ndarray, rounded: bool = True) -> Cells:
        """Decodes to 1 where the mean is above a half, else to 0."""
        ones = states[:, 0] > 0.5
        return ones if self.boolean else ones.astype(np.float64)

    def texts(self, cells: Cells) -> list[str]:
        """Writes 0 and 1, or False and True."""
        return [str(cell if self.boolean else int(cell)) for cell in cells]


@dataclass(frozen=True)
class CategoricalColumn(Column):
    """One of several names or numbers, as a one-hot unit.

    Args:
        name: What the column is called.
        categories: What the cells may be.

    Examples:
        >>> color = CategoricalColumn.of("color", np.array(["red", None, "blue"], object))
        >>> color.categories
        ('blue', 'red')
        >>> color.encode("fit", np.array(["red", None], object))
        array([[ 0.,  1.],
               [nan, nan]])
    """

    categories: tuple[Any, ...] = ()

    @classmethod
    def of(cls, name: str, cells: Cells) -> CategoricalColumn:
        """Fits the categories of a column, sorted, numbers before strings.

        Warns:
            UserWarning: If 0 and "0" are there, two categories, or 1 and True, one of them.
        """
        scalars = [_scalar(name, cell) for cell in cells[~is_unknown(cells)].tolist()]
        found = set(scalars)
        _warn_of_twins(name, found, set(map(type, scalars)))
        return cls(name, tuple(sorted(found, key=lambda cell: (isinstance(cell, str), cell))))

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> CategoricalColumn:
        """Makes a tuple of the categories, which JSON holds as a list."""
        return cls(fields["name"], tuple(fields["categories"]))

    @property
    def width(self) -> int:
        """The number of categories, one component each."""
        return len(self.categories)

    def unit(self, columns: int) -> Unit:
        """Returns one-hot units, a group for each column."""
        return Categorical(columns * self.width, groups=columns)

    def encode(self, operation: str, cells: Cells, handle_unknown: str = "error") -> np.ndarray:
        """Encodes a cell one-hot, with a one in the place of its category.

        Raises:
            DomainError: If a category is new, unless ``handle_unknown`` is "missing".
        """
        place = {category: number for number, category in enumerate(self.categories)}
        known = ~is_unknown(cells)
        index = np.full(len(cells), -1)
        index[known] = [place.get(_scalar(self.name, c), -1) for c in cells[known].tolist()]
        shown = ", ".join(map(repr, self.categories[:10])) + ("…" if self.width > 10 else "")
        _refuse_strange(operation, self.name, cells[known & (index < 0)], shown, handle_unknown)
        states = (index[:, None] == np.arange(self.width)).astype(np.float64)
        states[index < 0] = np.nan
        return states

    def decode(self, states: np.ndarray, rounded: bool = True) -> Cells:
        """Decodes to the category of the largest component."""
        numbers = all(type(category) in {int, float} for category in self.categories)
        cells = np.array(self.categories, np.float64 if numbers else object)
        return cells[states.argmax(-1)]


def is_unknown(cells: Cells) -> np.ndarray:
    """Returns which cells are unknown: NaN, None, pandas' NA and NaT.

    Examples:
        >>> is_unknown(np.array(["a", None, float("nan"), 1.0], object))
        array([False,  True,  True, False])
    """
    if cells.dtype.kind == "f":
        return np.isnan(cells)
    if cells.dtype.kind != "O":
        return np.zeros(len(cells), bool)
    return np.array([_is_unknown(cell) for cell in cells], bool)


def _is_unknown(cell: Any) -> bool:
    if cell is None or type(cell).__name__ in {"NAType", "NaTType"}:
        return True
    return isinstance(cell, (float, np.floating)) and math.isnan(cell)


def guessed_kind(name: str, known: Cells) -> str:
    """Guesses the kind of a column from its known cells."""
    if known.dtype.kind in "US" or any(isinstance(cell, str) for cell in known.tolist()):
        return "categorical"
    numbers = _numbers(f"column {name!r}", known)
    return "binary" if truths(known) or set(numbers) == {0, 1} else "numeric"


def truths(known: Cells) -> bool:
    """Returns whether all of these cells are False or True."""
    return known.dtype.kind == "b" or all(isinstance(cell, (bool, np.bool)) for cell in known)


class _NoNumberError(DomainError, TypeError):
    """A cell is no number; a TypeError too, as scikit-learn asks of its estimators."""


def _numbers(operation: str, cells: Cells) -> np.ndarray:
    """Returns cells as numbers, NaN where unknown."""
    unknown = is_unknown(cells)
    if cells.dtype.kind in "Mm" or (
        cells.dtype == object and any(isinstance(cell, TIMES) for cell in cells[~unknown])
    ):
        raise DomainError(
            "dates or times", "Turn them into numbers first, such as days", operation=operation
        )
    try:
        values = np.where(unknown, np.nan, cells.astype(object)).astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise _NoNumberError(
            f"a cell that is no number ({error})",
            "Call it categorical, or mend the cell",
            operation=operation,
        ) from error
    if np.isinf(values).any():
        remedy = "Leave unknown cells empty, or NaN"
        raise DomainError("infinity (inf)", remedy, operation=operation)
    return values


def _decimals(values: np.ndarray, spread: float) -> int | None:
    """Returns how many decimals say these numbers, but for rounding far below their spread."""
    scale = np.abs(values).max(initial=0.0)
    if 1e15 <= scale < 2.0**63 and (values == values.round()).all():
        return 0
    for decimals in range(MOST_DECIMALS + 1):
        slip = np.abs(values - values.round(decimals)).max(initial=0.0)
        if scale < 1e15 and slip <= 1e-12 * scale and slip <= 1e-6 * spread:
            return decimals
    return None


def _scalar(name: str, cell: Any) -> Any:
    """Returns a category as a string, a number or a boolean, as JSON has them."""
    cell = cell.item() if isinstance(cell, np.generic) else cell
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)  # 1 and 1.0 are one category
    if not isinstance(cell, (str, bool, int, float)):
        raise DomainError(
            f"a cell of type {type(cell).__name__}",
            "Give strings or numbers as categories", operation=f"column {name!r}",
        )  # fmt: skip
    return cell


def _warn_of_twins(name: str, categories: set[Any], types: set[type]) -> None:
    """Warns of 0 and "0", two categories that look like one, and of 1 and True, which are one."""
    twins = [
        f"{cell!r} and {text!r} are two categories"
        for cell in categories if not isinstance(cell, str)
        for text in dict.fromkeys((str(cell), str(float(cell)))) if text in categories
    ]  # fmt: skip
    if bool in types and types & {int, float}:
        twins.append("True and 1, False and 0 are one category each")
    if twins:
        warnings.warn(f"column {name!r}: {twins[0]}; bring it to one type", stacklevel=2)


def _refuse_strange(
    operation: str, name: str, cells: np.ndarray, known: str, handle_unknown: str
) -> None:
    if len(cells) and handle_unknown == "error":
        raise DomainError(
            f"{cells.tolist()[0]!r} in column {name!r}, which is none of {known}",
            "Mend the cell, fit on data that have it, or take it as unknown: "
            "handle_unknown='missing'",
            operation=operation,
        )
