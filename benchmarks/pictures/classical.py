"""The classical network recalls pictures of 50 × 50 units from noise."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure
from torch import Tensor

from isinglass import ClassicalHopfield, SingleSite
from isinglass.energies import PseudoInverse

__all__ = ["draw"]

SIDE = 50


def draw() -> dict[str, Figure]:
    """Each figure by the name of its file."""
    return {"classical-recall": _recall()}


def _shapes() -> Tensor:
    """A ring, a cross, a spiral and stripes, as ±1."""
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, SIDE)] * 2, indexing="ij")
    radius, angle = (x * x + y * y).sqrt(), torch.atan2(y, x)
    inked = [
        (radius - 0.65).abs() < 0.2,
        ((x.abs() < 0.22) | (y.abs() < 0.22)) & (x.abs().maximum(y.abs()) < 0.85),
        ((angle / torch.pi - 3 * radius) % 2 < 0.9) & (radius < 0.95),
        ((x + y) * 4) % 2 < 1,
    ]
    return torch.where(torch.stack(inked).flatten(1), 1.0, -1.0)


def _recall() -> Figure:
    """Stored, cue, half-way, recalled."""
    patterns = _shapes()
    memory = ClassicalHopfield(patterns, PseudoInverse())
    generator = torch.Generator().manual_seed(0)
    cues = torch.where(torch.rand(patterns.shape, generator=generator) < 0.35, -patterns, patterns)
    kernel = SingleSite(torch.Generator().manual_seed(1))
    found = memory.recall(cues, kernel=kernel)
    kernel = SingleSite(torch.Generator().manual_seed(1))
    half = memory.recall(cues, kernel=kernel, max_steps=int(found.steps.max()) // 2)
    columns = {
        "stored": patterns,
        "cue: 35 % flipped": cues,
        "half of the flips": half.state,
        "recalled": found.state,
    }
    figure = Figure(figsize=(5.4, 5.6))
    for row, panels in enumerate(figure.subplots(4, 4)):
        for axes, (title, states) in zip(panels, columns.items(), strict=True):
            image = states[row].reshape(SIDE, SIDE)
            axes.imshow(image, cmap="gray_r", interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(True)
            if row == 0:
                axes.set_title(title, fontsize=9)
    return figure
