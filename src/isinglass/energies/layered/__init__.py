"""Boltzmann machines of layers: units of one kind side by side, joined layer to layer."""
