"""Connect Four on boards of any size, against opponents, or against what the agent was before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from isinglass.envs._rendering import check_render_mode, picture, tile
from isinglass.envs.connect_four.game import ConnectFourGame
from isinglass.envs.two_seat.opponents import Opposing
from isinglass.envs.two_seat.pool import OpponentPool
from isinglass.envs.two_seat.seat_env import SeatEnv

__all__ = ["ConnectFour"]

GROUND = (38, 84, 150)
INKS = {"X": (230, 124, 32), "O": (250, 220, 90), "·": (236, 239, 241)}


class ConnectFour(SeatEnv):
    """Connect Four: drop a disc into a column, and four in a line win.

        reward = +1 win, 0 draw, −1 loss, −1 for a full column, 0 while the game goes on

    The opponent answers inside ``step``, and moves first, inside ``reset``, where the agent is
    second. What is observed are two boards of bits, ``(2, rows, columns)``, the top row first: the
    agent's discs, the opponent's. ``info["action_mask"]``, ``(columns,)``, tells which columns are
    not full; a disc into a full one loses. Registered as ``isinglass/ConnectFour-v0``.

    Args:
        rows: Rows of the board.
        columns: Columns of the board; ``columns * (rows + 1)`` is at most 63.
        line: Discs in a line that win, at least two.
        opponent: ``"random"``; ``"self"``, what the agent was before; an
            :class:`~isinglass.envs.OpponentPool`;
            :class:`~isinglass.envs.connect_four.solver.Lookahead`; an agent with
            Stable-Baselines3's ``predict``; a function of a batch of observations, masks and a
            generator that returns columns; or a sequence of these players, one of which is drawn
            for each game.
        seat: Who starts: the agent (``"first"``), the opponent (``"second"``), either by chance
            (``"random"``), or both by turns (``"alternate"``), the first time by chance.
        render_mode: None, ``"ansi"`` or ``"rgb_array"``. Whoever starts has the crosses.

    Raises:
        ParameterError: If a size is not a whole number, the board is too small for a line or too
            large for 63 bits, or the opponent, the seat or ``render_mode`` is none of these.

    Examples:
        >>> from isinglass.envs.connect_four import Lookahead
        >>> env = ConnectFour(4, 5, opponent=Lookahead(2), seat="first", render_mode="ansi")
        >>> _ = env.reset(seed=0)
        >>> for column in (2, 2):
        ...     observation, reward, terminated, _, info = env.step(column)
        >>> print(env.render())
        ·····
        ·····
        ··X··
        ··XOO
    """

    metadata: ClassVar[dict[str, Any]] = {  # pyright: ignore[reportIncompatibleVariableOverride]
        "render_modes": ["ansi", "rgb_array"],
        "render_fps": 2,
    }
    game: ConnectFourGame

    def __init__(
        self,
        rows: int = 6,
        columns: int = 7,
        line: int = 4,
        opponent: Opposing | OpponentPool | Sequence[Opposing] = "random",
        seat: str = "alternate",
        render_mode: str | None = None,
    ) -> None:
        super().__init__(ConnectFourGame(rows, columns, line), opponent, seat)
        check_render_mode(render_mode, self.metadata["render_modes"])
        self.render_mode = render_mode

    def render(self) -> str | np.ndarray | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Shows the board as text (``"ansi"``) or an image (``"rgb_array"``)."""
        if self.render_mode is None:
            return None
        mine, theirs = self._observation()
        first, second = (theirs, mine) if self._tables.second[0] else (mine, theirs)
        board = np.where(first, "X", np.where(second, "O", "·"))
        if self.render_mode == "ansi":
            return "\n".join("".join(row) for row in board)
        return picture([[tile(GROUND, INKS[mark]) for mark in row] for row in board], GROUND)
