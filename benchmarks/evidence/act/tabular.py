"""Tabular Q-learning (Watkins 1989): a table of values, for tasks with few enough states."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import gymnasium as gym
import numpy as np

__all__ = ["TabularQ"]


class TabularQ:
    """ε-greedy Q-learning; the rate of each entry falls with its visits, the table begins at 0.

    Args:
        env: Environment of ``Discrete`` actions; ``info["action_mask"]`` is honored.
        key: What the table knows an observation by.
        seed: Of exploration and of the environment.
        gamma: Discount factor.
        exploration: ε at the start; it falls linearly to ``least_exploration``.
        least_exploration: ε from the middle of the training on.
        decay: The n-th visit of an entry moves it n^(−decay) of the way.
    """

    def __init__(
        self, env: gym.Env, key: Callable[[Any], Hashable], seed: int, gamma: float = 0.99,
        exploration: float = 1.0, least_exploration: float = 0.05, decay: float = 0.6,
    ) -> None:  # fmt: skip
        self.env, self.key, self.seed = env, key, seed
        self.gamma, self.decay = gamma, decay
        self.exploration, self.least_exploration = exploration, least_exploration
        self.actions = int(env.action_space.n)  # pyright: ignore[reportAttributeAccessIssue]
        self.draw = np.random.default_rng(seed)
        self.table: dict[Hashable, np.ndarray] = {}
        self.visits: dict[Hashable, np.ndarray] = {}
        self.num_timesteps = 0
        self._epsilon = exploration

    def learn(
        self, total_timesteps: int, callback: Callable[[dict, dict], bool],
        reset_num_timesteps: bool = True,
    ) -> TabularQ:  # fmt: skip
        """Learn from so many steps, or until the callback says no."""
        begin = self.num_timesteps
        first = self.seed if reset_num_timesteps else None
        observation, info = self.env.reset(seed=first)
        state, allowed = self.key(observation), _allowed(info, self.actions)
        while self.num_timesteps < begin + total_timesteps:
            if reset_num_timesteps:
                done = min(1.0, 2 * self.num_timesteps / total_timesteps)
                self._epsilon = (1 - done) * self.exploration + done * self.least_exploration
            action = self._choose(self._values(state), allowed, self._epsilon)
            observation, reward, terminated, truncated, info = self.env.step(action)
            after, allowed = self.key(observation), _allowed(info, self.actions)
            future = 0.0 if terminated else self._values(after)[allowed].max()
            self._move(state, action, float(reward) + self.gamma * future)
            state = after
            if terminated or truncated:
                observation, info = self.env.reset()
                state, allowed = self.key(observation), _allowed(info, self.actions)
            self.num_timesteps += 1
            dones = np.array([terminated or truncated])
            if not callback({"self": self, "dones": dones}, {}):
                break
        return self

    def predict(
        self, observations: Any, deterministic: bool = True,
        action_masks: np.ndarray | None = None,
    ) -> tuple[np.ndarray, None]:  # fmt: skip
        """The best listed action of each observation, or an ε-greedy one."""
        epsilon = 0.0 if deterministic else self._epsilon
        states = [self.key(row) for row in _rows(observations)]
        chosen = [
            self._choose(
                self.table.get(state, np.zeros(self.actions)),
                slice(None) if action_masks is None else np.flatnonzero(action_masks[i]), epsilon,
            )
            for i, state in enumerate(states)
        ]  # fmt: skip
        return np.array(chosen), None

    def _values(self, state: Hashable) -> np.ndarray:
        if state not in self.table:
            self.table[state] = np.zeros(self.actions)
            self.visits[state] = np.zeros(self.actions)
        return self.table[state]

    def _choose(self, values: np.ndarray, allowed: Any, epsilon: float) -> int:
        among = np.arange(self.actions)[allowed]
        if self.draw.random() >= epsilon:
            values = values[among]
            among = among[values == values.max()]  # ties at random
        return int(among[self.draw.integers(len(among))])

    def _move(self, state: Hashable, action: int, target: float) -> None:
        self.visits[state][action] += 1
        rate = self.visits[state][action] ** -self.decay
        self.table[state][action] += rate * (target - self.table[state][action])


def _allowed(info: dict[str, Any], actions: int) -> Any:
    mask = info.get("action_mask")
    if mask is None or np.size(mask) != actions or not np.any(mask):
        return slice(None)
    return np.flatnonzero(np.ravel(mask))


def _rows(observations: Any) -> list[Any]:
    if isinstance(observations, dict):
        count = len(next(iter(observations.values())))
        return [{name: rows[i] for name, rows in observations.items()} for i in range(count)]
    return list(observations)
