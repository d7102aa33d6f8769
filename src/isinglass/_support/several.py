"""Arguments of several members: lists of propositions, of rules, of names."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from isinglass._support.wording import shown
from isinglass.errors import ParameterError

__all__ = ["check_several"]


def check_several(name: str, values: object, example: str) -> list[Any]:
    """Returns the members of what has some as a list, refusing one text in place of several.

    Raises:
        ParameterError: If it has no members, such as a number or None, or is a text.
    """
    if not isinstance(values, str | bytes) and isinstance(values, Iterable):
        with suppress(TypeError):  # of an array or a tensor without dimensions
            return list(values)
    raise ParameterError(
        f"{name} = {shown(values)[:60]} of type {type(values).__name__}", f"Give {example}"
    )
