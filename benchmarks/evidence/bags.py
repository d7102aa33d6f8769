"""Multiple-instance learning: Tiger, Fox, Elephant, UCSB and Musk1, beside peers on the same folds.

Ten stratified folds, repeated; the area under the ROC curve of each test fold, and its mean. All
methods see the same folds. "default" is HopfieldPoolingClassifier() as it comes; "selected" chooses
among eight settings by three folds within each training set, as the paper does. Peers choose in the
same way: gated attention (Ilse et al. 2018, arXiv:1802.04712), with the same embedding, steps and
ensemble, among eight settings of its own; a support vector machine on the mean and maximum of each
feature over a bag among four values of C; and MILES (Chen, Bi & Wang 2006), a linear one with an L1
penalty on the likeness of a bag to each training instance, among four widths and four values of C.
Published, by other folds: Ramsauer et al. 2020, arXiv:2008.02217, table 2. The data are not part of
the project: ISINGLASS_DATA names the folder that holds mil/*.npz.
"""

from __future__ import annotations

import os
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import roc_auc_score
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC, LinearSVC
from torch import Tensor, nn

from benchmarks.evidence.grid import Grid, of
from isinglass.errors import FileError
from isinglass.integrations.sklearn import HopfieldPoolingClassifier

SETS = ("tiger", "fox", "elephant", "ucsb", "musk1")
METHODS = (
    "Hopfield, default", "Hopfield, selected", "gated attention", "mean and max, SVM", "MILES"
)  # fmt: skip
PUBLISHED = {"tiger": 0.913, "fox": 0.6405, "elephant": 0.949, "ucsb": 0.895}
BEST_OTHERS = {"tiger": 0.910, "fox": 0.738, "elephant": 0.944, "ucsb": 0.880}
FOLDS = 10
CHOICES: dict[str, dict[str, list[Any]]] = {
    "Hopfield, selected": {
        "scaling": [None, 1.0], "dropout": [0.1, 0.5], "weight_decay": [0.01, 0.3]
    },
    "gated attention": {
        "learning_rate": [1e-3, 3e-3], "dropout": [0.1, 0.5], "weight_decay": [0.01, 0.3]
    },
    "mean and max, SVM": {"svc__C": [0.1, 1, 10, 100]},
    "MILES": {"likeness__width": [0.1, 0.3, 1.0, 3.0], "linearsvc__C": [0.3, 1, 3, 10]},
}  # fmt: skip


def load(name: str) -> tuple[list[np.ndarray], np.ndarray]:
    """Returns bags and labels.

    Raises:
        FileError: If the data are not there.
    """
    path = Path(os.environ.get("ISINGLASS_DATA", ""), "mil", f"{name}.npz")
    if not path.exists():
        raise FileError(f"{path} is missing", "Let ISINGLASS_DATA name the folder with mil/*.npz")
    with np.load(path) as data:
        rows, bag, labels = data["X"], data["bag"], data["y"]
    order = np.argsort(bag, kind="stable")
    return np.split(rows[order].astype(np.float64), np.flatnonzero(np.diff(bag[order])) + 1), labels


class GatedPooling(nn.Module):
    """Σ_i a_i z_i,   a = softmax_i(wᵀ(tanh(V z_i) ⊙ σ(U z_i))): gated attention."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.value, self.gate = nn.Linear(width, width), nn.Linear(width, width)
        self.score = nn.Linear(width, 1)

    def forward(self, input: Tensor, stored_pattern_padding_mask: Tensor) -> Tensor:  # noqa: A002
        """Pools padded bags."""
        scores = self.score(torch.tanh(self.value(input)) * torch.sigmoid(self.gate(input)))[..., 0]
        weights = scores.masked_fill(stored_pattern_padding_mask, -torch.inf).softmax(-1)
        return (weights.unsqueeze(-1) * input).sum(-2)


class GatedAttention(HopfieldPoolingClassifier):
    """The peer: all as in HopfieldPoolingClassifier but for what pools."""

    def _network(self) -> Any:
        network = super()._network()
        network.pool = GatedPooling(self.hidden_size)
        network.read = nn.Linear(self.hidden_size, len(self.classes_))
        return network


def mean_and_max(bags: list[np.ndarray]) -> np.ndarray:
    """Describes bags by the mean and the maximum of each feature."""
    return np.stack([np.concatenate([bag.mean(0), bag.max(0)]) for bag in bags])


class Likeness(TransformerMixin, BaseEstimator):
    """A bag as max_i exp(−|x_i − k|²/(width · m)) for each known instance k, m the mean of |·|²."""

    def __init__(self, width: float = 1.0) -> None:
        self.width = width

    def fit(self, bags: list[np.ndarray], labels: np.ndarray | None = None) -> Likeness:
        """Keeps the instances of all bags."""
        rows = np.concatenate(bags)
        self.scaler_ = StandardScaler().fit(rows)
        self.known_ = self.scaler_.transform(rows)
        self.mean_ = 2 * self.known_.var(0).sum()  # of |k − l|² over all pairs
        return self

    def transform(self, bags: list[np.ndarray]) -> np.ndarray:
        """Returns a likeness for each bag and known instance."""
        rows = self.scaler_.transform(np.concatenate(bags))
        square = euclidean_distances(rows, self.known_, squared=True)
        starts = np.cumsum([0, *map(len, bags[:-1])])
        nearest = np.minimum.reduceat(square, starts, axis=0)
        return np.exp(-nearest / (self.width * self.mean_))


def peer(method: str, seed: int) -> Any:
    """Builds a support vector machine on vectors that describe bags."""
    if method == "MILES":
        # A ranking hardly changes where all are told apart already.
        warnings.simplefilter("ignore", ConvergenceWarning)
        penalized = LinearSVC(penalty="l1", dual=False, max_iter=1000, random_state=seed)
        return make_pipeline(Likeness(), penalized)
    return make_pipeline(FunctionTransformer(mean_and_max), StandardScaler(), SVC())


def chances(
    method: str, bags: list[np.ndarray], labels: np.ndarray, asked: list[np.ndarray], seed: int
) -> np.ndarray:
    """Learns from bags and returns scores of others, the higher the more of the second class."""
    kind = GatedAttention if method == "gated attention" else HopfieldPoolingClassifier
    if method == "Hopfield, default":
        return kind(random_state=seed).fit(bags, labels).decision_function(asked)
    network = method in ("Hopfield, selected", "gated attention")
    model = kind(n_estimators=1, random_state=seed) if network else peer(method, seed)
    inner = StratifiedKFold(3, shuffle=True, random_state=seed)
    search = GridSearchCV(
        model, CHOICES[method], scoring="roc_auc", cv=inner, refit=not network
    ).fit(bags, labels)  # fmt: skip
    if network:  # chosen by one, answered by all
        model = kind(random_state=seed, **search.best_params_).fit(bags, labels)
    return (model if network else search).decision_function(asked)


def run(name: str, method: str, seed: int, folds: int) -> dict[str, Any]:
    """One repetition: the mean area over the folds, and each."""
    bags, labels = load(name)
    begin, areas = time.process_time(), []
    split = StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(labels, labels)
    for train, test in list(split)[:folds]:
        scores = chances(
            method, [bags[i] for i in train], labels[train], [bags[i] for i in test], seed
        )
        areas.append(roc_auc_score(labels[test], scores))
    return {
        "task": name, "method": method, "seed": seed, "mean": float(np.mean(areas)),
        "folds": areas, "seconds": time.process_time() - begin,
    }  # fmt: skip


def as_table(records: list[dict[str, Any]]) -> Table:
    """Builds the table: the mean area over repetitions, ± their standard error."""
    table = Table("set", *METHODS, "published", "best others")
    for name in dict.fromkeys(record["task"] for record in records):
        cells = []
        for method in METHODS:
            means = [record["mean"] for record in of(records, name, method)]
            error = np.std(means, ddof=1) / len(means) ** 0.5 if len(means) > 1 else 0.0
            cells.append(f"{np.mean(means):.3f} ± {error:.3f}" if means else "")
        table.add_row(
            name, *cells, f"{PUBLISHED.get(name, float('nan')):.3f}",
            f"{BEST_OTHERS.get(name, float('nan')):.3f}",
        )  # fmt: skip
    return table


GRID = Grid(
    "bags", __doc__, dict.fromkeys(SETS, FOLDS), METHODS, run, seeds=5, quick=1
)  # fmt: skip

if __name__ == "__main__":
    Console(width=140).print(as_table(GRID.measure()))
