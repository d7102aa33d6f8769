"""Attention as memories, and memories as attention: the same association, the same energies."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from isinglass._support.typing import Float
from isinglass._support.validation import (
    check_features,
    check_kind,
    check_like,
    check_patterns,
    check_positive,
)
from isinglass.energies import ModernHopfield, RetrievalLayer
from isinglass.errors import IntractableError, ParameterError
from isinglass.nn.hopfield.lookup import HopfieldLayer

__all__ = ["from_layer", "to_attention", "to_heads", "to_layer"]


@torch.no_grad()
def to_layer(memory: ModernHopfield) -> HopfieldLayer:
    """Builds a static :class:`HopfieldLayer` that looks up the patterns of a modern Hopfield net.

    ``layer(ξ)`` is ``memory.cccp_update(ξ)`` and ``layer.energy(ξ)`` its energy, without the
    constants of ``constants=True``, one for the layer's only head.

    Examples:
        >>> memory = ModernHopfield(torch.eye(3), beta=2.0)
        >>> layer, states = to_layer(memory), torch.randn(5, 3)
        >>> torch.allclose(layer(states), memory.cccp_update(states), atol=1e-6)
        True
    """
    check_kind("memory", memory, ModernHopfield, "a ModernHopfield")
    patterns = memory.patterns
    layer = HopfieldLayer.static(
        memory.unit.size,
        quantity=len(patterns),  # pyright: ignore[reportCallIssue] - a keyword of the subclass
        trainable=patterns.requires_grad,  # pyright: ignore[reportCallIssue]
        scaling=float(memory.beta),
        dtype=patterns.dtype,
        device=patterns.device,
    )
    layer.lookup_weights.copy_(patterns)
    return layer


def from_layer(layer: HopfieldLayer) -> ModernHopfield:
    """Builds the memory that a static :class:`HopfieldLayer` looks up; undoes :func:`to_layer`.

    Raises:
        IntractableError: If the layer has maps, normalization, several heads, or reads out other
            patterns than it looks up.

    Examples:
        >>> layer = HopfieldLayer.static(3, quantity=4, scaling=2.0)
        >>> from_layer(layer).beta
        2.0
    """
    check_kind("layer", layer, HopfieldLayer, "a HopfieldLayer")
    parts = [name for name, module in layer.named_children() if module is not None]
    own = [name for name, _ in layer.named_parameters(recurse=False)]
    extra = [*parts, *(n for n in own if n not in ("lookup_weights", "scaling"))]
    if layer.options.add_zero_association:
        extra.append("a zero pattern")
    if extra or layer.options.num_heads != 1:
        raise IntractableError(
            f"a layer of {layer.options.num_heads} heads with {', '.join(extra) or 'no maps'}",
            "Give a static layer of one head, HopfieldLayer.static(…)",
        )
    patterns = layer.lookup_weights.detach().clone()
    if layer.lookup_weights.requires_grad:
        patterns = nn.Parameter(patterns)
    return ModernHopfield(patterns, float(layer.scaling), copy=False)


@torch.no_grad()
def to_attention(memory: ModernHopfield) -> nn.MultiheadAttention:
    """Writes a modern Hopfield net as PyTorch's attention: one head, patterns as keys and values.

    ``attention(ξ, patterns, patterns)`` is ``memory.cccp_update(ξ)``. PyTorch's β is 1/√d, so the
    query map is β√d times the identity; the other maps are the identity.

    Examples:
        >>> memory = ModernHopfield(torch.eye(4), beta=3.0)
        >>> attention, states = to_attention(memory), torch.randn(5, 4)
        >>> found, _ = attention(states, memory.patterns, memory.patterns)
        >>> torch.allclose(found, memory.cccp_update(states), atol=1e-6)
        True
    """
    size, like = memory.unit.size, memory.patterns
    attention = nn.MultiheadAttention(
        size, 1, bias=False, batch_first=True, dtype=like.dtype, device=like.device
    )
    identity = torch.eye(size, dtype=like.dtype, device=like.device)
    scale = float(memory.beta) * math.sqrt(size)
    _weight(attention).copy_(torch.cat([scale * identity, identity, identity]))
    attention.out_proj.weight.copy_(identity)
    return attention


@torch.no_grad()
def to_heads(
    attention: nn.MultiheadAttention, stored: Float[Tensor, "S d"], beta: float | None = None
) -> list[RetrievalLayer]:
    r"""Writes each head of PyTorch's attention as a memory of its keys, with its query map.

        attention(x, stored, stored) = Σ_h head_h(x) + output bias
        head(x) = Vᵀ softmax(βKξ),   ξ = (W_q x + b_q)/(β√d_h)

    ``head.memory`` is a :class:`~isinglass.ModernHopfield` of the head's keys K, so
    it has an energy, can be recalled and sampled; ``head.values`` are V, through the head's part
    of the output map. Softmax knows only the product of β, ξ and K; how it is shared out is a
    choice, and only with the right β is ``to_heads(to_attention(memory), …)`` the memory again.

    Reference: Ramsauer et al. 2020, arXiv:2008.02217.

    Args:
        attention: ``embed_dim`` of queries, keys and values alike.
        stored: What the heads attend to, ``(S, embed_dim)``.
        beta: β of the memories; None is PyTorch's 1/√d_h, for which ξ is the query itself.

    Raises:
        ShapeError: If ``stored`` is no row of ``embed_dim`` features.
        DomainError: If a value is not finite, or dtype or device is not the attention's.
        ParameterError: If ``attention`` is another module or ``beta`` is not above zero.
        IntractableError: If it has keys of another size, or rows of its own.

    Examples:
        >>> attention = nn.MultiheadAttention(6, 2).eval()
        >>> x, stored = torch.randn(5, 6), torch.randn(7, 6)
        >>> heads = to_heads(attention, stored)
        >>> total = sum(head(x) for head in heads) + attention.out_proj.bias
        >>> torch.allclose(attention(x, stored, stored)[0], total, atol=1e-5)
        True
    """
    if not isinstance(attention, nn.MultiheadAttention):
        raise ParameterError(f"a {type(attention).__name__}", "Give a torch.nn.MultiheadAttention")
    own = attention.bias_k is not None or attention.add_zero_attn
    if own or attention.in_proj_weight is None:
        raise IntractableError(
            "keys or values of another size than queries, or rows that the attention adds itself",
            "Use kdim=vdim=embed_dim, add_bias_kv=False and add_zero_attn=False",
        )
    check_patterns(stored)
    check_features(stored, attention.embed_dim)
    check_like(stored, attention.in_proj_weight)
    usual = 1 / math.sqrt(attention.head_dim)
    beta = usual if beta is None else check_positive("beta", beta)
    weights = _weight(attention).unflatten(0, (3, attention.num_heads, -1))
    bias = weights.new_zeros(weights.shape[:-1])
    if attention.in_proj_bias is not None:
        bias = attention.in_proj_bias.unflatten(0, (3, attention.num_heads, -1))
    outputs = attention.out_proj.weight.unflatten(1, (attention.num_heads, -1)).unbind(1)
    heads = []
    for (query, key, value), (query_bias, key_bias, value_bias), output in zip(
        weights.unbind(1), bias.unbind(1), outputs, strict=True
    ):
        asks = nn.Linear(attention.embed_dim, attention.head_dim).to(query)
        asks.weight.copy_(query * (usual / beta))
        asks.bias.copy_(query_bias * (usual / beta))
        memory = ModernHopfield(stored @ key.mT + key_bias, beta)
        heads.append(
            RetrievalLayer(memory, asks, values=(stored @ value.mT + value_bias) @ output.mT)
        )
    return heads


def _weight(attention: nn.MultiheadAttention) -> Tensor:
    """The maps of queries, keys and values, one under the other."""
    return attention.in_proj_weight.detach()
