"""Attention by look-up: the softmax average replaced by an average of draws from it."""

from __future__ import annotations

import math
from typing import Any, Literal, cast

import torch
from torch import Generator, Tensor

from isinglass._support.random import source
from isinglass._support.typing import Bool, Float
from isinglass._support.validation import (
    check_choice,
    check_count,
    check_device_of,
    check_finite,
    check_generator,
    check_like,
    check_positive,
    check_tensor,
    is_autocast,
    values_visible,
)
from isinglass.errors import DomainError, ParameterError, ShapeError
from isinglass.units._multinomial import draw_counts, draw_indices

__all__ = ["Gradient", "check_draws", "check_gradient", "look_up", "stochastic_attention"]

Gradient = Literal["softmax", "values"]

BLOCK = {"cpu": 2**20}  # weights at a time that stay in the cache; elsewhere fewer, longer calls


def stochastic_attention(
    query: Float[Tensor, "*queries L query_features"],
    key: Float[Tensor, "*keys S key_features"],
    value: Float[Tensor, "*values number_of_values e"],
    draws: int | None = None,
    *,
    beta: float | None = None,
    mask: Bool[Tensor, "*mask"] | None = None,
    gradient: Gradient = "softmax",
    generator: Generator | None = None,
) -> Float[Tensor, "*batch L e"]:
    r"""Looks m = ``draws`` keys up for each query instead of averaging over all.

        n ~ Multinomial(m, softmax(β K q)),   output = (n/m)ᵀ V

    Unbiased for every m, with variance falling as 1/m; m → ∞ is softmax(βKq)ᵀV, the Transformer;
    m = 1 is hard attention. A trained head needs no retraining. To queries and keys the draws
    hand the gradient of softmax attention, which is unbiased too: see
    :class:`~isinglass.nn.StochasticAttention`.

    Reference: Vaswani et al. 2017, arXiv:1706.03762; Ramsauer et al. 2020, arXiv:2008.02217.

    Args:
        query: ``(*batch, L, d)``.
        key: ``(*batch, S, d)``.
        value: ``(*batch, S, e)``.
        draws: m; None is m → ∞, softmax attention itself.
        beta: β > 0, inverse temperature of the softmax; None is 1/√d.
        mask: True where a query may look at a key, broadcast to ``(*batch, L, S)``; a query that
            may look at none gets zeros.
        gradient: ``"softmax"`` for the gradient of softmax attention to queries and keys,
            ``"values"`` for none to them.
        generator: Source of randomness; None is torch's global one.

    Returns:
        ``(*batch, L, e)``.

    Raises:
        ShapeError: If queries and keys differ in features, keys and values in number, or batches
            cannot be broadcast together.
        DomainError: If a value is not finite, dtypes or devices differ, or the mask is not boolean.
        ParameterError: If ``draws`` is not a whole number of at least one, ``beta <= 0``, there
            is no such ``gradient``, or a generator is given where activations are checkpointed.

    Examples:
        >>> import torch
        >>> generator = torch.Generator().manual_seed(0)
        >>> q, k, v = torch.randn(3, 5, 4, generator=generator)
        >>> exact = stochastic_attention(q, k, v)
        >>> drawn = stochastic_attention(q, k, v, draws=100_000, generator=generator)
        >>> bool((drawn - exact).abs().max() < 0.02)
        True
    """
    for name, rows in (("query", query), ("key", key), ("value", value)):
        check_tensor(name, rows)
        if not rows.is_floating_point() or rows.ndim < 2 or rows.shape[-1] == 0:
            raise ShapeError(
                f"a {name} of shape {tuple(rows.shape)} and dtype {rows.dtype}",
                "Give floating rows of features, (*batch, rows, features)",
            )
        check_like(rows, query)
        check_finite(name, rows)
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise ShapeError(
            f"query {tuple(query.shape)}, key {tuple(key.shape)}, value {tuple(value.shape)}",
            "Queries and keys need the same features, keys and values the same number of rows",
        )
    _check_batches(query, key, value)
    beta = 1 / math.sqrt(query.shape[-1]) if beta is None else check_positive("beta", beta)
    check_draws(draws)
    check_gradient(gradient)
    check_generator(generator)
    for name, values in (("keys", key), ("values", value)):
        check_device_of(name, values, query)
    if mask is not None:
        mask = ~_spread(mask, query, key)
    return look_up(
        query, key, value, draws, beta=beta, mask=mask, gradient=gradient, generator=generator
    )[0]


def look_up(
    query: Float[Tensor, "*queries L d"],
    key: Float[Tensor, "*keys S d"],
    value: Float[Tensor, "*values S e"],
    draws: int | None,
    *,
    beta: float,
    mask: Tensor | None = None,
    dropout: float = 0.0,
    gradient: Gradient = "softmax",
    generator: Generator | None = None,
    need_shares: bool = False,
    softcap: float | None = None,
) -> tuple[Float[Tensor, "*batch L e"], Float[Tensor, "*batch L S"] | None]:
    """Computes (n/m)ᵀV and, if asked for, n/m with n ~ Multinomial(m, softmax(βKq)).

    Args:
        query: What looks.
        key: What is looked at.
        value: What is averaged.
        draws: m; None is m → ∞.
        beta: β.
        mask: True where a query may *not* look, or numbers added to βKq.
        dropout: Probability of a share to be dropped, the rest growing to make up for it.
        gradient: What queries and keys get, as in :func:`stochastic_attention`.
        generator: Source of randomness; None is torch's global one.
        need_shares: Whether to return n/m.
        softcap: c, the scores being c·tanh(βKq/c) before the mask; None is no squash.

    Examples:
        >>> hidden = torch.tensor([[False, True], [True, True]])
        >>> look_up(torch.eye(2), torch.eye(2), torch.eye(2), 3, beta=1.0, mask=hidden)[0]
        tensor([[1., 0.],
                [0., 0.]])
    """
    if generator is not None and (draws is not None or dropout > 0):
        _check_not_replayed()
    learns = torch.is_grad_enabled() and any(t.requires_grad for t in (query, key, value))
    if key.shape[-2] == 0:  # nothing to draw from
        draws = None
    few = draws is not None and 2 * draws <= key.shape[-2]
    if draws is not None and few and not (learns or need_shares or dropout) and _eager(query):
        return _by_blocks(query, key, value, draws, beta, mask, generator, softcap), None
    weights, blind = _weights(query, key, beta, mask, softcap)
    if gradient == "values":
        weights = weights.detach()
    shares = weights if draws is None else _Drawn.apply(weights, draws, generator)
    if blind is not None:
        shares = shares.masked_fill(blind, 0.0)
    if dropout > 0:
        keep = torch.rand(shares.shape, device=shares.device, **source(generator)) >= dropout
        shares = shares * keep / ((1 - dropout) or 1.0)  # of all that is dropped nothing grows
    shares = shares.to(value.dtype)
    return shares @ value, shares if need_shares else None


def _check_not_replayed() -> None:
    """Refuses to draw anew for a backward pass, as checkpointed activations would."""
    if torch._C._current_graph_task_id() != -1:
        raise ParameterError(
            "a generator under activation checkpointing, whose second pass would draw otherwise",
            "Leave the generator None: torch.utils.checkpoint replays torch's global one",
        )


def _eager(values: Tensor) -> bool:
    """Whether loops over blocks are free to be as long as the data asks for."""
    return values_visible(values) and not is_autocast(values)


def _weights(
    query: Tensor,
    key: Tensor,
    beta: float,
    mask: Tensor | None,
    softcap: float | None,
    reuse: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """softmax(βKq), in float32 at least, and the queries that may look at no key.

    These get equal weights, for the caller to clear once it has drawn from them. Tables as large
    as the scores cost more to make than to compute with: ``reuse`` writes into the scores, which
    must then want no gradient, and be no stand-in for values that are not there.
    """
    if query.dtype == torch.float16:  # whose largest number scores soon exceed
        query, key = query.float(), key.float()
    scores = (beta * query) @ key.mT
    if scores.dtype.itemsize < 4:
        scores = scores.float()
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if mask is None:
        return torch.softmax(scores, -1), None
    hides = mask.dtype == torch.bool
    if reuse and hides:
        blind = mask.all(-1, keepdim=True)
        seldom = blind if bool(blind.any()) else None
        scores.masked_fill_(mask if seldom is None else mask & ~seldom, -torch.inf)
        return torch.softmax(scores, -1), seldom
    scores = scores.masked_fill(mask, -torch.inf) if hides else scores + mask
    blind = (scores == -torch.inf).all(-1, keepdim=True)
    return torch.softmax(scores.masked_fill(blind, 0.0), -1), blind


def _by_blocks(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    draws: int,
    beta: float,
    mask: Tensor | None,
    generator: Generator | None,
    softcap: float | None,
) -> Tensor:
    """Few draws without gradients: a block of queries at a time, its weights still in the cache."""
    tables = (query, key, value) if mask is None else (query, key, value, mask)
    batch = torch.broadcast_shapes(*(table.shape[:-2] for table in tables))
    count = math.prod(batch)
    query, key, value, *rest = (
        table.expand(*batch, *table.shape[-2:]).reshape(count, *table.shape[-2:])
        for table in tables
    )
    length, size = query.shape[-2], key.shape[-2]
    most = BLOCK.get(query.device.type, 2**27)
    heads, rows = max(1, most // max(1, length * size)), max(1, min(length, most // size))
    averaged = value.new_empty(*query.shape[:-1], value.shape[-1])
    for head in range(0, len(query), heads):
        some = slice(head, head + heads)
        for row in range(0, length, rows):
            block = (some, slice(row, row + rows))
            hidden = rest[0][block] if rest else None
            weights, blind = _weights(query[block], key[some], beta, hidden, softcap, reuse=True)
            found = _average(draw_indices(weights, draws, generator), value[some])
            averaged[block] = found if blind is None else found.masked_fill(blind, 0.0)
    return averaged.reshape(*batch, length, value.shape[-1])


class _Drawn(torch.autograd.Function):
    """The shares n/m, whose gradient is handed straight through to the weights.

    Since E[n/m] is the weights, so is the mean gradient that of the weights wherever what follows
    is linear in the shares, as the average over the values is.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(weights: Tensor, draws: int, generator: Generator | None) -> Tensor:
        return (draw_counts(weights, draws, generator) / draws).to(weights.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keeps nothing: the backward pass needs none of it."""

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:  # noqa: ARG004
        return grad_outputs[0], None, None


def _average(picked: Tensor, value: Tensor) -> Tensor:
    """The mean of the picked values: reads m of them a query, however many there are."""
    count, size, features = value.shape
    first = size * torch.arange(count, device=picked.device)[:, None, None]
    rows = (picked + first).flatten(0, 1)
    averaged = torch.nn.functional.embedding_bag(rows, value.reshape(-1, features), mode="mean")
    return averaged.reshape(count, -1, features)


def _check_batches(*tables: Tensor) -> None:
    batches = [tuple(table.shape[:-2]) for table in tables]
    try:
        torch.broadcast_shapes(*batches)
    except RuntimeError as error:
        raise ShapeError(
            f"batches of shape {', '.join(map(str, batches))}",
            "Give batches that can be broadcast together",
        ) from error


def _spread(mask: object, query: Tensor, key: Tensor) -> Tensor:
    """The mask, brought to the shape of the scores."""
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        raise DomainError("a mask that is not boolean", "True where a query may look")
    check_device_of("a mask", mask, query)
    batch = torch.broadcast_shapes(query.shape[:-2], key.shape[:-2])
    shape = (*batch, query.shape[-2], key.shape[-2])
    try:
        return mask.expand(shape)
    except RuntimeError as error:
        raise ShapeError(
            f"a mask of shape {tuple(mask.shape)} for scores of {shape}",
            "Give a mask that can be broadcast to (*batch, queries, keys)",
        ) from error


def check_draws(draws: int | None) -> int | None:
    """Returns m, or None for infinitely many.

    Raises:
        ParameterError: If it is neither None nor a whole number of at least one.
    """
    return None if draws is None else check_count("draws", draws)


def check_gradient(gradient: str) -> Gradient:
    """Returns what the scores get as a gradient.

    Raises:
        ParameterError: If there is no such choice.
    """
    check_choice("gradient", gradient, ("softmax", "values"))
    return cast("Gradient", gradient)
