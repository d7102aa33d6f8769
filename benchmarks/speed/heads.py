"""A model that is looked into beside the same model alone, with torch's fused attention."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from benchmarks.evidence.models import MissingModel, stories260k
from benchmarks.speed.harness import Line, compare, peak_allocated_bytes
from isinglass.integrations import inspect

__all__ = ["lines"]


def lines() -> list[Line]:
    """A Llama of random weights at two lengths, and stories260K at its own."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=8192, hidden_size=512, intermediate_size=1376, num_hidden_layers=2,
        num_attention_heads=8, num_key_value_heads=4, max_position_embeddings=8192,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    name = "Llama, 2 layers, 8 heads of 64"
    found = [_line(name, model, 2048, rounds=5), _line(name, model, 8192, rounds=3)]
    try:
        found.append(_line("stories260K", stories260k().model, 512, rounds=21))
    except MissingModel as missing:
        print(missing)
    return found


def _line(what: str, model: PreTrainedModel, length: int, rounds: int) -> Line:
    tokens = torch.randint(3, model.config.vocab_size, (1, length))
    inputs = {"input_ids": tokens, "use_cache": False}

    @torch.no_grad()
    def alone(part: PreTrainedModel = model) -> torch.Tensor:
        return part(**inputs)[0]

    def looked_into(part: PreTrainedModel = model) -> torch.Tensor:
        return inspect(part, inputs).output[0]

    difference = float((alone() - looked_into()).abs().max())
    body: Any = model.base_model  # logits would hide what attention takes
    extra, plain = (peak_allocated_bytes(partial(call, body)) for call in (looked_into, alone))
    note = (
        f"peak memory of the layers {extra / 2**20:.1f} MiB beside {plain / 2**20:.1f} MiB, ratio "
        f"{extra / plain:.3f}, target ≤ 1.1; outputs differ by {difference:.1e}"
    )
    return compare(
        f"inspect, every 8th query: {what}", looked_into, alone, peer="the model, SDPA",
        shapes=f"1 × {length:,} tokens, float32", target=1.3, rounds=rounds, note=note,
    )  # fmt: skip
