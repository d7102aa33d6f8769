"""Softmax, entmax, sparsemax and subsets: their weights, and their landscapes."""

from __future__ import annotations

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure

import isinglass as ig
from benchmarks.pictures.modern import EDGE, circle, clusters, grid, landscape
from isinglass._support.palette import BLUE
from isinglass.analysis.metastability import metastable_size

BETA = 12.0
CUE = torch.tensor([0.25, 0.95]).double()


def draw() -> dict[str, Figure]:
    """Four memories of the same patterns and β; keys that are read out as colors."""
    memories = {
        "softmax": ig.ModernHopfield(clusters(), BETA),
        "1.5-entmax": ig.SparseHopfield(clusters(), BETA, 1.5),
        "sparsemax": ig.SparseHopfield(clusters(), BETA, 2.0),
        "subsets of 3": ig.SubsetHopfield(clusters(), BETA, 3),
    }
    figure, panels = plt.subplots(2, 4, figsize=(8, 3.9), height_ratios=[1, 1.9])
    for (above, below), (name, memory) in zip(panels.T, memories.items(), strict=True):
        weights = memory.association(CUE)
        above.bar(range(1, 10), weights, color=[BLUE if w > 0 else "none" for w in weights])
        support, size = int((weights > 0).sum()), int(metastable_size(weights))
        above.set(title=name, ylim=(0, 1), xticks=range(1, 10))
        above.set_xlabel(f"{support} of 9 with weight, k = {size}")
        above.tick_params(labelsize=7)
        if above is not panels[0, 0]:
            above.set_yticklabels([])
        landscape(below, memory, cues=12)
        below.plot(*CUE, marker="x", color="white", markersize=5)
    panels[0, 0].set_ylabel("association weight")
    return {"sparse-hopfield": figure, "hetero-association": _colors()}


def _colors() -> Figure:
    """Six keys in the plane, each with a color for its value; every point of it is a cue."""
    keys = circle(torch.arange(6) * 60 + 30)
    values = torch.from_numpy(plt.get_cmap("hsv")(torch.arange(6) / 6)[:, :3])
    memory = ig.HeteroMemory(ig.ModernHopfield(keys, beta=10.0), values)
    shown = {"one look-up": memory.read(grid()), "after recall": memory.recall(grid()).values}
    figure, panels = plt.subplots(1, 2, figsize=(5.2, 2.7))
    for axes, (title, colors) in zip(panels, shown.items(), strict=True):
        axes.imshow(colors.clamp(0, 1), extent=(-EDGE, EDGE, -EDGE, EDGE), origin="lower")
        axes.scatter(*keys.T, s=28, c=values.numpy(), edgecolors="black", linewidths=0.8)
        axes.set(title=title, xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    return figure
