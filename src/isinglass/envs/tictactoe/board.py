"""Noughts and crosses on a board, as a game of two seats: for play against oneself."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from isinglass._support.typing import Bool, Int
from isinglass.envs.tictactoe.game import (
    CELLS,
    DRAWN,
    FULL,
    HAS,
    LINED,
    PLAYING,
    WON,
    perfect_cells,
)

__all__ = ["TicTacToeGame", "perfect_opponent"]


class TicTacToeGame:
    """Noughts and crosses as a :class:`~isinglass.envs.TwoSeatGame`: a move is a cell, 3y + x.

    What is observed are two boards of bits, ``(2, 3, 3)``: one's own marks and the other's.

    Examples:
        >>> from isinglass.envs import play_match
        >>> play_match(TicTacToeGame(), perfect_opponent, perfect_opponent, games=100)
        MatchResult(wins=0, draws=100, losses=0)
    """

    def __init__(self) -> None:
        self.observation_space = spaces.MultiBinary((2, 3, 3))
        self.action_space = spaces.Discrete(CELLS)

    def start(self, count: int) -> Int[np.ndarray, "{count} 2"]:
        """Returns so many empty boards."""
        return np.zeros((count, 2), dtype=np.int64)

    def legal(self, positions: Int[np.ndarray, "n 2"]) -> Bool[np.ndarray, "n 9"]:
        """Tells which cells are empty."""
        return HAS[positions[:, 0] | positions[:, 1]] == 0

    def play(
        self, positions: Int[np.ndarray, "n 2"], moves: Int[np.ndarray, "n"]
    ) -> tuple[Int[np.ndarray, "n 2"], Int[np.ndarray, "n"]]:
        """Marks a cell on each board."""
        mine, theirs = positions[:, 0] | 1 << moves, positions[:, 1]
        goes_on = np.where(mine | theirs == FULL, DRAWN, PLAYING)
        return np.stack([theirs, mine], 1), np.where(LINED[mine], WON, goes_on)

    def observe(self, positions: Int[np.ndarray, "n 2"]) -> Int[np.ndarray, "n 2 3 3"]:
        """Returns the marks of whoever looks, and those of the other."""
        return HAS[positions].reshape(-1, 2, 3, 3).astype(np.int8)


def perfect_opponent(
    observations: np.ndarray,
    masks: Bool[np.ndarray, "n 9"],  # noqa: ARG001
    generator: np.random.Generator,
) -> Int[np.ndarray, "n"]:
    """Draws one of the cells of perfect play, uniformly, on each board of a TicTacToeGame."""
    cells = perfect_cells(*(observations.reshape(-1, 2, CELLS) @ (1 << np.arange(CELLS))).T)
    return np.where(cells, generator.random(cells.shape), -1.0).argmax(-1)
