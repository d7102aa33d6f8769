"""The player of TicTacToe that the lab ships, for the page."""

from __future__ import annotations

from typing import Any

from isinglass.cli.lab.nets import weights
from isinglass.cli.lab.page import pack

__all__ = ["player_data"]


def player_data() -> dict[str, Any]:
    """Returns the network of the player: layers, keys, fields, and the scale of its values."""
    held = weights("tictactoe")
    size = held["head.reward_size"]

    def packed(name: str) -> dict[str, str]:
        return pack(held[name].numpy().ravel())

    def layer(name: str) -> dict[str, Any]:
        return {"weight": packed(f"{name}.weight"), "bias": packed(f"{name}.bias")}

    return {
        "trunk": [layer("trunk.0"), layer("trunk.2")],
        "keys": layer("head.keys"),
        "fields": packed("head.fields"),
        "bend": packed("head.bend.weight"),
        "scale": float(size * held["head.log_scale"].exp()),
        "shift": float(size * held["head.offset"]),
        "temperature": float(held["temperature"]),
    }
