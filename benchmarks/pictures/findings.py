"""Trained heads beside random ones, heated models, and energy blocks as language models.

Drawn from what ``benchmarks.evidence`` keeps in evidence/; what is not there is left out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

FOLDER = Path(__file__).parents[2] / "evidence"
#: Okabe and Ito's colors, and a shape for each, so that color is not needed.
MODELS = {
    "SmolLM2-135M": ("#0072B2", "o"),
    "all-MiniLM-L6-v2": ("#D55E00", "s"),
    "stories260K": ("#009E73", "^"),
}
KINDS = {
    "softmax": ("#000000", "-"),
    "m = 16": ("#0072B2", "--"),
    "m = 1": ("#56B4E9", ":"),
    "tied attention": ("#E69F00", "--"),
    "tied memory": ("#CC79A7", "-."),
    "energy": ("#D55E00", "-"),
}


def draw() -> dict[str, Figure]:
    """All pictures of this topic."""
    figures = {
        "findings-breadth": breadth(_kept("findings.json")),
        "findings-layers": layers(_kept("findings.json")),
        "heat-error": error(_kept("heat.json")),
        "heat-curves": curves(_kept("energy_transformer-100.json")),
    }
    return {name: figure for name, figure in figures.items() if figure is not None}


def _kept(name: str) -> dict[str, Any]:
    path = FOLDER / name
    return json.loads(path.read_text()) if path.is_file() else {}


def _axes(xlabel: str, ylabel: str) -> tuple[Figure, Any]:
    figure = Figure((4.4, 3.0), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=xlabel, ylabel=ylabel)
    return figure, axes


def breadth(found: dict[str, Any]) -> Figure | None:
    """Median number of keys that hold 90 % of the mass, by depth, trained and random."""
    if not found:
        return None
    figure, axes = _axes("depth of the layer, 0 first, 1 last", "keys that hold 90 %, median")
    for model, (color, shape) in MODELS.items():
        for weights, style in (("trained", "-"), ("random 0", ":")):
            line = found.get(f"heads/{model}/{weights}/WikiText-2")
            if line is None:
                continue
            sizes = line["k90_by_layer"]
            places = [at / (len(sizes) - 1) for at in range(len(sizes))]
            label = model if weights == "trained" else None
            axes.semilogy(places, sizes, style, color=color, marker=shape, ms=3, label=label)
    axes.plot([], [], "k:", label="random weights")
    axes.set_ylim(1, 1500)
    axes.legend(frameon=False, ncols=2, fontsize=8, loc="upper center")
    return figure


def layers(found: dict[str, Any]) -> Figure | None:
    """Next tokens that stay the same when a layer's states were corrupted or cleaned up."""
    lines = {
        int(key.split("/")[2]): line for key, line in found.items()
        if key.startswith("layers/stories260K/")
    }  # fmt: skip
    if not lines:
        return None
    figure, axes = _axes("layer whose states are changed", "next tokens that stay, %")
    ways = {
        "noise 1.0, own memory": ("noise, cleaned by the text's states", "#0072B2", "o-"),
        "nearest of another text": ("nearest states of another text", "#E69F00", "s-"),
        "noise 1.0, another text's memory": ("noise, cleaned by those", "#D55E00", "^-"),
        "noise 1.0": ("noise of one spread", "#CC79A7", "v--"),
        "logit lens": ("read out at once", "#000000", "x:"),
    }
    at = sorted(lines)
    for way, (label, color, style) in ways.items():
        shares = [100 * lines[layer][way]["agree"] for layer in at]
        axes.plot([layer + 1 for layer in at], shares, style, color=color, label=label)
    axes.set_ylim(0, 150)
    axes.set_yticks(range(0, 101, 25))
    axes.set_xticks([layer + 1 for layer in at])
    axes.legend(frameon=False, fontsize=8, loc="upper center", ncols=2)
    return figure


def error(found: dict[str, Any]) -> Figure | None:
    """Error of what a model gives against m, for all heads, layers and single heads."""
    lines = {k.split("/")[2]: v for k, v in found.items() if k.startswith("error/stories260K/")}
    if not lines:
        return None
    figure, axes = _axes("draws m", "error of the logits, in spreads")
    for which, line in lines.items():
        sizes, errors = [int(m) for m in line["error"]], list(line["error"].values())
        style = {"color": "#56B4E9", "lw": 0.5, "alpha": 0.6}
        label = "a head" if which == "layer 0.0" else None
        if which == "all":
            style, label = {"color": "#D55E00", "marker": "o", "lw": 2}, "all heads"
        elif "." not in which:
            style = {"color": "#000000", "lw": 1}
            label = "a layer" if which == "layer 0" else None
        axes.loglog(sizes, errors, label=label, **style)
    axes.loglog([1, 4096], [2, 2 / 64], "--", color="0.5", label="slope −½")
    axes.legend(frameon=False, fontsize=8)
    return figure


def curves(found: dict[str, Any]) -> Figure | None:
    """Loss while training, mean of the seeds."""
    if not found:
        return None
    figure, axes = _axes("training steps", "nats a character")
    for kind, (color, style) in KINDS.items():
        lines = [line["curve"] for key, line in found.items() if key.split("/")[0] == kind]
        if lines:
            mean = [sum(points) / len(points) for points in zip(*lines, strict=True)]
            steps = [10 * (at + 1) for at in range(len(mean))]
            axes.plot(steps, mean, style, color=color, label=kind)
    axes.set_ylim(top=3.4)
    axes.legend(frameon=False, fontsize=8, ncols=2)
    return figure
