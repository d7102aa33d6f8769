"""The arguments and options of ``isinglass remember``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

from isinglass._support.optional import require_extra
from isinglass.cli._common import whole

with require_extra("cli"):
    from typer import Argument, Option

__all__ = [
    "Beta",
    "CategoricalColumns",
    "Clean",
    "Cue",
    "Data",
    "Half",
    "Hide",
    "Index",
    "Out",
    "Size",
    "Standardize",
]

LARGEST_SIZE = 4096


class Half(StrEnum):
    """Which half of a cue is hidden."""

    UPPER = "upper"
    LOWER = "lower"
    LEFT = "left"
    RIGHT = "right"


Data: TypeAlias = Annotated[
    list[Path],
    Argument(
        help="What to store: images (PNG, JPEG, folders of them, arrays), or one table, a pattern "
        "a row (.csv, .tsv, or a .npy or .npz of two dimensions)."
    ),
]
Cue: TypeAlias = Annotated[
    Path,
    Option(
        help="What to complete: an image, unknown where transparent, or a table, unknown where "
        "empty or NaN."
    ),
]
Out: TypeAlias = Annotated[
    Path | None,
    Option(
        help="Where the result goes: a .png, or a .csv, .npy or .npz.",
        show_default="completion.png or recalled.csv",
    ),
]
Hide: TypeAlias = Annotated[
    Half | None, Option(help="Images: treat this half of the cue as unknown.")
]
Index: TypeAlias = Annotated[
    int | None, Option(parser=whole(0), help="Images: which one of a cue file of several.")
]
Size: TypeAlias = Annotated[
    int | None,
    Option(
        parser=whole(2, LARGEST_SIZE),
        help="Images: height in pixels to bring them to.",
        show_default="the first's, at most 1024",
    ),
]
Standardize: TypeAlias = Annotated[
    bool, Option(help="Tables: divide columns by their spread, so that units do not matter.")
]
Clean: TypeAlias = Annotated[
    bool, Option("--clean", help="Tables: replace known cells too, by what is recalled.")
]
CategoricalColumns: TypeAlias = Annotated[
    list[str] | None,
    Option("--categorical", metavar="COLUMN", help="Tables: a column of names. Repeatable."),
]
Beta: TypeAlias = Annotated[
    float | None,
    Option(
        help="Inverse temperature: larger recalls one pattern, smaller blends several.",
        show_default="chosen from the data",
    ),
]
