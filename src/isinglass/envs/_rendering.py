"""Pictures of boards: square tiles, and what stands on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from isinglass._support.wording import shown
from isinglass.errors import ParameterError

__all__ = ["BAR", "CROSS", "DISC", "RING", "Color", "check_render_mode", "picture", "tile"]

SIDE = 48  # pixels of a tile
Color: TypeAlias = tuple[int, int, int]

_Y, _X = np.mgrid[:SIDE, :SIDE] * 2.0 / (SIDE - 1) - 1  # from -1 to 1
_SOFT = SIDE / 4  # an edge is half a pixel wide on either side


def check_render_mode(mode: object, modes: Sequence[str]) -> None:
    """Refuses a way to render that there is not.

    Raises:
        ParameterError: If it is neither None nor one of the modes.
    """
    if mode is not None and not (isinstance(mode, str) and mode in modes):
        ways = " or ".join(map(repr, modes))
        raise ParameterError(f"render_mode = {shown(mode)}", f"Give None, {ways}")


def _inside(distance: np.ndarray) -> np.ndarray:
    """Coverage, 0 to 1, of what lies at a negative distance from an edge."""
    return np.clip(0.5 - distance * _SOFT, 0, 1)


DISC = _inside(np.hypot(_X, _Y) - 0.6)
RING = _inside(np.abs(np.hypot(_X, _Y) - 0.55) - 0.12)
_NARROW = np.minimum(np.abs(_X - _Y), np.abs(_X + _Y)) / 2**0.5 - 0.12
CROSS = _inside(np.maximum(_NARROW, (np.abs(_X) + np.abs(_Y)) / 2**0.5 - 0.75))
BAR = _inside(np.abs(_Y) - 0.55)


def tile(ground: Color, ink: Color | None = None, shape: np.ndarray = DISC) -> np.ndarray:
    """Draws a tile of one color, with a shape in another on it, ``(SIDE, SIDE, 3)``."""
    over = ground if ink is None else ink
    return ground + shape[..., None] * np.subtract(over, ground)


def picture(tiles: list[list[np.ndarray]], lines: Color = (255, 255, 255)) -> np.ndarray:
    """Joins tiles, lines between them, to ``(rows * SIDE, columns * SIDE, 3)``, uint8."""
    image = np.concatenate([np.concatenate(row, axis=1) for row in tiles]).round().astype(np.uint8)
    for edge in range(SIDE, max(image.shape), SIDE):
        image[edge - 1 : edge + 1] = lines
        image[:, edge - 1 : edge + 1] = lines
    return image
