"""Images as a memory: one is completed from a part of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from isinglass._support.optional import require_extra
from isinglass.cli._common import Output
from isinglass.cli.remember.options import Half
from isinglass.data.image_memory import ImageMemory
from isinglass.data.images import read_images, save_png
from isinglass.errors import DomainError, ParameterError
from isinglass.io.atomic import atomic_write

with require_extra("cli"):
    from rich.table import Table

if TYPE_CHECKING:
    from isinglass.data.image_memory import Completion

__all__ = ["complete_image"]

#: Height that images of files are brought to if they are taller and no size is named.
TALLEST = 1024


def complete_image(
    output: Output,
    stored: list[Path],
    cue: Path,
    out: Path,
    beta: float | None,
    force: bool,
    *,
    hide: Half | None,
    index: int | None,
    size: int | None,
) -> None:
    """Completes the cue by what is stored, and writes it as PNG with the report in a text chunk.

    Raises:
        ParameterError: If ``out`` is no PNG, or ``index`` is none of the cue's images.
        DomainError: If nothing of a stored image or of the cue is known.
    """
    if out.suffix.lower() != ".png":
        raise ParameterError(
            "the completion is a PNG",
            f"Name it {out.with_suffix('.png')}",
            operation=f"writing {out}",
        )
    pixels, names = _read_stored(output, stored, size)
    seen, known = _read_cue(cue, index, hide, pixels.shape)

    memory = ImageMemory(pixels.flatten(1), beta)
    mask = known.unsqueeze(-1).expand(seen.shape).flatten(1)
    done = memory.complete(seen.flatten(1), mask)
    report = {
        "stored": len(names),
        "beta": memory.beta,
        "known": float(known.double().mean()),
        **_outcome(done, names),
    }
    with atomic_write(out, overwrite=force) as aside:
        save_png(aside, done.images[0].reshape(pixels.shape[1:]), json.dumps(report))
    _print_report(output, report)
    output.say(f"Wrote [bold]{out}[/bold].")
    output.finish({**report, "written": out})


def _read_stored(
    output: Output, paths: list[Path], size: int | None
) -> tuple[torch.Tensor, list[str]]:
    """Reads what to store, ``(n, height, width, channels)``, and where each came from."""
    images = read_images(paths, size, tallest=TALLEST)
    for note in images.notes:
        output.warn(note)
    shown = images.known.flatten(1).any(1)
    for index in (~shown).nonzero().flatten().tolist():
        output.warn(f"{images.names[index]} is left out: every pixel is transparent")
    if not bool(shown.any()):
        raise DomainError(
            "every pixel is transparent", "Store images that show", operation=f"reading {paths[0]}"
        )
    names = [name for name, shows in zip(images.names, shown.tolist(), strict=True) if shows]
    return images.pixels[shown], names


def _read_cue(
    path: Path, index: int | None, hide: Half | None, stored: torch.Size
) -> tuple[torch.Tensor, torch.Tensor]:
    """Reads the cue as a batch of one, like what is stored, and which pixels are known."""
    shape = (stored[1], stored[2])
    cues = read_images([path], shape, color=stored[3] == 3)
    count = len(cues.names)
    if index is None and count > 1:
        raise ParameterError(
            f"it holds {count} images", "Choose one with --index", operation=f"reading {path}"
        )
    if (index or 0) >= count:
        raise ParameterError(
            f"index {index} of {count} images", "Count from 0", operation=f"reading {path}"
        )
    chosen = slice(index or 0, (index or 0) + 1)
    seen, known = cues.pixels[chosen], cues.known[chosen]
    known = known & _visible(hide, shape)
    if not bool(known.any()):
        raise DomainError(
            "every pixel is unknown", "Show some part of it", operation=f"reading {path}"
        )
    return seen, known


def _outcome(done: Completion, names: list[str]) -> dict[str, Any]:
    """Returns the report on one completion: what the cue says, as it is shown."""
    said, nearest = done.resemblance, int(done.nearest[0])
    return {
        "nearest": names[nearest],
        "share of the nearest": float(said.weight[0]),
        "similarity to the nearest": float(said.similarity[0]),
        "log-density, nats": float(said.log_density[0]),
        "novelty": float(said.novelty[0]),
        "familiar": not bool(said.unfamiliar()[0]),
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


def _print_report(output: Output, report: dict[str, Any]) -> None:
    table = Table(show_header=False, title="Recall", title_justify="left")
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in report.items():
        table.add_row(name, f"{value:.4g}" if isinstance(value, float) else str(value))
    output.console.print(table)
    if not report["familiar"]:
        output.warn(
            "Nothing stored resembles this cue: it is farther from the nearest stored image than "
            f"{report['novelty']:.0%} of these are from their own nearest"
        )
