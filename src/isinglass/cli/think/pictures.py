"""Pictures of thinking: a derivation as a tree, a board with what was given, forced and guessed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from isinglass._support.optional import require_extra
from isinglass._support.palette import BLUE, GRAY, INK, VERMILION
from isinglass.cli.think.boards import block_of, propositions
from isinglass.errors import ParameterError
from isinglass.thinking import ConstraintNetwork, Proof, PuzzleAnswer

with require_extra("cli"):
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_board", "plot_board", "plot_proof", "plot_thoughts"]

#: Color, weight and style of a digit, so that none is told by color alone.
HUES = {
    "given": (INK, "bold", "normal"),
    "settled": (BLUE, "normal", "normal"),
    "guessed": (VERMILION, "bold", "italic"),
    "followed": (GRAY, "normal", "italic"),
}


def draw_board(network: ConstraintNetwork, board: Tensor, answer: PuzzleAnswer) -> Figure:
    """Draws a board, and its guesses and retractions if there were any."""
    panels = 2 if answer.thoughts else 1
    figure = Figure(figsize=(4.2 * panels, 4.4), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    plot_board(axes[0], network, board, answer)
    if answer.thoughts:
        plot_thoughts(axes[1], answer)
    return figure


def plot_board(axes: Axes, network: ConstraintNetwork, board: Tensor, answer: PuzzleAnswer) -> None:
    """Draws cells: given bold, forced in blue, guessed bold italic, what followed gray italic."""
    side = len(board)
    settled = network.settle(propositions(board[None]))[0][0].view(side, side, side) > 0
    truths = settled if answer.solution is None else answer.solution.view(side, side, side)
    standing: list[int] = []
    path: list[int] = []  # the guesses that stood at the solution: the most that are true in it
    for thought in answer.thoughts:
        standing = standing[: thought.depth]
        if thought.guessed:
            standing.append(thought.proposition)
        if len(standing) > len(path) and bool(truths.flatten()[standing].all()):
            path = standing
    for row in range(side):
        for column in range(side):
            digits = truths[row, column].nonzero().flatten().tolist()
            if not digits:
                continue
            unit = (row * side + column) * side + digits[0]
            given, forced = bool(board[row, column]), bool(settled[row, column, digits[0]])
            kind = ("given" if given else "settled" if forced else
                    "guessed" if unit in path else "followed")  # fmt: skip
            color, weight, style = HUES[kind]
            axes.text(column + 0.5, row + 0.5, str(digits[0] + 1), color=color, weight=weight,
                      style=style, ha="center", va="center", fontsize=13)  # fmt: skip
    try:
        high, wide = block_of(side)
    except ParameterError:  # a board without blocks
        high = wide = side
    for at in range(side + 1):
        axes.axhline(at, color=INK, linewidth=1.6 if at % high == 0 else 0.4)
        axes.axvline(at, color=INK, linewidth=1.6 if at % wide == 0 else 0.4)
    axes.set(xlim=(-0.03, side + 0.03), ylim=(side + 0.03, -0.03), aspect="equal")
    axes.axis("off")
    axes.set_title(f"{answer.status}, {answer.guesses} guesses", fontsize=10, color=INK)


def plot_thoughts(axes: Axes, answer: PuzzleAnswer) -> None:
    """Draws how many guesses stand after each guess and each retraction."""
    depths = [0, *(thought.depth + thought.guessed for thought in answer.thoughts)]
    axes.plot(range(len(depths)), depths, color=GRAY, linewidth=0.8)
    for guessed, color, mark in ((True, BLUE, "^"), (False, VERMILION, "v")):
        at = [i for i, thought in enumerate(answer.thoughts, 1) if thought.guessed == guessed]
        label = "guess" if guessed else "retraction"
        axes.plot(at, [depths[i] for i in at], mark, color=color, markersize=5, label=label)
    axes.set(xlabel="thought", ylabel="guesses that stand")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)


def plot_proof(axes: Axes, proof: Proof) -> None:
    """Draws a derivation as a tree, the conclusion on top, what is given in gray."""
    nodes = list(proof.walk())
    leaf, done = sum(not node.premises for _, node in nodes), list[tuple[float, int]]()
    width = leaf
    for depth, node in reversed(nodes):
        below = [done.pop() for _ in node.premises]
        leaf -= not below
        x = (below[0][0] + below[-1][0]) / 2 if below else leaf + 0.5
        for other, deeper in below:
            axes.plot([x, other], [-depth, -deeper], color=GRAY, linewidth=1, zorder=1)
        done.append((x, depth))
        derived = node.rule is not None
        axes.text(x, -depth, node.words, ha="center", va="center", fontsize=9, color=INK,
                  bbox={"boxstyle": "round,pad=0.4", "edgecolor": BLUE if derived else GRAY,
                        "facecolor": "#d0ebff" if derived else "#f1f3f5"})  # fmt: skip
        if derived:
            axes.text(x, -depth - 0.3, str(node.rule), ha="center", va="center", fontsize=7,
                      color=BLUE,
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})  # fmt: skip
    axes.set(xlim=(0, width), ylim=(-max(depth for depth, _ in nodes) - 0.5, 0.5))
    axes.axis("off")
