"""Ratios of ``docs/speed.md`` as bars, read from the tables of that page."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from isinglass._support.palette import BLUE, GRAY, INK, VERMILION

PAGE = Path(__file__).parents[2] / "docs" / "speed.md"
PICTURE = re.compile(r"\(pictures/(speed-[\w-]+)\.svg\)(.*?)</details>", re.DOTALL)
NOTE = re.compile(r" \(\d+\)$")


def draw() -> dict[str, Figure]:
    """One chart a table, named by the picture above it."""
    text = PAGE.read_text(encoding="utf-8")
    return {name: _bars(rows_of(part)) for name, part in PICTURE.findall(text)}


def rows_of(part: str) -> list[tuple[str, float]]:
    """What was timed, in which shapes and beside whom, with the ratio of the two times."""
    lines = [line for line in part.splitlines() if line.startswith("| ")][1:]
    rows = []
    for line in lines:
        what, shapes, _, peer, _, ratio = (cell.strip() for cell in line.strip("|").split("|"))
        what = NOTE.sub("", what).replace("`", "")
        beside = textwrap.fill(f"{shapes.replace(', float32', '')} | {peer}", 56)
        rows.append((f"{what}\n{beside}", float(ratio.replace(",", ""))))
    return rows


def _bars(rows: list[tuple[str, float]]) -> Figure:
    """Bars from 1 to the ratio on a logarithmic axis; hatched where the peer is faster."""
    figure, axes = plt.subplots(figsize=(7.2, 0.7 + 0.4 * len(rows)))
    for place, (_, ratio) in enumerate(rows):
        slower = ratio > 1
        axes.barh(
            place, ratio - 1, left=1, height=0.62, color=VERMILION if slower else BLUE,
            hatch="///" if slower else None, edgecolor="white",
        )  # fmt: skip
        axes.annotate(
            f"{ratio:.2f}", (ratio, place), (4 if slower else -4, 0), textcoords="offset points",
            ha="left" if slower else "right", va="center", color=INK, fontsize=8,
        )  # fmt: skip
    axes.axvline(1, color=INK, linewidth=1)
    ratios = [ratio for _, ratio in rows]
    axes.set(xscale="log", xlim=(min(0.02, *ratios) / 2.2, max(2.0, *ratios) * 1.6))
    ticks = [
        tick for tick in (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10) if tick <= axes.get_xlim()[1]
    ]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("time of isinglass / time of the peer  (left of 1: faster)", color=GRAY)
    axes.grid(axis="x", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    return figure
