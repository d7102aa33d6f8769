"""What an 8-bit index leaves out, and what it says that it leaves out."""

from __future__ import annotations

import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from torch.nn import functional as F

from isinglass._support.palette import BLUE, GRAY, VERMILION
from isinglass.retrieval import Int8Index

__all__ = ["draw"]

PATTERNS, SIZE, CUES, BETA = 100_000, 128, 40, 40.0


def draw() -> dict[str, Figure]:
    """The share of the mass left out, exact and certified, for cues ever further from a pattern."""
    generator = torch.Generator().manual_seed(0)
    patterns = F.normalize(
        torch.randn(PATTERNS, SIZE, generator=generator, dtype=torch.float64), dim=-1
    )
    index = Int8Index(patterns)
    figure, axes = plt.subplots(figsize=(5.2, 3.2))
    for noise in torch.linspace(0, 1.6, 17).tolist():
        blur = noise / SIZE**0.5 * torch.randn(CUES, SIZE, generator=generator, dtype=torch.float64)
        cues = F.normalize(patterns[:CUES] + blur, dim=-1)
        whole = torch.logsumexp(BETA * cues @ patterns.mT, -1)
        found = index.lookup(cues, BETA, tolerance=1.0)
        left_out = -torch.expm1(BETA * found.log_partition - whole)
        nearness = (cues * patterns[:CUES]).sum(-1)
        style = {"s": 6, "linewidths": 0, "rasterized": True}
        bound = axes.scatter(
            nearness, found.omitted_mass_bound, color=VERMILION, marker="^", **style
        )
        exact = axes.scatter(nearness, left_out, color=BLUE, **style)
    axes.axhline(1e-4, color=GRAY, lw=0.8, ls="--")
    axes.text(0.02, 1.3e-4, "above: the whole sum", color=GRAY, ha="left",
              transform=axes.get_yaxis_transform())  # fmt: skip
    axes.set(yscale="log", xlabel="similarity of cue and pattern", ylabel="softmax mass left out")
    axes.legend([bound, exact], ["certified", "exact"], markerscale=3, frameon=False,
                loc="lower left")  # fmt: skip
    return {"screening": figure}
