"""Pictures of ``imagine``: how learning went, and a sheet of images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from isinglass._support.optional import require_extra
from isinglass._support.palette import BLUE, INK
from isinglass.cli.imagine.source import Shape
from isinglass.data.images import save_png

with require_extra("cli"):
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

if TYPE_CHECKING:
    from isinglass.integrations.sklearn import HopfieldBoltzmannMachine

__all__ = ["draw_curve", "draw_sheet"]

#: Unknown pixels, in red, green and blue.
UNKNOWN = (0.91, 0.35, 0.05)
MOST_IMAGES = 100
#: The least width of an image on a sheet, in pixels.
LEAST_WIDTH = 64


def draw_curve(path: Path, fitted: HopfieldBoltzmannMachine) -> None:
    """Plots the likelihood step by step, and what was chosen: memories, or weights of mixtures.

    Args:
        path: A path given by :func:`isinglass.io.atomic.atomic_write`.
        fitted: The fitted estimator.
    """
    scores, stack = fitted.validation_scores_, fitted.stack_
    wide = bool(scores) or stack is not None
    figure = Figure(figsize=(8.4 if wide else 4.6, 3.2), layout="constrained")
    panels = figure.subplots(1, 2 if wide else 1, squeeze=False)[0]
    best = fitted.n_memories_
    memories = "1 memory" if best == 1 else f"{best} memories"
    panels[0].plot(fitted.log_likelihood_curve_, color=BLUE, linewidth=2)
    panels[0].xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0].set(xlabel="EM step", ylabel="nats a row", title=f"All rows, {memories}")
    if scores:
        panels[1].semilogx(list(scores), list(scores.values()), "o-", color=BLUE, markersize=4)
        panels[1].plot(best, scores[best], "o", color=BLUE, markersize=9)
        panels[1].annotate(
            f"{best} chosen", (best, 0.04), xycoords=panels[1].get_xaxis_transform(),
            ha="center", va="bottom", color=INK,
        )  # fmt: skip
        panels[1].axvline(best, 0.13, color=BLUE, linewidth=0.8, linestyle=":")
        ticks = list(scores)
        panels[1].set_xticks(ticks, [str(tick) for tick in ticks])
        panels[1].minorticks_off()
        panels[1].set(
            xlabel="memories", ylabel="nats a row", title="A fifth held out, machines of the rest"
        )
        panels[1].margins(x=0.12)
        low, high = panels[1].get_ylim()
        panels[1].set_ylim(low - 0.3 * (high - low), high)  # room for the label below the line
    if stack is not None:
        names = [str(recipe) for recipe in stack.recipes]
        panels[1].barh(names[::-1], stack.stack.log_weights.exp().numpy()[::-1], color=BLUE)
        panels[1].set(xlabel="weight", title="Mixtures, weighed by hidden cells")
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, format=path.suffix[1:].lower(), dpi=144)


def draw_sheet(
    path: Path,
    rows: np.ndarray,
    shape: Shape,
    bounds: tuple[float, float],
    seen: np.ndarray | None = None,
) -> None:
    """Writes images side by side as one PNG; under ``seen``, each beside what was known of it.

    Args:
        path: A path given by :func:`isinglass.io.atomic.atomic_write`.
        rows: One image a row; at most a hundred are shown.
        shape: What each row is.
        bounds: The numbers that are black and white.
        seen: The rows before they were filled, NaN where unknown; whole ones are not shown, unless
            all are whole.
    """
    low, high = bounds
    scale = high - low if high > low else 1.0
    torn = np.isnan(rows if seen is None else seen).any(-1)
    if not torn.any():
        seen = None
    if seen is not None:
        rows, seen = rows[torn][: MOST_IMAGES // 2], seen[torn][: MOST_IMAGES // 2]
    images = _color((rows[:MOST_IMAGES] - low) / scale, shape)
    if seen is not None:
        images = torch.cat([_color((seen - low) / scale, shape), images], 2)
    height, width = images.shape[1:3]
    zoom = max(1, -(-LEAST_WIDTH // shape[1]))
    images = images.repeat_interleave(zoom, 1).repeat_interleave(zoom, 2)
    images = torch.nn.functional.pad(images, (0, 0, 1, 1, 1, 1), value=1.0)
    columns = min(len(images), max(1, round((len(images) * height / width) ** 0.5)))
    missing = -len(images) % columns
    empty = images.new_ones(missing, *images.shape[1:])
    grid = torch.cat([images, empty]).unflatten(0, (-1, columns))
    sheet = grid.permute(0, 2, 1, 3, 4).flatten(0, 1).flatten(1, 2)
    save_png(path, sheet, f"{len(images)} images of isinglass imagine")


def _color(rows: np.ndarray, shape: Shape) -> torch.Tensor:
    """Returns images of three channels, ``(n, h, w, 3)``, unknown pixels in one color."""
    images = torch.from_numpy(rows.astype(np.float32)).reshape(-1, *shape)
    images = images.expand(*images.shape[:-1], 3)
    return torch.where(images.isnan(), torch.tensor(UNKNOWN), images)
