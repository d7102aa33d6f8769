"""The softmax look-up in one pass over blocks of keys, without the matrix of scores."""

from __future__ import annotations

import math
from itertools import cycle
from typing import NamedTuple

import torch
from torch import Tensor

from isinglass._support.precision import wide_enough
from isinglass._support.typing import Bool, Float
from isinglass._support.validation import (
    check_count,
    check_device_of,
    check_features,
    check_finite,
    check_like,
    check_positive,
    check_tensor,
    check_values,
)
from isinglass.errors import DomainError, ShapeError
from isinglass.retrieval.scores import BLOCK, score_blocks

__all__ = ["Lookup", "check_lookup", "streamed_lookup", "without_denormals"]

QUERIES = 1024  # queries at a time


class Lookup(NamedTuple):
    """What a look-up found for each query.

    Attributes:
        average: Σ_μ p_μ v_μ with p = softmax(βKq), ``(*batch, e)``.
        log_partition: lse_β(Kq) = β⁻¹ log Σ_μ exp(β k_μ·q), ``(*batch,)``.
        omitted_mass_bound: A bound δ on the softmax mass that was left out, 0 to 1, ``(*batch,)``;
            zero where the sum is whole. Then |average − exact| ≤ 2δ max_μ |v_μ|, and
            log_partition is too small by at most −log(1 − δ)/β.

    Examples:
        >>> found = streamed_lookup(torch.eye(3)[:1], torch.eye(3), beta=9.0)
        >>> found.average.round(decimals=3), found.omitted_mass_bound
        (tensor([[1., 0., 0.]]), tensor([0.]))
    """

    average: Float[Tensor, "*batch e"]
    log_partition: Float[Tensor, "*batch"]
    omitted_mass_bound: Float[Tensor, "*batch"]


def streamed_lookup(
    queries: Float[Tensor, "*batch d"],
    keys: Float[Tensor, "N d"],
    beta: float,
    values: Float[Tensor, "N e"] | None = None,
    *,
    block: int = BLOCK,
    known: Bool[Tensor, "*mask d"] | None = None,
) -> Lookup:
    """Averages the values by softmax weight, with the normalizer, omitting nothing.

        average = Vᵀ softmax(βKq),   lse_β = β⁻¹ log Σ_μ exp(β k_μ·q)

    The running maximum and sum are carried from block to block, so that extra memory does not
    depend on the number of keys; they may lie in a memory-mapped file larger than memory
    (:func:`map_patterns`).

    Reference: Milakov & Gimelshein 2018, arXiv:1805.02867.

    Args:
        queries: ``(*batch, d)``.
        keys: ``(N, d)``.
        beta: β > 0, inverse temperature of the softmax.
        values: ``(N, e)``; None is the keys themselves, a step of the modern Hopfield net.
        block: How many keys are scored at a time.
        known: If given, True where a feature of a query is known, broadcast over the batch: keys
            are then scored by :func:`~isinglass.retrieval.scores.partial_scores` instead of k·q,
            and unknown features may be anything.

    Raises:
        ShapeError: If features or numbers of rows differ.
        DomainError: If dtypes or devices differ, a query is not finite, or ``known`` is not of
            booleans.
        ParameterError: If ``beta`` is not above zero, or ``block`` no count.

    Examples:
        >>> keys, queries = torch.eye(3), torch.tensor([[1.0, 0.0, 0.0]])
        >>> found = streamed_lookup(queries, keys, beta=9.0, block=2)
        >>> torch.allclose(found.average, torch.softmax(9 * queries @ keys.mT, -1) @ keys)
        True
    """
    if known is not None:
        _check_known(known, queries)
        queries = torch.where(known, queries, 0.0)
        known = known if known.ndim == 1 else known.expand(queries.shape).flatten(0, -2)
    values = check_lookup(queries, keys, values)
    beta = check_positive("beta", beta)
    block = check_count("block", block)
    rows = queries.reshape(-1, queries.shape[-1])
    masks = [known] if known is None or known.ndim == 1 else known.split(QUERIES)
    parts = [
        _stream(part, keys, values, beta, block, mask)
        for part, mask in zip(rows.split(QUERIES), cycle(masks))
    ]
    average, log_partition = (torch.cat(part) for part in zip(*parts, strict=True))
    batch = queries.shape[:-1]
    log_partition = log_partition.reshape(batch)
    return Lookup(
        average.reshape(*batch, values.shape[-1]), log_partition, torch.zeros_like(log_partition)
    )


def _check_known(known: Tensor, queries: Tensor) -> None:
    """Refuses a mask that is not of booleans, or fits no query."""
    for name, rows in (("queries", queries), ("known", known)):
        check_tensor(name, rows)
    check_device_of("known", known, queries)
    if known.dtype != torch.bool:
        raise DomainError(f"known of {known.dtype}", "Give booleans, True where known")
    shape = torch.Size([1] * (queries.ndim - known.ndim)) + known.shape
    fits = len(shape) == queries.ndim > 0 and shape[-1:] == queries.shape[-1:]
    if not fits or any(a not in (1, b) for a, b in zip(shape, queries.shape, strict=True)):
        raise ShapeError(
            f"known of shape {tuple(known.shape)} for queries of shape {tuple(queries.shape)}",
            "Give a flag for every feature, of all queries or of each",
        )


def _stream(
    queries: Tensor, keys: Tensor, values: Tensor, beta: float, block: int, known: Tensor | None
) -> tuple[Tensor, Tensor]:
    # Sums of half-precision numbers are kept in single precision.
    exact = torch.promote_types(queries.dtype, torch.float32)
    top = queries.new_full((len(queries), 1), -torch.inf, dtype=exact)
    mass = torch.zeros_like(top)
    total = queries.new_zeros(len(queries), values.shape[-1], dtype=exact)
    scored = score_blocks(
        queries if known is not None else wide_enough(queries) * beta, keys, block, known
    )
    for scores, far in zip(scored, values.split(block), strict=True):
        scores = (scores if known is None else scores * beta).to(exact)
        # The results do not depend on the maximum, hence their gradients neither.
        higher = torch.maximum(top, scores.detach().amax(-1, keepdim=True))
        weights = without_denormals(scores.sub_(higher)).exp_()
        fade = (top - higher).exp()
        mass = mass * fade + weights.sum(-1, keepdim=True)
        total = total * fade + (weights.to(far.dtype) @ far).to(exact)
        top = higher
    log_partition = (top + mass.log())[:, 0] / beta
    narrow = wide_enough(queries).dtype  # in which log-partitions do not overflow
    return (total / mass).to(queries.dtype), log_partition.to(narrow)


def without_denormals(scores: Float[Tensor, "*batch N"]) -> Float[Tensor, "*batch N"]:
    """Sets scores, counted from their maximum, to −∞ where exp(score)·value would be denormal.

    A processor multiplies denormal numbers some fifty times slower, and no sum to which the
    maximum adds 1 is changed by them.
    """
    info = torch.finfo(scores.dtype)
    return torch.nn.functional.threshold(scores, math.log(info.tiny / info.eps), -math.inf)


def check_lookup(queries: Tensor, keys: Tensor, values: Tensor | None) -> Tensor:
    """Refuses queries, keys and values that do not fit together; return the values.

    Raises:
        ShapeError: If features or numbers of rows differ.
        DomainError: If dtypes or devices differ, or a query is not finite.
    """
    for name, rows in (("queries", queries), ("keys", keys)):
        check_tensor(name, rows)
    if keys.ndim != 2 or keys.numel() == 0:
        raise ShapeError(f"keys of shape {tuple(keys.shape)}", "Give one key or more")
    check_features(queries, keys.shape[-1])
    check_finite("the queries", queries)
    check_like(queries, keys)
    if values is None:
        return keys
    check_values(values, keys)
    return values
