"""Shares of ``docs/evidence.md``: what was found, what it is held to, and what others reach."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmarks.evidence.summary import Row, load, number
from isinglass._support.palette import BLUE, GRAY, INK, LINE, VERMILION


def draw() -> dict[str, Figure]:
    """The picture by the name of its file."""
    return {"evidence": _lines([row for row in load() if row.share])}


def _share(row: Row, text: str) -> float:
    """A number of the row as a share of one; those in % are told by their value."""
    value = number(text)
    return value / 100 if number(row.value) > 1 else value


def _lines(rows: list[Row]) -> Figure:
    """A line a row: filled is ours, its mark says whether it is what was asked."""
    figure, axes = plt.subplots(figsize=(7.2, 0.9 + 0.23 * len(rows)))
    marks = {
        True: ("o", BLUE, "here, as good as asked"),
        False: ("X", VERMILION, "here, less than asked"),
        None: ("D", INK, "here, nothing asked"),
    }
    for place, row in enumerate(rows):
        others = [_share(row, value) for value in row.others.values()]
        value = _share(row, row.value)
        axes.plot([min([value, *others]), max([value, *others])], [place] * 2, color=LINE, zorder=1)
        axes.plot(others, [place] * len(others), "o", mfc="white", mec=GRAY, ms=4.5, zorder=2)
        if row.asked:
            axes.plot(_share(row, row.asked), place, "|", color=INK, ms=11, mew=1.4, zorder=3)
        mark, color, _ = marks[row.met]
        axes.plot(value, place, mark, color=color, ms=6, mec="white", mew=0.4, zorder=4)
    shown = {row.met for row in rows}
    handles = [
        Line2D([], [], marker=mark, color=color, ls="", label=label)
        for met, (mark, color, label) in marks.items() if met in shown
    ]  # fmt: skip
    handles += [
        Line2D([], [], marker="|", color=INK, ls="", ms=10, mew=1.4, label="asked"),
        Line2D([], [], marker="o", mfc="white", mec=GRAY, ls="", label="others"),
    ]
    axes.legend(handles=handles, fontsize=7, ncols=5, frameon=False,
                loc="lower center", bbox_to_anchor=(0.3, 1.0))  # fmt: skip
    names = [f"{row.experiment.replace('_', ' ')}: {row.what}" for row in rows]
    axes.set_yticks(range(len(rows)), names, fontsize=7)
    axes.set_xlim(0, 1.02)
    axes.set_xlabel("share of one, or area under the ROC curve; more is better", color=GRAY)
    axes.invert_yaxis()
    axes.grid(axis="x", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    return figure
