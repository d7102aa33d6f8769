"""The peer: logistic regression on how frequent the k-mers of a repertoire are."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import numpy as np
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.evidence.repertoires_data import NOTHING

__all__ = ["KmerRegression", "frequencies", "kmers"]

LENGTHS = (3, 4)
STRENGTHS = (3.0, 30.0)  # C by the number of bags, which the loss sums over


def kmers(bag: np.ndarray, length: int) -> np.ndarray:
    """Returns the code of the k-mer that begins at each place, −1 where none does.

    Args:
        bag: Codes of letters, ``(sequences, places)``.
        length: k.
    """
    count = max(bag.shape[1] - length + 1, 0)
    parts = [bag[:, j : j + count].astype(np.int32) for j in range(length)]
    codes = np.zeros((len(bag), count), dtype=np.int32)
    for part in parts:
        codes = codes * NOTHING + part
    return np.where(np.any([part == NOTHING for part in parts], axis=0), -1, codes)


def frequencies(bags: Iterable[np.ndarray], length: int) -> sparse.csr_matrix:
    """Returns how frequent each k-mer is in each bag, ``(bags, 20^k)``."""
    rows = []
    for bag in bags:
        codes = kmers(bag, length)
        counts = np.bincount(codes[codes >= 0], minlength=NOTHING**length)
        rows.append(sparse.csr_matrix((counts / max(counts.sum(), 1)).astype(np.float32)))
    return sparse.vstack(rows, format="csr")


class KmerRegression:
    """L1-penalized logistic regression; k and C by the area of three folds within the training set.

    Attributes:
        length: k.
        model: The regression, of standardized frequencies.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def fit(self, bags: list[np.ndarray], labels: np.ndarray) -> KmerRegression:
        """Fits to bags of codes and a label each."""
        best = -np.inf
        for length in LENGTHS:
            search = GridSearchCV(
                make_pipeline(
                    StandardScaler(with_mean=False),
                    LogisticRegression(l1_ratio=1.0, solver="liblinear", random_state=self.seed),
                ),
                {"logisticregression__C": [strength / len(bags) for strength in STRENGTHS]},
                scoring="roc_auc",
                cv=StratifiedKFold(3, shuffle=True, random_state=self.seed),
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                search.fit(frequencies(bags, length), labels)
            if search.best_score_ > best:
                best, self.length, self.model = search.best_score_, length, search
        return self

    def decision_function(self, bags: Iterable[np.ndarray]) -> np.ndarray:
        """Returns the logit of each bag."""
        return self.model.decision_function(frequencies(bags, self.length))
