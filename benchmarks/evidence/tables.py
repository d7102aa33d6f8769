"""Tables with gaps: the estimators with their defaults beside scikit-learn's and miceforest.

Three quarters of the rows of a table are fitted, a new split for each seed; columns are scaled by
them. Settings are those that everyone comes with; none is tuned. What is measured:

- imputation: 10 % or 30 % of all cells hidden, in the rows of the fit too; the error of hidden
  numbers of test rows in deviations of the column, and the share of hidden names that are right.
  A forest has 50 trees and 5 rounds, miceforest the mean of 5 imputations of 5 rounds.
- corrupted: the same at 10 %, with 5 % of the seen cells replaced by normal numbers of 10
  deviations; odd: with one cell of the fit and one of the test rows at 10⁶.
- density: the mean log-likelihood of whole test rows, numbers only, in nats a row; GaussianMixture
  with the number of components chosen on a quarter of the rows. "untied": without the columns of
  which most values come again.
- two-sample: |AUC − ½| of a forest that tells as many drawn rows from test rows, in three folds.
- anomalies: AUROC of one class among rows of the others, of which half were fitted.

Every run is cached, one JSON file a table.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from scipy.stats import norm, rankdata
from sklearn.ensemble import IsolationForest, RandomForestClassifier, RandomForestRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import cross_val_predict
from sklearn.neighbors import KernelDensity

from benchmarks.evidence.cache import Cache
from benchmarks.evidence.table_sets import ODD, SETS, PublicTable, load_table, split_rows
from isinglass.integrations.sklearn import HopfieldBoltzmannMachine

RATES = (0.1, 0.3)
COUNTS = (1, 2, 3, 5, 8, 12)
OURS = {"ours": "auto", "spherical": "spherical"}
IMPUTERS = ("ours", "mean", "kNN", "iterative", "forest", "miceforest")
QUICK = ("ours", "mean", "kNN", "iterative")
DENSITIES = ("ours", "mixture full", "mixture diag", "kernel")
SAMPLERS = ("ours", "mixture full", "mixture snapped", "copula")
#: The last fit of each method.
_LAST: dict[str, tuple[Any, Any]] = {}
PARTS = ("impute", "density", "sample", "anomaly", "odd", "corrupted")
FOREST = "isolation forest"
Parts = tuple[PublicTable, PublicTable]


def main() -> None:
    """Parses the command line, measures what is missing, prints the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.evidence.tables", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    folder = os.environ.get("ISINGLASS_DATA", ".")
    parser.add_argument("--data", type=Path, default=folder, help="folder with uci121/")
    parser.add_argument("--sets", nargs="+", default=list(SETS), help="names of tables")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of splits and gaps")
    parser.add_argument("--out", type=Path, default=Path("evidence", "tables"))
    parser.add_argument("--imputers", nargs="+", choices=IMPUTERS, default=list(IMPUTERS))
    parser.set_defaults(densities=list(DENSITIES), samplers=list(SAMPLERS), odd=["ours", FOREST])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="what")
    parser.add_argument("--before", action="store_true", help="covariance='spherical' too, slow")
    parser.add_argument("--quick", action="store_true", help="five tables, no forests")
    parser.add_argument("--speed", action="store_true", help="time 10,000 × 100 and others instead")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of rounds that did not converge
    if given.speed:
        print_speed()
        return
    if given.quick:
        given.sets, given.imputers = given.sets[:5], list(QUICK)
    if find_spec("miceforest") is None:
        given.imputers = [name for name in given.imputers if name != "miceforest"]
    if given.before:
        for methods in ("imputers", "densities", "samplers", "odd"):
            first, *others = getattr(given, methods)
            setattr(given, methods, [first, "spherical", *others])
    records = measure(given)
    for table in (imputation_table, robust_table, density_table, sample_table, odd_table):
        Console(width=200).print(table(records, given))


def measure(given: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Runs what is not cached, and returns what was found by table and seed."""
    found: dict[str, dict[str, Any]] = {}
    tables = {name: load_table(name, given.data) for name in dict.fromkeys([*given.sets, *ODD])}
    for name in [name for name, table in tables.items() if table is None]:
        print(f"{name}: not there, left out")
    with Progress() as progress:
        task = progress.add_task("", total=len(tables) * len(given.seeds))
        for name, table in tables.items():
            for seed in given.seeds:
                progress.update(task, description=f"{name}, seed {seed}")
                if table is not None:
                    cache = Cache(given.out / f"{name}-{seed}.json")
                    whole = name in given.sets
                    found[f"{name} {seed}"] = _one(cache, name, table, seed, given, whole)
                progress.advance(task)
    return found


def _one(
    cache: Cache, name: str, table: PublicTable, seed: int, given: argparse.Namespace, whole: bool
) -> dict[str, Any]:
    """Measures everything of one table."""
    parts = split_rows(table, seed)
    runs = _runs(parts, seed, given) if whole else {}
    if name in ODD:
        runs |= {f"anomaly {m}": partial(anomaly, table, ODD[name], m, seed) for m in given.odd}
    chosen = {key: run for key, run in runs.items() if key.split()[0] in given.only}
    return {key: cache.get(key, run) for key, run in chosen.items()}


def _runs(
    parts: Parts, seed: int, given: argparse.Namespace
) -> dict[str, Callable[[], dict[str, Any]]]:
    """Returns what is to be measured of one table, by name."""
    spoiled = [m for m in given.imputers if m in (*QUICK, "spherical")]
    runs: dict[str, Callable[[], dict[str, Any]]] = {
        f"impute {rate} {m}": partial(impute, parts, m, rate, seed)
        for m in given.imputers for rate in RATES
    }  # fmt: skip
    for method in given.densities:
        runs[f"density {method}"] = partial(density, parts, method, seed)
    for method in given.samplers:
        runs[f"sample {method}"] = partial(two_sample, parts, method, seed)
    for what in ("odd", "corrupted"):
        for method in spoiled:
            runs[f"{what} {method}"] = partial(impute, parts, method, 0.1, seed, what)
    return runs


def impute(parts: Parts, method: str, rate: float, seed: int, spoiled: str = "") -> dict[str, Any]:
    """Measures the error of hidden cells of test rows."""
    rng = np.random.default_rng(seed + 1)
    hidden = [rng.random(part.numbers.shape) < rate for part in parts]
    lost = [rng.random(len(part.numbers)) < rate for part in parts]
    torn = [np.where(h, np.nan, part.numbers) for h, part in zip(hidden, parts, strict=True)]
    if spoiled == "corrupted":
        for numbers in torn:
            bad = (rng.random(numbers.shape) < 0.05) & ~np.isnan(numbers)
            numbers[bad] = 10 * rng.normal(size=int(bad.sum()))
    if spoiled == "odd":
        for numbers in torn:
            rows, columns = np.nonzero(~np.isnan(numbers))
            place = rng.integers(len(rows))
            numbers[rows[place], columns[place]] = 1e6
    names = [
        None if part.names is None else np.where(gone, -1, part.names)
        for part, gone in zip(parts, lost, strict=True)
    ]
    start = time.perf_counter()
    filled, guessed = _fill(method, (torn[0], names[0]), (torn[1], names[1]), seed)
    test = parts[1]
    away = (filled - test.numbers)[hidden[1]]
    right = None
    if test.names is not None and guessed is not None and lost[1].any():
        right = float((guessed == test.names)[lost[1]].mean())
    return {
        "rmse": float(np.sqrt(np.mean(away**2))), "right": right,
        "seconds": time.perf_counter() - start,
    }  # fmt: skip


Side = tuple[np.ndarray, np.ndarray | None]


def _fill(method: str, train: Side, test: Side, seed: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Fits to torn rows and fills others: numbers, and names."""
    if method in OURS:
        model = HopfieldBoltzmannMachine(
            covariance=OURS[method], handle_unknown="missing", random_state=seed
        )
        whole = model.fit(_columns(*train)).impute(_columns(*test))
        names = whole.pop("names", None)
        numbers = np.stack(list(whole.values()), 1).astype(float)
        return numbers, None if names is None else names.astype(float).astype(int)
    size = train[0].shape[1]
    kinds = 0 if train[1] is None else int(train[1].max()) + 1
    filled = _peer(method, _one_hot(*train, kinds), _one_hot(*test, kinds), seed)
    return filled[:, :size], filled[:, size:].argmax(1) if kinds else None


def _columns(numbers: np.ndarray, names: np.ndarray | None) -> dict[str, np.ndarray]:
    table = {str(number): column for number, column in enumerate(numbers.T)}
    if names is not None:
        table["names"] = np.array([str(n) if n >= 0 else None for n in names], object)
    return table


def _one_hot(numbers: np.ndarray, names: np.ndarray | None, kinds: int) -> np.ndarray:
    """Puts names as columns of zeros and ones beside the numbers, NaN where unknown."""
    if names is None:
        return numbers
    hot = np.eye(kinds)[np.clip(names, 0, kinds - 1)]
    hot[(names < 0) | (names >= kinds)] = np.nan
    return np.concatenate([numbers, hot], 1)


def _peer(method: str, train: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    if method == "miceforest":
        return _miceforest(train, test, seed)
    forest = RandomForestRegressor(50, random_state=seed)
    build: dict[str, Callable[[], Any]] = {
        "mean": lambda: SimpleImputer(keep_empty_features=True),
        "kNN": lambda: KNNImputer(keep_empty_features=True),
        "iterative": lambda: IterativeImputer(random_state=seed, keep_empty_features=True),
        "forest": lambda: IterativeImputer(
            forest, max_iter=5, random_state=seed, keep_empty_features=True
        ),
    }
    return build[method]().fit(train).transform(test)


def _miceforest(train: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    import miceforest  # pyright: ignore[reportMissingImports]
    import pandas as pd

    names = [f"c{number}" for number in range(train.shape[1])]
    frames = [pd.DataFrame(rows, columns=names) for rows in (train, test)]
    kernel = miceforest.ImputationKernel(frames[0], num_datasets=5, random_state=seed)
    kernel.mice(5)
    filled = kernel.impute_new_data(frames[1])
    return np.mean([filled.complete_data(number).to_numpy() for number in range(5)], 0)


def density(parts: Parts, method: str, seed: int) -> dict[str, Any]:
    """Measures the log-likelihood of test rows, of all columns and of those without ties."""
    train, test = (part.numbers for part in parts)
    untied = [len(np.unique(column)) > len(column) / 2 for column in train.T]
    found: dict[str, Any] = {"untied": None}
    if any(untied):
        found["untied"] = _log_density(train[:, untied], test[:, untied], method, seed)
    return found | {"nats": _log_density(train, test, method, seed)}


def _log_density(train: np.ndarray, test: np.ndarray, method: str, seed: int) -> float:
    if method == "kernel":
        width: Any = "scott"
        return float(KernelDensity(bandwidth=width).fit(train).score(test) / len(test))
    return float(_fit(train, method, seed).score(test))


def _fit(train: np.ndarray, method: str, seed: int) -> Any:
    """Fits what gives densities and draws, once for both."""
    key = (train.shape, train.tobytes(), method, seed)
    if _LAST.get(method, (None, None))[0] != key:
        _LAST[method] = key, _fitted(train, method, seed)
    return _LAST[method][1]


def _fitted(train: np.ndarray, method: str, seed: int) -> Any:
    if method in OURS:
        return HopfieldBoltzmannMachine(covariance=OURS[method], random_state=seed).fit(train)
    kind = "diag" if "diag" in method else "full"

    def build(count: int) -> GaussianMixture:
        return GaussianMixture(count, covariance_type=kind, random_state=seed)

    cut = 3 * len(train) // 4
    counts = [count for count in COUNTS if count < cut]
    best = max(counts, key=lambda count: build(count).fit(train[:cut]).score(train[cut:]))
    return build(best).fit(train)


def two_sample(parts: Parts, method: str, seed: int) -> dict[str, Any]:
    """Measures how well a forest tells drawn rows from test rows."""
    train, test = (part.numbers for part in parts)
    rng = np.random.default_rng(seed)
    count = len(test)
    if method == "copula":
        fake = _copula(train, count, rng)
    else:
        model = _fit(train, method.replace("snapped", "full"), seed)
        fake = model.sample(count)
        fake = fake[0] if isinstance(fake, tuple) else fake
    if "snapped" in method:
        fake = _snapped(fake, train)
    rows = np.concatenate([test, fake])
    labels = np.arange(2 * count) >= count
    forest = RandomForestClassifier(100, random_state=seed)
    told = np.asarray(cross_val_predict(forest, rows, labels, cv=3, method="predict_proba"))[:, 1]
    below = float((fake < train.min(0) - 1e-9).mean())
    return {"away": abs(float(roc_auc_score(labels, told)) - 0.5), "below": below}


def _copula(train: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draws from a Gaussian copula with the columns' own quantiles."""
    normal = norm.ppf(rankdata(train, axis=0) / (len(train) + 1))
    cover = np.corrcoef(normal.T).reshape(train.shape[1], -1) + 1e-6 * np.eye(train.shape[1])
    drawn = norm.cdf(rng.multivariate_normal(np.zeros(len(cover)), cover, count))
    pairs = zip(train.T, drawn.T, strict=True)
    return np.stack([np.quantile(column, share) for column, share in pairs], 1)


def _snapped(fake: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Brings columns that repeat values to the nearest one seen."""
    found = fake.copy()
    for place, column in enumerate(train.T):
        values = np.unique(column)
        if len(values) <= len(column) / 2:
            found[:, place] = values[np.abs(values - fake[:, place, None]).argmin(1)]
    return found


def anomaly(table: PublicTable, odd: int, method: str, seed: int) -> dict[str, Any]:
    """Measures how well rows of one class are told from the others, of which half were fitted."""
    if table.names is None:
        return {"auroc": None}
    usual = np.nonzero(table.names != odd)[0]
    usual = np.random.default_rng(seed).permutation(usual)
    train = table.numbers[usual[: len(usual) // 2]]
    mean, spread = train.mean(0), train.std(0)
    kept = spread > 0
    rest = np.concatenate(
        [table.numbers[usual[len(usual) // 2 :]], table.numbers[table.names == odd]]
    )
    train, rest = ((part[:, kept] - mean[kept]) / spread[kept] for part in (train, rest))
    labels = np.arange(len(rest)) >= len(usual) - len(usual) // 2
    model = (
        IsolationForest(random_state=seed).fit(train) if method == FOREST
        else HopfieldBoltzmannMachine(covariance=OURS[method], random_state=seed).fit(train)
    )  # fmt: skip
    return {"auroc": float(roc_auc_score(labels, -model.score_samples(rest)))}


def _rows(
    records: dict[str, dict[str, Any]], given: argparse.Namespace, keys: list[tuple[str, str]]
) -> dict[str, list[float | None]]:
    """Returns the means over seeds of what was measured, by table."""
    found: dict[str, list[float | None]] = {}
    for name in dict.fromkeys([*given.sets, *ODD]):
        runs = [records[f"{name} {s}"] for s in given.seeds if f"{name} {s}" in records]
        values: list[float | None] = []
        for key, of in keys:
            seen = [run[key][of] for run in runs if key in run and run[key][of] is not None]
            values.append(float(np.mean(seen)) if seen else None)
        if any(value is not None for value in values):
            found[name] = values
    return found


def _table(title: str, names: list[str], rows: dict[str, list[float | None]], best: Any) -> Table:
    """Makes a table with means, and the mean rank where a function says which way is best."""
    table = Table(title=title)
    table.add_column("")
    for name in names:
        table.add_column(name, justify="right")
    for name, values in rows.items():
        table.add_row(name, *("–" if value is None else f"{value:.3f}" for value in values))
    whole = np.array([v for v in rows.values() if None not in v], float)
    if len(whole):
        table.add_section()
        table.add_row(f"mean of {len(whole)}", *(f"{value:.3f}" for value in whole.mean(0)))
        for places in best or ():
            ranks = rankdata(whole[:, places[0]] * places[1], axis=1).mean(0)
            cells = [""] * len(names)
            for place, rank in zip(places[0], ranks, strict=True):
                cells[place] = f"{rank:.2f}"
            table.add_row("mean rank", *cells)
    return table


def imputation_table(records: dict[str, dict[str, Any]], given: argparse.Namespace) -> Table:
    """Makes the table of errors of hidden numbers, and of hidden names below it."""
    keys = [(f"impute {rate} {m}", "rmse") for rate in RATES for m in given.imputers]
    names = [f"{m} {rate:.0%}" for rate in RATES for m in given.imputers]
    count = len(given.imputers)
    sides = [(list(range(count)), 1), (list(range(count, 2 * count)), 1)]
    table = _table("hidden numbers, RMSE in deviations", names, _rows(records, given, keys), sides)
    right = _rows(records, given, [(key, "right") for key, _ in keys])
    whole = np.array([v for v in right.values() if None not in v], float)
    if len(whole):
        table.add_section()
        shares = (f"{value:.3f}" for value in whole.mean(0))
        table.add_row(f"names right, mean of {len(whole)}", *shares)
    return table


def robust_table(records: dict[str, dict[str, Any]], given: argparse.Namespace) -> Table:
    """Makes the table of errors with spoiled cells."""
    methods = [m for m in given.imputers if m in QUICK or m == "spherical"]
    spoiled = ("impute 0.1", "odd", "corrupted")
    keys = [(f"{what} {m}", "rmse") for what in spoiled for m in methods]
    names = [f"{m} {what}" for what in ("clean", "odd", "corrupted") for m in methods]
    return _table("hidden numbers at 10 %, cells spoiled", names, _rows(records, given, keys), None)


def density_table(records: dict[str, dict[str, Any]], given: argparse.Namespace) -> Table:
    """Makes the table of log-likelihoods."""
    methods = given.densities
    keys = [(f"density {m}", of) for of in ("nats", "untied") for m in methods]
    names = [f"{m}{of}" for of in ("", ", untied") for m in methods]
    sides = [(list(range(len(methods))), -1)]
    return _table("log-likelihood of test rows", names, _rows(records, given, keys), sides)


def sample_table(records: dict[str, dict[str, Any]], given: argparse.Namespace) -> Table:
    """Makes the table of two-sample tests, and of drawn cells below the least number."""
    methods = given.samplers
    drawn = [m for m in methods if m in OURS]
    keys = [(f"sample {m}", "away") for m in methods] + [(f"sample {m}", "below") for m in drawn]
    names = [*methods, *(f"{m} below" for m in drawn)]
    sides = [(list(range(len(methods))), 1)]
    return _table("two-sample |AUC − ½|", names, _rows(records, given, keys), sides)


def odd_table(records: dict[str, dict[str, Any]], given: argparse.Namespace) -> Table:
    """Makes the table of anomalies."""
    keys = [(f"anomaly {m}", "auroc") for m in given.odd]
    sides = [(list(range(len(given.odd))), -1)]
    return _table("anomalies, AUROC", given.odd, _rows(records, given, keys), sides)


def print_speed() -> None:
    """Times fits beside GaussianMixture, and default fits as rows and columns grow."""
    rng = np.random.default_rng(0)
    table = Table(title="seconds of a fit, one thread")
    for column in ("rows × columns", "", "seconds"):
        table.add_column(column)

    def timed(rows: np.ndarray, what: str, model: Any) -> None:
        start = time.perf_counter()
        model.fit(rows)
        seconds = time.perf_counter() - start
        table.add_row(f"{len(rows)} × {rows.shape[1]}", what, f"{seconds:.1f}")

    for count, size in ((1_000, 10), (10_000, 20), (10_000, 100)):
        kinds = rng.integers(0, 5, count)
        rows = rng.normal(size=(5, size))[kinds] * 2 + rng.normal(size=(count, size))
        if size == 100:
            mixture = GaussianMixture(10, covariance_type="diag", random_state=0, tol=1e-4)
            timed(rows, "GaussianMixture diag, 10", mixture)
            ours = HopfieldBoltzmannMachine(10, covariance="diag", random_state=0)
            timed(rows, "ours diag, 10", ours)
        timed(rows, "ours", HopfieldBoltzmannMachine(random_state=0))
        if size < 100:
            spheres = HopfieldBoltzmannMachine(covariance="spherical", random_state=0)
            timed(rows, "ours spherical", spheres)
    Console().print(table)


if __name__ == "__main__":
    main()
