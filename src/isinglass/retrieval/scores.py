"""Scores of keys, block by block: by the whole query, or by the features of it that are known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from isinglass._support.precision import wide_enough
from isinglass._support.typing import Bool, Float, Int

__all__ = [
    "BLOCK",
    "Nearest",
    "everywhere",
    "keys_center",
    "nearest_keys",
    "overlaps",
    "partial_scores",
    "score_blocks",
    "spaced_rows",
]

BLOCK = 2048  # keys at a time: they stay in the cache from scoring to summing
SAMPLE = 1000  # keys whose mean is what distances are measured about


class Nearest(NamedTuple):
    """The nearest key of each query, compared in its known features.

    Attributes:
        number: Its number, ``(*batch,)``.
        squared_distance: Σ_i (k_i − q_i)² over the known features, ``(*batch,)``; ∞ if none counts.
        log_mass: log Σ_μ exp(−½β|k_μ − q|²) over the known features, ``(*batch,)``.
    """

    number: Int[Tensor, "*batch"]
    squared_distance: Float[Tensor, "*batch"]
    log_mass: Float[Tensor, "*batch"]


def overlaps(
    queries: Float[Tensor, "*batch d"], keys: Float[Tensor, "N d"]
) -> Float[Tensor, "*batch N"]:
    """Computes k_μ·q of each query and key, those of half precision in single.

    Examples:
        >>> overlaps(torch.full((1, 2), 300.0).half(), torch.full((1, 2), 300.0).half())
        tensor([[180000.]])
    """
    return wide_enough(queries) @ wide_enough(keys).mT


def partial_scores(
    queries: Float[Tensor, "*batch d"], known: Bool[Tensor, "*mask d"], keys: Float[Tensor, "N d"]
) -> Float[Tensor, "*batch N"]:
    """Scores keys by −½|k − q|² over the known features, but for what all keys share.

        s_μ = Σ_{i known} (k_μi q_i − ½ k_μi²)

    The log posterior of key μ, over β, in a mixture of Gaussians N(k_μ, 1/β) of equal weights
    whose unknown features are integrated out. Unknown features may be anything, NaN included.

    Args:
        queries: ``(*batch, d)``.
        known: True where a feature is given, broadcast over the batch.
        keys: ``(N, d)``.

    Examples:
        >>> keys = torch.tensor([[1.0, 5.0], [3.0, 1.0]])
        >>> scores = partial_scores(
        ...     torch.tensor([2.9, torch.nan]), torch.tensor([True, False]), keys
        ... )
        >>> int(scores.argmax())
        1
    """
    return torch.cat(list(score_blocks(queries, keys, BLOCK, known)), -1)


def nearest_keys(
    queries: Float[Tensor, "*batch d"],
    known: Bool[Tensor, "*mask d"],
    keys: Float[Tensor, "N d"],
    beta: float = 1.0,
    *,
    beyond: float = -1.0,
    block: int = BLOCK,
) -> Nearest:
    """Finds the key nearest to each query in its known features, block by block.

    Args:
        queries: ``(*batch, d)``; unknown features may be anything.
        known: True where a feature is given, broadcast over the batch.
        keys: ``(N, d)``.
        beta: β > 0, inverse variance of the Gaussian around each key.
        beyond: Keys at a squared distance of at most this do not count: the query itself.
        block: How many keys are compared at a time.

    Examples:
        >>> known = torch.tensor([True, False])
        >>> found = nearest_keys(torch.tensor([0.9, 9.0]), known, torch.eye(2))
        >>> int(found.number), round(float(found.squared_distance), 3)
        (0, 0.01)
    """
    batch = queries.shape[:-1]
    best = wide_enough(queries.new_full(batch, torch.inf))
    number = torch.zeros(batch, dtype=torch.int64, device=queries.device)
    mass = torch.full_like(best, -torch.inf)
    apart = wide_enough(torch.where(known, queries - keys_center(keys), 0.0))
    length = apart.square().sum(-1, keepdim=True)
    start = 0
    for scores in score_blocks(queries, keys, block, known):
        distance = (length - 2 * scores).clamp_min(0)
        mass = torch.logaddexp(mass, torch.logsumexp(-beta / 2 * distance, -1))
        distance = torch.where(distance <= beyond, torch.inf, distance)
        nearest = distance.min(-1)
        number = torch.where(nearest.values < best, start + nearest.indices, number)
        best = torch.minimum(best, nearest.values)
        start += scores.shape[-1]
    return Nearest(number, best, mass)


def score_blocks(
    queries: Float[Tensor, "*batch d"],
    keys: Float[Tensor, "N d"],
    block: int,
    known: Bool[Tensor, "*mask d"] | None = None,
) -> Iterator[Float[Tensor, "*batch block"]]:
    """Yields the scores of each block of keys: k·q, or :func:`partial_scores` where given."""
    if known is None:
        yield from (overlaps(queries, part) for part in keys.split(block))
        return
    # Taken about a mean of the keys distances stay, and lose fewer digits to cancellation.
    center = keys_center(keys)
    shifted = wide_enough(torch.where(known, queries - center, 0.0))
    given = known.to(shifted.dtype)  # where all queries share it, one row of the second product
    for part in keys.split(block):
        near = wide_enough(part - center)
        yield shifted @ near.mT - given @ near.square().mT / 2


def keys_center(keys: Float[Tensor, "N d"]) -> Float[Tensor, " d"]:
    """Averages a thousand of the keys, evenly spaced."""
    return keys[spaced_rows(keys, SAMPLE)].mean(0)


def spaced_rows(keys: Tensor, most: int) -> Int[Tensor, " rows"]:
    """Returns the numbers of at most so many rows, evenly spaced from the first to the last."""
    return torch.linspace(0, len(keys) - 1, min(len(keys), most), device=keys.device).long()


def everywhere(states: Tensor) -> Bool[Tensor, " d"]:
    """Returns the mask of states of which every feature is known."""
    return torch.ones(states.shape[-1], dtype=torch.bool, device=states.device)
