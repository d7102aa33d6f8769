"""Public tables: numbers, and a column of names where the table has one.

From scikit-learn and statsmodels, which bundle them, and from the folder of data. They were chosen
for being there and of many kinds, before anything was measured on them; nothing is tuned on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from sklearn import datasets

__all__ = ["ODD", "SETS", "PublicTable", "load_table", "split_rows"]

#: Rows that are taken at random of larger tables.
MOST_ROWS = 1500
#: What statsmodels bundles: the columns that are left out, and the one that holds names.
STATSMODELS: dict[str, tuple[tuple[str, ...], str | None]] = {
    "anes96": ((), "vote"),
    "ccard": ((), "OWNRENT"),
    "elnino": (("YEAR",), None),
    "engel": ((), None),
    "fair": ((), None),
    "grunfeld": (("year",), "firm"),
    "macrodata": ((), "quarter"),
    "modechoice": (("individual",), "choice"),
    "randhie": ((), "hlthp"),
    "star98": ((), None),
    "statecrime": ((), None),
}
SKLEARN = ("iris", "wine", "breast_cancer", "diabetes")
UCI = (
    "ecoli", "glass", "seeds", "parkinsons", "statlog-vehicle", "vertebral-column-3clases",
    "ionosphere", "blood", "credit-approval",
)  # fmt: skip
SETS = (*SKLEARN, *STATSMODELS, *UCI)
#: Where anomalies are sought: the table, and the class that is odd.
ODD = {"breast_cancer": 0, "wine": 0, "ionosphere": 0, "parkinsons": 0, "pima": 1}


@dataclass(frozen=True)
class PublicTable:
    """A table.

    Args:
        numbers: ``(n, d)``.
        names: A column of names as numbers from 0, ``(n,)``; None if there is none.
    """

    numbers: np.ndarray
    names: np.ndarray | None

    def take(self, index: np.ndarray) -> PublicTable:
        """Selects rows."""
        return PublicTable(self.numbers[index], None if self.names is None else self.names[index])


def load_table(name: str, folder: Path) -> PublicTable | None:
    """Loads a table; None if the package or the folder that has it is not there.

    Args:
        name: One of :data:`SETS` or :data:`ODD`.
        folder: Where ``uci121/`` is.
    """
    if name in SKLEARN:
        bunch = getattr(datasets, f"load_{name}")()
        return _kept(bunch.data, None if name == "diabetes" else bunch.target)
    if name in STATSMODELS:
        return _of_statsmodels(name)
    path = folder / "uci121" / "uci_small75.npz"
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as file:
        return _kept(file[f"{name}/X"].astype(np.float64), file[f"{name}/y"])


def split_rows(
    table: PublicTable, seed: int, share: float = 0.25
) -> tuple[PublicTable, PublicTable]:
    """Splits a table into rows to fit and rows to test, columns scaled by the first.

    Args:
        table: The table.
        seed: Of the split.
        share: Of the rows to test.
    """
    order = np.random.default_rng(seed).permutation(len(table.numbers))[:MOST_ROWS]
    cut = round((1 - share) * len(order))
    train, test = table.take(order[:cut]), table.take(order[cut:])
    mean, spread = train.numbers.mean(0), train.numbers.std(0)
    kept = spread > 0
    scaled = [
        PublicTable((part.numbers[:, kept] - mean[kept]) / spread[kept], part.names)
        for part in (train, test)
    ]
    return scaled[0], scaled[1]


def _of_statsmodels(name: str) -> PublicTable | None:
    if find_spec("statsmodels") is None:
        return None
    from statsmodels import datasets as bundled  # pyright: ignore[reportMissingImports]

    frame = getattr(bundled, name).load_pandas().data
    left_out, names = STATSMODELS[name]
    kinds = None if names is None else frame[names].to_numpy()
    lost = [*left_out, *([] if names is None else [names])]
    frame = frame.drop(columns=lost).select_dtypes("number")
    return _kept(frame.to_numpy(np.float64), kinds)


def _kept(numbers: np.ndarray, names: np.ndarray | None) -> PublicTable:
    """Leaves out rows with unknown cells, and columns that are constant or there twice."""
    whole = ~np.isnan(numbers).any(1)
    numbers = numbers[whole]
    _, first = np.unique(numbers, axis=1, return_index=True)
    numbers = numbers[:, sorted(first)]
    numbers = numbers[:, numbers.std(0) > 0]
    if names is None:
        return PublicTable(numbers, None)
    return PublicTable(numbers, np.unique(names[whole], return_inverse=True)[1])
