"""Tables with holes: HopfieldBoltzmannMachine beside scikit-learn's imputers and mixtures.

Root mean square error on hidden cells of test rows, in standard deviations of a column, with 10 %
and 30 % of all cells hidden at random in training and test rows alike; and log-likelihood of
whole test rows, in nats a row, beside ``GaussianMixture`` of diagonal covariances. Settings of
every method are chosen on training rows alone: imputers by hiding a further tenth of the training
cells that are there, densities on a quarter of the training rows. Three quarters of the rows
train, a new split for each seed. For the log-likelihood, columns of fewer than ten different
numbers are left out, as a density of theirs has no limit. Rows already in the JSON file are not
computed again.
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split

from benchmarks.evidence.cache import Cache
from isinglass.integrations.sklearn import HopfieldBoltzmannMachine

SETS = (
    "breast-cancer-wisc-diag", "ecoli", "glass", "ionosphere", "iris", "parkinsons", "seeds",
    "statlog-vehicle", "vertebral-column-3clases", "wine",
)  # fmt: skip
RATES = (0.1, 0.3)
FEWEST = 10
Build = Callable[..., Any]


def _own(memories: int, pseudo_count: float, seed: int) -> HopfieldBoltzmannMachine:
    return HopfieldBoltzmannMachine(memories, pseudo_count=pseudo_count, random_state=seed)


MEMORIES = (2, 4, 8, 16, 32)
IMPUTERS: dict[str, tuple[Build, list[dict[str, Any]]]] = {
    "ours": (
        _own, [{"memories": n, "pseudo_count": p} for n in MEMORIES for p in (0.3, 1.0)]
    ),
    "mean": (lambda **_: SimpleImputer(), [{}]),
    "kNN": (
        lambda n_neighbors, weights, **_: KNNImputer(n_neighbors=n_neighbors, weights=weights),
        [
            {"n_neighbors": n, "weights": w}
            for n in (2, 5, 10, 20, 40)
            for w in ("uniform", "distance")
        ],
    ),
    "iterative": (
        lambda seed, **given: IterativeImputer(random_state=seed, **given),
        [{"max_iter": n} for n in (5, 20)],
    ),
    "iterative, as it comes": (lambda seed: IterativeImputer(random_state=seed), [{}]),
}  # fmt: skip
DENSITIES: dict[str, tuple[Build, list[dict[str, Any]]]] = {
    "ours": (
        _own, [{"memories": n, "pseudo_count": p} for n in (1, *MEMORIES) for p in (0.3, 1.0)]
    ),
    "mixture, diagonal": (
        lambda memories, reg_covar, seed: GaussianMixture(
            memories, covariance_type="diag", reg_covar=reg_covar, n_init=3, random_state=seed
        ),
        [{"memories": n, "reg_covar": r} for n in (1, *MEMORIES) for r in (1e-4, 1e-2, 1e-1)],
    ),
}  # fmt: skip


def main() -> None:
    """Parse the command line, compute what is missing, print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.evidence.imputation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    folder = os.environ.get("ISINGLASS_DATA")
    parser.add_argument("--data", type=Path, default=folder, help="folder with uci121/")
    parser.add_argument("--sets", nargs="+", default=list(SETS), help="names of data sets")
    parser.add_argument("--seeds", type=int, default=5, help="how many splits and masks")
    parser.add_argument("--out", type=Path, default=Path("evidence"), help="folder for the JSON")
    parser.add_argument("--quick", action="store_true", help="one set, one seed")
    given = parser.parse_args()
    if given.quick:
        given.sets, given.seeds = given.sets[:1], 1
    if given.data is None:
        parser.error("say where the data are: --data, or the variable ISINGLASS_DATA")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of rounds that IterativeImputer did not finish
    cache = Cache(given.out / "imputation.json")
    with (
        np.load(given.data / "uci121" / "uci_small75.npz", allow_pickle=False) as file,
        Progress() as progress,
    ):
        task = progress.add_task("", total=len(given.sets) * given.seeds)
        for name in given.sets:
            for seed in range(given.seeds):
                progress.update(task, description=f"{name}, seed {seed}")
                rows = file[f"{name}/X"].astype(np.float64)
                cache.get(f"{name} {seed}", partial(_measure, rows, seed))
                progress.advance(task)
    Console().print(_table(cache.found, given))
    print(f"written to {cache.path}")


def _measure(rows: np.ndarray, seed: int) -> dict[str, float]:
    return _errors(rows, seed) | _likelihoods(rows, seed)


def _errors(rows: np.ndarray, seed: int) -> dict[str, float]:
    """RMSE on hidden test cells of each imputer, at each rate."""
    found = {}
    rng = np.random.default_rng(seed)
    for rate in RATES:
        train, test = train_test_split(rows, test_size=0.25, random_state=seed)
        spread = train.std(0)
        train, test = (part[:, spread > 0] / spread[spread > 0] for part in (train, test))
        torn, torn_test = _torn(train, rate, rng), _torn(test, rate, rng)
        twice = np.where(rng.random(torn.shape) < 0.1, np.nan, torn)
        for name, (build, grid) in IMPUTERS.items():
            best = min(grid, key=lambda s, b=build: _rmse(b(seed=seed, **s), twice, twice, torn))
            found[f"{name}, {rate:.0%}"] = _rmse(build(seed=seed, **best), torn, torn_test, test)
    return found


def _torn(rows: np.ndarray, rate: float, rng: np.random.Generator) -> np.ndarray:
    return np.where(rng.random(rows.shape) < rate, np.nan, rows)


def _rmse(imputer: Any, train: np.ndarray, torn: np.ndarray, whole: np.ndarray) -> float:
    """Root mean square error where ``torn`` is unknown and ``whole`` is known."""
    imputer.fit(train)
    filled = imputer.impute(torn) if hasattr(imputer, "impute") else imputer.transform(torn)
    hidden = np.isnan(torn) & ~np.isnan(whole)
    return float(np.sqrt(np.mean((filled[hidden] - whole[hidden]) ** 2)))


def _likelihoods(rows: np.ndarray, seed: int) -> dict[str, float]:
    """Mean log-likelihood of whole test rows."""
    rows = rows[:, [len(np.unique(column)) >= FEWEST for column in rows.T]]
    train, test = train_test_split(rows, test_size=0.25, random_state=seed)
    mean, spread = train.mean(0), train.std(0)
    train, test = (train - mean) / spread, (test - mean) / spread
    fit, held = train_test_split(train, test_size=0.25, random_state=seed)
    found = {}
    for name, (build, grid) in DENSITIES.items():
        best = max(grid, key=lambda s, b=build: b(seed=seed, **s).fit(fit).score(held))
        found[f"{name}, nats"] = float(build(seed=seed, **best).fit(train).score(test))
    return found


def _table(found: dict[str, Any], given: argparse.Namespace) -> Table:
    table = Table(title=f"Mean over {given.seeds} seeds: error of hidden cells, and nats a row")
    columns = [f"{name}, {rate:.0%}" for rate in RATES for name in IMPUTERS]
    columns += [f"{name}, nats" for name in DENSITIES]
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    means = []
    for name in given.sets:
        runs = [found[f"{name} {seed}"] for seed in range(given.seeds)]
        means.append([float(np.mean([run[column] for run in runs])) for column in columns])
        table.add_row(name, *(f"{value:.3g}" for value in means[-1]))
    table.add_section()
    table.add_row("mean", *(f"{value:.3g}" for value in np.mean(means, 0)))
    return table


if __name__ == "__main__":
    main()
