"""Figures of what the heads of a model do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from isinglass._support.optional import require_extra
from isinglass._support.palette import BLACK, BLUE, GRAY, LINE, SKY, VERMILION
from isinglass.analysis.heads import HeadClass

with require_extra("cli"):
    from matplotlib.colors import BoundaryNorm, ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.ticker import MaxNLocator

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from isinglass.integrations.huggingface.head_recorder import QueryView
    from isinglass.integrations.huggingface.inspection import Inspection

__all__ = ["CLASS_COLORS", "draw_attention", "draw_classes", "draw_energy_paths", "draw_sizes"]

CLASS_COLORS = {
    HeadClass.GLOBAL_AVERAGE: LINE,
    HeadClass.LARGE_METASTABLE: SKY,
    HeadClass.SMALL_METASTABLE: BLUE,
    HeadClass.SINGLE_PATTERN: BLACK,
    HeadClass.SINK: VERMILION,
}
#: A mark for each class, with the color in which it is seen on that of the class.
CLASS_MARKS = {
    HeadClass.GLOBAL_AVERAGE: ("_", BLACK),
    HeadClass.LARGE_METASTABLE: ("o", BLACK),
    HeadClass.SMALL_METASTABLE: ("s", "white"),
    HeadClass.SINGLE_PATTERN: ("^", "white"),
    HeadClass.SINK: ("X", "white"),
}
SOFT = GRAY


def draw_classes(found: Inspection) -> Figure:
    """Draws the heads of each layer, colored by their class.

    Args:
        found: What :func:`~isinglass.integrations.inspect` gave.
    """
    classes = found.classes.numpy()
    layers, heads = classes.shape
    figure = Figure(
        figsize=(min(10.0, 2.6 + 0.3 * layers), min(9.0, 1.4 + 0.24 * heads)), layout="constrained"
    )
    axes = figure.subplots()
    colors = ListedColormap(["white", *CLASS_COLORS.values()])
    axes.pcolormesh(
        np.arange(layers + 1) - 0.5, np.arange(heads + 1) - 0.5, np.clip(classes.T, 0, None),
        cmap=colors, norm=BoundaryNorm(np.arange(-0.5, 6), 6), edgecolors="white", linewidth=1.5,
    )  # fmt: skip
    for kind, (mark, ink) in CLASS_MARKS.items():
        axes.scatter(*np.nonzero(classes == int(kind)), marker=mark, color=ink, s=9, linewidths=0.8)
    axes.set(xlabel="layer", ylabel="head")
    _whole_ticks(axes)
    axes.spines[:].set_visible(False)
    counts = found.counts
    handles: Any = [
        (Patch(color=CLASS_COLORS[kind]), Line2D([], [], linestyle="", marker=mark, color=ink))
        for kind, (mark, ink) in CLASS_MARKS.items()
    ]
    labels = [f"{kind.title}: {counts[kind.title]}" for kind in CLASS_MARKS]
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=9)
    return figure


def draw_sizes(found: Inspection) -> Figure:
    """Draws how many keys hold 90 % of the mass, layer by layer: a point is a head's median.

    Args:
        found: What :func:`~isinglass.integrations.inspect` gave.
    """
    table: Any = found.table
    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
    axes = figure.subplots()
    spread = table.groupby("layer").cumcount() / table.groupby("layer")["head"].transform("size")
    places = table["layer"] + 0.6 * (spread - 0.5)
    for kind, (mark, _) in CLASS_MARKS.items():
        of_kind = table["class"] == kind.title
        style = {} if mark == "_" else {"edgecolors": SOFT, "linewidths": 0.4}
        color = SOFT if mark == "_" else CLASS_COLORS[kind]
        axes.scatter(
            places[of_kind], table["k90"][of_kind], s=18, color=color, marker=mark, **style
        )
    middle = table.groupby("layer")["k90"].median()
    axes.step(middle.index, middle.to_numpy(), where="mid", color=SOFT, linewidth=1, zorder=0)
    seen = float(table["keys"].mean())
    axes.axhline(seen, color=SOFT, linestyle=":", linewidth=1)
    axes.annotate(f"seen on average: {seen:.0f}", (0.995, seen), ha="right", va="bottom",
                  xycoords=("axes fraction", "data"), color=SOFT, fontsize=8)  # fmt: skip
    axes.set(xlabel="layer", ylabel="keys that hold 90 %", yscale="log")
    axes.set_ylim(0.8, 2 * seen)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def draw_energy_paths(view: QueryView, classes: np.ndarray | None = None) -> Figure:
    """Draws the energy of every head on the path that the iterated step takes from one query.

    Args:
        view: What :meth:`~isinglass.integrations.Inspection.look` gave.
        classes: Classes of the heads, ``(layers, heads)``, for colors; None is one color.
    """
    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
    axes = figure.subplots()
    last = 1
    for layer, energies in enumerate(view.energies):
        falls = (energies - energies[:, -1:]).numpy()
        whole = np.maximum(falls[:, :1], 1e-9)
        for head, path in enumerate(falls / whole):
            moving = np.flatnonzero(path > 1e-3)
            last = max(last, int(moving[-1]) + 1 if len(moving) else 1)
            kind = None if classes is None else int(classes[layer, head])
            color = BLUE if kind is None or kind < 1 else CLASS_COLORS[HeadClass(kind)]
            axes.plot(path, color=color, linewidth=0.8, alpha=0.6)
    axes.set(xlabel="steps", ylabel="energy above rest,\nshare of the first", xlim=(0, last + 1))
    axes.axvline(1, color=SOFT, linestyle=":", linewidth=1)
    axes.annotate("the head stops here", (1.05, 0.97), xycoords=("data", "axes fraction"),
                  va="top", color=SOFT, fontsize=8)  # fmt: skip
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def draw_attention(
    view: QueryView, heads: Sequence[tuple[int, int]], tokens: Sequence[str] | None = None
) -> Figure:
    """Draws the attention of one query in some heads, a line each.

    Args:
        view: What :meth:`~isinglass.integrations.Inspection.look` gave.
        heads: Which heads, as pairs of layer and head.
        tokens: The tokens as text, for the names of the most attended keys.
    """
    figure = Figure(figsize=(7.2, 0.5 + 1.1 * len(heads)), layout="constrained")
    panels = figure.subplots(len(heads), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (layer, head) in zip(panels, heads, strict=True):
        weights = view.attention[layer][head].float().numpy()
        axes.bar(np.arange(len(weights)), weights, width=1.0, color=BLUE)
        axes.set_title(f"layer {layer}, head {head}", fontsize=9, loc="left", color=SOFT)
        axes.set_ylim(0, 1.25 * max(weights.max(), 1e-6))
        axes.margins(x=0.01)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
        if tokens is not None:
            _name_keys(axes, weights, tokens)
    panels[-1].set_xlabel("key")
    return figure


def _name_keys(axes: Axes, weights: np.ndarray, tokens: Sequence[str], most: int = 3) -> None:
    """Writes the tokens of the largest weights above their bars, apart from each other."""
    named: list[int] = []
    for at in np.argsort(-weights)[:12]:
        at = int(at)
        if len(named) == most or at >= len(tokens):
            break
        if all(abs(at - other) > 0.06 * len(weights) for other in named):
            named.append(at)
            text = tokens[at].strip().replace("$", r"\$") or "␣"
            axes.annotate(text, (float(at), float(weights[at])), ha="center", va="bottom",
                          fontsize=7, annotation_clip=False)  # fmt: skip


def _whole_ticks(axes: Axes) -> None:
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
