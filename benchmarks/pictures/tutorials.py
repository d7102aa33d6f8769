"""Pictures of the tutorials, drawn from what their own code computes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isinglass._support.palette import BLUE, GRAY, INK, LINE, VERMILION
from isinglass.cli.think.pictures import plot_board, plot_proof, plot_thoughts

TUTORIALS = Path(__file__).parents[2] / "docs/tutorials"
BLOCK = re.compile(r"^```(?:python|\{\.python continuation\})\n(.*?)^```", re.MULTILINE | re.DOTALL)
SIZE = (3.6, 2.3)

Names = dict[str, Any]


def names_of(tutorial: str) -> Names:
    """Runs the code of a page from top to bottom, and returns what it defined."""
    code = "".join(BLOCK.findall((TUTORIALS / f"{tutorial}.md").read_text(encoding="utf-8")))
    names: Names = {}
    exec(compile(code, f"{tutorial}.md", "exec"), names)  # noqa: S102
    return names


def draw() -> dict[str, Figure]:
    """One picture a tutorial."""
    figures = {}
    for tutorial, drawn in DRAWN.items():
        torch.manual_seed(0)
        figures[f"tutorial-{tutorial}"] = drawn(names_of(tutorial))
    return figures


def _digits(names: Names) -> Figure:
    figure, grid = plt.subplots(2, 6, figsize=SIZE)
    for row, images in zip(grid, (names["cues"], names["found"].state), strict=True):
        for axes, image in zip(row, images, strict=False):
            axes.imshow(image.nan_to_num(0.5).view(8, 8), cmap="gray_r", vmin=0, vmax=1)
            axes.set(xticks=[], yticks=[])
    grid[0, 0].set_ylabel("cue")
    grid[1, 0].set_ylabel("recalled")
    return figure


def _draws(names: Names) -> Figure:
    figure, axes = plt.subplots(figsize=SIZE)
    scores = names["scores"]
    many = [1, 4, 16, 64]
    axes.semilogx(many, [100 * scores[m] for m in many], "o-", color=BLUE, label="m draws")
    axes.axhline(100 * scores[None], color=GRAY, ls="--", label="softmax")
    axes.plot(1, 100 * names["together"], "s", color=VERMILION, label="16 passes")
    axes.set_xticks(many, [str(m) for m in many])
    axes.minorticks_off()
    axes.set(xlabel="draws m", ylabel="test digits right, %")
    axes.legend(frameon=False, loc="lower right")
    return figure


def _errors(names: Names) -> Figure:
    figure, axes = plt.subplots(figsize=SIZE)
    errors = names["errors"]
    bars = axes.barh(list(errors), list(errors.values()), color=[LINE, LINE, BLUE], height=0.6)
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.set_yticks(range(3), [name.replace("Imputer", "\nImputer") for name in errors])
    axes.invert_yaxis()
    axes.set(xlabel="error, standard deviations", xlim=(0, 1.25))
    return figure


def _rewards(names: Names) -> Figure:
    figure, axes = plt.subplots(figsize=SIZE)
    curve = names["curve"]
    axes.plot([1_000 * step for step in range(len(curve))], curve, "o-", color=BLUE)
    axes.axhline(20, color=GRAY, ls=":")
    axes.text(3_000, 20.2, "random actions", color=GRAY, ha="right")
    axes.set(xlabel="steps", ylabel="greedy reward, of 40", xticks=range(0, 3_001, 1_000))
    return figure


def _grids(names: Names) -> Figure:
    figure, panels = plt.subplots(1, 3, figsize=(3.6, 1.6))
    for axes, (ratio, state) in zip(panels, names["grids"].items(), strict=True):
        axes.imshow(state[0].view(64, 64), cmap="gray_r", vmin=-1, vmax=1)
        axes.set(xticks=[], yticks=[], title="T = T_c" if ratio == 1 else f"{ratio:g} T_c")
    return figure


def _proof(names: Names) -> Figure:
    figure, axes = plt.subplots(figsize=(5.6, 2.8))
    plot_proof(axes, names["reply"].answers[0].proof)
    return figure


def _board(names: Names) -> Figure:
    figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3.1))
    answer = names["thinker"].think(names["givens"](names["hard"]), solutions=2)[0]
    digits = [int(c) if c in "123456789" else 0 for c in names["hard"]]
    plot_board(left, names["network"], torch.tensor(digits).view(9, 9), answer)
    plot_thoughts(right, answer)
    return figure


def _heads(names: Names) -> Figure:
    figure, axes = plt.subplots(figsize=SIZE)
    for found, style, label in (
        (names["before"], {"marker": "o", "color": GRAY, "fillstyle": "none"}, "before"),
        (names["after"], {"marker": "s", "color": BLUE}, "after training"),
    ):
        axes.plot(found.table["k90"].to_numpy(), linestyle="", label=label, **style)
    axes.set_xticks(range(8), [f"{layer}.{head}" for layer in range(2) for head in range(4)])
    axes.set(xlabel="layer.head", ylabel="keys that hold 90 %", ylim=(0, 26))
    axes.legend(frameon=False, ncols=2, loc="upper center")
    return figure


def _paths(names: Names) -> Figure:
    figure, axes = plt.subplots(figsize=(2.9, 2.6))
    side, wall = names["side"], names["wall"]
    axes.imshow(wall, cmap="gray_r", vmin=0, vmax=1.6)
    _path(axes, names["first"], side, BLUE, "o-")
    _path(axes, names["second"], side, VERMILION, "s--")
    axes.set(xticks=[], yticks=[])
    axes.set_xticks([at - 0.5 for at in range(1, side)], minor=True)
    axes.set_yticks([at - 0.5 for at in range(1, side)], minor=True)
    axes.grid(which="minor", color=LINE, linewidth=0.6)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set(visible=True, color=INK)
    return figure


def _path(axes: Axes, cells: list[int], side: int, color: str, style: str) -> None:
    axes.plot([c % side for c in cells], [c // side for c in cells], style, color=color, ms=4)
    axes.plot(cells[-1] % side, cells[-1] // side, "*", color=color, ms=13)


DRAWN: dict[str, Callable[[Names], Figure]] = {
    "recall-digits": _digits,
    "swap-attention": _draws,
    "impute-a-table": _errors,
    "many-actions": _rewards,
    "ising": _grids,
    "family": _proof,
    "sudoku": _board,
    "heads": _heads,
    "plan-by-clamping": _paths,
}
