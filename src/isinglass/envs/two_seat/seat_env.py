"""One seat of a game of two as an environment: opponents of a pool answer inside a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, TypeAlias

import gymnasium as gym
import numpy as np

from isinglass.envs._actions import check_action
from isinglass.envs.two_seat.game import ILLEGAL, PLAYING, TwoSeatGame
from isinglass.envs.two_seat.opponents import Opposing
from isinglass.envs.two_seat.pool import OpponentPool
from isinglass.envs.two_seat.tables import REWARDS, Tables
from isinglass.errors import ParameterError

__all__ = ["Move", "SeatEnv", "check_game", "pool_of"]

TABLE = np.array([0])
Move: TypeAlias = int | np.integer[Any] | np.ndarray


class SeatEnv(gym.Env[np.ndarray, Move]):
    """One seat of a game of two: the agent moves, an opponent answers inside ``step``.

        reward = +1 win, 0 draw, −1 loss, −1 illegal move, 0 while the game goes on

    Where the opponent starts it moves inside ``reset``. Everybody sees the game from their own
    side. ``info`` has ``"action_mask"``, ``(moves,)``, which moves are legal (after the end, where
    nothing is asked any more, all are True), and ``"illegal"``, whether the agent's last move was
    not legal, which ends the game.

    With ``opponent="self"`` an agent learns from what it was before: :class:`FreeEnergyQ` fills
    the pool by itself, another agent of Stable-Baselines3 with the callback
    :class:`~isinglass.agents.SelfPlay`.

    Args:
        game: The rules.
        opponent: ``"random"``; ``"self"``, an :class:`OpponentPool` as it comes; a pool; an agent
            or a policy with Stable-Baselines3's ``predict``; a function of a batch of observations,
            their masks and a ``numpy.random.Generator`` that returns moves; or a sequence of these
            players, one of which is drawn for each game.
        seat: Who starts: the agent (``"first"``), the opponent (``"second"``), either by chance
            (``"random"``), or both by turns (``"alternate"``), the first time by chance.

    Attributes:
        game: The rules.
        pool: The pool that learning fills; None where opponents are fixed.

    Raises:
        ParameterError: If ``game`` is no game, the opponent no player, or the seat none of these.

    Examples:
        >>> from isinglass.envs.tictactoe.board import TicTacToeGame
        >>> env = SeatEnv(TicTacToeGame(), opponent="self", seat="first")
        >>> observation, info = env.reset(seed=0)
        >>> observation.shape, int(info["action_mask"].sum())
        ((2, 3, 3), 9)
        >>> observation, reward, terminated, _, info = env.step(4)
        >>> int(info["action_mask"].sum()), reward, terminated
        (7, 0.0, False)
    """

    metadata: ClassVar[dict[str, Any]] = {  # pyright: ignore[reportIncompatibleVariableOverride]
        "render_modes": [],
    }

    def __init__(
        self,
        game: TwoSeatGame,
        opponent: Opposing | OpponentPool | Sequence[Opposing] = "self",
        seat: str = "alternate",
    ) -> None:
        self.game = check_game(game)
        opponents, self.pool = pool_of(opponent)
        self._tables = Tables(game, 1, opponents, seat)
        self.observation_space = game.observation_space
        self.action_space = game.action_space  # pyright: ignore[reportAttributeAccessIssue]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts a game: draws opponent and seat, and lets an opponent in front move.

        Raises:
            DomainError: If a move of the opponent is not legal.
            ParameterError: If there is no opponent.
        """
        super().reset(seed=seed, options=options)
        if seed is not None:
            self._tables.restart()
        self._tables.deal(TABLE, self.np_random)
        return self._observation(), self._info()

    def step(self, action: Move) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Makes a move and lets the opponent answer.

        Raises:
            DomainError: If the action is no number of a move, or a move of the opponent not legal.
            gymnasium.error.ResetNeeded: If the game has ended.
        """
        if self._tables.outcome[0] != PLAYING:
            raise gym.error.ResetNeeded(
                f"{type(self).__name__}.step: the game has ended. Call reset() first"
            )
        move = check_action(action, int(self.game.action_space.n))
        self._tables.move(TABLE, np.array([move]), self.np_random)
        outcome = int(self._tables.outcome[0])
        reward = float(REWARDS[outcome])
        return self._observation(), reward, outcome != PLAYING, False, self._info()

    def action_masks(self) -> np.ndarray:
        """Returns which moves are legal, ``(moves,)``, as sb3-contrib asks for them."""
        return self._tables.masks()[0]

    def _observation(self) -> np.ndarray:
        return self.game.observe(self._tables.positions)[0]

    def _info(self) -> dict[str, Any]:
        illegal = bool(self._tables.outcome[0] == ILLEGAL)
        return {"action_mask": self.action_masks(), "illegal": illegal}


def pool_of(
    opponent: Opposing | OpponentPool | Sequence[Opposing],
) -> tuple[OpponentPool, OpponentPool | None]:
    """Returns whom to draw opponents from, and the pool that learning is to fill, if any.

    Raises:
        ParameterError: If there is no player, or one is none.
    """
    if isinstance(opponent, str) and opponent == "self":
        opponent = OpponentPool()
    if isinstance(opponent, OpponentPool):
        return opponent, opponent
    found = OpponentPool(opponent)
    if not len(found):
        raise ParameterError("an empty sequence of opponents", "Give at least one")
    return found, None


def check_game(game: object) -> TwoSeatGame:
    """Refuses what are no rules, such as the class of a game.

    Raises:
        ParameterError: If it is no game.
    """
    if isinstance(game, type) or not isinstance(game, TwoSeatGame):
        raise ParameterError(
            f"game = {str(game)[:60]}", "Give the rules of a game, such as ConnectFourGame()"
        )
    return game
