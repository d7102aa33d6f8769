"""Draws from tables of weights, many rows at once, on any device."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from isinglass._support.precision import at_least_single
from isinglass._support.random import source
from isinglass._support.typing import Float, Int
from isinglass._support.validation import is_hollow
from isinglass.errors import IntractableError

__all__ = ["draw_counts", "draw_indices"]


def draw_indices(
    weights: Float[Tensor, "*batch N"], draws: int, generator: Generator | None = None
) -> Int[Tensor, "*batch {draws}"]:
    """Draws from each row, with replacement, by inverting its distribution function.

    A draw costs log N comparisons once the row is summed up; a weight of zero is never drawn.

    Args:
        weights: At least zero, not all zero in a row; they need not sum to one.
        draws: How many to draw from each row.
        generator: Source of randomness; None is torch's global one.

    Examples:
        >>> generator = torch.Generator().manual_seed(0)
        >>> draw_indices(torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 2.0]]), 4, generator)
        tensor([[1, 1, 1, 1],
                [2, 2, 2, 2]])
    """
    reached = at_least_single(weights).cumsum(-1)
    total = reached[..., -1:]
    uniform = torch.rand(
        *weights.shape[:-1], draws, dtype=total.dtype, device=total.device, **source(generator)
    )
    # A product that rounds up to the total would lie beyond the last weight that is not zero.
    below = (uniform * total).minimum(total.nextafter(torch.zeros_like(total)))
    return torch.searchsorted(reached, below, right=True).clamp_max(weights.shape[-1] - 1)


def draw_counts(
    weights: Float[Tensor, "*batch N"], draws: int, generator: Generator | None = None
) -> Float[Tensor, "*batch N"]:
    """Draws n ~ Multinomial(m, w/Σw) for each row: how often each of N was drawn.

    Few draws are drawn one by one. Beyond two a weight, the number is split in halves of the row
    by binomial draws instead, then in quarters, and so on, at a cost that m has no part in; but
    under ``torch.compile`` all are drawn one by one.

    Args:
        weights: At least zero; a row that has NaN, or zeros only, counts NaN.
        draws: m.
        generator: Source of randomness; None is torch's global one.

    Returns:
        Counts, in float32 at least, because half precision cannot count far.

    Raises:
        IntractableError: If many are drawn under ``vmap`` with the same randomness for all.

    Examples:
        >>> generator = torch.Generator().manual_seed(0)
        >>> counts = draw_counts(torch.tensor([0.0, 1.0, 3.0]), 10_000, generator)
        >>> counts.sum(), counts[0], bool((counts[1] - 2500).abs() < 200)
        (tensor(10000.), tensor(0.), True)
    """
    weights = at_least_single(weights)
    # Binomial draws cannot be compiled, nor be made of a shape alone.
    if draws > 2 * weights.shape[-1] and not (torch.compiler.is_compiling() or is_hollow(weights)):
        return _split_counts(weights, draws, generator)
    picked = draw_indices(weights, draws, generator)
    total = weights.sum(-1, keepdim=True)
    one = (total / total).expand(picked.shape)  # NaN where nothing can be drawn
    return torch.zeros_like(weights).scatter_add(-1, picked, one)


def _split_counts(weights: Tensor, draws: int, generator: Generator | None) -> Tensor:
    """The draws of a whole row shared between its halves, and so on down to single weights."""
    size = weights.shape[-1]
    levels = [torch.nn.functional.pad(weights, (0, (1 << (size - 1).bit_length()) - size))]
    while levels[-1].shape[-1] > 1:
        levels.append(levels[-1].unflatten(-1, (-1, 2)).sum(-1))
    total = levels.pop()
    counts = torch.full_like(total, draws)
    while levels:
        halves = levels.pop().unflatten(-1, (-1, 2))
        share = (halves[..., 0] / halves.sum(-1)).nan_to_num(0.0)
        left = _binomial(counts, share, generator)
        counts = torch.stack([left, counts - left], -1).flatten(-2)
    return counts[..., :size] * (total / total)


def _binomial(counts: Tensor, share: Tensor, generator: Generator | None) -> Tensor:
    try:
        return torch.binomial(counts, share, **source(generator))
    except RuntimeError as error:
        if "same randomness" not in str(error):
            raise
        raise IntractableError(
            'vmap with randomness="same", whose binomial draws torch cannot make',
            'Give vmap randomness="different", or at most two draws a weight',
            operation="draws by halves of a row",
        ) from error
