"""Pictures of the guide to tables: how learning went, samples, and what is filled in."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits, load_iris

from isinglass._support.palette import BLUE, GRAY, VERMILION
from isinglass.integrations.sklearn import HopfieldBoltzmannMachine


def draw() -> dict[str, Figure]:
    """All figures, by file name."""
    return {"tables-learning": learning(), "tables-digits": digits(), "tables-iris": iris()}


def learning() -> Figure:
    """EM on the fit, and the number of memories chosen on rows held out."""
    model = HopfieldBoltzmannMachine(covariance="spherical", random_state=0).fit(load_iris().data)
    figure = plt.figure(figsize=(7.4, 2.6))
    left, right = figure.subplots(1, 2)
    left.plot(model.log_likelihood_curve_, color=BLUE)
    left.set(xlabel="EM step", ylabel="nats a row", title=f"{model.n_memories_} memories, iris")
    scores = model.validation_scores_ or {}
    right.semilogx(list(scores), list(scores.values()), "o-", color=BLUE, markersize=4)
    right.axvline(model.n_memories_, color=VERMILION, linestyle="--", linewidth=1)
    right.set_xticks(list(scores), [str(count) for count in scores])
    right.minorticks_off()
    right.set(xlabel="memories", title="rows held out")
    return figure


def digits() -> Figure:
    """Digits of five gray levels, as categories: drawn afresh, and completed from upper halves."""
    levels = np.digitize(load_digits().data, (3, 7, 11, 15)).astype(float)
    kinds = {number: "categorical" for number in range(64) if len(set(levels[:, number])) > 1}
    model = HopfieldBoltzmannMachine(150, columns=kinds, pseudo_count=0.1, random_state=0)
    train, test = levels[:1700], levels[1700:1708].copy()
    model.handle_unknown = "missing"
    fresh = model.fit(train).sample(24)
    torn = test.copy()
    torn[:, 32:] = np.nan
    rows = [torn, model.impute(torn), model.impute(torn, "draw"), test]
    figure = plt.figure(figsize=(7.4, 2.6))
    left, right = figure.subfigures(1, 2, width_ratios=[1.5, 1])
    _sheet(left, fresh, (3, 8), "24 fresh digits")
    stacked = np.concatenate([group[:6] for group in rows])
    _sheet(right, stacked, (4, 6), "seen, mean, a draw, truth")
    return figure


def _sheet(figure: Figure, images: np.ndarray, shape: tuple[int, int], title: str) -> None:
    figure.suptitle(title, fontsize=9)
    palette = plt.get_cmap("gray_r").copy()
    palette.set_bad("#f3d9c4")
    for axes, image in zip(figure.subplots(*shape).flat, images, strict=True):
        axes.imshow(image.reshape(8, 8).astype(float), cmap=palette, vmin=0, vmax=4)
        axes.set_axis_off()


def iris() -> Figure:
    """The density of two columns, and what petal widths it fills in for given lengths."""
    rows = load_iris().data[:, 2:]
    model = HopfieldBoltzmannMachine(covariance="spherical", random_state=0).fit(rows)
    x, y = np.linspace(0, 8, 120), np.linspace(-0.5, 3.2, 120)
    grid = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    density = model.score_samples(grid).reshape(120, 120)
    figure = plt.figure(figsize=(7.4, 2.6))
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    left.contour(
        x, y, density, levels=np.arange(-8, 1.0), colors=BLUE, linewidths=0.8, linestyles="solid"
    )
    left.plot(*rows.T, ".", color=GRAY, markersize=3, rasterized=True)
    left.set(xlabel="petal length", ylabel="petal width", title="log-density, and the data")
    torn = np.stack([x, np.full(120, np.nan)], -1)
    draws = np.concatenate([model.impute(torn, "draw", random_state=seed) for seed in range(8)])
    right.plot(*draws.T, ".", color=GRAY, markersize=2, label="draws", rasterized=True)
    right.plot(x, model.impute(torn)[:, 1], color=BLUE, label="mean")
    right.set(xlabel="petal length", title="width given length")
    right.legend(frameon=False)
    return figure
