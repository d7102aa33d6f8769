"""The T-maze: what is seen at the start alone says where to turn at the end."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from isinglass._support.validation import check_count
from isinglass.envs._actions import check_action
from isinglass.envs._rendering import DISC, Color, check_render_mode, picture, tile

__all__ = ["TMaze"]

NORTH, EAST, SOUTH, WEST = range(4)
CUES = np.array([[0, 1, 1], [1, 1, 0]], dtype=np.int8)  # turn north, turn south
CORRIDOR, JUNCTION = np.array([[1, 0, 1], [0, 1, 0]], dtype=np.int8)
RIGHT, COST = 4.0, 0.1
CAP = 10  # times the steps of the shortest way
WALL, FLOOR, GOAL, AGENT = (236, 239, 241), (178, 223, 219), (255, 213, 79), (0, 121, 107)


class TMaze(gym.Env[np.ndarray, Any]):
    r"""Walk down a corridor, and turn at its end as the first observation has said.

        r = 4 for the right turn, which ends the episode as a wrong one does; 0 for a step east in
            the corridor; else −0.1

    The first observation is 011 if the goal lies north of the junction, 110 if it lies south, by
    the toss of a coin; then the corridor looks the same at every step, 101, and so does the
    junction, 010. Actions are north, east, south and west (0 to 3). With the cue in mind 4 can be
    earned; who forgets it has to guess, for 1.95 at best. The longer the corridor, the longer the
    cue must be held. Registered as ``isinglass/TMaze-v0``.

    Reference: Bakker 2002, "Reinforcement learning with long short-term memory", NeurIPS 14: its
    observations, actions and rewards, but that here a step west costs as much as standing still,
    so that in long corridors the junction is found.

    Args:
        length: Steps from the start to the junction.
        cap: Steps after which an episode is truncated; None is ten times the shortest way,
            ``10 * (length + 1)``.
        render_mode: None, ``"ansi"`` or ``"rgb_array"``.

    Raises:
        ParameterError: If a number is no whole number of at least one, or ``render_mode`` is
            another.

    Examples:
        >>> env = TMaze(length=4, render_mode="ansi")
        >>> env.reset(seed=1)[0].tolist(), env.step(1)[0].tolist()
        ([0, 1, 1], [1, 0, 1])
        >>> print(env.render())
            G
        .@...
            .
    """

    metadata: ClassVar[dict[str, Any]] = {  # pyright: ignore[reportIncompatibleVariableOverride]
        "render_modes": ["ansi", "rgb_array"],
        "render_fps": 4,
    }

    def __init__(
        self, length: int = 10, cap: int | None = None, render_mode: str | None = None
    ) -> None:
        self.length = check_count("length", length)
        self.cap = CAP * (length + 1) if cap is None else check_count("cap", cap)
        check_render_mode(render_mode, self.metadata["render_modes"])
        self.render_mode = render_mode
        self.observation_space = spaces.MultiBinary(3)
        self.action_space = spaces.Discrete(4)
        self._goal, self._place, self._remaining = NORTH, 0, 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Goes to the start, and draws where the goal is."""
        super().reset(seed=seed, options=options)
        self._goal = SOUTH if self.np_random.integers(2) else NORTH
        self._place, self._remaining = 0, self.cap
        return self._observation(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Takes a step; what is seen after a turn is the junction still.

        Raises:
            DomainError: If the action is none of 0, 1, 2 and 3.
            gymnasium.error.ResetNeeded: If the episode has ended.
        """
        move = check_action(action, 4)
        if self._remaining == 0:
            raise gym.error.ResetNeeded("TMaze.step: the episode has ended. Call reset() first")
        turned = self._place == self.length and move in (NORTH, SOUTH)
        before = self._place
        if move in (EAST, WEST):
            self._place = min(max(before + (1 if move == EAST else -1), 0), self.length)
        reward = -COST if self._place <= before else 0.0
        if turned and move == self._goal:
            reward = RIGHT
        self._remaining = 0 if turned else self._remaining - 1
        truncated = self._remaining == 0 and not turned
        return self._observation(), reward, turned, truncated, {}

    def render(self) -> str | np.ndarray | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Shows the maze as text, G the goal, @ who walks, or as an image."""
        if self.render_mode is None:
            return None
        rows = [[" "] * self.length + ["."] for _ in range(3)]
        rows[1] = ["."] * (self.length + 1)
        rows[0 if self._goal == NORTH else 2][-1] = "G"
        rows[1][self._place] = "@"
        if self.render_mode == "ansi":
            return "\n".join("".join(row) for row in rows)
        return picture([[_tile(mark) for mark in row] for row in rows])

    def _observation(self) -> np.ndarray:
        if self._place == 0:
            return CUES[0 if self._goal == NORTH else 1].copy()
        return (JUNCTION if self._place == self.length else CORRIDOR).copy()


def _tile(mark: str) -> np.ndarray:
    grounds: dict[str, Color] = {" ": WALL, "G": GOAL}
    return tile(grounds.get(mark, FLOOR), AGENT if mark == "@" else None, DISC)
