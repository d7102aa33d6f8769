"""``isinglass remember``: images or the rows of a table as a memory, recalled from parts."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

from isinglass._support.optional import require_extra
from isinglass.cli._common import ForceOption, JsonOption, Output, QuietOption, whole
from isinglass.errors import ParameterError

with require_extra("cli"):
    from typer import Argument, Option

__all__ = ["Half", "remember"]

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
        "a row (.csv, or a .npy or .npz of two dimensions)."
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
        show_default="the first image's",
    ),
]
Standardize: TypeAlias = Annotated[
    bool,
    Option("--standardize", help="Tables: divide columns by their spread, where units differ."),
]
Beta: TypeAlias = Annotated[
    float | None,
    Option(
        help="Inverse temperature: larger recalls one pattern, smaller blends several.",
        show_default="chosen from the data",
    ),
]
MaxSteps: TypeAlias = Annotated[int, Option(parser=whole(1), help="Most steps of recall.")]


def remember(
    data: Data,
    cue: Cue,
    out: Out = None,
    hide: Hide = None,
    index: Index = None,
    size: Size = None,
    standardize: Standardize = False,
    beta: Beta = None,
    max_steps: MaxSteps = 100,
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Store images or rows in a modern Hopfield memory, and complete a part of one.

    Takes images and tables alike, and says of each cue how recall went: steps, energy, the
    nearest pattern and its share, whether it converged. Also called isinglass recall.

    Examples:
        isinglass remember photos/ --cue torn.png --hide lower --out whole.png
        isinglass remember flowers.csv --cue torn.csv --standardize --out whole.csv
        isinglass remember photos/ --cue torn.png --json | jq .nearest
    """
    from isinglass.cli.remember.images import complete_image
    from isinglass.cli.remember.table import complete_table, is_table

    output = Output(as_json, quiet)
    if is_table(data, cue):
        given = {"--hide": hide, "--index": index, "--size": size}
        _refuse([name for name, value in given.items() if value is not None], "images")
        target = out or Path("recalled.csv")
        complete_table(output, data[0], cue, target, beta, standardize, max_steps, force)
    else:
        _refuse(["--standardize"] * standardize, "tables")
        target = out or Path("completion.png")
        pixels = {"hide": hide, "index": index, "size": size}
        complete_image(output, data, cue, target, beta, max_steps, force, **pixels)


def _refuse(given: list[str], kind: str) -> None:
    if given:
        other = "a table" if kind == "images" else "images"
        raise ParameterError(f"{', '.join(given)} with {other}", f"Leave it out: it is for {kind}")
