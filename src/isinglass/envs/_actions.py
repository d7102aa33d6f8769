"""Actions of environments that choose one of several candidates."""

from __future__ import annotations

from operator import index

import numpy as np

from isinglass._support.wording import shown
from isinglass.errors import DomainError

__all__ = ["check_action"]


def check_action(action: object, count: int) -> int:
    """Returns an action as a number, refusing what is none of 0 … count − 1.

    Raises:
        DomainError: If it is none.
    """
    one = action.item() if isinstance(action, np.ndarray) and action.size == 1 else action
    try:
        number = -1 if isinstance(one, bool) else index(one)  # pyright: ignore[reportArgumentType]
    except TypeError:
        number = -1
    if not 0 <= number < count:
        found = f"the action {shown(action)[:60]}"
        raise DomainError(found, f"Give a whole number from 0 to {count - 1}")
    return number
