"""Attention by look-up beside torch's own."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.speed.harness import Line, compare
from isinglass.nn import StochasticAttention

DIM, HEADS = 512, 8
DRAWS = (None, 1, 4, 16, 64, 100_000)


def lines() -> list[Line]:
    """All comparisons of this group."""
    theirs = nn.MultiheadAttention(DIM, HEADS, batch_first=True).eval()
    own = StochasticAttention.from_attention(theirs)
    return [
        *(evaluated(own, theirs, draws, 8, 512) for draws in DRAWS),
        *(evaluated(own, theirs, draws, 1, 4096) for draws in (1, 16)),
        *(trained(own, theirs, draws) for draws in (None, 1, 16)),
    ]


def evaluated(
    own: StochasticAttention,
    theirs: nn.MultiheadAttention,
    draws: int | None,
    batch: int,
    size: int,
) -> Line:
    """A forward pass without gradients, where torch may take its fused path."""
    tokens = torch.randn(batch, size, DIM)
    own.draws = draws

    @torch.no_grad()
    def run(layer: nn.Module) -> Tensor:
        return layer(tokens, tokens, tokens, need_weights=False)[0]

    return compare(
        f"{name(draws)}, evaluated",
        lambda: run(own.eval()),
        lambda: run(theirs.eval()),
        peer="nn.MultiheadAttention",
        shapes=f"{batch} × {size} × {DIM}, {HEADS} heads, float32",
    )


def trained(own: StochasticAttention, theirs: nn.MultiheadAttention, draws: int | None) -> Line:
    """A forward and a backward pass."""
    tokens = torch.randn(4, 512, DIM, requires_grad=True)
    own.draws = draws

    def run(layer: nn.Module) -> None:
        layer(tokens, tokens, tokens, need_weights=False)[0].sum().backward()

    return compare(
        f"{name(draws)}, forward + backward",
        lambda: run(own.train()),
        lambda: run(theirs.train()),
        peer="nn.MultiheadAttention",
        shapes=f"4 × 512 × {DIM}, {HEADS} heads, float32",
    )


def name(draws: int | None) -> str:
    """What the table calls it."""
    return "StochasticAttention, " + ("m = ∞" if draws is None else f"m = {draws:,}")
