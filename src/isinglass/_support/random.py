"""Where draws come from, and weights to begin with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypedDict

import torch
from torch import Generator, Tensor

from isinglass._support.validation import check_deviation, check_generator

__all__ = ["noise", "source", "torch_seeded"]


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


@contextmanager
def torch_seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seeds what draws from torch's own streams, such as dropout, and puts them back afterwards.

    Examples:
        >>> with torch_seeded(0, torch.device("cpu")):
        ...     first = torch.rand(3)
        >>> with torch_seeded(0, torch.device("cpu")):
        ...     again = torch.rand(3)
        >>> bool((first == again).all())
        True
    """
    cuda = device.type == "cuda"
    with torch.random.fork_rng([device] if cuda else []):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed seeds all GPUs, too
        if cuda:
            torch.cuda.manual_seed(seed)
        yield
