"""Remember: digits stored in a classical and a modern memory, recalled from half of themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from isinglass._support.progress import Progress
from isinglass.cli.tour.chapter import (
    COLORS,
    Chapter,
    Drawing,
    Fact,
    new_figure,
    show_image,
)
from isinglass.data.digits import LEVELS, SIDE, Digits, load_digits
from isinglass.data.image_memory import ImageMemory
from isinglass.dynamics import Recall, SingleSite
from isinglass.energies import ClassicalHopfield

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

STORED = [2, 3, 5, 10, 20, 50, 100, 200, 500, 1000]
SHOWN = [0, 3, 7, 8]
UPPER = torch.arange(SIDE * SIDE) < SIDE * SIDE // 2

LEAD = """A memory is an energy whose valleys are the stored patterns; to remember is to roll
downhill. The classical Hopfield net flips one unit at a time, the modern one takes steps that are
the attention of a Transformer. Both see the upper half of a handwritten digit. The modern memory
is told that the lower half is unknown; the classical one cannot be told, so its cue has a lower
half of paper."""


def remember(progress: Progress, seed: int) -> Chapter:
    """Recalls digits from both memories, and returns the chapter."""
    train, _, _ = load_digits(seed)
    chapter = Chapter("remember", "Remember: descend the energy", LEAD)
    progress(0.1, "ten digits, step by step")
    ten = _one_of_each(train)
    chapter.pictures.append(_step_by_step(ten))
    recalled = {"classical": [], "modern": []}
    for number, count in enumerate(STORED):
        progress(0.3 + 0.6 * number / len(STORED), f"{count} digits stored")
        for kind, share in _shares(train, count).items():
            recalled[kind].append(share)
    chapter.pictures.append(_capacity(recalled))
    for place in (0, STORED.index(10), len(STORED) - 1):
        chapter.facts.append(
            Fact(
                f"{STORED[place]:,} digits stored, recalled from their upper half",
                f"modern {recalled['modern'][place]:.0%}",
                f"classical {recalled['classical'][place]:.0%}",
            )
        )
    chapter.notes.append(
        "Recalled means that at most 2 of 64 pixels, divided into ink and paper, differ from the "
        f"stored digit. {_confusions(train)}"
    )
    progress(1.0, "done")
    return chapter


def _one_of_each(digits: Digits) -> Digits:
    first = torch.stack([(digits.labels == label).nonzero()[0, 0] for label in range(10)])
    return Digits(digits.images[first], digits.labels[first])


def _classical(digits: Digits, max_steps: int | None = None, trace: bool = False) -> Recall:
    """Recall every digit from its upper half, the lower half all paper."""
    spins = digits.spins()
    cues = torch.where(UPPER, spins, -1.0)
    one_by_one = SingleSite()  # a step is a flip
    return ClassicalHopfield(spins).recall(
        cues, kernel=one_by_one, max_steps=max_steps, trace=trace
    )


def _shares(train: Digits, count: int) -> dict[str, float]:
    """Return the share of the first ``count`` digits that each memory recalls."""
    digits = Digits(train.images[:count], train.labels[:count])
    classical = _classical(digits).state
    modern = ImageMemory(digits.images).complete(digits.images, UPPER).images
    stored = digits.spins()
    return {
        "classical": float(_recall(classical, stored).double().mean()),
        "modern": float(_recall(Digits(modern, digits.labels).spins(), stored).double().mean()),
    }


def _recall(found: Tensor, stored: Tensor) -> Tensor:
    """Mark the rows that differ from what was stored in at most 2 pixels."""
    return (found != stored).sum(-1) <= 2


def _confusions(train: Digits) -> str:
    """Say what becomes of the digits that the modern memory does not recall, at its fullest."""
    count = STORED[-1]
    digits = Digits(train.images[:count], train.labels[:count])
    done = ImageMemory(digits.images).complete(digits.images, UPPER)
    missed = ~_recall(Digits(done.images, digits.labels).spins(), digits.spins())
    other = done.nearest != torch.arange(count)
    return (
        f"With {count:,} stored, the modern memory takes {int(other.sum())} for another digit, and "
        f"fills {int(missed.sum())} with a blend of several whose upper halves are alike."
    )


def _step_by_step(ten: Digits) -> Drawing:
    flips = _classical(ten, trace=True)
    most = int(flips.steps.max())
    stops = [round(most * share) for share in (0, 0.25, 0.5, 0.75, 1)]
    inked = [(_classical(ten, max_steps=stop).state + 1) * (LEVELS // 2) for stop in stops]

    memory = ImageMemory(ten.images)
    # A descent, to be looked at: from the cue, whose lower half deviates from the mean by nothing.
    start = torch.where(UPPER, ten.images - memory.mean, 0.0) / memory.scale
    steps = memory.memory.recall(start, trace=True)
    states = [start] + [memory.memory.recall(start, max_steps=step).state for step in (1, 2, 3)]
    gray = [state * memory.scale + memory.mean for state in states]

    figure = new_figure(10.5, 6.4)
    left, right = figure.subfigures(1, 2, width_ratios=[6, 5], squeeze=False)[0]
    left.suptitle("classical: one spin at a time", color=COLORS["ink"], fontsize=14)
    right.suptitle("modern: one attention step at a time", color=COLORS["ink"], fontsize=14)
    lower = _strip(left, inked, ten, [f"{stop} flips" for stop in stops])
    _energies(lower, flips, COLORS["peer"])
    lower = _strip(right, gray, ten, ["cue", "step 1", "step 2", "step 3"])
    _energies(lower, steps, COLORS["own"])
    return Drawing(
        figure,
        "Ten digits stored, one of each; four recalled from their upper half, the last column "
        "being what was stored. Below, the energy of all ten falls at every step to a fixed point.",
        "Rows of images, from a cue to a whole digit: the classical net ends in blots that are no "
        "digit, the modern one in what was stored. Two plots of energies that only fall.",
    )


def _strip(panel: SubFigure, states: list[Tensor], ten: Digits, titles: list[str]) -> Axes:
    """Draw rows of images, and return the axes left free below them."""
    columns = len(states) + 1
    grid = panel.add_gridspec(len(SHOWN) + 1, columns, height_ratios=[1] * len(SHOWN) + [2.2])
    for row, digit in enumerate(SHOWN):
        for column, state in enumerate(states):
            axes = panel.add_subplot(grid[row, column])
            show_image(axes, state[digit].reshape(SIDE, SIDE), titles[column] if row == 0 else "")
        axes = panel.add_subplot(grid[row, columns - 1])
        title = "stored" if row == 0 else ""
        show_image(axes, ten.images[digit].reshape(SIDE, SIDE), title, edge=COLORS["ink"])
    return panel.add_subplot(grid[len(SHOWN), :])


def _energies(axes: Axes, found: Recall, color: str) -> None:
    if found.energy_trace is not None:
        axes.plot(found.energy_trace.numpy(), color=color, alpha=0.6, linewidth=1.2)
    axes.set_xlabel("step")
    axes.set_ylabel("energy")


def _capacity(recalled: dict[str, list[float]]) -> Drawing:
    figure = new_figure(7.2, 3.2)
    axes = figure.add_subplot()
    for kind, color in (("modern", "own"), ("classical", "peer")):
        style = "o-" if color == "own" else "s--"
        axes.plot(STORED, recalled[kind], style, color=COLORS[color], label=kind)
    limit = 0.138 * SIDE * SIDE
    axes.axvline(limit, color=COLORS["other"], linestyle=":", label="0.138 d, random patterns")
    axes.set_xscale("log")
    axes.set_xlabel("digits stored")
    axes.set_ylabel("completed from the upper half")
    axes.set_ylim(-0.03, 1.03)
    axes.legend(frameon=False)
    return Drawing(
        figure,
        "The share of N stored digits that each memory completes from their upper half, the lower "
        "one being unknown to the modern memory and paper to the classical. Digits resemble each "
        "other and half is missing, so the classical net fails before 0.138 d, the number of "
        "random patterns it could hold.",
        "Shares against the number of digits stored: the modern memory stays near 1 up to 1,000, "
        "the classical one is at 0 from three on.",
    )
