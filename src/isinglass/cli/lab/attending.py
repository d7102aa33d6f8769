"""The small Transformer that the lab ships, for the page."""

from __future__ import annotations

from typing import Any

from isinglass.cli.lab.nets import weights
from isinglass.cli.lab.page import pack

__all__ = ["transformer_data"]

LAYERS, HEADS = 2, 4


def transformer_data() -> dict[str, Any]:
    """Returns embeddings, projections of every layer, and the read-out."""
    held = weights("transformer")

    def packed(name: str) -> dict[str, str]:
        return pack(held[f"{name}.weight"].numpy().ravel())

    return {
        "width": held["letters.weight"].shape[1],
        "heads": HEADS,
        "letters": packed("letters"),
        "places": packed("places"),
        "layers": [
            {name: packed(f"layers.{layer}.{name}") for name in "qkvo"} for layer in range(LAYERS)
        ],
        "readout": packed("readout"),
    }
