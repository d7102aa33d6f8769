"""Where draws come from, and weights to begin with."""

from __future__ import annotations

from typing import TypedDict

import torch
from torch import Generator, Tensor

from isinglass._support.validation import check_deviation, check_generator

__all__ = ["noise", "source"]


class Source(TypedDict, total=False):
    """The keyword of torch's samplers."""

    generator: Generator


def source(generator: Generator | None) -> Source:
    """Returns the generator as the keyword of a sampler of torch.

    None is left out: ``torch.rand(n, generator=None)`` cannot be compiled for n that changes.

    Examples:
        >>> source(None)
        {}
    """
    return {} if generator is None else {"generator": generator}


def noise(scale: float, rows: int, columns: int, generator: Generator | None) -> Tensor:
    """Draws weights from N(0, scale²).

    Raises:
        ParameterError: If ``scale`` is no standard deviation.
    """
    check_generator(generator)
    return check_deviation("scale", scale) * torch.randn(rows, columns, **source(generator))
