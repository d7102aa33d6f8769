"""Attention for other people's networks."""

from isinglass.nn.attention import stochastic_attention
from isinglass.nn.converters import from_layer, to_attention, to_heads, to_layer
from isinglass.nn.energy_transformer import (
    Descent,
    EnergyLayerNorm,
    EnergyTransformerBlock,
    TokenEnergy,
)
from isinglass.nn.hflayers import hflayers_options, import_hflayers_state
from isinglass.nn.hopfield import Hopfield
from isinglass.nn.layer import HopfieldLayer
from isinglass.nn.options import HopfieldOptions
from isinglass.nn.pooling import HopfieldPooling
from isinglass.nn.stochastic import StochasticAttention, replace_attention
from isinglass.nn.transformer import HopfieldDecoderLayer, HopfieldEncoderLayer

__all__ = [
    "Descent",
    "EnergyLayerNorm",
    "EnergyTransformerBlock",
    "Hopfield",
    "HopfieldDecoderLayer",
    "HopfieldEncoderLayer",
    "HopfieldLayer",
    "HopfieldOptions",
    "HopfieldPooling",
    "StochasticAttention",
    "TokenEnergy",
    "from_layer",
    "hflayers_options",
    "import_hflayers_state",
    "replace_attention",
    "stochastic_attention",
    "to_attention",
    "to_heads",
    "to_layer",
]
