"""What the rooms show, for the page."""

from __future__ import annotations

from typing import Any

from isinglass.cli.lab.digits import digits_data
from isinglass.cli.lab.thoughts import thoughts_data

__all__ = ["page_data"]


def page_data() -> dict[str, Any]:
    """Returns the data of all rooms, by name."""
    return {"digits": digits_data(), "thoughts": thoughts_data()}
