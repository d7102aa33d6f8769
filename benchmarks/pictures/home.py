"""The first picture of README and home page: a digit from its upper half, in two themes."""

from __future__ import annotations

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

import isinglass as ig
from isinglass.data.digits import SIDE, load_digits

STORED = 100  # digits of the training set, in the order of the set
DIGIT = 8  # which of them is recalled
SHOWN = 5  # states along the way
THEMES = {"light": ("#1f2328", "#0072b2", "gray_r"), "dark": ("#e6edf3", "#56b4e9", "gray")}


def path_of_recall() -> tuple[torch.Tensor, torch.Tensor]:
    """States from cue to fixed point, ``(steps, 64)``, and the energy of each."""
    train, *_ = load_digits()
    patterns = train.images[:STORED] / 8 - 1  # paper −1, ink +1
    memory = ig.ModernHopfield(patterns, beta=1.0)
    cue = patterns[DIGIT].clone().unsqueeze(0)
    cue[:, SIDE * SIDE // 2 :] = 0.0  # the lower half is forgotten
    states = [cue]
    for _ in range(SHOWN - 1):
        states.append(memory.cccp_update(states[-1]))
    found = memory.recall(cue)
    states[-1] = found.state
    path = torch.cat(states)
    return path, memory(path)


def draw() -> dict[str, Figure]:
    """One figure a theme, on a transparent ground."""
    path, energies = path_of_recall()
    edge = float(path.abs().max())
    figures = {}
    for theme, (ink, accent, gray) in THEMES.items():
        figure = plt.figure(figsize=(5.4, 3.0), facecolor="none")
        grid = GridSpec(2, SHOWN, figure=figure, height_ratios=(1.5, 1))
        for place, state in enumerate(path):
            panel = figure.add_subplot(grid[0, place])
            image = state.reshape(SIDE, SIDE)
            panel.imshow(image, cmap=gray, vmin=-edge, vmax=edge, interpolation="nearest")
            panel.set(xticks=[], yticks=[])
            panel.spines[:].set_color(ink)
            title = {0: "cue", SHOWN - 1: "fixed point"}.get(place, f"step {place}")
            panel.set_title(title, color=ink)
        curve = figure.add_subplot(grid[1, :], facecolor="none")
        curve.plot(energies.tolist(), marker="o", color=accent, linewidth=2)
        curve.set_xticks(range(SHOWN), ["cue", *map(str, range(1, SHOWN - 1)), "end"])
        curve.set_xlim(-0.5, SHOWN - 0.5)
        curve.set_ylabel("energy E(v)", color=ink)
        curve.tick_params(colors=ink)
        for side in ("left", "bottom"):
            curve.spines[side].set_color(ink)
        figures[f"home-{theme}"] = figure
    return figures
