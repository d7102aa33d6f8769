"""What a game of two seats is: rules that hold for many positions at once."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
from gymnasium import spaces

from isinglass._support.typing import Bool, Int

__all__ = ["DRAWN", "ILLEGAL", "LOST", "PLAYING", "WON", "TwoSeatGame"]

PLAYING, WON, DRAWN, LOST, ILLEGAL = range(5)


@runtime_checkable
class TwoSeatGame(Protocol):
    """The rules of a game of two seats that move by turns and see everything, without state.

    A position is a pair of bitboards, 64 bits each: what the seat to move has, what the other has.
    So a position is always seen by whoever moves, and one network plays both seats. Everything
    takes and gives many positions at once.
    """

    @property
    def observation_space(self) -> spaces.Space[Any]:
        """What the seat to move observes."""
        ...

    @property
    def action_space(self) -> spaces.Discrete:
        """The moves, each a number from 0 on."""
        ...

    def start(self, count: int) -> Int[np.ndarray, "{count} 2"]:
        """Returns so many positions at the start of a game."""
        ...

    def legal(self, positions: Int[np.ndarray, "n 2"]) -> Bool[np.ndarray, "n moves"]:
        """Tells which moves are legal, in positions where the game goes on."""
        ...

    def play(
        self, positions: Int[np.ndarray, "n 2"], moves: Int[np.ndarray, "n"]
    ) -> tuple[Int[np.ndarray, "n 2"], Int[np.ndarray, "n"]]:
        """Plays one legal move in each position.

        Returns:
            The positions, now seen by the other seat, and how each game stands for the seat that
            has moved: ``PLAYING``, ``WON``, ``DRAWN`` or ``LOST``.
        """
        ...

    def observe(self, positions: Int[np.ndarray, "n 2"]) -> np.ndarray:
        """Returns what the seat to move observes in each position."""
        ...
