"""The options of ``isinglass imagine``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

from isinglass._support.optional import require_extra
from isinglass.cli._common import LARGEST_SEED, whole

with require_extra("cli"):
    from typer import Argument, Option


class How(StrEnum):
    """How an unknown cell is filled."""

    MEAN = "mean"
    MODE = "mode"
    DRAW = "draw"


class Covariance(StrEnum):
    """What numbers have given the memory."""

    AUTO = "auto"
    SPHERICAL = "spherical"
    DIAG = "diag"
    TIED = "tied"
    FULL = "full"


class Unseen(StrEnum):
    """What a category is that the machine has not seen."""

    ERROR = "error"
    MISSING = "missing"


Data: TypeAlias = Annotated[
    list[Path],
    Argument(help="A table (.csv, .tsv, .npy, .npz), or images: files, folders, arrays (n, h, w)."),
]
Sample: TypeAlias = Annotated[
    int | None, Option(parser=whole(1), help="Draw so many fresh rows or images.")
]  # fmt: skip
Impute: TypeAlias = Annotated[
    bool, Option("--impute", help="Fill the unknown cells or transparent pixels.")
]
Out: TypeAlias = Annotated[
    Path | None,
    Option(
        help="Where the rows go: a .csv for a .csv, else .npy or .npz.",
        show_default="DATA-sampled or DATA-imputed",
    ),
]
Fill: TypeAlias = Annotated[
    How | None,
    Option(
        help="With --impute: fill a cell by its mean, the likeliest row, or a draw.",
        show_default="mean",
    ),
]
Memories: TypeAlias = Annotated[
    int | None,
    Option(parser=whole(1), help="How many memories.", show_default="several numbers, stacked"),
]
Covariances: TypeAlias = Annotated[
    Covariance | None,
    Option(
        help="The covariance of numbers given the memory.",
        show_default="auto; spherical for images",
    ),
]
Score: TypeAlias = Annotated[
    bool, Option("--score", help="Say how likely each row is: the least likely are the odd ones.")
]
Steps: TypeAlias = Annotated[
    int | None, Option(parser=whole(1), help="Most steps of learning.", show_default="200")
]
Starts: TypeAlias = Annotated[
    int | None, Option(parser=whole(1), help="Starts to choose the best of.", show_default="1")
]
Seed: TypeAlias = Annotated[
    int, Option(parser=whole(0, LARGEST_SEED), help="Seed of everything random.")
]  # fmt: skip
Model: TypeAlias = Annotated[
    Path | None, Option(help="Keep the fitted machine in this .safetensors; use it if it is there.")
]
Refit: TypeAlias = Annotated[
    bool, Option("--refit", help="Fit anew even if --model is there, and replace it.")
]
CategoricalColumns: TypeAlias = Annotated[
    list[str] | None, Option(metavar="COLUMN", help="Numbers that are names. Repeatable.")
]
NumericColumns: TypeAlias = Annotated[
    list[str] | None, Option(metavar="COLUMN", help="Zeros and ones that are numbers. Repeatable.")
]
DroppedColumns: TypeAlias = Annotated[
    list[str] | None, Option(metavar="COLUMN", help="Leave a column out. Repeatable.")
]
UnseenCategories: TypeAlias = Annotated[
    Unseen, Option(help="What a category is that --model has not seen.")
]
Image: TypeAlias = Annotated[
    str | None, Option(metavar="HxW", help="The rows of the table are images, 28x28.")
]
Size: TypeAlias = Annotated[
    int | None,
    Option(
        parser=whole(2, 512),
        help="Height to bring images to.",
        show_default="the first's, at most 64",
    ),
]
Curve: TypeAlias = Annotated[
    Path | None,
    Option(help="Where the plot of learning goes: .png or .svg.", show_default="beside --out"),
]
Sheet: TypeAlias = Annotated[
    Path | None,
    Option(help="Where the sheet of images goes, a .png.", show_default="beside --out"),
]
