"""Which families of transformers can be inspected: each built tiny, at random, and held to eager.

Every model type that ``AutoModel`` knows is made from a small configuration and run on a few tokens
or pixels, with eager attention, inside ``sampled_attention(model, None)`` and by ``inspect``. Found
is ``works`` (both within 1e-5 of eager), ``refused`` (by a named error), ``differs``, with how far
eager is from itself and from transformers' own fused attention, or why it was not built. ``--out``
keeps what was found, and a second call goes on from it.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import signal
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from transformers import CONFIG_MAPPING, AutoModel, PreTrainedConfig, PreTrainedModel, logging
from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

from benchmarks.evidence.cache import Cache
from isinglass.errors import IsinglassError
from isinglass.integrations import inspect, sampled_attention

#: Sizes by the names that configurations give them; other names are left alone.
SMALL: dict[str, Any] = {
    "vocab_size": 64, "hidden_size": 32, "d_model": 32, "n_embd": 32, "dim": 32, "embed_dim": 32,
    "num_hidden_layers": 2, "n_layer": 2, "n_layers": 2, "num_layers": 2, "encoder_layers": 2,
    "decoder_layers": 2, "num_decoder_layers": 2, "num_attention_heads": 4, "n_head": 4,
    "n_heads": 4, "num_heads": 4, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "d_kv": 8, "attention_head_size": 8,
    "intermediate_size": 48, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "d_ff": 48,
    "ffn_dim": 48, "n_inner": 48, "hidden_dim": 48, "max_position_embeddings": 64,
    "n_positions": 64, "image_size": 32, "patch_size": 8, "embedding_size": 32,
    "num_experts": 2, "num_local_experts": 2, "n_routed_experts": 2, "num_experts_per_tok": 1,
    "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16, "type_vocab_size": 2,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "q_lora_rank": 16, "kv_lora_rank": 16,
    "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8, "sliding_window": 4,
    "ffn_hidden_size": 48, "projection_dim": 32, "word_embed_proj_dim": 32, "num_labels": 2,
    "decoder_start_token_id": 1, "initializer_range": 0.2,
}  # fmt: skip
TOO_LARGE = 30_000_000  # parameters
SECONDS = 40


def main() -> None:
    """Parse the command line, try every family, print what was found."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.evidence.attention_families", description=__doc__
    )
    parser.add_argument("families", nargs="*", help="model types; all if none")
    parser.add_argument("--out", type=Path, default=Path("evidence"), help="where results go")
    parser.add_argument("--seed", type=int, default=0, help="seed of the weights")
    parser.add_argument("--quick", action="store_true", help="four families")
    given = parser.parse_args()
    if given.quick:
        given.families = ["bert", "gpt2", "llama", "vit"]
    logging.set_verbosity_error()
    warnings.simplefilter("ignore")
    cache = Cache(given.out / "attention_families.json")
    families = given.families or sorted(MODEL_MAPPING_NAMES)
    for name in track(families, description="families"):
        cache.get(name, lambda name=name: _limited(name, given.seed))
    found = {name: cache.found[name] for name in families}
    console = Console()
    for kind, number in Counter(one["found"] for one in found.values()).most_common():
        names = [name for name, one in found.items() if one["found"] == kind]
        console.print(f"[bold]{kind}[/bold] {number}: {', '.join(names)}")


def _limited(name: str, seed: int) -> dict[str, Any]:
    """Try a family, no longer than some seconds."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"took over {SECONDS} s")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        return try_family(name, seed)
    except TimeoutError as error:
        return {"found": "not built", "why": str(error)}
    finally:
        signal.alarm(0)


def try_family(name: str, seed: int = 0) -> dict[str, Any]:
    """Build a family tiny, and hold inspection and drawing with m → ∞ to eager attention."""
    try:
        model = build(name, seed)
        inputs, expected = _first_that_runs(model)
    except TimeoutError:
        raise
    except Exception as error:
        return {"found": "not built", "why": f"{type(error).__name__}: {error}"[:160]}
    before = [part.config._attn_implementation for part in _parts(model)]
    try:
        with torch.no_grad(), sampled_attention(model, None):
            drawn = _tensors(model(**inputs))
        inspected = inspect(model, inputs, every=1)
    except IsinglassError as error:
        return {"found": "refused", "why": str(error)[:160]}
    except TimeoutError:
        raise
    except Exception as error:
        return {"found": "fails", "why": f"{type(error).__name__}: {error}"[:160]}
    after = [part.config._attn_implementation for part in _parts(model)]
    errors = [_distance(expected, found) for found in (drawn, _tensors(inspected.output))]
    worst = max(errors)
    if worst > 1e-5:
        errors += [_again(model, inputs, expected, kind) for kind in ("eager", "sdpa")]
    return {
        "found": "works" if worst <= 1e-5 and before == after else "differs",
        "error": worst, "layers": len(inspected.layers), "restored": before == after,
        "why": "distance " + ", ".join(
            f"{error:.1e} {kind}"
            for error, kind in zip(errors, ("drawn", "inspected", "eager", "sdpa"), strict=False)
        ),
    }  # fmt: skip


def _again(
    model: PreTrainedModel, inputs: dict[str, Any], expected: list[torch.Tensor], kind: str
) -> float:
    """Return how far an attention of transformers itself is from what was expected."""
    try:
        model.set_attn_implementation(kind)
        with torch.no_grad():
            return _distance(expected, _tensors(model(**inputs)))
    except Exception:
        return float("nan")


def build(name: str, seed: int) -> PreTrainedModel:
    """Make a model of a family from a tiny configuration, with eager attention."""
    config = CONFIG_MAPPING[name]()
    shrink(config)
    with torch.device("meta"):
        skeleton = AutoModel.from_config(copy.deepcopy(config))
    size = sum(weights.numel() for weights in skeleton.parameters())
    if size > TOO_LARGE:
        raise MemoryError(f"{size:,} parameters, as no size of its configuration is known here")
    torch.manual_seed(seed)
    return AutoModel.from_config(config, attn_implementation="eager").eval()


def shrink(config: PreTrainedConfig) -> None:
    """Set every size that is known by its name, in the configurations inside too."""
    for key, value in SMALL.items():
        old = getattr(config, key, None)
        if isinstance(old, int | float) and not isinstance(old, bool):
            try:
                setattr(config, key, value)
            except Exception:  # noqa: S112, a name that cannot be set
                continue
    for key in ("layer_types", "mlp_layer_types"):
        kinds = getattr(config, key, None)
        if isinstance(kinds, list) and kinds:
            with contextlib.suppress(Exception):
                setattr(config, key, (sorted(set(kinds)) * 2)[: config.num_hidden_layers])
    for key in config.sub_configs:
        inner = getattr(config, key, None)
        if isinstance(inner, PreTrainedConfig):
            shrink(inner)


def _first_that_runs(model: PreTrainedModel) -> tuple[dict[str, Any], list[torch.Tensor]]:
    """Return inputs that the model takes, and what it gives for them."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(3, 60, (2, 12), generator=generator)
    vision = getattr(model.config, "vision_config", model.config)
    size = getattr(vision, "image_size", 32) or 32
    height, width = size if isinstance(size, list | tuple) else (size, size)
    channels = getattr(vision, "num_channels", 3)
    pixels = torch.randn(2, channels, height, width, generator=generator)
    words: dict[str, Any] = {"input_ids": tokens}
    if model.config.is_encoder_decoder:
        words["decoder_input_ids"] = tokens.flip(1)
    tried: list[dict[str, Any]] = [
        words,
        {"pixel_values": pixels},
        {**words, "pixel_values": pixels},
    ]
    if model.main_input_name == "pixel_values":
        tried = [tried[1], tried[2], tried[0]]
    first: Exception | None = None
    for inputs in tried:
        try:
            with torch.no_grad():
                return inputs, _tensors(model(**inputs))
        except TimeoutError:
            raise
        except Exception as error:
            first = first or error
    raise first or RuntimeError("no inputs")


def _parts(model: PreTrainedModel) -> list[PreTrainedModel]:
    return [part for part in model.modules() if isinstance(part, PreTrainedModel)]


def _tensors(output: Any) -> list[torch.Tensor]:
    """Return the numbers of an output, caches and attentions left out."""
    if isinstance(output, torch.Tensor):
        return [output] if output.is_floating_point() else []
    if isinstance(output, dict):
        kept = [v for k, v in output.items() if "past" not in k and "attentions" not in k]
        return [one for value in kept for one in _tensors(value)]
    if isinstance(output, list | tuple):
        return [one for value in output for one in _tensors(value)]
    return []


def _distance(expected: list[torch.Tensor], found: list[torch.Tensor]) -> float:
    """Return the largest distance, in units of the largest number or of one."""
    if len(expected) != len(found) or not expected:
        return float("inf")
    pairs = zip(expected, found, strict=True)
    return max(float((a - b).abs().max()) / max(1.0, float(a.abs().max())) for a, b in pairs)


if __name__ == "__main__":
    main()
