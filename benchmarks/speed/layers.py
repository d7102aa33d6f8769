"""The Hopfield layers beside torch's attention and hflayers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.speed.harness import Line, compare, peak_extra_bytes
from isinglass.nn import Hopfield

BARE = {
    f"normalize_{name}": False for name in ("stored_pattern", "state_pattern", "pattern_projection")
}


def lines() -> list[Line]:
    """All comparisons of this group."""
    return [*one_update(), many_updates(), training(with_norms=False), training(with_norms=True)]


def one_update() -> list[Line]:
    """A layer of one update beside the same four linear maps and torch's fused attention."""
    found = []
    for batch, rows, heads in ((1, 512, 8), (8, 512, 8), (1, 4096, 8)):
        layer = Hopfield(512, num_heads=heads, **BARE).eval()
        states = torch.randn(batch, rows, 512)
        found.append(
            compare(
                "one update, evaluated",
                without_gradients(lambda layer=layer, states=states: layer(states)),
                without_gradients(lambda layer=layer, states=states: by_hand(layer, states)),
                peer="linear maps + F.scaled_dot_product_attention",
                shapes=f"{batch} × {rows} × 512, {heads} heads, float32",
                target=1.05,
                rounds=15,
            )
        )
    return found


def by_hand(layer: Hopfield, states: Tensor) -> Tensor:
    """The four maps of the layer around torch's fused attention, as anyone would write it."""
    query, key, value = (
        getattr(layer, f"project_{name}")(states)
        .unflatten(-1, (layer.num_heads, -1))
        .transpose(1, 2)
        for name in ("state", "stored", "projection")
    )
    found = scaled_dot_product_attention(query, key, value)
    return layer.get_submodule("project_out")(found.transpose(1, 2).flatten(2))


def many_updates() -> Line:
    """Three updates on a large memory beside hflayers."""
    import difflayers

    states, stored = torch.randn(1, 1024, 64), torch.randn(1, 65536, 64)
    theirs = difflayers.Hopfield(64, update_steps_max=2, update_steps_eps=1e-30).eval()
    own = Hopfield(64, update_steps_max=3, update_steps_eps=1e-30).eval()
    call = without_gradients(lambda: own((stored, states, stored)))
    peer = without_gradients(lambda: theirs((stored, states, stored)))
    extra, their_extra = peak_extra_bytes(call), peak_extra_bytes(peer)
    matrix = 4 * 1024 * 65536
    return compare(
        "three updates",
        call,
        peer,
        peer="hflayers (difflayers 0.1.1), update_steps_max=2",
        shapes="1024 states × 65,536 stored × 64, float32",
        target=0.1,
        rounds=3,
        note=f"memory: ours {extra / 2**20:.0f} MiB above the start, theirs "
        f"{their_extra / 2**20:.0f}; the association matrix alone is {matrix / 2**20:.0f}",
    )


def training(*, with_norms: bool) -> Line:
    """Forward and backward beside nn.MultiheadAttention."""
    options: dict[str, Any] = {} if with_norms else BARE
    own = Hopfield(512, num_heads=8, **options)
    theirs = nn.MultiheadAttention(512, 8, batch_first=True)
    states = torch.randn(1, 512, 512, requires_grad=True)

    def train(module: nn.Module, call: Callable[[], Tensor]) -> None:
        module.zero_grad()
        call().sum().backward()

    return compare(
        "forward and backward" + (", with the three LayerNorms" if with_norms else ""),
        lambda: train(own, lambda: own(states)),
        lambda: train(theirs, lambda: theirs(states, states, states, need_weights=False)[0]),
        peer="nn.MultiheadAttention, need_weights=False",
        shapes="1 × 512 × 512, 8 heads, float32",
        target=None if with_norms else 1.0,
        rounds=25,
        note="the peer has no LayerNorm" if with_norms else "",
    )


def without_gradients(call: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """The call under ``torch.no_grad``."""
    return torch.no_grad()(call)
