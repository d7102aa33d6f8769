"""Two-dimensional densities by a small network: energy discrepancy beside CD and score matching.

A network of two layers of 64 units learns 2,000 points by 600 steps of the same optimizer; counted
is the log-likelihood of 2,000 others in nats, log Z summed over a grid of the square of side 10
that holds the data many times over. Beside: a kernel density estimate, its width chosen by
cross-validation, and one Gaussian. Settings were fixed beforehand: noise 0.5, as the data have
variance one; the others as they come. Every run is stored at once.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from sklearn.datasets import make_circles, make_moons
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from torch import nn

import isinglass as ig
from benchmarks.evidence.grid import Grid, of
from isinglass.learning import (
    ContrastiveDivergence,
    DenoisingScoreMatching,
    EnergyDiscrepancy,
    Objective,
    PersistentCD,
    fit,
)

SETS = ("eight Gaussians", "two moons", "circles", "chessboard")
OBJECTIVES: dict[str, Objective] = {
    "energy discrepancy": EnergyDiscrepancy(0.5, 16),
    "denoising score matching": DenoisingScoreMatching(0.2),
    "contrastive divergence": ContrastiveDivergence(5),
    "persistent CD": PersistentCD(steps=5, chains=200),
}
METHODS = (*OBJECTIVES, "kernel density", "one Gaussian")
POINTS, BATCH = 2000, 200
HALF, CELLS = 5.0, 400


def draw(name: str, count: int, seed: int) -> np.ndarray:
    """Draws points of mean zero and variance one, in expectation but for a hair."""
    rng = np.random.default_rng(seed)
    if name == "eight Gaussians":
        angle = rng.integers(8, size=count) * math.pi / 4
        points = np.stack([np.cos(angle), np.sin(angle)], 1) * 4 + rng.normal(size=(count, 2)) / 2
        return points / 2.87
    if name == "two moons":
        points = np.asarray(make_moons(count, noise=0.1, random_state=seed)[0])
        return (points - np.array([0.5, 0.25])) / np.array([0.875, 0.505])
    if name == "circles":
        return np.asarray(make_circles(count, noise=0.05, factor=0.5, random_state=seed)[0]) / 0.56
    column = rng.integers(4, size=count)
    row = 2 * rng.integers(2, size=count) + column % 2
    points = np.stack([column, row], 1) + rng.random((count, 2)) - 2
    return points / 1.155


def network(seed: int) -> ig.DeepEnergy:
    """Builds the energy."""
    torch.manual_seed(seed)
    layers = nn.Linear(2, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1)
    return ig.DeepEnergy(nn.Sequential(*layers), 2)


def likelihood(energy: ig.Energy, data: np.ndarray) -> float:
    """The mean log-likelihood of the points, in nats."""
    side = (torch.arange(CELLS) + 0.5) * (2 * HALF / CELLS) - HALF
    with torch.no_grad():
        every = -energy(torch.cartesian_prod(side, side))
        log_partition = every.logsumexp(0) + 2 * math.log(2 * HALF / CELLS)
        return float((-energy(torch.tensor(data).float())).mean() - log_partition)


def run(task: str, method: str, seed: int, steps: int) -> dict[str, Any]:
    """One density learned and scored."""
    train, test = draw(task, POINTS, 2 * seed), draw(task, POINTS, 2 * seed + 1)
    begin = time.process_time()
    if method == "kernel density":
        widths = {"bandwidth": np.geomspace(0.03, 0.5, 10)}
        search = GridSearchCV(KernelDensity(), widths, cv=3).fit(train)
        score = float(search.score(test)) / len(test)  # pyright: ignore[reportArgumentType]
    elif method == "one Gaussian":
        covariance = np.cov(train.T)
        away = test - train.mean(0)
        square = np.einsum("ni,ij,nj->n", away, np.linalg.inv(covariance), away).mean()
        score = -(square + np.linalg.slogdet(2 * math.pi * covariance)[1]) / 2
    else:
        energy = network(seed)
        fit(
            energy, torch.tensor(train).float(), OBJECTIVES[method],
            epochs=steps * BATCH // POINTS, batch_size=BATCH, progress=False,
            optimizer=lambda parameters: torch.optim.Adam(parameters, lr=3e-3),
            generator=torch.Generator().manual_seed(seed),
        )  # fmt: skip
        score = likelihood(energy, test)
    return {
        "task": task, "method": method, "seed": seed, "mean": float(score),
        "seconds": time.process_time() - begin,
    }  # fmt: skip


def as_table(records: list[dict[str, Any]]) -> Table:
    """Builds the table: mean over seeds, and seconds."""
    table = Table("density", *METHODS, title="log-likelihood of test points, nats (seconds)")
    for task in dict.fromkeys(record["task"] for record in records):
        cells = []
        for method in METHODS:
            some = of(records, task, method)
            mean = np.mean([r["mean"] for r in some]) if some else math.nan
            seconds = np.mean([r["seconds"] for r in some]) if some else math.nan
            cells.append(f"{mean:.3f} ({seconds:.0f})")
        table.add_row(task, *cells)
    return table


GRID = Grid(
    "toy_densities", __doc__, dict.fromkeys(SETS, 600), METHODS, run, seeds=2, quick=50
)  # fmt: skip

if __name__ == "__main__":
    Console(width=150).print(as_table(GRID.measure()))
