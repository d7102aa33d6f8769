"""How likely each row of a table is, and which are odd."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from isinglass.cli._common import Output
from isinglass.cli._pictures import draw_curve
from isinglass.cli.imagine.source import Source
from isinglass.integrations.sklearn import HopfieldBoltzmannMachine
from isinglass.io.atomic import atomic_write

__all__ = ["say_odd", "write_scores"]

#: How many of the least likely rows are named.
MOST_ROWS = 5


def write_scores(
    targets: list[Path], fitted: HopfieldBoltzmannMachine, scores: np.ndarray, force: bool
) -> None:
    """Writes log p of each row, and the share of rows that are likelier; and the plot of learning.

    Args:
        targets: The .csv, and the picture.
        fitted: The machine.
        scores: Log p of each row, in nats.
        force: Whether files may be replaced.
    """
    above = 1 - (np.argsort(np.argsort(scores, kind="stable"), kind="stable") + 1) / len(scores)
    lines = [
        f"{number},{score:.6g},{share:.4f}"
        for number, (score, share) in enumerate(zip(scores, above, strict=True), 1)
    ]
    with atomic_write(targets[0], overwrite=force) as aside:
        aside.write_text("\n".join(["row,log_likelihood,likelier_rows", *lines, ""]))
    with atomic_write(targets[1], overwrite=force) as aside:
        draw_curve(aside, fitted)


def say_odd(output: Output, source: Source, scores: np.ndarray) -> str:
    """Names the least likely rows, and returns what was done."""
    worst = np.argsort(scores, kind="stable")[:MOST_ROWS]
    named = ", ".join(f"{row + 1} ({scores[row]:.4g} nats)" for row in worst.tolist())
    output.say(f"Least likely {source.noun}s: {named}; the median has {np.median(scores):.4g}.")
    return f"Scored {source.count_in_words(source.count)}"
