"""What the rooms show, for the page."""

from __future__ import annotations

from typing import Any

from isinglass.cli.lab.attending import transformer_data
from isinglass.cli.lab.digits import digits_data
from isinglass.cli.lab.playing import player_data
from isinglass.cli.lab.thoughts import thoughts_data
from isinglass.cli.lab.worlds import world_data

__all__ = ["page_data"]


def page_data(live: bool = False) -> dict[str, Any]:
    """Returns the data of all rooms, by name.

    Args:
        live: Whether Python is there to be asked, so that less is computed beforehand.
    """
    return {
        "digits": digits_data(),
        "player": player_data(),
        "transformer": transformer_data(),
        "world": world_data(live),
        "thoughts": thoughts_data(),
    }
