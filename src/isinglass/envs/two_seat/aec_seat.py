"""One seat of a PettingZoo environment as a Gymnasium environment, others play the other seat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from isinglass._support.optional import require_extra
from isinglass._support.validation import check_choice
from isinglass._support.wording import shown
from isinglass.envs._actions import check_action
from isinglass.envs.two_seat.opponents import Opposing, ask
from isinglass.envs.two_seat.pool import OpponentPool
from isinglass.envs.two_seat.seat_env import Move, pool_of
from isinglass.envs.two_seat.tables import SEATS
from isinglass.errors import ParameterError

__all__ = ["AECSeat"]

MASK = "action_mask"


class AECSeat(gym.Env[Any, Move]):
    """One seat of an AEC environment of PettingZoo with two agents, such as ``chess_v6``.

    AEC, agent environment cycle, is how PettingZoo has games by turns. The other seat is played
    inside ``step``, and inside ``reset`` where it starts. An observation ``{"observation",
    "action_mask"}`` is taken apart: the agent sees the first, and the second is in
    ``info["action_mask"]`` (all True after the end, where nothing is asked any more). The reward is
    what the seat has earned from its move up to its next one.

    Reference: Terry et al. 2021, "PettingZoo: Gym for multi-agent reinforcement learning",
    arXiv:2009.14471.

    Args:
        env: An ``AECEnv`` with two agents that have the same spaces, with ``Discrete`` actions.
        opponent: As of :class:`SeatEnv`; with ``"self"`` or a pool the agent learns from what it
            was before. An opponent is given observations as the agent sees them.
        seat: Who starts: the agent (``"first"``), the opponent (``"second"``), either by chance
            (``"random"``), or both by turns (``"alternate"``), the first time by chance.

    Attributes:
        pool: The pool that learning fills; None where opponents are fixed.

    Raises:
        MissingExtraError: If PettingZoo is not installed.
        ParameterError: If ``env`` is no AEC environment, has another number of agents, different
            spaces for them or actions that are not ``Discrete``; the opponent is no player, or the
            seat none of these.

    Examples:
        >>> from pettingzoo.classic import tictactoe_v3  # doctest: +SKIP
        >>> env = AECSeat(tictactoe_v3.env(), opponent="random", seat="first")  # doctest: +SKIP
        >>> observation, info = env.reset(seed=0)  # doctest: +SKIP
        >>> observation.shape, int(info["action_mask"].sum())  # doctest: +SKIP
        ((3, 3, 2), 9)
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(
        self,
        env: Any,
        opponent: Opposing | OpponentPool | Sequence[Opposing] = "random",
        seat: str = "alternate",
    ) -> None:
        with require_extra("pettingzoo"):
            from pettingzoo import AECEnv  # pyright: ignore[reportMissingImports]
        if not isinstance(env, AECEnv):
            raise ParameterError(
                f"env = {str(env)[:60]}", "Give an AEC environment, such as tictactoe_v3.env()"
            )
        agents = list(env.possible_agents)
        if len(agents) != 2:
            raise ParameterError(f"an environment of {len(agents)} agents", "Give one of two")
        check_choice("seat", seat, SEATS)
        self.env, self.seat, self._agents = env, seat, agents
        self._opponents, self.pool = pool_of(opponent)
        seen, acts = (_same(env, kind) for kind in ("observation_space", "action_space"))
        if not isinstance(acts, spaces.Discrete) or acts.start != 0:
            raise ParameterError(f"the action space {acts}", "Give actions Discrete(n) from 0 on")
        self._told = isinstance(seen, spaces.Dict) and MASK in seen.spaces
        self.observation_space = _without_mask(seen)
        self.action_space = acts  # pyright: ignore[reportAttributeAccessIssue]
        self._own, self._opponent = "", self._opponents.members[0]
        self._second: bool | None = None
        self._mask = np.ones(int(acts.n), dtype=bool)
        self._over = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Starts a game: draws opponent and seat, and lets an opponent in front move.

        Raises:
            DomainError: If a move of the opponent is not legal.
        """
        super().reset(seed=seed, options=options)
        if seed is not None:
            self._second = None
        self.env.reset(seed=int(self.np_random.integers(2**31)), options=options)
        self._opponent = self._opponents.draw(1, self.np_random)[0]
        self._own = self._agents[self._draw_seat()]
        self._over = False
        observation, _, _, _, info = self._until_own_turn()
        return observation, info

    def step(self, action: Move) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Makes a move and lets the opponent answer.

        Raises:
            DomainError: If the action is no number of a move, or a move of the opponent not legal.
            gymnasium.error.ResetNeeded: If the game has ended.
        """
        if self._over:
            raise gym.error.ResetNeeded("AECSeat.step: the game has ended. Call reset() first")
        self.env.step(check_action(action, len(self._mask)))
        return self._until_own_turn()

    def action_masks(self) -> np.ndarray:
        """Returns which moves are legal, ``(moves,)``, as sb3-contrib asks for them."""
        return self._mask

    def render(self) -> Any:
        """Shows what the environment itself shows."""
        return self.env.render()

    def close(self) -> None:
        """Closes the environment of PettingZoo."""
        self.env.close()

    def _draw_seat(self) -> int:
        before, chance = self._second, self.np_random.random() < 0.5
        if self.seat == "alternate":
            self._second = chance if before is None else not before
        else:
            self._second = chance if self.seat == "random" else self.seat == "second"
        return int(self._second)

    def _until_own_turn(self) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Plays the other seat until it is the own one's turn or the game is over for it.

        Who acts last may end the game before the own seat is asked again: PettingZoo then asks
        all that are left for None, and each is told its reward when it is its turn.
        """
        while True:
            observation, reward, terminated, truncated, info = self.env.last()
            ended = bool(terminated or truncated)
            if self.env.agent_selection == self._own:
                break
            self.env.step(None if ended else self._answer(observation))
        self._over = ended
        self._mask = self._mask_of(observation, ended)
        seen = self._see(observation)
        told = {**info, MASK: self._mask}
        return seen, float(reward), bool(terminated), bool(truncated), told

    def _answer(self, observation: Any) -> int:
        masks, seen = self._mask_of(observation, False)[None], self._see(observation)
        rows = {k: v[None] for k, v in seen.items()} if isinstance(seen, Mapping) else seen[None]
        return int(ask(self._opponent, rows, masks, self.np_random)[0])

    def _mask_of(self, observation: Any, ended: bool) -> np.ndarray:
        if not self._told or ended:
            return np.ones(len(self._mask), dtype=bool)
        return np.asarray(observation[MASK], dtype=bool)

    def _see(self, observation: Any) -> Any:
        if not self._told:
            return np.asarray(observation)
        rest = {key: part for key, part in observation.items() if key != MASK}
        return next(iter(rest.values())) if len(rest) == 1 else rest


def _same(env: Any, kind: str) -> spaces.Space[Any]:
    """The space that both agents have."""
    one, other = (getattr(env, kind)(agent) for agent in env.possible_agents)
    if one != other:
        raise ParameterError(
            f"agents of different {kind}s, {shown(one)} and {shown(other)}",
            "Give an environment where both seats have the same",
        )
    return one


def _without_mask(seen: spaces.Space[Any]) -> spaces.Space[Any]:
    if not isinstance(seen, spaces.Dict) or MASK not in seen.spaces:
        return seen
    rest = {key: part for key, part in seen.spaces.items() if key != MASK}
    return next(iter(rest.values())) if len(rest) == 1 else spaces.Dict(rest)
