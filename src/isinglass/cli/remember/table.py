"""The rows of a table as a memory: each row of the cues is completed from its known cells."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from isinglass._support.optional import require_extra
from isinglass.analysis.metastability import metastable_size
from isinglass.cli._common import Output
from isinglass.data.columns import Columns, kind_of
from isinglass.data.image_memory import ImageMemory
from isinglass.data.images import PICTURES, holds_images
from isinglass.data.table import SUFFIXES, TEXTS, Reading, check_table_name, read_table
from isinglass.errors import DomainError
from isinglass.io.atomic import atomic_write

with require_extra("cli"):
    from rich.markup import escape
    from rich.table import Table

if TYPE_CHECKING:
    from isinglass.data.image_memory import Completion

__all__ = ["complete_table", "is_table"]

LONGEST_TABLE = 20


def is_table(stored: list[Path], cue: Path) -> bool:
    """Returns whether one table is stored: a text, or an array of rows with a cue that is none."""
    suffix = stored[0].suffix.lower()
    if len(stored) > 1 or suffix not in SUFFIXES or stored[0].is_dir():
        return False
    return suffix in TEXTS or not (cue.suffix.lower() in PICTURES or holds_images(stored[0]))


def complete_table(
    output: Output,
    stored: Path,
    cue: Path,
    out: Path,
    beta: float | None,
    force: bool,
    *,
    reading: Reading,
    kinds: dict[str, str],
    standardize: bool,
    clean: bool,
) -> None:
    """Fills the unknown cells of every cue, or all if ``clean``, and reports row by row.

    Raises:
        DomainError: If a stored cell, or a whole cue, is unknown.
        ShapeError: If the cues have other columns than what is stored.
    """
    check_table_name(f"writing {out}", out)
    table = read_table(stored, reading if stored.suffix.lower() in TEXTS else None, kinds=kinds)
    for name, words in table.words.items():
        if words.total():
            found = f"{words.total()} unknown cells in column {name!r}"
            raise DomainError(found, "Store whole rows only", operation=f"reading {stored}")
    columns = Columns.of(list(table.columns), list(table.columns.values()), kinds)
    asked = read_table(
        cue, reading if cue.suffix.lower() in TEXTS else None,
        names=list(table.texts.columns), fitted={c.name: kind_of(c) for c in columns.columns},
    ).matching(table)  # fmt: skip
    for path, read in ((stored, table), (cue, asked)):
        if read.decided:
            output.say(f"{escape(str(path))}: {escape(read.decided)}.")
        for note in read.notes:
            output.warn(f"{path}: {note}")
    cells, known = columns.encode(f"reading {cue}", list(asked.columns.values()))
    if not bool(known.any(-1).all()):
        first = int((~known.any(-1)).nonzero()[0])
        raise DomainError(
            f"nothing is known of cue {first}", "Leave the row out", operation=f"reading {cue}"
        )
    spreads = torch.ones_like(columns.spreads) if standardize else columns.spreads
    rows = columns.encode(f"reading {stored}", list(table.columns.values()))[0]
    memory = ImageMemory(rows * spreads, beta)
    done = memory.complete(cells * spreads, known)
    whole = columns.decode(done.weights @ rows, rounded=False)
    filled = asked.filled(columns, whole, everywhere=clean)
    for name in table.texts.columns.intersection(filled.columns).difference([*table.columns]):
        nameless = filled[name].str.strip() == ""  # such as the name of the row that is nearest
        filled.loc[nameless, name] = table.texts[name].to_numpy()[done.nearest.numpy()[nameless]]
    with atomic_write(out, overwrite=force) as aside:
        asked.write(aside, filled)
    cues = _outcomes(done)
    _print_outcomes(output, memory.beta, cues)
    output.say(f"Wrote [bold]{escape(str(out))}[/bold].")
    report = {"stored": len(rows), "beta": memory.beta, "cues": cues, "written": out}
    output.finish(report)


def _outcomes(done: Completion) -> list[dict[str, Any]]:
    """Returns the report on each cue."""
    said, sizes = done.resemblance, metastable_size(done.weights)
    return [
        {
            "nearest": int(nearest),
            "share of the nearest": float(said.weight[row]),
            "distance": float(said.distance[row]),
            "log-density, nats": float(said.log_density[row]),
            "novelty": float(said.novelty[row]),
            "familiar": not bool(unfamiliar),
            "patterns": int(sizes[row]),
        }
        for row, (nearest, unfamiliar) in enumerate(
            zip(said.nearest, said.unfamiliar(), strict=True)
        )
    ]


def _print_outcomes(output: Output, beta: float, cues: list[dict[str, Any]]) -> None:
    """Prints a line a cue, at most ``LONGEST_TABLE``, and what all of them come to."""
    table = Table(title=f"Recall at β = {beta:.4g}", title_justify="left")
    for column in ("cue", "nearest", "its share", "distance", "novelty", "familiar", "patterns"):
        table.add_column(column, justify="right")
    for number, cue in enumerate(cues[:LONGEST_TABLE]):
        table.add_row(
            str(number), str(cue["nearest"]), f"{cue['share of the nearest']:.3f}",
            f"{cue['distance']:.3g}", f"{cue['novelty']:.2f}",
            "yes" if cue["familiar"] else "[yellow]no[/yellow]", str(cue["patterns"]),
        )  # fmt: skip
    output.console.print(table)
    if len(cues) > LONGEST_TABLE:
        output.say(f"… and {len(cues) - LONGEST_TABLE} more.")
    single = sum(cue["patterns"] == 1 for cue in cues)
    output.say(f"{single} of {len(cues)} are filled from one pattern, the rest from a blend.")
    strange = sum(not cue["familiar"] for cue in cues)
    if strange:
        output.warn(f"Nothing stored resembles {strange} of {len(cues)} cues: see their novelty")
