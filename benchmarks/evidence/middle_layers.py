"""Is the middle layer enough: states of a layer, corrupted, cleaned up by a memory, fed on.

The states of a text at layer l are stored, x_μ. The key of a state is its direction once each
feature has mean 0 and spread 1 over the memory. Noise of ρ spreads is put on every state but the
first of a window, the key of what is left is descended on in a ModernHopfield, and the stored
states are read with the weights found (HeteroMemory). The rest of the network goes on from there.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import isinglass as ig
from benchmarks.evidence.cache import Cache
from benchmarks.evidence.models import Loaded
from benchmarks.evidence.texts import blocks, changed, nats, pair_of_texts, read_text

__all__ = ["StateMemory", "decode_from_layers", "retrieve_from_layers"]

BETAS = (10.0, 30.0, 100.0, 300.0)
STEPS = 3


class StateMemory:
    """A memory of states of one layer, ``(N, d)``, for clean-up."""

    def __init__(self, states: Tensor, beta: float) -> None:
        self.mean, self.spread = states.mean(0), states.std(0)
        self.memory = ig.HeteroMemory(ig.ModernHopfield(self.keys(states), beta=beta), states)

    def keys(self, states: Tensor) -> Tensor:
        """Return the directions of states."""
        return F.normalize((states - self.mean) / self.spread, dim=-1)

    def clean(self, states: Tensor) -> Tensor:
        """Return what is recalled of states, of any shape ``(*, d)``."""
        found = self.memory.recall(self.keys(states).flatten(0, -2), max_steps=STEPS)
        return found.values.reshape(states.shape)

    @classmethod
    def fitted(cls, states: Tensor, cues: Tensor, truth: Tensor) -> tuple[StateMemory, float]:
        """Return the memory with the β whose clean-up of cues lies nearest to the truth."""
        memories = {beta: cls(states, beta) for beta in BETAS}
        spread = next(iter(memories.values())).spread

        def error(beta: float) -> float:
            return float(((memories[beta].clean(cues) - truth) / spread).square().mean())

        best = min(BETAS, key=error)
        return memories[best], best


@torch.no_grad()
def states_of(model: Any, tokens: Tensor, **options: Any) -> tuple[list[Tensor], Any]:
    """Return what every block gives, ``(b, L, d)`` each, and the output."""
    kept: list[Tensor] = []

    def keep(output: Tensor) -> Tensor:
        kept.append(output)
        return output

    managers = [changed(block, keep) for block in blocks(model)]
    for manager in managers:
        manager.__enter__()
    try:
        output = model(tokens, **options)
    finally:
        for manager in managers:
            manager.__exit__(None, None, None)
    return kept, output


def decode_from_layers(loaded: Loaded, cache: Cache, *, quick: bool) -> None:
    """Measure next tokens from the corrupted and cleaned states of each layer."""
    small = loaded.name == "stories260K"
    length, count, more = (128, 1, 2) if quick else (256, 4, 16) if small else (256, 2, 6)
    depth = len(blocks(loaded.model))
    layers = range(depth - 1) if small else (4, 9, 14)
    noises = (0.5, 1.0, 2.0) if small else (1.0,)
    if all(f"layers/{loaded.name}/{layer}" in cache.found for layer in layers):
        return
    other, test = pair_of_texts(loaded, length, (more + count, count))
    own, output = states_of(loaded.model, test)
    # The last windows of the validation text are the cues that β is chosen on.
    others, _ = states_of(loaded.model, other)
    for layer in layers:
        cache.get(
            f"layers/{loaded.name}/{layer}",
            lambda at=layer: decode_from_layer(
                loaded.model, at, test, own[at], others[at], count, output.logits, noises
            ),
        )


@torch.no_grad()
def decode_from_layer(
    model: Any, layer: int, tokens: Tensor, own: Tensor, others: Tensor, cues: int,
    expected: Tensor, noises: tuple[float, ...],
) -> dict[str, Any]:  # fmt: skip
    """Return nats and agreement with the model as it is, by what was done to the states."""
    generator = torch.Generator().manual_seed(0)
    states, spread = own[:, 1:].flatten(0, 1), own[:, 1:].flatten(0, 1).std(0)
    rest, held = others[:-cues, 1:].flatten(0, 1), others[-cues:, 1:].flatten(0, 1)

    def noisy(clean: Tensor, noise: float) -> Tensor:
        return clean + noise * spread * torch.randn(clean.shape, generator=generator)

    def lead_on(moved: Tensor) -> dict[str, float]:
        state = torch.cat([own[:, :1], moved.reshape(own[:, 1:].shape)], 1)
        with changed(blocks(model)[layer], lambda _: state):
            return judge(model(tokens).logits)

    def judge(logits: Tensor) -> dict[str, float]:
        same = (logits.argmax(-1) == expected.argmax(-1)).float().mean()
        return {"nats": nats(logits, tokens), "agree": float(same)}

    lens = model.lm_head(model.model.norm(own))
    found: dict[str, Any] = {
        "as it is": judge(expected), "logit lens": judge(lens), "tokens": tokens.numel(),
        "stored": len(states), "stored of another text": len(rest),
    }  # fmt: skip
    memory, beta = StateMemory.fitted(rest, held, held)
    found["nearest of another text"] = lead_on(memory.clean(states)) | {"beta": beta}
    for noise in noises:
        corrupt = noisy(states, noise)
        found[f"noise {noise}"] = lead_on(corrupt)
        held_corrupt = noisy(held, noise)
        for name, stored, right in (
            ("own", states, None),
            ("another text's", rest, held),
        ):
            known = held if right is None else stored
            memory, beta = StateMemory.fitted(known, held_corrupt, held)
            memory = StateMemory(stored, beta)
            found[f"noise {noise}, {name} memory"] = lead_on(memory.clean(corrupt)) | {"beta": beta}
    return found


def sentences(count: int) -> list[str]:
    """Return sentences of 12 to 30 words from WikiText-2, spread evenly."""
    text = read_text("WikiText-2").replace("<unk>", "someone")
    parts = [part.strip() for part in re.split(r" \. |\n", text)]
    parts = [part for part in parts if 12 <= len(part.split()) <= 30 and "=" not in part]
    return parts[:: len(parts) // count][:count]


@torch.no_grad()
def retrieve_from_layers(loaded: Loaded, count: int = 200, noise: float = 1.0) -> dict[str, Any]:
    """Return how often a sentence is found by half of its words, from each layer's states."""
    generator = torch.Generator().manual_seed(0)
    stored = sentences(count)
    halves = [
        " ".join(word for word, keep in zip(s.split(), torch.rand(
            len(s.split()), generator=generator) < 0.5, strict=True) if keep) or s
        for s in stored
    ]  # fmt: skip
    whole, part = (loaded.tokenizer(s, padding=True, return_tensors="pt") for s in (stored, halves))
    kept, keeps = whole["attention_mask"], part["attention_mask"]
    states, _ = states_of(loaded.model, whole.pop("input_ids"), **whole)
    tokens = part.pop("input_ids")
    cues, _ = states_of(loaded.model, tokens, **part)
    vectors = [pooled(state, kept) for state in states]
    found: dict[str, Any] = {"sentences": count, "noise": noise}
    for layer, (state, cue) in enumerate(zip(states, cues, strict=True)):
        line = {"of the layer": right(vectors[layer], pooled(cue, keeps))}
        if layer < len(states) - 1:
            corrupt = cue + noise * state[kept > 0].std(0) * torch.randn(
                cue.shape, generator=generator
            )
            memory = StateMemory(state[kept > 0], 100.0)
            ways = {"whole": cue, "noise": corrupt, "noise, cleaned": memory.clean(corrupt),
                    "cleaned": memory.clean(cue)}  # fmt: skip
            for name, moved in ways.items():
                with changed(blocks(loaded.model)[layer], lambda _, moved=moved: moved):
                    last = loaded.model(tokens, **part).last_hidden_state
                line[f"{name}, fed on"] = right(vectors[-1], pooled(last, keeps))
        found[f"layer {layer + 1}"] = line
    return found


def pooled(states: Tensor, kept: Tensor) -> Tensor:
    """Return the direction of the mean state of each sentence."""
    weight = kept[..., None].to(states)
    return F.normalize((states * weight).sum(1) / weight.sum(1), dim=-1)


def right(stored: Tensor, cues: Tensor) -> float:
    """Return how often the memory gives back the sentence that a cue is of."""
    found = ig.ModernHopfield(stored, beta=100.0).recall(cues, max_steps=1).state
    best = (found @ stored.mT).argmax(-1)
    return float((best == torch.arange(len(cues))).float().mean())
