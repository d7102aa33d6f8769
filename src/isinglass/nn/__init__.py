"""Attention for other people's networks."""

from isinglass.nn.attention.functional import stochastic_attention
from isinglass.nn.attention.module import StochasticAttention, replace_attention
from isinglass.nn.converters import from_layer, to_attention, to_heads, to_layer
from isinglass.nn.energy_transformer import Descent, EnergyTransformerBlock
from isinglass.nn.hopfield.layer import Hopfield
from isinglass.nn.hopfield.lookup import HopfieldLayer
from isinglass.nn.hopfield.options import HopfieldOptions
from isinglass.nn.hopfield.pooling import HopfieldPooling
from isinglass.nn.hopfield.transformer import HopfieldDecoderLayer, HopfieldEncoderLayer
from isinglass.nn.relational_hopfield import RelationalHopfield
from isinglass.nn.token_energy import EnergyLayerNorm, TokenEnergy

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
    "RelationalHopfield",
    "StochasticAttention",
    "TokenEnergy",
    "from_layer",
    "replace_attention",
    "stochastic_attention",
    "to_attention",
    "to_heads",
    "to_layer",
]
