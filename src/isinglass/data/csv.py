"""The text of a .csv: its encoding, what stands between its cells, and where the table begins.

pandas splits the text into cells. What it does not do is done here: it is told the encoding and the
delimiter, and lines that are too short, which it would fill, and open quotes are refused by number.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path
from statistics import mode
from typing import Any

import numpy as np

from isinglass._support.optional import require_extra
from isinglass.data.numerals import NUMBER_LIKE
from isinglass.errors import DomainError, FileError, ParameterError, ShapeError

with require_extra("cli"):
    import pandas as pd

__all__ = ["DATE", "DELIMITERS", "Reading", "Text", "holds_names", "read_text"]

#: Delimiters that are looked for.
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
#: Names of delimiters that a shell makes hard to type.
DELIMITER_NAMES = {"tab": "\t", "\\t": "\t", "space": " "}
#: Longer marks first: that of UTF-32 begins like that of UTF-16.
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
#: Lines by which the delimiter is chosen, and above which titles are looked for.
SAMPLE, MOST_TITLES = 200, 10
DATE = re.compile(r"(\d{4}[-/.]\d\d?[-/.]\d\d?|\d\d?[-/.]\d\d?[-/.](\d{4}|\d\d))([ T].*)?", re.A)
LOOKS = {"date": DATE, "number": NUMBER_LIKE, "truth": re.compile("true|false", re.I)}
#: A first line is taken for names if a row would look as foreign with less than this probability.
CHANCE = 0.05


@dataclass(frozen=True)
class Reading:
    """How a table is to be read; None is decided from the file.

    Args:
        header: Whether the first line holds names.
        sep: What stands between cells.
        decimal: The mark before decimals.
        thousands: The mark between groups of three digits.
        encoding: The encoding of the text, as Python names it.
        na: What stands for an unknown cell beside what usually does.
        words: Whether words such as NA stand for unknown cells; else only empty cells do.

    Raises:
        ParameterError: If a mark is not one character, or is both decimal and thousands.
    """

    header: bool | None = None
    sep: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    encoding: str | None = None
    na: tuple[str, ...] = ()
    words: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "sep", DELIMITER_NAMES.get(self.sep or "", self.sep))
        allowed = {"sep": r'[^\w"\r\n]', "decimal": "[.,]", "thousands": r"[.,'’_\s]"}
        for name, pattern in allowed.items():
            mark = getattr(self, name)
            if mark is not None and not re.fullmatch(pattern, mark):
                usual = {"sep": "',', ';', '|' or tab", "decimal": "'.' or ','"}
                remedy = f"Give one character, {usual.get(name, 'such as a comma or a space')}"
                raise ParameterError(f"{name} = {mark!r}", remedy, operation="reading a table")
        if self.decimal is not None and self.decimal in (self.thousands, self.sep):
            raise ParameterError(
                f"decimal = {self.decimal!r}, which stands elsewhere too",
                "Give different marks",
                operation="reading a table",
            )


@dataclass(frozen=True)
class Text:
    """A .csv in cells, the line of names among them.

    Attributes:
        cells: One record a row, as text.
        lines: The number of the line in which each record begins.
        sep: What stands between cells.
        encoding: The encoding of the file.
        preamble: What stands above the table: titles, or the line ``sep=;``.
        newline: What ends a line.
        notes: What the user should know of how it was split.
    """

    cells: pd.DataFrame
    lines: np.ndarray
    sep: str = ","
    encoding: str = "utf-8"
    preamble: str = ""
    newline: str = "\n"
    notes: list[str] = field(default_factory=list[str])


def read_text(path: Path, reading: Reading) -> Text:
    """Splits a file into cells.

    Raises:
        FileError: If the file is missing, is no text, or a quote in it is never closed.
        ShapeError: If it has no line, or lines differ in length.
        DomainError: If two delimiters divide the lines equally well.
        ParameterError: If Python does not know the encoding.
    """
    operation = f"reading {path}"
    text, encoding = _decode(operation, path, reading.encoding)
    declared = re.match(r'sep=([^\w"\r\n])\r?\n', text, re.I)
    sep = reading.sep or (declared and declared[1]) or _delimiter(operation, text)
    spaced = sep != " " and re.search(rf'{re.escape(sep)} +"', text[: 1 << 16]) is not None
    lines, widths, top = _measure(operation, text, sep, spaced)
    if not widths.any():
        raise ShapeError("no rows", "Give a line of names and at least one row", operation)
    width = mode(widths[widths > 0].tolist()) if widths.max() > 1 else 1
    if width == 1:
        widths = np.maximum(widths, widths.max() < 2)  # an empty line is an empty cell
    start = _first_record(top, widths, width, int(declared is not None), reading.header)
    kept = np.flatnonzero(widths)
    kept = kept[kept >= start]
    if not len(kept):
        raise ShapeError("no rows", "Give a line of names and at least one row", operation)
    wrong = kept[widths[kept] != width]
    if len(wrong):
        found = "1 cell" if widths[wrong[0]] == 1 else f"{widths[wrong[0]]} cells"
        remedy = "Give every line the same number, empty where unknown, or say what --sep is"
        raise ShapeError(
            f"line {lines[wrong[0]]} has {found}, most lines have {width}", remedy, operation
        )
    cells = pd.read_csv(
        io.StringIO(text), sep=sep, skipinitialspace=spaced, header=None, dtype=object,
        names=list(range(widths.max())), index_col=False, na_filter=False, skip_blank_lines=False,
        low_memory=False,
    )  # fmt: skip
    if len(cells) != len(lines):  # the two readers must agree, or cells would be misplaced
        raise FileError("lines that end in different ways", "Save it again", operation)
    notes = []
    if encoding == "cp1252" != reading.encoding:
        notes.append("The text is not UTF-8: read as cp1252; --encoding says another")
    titles, blank = start - (declared is not None), int((widths[start:] == 0).sum())
    if titles:
        notes.append(f"{_count(titles, 'line')} above the table: taken for a title")
    if blank:
        notes.append(f"{_count(blank, 'blank line')} left out")
    preamble = "".join(islice(io.StringIO(text, newline=""), int(lines[kept[0]]) - 1))
    preamble = preamble if start else ""
    newline = "\r\n" if "\r\n" in text[: 1 << 16] else "\n"
    return Text(cells.iloc[kept, :width], lines[kept], sep, encoding, preamble, newline, notes)


def _count(count: int, noun: str) -> str:
    return f"1 {noun} is" if count == 1 else f"{count} {noun}s are"


def _decode(operation: str, path: Path, wanted: str | None) -> tuple[str, str]:
    """Returns the text, and its encoding: as told, by its mark, else UTF-8 or cp1252."""
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise FileError("there is no such file", "Check the path", operation=operation) from error
    except OSError as error:
        raise FileError(f"no file to read ({error})", "Check the path", operation) from error
    marked = next((name for mark, name in BYTE_ORDER_MARKS.items() if data.startswith(mark)), None)
    for order, name in enumerate(("utf-16-be", "utf-16-le")):  # every other byte of letters is 0
        if not marked and data[order::2].count(0) > 0.4 * len(data) // 2 > 0:
            marked = name
    for encoding in [wanted] if wanted else [marked] if marked else ["utf-8", "cp1252"]:
        try:
            text = data.decode(encoding).removeprefix("\ufeff")
        except LookupError as error:
            remedy = "Name one that Python knows, such as utf-8, cp1252 or utf-16"
            raise ParameterError(f"encoding = {encoding!r}", remedy, operation) from error
        except UnicodeError:
            continue
        if "\0" in text:
            number = text[: text.index("\0")].count("\n") + 1
            remedy = "Save it again as text, in UTF-8"
            raise FileError(f"a NUL byte in line {number}", remedy, operation)
        return text, encoding
    found = f"no text in {wanted or marked or 'UTF-8'}"
    raise FileError(found, "Say what it is with --encoding, or save it in UTF-8", operation)


def _records(text: str, sep: str, spaced: bool = False) -> Any:
    lines = io.StringIO(text, newline="")
    return csv.reader(lines, delimiter=sep, strict=True, skipinitialspace=spaced)


def _delimiter(operation: str, text: str) -> str:
    """Returns what divides most lines into equally many cells, most of their text into numbers."""
    scores: dict[str, tuple[float, float]] = {}
    for sep in DELIMITERS:
        try:
            records = [cells for cells in islice(_records(text, sep), SAMPLE) if cells]
        except csv.Error:
            continue
        width = mode(map(len, records)) if records else 1
        alike = [cells for cells in records if len(cells) == width]
        found = [cell.strip() for cells in alike for cell in cells]
        numbers = sum(len(cell) for cell in found if NUMBER_LIKE.fullmatch(cell))
        if width > 1:
            scores[sep] = len(alike) / len(records), numbers / max(1, sum(map(len, found)))
    if not scores:  # one column, or a quote that is never closed: named when the lines are read
        first = next((line for line in io.StringIO(text) if line.strip()), "")
        return max(DELIMITERS, key=first.count)
    best = [sep for sep in scores if scores[sep] == max(scores.values())]
    if len(best) > 1:
        names = " as well as ".join(DELIMITERS[sep] for sep in best)
        raise DomainError(
            f"{names} would divide the lines", f"Say --sep '{best[0]}' or --sep '{best[1]}'",
            operation=operation,
        )  # fmt: skip
    return best[0]


def _measure(
    operation: str, text: str, sep: str, spaced: bool
) -> tuple[np.ndarray, np.ndarray, list[list[str]]]:
    """Returns where each record begins, how many cells it has, and the first ones themselves."""
    lines, widths, top, begin = list[int](), list[int](), list[list[str]](), 1
    records = _records(text, sep, spaced)
    try:
        for cells in records:
            lines.append(begin)
            widths.append(len(cells) if len(cells) > 1 or (cells and cells[0].strip()) else 0)
            begin = records.line_num + 1
            if len(top) <= MOST_TITLES:
                top.append(cells)
    except csv.Error as error:
        raise FileError(
            f"a quote in line {begin} is not closed as it should be ({error})",
            'Close it; a quote within quotes is written twice, ""', operation=operation,
        ) from error  # fmt: skip
    return np.array(lines, np.int64), np.array(widths, np.int64), top


def _first_record(
    top: list[list[str]], widths: np.ndarray, width: int, first: int, header: bool | None
) -> int:
    """Returns where the table begins: below lines of a title, if words in all columns follow."""
    for place in range(first, len(top)):
        cells = [cell.strip() for cell in top[place]] or [""]
        if widths[place] == width and (width < 3 or sum(map(bool, cells)) > 1):
            named = not NUMBER_LIKE.fullmatch(cells[0]) and all(cells[1:])
            above = widths[first:place].any() and width > 1
            return place if above and (named or header) else first
    return first


def holds_names(first: list[str], bodies: list[dict[str, int]]) -> bool | None:
    """Decides whether a first record holds names, by the cells below; None if nothing tells.

    A word above numbers is a name; a number above numbers is a cell, unless it is a year or a count
    that goes on from column to column as no number below does. Words above words are cells if they
    come again below; else they are names if it is unlikely that a row has only cells of its own.
    """
    if not any(bodies):
        return all(first) and not any(map(NUMBER_LIKE.fullmatch, first))
    columns = [(f, b, _look(b)) for f, b in zip(first, bodies, strict=True) if f and b]
    typed = [(f, b) for f, b, look in columns if look and LOOKS[look].fullmatch(f)]
    above = sum(bool(look) and not LOOKS[look].fullmatch(f) for f, _, look in columns)
    words = [(f, b) for f, b, look in columns if not look and not NUMBER_LIKE.fullmatch(f)]
    again = any(f in b for f, b in words)
    series = None if again else _series([f for f, _ in typed])
    if series and not _inside([cell for _, body in typed for cell in body], series):
        if above or (words and series[1] > 1000 and len(typed) > 1):
            return True
        if series[0] == 0 and not first[0]:  # pandas' own names, above its index
            return True
        return False if series[0] == 1 and not words else None
    if typed:
        return None if above >= len(typed) else False
    if above:
        return None if again else True
    if again or not words:
        return False
    alone = [sum(n == 1 for n in body.values()) / sum(body.values()) for _, body in words]
    return True if np.prod(alone) <= CHANCE else None


def _look(cells: Iterable[str]) -> str:
    """Returns what most of these cells look like: "number", "truth", "date", or else ""."""
    cells = list(islice(cells, SAMPLE))
    for look, pattern in LOOKS.items():
        if 2 * sum(bool(pattern.fullmatch(cell)) for cell in cells) > len(cells):
            return look
    return ""


def _series(cells: list[str]) -> tuple[int, int] | None:
    """Returns the range of cells that are years, or count from 0 or 1 on; None of others."""
    if not cells or not all(re.fullmatch(r"\d{1,6}", cell) for cell in cells):
        return None
    numbers = [int(cell) for cell in cells]
    steps = {b - a for a, b in pairwise(numbers)}
    if len(steps) > 1 or 0 in steps:
        return None
    if all(1500 <= number <= 2200 for number in numbers):
        return 1500, 2200
    counts = len(numbers) >= 3 and steps == {1} and numbers[0] in {0, 1}
    return (numbers[0], numbers[-1]) if counts else None


def _inside(cells: list[str], ends: tuple[int, int]) -> bool:
    """Returns whether most of these cells are whole numbers of a range."""
    whole = (int(cell) for cell in cells if re.fullmatch(r"\d{1,6}", cell))
    return 2 * sum(ends[0] <= number <= ends[1] for number in whole) > len(cells)
