"""How wide numbers must be for what is done with them."""

from __future__ import annotations

from torch import Tensor, float16

__all__ = ["at_least_single", "wide_enough"]


def at_least_single(values: Tensor) -> Tensor:
    """Returns half precision as float32: it would lose small numbers from sums."""
    return values.float() if values.dtype.itemsize < 4 else values


def wide_enough(values: Tensor) -> Tensor:
    """Returns float16 as float32: scores and energies are beyond its range before states are."""
    return values.float() if values.dtype == float16 else values
