"""Immune repertoires: bags of amino-acid sequences, read from files or simulated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from isinglass.errors import FileError, ParameterError

__all__ = [
    "LADDER", "LETTERS", "MOTIF", "NOTHING", "SETS", "Repertoires", "Rung", "encoded", "read",
    "simulated",
]  # fmt: skip

LETTERS = "ACDEFGHIKLMNPQRSTVWY"
NOTHING = len(LETTERS)  # the code of a place behind the end of a sequence
MOTIF = "SFEN"
SHORTEST, LONGEST = 10, 20  # letters of a simulated sequence
# Names of the files, and of the columns that hold bag, sequence and label.
SETS = {
    "immuneML": ("immuneml_quickstart", "rep", "cdr3_aa", "signal_disease"),
    "DeepRC example": ("deeprc_example", "ID", "amino_acid", "binary_target_1"),
}


@dataclass(frozen=True)
class Repertoires:
    """Bags of sequences and a label each.

    Attributes:
        bags: Codes of the letters, ``(sequences, places)`` each, of ``uint8``.
        labels: 0 or 1, ``(bags,)``.
    """

    bags: list[np.ndarray]
    labels: np.ndarray


@dataclass(frozen=True)
class Rung:
    """One rung of the ladder of witness rates.

    Attributes:
        rate: Share of the sequences of a positive bag that carry the motif.
        size: Sequences a bag.
        learned: Bags to learn from, half of them positive.
        asked: Bags that are asked about.
    """

    rate: float
    size: int
    learned: int
    asked: int


LADDER = {
    "10 %": Rung(0.1, 1_000, 1_000, 100),
    "1 %": Rung(0.01, 1_000, 3_000, 100),
    "0.1 %": Rung(0.001, 10_000, 300, 60),
    "0.01 %": Rung(0.0001, 300_000, 40, 16),
}


def encoded(sequences: np.ndarray) -> np.ndarray:
    """Returns the codes of sequences, filled up with :data:`NOTHING`, ``(sequences, longest)``.

    Raises:
        ParameterError: If a sequence has a letter that is no amino acid.
    """
    rows = np.asarray(sequences, dtype=np.bytes_)
    letters = rows.view(np.uint8).reshape(len(rows), rows.dtype.itemsize)
    codes = np.full(256, 255, dtype=np.uint8)
    codes[np.frombuffer(LETTERS.encode(), dtype=np.uint8)] = np.arange(NOTHING)
    codes[0] = NOTHING
    found = codes[letters]
    if (found == 255).any():
        where = int((found == 255).any(1).argmax())
        raise ParameterError(f"sequence {rows[where].decode()!r}", f"Give letters of {LETTERS}")
    return found


def read(folder: Path, name: str) -> Repertoires:
    """Reads a set of repertoires from the two files in a folder.

    Raises:
        FileError: If a file is not there.
        ParameterError: If a sequence has a letter that is no amino acid.
    """
    stem, bag, sequence, label = SETS[name]
    paths = [folder / f"{stem}_{part}.csv.gz" for part in ("sequences", "labels")]
    for path in paths:
        if not path.exists():
            raise FileError(f"{path} is missing", "Give the folder that holds it")
    rows, known = (pd.read_csv(path) for path in paths)
    groups = dict(tuple(rows.groupby(bag, sort=False)[sequence]))
    truth = known.set_index(bag)[label].astype(str).isin(["True", "+"])
    bags = [encoded(groups[who].to_numpy(dtype=np.str_)) for who in truth.index]
    return Repertoires(bags, truth.to_numpy(dtype=np.int64))


def simulated(rung: Rung, index: int, seed: int) -> np.ndarray:
    """Draws a bag, of which every second, from index 1, has the motif at a rate.

    Letters are uniform, lengths uniform in 10 to 20; a positive bag's witnesses, ``rate · size`` of
    them, have the motif written over a place drawn at random.

    Returns:
        Codes, ``(size, 20)``.
    """
    rng = np.random.default_rng([seed, rung.size, round(1 / rung.rate), index])
    bag = rng.integers(0, NOTHING, (rung.size, LONGEST), dtype=np.uint8)
    lengths = rng.integers(SHORTEST, LONGEST + 1, rung.size)
    if index % 2:
        witnesses = rng.permutation(rung.size)[: round(rung.rate * rung.size)]
        start = rng.integers(0, lengths[witnesses] - len(MOTIF) + 1)
        places = start[:, None] + np.arange(len(MOTIF))
        bag[witnesses[:, None], places] = encoded(np.array([MOTIF]))
    bag[np.arange(LONGEST) >= lengths[:, None]] = NOTHING
    return bag
