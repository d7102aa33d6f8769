"""The 75 small tables of the UCI collection (under 1,000 rows), beside peers on the same splits.

Splits are the collection's: four folds, or the test file where there is one; what is compared is
the mean accuracy over them. "Hopfield" is HopfieldClassifier() as it comes, which weighs three
settings by rows held out within each training set; "one setting" is
HopfieldClassifier(blend=False), for which nothing is selected. Peers are chosen within each
training set too, by three folds: C and γ of the support vector machine, k of the neighbors, the
penalties of the network and of logistic regression; boosting by one inner split, for time; a forest
of 500 trees is as it comes. The score is the paper's: the mean over tables of a method's rank less
the middle rank, the lower the better. The defaults were chosen by the halves that the collection
gives for tuning, of every third table; the last columns are the other tables alone. Published,
among 25 methods: Ramsauer et al. 2020, arXiv:2008.02217, table 1. The data are not part of the
project: ISINGLASS_DATA names the folder that holds uci121/uci_small75.npz.
"""

from __future__ import annotations

import os
import time
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import rankdata, wilcoxon
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, ShuffleSplit, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from benchmarks.evidence.grid import Grid
from isinglass.errors import FileError
from isinglass.integrations.sklearn import HopfieldClassifier

OURS = ("Hopfield", "one setting")
PEERS = ("SVM", "forest", "boosting", "k-NN", "MLP", "logistic", "majority")
METHODS = (*OURS, *PEERS)
PUBLISHED = {"Hopfield": -3.92, "SVM": -3.23, "forest": -2.79}
FOLDS = 4

Record = dict[str, Any]


@cache
def _data() -> dict[str, np.ndarray]:
    path = Path(os.environ.get("ISINGLASS_DATA", ""), "uci121", "uci_small75.npz")
    if not path.exists():
        raise FileError(
            f"{path} is missing", "Let ISINGLASS_DATA name the folder with uci121/uci_small75.npz"
        )
    with np.load(path) as data:
        return dict(data)


def names() -> list[str]:
    """Returns the names of the tables.

    Raises:
        FileError: If the data are not there.
    """
    return sorted({key.partition("/")[0] for key in _data()})


def developed() -> set[str]:
    """Returns the tables whose tuning halves the defaults were chosen by."""
    return set(names()[::3])


def splits(name: str) -> tuple[np.ndarray, np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    """Returns rows, labels, and the rows of training and test of each split."""
    data = _data()
    rows, labels = data[f"{name}/X"].astype(np.float64), data[f"{name}/y"].astype(int)
    part = data.get(f"{name}/part")
    if part is not None and part.any():
        return rows, labels, [(np.flatnonzero(part == 0), np.flatnonzero(part == 1))]
    ends = np.cumsum(data[f"{name}/kfold_len"])[:-1]
    lines = np.split(data[f"{name}/kfold"].astype(int), ends)
    return rows, labels, list(zip(lines[::2], lines[1::2], strict=True))


def _chosen(model: Any, choices: dict[str, list[Any]], folds: Any = None) -> GridSearchCV:
    """Scales features, and chooses settings within the rows learned from."""
    step = type(model).__name__.lower()
    return GridSearchCV(
        make_pipeline(StandardScaler(), model),
        {f"{step}__{name}": values for name, values in choices.items()},
        cv=folds or StratifiedKFold(3, shuffle=True, random_state=0),
    )


def classifier(method: str, seed: int) -> Any:
    """Returns what is fitted."""
    if method in OURS:
        return HopfieldClassifier(blend=method == "Hopfield", random_state=seed)
    if method == "SVM":
        width = ["scale", 0.001, 0.01, 0.1, 1.0]
        return _chosen(SVC(), {"C": [0.1, 1, 10, 100, 1000], "gamma": width})
    if method == "forest":
        return RandomForestClassifier(500, random_state=seed)
    if method == "boosting":
        once = ShuffleSplit(1, test_size=1 / 3, random_state=seed)
        model = HistGradientBoostingClassifier(random_state=seed)
        return _chosen(model, {"min_samples_leaf": [5, 20]}, once)
    if method == "k-NN":
        choices = {"n_neighbors": [1, 3, 5, 9, 15], "weights": ["uniform", "distance"]}
        return _chosen(KNeighborsClassifier(), choices)
    if method == "MLP":
        model = MLPClassifier(solver="lbfgs", max_iter=200, random_state=seed)
        return _chosen(model, {"alpha": [0.01, 0.1, 1, 10]})
    if method == "logistic":
        return _chosen(LogisticRegression(max_iter=500), {"C": [0.01, 0.1, 1, 10, 100]})
    return DummyClassifier()


def run(name: str, method: str, seed: int, folds: int) -> Record:
    """Measures one method on the splits of one table."""
    warnings.simplefilter("ignore")  # of peers: rare classes, steps that run out
    rows, labels, parts = splits(name)
    begin, found = time.process_time(), []
    for train, test in parts[:folds]:
        model = classifier(method, seed).fit(rows[train], labels[train])
        found.append(float(model.score(rows[test], labels[test])))
    seconds = (time.process_time() - begin) / len(found)
    return {
        "task": name, "method": method, "seed": seed, "mean": float(np.mean(found)),
        "folds": found, "seconds": seconds,
    }  # fmt: skip


def rank_differences(accuracy: np.ndarray) -> np.ndarray:
    """Returns each method's mean rank over tables less the middle rank, best lowest.

    Args:
        accuracy: ``(methods, tables)``; ties share their ranks.
    """
    ranks = rankdata(-accuracy.round(9), axis=0)
    return ranks.mean(1) - (len(accuracy) + 1) / 2


def as_table(records: list[Record], ours: str) -> Table:
    """Builds the table of one of ours beside all peers."""
    methods = [ours, *(m for m in PEERS if any(r["method"] == m for r in records))]
    found = {(r["task"], r["method"]): r for r in records}
    tasks = sorted({task for task, _ in found if all((task, m) in found for m in methods)})
    accuracy = np.array([[found[t, m]["mean"] for t in tasks] for m in methods])
    fresh = np.array([task not in developed() for task in tasks])
    table = Table(
        "method", f"accuracy, {len(tasks)} tables", "rank difference", "p (Wilcoxon)",
        "seconds a fit",
        f"accuracy, {fresh.sum()} tables", "rank difference", "p (Wilcoxon)", "published of 25",
    )  # fmt: skip
    for place, method in enumerate(methods):
        cells = [method]
        for chosen, seconds in ((accuracy, True), (accuracy[:, fresh], False)):
            cells.append(f"{chosen[place].mean():.4f}")
            cells.append(f"{rank_differences(chosen)[place]:+.2f}")
            differs = place > 0 and (chosen[place] != chosen[0]).any()
            cells.append(f"{wilcoxon(chosen[0], chosen[place]).pvalue:.2g}" if differs else "")
            if seconds:
                cells.append(f"{np.mean([found[t, method]['seconds'] for t in tasks]):.2f}")
        published = PUBLISHED.get(method)
        table.add_row(*cells, "" if published is None else f"{published:+.2f}")
    return table


def main() -> None:
    """Measures what is missing, and prints a table for each of ours."""
    try:
        tasks = dict.fromkeys(names(), FOLDS)
    except FileError:
        tasks = {"none": FOLDS}  # so that --help can be read without the data
    records = Grid("uci", __doc__, tasks, METHODS, run, seeds=1, quick=1).measure()
    for ours in OURS:
        if any(record["method"] == ours for record in records):
            Console(width=140).print(as_table(records, ours))


if __name__ == "__main__":
    main()
