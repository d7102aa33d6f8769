"""A user's own .csv of mixed columns: names, numbers and empty cells, written as they were read."""

from __future__ import annotations

import csv
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from isinglass.data.columns import Cells
from isinglass.errors import DomainError, FileError, ParameterError, ShapeError

__all__ = ["MixedTable", "read_mixed"]

#: What stands for an unknown cell, beside nothing at all.
UNKNOWN = {"", "NA", "N/A", "NaN", "nan", "null", "?"}
DELIMITERS = ",;\t"


@dataclass(frozen=True)
class MixedTable:
    """The columns of a .csv.

    Attributes:
        columns: Cells by name: numbers with NaN, or strings with None, where unknown.
        texts: The cells as they were written, one list a row.
        header: Whether the names stood in the first line.
        delimiter: What stands between cells.
    """

    columns: dict[str, Cells]
    texts: list[list[str]] = field(repr=False)
    header: bool = True
    delimiter: str = ","

    @property
    def unknown(self) -> int:
        """How many cells are unknown."""
        return sum(text.strip() in UNKNOWN for row in self.texts for text in row)

    def filled(self, columns: dict[str, list[str]]) -> list[list[str]]:
        """The rows as they were written, unknown cells taken from these columns."""
        new = list(columns.values())
        return [
            [
                new[place][number] if text.strip() in UNKNOWN else text
                for place, text in enumerate(row)
            ]
            for number, row in enumerate(self.texts)
        ]

    def write(self, path: Path, rows: list[list[str]]) -> None:
        """Write rows under this table's names, with its delimiter.

        Args:
            path: A path given by :func:`isinglass.files.writing`.
            rows: Cells as text.
        """
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter=self.delimiter, lineterminator="\n")
            if self.header:
                writer.writerow(self.columns)
            writer.writerows(rows)


def read_mixed(
    path: Path, *, texts: Collection[str] = (), drop: Collection[str] = ()
) -> MixedTable:
    r"""Read a .csv whose columns may be numbers or names.

    The first line holds names unless a cell of it is a number; then columns are called 1, 2, 3 and
    so on. A column is numbers if all its known cells are. Cells stand apart by commas, semicolons
    or tabs, whichever the first line has most of.

    Args:
        path: The file.
        texts: Names of columns to keep as text even where they are numbers.
        drop: Names of columns to leave out.

    Raises:
        FileError: If the file is missing or is no text.
        ShapeError: If it has no rows, rows differ in length, or two columns have one name.
        ParameterError: If ``texts`` or ``drop`` names a column that is not there.
        DomainError: If a number is infinite.

    Examples:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "table.csv"
        >>> _ = path.write_text("height,eyes\n1.8,blue\n,green\n")
        >>> table = read_mixed(path)
        >>> table.columns["height"], table.columns["eyes"]
        (array([1.8, nan]), array(['blue', 'green'], dtype=object))
        >>> table.filled({"height": ["1.8", "1.6"], "eyes": ["", ""]})
        [['1.8', 'blue'], ['1.6', 'green']]
    """
    operation = f"reading {path}"
    lines, delimiter = _lines(operation, path)
    first = lines[0] if lines else []
    header = bool(first) and not any(_number(cell) is not None for cell in first)
    body = lines[1:] if header else lines
    if not body:
        raise ShapeError(operation, "no rows", "Give a line of names and at least one of cells")
    for number, line in enumerate(body, 1):
        if len(line) != len(first):
            raise ShapeError(
                operation,
                f"row {number} has {len(line)} cells, the first line has {len(first)}",
                "Give every row the same number, empty where unknown",
            )
    names = [
        cell.strip() if header and cell.strip() else str(place)
        for place, cell in enumerate(first, 1)
    ]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ShapeError(operation, f"two columns named {twice!r}", "Give each a name of its own")
    for name in [*texts, *drop]:
        if name not in names:
            raise ParameterError(
                operation, f"no column {name!r}", f"Name one of {', '.join(names)}"
            )
    kept = [place for place, name in enumerate(names) if name not in drop]
    rows = [[line[place] for place in kept] for line in body]
    columns = {
        names[place]: _column(operation, names[place], [line[place] for line in body], texts)
        for place in kept
    }
    return MixedTable(columns, rows, header, delimiter)


def _lines(operation: str, path: Path) -> tuple[list[list[str]], str]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            delimiter = max(DELIMITERS, key=first.count)
            file.seek(0)
            return [line for line in csv.reader(file, delimiter=delimiter) if line], delimiter
    except FileNotFoundError as error:
        raise FileError(operation, "there is no such file", "Check the path") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FileError(
            operation, f"no table of text ({error})", "Save it as .csv in UTF-8"
        ) from error


def _column(operation: str, name: str, cells: list[str], texts: Collection[str]) -> Cells:
    known = [cell.strip() for cell in cells if cell.strip() not in UNKNOWN]
    if name in texts or any(_number(cell) is None for cell in known):
        found = [None if cell.strip() in UNKNOWN else cell.strip() for cell in cells]
        return np.array(found, object)
    values = np.array([np.nan if c.strip() in UNKNOWN else float(c) for c in cells])
    if np.isinf(values).any():
        raise DomainError(
            operation, f"an infinite number in column {name!r}", "Leave unknown cells empty"
        )
    return values


def _number(cell: str) -> float | None:
    try:
        return None if cell.strip() in UNKNOWN else float(cell)
    except ValueError:
        return None
