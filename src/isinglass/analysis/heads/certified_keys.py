"""How many keys a query must read so that what it leaves out is proven to be little."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from isinglass._support.typing import Float, Int
from isinglass._support.validation import check_above_zero, check_count, check_fraction
from isinglass.analysis.heads.attention_heads import FAR, AttentionHeads
from isinglass.analysis.heads.held_mass import count_held
from isinglass.errors import IntractableError

__all__ = ["CertifiedKeys", "certify_keys"]


class CertifiedKeys(NamedTuple):
    """What a certificate takes of each query, ``(b, H, R)``.

    Attributes:
        keys: How many keys the query sees.
        needed: The least number of keys that hold all but the mass that may be dropped: what no
            selection can go below.
        read: How many keys are read until the bound is met.
        bound: What the mass of the rest is proven to stay below.
        dropped: What it is.
    """

    keys: Int[Tensor, "b H R"]
    needed: Int[Tensor, "b H R"]
    read: Int[Tensor, "b H R"]
    bound: Float[Tensor, "b H R"]
    dropped: Float[Tensor, "b H R"]


@torch.no_grad()
def certify_keys(
    heads: AttentionHeads,
    rows: Int[Tensor, " R"],
    *,
    dropped: float = 1e-3,
    block: int = 32,
) -> CertifiedKeys:
    r"""Computes how many keys each query must read so that the mass it drops is bounded.

    Keys lie in blocks of neighbors. No score in a block B is above
    u_B = min(β(q·c + |q|ρ), β Σ_i max(q_i l_i, q_i h_i)), c its mean, ρ the largest distance to
    it, l and h its least and largest numbers. Blocks are read in the order of u_B, until
    U/(Z + U) ≤ ε with Z = Σ exp(s) of what is read and U = Σ n_B exp(u_B) of the rest. The mass
    dropped is no larger, whatever the values are.

    Args:
        heads: The heads, under a causal mask or none, without null patterns.
        rows: Which queries, ascending.
        dropped: ε, the mass that may be dropped, above 0 and below 1.
        block: Keys in a block. Their bounds are read too, and are not counted in ``read``.

    Raises:
        ParameterError: If a number is out of range.
        IntractableError: If scores have a bias, a cap or a null pattern, or a mask is a tensor.

    Examples:
        >>> k = torch.randn(1, 1, 256, 8)
        >>> heads = AttentionHeads(6 * k, k, k, mask="causal")
        >>> found = certify_keys(heads, torch.arange(128, 256), block=8)
        >>> bool((found.dropped <= found.bound).all()), bool((found.needed <= found.read).all())
        (True, True)
    """
    check_fraction("dropped", check_above_zero("dropped", dropped))
    check_count("block", block)
    altered = heads.bias is not None or heads.null is not None or heads.softcap is not None
    if altered or isinstance(heads.mask, Tensor):
        raise IntractableError(
            "scores with more in them than q·k", "Leave out mask, bias, null and softcap"
        )
    each = max(1, 2**24 // (heads.query.shape[0] * heads.query.shape[1] * heads.key.shape[2]))
    found = [_certify(heads, part, dropped, block) for part in rows.split(each)]
    return CertifiedKeys(*(torch.cat(some, 3).flatten(1, 2) for some in zip(*found, strict=True)))


def _certify(heads: AttentionHeads, rows: Tensor, dropped: float, block: int) -> tuple[Tensor, ...]:
    states = heads.states(rows)
    scored = heads.score(states, rows)
    scored.hide()
    width = scored.scores.shape[-1]
    rest = -width % block
    scores = torch.nn.functional.pad(scored.scores * math.log(2), (0, rest), value=-FAR)
    top = scores.amax(-1, keepdim=True)
    mass = (scores - top).exp().unflatten(-1, (-1, block))  # of each key, the largest 1
    count = _counts(heads, rows, width, block).to(states.dtype)
    bounds = _bounds(heads, states, width, block)
    bounds = torch.minimum((bounds - top).exp(), bounds.new_tensor(FAR))
    most = torch.where(count > 0, bounds, -1.0)
    order = most.argsort(-1, descending=True)
    held = mass.sum(-1).gather(-1, order).double().cumsum(-1)
    sizes = count.expand_as(most).gather(-1, order).double()
    rests = sizes * bounds.gather(-1, order).double()
    left = (rests.flip(-1).cumsum(-1).flip(-1) - rests).clamp(min=0)
    share = left / (held + left)
    enough = (share <= dropped).long().argmax(-1, keepdim=True)
    whole = held[..., -1:]
    flat = mass.flatten(-2).flatten(0, -2)
    needed = count_held(flat, flat.sum(-1), 1 - dropped, torch.full_like(flat[:, 0], -6.0))
    return (
        scored.keys().expand_as(top[..., 0]).long(), needed.view(top.shape[:-1]),
        sizes.cumsum(-1).gather(-1, enough)[..., 0].long(),
        share.gather(-1, enough)[..., 0].float(),
        (1 - held.gather(-1, enough) / whole)[..., 0].clamp(min=0).float(),
    )  # fmt: skip


def _counts(heads: AttentionHeads, rows: Tensor, width: int, block: int) -> Tensor:
    """How many keys of each block a query sees, ``(R, blocks)``."""
    starts = torch.arange(0, width, block, device=rows.device)
    last = rows[:, None] + 1 if heads.mask == "causal" else rows[:, None] * 0 + width
    return (last.clamp(max=width) - starts).clamp(min=0, max=block)


def _bounds(heads: AttentionHeads, states: Tensor, width: int, block: int) -> Tensor:
    """What no score of a block is above, ``(b, G, r, R, blocks)``."""
    keys = heads.key[:, :, :width]
    size = -(-width // block)
    at = torch.arange(size * block, device=keys.device).clamp(max=width - 1)  # the last again
    blocks = keys[:, :, at].unflatten(2, (size, block))
    center = blocks.mean(3)
    radius = (blocks - center[..., None, :]).norm(dim=-1).amax(-1)
    low, high = blocks.amin(3), blocks.amax(3)
    flat = states.flatten(2, 3)
    ball = flat @ center.mT + flat.norm(dim=-1, keepdim=True) * radius[:, :, None]
    box = flat.clamp(min=0) @ high.mT + flat.clamp(max=0) @ low.mT
    # Sums in another order than those of the scores: a little more, so that it stays a bound.
    slack = 1e-5 * flat.norm(dim=-1, keepdim=True) * (center.norm(dim=-1) + radius)[:, :, None]
    least = heads.scale * (torch.minimum(ball, box) + slack)
    return least.unflatten(2, states.shape[2:4])
