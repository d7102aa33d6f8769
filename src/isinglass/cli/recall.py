"""``isinglass remember`` and ``isinglass recall``: images and tables as a memory."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import torch

from isinglass._support.optional import require_extra
from isinglass.errors import DomainError, ParameterError, ShapeError
from isinglass.io.atomic import atomic_write

with require_extra("cli"):
    import typer
    from rich.console import Console
    from rich.table import Table

if TYPE_CHECKING:
    from isinglass.data.image_memory import Completion

__all__ = ["recall", "remember"]

LARGEST_SIZE = 4096
LONGEST_TABLE = 20


class Half(StrEnum):
    """Which half of a cue is hidden."""

    UPPER = "upper"
    LOWER = "lower"
    LEFT = "left"
    RIGHT = "right"


def remember(
    images: Annotated[
        list[Path],
        typer.Argument(
            help="What to store: PNG or JPEG files, folders of them, .npy or .npz arrays."
        ),
    ],
    cue: Annotated[
        Path, typer.Option(help="The image to complete. Transparent pixels of a PNG are unknown.")
    ],
    out: Annotated[Path, typer.Option(help="Where the completion goes, as PNG.")] = Path(
        "completion.png"
    ),
    hide: Annotated[
        Half | None, typer.Option(help="Treat this half of the cue as unknown.")
    ] = None,
    index: Annotated[
        int | None, typer.Option(min=0, help="Which image of a cue file that holds several.")
    ] = None,
    beta: Annotated[
        float | None,
        typer.Option(
            help="Inverse temperature: larger recalls one image, smaller blends several.",
            show_default="chosen from the images",
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            min=2,
            max=LARGEST_SIZE,
            help="Height in pixels to bring images to.",
            show_default="the first image's",
        ),
    ] = None,
    max_steps: Annotated[int, typer.Option(min=1, help="Most steps of recall.")] = 100,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the completion.")] = False,
) -> None:
    """Store images in a modern Hopfield memory and complete one from a part of it.

    Writes the completion as PNG and prints its energy, what it is similar to,
    and whether the recall converged; the same report is in the PNG's text
    chunk. Example:

        isinglass remember photos/ --cue torn.png --hide lower --out whole.png
    """
    from isinglass.data.image_memory import ImageMemory
    from isinglass.data.images import save_png

    if out.suffix.lower() != ".png":
        raise ParameterError(
            "the completion is a PNG",
            f"Name it {out.with_suffix('.png')}",
            operation=f"writing {out}",
        )
    pixels, names = _read_stored(images, size)
    seen, known = _read_cue(cue, index, hide, pixels.shape)

    memory = ImageMemory(pixels.flatten(1), beta)
    mask = known.unsqueeze(-1).expand(seen.shape).flatten(1)
    done = memory.complete(seen.flatten(1), mask, max_steps=max_steps)
    report = {
        "stored": len(names),
        "beta": memory.beta,
        "known": float(known.double().mean()),
        **_outcome(done, names),
    }
    with atomic_write(out, overwrite=force) as aside:
        save_png(aside, done.images[0].reshape(pixels.shape[1:]), json.dumps(report))
    _print_report(Console(), report, out)


def recall(
    patterns: Annotated[
        Path, typer.Argument(help="What to store: a table, one pattern a row (.npy, .npz, .csv).")
    ],
    cues: Annotated[
        Path,
        typer.Option(
            "--cue", help="The table to complete; an empty cell of a .csv, or NaN, is unknown."
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="Where the recalled rows go: .npy, .npz or .csv.")
    ] = Path("recalled.csv"),
    beta: Annotated[
        float | None,
        typer.Option(
            help="Inverse temperature: larger recalls one pattern, smaller blends several.",
            show_default="chosen from the patterns",
        ),
    ] = None,
    standardize: Annotated[
        bool,
        typer.Option(
            "--standardize", help="Divide columns by their spread, where their units differ."
        ),
    ] = False,
    max_steps: Annotated[int, typer.Option(min=1, help="Most steps of recall.")] = 100,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the recalled rows.")] = False,
) -> None:
    """Store the rows of a table in a modern Hopfield memory and recall them from parts.

    Fills in the unknown cells of every cue, cleans the known ones, and reports row by row: the
    steps taken and whether recall came to rest, the energy, the nearest pattern with its share,
    and how many patterns hold 90 % of the weight (1 is a recall, more is a blend). Example:

        isinglass recall flowers.csv --cue torn.csv --standardize --out whole.csv
    """
    from isinglass.data.csv import check_table_name, read_table, save_table
    from isinglass.data.image_memory import ImageMemory

    check_table_name(f"writing {out}", out)
    stored, seen = read_table(patterns), read_table(cues)
    if bool(stored.isnan().any()):
        raise DomainError("unknown cells", "Store whole rows only", operation=f"reading {patterns}")
    if seen.shape[-1] != stored.shape[-1]:
        raise ShapeError(
            f"{seen.shape[-1]} columns, the patterns have {stored.shape[-1]}",
            "Give cues with the patterns' columns, in their order",
            operation=f"reading {cues}",
        )
    spread = stored.std(0, correction=0) if standardize else torch.ones(stored.shape[-1])
    spread = spread.where(spread > 0, 1.0)
    known = ~seen.isnan()
    memory = ImageMemory(stored / spread, beta)
    done = memory.complete(seen.nan_to_num(0.0) / spread, known, max_steps=max_steps)
    with atomic_write(out, overwrite=force) as aside:
        save_table(aside, done.images * spread)
    console = Console()
    _print_recall(console, memory.beta, done, out)
    shown, rows = seen.nan_to_num(0.0) / spread, stored / spread
    # |known · (x − v)|² but for what all rows share.
    distance = known.to(rows.dtype) @ rows.square().mT - 2 * shown @ rows.mT
    other = int((distance.argmin(-1) != done.nearest).sum())
    if other:
        console.print(
            f"[yellow]{other} of {len(seen)} recalled another row than the nearest in the known "
            "cells: patterns are compared by angle about their mean, and so few cells may fit "
            "several.[/yellow]"
        )


def _print_recall(console: Console, beta: float, done: Completion, out: Path) -> None:
    """A line a cue, at most ``LONGEST_TABLE``, and what all of them come to."""
    from isinglass.analysis.metastability import metastable_size

    sizes = metastable_size(done.weights)
    table = Table(title=f"Recall at β = {beta:.4g}", title_justify="left")
    for column in ("cue", "converged", "steps", "energy", "nearest", "its share", "patterns"):
        table.add_column(column, justify="right")
    rows = len(sizes)
    for row in range(min(rows, LONGEST_TABLE)):
        nearest = int(done.nearest[row])
        table.add_row(
            str(row), "yes" if done.recall.converged[row] else "[yellow]no[/yellow]",
            str(int(done.recall.steps[row])), f"{float(done.recall.energy[row]):.4g}",
            str(nearest), f"{float(done.weights[row, nearest]):.3f}", str(int(sizes[row])),
        )  # fmt: skip
    console.print(table)
    if rows > LONGEST_TABLE:
        console.print(f"… and {rows - LONGEST_TABLE} more.")
    single = int((sizes == 1).sum())
    console.print(f"{done.recall}; {single} recall one pattern.", highlight=False, soft_wrap=True)
    if not bool(done.recall.converged.all()):
        console.print("[yellow]Not all converged: allow more with --max-steps.[/yellow]")
    console.print(f"Wrote [bold]{out}[/bold].", highlight=False, soft_wrap=True)


def _read_stored(paths: list[Path], size: int | None) -> tuple[torch.Tensor, list[str]]:
    """What to store, ``(n, height, width, channels)``, and where each came from."""
    from isinglass.data.images import read_pictures, stack_pictures

    stored = read_pictures(paths)
    for picture in stored:
        if not bool(picture.known.any()):
            raise ParameterError(
                "every pixel is transparent", "Leave it out", operation=f"reading {picture.name}"
            )
    height, width = stored[0].pixels.shape[:2]
    shape = (size, max(1, round(width * size / height))) if size else (height, width)
    return stack_pictures(stored, shape)[0], [picture.name for picture in stored]


def _read_cue(
    path: Path, index: int | None, hide: Half | None, stored: torch.Size
) -> tuple[torch.Tensor, torch.Tensor]:
    """The cue as a batch of one, made like what is stored, and which of its pixels are known."""
    from isinglass.data.images import read_pictures, stack_pictures

    cues = read_pictures([path])
    if index is None and len(cues) > 1:
        raise ParameterError(
            f"it holds {len(cues)} images", "Choose one with --index", operation=f"reading {path}"
        )
    if (index or 0) >= len(cues):
        raise ParameterError(
            f"index {index} of {len(cues)} images", "Count from 0", operation=f"reading {path}"
        )
    shape = (stored[1], stored[2])
    seen, known = stack_pictures([cues[index or 0]], shape, color=stored[3] == 3)
    known = known & _visible(hide, shape)
    if not bool(known.any()):
        raise ParameterError(
            "every pixel is unknown", "Show some part of it", operation=f"reading {path}"
        )
    return seen, known


def _outcome(done: Completion, names: list[str]) -> dict[str, object]:
    """The report on one completion."""
    nearest = int(done.nearest[0])
    return {
        "energy of the cue": float(done.start_energy[0]),
        "energy of the completion": float(done.recall.energy[0]),
        "steps": int(done.recall.steps[0]),
        "last change": float(done.recall.residual[0]),
        "converged": bool(done.recall.converged[0]),
        "nearest": names[nearest],
        "share of the nearest": float(done.weights[0, nearest]),
        "similarity to the nearest": float(done.similarity[0]),
    }


def _visible(hide: Half | None, shape: tuple[int, int]) -> torch.Tensor:
    visible = torch.ones(shape, dtype=torch.bool)
    rows, columns = shape[0] // 2, shape[1] // 2
    hidden = {
        Half.UPPER: (slice(None, rows), slice(None)),
        Half.LOWER: (slice(rows, None), slice(None)),
        Half.LEFT: (slice(None), slice(None, columns)),
        Half.RIGHT: (slice(None), slice(columns, None)),
    }
    if hide is not None:
        visible[hidden[hide]] = False
    return visible


def _print_report(console: Console, report: dict[str, object], out: Path) -> None:
    table = Table(show_header=False, title="Recall", title_justify="left")
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in report.items():
        table.add_row(name, f"{value:.4g}" if isinstance(value, float) else str(value))
    console.print(table)
    if not report["converged"]:
        console.print("[yellow]Not converged: allow more with --max-steps.[/yellow]")
    console.print(f"Wrote [bold]{out}[/bold].", highlight=False, soft_wrap=True)
