"""Reading tables of text line by line, so that an error can name the line."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from isinglass.errors import FileError

__all__ = ["read_lines", "read_text"]


def read_text(path: str | Path) -> str:
    """Reads a text file in UTF-8.

    Raises:
        FileError: If the file cannot be read or is no text.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except (OSError, TypeError, ValueError) as error:  # no file, no path, no text
        raise FileError(str(error), "Give a text file in UTF-8", f"reading {path}") from error


def read_lines(
    path: str | Path, forms: Sequence[Sequence[str]], optional: Sequence[str] = ()
) -> list[tuple[int, dict[str, str]]]:
    """Reads the lines of a CSV table with their numbers; cells and names of columns are trimmed.

    Args:
        path: The file.
        forms: Which columns it may have, one list for each form of the table.
        optional: Which columns may stand beside them.

    Raises:
        FileError: If the file cannot be read, its columns are of none of the forms, or a line has
            more cells than columns; the line is named.
    """
    what, wanted = f"reading {path}", " or ".join(",".join(form) for form in forms)
    # Both ends of line count, no other: a name may hold any character.
    text = io.StringIO(read_text(path), newline="")
    reader = csv.reader(text, skipinitialspace=True, strict=True)
    lines: list[tuple[int, dict[str, str]]] = []
    names: list[str] | None = None
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            if names is None:
                names = [cell.lower() for cell in cells]
                known = any(set(form) <= set(names) <= {*form, *optional} for form in forms)
                if not known or len(set(names)) < len(names):
                    raise FileError(
                        f"line {reader.line_num}: the columns {', '.join(cells)}",
                        f"Let the first line name the columns: {wanted}",
                        what,
                    )
                continue
            if len(cells) > len(names):
                raise FileError(
                    f"line {reader.line_num}: {len(cells)} cells for {len(names)} columns",
                    "Put cells that hold commas in quotes",
                    what,
                )
            cells += [""] * (len(names) - len(cells))
            lines.append((reader.line_num, dict(zip(names, cells, strict=True))))
    except csv.Error as error:
        found = f"line {reader.line_num}: {error}"
        raise FileError(found, "Give a CSV file in UTF-8", what) from error
    return lines
