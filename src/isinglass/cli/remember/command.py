"""``isinglass remember``: images or the rows of a table as a memory, recalled from parts."""

from __future__ import annotations

from pathlib import Path

from isinglass.cli import _tables
from isinglass.cli._common import ForceOption, JsonOption, Output, QuietOption
from isinglass.cli.remember.options import (
    Beta,
    CategoricalColumns,
    Clean,
    Cue,
    Data,
    Hide,
    Index,
    Out,
    Size,
    Standardize,
)
from isinglass.errors import ParameterError

__all__ = ["remember"]


def remember(
    data: Data,
    cue: Cue,
    out: Out = None,
    hide: Hide = None,
    index: Index = None,
    size: Size = None,
    standardize: Standardize = True,
    clean: Clean = False,
    categorical: CategoricalColumns = None,
    header: _tables.Header = None,
    sep: _tables.Separator = None,
    decimal: _tables.DecimalMark = None,
    thousands: _tables.ThousandsMark = None,
    encoding: _tables.Encoding = None,
    na: _tables.UnknownWords = None,
    no_na: _tables.NoUnknownWords = False,
    beta: Beta = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Store images or rows in a modern Hopfield memory, and complete a part of one.

    Takes images and tables alike. What is unknown of a cue is filled from the stored patterns
    that are nearest in what is known; known parts stay. Says of each cue which is nearest, how
    much resembles it, and whether nothing stored does. Also called isinglass recall.

    Examples:
        isinglass remember photos/ --cue torn.png --hide lower --out whole.png
        isinglass remember flowers.csv --cue torn.csv --out whole.csv
        isinglass remember photos/ --cue torn.png --json | jq .nearest
    """
    from isinglass.cli.remember.images import complete_image
    from isinglass.cli.remember.table import complete_table, is_table

    output = Output(as_json, quiet)
    reading = _tables.reading_of(header, sep, decimal, thousands, encoding, na, no_na)
    if is_table(data, cue):
        given = {"--hide": hide, "--index": index, "--size": size}
        _refuse([name for name, value in given.items() if value is not None], "images")
        complete_table(
            output, data[0], cue, out or Path("recalled.csv"), beta, force, reading=reading,
            kinds=dict.fromkeys(categorical or [], "categorical"), standardize=standardize,
            clean=clean,
        )  # fmt: skip
    else:
        given = {
            "--no-standardize": not standardize, "--clean": clean, "--categorical": categorical,
            "an option of how a .csv is read": reading != type(reading)(),
        }  # fmt: skip
        _refuse([name for name, value in given.items() if value], "tables")
        pixels = {"hide": hide, "index": index, "size": size}
        target = out or Path("completion.png")
        complete_image(output, data, cue, target, beta, force, **pixels)


def _refuse(given: list[str], kind: str) -> None:
    if given:
        other = "a table" if kind == "images" else "images"
        raise ParameterError(f"{', '.join(given)} with {other}", f"Leave it out: it is for {kind}")
