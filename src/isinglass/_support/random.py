"""Where draws come from."""

from __future__ import annotations

from typing import TypedDict

from torch import Generator

__all__ = ["source"]


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
