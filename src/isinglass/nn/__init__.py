"""Attention for other people's networks."""

from isinglass.nn.attention import stochastic_attention

__all__ = ["stochastic_attention"]
