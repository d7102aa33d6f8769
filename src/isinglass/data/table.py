"""Tables of numbers, truths and names: read, their cells typed, and written back as they were.

What a file leaves open is decided from its cells and said; what they leave open too is refused with
the option that decides it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from shlex import quote
from typing import Any, TypeAlias

import numpy as np

from isinglass._support.optional import require_extra
from isinglass.data.arrays import read_array, save_array
from isinglass.data.columns import CategoricalColumn, Cells, Column, Columns, is_unknown
from isinglass.data.csv import DATE, DELIMITERS, Reading, Text, holds_names, read_text
from isinglass.data.numerals import NUMBER_LIKE, Numerals, decide_numerals, fitting_numerals
from isinglass.errors import DomainError, ParameterError, ShapeError

with require_extra("cli"):
    import pandas as pd

__all__ = ["SUFFIXES", "Reading", "Table", "check_table_name", "read_table"]

#: From a cell as Python writes it to one as the column does.
Spelling: TypeAlias = Callable[[str], str]

TEXTS, ARRAYS = (".csv", ".tsv", ".txt"), (".npy", ".npz")
SUFFIXES = TEXTS + ARRAYS
#: What stands for an unknown cell, beside nothing at all.
UNKNOWN = frozenset({"NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "?"})
#: What does where all other cells are numbers or truths; elsewhere it may be a name.
PERHAPS = frozenset({"-", "--", ".", "none", "None", "NONE", "unknown", "missing"})
#: Among these, as codes of countries are, NA is one of them.
CODE = re.compile("[A-Z]{2}")
TRUTHS = {"true": True, "false": False}
LEADING_ZERO = re.compile(r"[+-]?0\d", re.A)
#: 1 234 and 10% and $5: numbers to people only.
DRESSED = re.compile(r"[+-]?[$€£]?\s?\d+([,.'’\s]\d+)*\s?[%$€£]?", re.A)
MARKS = ((",", "comma"), (".", "point"))
#: In fewer rows all names may differ by chance.
FEWEST_NAMES = 10


@dataclass(frozen=True)
class Table:
    """A table in columns, and how it was written.

    Attributes:
        columns: Cells by name: numbers with NaN, or truths or strings with None, where unknown;
            only of columns to learn from.
        texts: All columns as they were written; numbers, if they came from an array.
        text: How the file was split into cells; None for an array.
        header: The line of names as it was written; None if there is none.
        spellings: How a cell is written, for columns that do not write it as Python does.
        words: By column to learn from, what stands for unknown cells, and how often.
        decided: How the file was read, in a line.
        notes: What the user should know of it.
    """

    columns: dict[str, Cells]
    texts: pd.DataFrame = field(repr=False)
    text: Text | None = field(default=None, repr=False)
    header: list[str] | None = None
    spellings: dict[str, Spelling] = field(default_factory=dict[str, Spelling])
    words: dict[str, Counter[str]] = field(default_factory=dict[str, "Counter[str]"])
    decided: str = ""
    notes: list[str] = field(default_factory=list[str])

    def filled(
        self, columns: Columns, cells: Sequence[Cells], everywhere: bool = False
    ) -> pd.DataFrame:
        """Returns the rows as they were written, unknown cells, or all, taken from these."""
        texts = self.texts.copy()
        for column, new in zip(columns.columns, cells, strict=True):
            unknown = is_unknown(self.columns[column.name]) | everywhere
            texts.loc[unknown, column.name] = self._spell(column, new[unknown])
        return texts

    def fresh(self, columns: Columns, cells: Sequence[Cells]) -> pd.DataFrame:
        """Returns new rows of these columns, empty in those that were not learned from."""
        pairs = zip(columns.columns, cells, strict=True)
        new = {column.name: self._spell(column, rows) for column, rows in pairs}
        return pd.DataFrame(new).reindex(columns=self.texts.columns, fill_value="")

    def matching(self, other: Table) -> Table:
        """Returns this table with the columns of another one; those that it lacks are unknown.

        Raises:
            ShapeError: If it has none of them, or no names and another number of columns.
        """
        count, stored = self.texts.shape[1], other.texts.shape[1]
        if (self.header is None and count != stored) or not {*self.columns} & {*other.columns}:
            raise ShapeError(
                f"{count} columns, the patterns have {stored}"
                + ", of other names" * (self.header is not None),
                f"Give columns in the patterns' order, or named {', '.join([*other.columns][:9])}",
            )
        lacking = [name for name in other.columns if name not in self.texts]
        unknown = np.full(len(self.texts), None, dtype=object)
        alike = self.text and other.text and self.text.sep == other.text.sep
        return replace(
            self,
            columns={name: self.columns.get(name, unknown) for name in other.columns},
            texts=self.texts.assign(**dict.fromkeys(lacking, "")),
            header=self.header and [*self.header, *lacking],
            spellings=other.spellings if alike else {**other.spellings, **self.spellings},
        )

    def write(self, path: Path, rows: pd.DataFrame) -> None:
        """Writes rows by the suffix: as text in this table's own form, or as an array.

        Args:
            path: A path given by :func:`isinglass.io.atomic.atomic_write`.
            rows: Rows of :meth:`filled` or :meth:`fresh`.

        Raises:
            DomainError: If names or truths are to be written as an array.
        """
        if path.suffix.lower() in ARRAYS:
            try:
                return save_array(path, rows.to_numpy(dtype=np.float64))
            except ValueError as error:
                remedy = f"Name it {', '.join(TEXTS)}"
                raise DomainError("cells that are no numbers", remedy, f"writing {path}") from error
        form = self.text or Text(rows, np.empty(0))
        names: Any = False if self.header is None else self.header
        text = form.preamble + rows.to_csv(
            sep=form.sep,
            index=False,
            header=names,
            lineterminator=form.newline,
            float_format="%.10g",
        )
        try:
            path.write_bytes(text.encode(form.encoding))
        except UnicodeEncodeError:  # a word that this encoding does not have
            path.write_bytes(text.encode("utf-8-sig"))

    def _spell(self, column: Column, cells: Cells) -> Any:
        if self.text is None:
            return cells
        if isinstance(column, CategoricalColumn):
            return column.texts(cells)
        return [self.spellings[column.name](text) for text in column.texts(cells)]


def read_table(
    path: Path,
    reading: Reading | None = None,
    *,
    kinds: Mapping[str, str] | None = None,
    drop: Collection[str] = (),
    names: Sequence[str] = (),
    fitted: Mapping[str, str] | None = None,
) -> Table:
    r"""Reads a table whose columns may be numbers, truths or names.

    Text is read by pandas. Encoding, delimiter, names, decimal and thousands marks are decided from
    the file unless told. A column is numbers if all its known cells are written so in one way; true
    and false, however written, are truths; digits after a leading zero are names.

    Names that are all different, dates, and a nameless column that counts the rows say nothing
    about other columns: they are written but not learned from, unless ``kinds`` has them.

    Args:
        path: A .csv, .tsv or .txt, or an .npy or .npz of one array of numbers.
        reading: What is told of the file; by default all is decided from it.
        kinds: "numeric" or "categorical" for columns that are not as they look.
        drop: Names of columns to leave out.
        names: The columns of another table, which this one is to match: by name, or by place where
            one of the two has no line of names.
        fitted: The columns to learn from with their kinds; None is all that say something.

    Raises:
        FileError: If the file is missing, is no text, or a quote in it is never closed.
        ShapeError: If it has no rows, rows differ in length, or two columns have one name.
        ParameterError: If ``kinds`` or ``drop`` names a column that is not there, or the suffix is
            of another kind of file.
        DomainError: If a number is infinite, the file can be read in two ways, or no column is left
            to learn from.

    Examples:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "table.csv"
        >>> _ = path.write_text("height;eyes\n1,8;blue\n;green\n")
        >>> table = read_table(path)
        >>> table.columns["height"], table.columns["eyes"]
        (array([1.8, nan]), array(['blue', 'green'], dtype=object))
        >>> table.decided
        '2 rows, 2 columns; semicolons, decimal comma; names in line 1; utf-8'
    """
    check_table_name(f"reading {path}", path)
    if path.suffix.lower() in TEXTS:
        return _Reader(path, reading or Reading(), kinds or {}).read(drop, names, fitted)
    if reading not in (None, Reading()) or drop:
        raise ParameterError("an array, with an option of texts", "Give a .csv", f"reading {path}")
    array = read_array(path)
    called = names if len(names) == array.shape[1] else map(str, range(array.shape[1]))
    columns = dict(zip(called, array.T, strict=True))
    words = {name: Counter({"": int(np.isnan(c).sum())}) for name, c in columns.items()}
    return Table(columns, pd.DataFrame(columns), words=words)


def check_table_name(operation: str, path: Path, suffixes: Sequence[str] = SUFFIXES) -> None:
    """Refuses a name that is no table's.

    Raises:
        ParameterError: If it has another suffix.
    """
    if path.suffix.lower() not in suffixes:
        raise ParameterError(
            f"a file named {path.name}", f"Name it {', '.join(suffixes)}", operation=operation
        )


class _Reader:
    """Reads the columns of one file, and notes what is odd about them.

    A column is a pandas series of stripped cells as categories, so that each different cell is
    looked at once.
    """

    def __init__(self, path: Path, reading: Reading, kinds: Mapping[str, str]) -> None:
        self.operation, self.reading, self.kinds = f"reading {path}", reading, kinds
        self.text = read_text(path, reading)
        self.notes = list(self.text.notes)
        self.unknown = {"", *reading.na} | (UNKNOWN if reading.words else set())
        self.perhaps = PERHAPS if reading.words else frozenset[str]()

    def read(
        self, drop: Collection[str], names: Sequence[str], fitted: Mapping[str, str] | None
    ) -> Table:
        """Returns the table, without the columns in ``drop``, learned from those in ``fitted``."""
        columns = [_categories(self.text.cells[place].str.strip()) for place in self.text.cells]
        named = self._holds_names(columns, names)
        header = self._header(named, names)
        kinds = fitted or {}
        self.kinds = {**{name: kinds[name] for name in header if name in kinds}, **self.kinds}
        self.lines = self.text.lines[int(named) :]
        for name in {*self.kinds, *drop} - set(header):
            shown = ", ".join(header)
            raise ParameterError(f"no column {name!r}", f"Name one of {shown}", self.operation)
        self.columns = {
            name: _categories(column.iloc[int(named) :])
            for name, column in zip(header, columns, strict=True)
            if name not in drop
        }
        if not names:
            self._drop_empty(header)
        marks = self._marks()
        texts = self.text.cells.iloc[int(named) :].reset_index(drop=True)
        texts = texts.set_axis(list(header), axis=1)[list(self.columns)]
        found, spellings, words = self._read(header, marks, fitted)
        lost = [f"{n} {w!r} {c}×" for n, counts in words.items() for w, c in counts.items() if w]
        if lost:
            self.notes.append(f"Taken as unknown: {', '.join(lost)}; --no-na keeps such words")
        if not found:
            said = f"no column is left to learn from ({'; '.join(self.notes)})"
            remedy = "Give one that says something of others"
            raise DomainError(said, remedy, operation=self.operation)
        written = [header[name] for name in self.columns] if named else None
        decided = self._describe(texts.shape, named, list(marks.values()))
        return Table(found, texts, self.text, written, spellings, words, decided, self.notes)

    def _holds_names(self, columns: list[pd.Series], names: Sequence[str]) -> bool:
        """Decides whether the first record holds names."""
        first = [str(column.iloc[0]) for column in columns]
        first = ["" if cell in self.unknown else cell for cell in first]
        if self.reading.header is not None:
            return self.reading.header
        known = {*first} & {name for name in names if not name.isdecimal()}
        if known and known in ({*names}, {*first} - {""}):
            return True
        bodies = [_counts(column.iloc[1:]) for column in columns]
        said = holds_names(
            first, [{c: n for c, n in body.items() if c not in self.unknown} for body in bodies]
        )
        if said is None:
            raise DomainError(
                f"line {self.text.lines[0]} ({', '.join(first[:6])}) may hold names or cells",
                "Say --header or --no-header", operation=self.operation,
            )  # fmt: skip
        return said

    def _header(self, named: bool, names: Sequence[str]) -> dict[str, str]:
        """Returns the names of the columns, or their numbers, and how they are written.

        Where this table or the one that it is to match has numbers, they are matched by place.
        """
        cells = self.text.cells
        written = cells.iloc[0].tolist() if named else [""] * cells.shape[1]
        header: dict[str, str] = {}
        for place, cell in enumerate(written, 1):
            name = cell.strip() or (f"column {place}" if str(place) in written else str(place))
            if name in header:
                remedy = "Give each a name of its own, or say --no-header"
                raise ShapeError(f"two columns named {name!r}", remedy, operation=self.operation)
            header[name] = cell
        numbers = [str(place) for place in range(1, len(names) + 1)]
        if len(names) == len(header) and (not named or [*names] == numbers):
            header = dict(zip(names, header.values(), strict=True))
        if len(cells) == named:
            remedy = "Give a line of names and at least one of cells"
            raise ShapeError("no rows", remedy, operation=self.operation)
        return header

    def _drop_empty(self, header: Mapping[str, str]) -> None:
        """Leaves out last columns without a name and a cell, as commas after each line make."""
        for name in [*self.columns][:0:-1]:
            if header[name].strip() or set(_counts(self.columns[name])) != {""}:
                return
            del self.columns[name]
            self.notes.append("the last column is empty in every line, left out")

    def _known(self, name: str) -> list[str]:
        cells = self.columns[name].cat.categories.tolist()
        return [cell for cell in cells if cell not in self.unknown]

    def _fits(self, cells: Collection[str]) -> list[Numerals]:
        return fitting_numerals(cells, self.reading.decimal, self.reading.thousands)

    def _marks(self) -> dict[str, Numerals]:
        """Decides how each column of numbers is written.

        Raises:
            DomainError: If that stays open.
        """
        plain = {n: [c for c in self._known(n) if c not in self.perhaps] for n in self.columns}
        fits = {n: self._fits(plain[n]) for n in plain if self.kinds.get(n) != "categorical"}
        fits = {name: ways for name, ways in fits.items() if ways}
        marked = {name for name in fits if any("." in cell or "," in cell for cell in plain[name])}
        decided = decide_numerals(fits, marked, self.text.sep != ";")
        for name, way in decided.items():
            if way is None:
                cell = next(cell for cell in plain[name] if "." in cell or "," in cell)
                values = dict.fromkeys(f"{found.parse(cell):.15g}" for found in fits[name])
                mark = "," if "," in cell else "."
                raise DomainError(
                    f"{cell!r} in {self._place(name, cell)} may be {' or '.join(values)}",
                    f"Say --decimal '{mark}' or --thousands '{mark}'", operation=self.operation,
                )  # fmt: skip
        return {name: way for name, way in decided.items() if way is not None}

    def _read(
        self,
        header: Mapping[str, str],
        marks: Mapping[str, Numerals],
        fitted: Mapping[str, str] | None,
    ) -> tuple[dict[str, Cells], dict[str, Spelling], dict[str, Counter[str]]]:
        """Returns the columns to learn from by name, how they are written, what is unknown."""
        found, spellings, unknown = {}, {}, {}
        for name, column in self.columns.items():
            if fitted is not None and name not in fitted:
                self.notes.append(f"{name}: not learned, left out")
                continue
            cells, spelling, words = self._cells(name, marks.get(name))
            if fitted is None and name not in self.kinds:
                nameless = not header[name].strip() and any(map(str.strip, header.values()))
                why = _says_nothing(cells, nameless)
                if why:
                    self.notes.append(
                        f"{name}: {why}, left out; --categorical {quote(name)} keeps it"
                    )
                    continue
            found[name], spellings[name] = cells, spelling
            unknown[name] = Counter({w: n for w, n in _counts(column).items() if w in words})
        return found, spellings, unknown

    def _cells(self, name: str, way: Numerals | None) -> tuple[Cells, Spelling, set[str]]:
        """Returns the cells of a column, how they are written, and its words for unknown."""
        column, kind, words = self.columns[name], self.kinds.get(name), set(self.unknown)
        known = self._known(name)
        plain = [cell for cell in known if cell not in self.perhaps]
        padded = kind != "numeric" and any(map(LEADING_ZERO.match, plain))
        truths = bool(plain) and all(cell.lower() in TRUTHS for cell in plain)
        if kind != "categorical" and (truths or (way and not padded)):
            words |= self.perhaps
        if kind != "categorical" and truths:
            style = next(
                style for style in (str.upper, str.lower, str.title) if style(plain[0]) == plain[0]
                or style is str.title
            )  # fmt: skip
            found = _map(column, words, None, lambda cell: TRUTHS[cell.lower()])
            return found, style, words
        if way and not padded:
            cells = _map(column, words, np.nan, way.parse).astype(np.float64)
            if np.isinf(cells).any():
                cell = str(column.iloc[int(np.isinf(cells).argmax())])
                said = f"an infinite number in {self._place(name, cell)}"
                raise DomainError(said, "Leave unknown cells empty", operation=self.operation)
            return cells, way.spell, words
        if not known:
            return np.full(len(column), np.nan), str, words
        if kind == "numeric":
            odd = next((cell for cell in plain if not self._fits([cell])), known[0])
            raise DomainError(
                f"{odd!r} in {self._place(name, odd)} is no number",
                f"Mend the cell, or say --na {quote(odd)}", operation=self.operation,
            )  # fmt: skip
        if kind is None:
            self._hint(name, known)
        return self._names(name, known, words)

    def _names(
        self, name: str, known: list[str], words: set[str]
    ) -> tuple[Cells, Spelling, set[str]]:
        """Returns the cells of a column of names; NA among codes of two letters is one of them."""
        counts = _counts(self.columns[name])
        codes = all(map(CODE.fullmatch, known))
        if codes and "NA" in counts and "NA" in words and "NA" not in self.reading.na:
            words.remove("NA")
            self.notes.append(
                f"{name}: 'NA' {counts['NA']}× is a code of two letters, as the others are; "
                "--na NA takes it as unknown"
            )
        return _map(self.columns[name], words, None, str), str, words

    def _place(self, name: str, cell: str) -> str:
        row = int(np.argmax(self.columns[name].to_numpy() == cell))
        return f"column {name!r}, line {self.lines[row]}"

    def _hint(self, name: str, known: list[str]) -> None:
        """Says what keeps a column from being numbers, where that may be an oversight."""
        odd = list(islice((cell for cell in known if not NUMBER_LIKE.fullmatch(cell)), 4))
        counts = _counts(self.columns[name])
        if all(map(DRESSED.fullmatch, known)) and not any(map(LEADING_ZERO.match, known)):
            cell = (odd or known)[0]
            self.notes.append(
                f"{cell!r} in {self._place(name, cell)} is taken for a name: numbers have digits "
                "and one decimal mark; --thousands says what groups them"
            )
        elif 0 < len(odd) <= 3 and 2 * sum(counts[c] for c in odd) < sum(counts[c] for c in known):
            self.notes.append(
                f"{name} is numbers but for {odd[0]!r} in {self._place(name, odd[0])}, so all are "
                f"taken for names; if that is an unknown cell, say --na {quote(odd[0])}"
            )

    def _describe(self, shape: tuple[int, int], named: bool, marks: list[Numerals]) -> str:
        """Returns how the file was read, in a line."""
        rows, columns = shape
        size = f"{rows} row{'s' * (rows != 1)}, {columns} column{'s' * (columns != 1)}"
        said = [DELIMITERS.get(self.text.sep, repr(self.text.sep))]
        points = {way.decimal for way in marks}
        said += [f"decimal {noun}" for mark, noun in MARKS if mark in points]
        said += [f"thousands {mark!r}" for mark in {way.thousands for way in marks} if mark]
        names = f"names in line {self.text.lines[0]}" if named else "no line of names"
        return f"{size}; {', '.join(said)}; {names}; {self.text.encoding}"


def _categories(column: pd.Series) -> pd.Series:
    """Returns a column as categories in the order in which they are met; only those it has."""
    codes, different = pd.factorize(np.asarray(column, dtype=object))
    return pd.Series(pd.Categorical.from_codes(codes, different, validate=False))


def _counts(column: pd.Series) -> dict[str, int]:
    """Returns how often each cell is there."""
    counts = np.bincount(column.cat.codes).tolist()
    return {c: n for c, n in zip(column.cat.categories.tolist(), counts, strict=False) if n}


def _map(
    column: pd.Series, words: Collection[str], missing: Any, convert: Callable[[str], Any]
) -> np.ndarray:
    """Returns each cell converted, or missing if it is one of the words."""
    different = column.cat.categories.tolist()
    values = np.array([missing if c in words else convert(c) for c in different], dtype=object)
    return values[column.cat.codes.to_numpy()]


def _says_nothing(cells: Cells, nameless: bool) -> str | None:
    """Returns why these cells say nothing of other columns; None if they may."""
    known = cells[~is_unknown(cells)]
    if nameless and len(known) > 1 and cells.dtype.kind == "f":
        counts = np.arange(len(cells))
        if np.array_equal(cells, counts) or np.array_equal(cells, counts + 1):
            return "nameless, counts the rows"
    if not len(known) or not isinstance(known[0], str):
        return None
    different = set(known.tolist())
    if all(map(DATE.fullmatch, different)):
        return "dates"
    return "all different" if FEWEST_NAMES <= len(known) == len(different) else None
