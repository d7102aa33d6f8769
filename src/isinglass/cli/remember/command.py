"""``isinglass remember``: images or the rows of a table as a memory, recalled from parts."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from isinglass._support.optional import require_extra
from isinglass.cli._common import ForceOption, JsonOption, Output, QuietOption
from isinglass.errors import ParameterError

with require_extra("cli"):
    import typer

__all__ = ["Half", "remember"]

LARGEST_SIZE = 4096


class Half(StrEnum):
    """Which half of a cue is hidden."""

    UPPER = "upper"
    LOWER = "lower"
    LEFT = "left"
    RIGHT = "right"


def remember(
    data: Annotated[
        list[Path],
        typer.Argument(
            help="What to store: images (PNG, JPEG, folders of them, arrays), or one table, a "
            "pattern a row (.csv, or a .npy or .npz of two dimensions)."
        ),
    ],
    cue: Annotated[
        Path,
        typer.Option(
            help="What to complete: an image, unknown where transparent, or a table, unknown where "
            "empty or NaN."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Where the result goes: a .png, or a .csv, .npy or .npz.",
            show_default="completion.png or recalled.csv",
        ),
    ] = None,
    hide: Annotated[
        Half | None, typer.Option(help="Images: treat this half of the cue as unknown.")
    ] = None,
    index: Annotated[
        int | None, typer.Option(min=0, help="Images: which one of a cue file of several.")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            min=2,
            max=LARGEST_SIZE,
            help="Images: height in pixels to bring them to.",
            show_default="the first image's",
        ),
    ] = None,
    standardize: Annotated[
        bool,
        typer.Option(
            "--standardize", help="Tables: divide columns by their spread, where units differ."
        ),
    ] = False,
    beta: Annotated[
        float | None,
        typer.Option(
            help="Inverse temperature: larger recalls one pattern, smaller blends several.",
            show_default="chosen from the data",
        ),
    ] = None,
    max_steps: Annotated[int, typer.Option(min=1, help="Most steps of recall.")] = 100,
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
