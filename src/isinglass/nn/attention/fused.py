"""Softmax attention that never forms its matrix, differentiable as often as wanted."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional as F

from isinglass._support.typing import Float
from isinglass._support.validation import values_visible

__all__ = ["fused_attention"]


def fused_attention(
    query: Float[Tensor, "*batch L d"],
    key: Float[Tensor, "*batch S d"],
    value: Float[Tensor, "*batch S e"],
    mask: Tensor | None = None,
    dropout: float = 0.0,
    *,
    scale: float = 1.0,
) -> Float[Tensor, "*batch L e"]:
    """Computes softmax(scale QKᵀ + mask) V by torch's fused kernels.

    These have a first derivative only, and none forward. Where more is asked for, the matrix is
    formed: in the backward pass of a gradient that is to be differentiated again, under ``vmap``
    and the other transforms of ``torch.func``, and in forward mode.

    Args:
        query: Q, of one batch with keys and values.
        key: K.
        value: V.
        mask: True where a query may look at a key, or numbers added to the scores.
        dropout: Share of the weights dropped.
        scale: What the scores are multiplied by.

    Examples:
        >>> q, k, v = torch.randn(3, 5, 4, requires_grad=True)
        >>> (slope,) = torch.autograd.grad(fused_attention(q, k, v).sum(), q, create_graph=True)
        >>> torch.autograd.grad(slope.square().sum(), v)[0].shape
        torch.Size([5, 4])
    """
    tables = (query, key, value) if mask is None else (query, key, value, mask)
    if torch.compiler.is_compiling():
        return _kernel(query, key, value, mask, dropout, scale)
    if forward_ad._current_level >= 0 or not all(map(values_visible, tables)):
        return _form(query, key, value, mask, dropout, scale)
    learns = torch.is_grad_enabled() and any(table.requires_grad for table in tables)
    if not learns or dropout > 0:  # which no kernel draws again
        return _kernel(query, key, value, mask, dropout, scale)
    box: list[Tensor] = []
    query, key, value, *rest = _Enter.apply(box, scale, *tables)  # pyright: ignore[reportGeneralTypeIssues]
    found = _kernel(query, key, value, rest[0] if rest else None, 0.0, scale)
    return _Leave.apply(box, found)  # pyright: ignore[reportReturnType]


def _kernel(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float, scale: float
) -> Tensor:
    return F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, dropout_p=dropout, scale=scale
    )


def _form(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float, scale: float
) -> Tensor:
    if query.dtype == torch.float16:  # whose largest number scores soon exceed
        query, key = query.float(), key.float()
    scores = (scale * query) @ key.mT
    if mask is not None:
        hides = mask.dtype == torch.bool
        scores = scores.masked_fill(~mask, -torch.inf) if hides else scores + mask
    return F.dropout(torch.softmax(scores, -1).to(value.dtype), dropout) @ value


class _Enter(torch.autograd.Function):
    """Hands the inputs to the kernel; forms their gradients anew if these are differentiated."""

    @staticmethod
    def forward(ctx: Any, box: list[Tensor], scale: float, *tables: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(*tables)
        ctx.box, ctx.scale = box, scale
        return tuple(table.view_as(table) for table in tables)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor | None) -> tuple[Tensor | None, ...]:
        wanted = ctx.needs_input_grad[2:]
        if not torch.is_grad_enabled():
            slopes = (
                slope if wants else None for slope, wants in zip(grad_outputs, wanted, strict=True)
            )
            return None, None, *slopes
        tables = [table.view_as(table) for table in ctx.saved_tensors]  # each by itself
        query, key, value, *mask = tables
        found = _form(query, key, value, mask[0] if mask else None, 0.0, ctx.scale)
        leaves = [table for table, wants in zip(tables, wanted, strict=True) if wants]
        found = iter(torch.autograd.grad(found, leaves, ctx.box.pop(), create_graph=True))
        return None, None, *(next(found) if wants else None for wants in wanted)


class _Leave(torch.autograd.Function):
    """Hands the kernel's output on, and the gradient of it to :class:`_Enter`."""

    @staticmethod
    def forward(ctx: Any, box: list[Tensor], found: Tensor) -> Tensor:
        ctx.box = box
        return found.view_as(found)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[None, Tensor]:
        if torch.is_grad_enabled():
            ctx.box[:] = grad_outputs
        return None, grad_outputs[0]
