"""The three inputs of a Hopfield layer: taken apart, checked, with their batch first."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from isinglass._support.validation import check_features, check_operand, check_tensor
from isinglass.errors import ShapeError
from isinglass.nn.hopfield.association import common_batch
from isinglass.nn.hopfield.options import HopfieldOptions

__all__ = ["NAMES", "Triple", "batch_first", "tensors_of"]

Triple = tuple[Tensor, Tensor, Tensor]
NAMES = ("stored pattern", "state", "pattern projection")


def tensors_of(given: object, *names: str) -> Any:
    """Returns the tensors of a tuple, as many as there are names.

    Raises:
        ShapeError: If it is no tuple of that many.
        DomainError: If one is no tensor.
    """
    if not isinstance(given, (tuple, list)) or len(given) != len(names):
        count = f" of {len(given)}" if isinstance(given, (tuple, list)) else ""
        raise ShapeError(
            f"an input of type {type(given).__name__}{count}",
            f"Give one tensor, or {len(names)}: ({', '.join(names)})",
        )
    for name, patterns in zip(names, given, strict=True):
        check_tensor(f"a {name}", patterns)
    return tuple(given)


def batch_first(patterns: Triple, options: HopfieldOptions, like: Tensor | None) -> Triple:
    """Returns stored patterns, states and projections as ``(batch, rows, features)``.

    One without batch is a batch of one, shared by the others. ``like`` has the dtype and device
    that all need, None is that of the states.

    Raises:
        ShapeError: If features, rows or batches do not fit.
        DomainError: If dtypes or devices differ.
    """
    like = patterns[1] if like is None else like
    found = []
    for name, given, size in zip(NAMES, patterns, options.expected_sizes, strict=True):
        check_features(given, given.shape[-1] if size is None and given.ndim else size or 0, name)
        check_operand(given, like, name)
        if given.ndim not in (2, 3):
            raise ShapeError(
                f"a {name} of shape {tuple(given.shape)}",
                "Give (batch, rows, features) or (rows, features)",
            )
        if given.ndim == 2:
            found.append(given.unsqueeze(0))
        else:
            found.append(given if options.batch_first else given.transpose(0, 1))
    stored, state, projection = found
    free = None in options.expected_sizes[:2]
    if (
        stored.shape[1] != projection.shape[1]
        or any(rows.shape[0] not in (1, common_batch(*found)) for rows in found)
        or (free and stored.shape[-1] != state.shape[-1])
    ):
        raise ShapeError(
            f"stored patterns {tuple(stored.shape)}, states {tuple(state.shape)}, pattern "
            f"projections {tuple(projection.shape)}",
            "Stored patterns and projections need the same rows, all three the same batch or "
            "none, static stored patterns and states the same features",
        )
    return stored, state, projection
