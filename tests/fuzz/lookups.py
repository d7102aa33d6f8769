"""Calls of look-ups, and of what speaks to other libraries, with arguments that do."""

import importlib.util
from dataclasses import replace
from typing import Any

import torch

from isinglass import integrations, nn
from isinglass.retrieval import Int8Index, streamed_lookup
from tests.fuzz.energies import GENERATOR, normal
from tests.fuzz.harness import Call

KEYS, QUERIES, VALUES = normal(600, 8), normal(3, 8, seed=1), normal(600, 2, seed=2)
KNOWN = torch.arange(8).expand(3, 8) < 5


def _state() -> dict[str, torch.Tensor]:
    """The state dict of a pooling layer of hflayers."""
    norms = ("stored_pattern", "state_pattern", "pattern_projection")
    state = {f"hopfield.norm_{name}.weight": torch.ones(4) for name in norms}
    state |= {f"hopfield.norm_{name}.bias": torch.zeros(4) for name in norms}
    return state | {
        "hopfield.association_core.in_proj_weight": normal(12, 4),
        "hopfield.association_core.in_proj_bias": torch.zeros(12),
        "pooling_weights": normal(1, 2, 4),
    }


def _imported(**changed: Any) -> Any:
    layer = nn.HopfieldPooling(4, quantity=2, disable_out_projection=True)
    names = {"weight": "hopfield.association_core.in_proj_weight", "pooling": "pooling_weights"}
    integrations.import_hflayers_state(
        changed.pop("layer", layer),
        changed.pop("state", _state()) | {names[key]: value for key, value in changed.items()},
    )
    return layer.state_dict()


def _sampled() -> list[Call]:
    if importlib.util.find_spec("transformers") is None:
        return []
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=20, n_positions=8, n_embd=8, n_layer=1, n_head=2)
    model = GPT2LMHeadModel(config).eval()

    def sampled(model: Any, draws: Any, generator: Any) -> Any:
        with integrations.sampled_attention(model, draws, generator), torch.no_grad():
            return model(torch.arange(5)[None]).logits

    whole = {"model": model, "draws": 4, "generator": GENERATOR}
    return [Call("sampled_attention", sampled, whole)]


def calls() -> list[Call]:
    """Returns look-ups, whole and by an index, and imports of layers."""
    index = Int8Index(KEYS, cells=2)
    layer = nn.HopfieldPooling(4, quantity=2, disable_out_projection=True)
    made = [
        Call(
            "streamed_lookup", streamed_lookup,
            {"queries": QUERIES, "keys": KEYS, "beta": 0.5, "values": VALUES, "block": 7},
        ),
        Call(
            "streamed_lookup, known", streamed_lookup,
            {"queries": QUERIES, "keys": KEYS, "beta": 0.5, "known": KNOWN},
        ),
        Call("Int8Index", lambda **given: Int8Index(**given).nbytes, {"keys": KEYS, "cells": 2}),
        Call(
            "Int8Index.lookup", index.lookup,
            {"queries": QUERIES, "beta": 0.5, "values": VALUES, "tolerance": 1e-4},
        ),
        Call("Int8Index.fits", index.fits, {"keys": KEYS}),
        Call(
            "hflayers_options", lambda **options: integrations.hflayers_options(options),
            {"update_steps_max": 2},
        ),
        Call("hflayers_options, whole", integrations.hflayers_options, {"options": {"dropout": 0}}),
        Call("import_hflayers_state", _imported,
             {"weight": normal(12, 4), "pooling": normal(1, 2, 4)}),
        Call("import_hflayers_state, whole", integrations.import_hflayers_state,
             {"layer": layer, "state": _state()}),
        *_sampled(),
    ]  # fmt: skip
    return [replace(call, looks=False) for call in made]  # keys may be larger than memory
