"""Tables of numbers, truths and names in a .csv, written back letter by letter.

The cells are split by the standard library and not by pandas, which fills lines that are too short
with NaN in silence, and does not say in which line a quote is left open.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

from isinglass.data.columns import Cells, is_unknown
from isinglass.errors import DomainError, FileError, ParameterError, ShapeError

__all__ = ["CsvTable", "read_csv", "read_numbers"]

#: From a cell as Python writes it to one as the column does.
Spelling: TypeAlias = Callable[[str], str]

#: What stands for an unknown cell, beside nothing at all.
UNKNOWN = frozenset({"", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "?"})
#: What does where all other cells are numbers or truths; elsewhere it may be a name.
PERHAPS = frozenset({"-", "--", ".", "none", "None", "NONE", "unknown", "missing"})
TRUTHS = {"true": True, "false": False}
DELIMITERS = ",;\t"
#: In fewer rows all names may differ by chance.
FEWEST_NAMES = 10

DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
LEADING_ZERO = re.compile(r"[+-]?0\d")
#: 1,234 and 10% and $5: numbers to people only.
DRESSED = re.compile(r"[+-]?[$€£]?\d+([,.]\d+)*\s?[%$€£]?")
DATE = re.compile(r"(\d{4}[-/.]\d\d?[-/.]\d\d?|\d\d?[-/.]\d\d?[-/.](\d{4}|\d\d))([ T].*)?")


class Line(NamedTuple):
    """The cells of a line, and its number in the file."""

    number: int
    cells: list[str]


@dataclass(frozen=True)
class CsvTable:
    """A .csv in columns, and how it was written.

    Attributes:
        columns: Cells by name: numbers with NaN, or truths or strings with None, where unknown;
            only of columns to learn from.
        names: All columns, in the order in which they are written.
        texts: Their cells as they were written, one list a row.
        header: The first line as it was written; None if it held no names.
        delimiter: What stands between cells.
        spellings: How a cell is written, for columns that do not write it as Python does.
        notes: What the user should know of how the file was read.
    """

    columns: dict[str, Cells]
    names: list[str]
    texts: list[list[str]] = field(repr=False)
    header: list[str] | None = None
    delimiter: str = ","
    spellings: dict[str, Spelling] = field(default_factory=dict[str, Spelling])
    notes: list[str] = field(default_factory=list[str])

    @property
    def unknown(self) -> int:
        """The number of unknown cells in columns to learn from."""
        return sum(int(is_unknown(cells).sum()) for cells in self.columns.values())

    def filled_rows(self, columns: dict[str, list[str]]) -> list[list[str]]:
        """Returns the rows as they were written, unknown cells taken from these columns."""
        rows = [list(row) for row in self.texts]
        for name, texts in columns.items():
            place = self.names.index(name)
            for number in np.flatnonzero(is_unknown(self.columns[name])):
                rows[number][place] = self._spelled(name, texts[number])
        return rows

    def fresh_rows(self, columns: dict[str, list[str]]) -> list[list[str]]:
        """Returns new rows of these columns, empty in those that were not learned from."""
        empty = [""] * max(map(len, columns.values()))
        spelled = (
            [self._spelled(name, text) for text in columns.get(name, empty)] for name in self.names
        )
        return list(map(list, zip(*spelled, strict=True)))

    def write(self, path: Path, rows: list[list[str]]) -> None:
        """Writes rows under this table's names, with its delimiter.

        Args:
            path: A path given by :func:`isinglass.io.atomic.atomic_write`.
            rows: Cells as text.
        """
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter=self.delimiter, lineterminator="\n")
            if self.header is not None:
                writer.writerow(self.header)
            writer.writerows(rows)

    def _spelled(self, name: str, text: str) -> str:
        return self.spellings.get(name, str)(text)


def read_csv(
    path: Path,
    *,
    kinds: Mapping[str, str] | None = None,
    drop: Collection[str] = (),
    unknown: Collection[str] = (),
    fitted: Collection[str] | None = None,
) -> CsvTable:
    r"""Reads a .csv whose columns may be numbers, truths or names.

    The first line holds names unless a cell of it is a number; then columns are called 1, 2, 3 and
    so on. A column is numbers if all its known cells are, in a table of semicolons also with
    decimal commas; true and false, however written, are truths; digits after a leading zero are
    names. Cells stand apart by commas, semicolons or tabs, whichever the first line has most of.

    Names that are all different, dates, and a nameless column that counts the rows say nothing
    about other columns: they are written but not learned from, unless ``kinds`` has them.

    Args:
        path: The file.
        kinds: "numeric" or "categorical" for columns that are not as they look.
        drop: Names of columns to leave out.
        unknown: What stands for an unknown cell beside what usually does.
        fitted: The columns to learn from; None is all that say something.

    Raises:
        FileError: If the file is missing, is no text, or a quote in it is never closed.
        ShapeError: If it has no rows, rows differ in length, or two columns have one name.
        ParameterError: If ``kinds`` or ``drop`` names a column that is not there.
        DomainError: If a number is infinite, or no column is left to learn from.

    Examples:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "table.csv"
        >>> _ = path.write_text("height,eyes\n1.8,blue\n,green\n")
        >>> table = read_csv(path)
        >>> table.columns["height"], table.columns["eyes"]
        (array([1.8, nan]), array(['blue', 'green'], dtype=object))
        >>> table.filled_rows({"height": ["1.8", "1.6"]})
        [['1.8', 'blue'], ['1.6', 'green']]
    """
    kinds, text = kinds or {}, _split(path)
    _check_names(f"reading {path}", text.names, [*kinds, *drop])
    notes = list(text.notes)
    kept = [place for place, name in enumerate(text.names) if name not in drop]
    last = len(text.names) - 1
    if last in kept and last > 0 and text.is_blank(last):
        kept.remove(last)
        notes.append("the last column is empty in every line, left out")
    columns, spellings, more = _read_columns(path, text, kept, kinds, {*UNKNOWN, *unknown}, fitted)
    notes += more
    if not columns:
        raise DomainError(
            f"no column is left to learn from ({'; '.join(notes)})",
            "Give one that says something of others",
            operation=f"reading {path}",
        )
    return CsvTable(
        columns, [text.names[place] for place in kept],
        [[line.cells[place] for place in kept] for line in text.body],
        text.header and [text.header[place] for place in kept], text.delimiter, spellings, notes,
    )  # fmt: skip


def _read_columns(
    path: Path,
    text: _Text,
    kept: list[int],
    kinds: Mapping[str, str],
    unknown: Collection[str],
    fitted: Collection[str] | None,
) -> tuple[dict[str, Cells], dict[str, Spelling], list[str]]:
    """Returns the columns to learn from by name, how they are written, and notes."""
    notes: list[str] = []
    columns: dict[str, Cells] = {}
    spellings: dict[str, Spelling] = {}
    for place in kept:
        name = text.names[place]
        column = _Reader(text, place, kinds.get(name), unknown)
        found, spelling = column.read()
        notes += column.notes
        if fitted is None and name not in kinds:
            why = column.says_nothing(found)
            left_out = why and f"{why}, left out; --categorical {name} keeps it"
        else:
            left_out = fitted is not None and name not in fitted and "not in the machine, left out"
        if left_out:
            notes.append(f"{name}: {left_out}")
        else:
            _check_finite(path, name, found)
            columns[name], spellings[name] = found, spelling
    return columns, spellings, notes


def read_numbers(path: Path) -> np.ndarray:
    r"""Reads a .csv of numbers alone, NaN where a cell is unknown.

    Raises:
        FileError: If the file is missing, is no text, or a quote in it is never closed.
        ShapeError: If it has no rows, or rows differ in length.
        DomainError: If a cell is no number.

    Examples:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "table.csv"
        >>> _ = path.write_text("height;weight\n1,8;\n1,6;55\n")
        >>> read_numbers(path)
        array([[ 1.8,  nan],
               [ 1.6, 55. ]])
    """
    text = _split(path)
    for line in text.body:
        for cell in line.cells:
            if cell.strip() not in UNKNOWN and _number(cell, text.comma) is None:
                raise DomainError(
                    f"{cell!r} in line {line.number}",
                    "Give numbers, or nothing",
                    operation=f"reading {path}",
                )
    rows = [[_number(cell, text.comma) for cell in line.cells] for line in text.body]
    return np.array(rows, np.float64)  # None becomes NaN


@dataclass(frozen=True)
class _Text:
    """A .csv in cells: its lines without the names, each of one length."""

    names: list[str]
    header: list[str] | None
    body: list[Line]
    delimiter: str
    notes: list[str]

    @property
    def comma(self) -> bool:
        """Returns whether numbers may have a decimal comma."""
        return self.delimiter == ";"

    def is_nameless(self, place: int) -> bool:
        """Returns whether other columns have a name and this one has none."""
        return self.header is not None and not self.header[place].strip()

    def is_blank(self, place: int) -> bool:
        """Returns whether a column has neither a name nor a cell."""
        nameless = self.header is None or self.is_nameless(place)
        return nameless and not any(line.cells[place].strip() for line in self.body)


def _split(path: Path) -> _Text:
    """Splits a file into cells, with the first line as names unless a cell of it is a number."""
    operation = f"reading {path}"
    lines, delimiter = _lines(operation, path)
    lines, notes = _whole(lines)
    first = lines[0].cells if lines else []
    named = any(cell.strip() not in UNKNOWN for cell in first) and all(
        _number(cell, delimiter == ";") is None for cell in first
    )
    body = lines[1:] if named else lines
    if not body:
        raise ShapeError(
            "no rows", "Give a line of names and at least one of cells", operation=operation
        )
    _check_lengths(operation, body, len(first))
    names = [
        cell.strip() if named and cell.strip() else str(place)
        for place, cell in enumerate(first, 1)
    ]
    return _Text(names, first if named else None, body, delimiter, notes)


def _check_finite(path: Path, name: str, cells: Cells) -> None:
    if cells.dtype.kind == "f" and np.isinf(cells).any():
        raise DomainError(
            f"an infinite number in column {name!r}",
            "Leave unknown cells empty",
            operation=f"reading {path}",
        )


class _Reader:
    """Reads one column, and notes what is odd about it."""

    def __init__(self, text: _Text, place: int, kind: str | None, unknown: Collection[str]) -> None:
        self.name, self.kind, self.comma = text.names[place], kind, text.comma
        self.nameless = text.is_nameless(place)
        self.lines = [line.number for line in text.body]
        self.cells = [line.cells[place].strip() for line in text.body]
        self.unknown, self.notes = unknown, list[str]()

    def read(self) -> tuple[Cells, Spelling]:
        """Returns the cells, and how they are written."""
        known = {cell for cell in self.cells if cell not in self.unknown}
        if self.kind != "categorical":
            plain = known - PERHAPS
            numbers = all(_number(cell, self.comma) is not None for cell in plain)
            truths = all(cell.lower() in TRUTHS for cell in plain)
            if known and plain and (numbers or truths):
                if known != plain:
                    shown = ", ".join(map(repr, sorted(known & PERHAPS)))
                    self.notes.append(f"{self.name}: {shown} taken as unknown")
                    self.unknown, known = {*self.unknown, *PERHAPS}, plain
                if truths:
                    return self._truths()
                if self.kind == "numeric" or not any(map(LEADING_ZERO.match, known)):
                    return self._numbers()
            elif not known:
                return self._numbers()
            else:
                self._hint(known)
        found = [None if cell in self.unknown else cell for cell in self.cells]
        return np.array(found, object), str

    def says_nothing(self, found: Cells) -> str | None:
        """Returns why these cells say nothing of other columns; None if they may."""
        known = found[~is_unknown(found)].tolist()
        if self.nameless and len(known) > 1 and found.dtype.kind == "f":
            counts = np.arange(len(found))
            if np.array_equal(found, counts) or np.array_equal(found, counts + 1):
                return "nameless, counts the rows"
        if not known or not isinstance(known[0], str):
            return None
        if all(map(DATE.fullmatch, known)):
            return "dates"
        return "all different" if FEWEST_NAMES <= len(known) == len(set(known)) else None

    def _numbers(self) -> tuple[Cells, Spelling]:
        values = [
            np.nan if cell in self.unknown else _number(cell, self.comma) for cell in self.cells
        ]
        commas = self.comma and any("," in cell for cell in self.cells)
        spelling = (lambda text: text.replace(".", ",")) if commas else str
        return np.array(values, np.float64), spelling

    def _truths(self) -> tuple[Cells, Spelling]:
        found = [None if cell in self.unknown else TRUTHS[cell.lower()] for cell in self.cells]
        word = next(cell for cell in self.cells if cell not in self.unknown)
        style = str.upper if word.isupper() else str.lower if word.islower() else str.title
        return np.array(found, object), style

    def _hint(self, known: set[str]) -> None:
        """Says what keeps a column from being numbers, where that may be an oversight."""
        odd = [
            (number, cell)
            for number, cell in zip(self.lines, self.cells, strict=True)
            if cell in known and _number(cell, self.comma) is None
        ]
        total = sum(cell in known for cell in self.cells)
        number, cell = odd[0]
        if all(map(DRESSED.fullmatch, known)):
            bare = re.sub(r"[,$€£%\s]", "", cell)
            self.notes.append(
                f"{self.name}: {cell!r} in line {number} is taken for a name; as a number it would "
                f"be {bare}"
            )
        elif len({cell for _, cell in odd}) <= 3 and 2 * len(odd) < total:
            self.notes.append(
                f"{self.name} is numbers but for {cell!r} in line {number}, so all are taken for "
                f"names; if that is an unknown cell, say --na {cell}"
            )


def _lines(operation: str, path: Path) -> tuple[list[Line], str]:
    """Returns all lines of the file, also empty ones, and the delimiter."""
    lines: list[Line] = []
    begin = 1
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = next((line for line in file if line.strip()), "")
            delimiter = max(DELIMITERS, key=first.count)
            file.seek(0)
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            for cells in reader:
                lines.append(Line(begin, cells))
                begin = reader.line_num + 1
    except FileNotFoundError as error:
        raise FileError("there is no such file", "Check the path", operation=operation) from error
    except csv.Error as error:
        raise FileError(
            f"a quote in line {begin} is not closed as it should be ({error})",
            'Close it; a quote within quotes is written twice, ""', operation=operation,
        ) from error  # fmt: skip
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(
            f"no table of text ({error})", "Save it as .csv in UTF-8", operation=operation
        ) from error
    for line in lines:
        if any("\0" in cell for cell in line.cells):
            raise FileError(
                f"a NUL byte in line {line.number}",
                "Save it again as text, in UTF-8",
                operation=operation,
            )
    return lines, delimiter


def _whole(lines: list[Line]) -> tuple[list[Line], list[str]]:
    """Leaves blank lines out and notes it; in one column they are empty cells."""
    if all(len(line.cells) < 2 for line in lines) and any(line.cells for line in lines):
        return [Line(line.number, line.cells or [""]) for line in lines], []
    found = [line for line in lines if line.cells]
    blank = len(lines) - len(found)
    said = "1 blank line is" if blank == 1 else f"{blank} blank lines are"
    return found, [f"{said} left out"] if blank and found else []


def _check_lengths(operation: str, body: list[Line], width: int) -> None:
    for line in body:
        if len(line.cells) != width:
            cells = "1 cell" if len(line.cells) == 1 else f"{len(line.cells)} cells"
            raise ShapeError(
                f"line {line.number} has {cells}, the first line has {width}",
                "Give every line the same number, empty where unknown", operation=operation,
            )  # fmt: skip


def _check_names(operation: str, names: list[str], wanted: list[str]) -> None:
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ShapeError(
            f"two columns named {twice!r}", "Give each a name of its own", operation=operation
        )
    for name in wanted:
        if name not in names:
            raise ParameterError(
                f"no column {name!r}", f"Name one of {', '.join(names)}", operation=operation
            )


def _number(cell: str, comma: bool) -> float | None:
    """Parses a cell as a number, also with a decimal comma if told; None if it is none."""
    if comma and DECIMAL_COMMA.fullmatch(cell.strip()):
        cell = cell.replace(",", ".")
    try:
        return None if cell.strip() in UNKNOWN else float(cell)
    except ValueError:
        return None
