"""Attention by look-up: the softmax average replaced by an average of draws from it."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from isinglass._shapes import Bool, Float
from isinglass.checks import check_count, check_finite, check_like, check_positive, check_tensor
from isinglass.errors import DomainError, ShapeError
from isinglass.units import AveragedOneHot

__all__ = ["stochastic_attention"]


def stochastic_attention(
    query: Float[Tensor, "*queries L query_features"],
    key: Float[Tensor, "*keys S key_features"],
    value: Float[Tensor, "*values number_of_values e"],
    draws: int | None = None,
    *,
    beta: float | None = None,
    mask: Bool[Tensor, "*mask"] | None = None,
    generator: Generator | None = None,
) -> Float[Tensor, "*batch L e"]:
    r"""One attention head that looks m = ``draws`` keys up instead of averaging over all.

        n ~ Multinomial(m, softmax(β K q)),   output = (n/m)ᵀ V

    Unbiased for every m, with variance falling as 1/m; m → ∞ is softmax(βKq)ᵀV, the Transformer;
    m = 1 is hard attention. A trained head needs no retraining. Gradients flow to the values.

    Reference: Vaswani et al. 2017, arXiv:1706.03762; Ramsauer et al. 2020, arXiv:2008.02217.

    Args:
        query: ``(*batch, L, d)``.
        key: ``(*batch, S, d)``.
        value: ``(*batch, S, e)``.
        draws: m; None is m → ∞, softmax attention itself.
        beta: β > 0, inverse temperature of the softmax; None is 1/√d.
        mask: True where a query may look at a key, broadcast to ``(*batch, L, S)``; a query that
            may look at none gets zeros.
        generator: Source of randomness; None is torch's global one.

    Returns:
        ``(*batch, L, e)``.

    Raises:
        ShapeError: If queries and keys differ in features, or keys and values in number.
        DomainError: If a value is not finite, dtypes or devices differ, or the mask is not boolean.
        ParameterError: If ``draws`` is not a whole number of at least one, or ``beta <= 0``.

    Examples:
        >>> import torch
        >>> generator = torch.Generator().manual_seed(0)
        >>> q, k, v = torch.randn(3, 5, 4, generator=generator)
        >>> exact = stochastic_attention(q, k, v)
        >>> drawn = stochastic_attention(q, k, v, draws=100_000, generator=generator)
        >>> bool((drawn - exact).abs().max() < 0.02)
        True
    """
    operation = "stochastic_attention"
    for name, rows in (("query", query), ("key", key), ("value", value)):
        check_tensor(operation, name, rows)
        if not rows.is_floating_point() or rows.ndim < 2 or rows.shape[-2] == 0:
            raise ShapeError(
                operation,
                f"a {name} of shape {tuple(rows.shape)} and dtype {rows.dtype}",
                "Give floating rows of features, (*batch, rows, features), at least one row",
            )
        check_like(operation, rows, query)
        check_finite(operation, name, rows)
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise ShapeError(
            operation,
            f"query {tuple(query.shape)}, key {tuple(key.shape)}, value {tuple(value.shape)}",
            "Queries and keys need the same features, keys and values the same number of rows",
        )
    beta = (
        1 / math.sqrt(query.shape[-1]) if beta is None else check_positive(operation, "beta", beta)
    )
    unit = AveragedOneHot(beta=beta, size=key.shape[-2])
    temperature = 0.0 if draws is None else 1 / (beta * check_count(operation, "draws", draws))
    scores = query @ key.mT
    if mask is None:
        return unit.sample(scores, temperature, generator) @ value
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        raise DomainError(operation, "a mask that is not boolean", "True where a query may look")
    try:
        mask = mask.expand(scores.shape)
    except RuntimeError as error:
        raise ShapeError(
            operation,
            f"a mask of shape {tuple(mask.shape)} for scores of {tuple(scores.shape)}",
            "Give a mask that can be broadcast to (*batch, queries, keys)",
        ) from error
    blind = ~mask.any(-1, keepdim=True)
    shares = unit.sample(scores.masked_fill(~(mask | blind), -torch.inf), temperature, generator)
    return shares.masked_fill(blind, 0.0) @ value
