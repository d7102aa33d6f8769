"""Learning curves: what each objective makes of the same machine and data."""

from __future__ import annotations

from functools import partial
from itertools import product

import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

import isinglass as ig
from isinglass._support.palette import SERIES
from isinglass.learning import (
    ContrastiveDivergence,
    ExactGradient,
    Likelihood,
    PersistentCD,
    PseudoLikelihood,
    TemperedPCD,
    fit,
)

OBJECTIVES = {
    "exact gradient": ExactGradient(),
    "PCD-5": PersistentCD(5),
    "PCD, exchange": TemperedPCD(6, chains=50),
    "pseudo-likelihood": PseudoLikelihood(),
    "CD-5": ContrastiveDivergence(5),
    "CD-1": ContrastiveDivergence(1),
}


def draw() -> dict[str, Figure]:
    """Bars and stripes, 3 × 3, 16 hidden bits."""
    rows = torch.tensor(list(product([0.0, 1.0], repeat=3)))
    data = torch.cat([rows.repeat(1, 3), rows.repeat_interleave(3, 1)])
    figure, axes = plt.subplots(figsize=(5.6, 3.0))
    for number, (name, objective) in enumerate(OBJECTIVES.items()):
        generator = torch.Generator().manual_seed(0)
        rbm = ig.RBM(ig.Bernoulli(9), ig.Bernoulli(16), scale=0.1, generator=generator)
        report = fit(
            rbm, data.repeat(10, 1), objective, epochs=1500, batch_size=160,
            optimizer=partial(torch.optim.SGD, lr=0.3), score=Likelihood("exact", every=50),
            progress=False, generator=generator,
        )  # fmt: skip
        epochs = [row["epoch"] for row in report.history if "log-likelihood" in row]
        color, marker, line = SERIES[number]
        style = {"color": color, "marker": marker, "linestyle": line, "markersize": 4}
        axes.plot(epochs, report["log-likelihood"], label=name, **style)
    bound = -(12 * torch.tensor(16.0).log() + 4 * torch.tensor(8.0).log()) / 16
    axes.axhline(float(bound), color="0.5", linewidth=1, linestyle="--")
    axes.set(xlabel="epoch", ylabel="log-likelihood, nats an image")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return {"learning": figure}
