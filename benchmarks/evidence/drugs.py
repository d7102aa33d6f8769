"""Molecules: BACE, BBBP, SIDER and HIV from SMILES, beside peers on the same splits and features.

A tenth of the molecules is held out, at random, or by whole Murcko scaffolds drawn at random, so
that no test molecule has a frame that was learned from. The area under the ROC curve; of SIDER the
mean over its 27 effects. All methods see counts of Morgan fragments (radius 2, 2,048 places, as
log(1 + count)); Hopfield and k-NN only those whose variance is above 0.02. "Hopfield" is
HopfieldClassifier(), "all fragments" the same with nothing left out, and "one setting"
HopfieldClassifier(blend=False). C of the support vector machine is chosen by three folds within the
molecules learned from; the forest has 500 trees; the naive baseline is the number of atoms. Of HIV
6,000 molecules are learned from, all actives among them. SMILES that cannot be read are dropped,
and counted. Published: Ramsauer et al. 2020,
arXiv:2008.02217, table 3, of random splits. Needs the extra chem (rdkit). The data are not part of
the project: ISINGLASS_DATA names the folder that holds moleculenet/*.csv.gz.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_selection import VarianceThreshold
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, GroupShuffleSplit, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from benchmarks.evidence.grid import Grid, of
from isinglass._support.optional import require_extra
from isinglass.errors import DomainError, FileError
from isinglass.integrations.sklearn import HopfieldClassifier

#: File, column of SMILES, and columns of outcomes; None is all others.
SETS = {
    "bace": ("bace.csv.gz", "mol", ["Class"]),
    "bbbp": ("BBBP.csv.gz", "smiles", ["BBBP"]),
    "sider": ("sider.csv.gz", "smiles", None),
    "hiv": ("HIV.csv.gz", "smiles", ["HIV_active"]),
}
SPLITS = ("random", "scaffold")
TASKS = [f"{name} {split}" for name in SETS for split in SPLITS]
METHODS = ("Hopfield", "all fragments", "one setting", "SVM", "forest", "k-NN", "atoms")
PUBLISHED = {"bace": 0.902, "bbbp": 0.910, "sider": 0.672, "hiv": 0.815}
MOST = 6_000
RARE = 0.02  # variance

Record = dict[str, Any]


@dataclass(frozen=True)
class Molecules:
    """Molecules as numbers.

    Attributes:
        fragments: log(1 + count) of each fragment, ``(n, places)``.
        atoms: Number of atoms of each, ``(n,)``.
        scaffolds: The Murcko scaffold of each, as a number, ``(n,)``.
        kept: Which of the SMILES could be read, ``(given,)``.
    """

    fragments: np.ndarray
    atoms: np.ndarray
    scaffolds: np.ndarray
    kept: np.ndarray

    @classmethod
    def of(cls, smiles: Sequence[str], places: int = 2048) -> Molecules:
        """Reads SMILES; those that rdkit cannot read are dropped.

        Raises:
            DomainError: If none can be read.
            MissingExtraError: If rdkit is not installed.
        """
        with require_extra("chem"):
            from rdkit import Chem, rdBase
            from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator
            from rdkit.Chem.Scaffolds.MurckoScaffold import MurckoScaffoldSmiles
        with rdBase.BlockLogs():
            read = [Chem.MolFromSmiles(str(one)) for one in smiles]
        kept = np.array([one is not None for one in read])
        if not kept.any():
            raise DomainError(
                f"none of {len(read)} SMILES can be read", "Give SMILES, a molecule each"
            )
        found = [one for one in read if one is not None]
        generator = GetMorganGenerator(radius=2, fpSize=places)
        fragments = np.empty((len(found), places), dtype=np.float32)
        for place, one in enumerate(found):
            fragments[place] = generator.GetCountFingerprintAsNumPy(one)
        frames = [MurckoScaffoldSmiles(mol=one) for one in found]
        return cls(
            np.log1p(fragments), np.array([one.GetNumHeavyAtoms() for one in found]),
            np.unique(frames, return_inverse=True)[1], kept,
        )  # fmt: skip


@cache
def load(name: str) -> tuple[Molecules, np.ndarray]:
    """Returns molecules, and whether each has each outcome, ``(n, outcomes)``.

    Raises:
        FileError: If the data are not there.
    """
    file, column, outcomes = SETS[name]
    path = Path(os.environ.get("ISINGLASS_DATA", ""), "moleculenet", file)
    if not path.exists():
        raise FileError(
            f"{path} is missing", "Let ISINGLASS_DATA name the folder with moleculenet/*.csv.gz"
        )
    table = pd.read_csv(path)
    molecules = Molecules.of(table[column].tolist())
    labels = table[outcomes or [c for c in table.columns if c != column]].to_numpy(int)
    return molecules, labels[molecules.kept]


def split(
    molecules: Molecules, labels: np.ndarray, kind: str, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns which molecules are learned from, of many a part, and which are held out."""
    n = len(labels)
    groups = molecules.scaffolds if kind == "scaffold" else np.arange(n)
    parts = GroupShuffleSplit(1, test_size=0.1, random_state=seed).split(groups, groups=groups)
    train, test = next(parts)
    if len(train) > MOST:
        # All of the rarer class, and of the other as many as there is room for.
        train = np.random.default_rng(seed).permutation(train)
        train = train[np.argsort(-labels[train, 0], kind="stable")][:MOST]
    return train, test


def classifier(method: str, seed: int) -> Any:
    """Returns what is fitted."""
    common = VarianceThreshold(RARE)
    if method == "all fragments":
        return HopfieldClassifier(random_state=seed)
    if method in ("Hopfield", "one setting"):
        return make_pipeline(
            common, HopfieldClassifier(blend=method == "Hopfield", random_state=seed)
        )
    if method == "SVM":
        folds = StratifiedKFold(3, shuffle=True, random_state=seed)
        return GridSearchCV(SVC(), {"C": [1, 10]}, scoring="roc_auc", cv=folds)
    if method == "forest":
        return RandomForestClassifier(500, random_state=seed)
    return make_pipeline(common, KNeighborsClassifier(9, weights="distance", metric="cosine"))


def scores(
    method: str, molecules: Molecules, labels: np.ndarray, train: np.ndarray, test: np.ndarray,
    seed: int,
) -> np.ndarray:  # fmt: skip
    """Learns one outcome, and returns scores of other molecules."""
    if method == "atoms":
        rises = np.corrcoef(molecules.atoms[train], labels[train])[0, 1]
        return np.sign(rises) * molecules.atoms[test]
    model = classifier(method, seed).fit(molecules.fragments[train], labels[train])
    if method == "SVM":
        return model.decision_function(molecules.fragments[test])
    return model.predict_proba(molecules.fragments[test])[:, 1]


def run(task: str, method: str, seed: int, outcomes: int) -> Record:
    """One repetition: the area of each outcome that is met and not met on both sides."""
    name, kind = task.split()
    molecules, labels = load(name)
    train, test = split(molecules, labels, kind, seed)
    begin, areas = time.process_time(), []
    for outcome in range(labels.shape[1])[:outcomes]:
        truth = labels[:, outcome]
        if min(len(np.unique(truth[part])) for part in (train, test)) < 2:
            continue
        found = scores(method, molecules, truth, train, test, seed)
        areas.append(float(roc_auc_score(truth[test], found)))
    return {
        "task": task, "method": method, "seed": seed,
        "mean": float(np.mean(areas)) if areas else None, "areas": areas,
        "dropped": int((~molecules.kept).sum()), "learned": len(train), "tested": len(test),
        "seconds": time.process_time() - begin,
    }  # fmt: skip


def as_table(records: list[Record]) -> Table:
    """Builds the table: the mean area over repetitions, ± its standard error."""
    table = Table("set", *METHODS, "published", "unreadable")
    for task in dict.fromkeys(record["task"] for record in records):
        cells = []
        for method in METHODS:
            means = [r["mean"] for r in of(records, task, method) if r["mean"] is not None]
            cells.append(f"{np.mean(means):.3f}" if means else "")
            if len(means) > 1:
                cells[-1] += f" ± {np.std(means, ddof=1) / len(means) ** 0.5:.3f} of {len(means)}"
        name, kind = task.split()
        published = f"{PUBLISHED[name]:.3f}" if kind == "random" else ""
        dropped = next(r["dropped"] for r in records if r["task"] == task)
        table.add_row(task, *cells, published, str(dropped))
    return table


GRID = Grid("drugs", __doc__, dict.fromkeys(TASKS, 27), METHODS, run, seeds=3, quick=1)

if __name__ == "__main__":
    Console(width=140).print(as_table(GRID.measure()))
