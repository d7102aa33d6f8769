"""How likely each row of a table is, and which are odd."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from isinglass.cli._common import Output
from isinglass.cli._pictures import draw_curve
from isinglass.cli.imagine.source import Source
from isinglass.integrations.sklearn import HopfieldBoltzmannMachine
from isinglass.io.atomic import atomic_write

__all__ = ["write_scores"]

#: How many of the least likely rows are named.
MOST_ROWS = 5


def write_scores(
    output: Output,
    source: Source,
    fitted: HopfieldBoltzmannMachine,
    targets: list[Path],
    force: bool,
) -> str:
    """Writes log p of each row, and the share of rows that are likelier; and the plot of learning.

    Args:
        output: Where the least likely rows are named.
        source: The rows.
        fitted: The machine.
        targets: The .csv, and the picture.
        force: Whether files may be replaced.

    Returns:
        What was done.
    """
    scores = fitted.score_samples(source.rows)
    order = np.argsort(scores, kind="stable")
    likelier = 1 - (np.argsort(order) + 1) / len(scores)
    lines = [
        f"{number},{score:.6g},{share:.4f}"
        for number, (score, share) in enumerate(zip(scores, likelier, strict=True), 1)
    ]
    with atomic_write(targets[0], overwrite=force) as aside:
        aside.write_text("\n".join(["row,log_likelihood,likelier_rows", *lines, ""]))
    with atomic_write(targets[1], overwrite=force) as aside:
        draw_curve(aside, fitted)
    named = ", ".join(f"{row + 1} ({scores[row]:.4g} nats)" for row in order[:MOST_ROWS].tolist())
    output.say(f"Least likely {source.noun}s: {named}; the median has {np.median(scores):.4g}.")
    return f"Scored {source.count_in_words(source.count)}"
