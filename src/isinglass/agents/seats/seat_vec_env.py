"""One seat of many games at once: each opponent is asked for all its moves together."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from isinglass._support.validation import check_count
from isinglass.envs.two_seat.game import ILLEGAL, PLAYING, TwoSeatGame
from isinglass.envs.two_seat.opponents import Opposing
from isinglass.envs.two_seat.pool import OpponentPool
from isinglass.envs.two_seat.seat_env import check_game, pool_of
from isinglass.envs.two_seat.tables import REWARDS, Tables
from isinglass.errors import DomainError, ShapeError

__all__ = ["SeatVecEnv"]


class SeatVecEnv(VecEnv):
    """Many games of two seats at once, a vector environment of Stable-Baselines3.

    Each is a :class:`~isinglass.envs.SeatEnv`, with the same rewards, masks and infos, but an
    opponent that plays at several tables is asked once for all of them. A network takes hardly
    longer for sixteen positions than for one. Returns and lengths of games are in
    ``info["episode"]``, as ``Monitor`` has them.

    Args:
        game: The rules.
        count: Number of games.
        opponent: As of :class:`~isinglass.envs.SeatEnv`.
        seat: As of :class:`~isinglass.envs.SeatEnv`; with ``"alternate"`` at each table.

    Attributes:
        game: The rules.
        pool: The pool that learning fills; None where opponents are fixed.

    Raises:
        ParameterError: If ``game`` is no game, ``count`` no whole number of at least one, the
            opponent no player, or the seat none of these.

    Examples:
        >>> from isinglass.agents import FreeEnergyQ
        >>> from isinglass.envs.connect_four import ConnectFourGame
        >>> env = SeatVecEnv(ConnectFourGame(4, 5), 16)
        >>> agent = FreeEnergyQ("MlpPolicy", env, seed=0, device="cpu").learn(640)
        >>> len(env.pool.steps)
        20
    """

    def __init__(
        self,
        game: TwoSeatGame,
        count: int = 16,
        opponent: Opposing | OpponentPool | Sequence[Opposing] = "self",
        seat: str = "alternate",
    ) -> None:
        self.game = check_game(game)
        opponents, self.pool = pool_of(opponent)
        self._tables = Tables(game, check_count("count", count), opponents, seat)
        self._random = np.random.default_rng()
        self._moves = np.zeros(count, dtype=np.int64)
        self._lengths = np.zeros(count, dtype=np.int64)
        self._started = time.time()
        self.render_mode = None
        super().__init__(count, game.observation_space, game.action_space)

    def reset(self) -> np.ndarray:
        """Starts all games anew, with the seed given before.

        Raises:
            DomainError: If a move of an opponent is not legal.
        """
        seed = self._seeds[0]
        if seed is not None:
            self._random = np.random.default_rng(seed)
            self._tables.restart()
        self._reset_seeds()
        self._reset_options()
        self._deal(np.arange(self.num_envs))
        return self.game.observe(self._tables.positions)

    def step_async(self, actions: np.ndarray) -> None:
        """Keeps the moves for :meth:`step_wait`.

        Raises:
            ShapeError: If there is not one move a game.
            DomainError: If one is no number of a move.
        """
        moves, most = np.asarray(actions), int(self.game.action_space.n)
        if moves.shape != (self.num_envs,):
            raise ShapeError(
                f"moves of shape {moves.shape} for {self.num_envs} games", "Give one move a game"
            )
        if moves.dtype.kind not in "iu" or np.any((moves < 0) | (moves >= most)):
            raise DomainError(f"the moves {moves}", f"Give whole numbers from 0 to {most - 1}")
        self._moves = moves.astype(np.int64)

    def step_wait(self) -> VecEnvStepReturn:
        """Makes the moves, lets opponents answer, and starts anew what is over."""
        every, tables = np.arange(self.num_envs), self._tables
        tables.move(every, self._moves, self._random)
        self._lengths += 1
        rewards = REWARDS[tables.outcome].astype(np.float32)
        dones = tables.outcome != PLAYING
        seen, masks = self.game.observe(tables.positions), tables.masks()
        infos: list[dict[str, Any]] = [
            {"action_mask": mask, "illegal": bool(end == ILLEGAL), "TimeLimit.truncated": False}
            for mask, end in zip(masks, tables.outcome, strict=True)
        ]
        passed = round(time.time() - self._started, 6)
        over = np.flatnonzero(dones)
        for i in over:
            episode = {"r": float(rewards[i]), "l": int(self._lengths[i]), "t": passed}
            infos[i] |= {"terminal_observation": seen[i].copy(), "episode": episode}
        if len(over):
            self._deal(over)
            seen[over] = self.game.observe(tables.positions[over])
        return seen, rewards, dones, infos

    def action_masks(self) -> np.ndarray:
        """Returns which moves are legal in each game, ``(count, moves)``."""
        return self._tables.masks()

    def close(self) -> None:
        """Does nothing: there is nothing to close."""

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Returns an attribute once for each game: all games are this one object."""
        return [getattr(self, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Sets an attribute, of all games: they are one object."""
        setattr(self, attr_name, value)

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        """Calls a method, and gives each game its row of what it returns."""
        found = getattr(self, method_name)(*method_args, **method_kwargs)
        rows = isinstance(found, np.ndarray) and len(found) == self.num_envs
        return [found[i] if rows else found for i in self._get_indices(indices)]

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper], indices: VecEnvIndices = None
    ) -> list[bool]:
        """Tells whether games are wrapped so; what ``Monitor`` does is done for each."""
        return [issubclass(Monitor, wrapper_class) for _ in self._get_indices(indices)]

    def _deal(self, tables: np.ndarray) -> None:
        self._tables.deal(tables, self._random)
        self._lengths[tables] = 0
        masks = self._tables.masks()
        for i in tables:
            self.reset_infos[i] = {"action_mask": masks[i], "illegal": False}
