"""How often a state and an action were met together."""

from __future__ import annotations

from typing import Any

import numpy as np

from isinglass._support.validation import check_count
from isinglass.errors import ShapeError

__all__ = ["VisitCounts", "told_apart"]

AXES = 8  # numbers that a cell is told by, drawn from more by random projection
LISTED = 64  # whole numbers that are told apart one by one
CELLS = 2.0  # a standard deviation
TABLE = 2**20  # counts; pairs that share one by chance look more familiar


def told_apart(rows: np.ndarray) -> bool:
    """Tells whether rows are counted one by one, as up to 64 whole numbers are; else in cells.

    Examples:
        >>> told_apart(np.zeros((5, 64), np.int8)), told_apart(np.zeros((5, 2)))
        (True, False)
    """
    return rows.dtype.kind in "biu" and rows.size <= LISTED * len(rows)


class VisitCounts:
    """Counts how often pairs of a state and an action were met, real numbers in cells.

    Up to 64 whole numbers are the same if all are equal. Real numbers are the same if they fall
    into one cell, half a standard deviation wide on each axis; of more than 8 numbers 8 random
    projections are taken. Means and deviations are those of the rows given to :meth:`scale_to`.

    References: Tang et al. 2017, "#Exploration", arXiv:1611.04717 (counts of hashed states);
    Datar et al. 2004, "Locality-sensitive hashing scheme based on p-stable distributions".

    Args:
        seed: Seed of the projections and of the hash.

    Attributes:
        different: How many different pairs were counted.

    Raises:
        ParameterError: If the seed is no whole number of zero or above.

    Examples:
        >>> counts = VisitCounts()
        >>> states, actions = np.array([[0], [0], [1]]), np.array([[1], [1], [1]])
        >>> counts.scale_to(states, actions)
        >>> codes = counts.codes(states, actions)
        >>> counts.add(codes)
        >>> counts.of(codes)
        array([2, 2, 1])
        >>> counts.different
        2
        >>> counts.of(counts.codes_of_all(np.array([[0], [1]]), np.array([[0], [1]])))
        array([[0, 2],
               [0, 1]])
    """

    def __init__(self, seed: int = 0) -> None:
        self._rng = np.random.default_rng(check_count("seed", seed, least=0))
        self._table = np.zeros(TABLE, dtype=np.int64)
        self._parts: list[_Cells] = []
        self.different = 0

    def scale_to(self, *parts: np.ndarray) -> None:
        """Takes means and deviations of real numbers from these rows, and forgets all counts."""
        self._parts = [_Cells(part, self._rng) for part in parts]
        self._table[:] = 0
        self.different = 0

    @property
    def scaled(self) -> bool:
        """Whether it is known what is near."""
        return bool(self._parts)

    def codes(self, *parts: np.ndarray) -> np.ndarray:
        """Returns a number for each row of the parts, such as states and actions: its cell.

        Raises:
            ShapeError: If the parts are other than those of ``scale_to``.
        """
        return _places(np.add.reduce(self._hashes(parts)))

    def codes_of_all(self, *parts: np.ndarray) -> np.ndarray:
        """Returns the numbers of each row of the first parts beside every row of the last one.

        Args:
            parts: Such as states, n rows, and all actions, m rows.

        Returns:
            ``(n, m)``.

        Raises:
            ShapeError: If the parts are other than those of ``scale_to``.
        """
        *first, last = self._hashes(parts)
        return _places(np.add.reduce(first)[:, None] + last)

    def _hashes(self, parts: tuple[np.ndarray, ...]) -> list[Any]:
        found = tuple(np.reshape(part, (len(part), -1)).shape[1] for part in parts)
        known = tuple(cells.width for cells in self._parts)
        if found != known:
            raise ShapeError(
                f"rows of {found} numbers after rows of {known}", "Call scale_to with such rows"
            )
        return [cells.hash(part) for cells, part in zip(self._parts, parts, strict=True)]

    def add(self, codes: np.ndarray) -> None:
        """Counts these pairs once more."""
        self.different += len(np.unique(codes[self._table[codes] == 0]))
        np.add.at(self._table, codes, 1)

    def of(self, codes: np.ndarray) -> np.ndarray:
        """Returns how often each pair was met."""
        return self._table[codes]


def _places(hashes: Any) -> np.ndarray:
    """Returns where in the table each pair is counted: the high bits of its hash."""
    return (hashes >> np.uint64(64 - TABLE.bit_length() + 1)).astype(np.int64)


class _Cells:
    """The cells of one part of a pair, and their hash: Σ_i m_i·cell_i modulo 2^64, m_i odd."""

    def __init__(self, rows: np.ndarray, rng: np.random.Generator) -> None:
        numbers = np.reshape(rows, (len(rows), -1))
        self.width = numbers.shape[1]
        self._whole = told_apart(rows)
        self._projection = None
        if not self._whole:
            numbers = numbers.astype(np.float64)
            spread = numbers.std(0)
            self._center, self._spread = numbers.mean(0), np.where(spread > 0, spread, 1.0)
            if self.width > AXES:
                shape = self.width, AXES
                self._projection = rng.standard_normal(shape) / np.sqrt((spread > 0).sum() or 1)
            self._shift = rng.random(min(self.width, AXES))
        many = self.width if self._whole else min(self.width, AXES)
        self._factors = 2 * rng.integers(2**63, size=many, dtype=np.uint64) + np.uint64(1)

    def hash(self, rows: np.ndarray) -> np.ndarray:
        numbers = np.reshape(rows, (len(rows), -1))
        if not self._whole:
            numbers = (numbers - self._center) / self._spread
            if self._projection is not None:
                numbers = numbers @ self._projection
            numbers = np.floor(CELLS * numbers + self._shift)
        mixed = numbers.astype(np.int64).astype(np.uint64) * self._factors
        # A sum alone keeps neighbors together in the high bits: mix before the parts are added.
        total = mixed.sum(1, dtype=np.uint64)
        return (total ^ (total >> np.uint64(29))) * self._factors[0]
