"""Energy landscapes of the modern Hopfield network and what is recalled on them."""

from __future__ import annotations

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

import isinglass as ig
from isinglass._support.palette import BLACK, ORANGE, VERMILION
from isinglass.analysis.metastability import FixedPoint, classify, metastable_size
from isinglass.energies import ContinuousHopfield

#: Color and marker of each kind of fixed point.
KINDS = {
    FixedPoint.SINGLE: (VERMILION, "o"),
    FixedPoint.METASTABLE: (ORANGE, "s"),
    FixedPoint.GLOBAL: (BLACK, "D"),
}
EDGE = 1.6


def clusters() -> Tensor:
    """Nine patterns on the circle, three in each of three corners."""
    corners = torch.tensor([90.0, 210.0, 330.0]).unsqueeze(-1)
    return circle((corners + torch.tensor([-26.0, 0.0, 26.0])).flatten())


def circle(degrees: Tensor) -> Tensor:
    """Points of the unit circle at these angles."""
    angles = degrees.double().deg2rad()
    return torch.stack([angles.cos(), angles.sin()], -1)


def grid(points: int = 241) -> Tensor:
    """The plane, ``(points, points, 2)``."""
    line = torch.linspace(-EDGE, EDGE, points).double()
    return torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)


def landscape(axes: Axes, memory: ContinuousHopfield, cues: int = 18) -> None:
    """E as a map, the patterns, and the path of every cue to where it rests."""
    path = [1.5 * circle(torch.arange(cues) * 360 / cues + 8)]
    for _ in range(7):
        path.append(memory.cccp_update(path[-1]))
    found = memory.recall(path[0], max_steps=1000)
    energy, weights = memory(grid()), memory.association(found.state)
    axes.imshow(
        energy,
        cmap=plt.get_cmap("viridis", 12),
        vmax=float(energy.quantile(0.8)),
        extent=(-EDGE, EDGE, -EDGE, EDGE),
        origin="lower",
        interpolation="nearest",  # twelve colors pack well
    )
    steps = torch.stack([*path, found.state]).unbind(-1)
    axes.plot(*steps, color="white", linewidth=0.7, marker=".", markersize=2, markevery=slice(3))
    axes.scatter(*memory.patterns.T, s=16, facecolors="none", edgecolors="white", linewidths=0.9)
    kinds = classify(weights)
    for kind, (color, marker) in KINDS.items():
        ended = found.state[kinds == int(kind)]
        axes.scatter(*ended.T, s=26, color=color, marker=marker, zorder=3)
    axes.set(xticks=[], yticks=[], xlim=(-EDGE, EDGE), ylim=(-EDGE, EDGE))
    axes.spines[:].set_visible(False)
    sizes = sorted(set(metastable_size(weights).tolist()))
    axes.set_xlabel("recalled: k = " + " or ".join(map(str, sizes)), fontsize=8)


def draw() -> dict[str, Figure]:
    """Small, middle and large β, side by side."""
    figure, panels = plt.subplots(1, 3, figsize=(7.5, 2.9))
    told = {0.6: "one global average", 7.0: "metastable states", 120.0: "single patterns"}
    for axes, (beta, title) in zip(panels, told.items(), strict=True):
        landscape(axes, ig.ModernHopfield(clusters(), beta))
        axes.set_title(f"β = {beta:g}: {title}", fontsize=9)
    return {"modern-hopfield": figure}
