"""The rules of Connect Four on boards of any size, by bitboards: many positions at once.

Column c and row r, from below, have the bit c (rows + 1) + r. The bit above the highest row stays
empty, so that a line never runs on from one column into the next.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from isinglass._support.typing import Bool, Int
from isinglass._support.validation import check_count
from isinglass.envs.two_seat.game import DRAWN, PLAYING, WON
from isinglass.errors import ParameterError

__all__ = ["ConnectFourGame"]

BITS = 63  # of a signed integer that stays positive


class ConnectFourGame:
    """Connect Four as a :class:`~isinglass.envs.TwoSeatGame`: drop a disc, four in a line win.

    A move is a column, from the left; its disc falls onto those that lie there. The first with
    ``line`` discs in a row, a column or a diagonal wins; a full board is a draw. What is observed
    are two boards of bits, ``(2, rows, columns)``, the top row first: one's own discs and the
    other's.

    Args:
        rows: Rows of the board.
        columns: Columns of the board; ``columns * (rows + 1)`` is at most 63.
        line: Discs in a line that win, at least two.

    Raises:
        ParameterError: If a size is not a whole number, the board is too small for a line or too
            large for 63 bits.

    Examples:
        >>> game = ConnectFourGame(4, 5)
        >>> positions, outcome = game.play(game.start(3), np.array([0, 0, 4]))
        >>> game.observe(positions)[2, 1]
        array([[0, 0, 0, 0, 0],
               [0, 0, 0, 0, 0],
               [0, 0, 0, 0, 0],
               [0, 0, 0, 0, 1]], dtype=int8)
    """

    def __init__(self, rows: int = 6, columns: int = 7, line: int = 4) -> None:
        self.rows = rows = check_count("rows", rows)
        self.columns = columns = check_count("columns", columns)
        self.line = line = check_count("line", line, least=2)
        if line > max(rows, columns):
            raise ParameterError(
                f"a board of {rows} rows and {columns} columns, too small for a line of {line}",
                "Give a larger board or a shorter line",
            )
        height = rows + 1
        if columns * height > BITS:
            raise ParameterError(
                f"a board of {rows} rows and {columns} columns",
                f"Give a smaller one: columns * (rows + 1) is at most {BITS}",
            )
        self.shifts = (1, height, height - 1, height + 1)  # up, right, down and up to the right
        self.floor = sum(1 << column * height for column in range(columns))
        self.board = self.floor * ((1 << rows) - 1)
        self._floors = np.array([1 << column * height for column in range(columns)])
        self._tops = self._floors << (rows - 1)
        self._column = (1 << rows) - 1
        self._cells = np.array([
            [column * height + row for column in range(columns)] for row in reversed(range(rows))
        ])  # fmt: skip
        self.observation_space = spaces.MultiBinary((2, rows, columns))
        self.action_space = spaces.Discrete(columns)

    def __repr__(self) -> str:
        return f"ConnectFourGame({self.rows}, {self.columns}, {self.line})"

    def start(self, count: int) -> Int[np.ndarray, "{count} 2"]:
        """Returns so many empty boards."""
        return np.zeros((count, 2), dtype=np.int64)

    def legal(self, positions: Int[np.ndarray, "n 2"]) -> Bool[np.ndarray, "n columns"]:
        """Tells which columns are not full."""
        return (positions[:, :1] | positions[:, 1:]) & self._tops == 0

    def play(
        self, positions: Int[np.ndarray, "n 2"], moves: Int[np.ndarray, "n"]
    ) -> tuple[Int[np.ndarray, "n 2"], Int[np.ndarray, "n"]]:
        """Drops a disc into a column of each board."""
        mine, theirs = positions.T
        floor = self._floors[moves]
        full = mine | theirs
        mine = mine | (full + floor) & (floor * self._column)  # the carry runs to the first gap
        goes_on = np.where(mine | theirs == self.board, DRAWN, PLAYING)
        return np.stack([theirs, mine], 1), np.where(self.has_line(mine), WON, goes_on)

    def observe(self, positions: Int[np.ndarray, "n 2"]) -> Int[np.ndarray, "n 2 rows columns"]:
        """Returns the discs of whoever looks, and those of the other, the top row first."""
        return (positions[:, :, None, None] >> self._cells & 1).astype(np.int8)

    def positions(self, observations: np.ndarray) -> Int[np.ndarray, "n 2"]:
        """Returns the positions that were observed so."""
        bits = np.asarray(observations).astype(np.int64) << self._cells
        return bits.sum((-1, -2))

    def has_line(self, discs: Any) -> Any:
        """Tells whether discs, an integer or an array of such, have a line.

        Two that lie side by side begin a line of two, two such side by side one of three, and so
        on by doubling: log₂ of its length shifts a direction.
        """
        found: Any = False
        for shift in self.shifts:
            run, length = discs, 1
            while length < self.line:
                more = min(length, self.line - length)
                run = run & run >> shift * more
                length += more
            found = found | (run != 0)
        return found
