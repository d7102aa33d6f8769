"""How errors show what they have found."""

from __future__ import annotations

__all__ = ["shown"]

MOST = 60


def shown(value: object) -> str:
    """Returns the ``repr`` of a value in a line, also where that is too long, or cannot be had.

    Examples:
        >>> shown(0.5), shown(10**10_000)
        ('0.5', 'an int of 33220 bits')
    """
    if isinstance(value, int) and abs(value) >= 10**MOST:  # Python writes none of 4,300 digits
        return f"an int of {value.bit_length()} bits"
    return repr(value)
