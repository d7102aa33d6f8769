"""A model that is looked into beside the same model alone, with torch's fused attention."""

from __future__ import annotations

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from benchmarks.evidence.models import MissingModel, stories260k
from benchmarks.speed.harness import Line, compare, peak_extra_bytes
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
    found = [_line("Llama, 2 layers, 8 heads of 64", model, length) for length in (2048, 8192)]
    try:
        found.append(_line("stories260K", stories260k().model, 512))
    except MissingModel as missing:
        print(missing)
    return found


def _line(what: str, model: PreTrainedModel, length: int) -> Line:
    tokens = torch.randint(3, model.config.vocab_size, (1, length))

    @torch.no_grad()
    def alone() -> torch.Tensor:
        return model(tokens, use_cache=False).logits

    def looked_into() -> torch.Tensor:
        return inspect(model, {"input_ids": tokens, "use_cache": False}).output.logits

    difference = float((alone() - looked_into()).abs().max())
    extra, plain = (peak_extra_bytes(call) for call in (looked_into, alone))
    note = (
        f"peak memory {extra / 2**20:.0f} MiB beside {plain / 2**20:.0f} MiB, ratio "
        f"{extra / max(1, plain):.2f}, target ≤ 1.1; outputs differ by {difference:.1e}"
    )
    return compare(
        f"inspect, every 8th query: {what}", looked_into, alone, peer="the model, SDPA",
        shapes=f"1 × {length:,} tokens, float32", target=1.3, rounds=3, note=note,
    )  # fmt: skip
