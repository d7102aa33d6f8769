"""Hopfield layers: association, pooling, look-up, and the blocks built of them."""
