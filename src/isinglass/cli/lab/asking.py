"""What a visitor's question may hold: bounds are checked before anything is computed."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping

import numpy as np

from isinglass.errors import ParameterError

__all__ = ["array", "number", "text", "whole"]


def number(asked: Mapping[str, object], name: str, least: float, most: float) -> float:
    """Returns a finite number within bounds.

    Raises:
        ParameterError: If there is none.
    """
    value = asked.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ParameterError(f"{name} is no number", f"Give one from {least} to {most}")
    if not (math.isfinite(value) and least <= value <= most):
        raise ParameterError(f"{name} = {value}", f"Give a number from {least} to {most}")
    return float(value)


def whole(asked: Mapping[str, object], name: str, least: int, most: int) -> int:
    """Returns a whole number within bounds.

    Raises:
        ParameterError: If there is none.
    """
    value = number(asked, name, least, most)
    if value != int(value):
        raise ParameterError(f"{name} = {value}", "Give a whole number")
    return int(value)


def text(asked: Mapping[str, object], name: str, most: int) -> str:
    """Returns a text of at most so many characters.

    Raises:
        ParameterError: If there is none, or it is longer.
    """
    value = asked.get(name)
    if not isinstance(value, str):
        raise ParameterError(f"{name} is no text", "Give a text")
    if len(value) > most:
        raise ParameterError(
            f"{name} of {len(value):,} characters", f"Give at most {most:,} characters"
        )
    return value


def array(asked: Mapping[str, object], name: str, size: int) -> np.ndarray:
    """Returns so many finite numbers, sent as base64 of float32.

    Raises:
        ParameterError: If they are not that.
    """
    try:
        raw = base64.b64decode(text(asked, name, 8 * size), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ParameterError(f"{name} is no base64", "Send float32 in base64") from error
    if len(raw) != 4 * size:
        raise ParameterError(f"{name} of {len(raw)} bytes", f"Send {size} numbers of 4 bytes")
    values = np.frombuffer(raw, dtype="<f4").astype(np.float32)
    if not np.isfinite(values).all():
        raise ParameterError(f"{name} with values that are not finite", "Send finite numbers")
    return values
