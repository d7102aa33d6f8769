"""Dense memories: how many patterns each interaction holds, and what a classifier learns."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

import isinglass as ig
from benchmarks.evidence.dense_classifier import described
from isinglass._support.palette import SERIES
from isinglass.energies import Exponential, Interaction, Power
from isinglass.integrations.sklearn import DenseMemoryClassifier

SPINS = 24
INTERACTIONS: dict[str, Interaction] = {
    "$z^2$": Power(2, rectified=False),
    "$z^3$, rectified": Power(3),
    "$z^4$": Power(4, rectified=False),
    "$z^6$": Power(6, rectified=False),
    "exp z": Exponential(),
}


def draw() -> dict[str, Figure]:
    """Retrieval beside load; memories beside degree."""
    return {"dense-retrieval": retrieval(), "dense-memories": memories()}


def retrieval() -> Figure:
    """Share of patterns that one update of all spins brings back from two wrong spins."""
    figure, axes = plt.subplots(figsize=(5.2, 3.0))
    generator = torch.Generator().manual_seed(0)
    counts = [2 ** (power / 2) for power in range(2, 27)]
    styles = zip(INTERACTIONS.items(), SERIES, strict=False)
    for (name, interaction), (color, marker, line) in styles:
        shares = []
        for count in counts:
            patterns = torch.randn(round(count), SPINS, generator=generator).sign()
            cues, chosen = patterns[:200].clone(), torch.arange(min(200, len(patterns)))
            for _ in range(2):
                cues[chosen, torch.randint(SPINS, chosen.shape, generator=generator)] *= -1
            memory = ig.DenseMemory(patterns, interaction=interaction)
            found = memory.recall(cues, kernel=ig.Synchronous(), max_steps=1).state
            shares.append(float((found == patterns[:200]).all(-1).double().mean()))
        style = {"color": color, "marker": marker, "linestyle": line, "markersize": 4}
        axes.semilogx(counts, shares, label=name, **style)
    axes.set_xlabel(f"random patterns of {SPINS} spins")
    axes.set_ylabel("retrieved in one step")
    axes.legend(frameon=False, title="F(z)", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def memories() -> Figure:
    """The memories that pull most, by degree, and the labels they vote for and against."""
    images, digits = load_digits(return_X_y=True)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0)).numpy()
    images, digits = images[order].astype("float32"), digits[order]
    degrees, shown = (2, 5, 30), 8
    figure, grid = plt.subplots(len(degrees), shown, figsize=(6.4, 2.9))
    for row, degree in zip(grid, degrees, strict=True):
        model = DenseMemoryClassifier(
            40, degree=degree, max_iter=100, batch_size=50, random_state=0
        )
        model.fit(images[:1300], digits[:1300])
        error = 1 - model.score(images[1300:], digits[1300:])
        with torch.no_grad():
            kept = model.energy_.memories
            overlap = model.inputs(images[:1300]) @ kept[:, :64].mT
            pull = model.energy_.interaction.slope(overlap).mean(0) * kept[:, 64:].abs().sum(-1)
        for axes, number in zip(row, pull.argsort(descending=True), strict=False):
            pixels, labels = kept[number].detach().split([64, 10])
            bound = float(pixels.abs().max())
            smooth = torch.nn.functional.interpolate(
                pixels.reshape(1, 1, 8, 8), size=(24, 24), mode="bicubic"
            )
            axes.imshow(smooth[0, 0], "RdBu_r", vmin=-bound, vmax=bound, interpolation="none")
            for_, against = int(labels.argmax()), int(labels.argmin())
            axes.set_title(f"+{for_} −{against}", fontsize=7, pad=2)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        found = described(model, np.asarray(images[:1300]), np.asarray(images[1300:]))
        resting = found["memories an answer rests on"]
        label = f"n = {degree}\n{error:.1%} wrong\n{resting:.1f} decide"
        row[0].set_ylabel(label, rotation=0, ha="right", va="center")
    return figure
