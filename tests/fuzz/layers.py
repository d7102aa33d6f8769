"""Calls of layers and of attention, with arguments that do."""

from dataclasses import replace
from typing import Any

import torch

import isinglass as ig
from isinglass import nn
from tests.fuzz.energies import GENERATOR, normal
from tests.fuzz.harness import Call

TOKENS, QUERY = normal(2, 5, 8), normal(2, 3, 8, seed=1)
MASK = torch.zeros(3, 5, dtype=torch.bool)
PADDING = torch.zeros(2, 5, dtype=torch.bool)


def calls() -> list[Call]:
    """Returns constructors of layers, and their calls."""
    hopfield = nn.Hopfield(8, num_heads=2).eval()
    attention = nn.StochasticAttention(8, 2, batch_first=True).eval()
    block = nn.EnergyTransformerBlock(8, 2, memories=4, steps=2)
    pooling = nn.HopfieldPooling(8, quantity=2).eval()
    lookup = nn.HopfieldLayer(8, quantity=3).eval()
    encoder = nn.HopfieldEncoderLayer(nn.Hopfield(8, num_heads=2), 16, 0.0).eval()

    def attend(stored: Any, state: Any, projected: Any, **masks: Any) -> Any:
        return hopfield((stored, state, projected), **masks)

    heads = {"query": normal(2, 4, 3, 5), "key": normal(2, 4, 6, 5), "value": normal(2, 4, 6, 5)}
    masked = {"stored_pattern_padding_mask": PADDING, "association_mask": MASK}
    made = [
        Call(
            "Hopfield", nn.Hopfield,
            {"input_size": 8, "num_heads": 2, "scaling": 0.5, "update_steps_max": 2,
             "update_steps_eps": 1e-3, "dropout": 0.1},
        ),
        Call(
            "Hopfield", nn.Hopfield,
            {"input_size": 8, "hidden_size": 4, "output_size": 8, "pattern_size": 4,
             "num_heads": 1},
        ),
        Call(
            "Hopfield, called", attend,
            {"stored": TOKENS, "state": QUERY, "projected": TOKENS, **masked},
        ),
        Call("Hopfield, called", attend, {"stored": TOKENS, "state": QUERY, "projected": TOKENS}),
        Call(
            "HopfieldPooling", nn.HopfieldPooling,
            {"input_size": 8, "quantity": 2, "trainable": True, "num_heads": 2},
        ),
        Call(
            "HopfieldPooling, called", pooling.forward,
            {"input": TOKENS, "stored_pattern_padding_mask": PADDING},
        ),
        Call(
            "HopfieldLayer", nn.HopfieldLayer,
            {"input_size": 8, "quantity": 3, "trainable": True,
             "lookup_weights_as_separated": False},
        ),
        Call("HopfieldLayer, called", lookup.forward, {"input": TOKENS}),
        Call(
            "HopfieldEncoderLayer", nn.HopfieldEncoderLayer,
            {"hopfield_association": nn.Hopfield(8), "dim_feedforward": 16, "dropout": 0.1,
             "activation": "relu"},
        ),
        Call("HopfieldEncoderLayer, called", encoder.forward, {"src": TOKENS}),
        Call(
            "HopfieldDecoderLayer", nn.HopfieldDecoderLayer,
            {"hopfield_association_self": nn.Hopfield(8),
             "hopfield_association_cross": nn.Hopfield(8), "dim_feedforward": 16, "dropout": 0.1},
        ),
        Call(
            "StochasticAttention", nn.StochasticAttention,
            {"embed_dim": 8, "num_heads": 2, "dropout": 0.1, "bias": True, "draws": 2,
             "generator": GENERATOR},
        ),
        Call(
            "StochasticAttention, called", attention.forward,
            {"query": QUERY, "key": TOKENS, "value": TOKENS, "attn_mask": MASK,
             "key_padding_mask": PADDING},
        ),
        Call(
            "stochastic_attention", nn.stochastic_attention,
            {**heads, "draws": 2, "beta": 0.5, "generator": GENERATOR},
        ),
        Call(
            "stochastic_attention", nn.stochastic_attention,
            {**heads, "mask": torch.ones(3, 6) > 0, "gradient": "softmax"},
        ),
        Call(
            "EnergyTransformerBlock", nn.EnergyTransformerBlock,
            {"dim": 8, "num_heads": 2, "head_dim": 4, "memories": 4, "beta": 0.5, "steps": 2,
             "step_size": 0.1, "halvings": 2, "exclude_self": True, "causal": True},
        ),
        Call("EnergyTransformerBlock, called", block.forward, {"tokens": TOKENS}),
        Call("EnergyLayerNorm", nn.EnergyLayerNorm, {"dim": 8, "eps": 1e-5}),
        Call(
            "TokenEnergy", nn.TokenEnergy,
            {"dim": 8, "num_heads": 2, "head_dim": 4, "memories": 4, "beta": 0.5,
             "exclude_self": True},
        ),
        Call(
            "replace_attention", nn.replace_attention,
            {"model": torch.nn.Sequential(torch.nn.MultiheadAttention(8, 2)), "draws": 2,
             "generator": GENERATOR},
        ),
        Call("to_layer", nn.to_layer, {"memory": ig.ModernHopfield(normal(4, 3))}),
        Call("from_layer", nn.from_layer, {"layer": lookup}),
    ]  # fmt: skip
    return [replace(call, looks=False) for call in made]
