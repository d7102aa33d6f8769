"""Other libraries' models seen as Hopfield nets."""

from isinglass.bridges.hugging_face import sampled_attention

__all__ = ["sampled_attention"]
