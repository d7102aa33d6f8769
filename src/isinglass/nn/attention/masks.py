"""Masks of attention, brought to one shape and joined."""

from __future__ import annotations

import torch
from torch import Tensor

from isinglass._support.validation import check_attention_mask

__all__ = ["keys_mask", "merge_masks", "pairs_mask"]


def pairs_mask(
    mask: Tensor | None,
    pairs: tuple[int, int],
    batch: int,
    heads: int,
    causal: bool,
    like: Tensor,
) -> Tensor | None:
    """Returns ``attn_mask`` as it broadcasts to ``(N, heads, L, S)``."""
    if mask is None:
        return torch.ones(pairs, dtype=torch.bool, device=like.device).triu(1) if causal else None
    _check_mask("attn_mask", mask, (pairs, (batch * heads, *pairs)), like)
    return mask.unflatten(0, (batch, heads)) if mask.ndim == 3 else mask


def keys_mask(
    mask: Tensor | None, keys: int, batch: int, batched: bool, like: Tensor
) -> Tensor | None:
    """Returns ``key_padding_mask`` as it broadcasts to ``(N, heads, L, S)``."""
    if mask is None:
        return None
    _check_mask("key_padding_mask", mask, ((batch, keys) if batched else (keys,),), like)
    return mask.reshape(batch, 1, 1, keys)


def _check_mask(name: str, mask: Tensor, shapes: tuple[tuple[int, ...], ...], like: Tensor) -> None:
    check_attention_mask(name, mask, [(shape, "") for shape in shapes], like)


def merge_masks(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    """Joins two masks in one: both boolean, or both added."""
    if one is None or other is None:
        return other if one is None else one
    if one.dtype == other.dtype == torch.bool:
        return one | other
    added = [
        torch.zeros(mask.shape, device=mask.device).masked_fill(mask, -torch.inf)
        if mask.dtype == torch.bool
        else mask
        for mask in (one, other)
    ]
    return added[0] + added[1]
