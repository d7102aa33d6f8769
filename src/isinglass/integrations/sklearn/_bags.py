"""Bags of instances: lists of arrays, or one array and the bag of each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isinglass._support.typing import Bool, Float
from isinglass._support.wording import shown
from isinglass.errors import DomainError, ShapeError
from isinglass.integrations.sklearn._shared import check_learnable

__all__ = ["Bags"]


@dataclass(frozen=True)
class Bags:
    """Instances of all bags under one another, and how many each bag has.

    Attributes:
        rows: The instances, ``(instances, features)``.
        sizes: Instances of each bag, none empty, ``(bags,)``.
        order: Where each row was in what was given.

    Examples:
        >>> Bags.of([[[1.0, 2.0]], [[3.0, 4.0], [5.0, 6.0]]]).sizes.tolist()
        [1, 2]
        >>> Bags.of([[1.0], [2.0], [3.0]], bags=["b", "a", "b"]).rows.ravel().tolist()
        [1.0, 3.0, 2.0]
    """

    rows: np.ndarray
    sizes: np.ndarray
    order: np.ndarray

    @classmethod
    def of(cls, given: Any, bags: Any = None, *, learning: bool = False) -> Bags:
        """Reads bags, of which each may have another number of instances.

        Args:
            given: A sequence of arrays, ``(instances, features)`` each; or one array of instances.
            bags: Of one array, the bag of each row, by any label; bags come in the order in which
                they first appear.
            learning: Whether they are to be learned from, so that moments of them are taken.

        Raises:
            ShapeError: If there is no bag, one is empty or no matrix, they differ in width, or
                ``bags`` has not a label a row.
            DomainError: If a value is no number, NaN or infinite; in learning, beyond ±1e30.
        """
        if bags is not None:
            return cls._labeled(_matrix("X", given, learning), np.asarray(bags))
        if isinstance(given, np.ndarray) and given.dtype != object and given.ndim != 3:
            raise ShapeError(
                f"an array of shape {given.shape} without bags",
                "Give a list with an array a bag, or bags=, the bag of each row",
            )
        if not isinstance(given, Sequence | np.ndarray) or not len(given):
            raise ShapeError(f"X = {shown(given)}", "Give a list with an array a bag")
        parts = [_matrix(f"bag {index}", part, learning) for index, part in enumerate(given)]
        width = parts[0].shape[1]
        for index, part in enumerate(parts):
            if part.shape[1] != width:
                raise ShapeError(
                    f"bag {index} has {part.shape[1]} features, bag 0 has {width}",
                    "Give all instances the same features",
                )
        rows = np.concatenate(parts)
        return cls(rows, np.array([len(part) for part in parts]), np.arange(len(rows)))

    @classmethod
    def _labeled(cls, rows: np.ndarray, labels: np.ndarray) -> Bags:
        if labels.shape != rows.shape[:1]:
            raise ShapeError(
                f"bags of shape {labels.shape} for {len(rows)} instances",
                "Give the bag of each row of X",
            )
        if labels.dtype.kind == "f" and not np.isfinite(labels).all():
            raise DomainError("bags with labels that are NaN or infinite", "Name each row's bag")
        _, first, index, sizes = np.unique(
            labels, return_index=True, return_inverse=True, return_counts=True
        )
        rank = np.argsort(np.argsort(first))  # by first appearance, not by label
        return cls(
            rows[order := np.argsort(rank[index], kind="stable")], sizes[np.argsort(first)], order
        )

    def __len__(self) -> int:
        """Returns how many bags there are."""
        return len(self.sizes)

    def labels_of(self, given: Any) -> np.ndarray:
        """Returns one label a bag, from one a bag or one a row.

        Args:
            given: Labels of the bags in their order, or of the rows as they were given.

        Raises:
            ShapeError: If they are neither, or rows of a bag differ.
        """
        labels = np.asarray(given)
        if labels.shape == (len(self),):
            return labels
        if labels.shape != (len(self.rows),):
            raise ShapeError(
                f"labels of shape {labels.shape} for {len(self)} bags", "Give one label a bag"
            )
        first = np.cumsum(self.sizes) - self.sizes
        ordered = labels[self.order]
        found = ordered[first]
        if (ordered != np.repeat(found, self.sizes)).any():
            raise ShapeError("rows of one bag with several labels", "Give one label a bag")
        return found

    def split(self, values: np.ndarray) -> list[np.ndarray]:
        """Returns values of the rows as one array a bag."""
        return np.split(values, np.cumsum(self.sizes)[:-1])

    def padded(
        self, rows: Float[Tensor, "rows features"], index: np.ndarray
    ) -> tuple[Float[Tensor, "bags most features"], Bool[Tensor, "bags most"]]:
        """Returns some bags side by side, filled up with zeros, and where they are filled up.

        Args:
            rows: The instances as the network takes them.
            index: Which bags.
        """
        sizes = torch.from_numpy(self.sizes[index]).to(rows.device)
        first = torch.from_numpy((np.cumsum(self.sizes) - self.sizes)[index]).to(rows.device)
        place = torch.arange(int(sizes.max()), device=rows.device)
        empty = place >= sizes.unsqueeze(1)
        taken = (first.unsqueeze(1) + place).masked_fill(empty, 0)
        return rows[taken].masked_fill(empty.unsqueeze(-1), 0), empty


def _matrix(name: str, given: Any, learning: bool) -> np.ndarray:
    try:
        found = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DomainError(f"{name} = {shown(given)}", "Give numbers, a row an instance") from error
    if found.ndim != 2 or 0 in found.shape:
        raise ShapeError(
            f"{name} of shape {found.shape}", "Give (instances, features), one instance at least"
        )
    if not np.isfinite(found).all():
        raise DomainError(f"{name} has values that are NaN or infinite", "Fill the gaps first")
    if learning:
        check_learnable(name, found)
    return found
