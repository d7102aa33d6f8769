"""Actions with discrete and real parts: FreeEnergyQ as it comes beside SAC and PPO on a flat box.

Stable-Baselines3's agents take no such actions. They get a box: a number a choice, of which the
largest chooses, and the real parts. All have the settings they come with, and as many steps of the
environment; each is examined by greedy episodes in environments of another seed. One run goes to
one file in --out, and a second call makes only what is missing.

    aim       one step: a target of one of 4 kinds is seen; the kind has to be named and its place
              hit, which depends on what is seen
    drive     an episode of at most 15 steps: turn by an angle, go by a length, or stop, which ends
              it with 1 if the goal is within 0.2; a step costs 0.02 and a tenth of what it takes
              away from the goal

Seconds are processor time of the one thread that learns.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from rich.console import Console
from rich.table import Table
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.monitor import Monitor

from benchmarks.evidence.grid import Grid, mean_and_worst, of
from isinglass.agents import FreeEnergyQ

METHODS = ("FreeEnergyQ", "SAC", "PPO", "random")


class Aim(gym.Env[np.ndarray, Any]):
    """One step: name the kind of a target and hit its place, in a plane that the kind bends."""

    observation_space = spaces.Box(-1, 1, (6,), np.float32)
    action_space = spaces.Dict(kind=spaces.Discrete(4), place=spaces.Box(-1, 1, (2,), np.float32))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Shows a kind, one-hot, and a point."""
        super().reset(seed=seed)
        self.kind = int(self.np_random.integers(4))
        self.point = self.np_random.uniform(-0.8, 0.8, 2)
        return self._seen(), {}

    def step(self, action: Any) -> Any:
        """Earns 1 for the kind, less the squared distance to where the point is turned to."""
        turned = np.linalg.matrix_power(np.array([[0, -1], [1, 0]]), self.kind) @ self.point
        off = np.asarray(action["place"]) - turned
        reward = float(int(action["kind"]) == self.kind) - float(off @ off)
        return self._seen(), reward, True, False, {}

    def _seen(self) -> np.ndarray:
        return np.concatenate([np.eye(4)[self.kind], self.point]).astype(np.float32)


class Drive(gym.Env[np.ndarray, Any]):
    """Turn, go, or stop near the goal."""

    observation_space = spaces.Box(-4, 4, (4,), np.float32)
    action_space = spaces.Dict(
        do=spaces.Discrete(3),  # turn, go, stop
        angle=spaces.Box(-np.pi, np.pi, (1,), np.float32),
        length=spaces.Box(0, 0.5, (1,), np.float32),
    )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Puts the goal at random, and the driver in the middle."""
        super().reset(seed=seed)
        self.at, self.time = np.zeros(2), 0
        self.heading = float(self.np_random.uniform(-np.pi, np.pi))
        self.goal = self.np_random.uniform(-1, 1, 2)
        return self._seen(), {}

    def step(self, action: Any) -> Any:
        """Turns, goes or stops."""
        do, before, reward = int(action["do"]), self._away(), -0.02
        if do == 0:
            self.heading += float(action["angle"][0])
        elif do == 1:
            ahead = np.array([np.cos(self.heading), np.sin(self.heading)])
            self.at = np.clip(self.at + float(action["length"][0]) * ahead, -1.5, 1.5)
            reward += 0.1 * (before - self._away())
        elif self._away() < 0.2:
            reward += 1.0
        self.time += 1
        return self._seen(), reward, do == 2, self.time == 15, {}

    def _away(self) -> float:
        return float(np.linalg.norm(self.goal - self.at))

    def _seen(self) -> np.ndarray:
        """Returns where the goal is, ahead and to the left, how far, and what time it is."""
        turn = np.array([
            [np.cos(self.heading), np.sin(self.heading)],
            [-np.sin(self.heading), np.cos(self.heading)],
        ])  # fmt: skip
        ahead = turn @ (self.goal - self.at)
        return np.array([*ahead, self._away(), self.time / 15], np.float32)


class Flat(gym.ActionWrapper[np.ndarray, np.ndarray, Any]):
    """A box in place of a dictionary: the largest of some numbers is the choice."""

    def __init__(self, env: gym.Env[np.ndarray, Any]) -> None:
        super().__init__(env)
        self.parts: Any = env.action_space
        size = sum(int(spaces.flatdim(part)) for part in self.parts.values())
        self.action_space = spaces.Box(-1, 1, (size,), np.float32)

    def action(self, action: np.ndarray) -> Any:
        """Reads the box, part by part."""
        found, start = {}, 0
        for name, part in self.parts.items():
            piece = action[start : start + spaces.flatdim(part)]
            start += len(piece)
            if isinstance(part, spaces.Discrete):
                found[name] = int(piece.argmax())
            else:
                found[name] = part.low + (piece + 1) / 2 * (part.high - part.low)
        return found


@dataclass(frozen=True)
class Task:
    """An environment, and for how many steps is learned in it."""

    make: Callable[[], gym.Env[Any, Any]]
    steps: int


TASKS = {"aim": Task(Aim, 2_000), "drive": Task(Drive, 4_000)}


def run(name: str, method: str, seed: int, steps: int) -> dict[str, Any]:
    """Learns once, and is examined by 100 greedy episodes, or 100 of random actions."""
    make, begin = TASKS[name].make, time.process_time()
    env: Any = make() if method in ("FreeEnergyQ", "random") else Flat(make())
    agent = None
    if method != "random":
        kind: Any = {"FreeEnergyQ": FreeEnergyQ, "SAC": SAC, "PPO": PPO}[method]
        agent = kind("MlpPolicy", Monitor(env), seed=seed, device="cpu").learn(steps)
    seconds = time.process_time() - begin
    env.action_space.seed(seed)
    returns = [episode(agent, env, 1_000_000 + i) for i in range(100)]
    return {
        "task": name, "method": method, "seed": seed, "mean": float(np.mean(returns)),
        "seconds": seconds,
    }  # fmt: skip


def episode(agent: Any, env: gym.Env[Any, Any], seed: int) -> float:
    """Returns what a greedy episode earns."""
    state, _ = env.reset(seed=seed)
    total, over = 0.0, False
    while not over:
        if agent is None:
            action = env.action_space.sample()
        else:
            action, _ = agent.predict(state, deterministic=True)
        state, reward, ended, cut, _ = env.step(action)
        total, over = total + float(reward), ended or cut
    return total


def as_table(found: list[dict[str, Any]]) -> Table:
    """Builds means of all seeds, the worst in parentheses."""
    table = Table("task", "steps", "method", "mean (worst)", "seconds")
    for task in dict.fromkeys(run["task"] for run in found):
        for method in dict.fromkeys(run["method"] for run in found):
            runs = of(found, task, method)
            spent = f"{np.mean([r['seconds'] for r in runs]):.0f}"
            steps = f"{TASKS[task].steps:,}"
            table.add_row(task, steps, method, mean_and_worst(runs, 3), spent)
    return table


GRID = Grid(
    "hybrid_actions", __doc__, {name: task.steps for name, task in TASKS.items()}, METHODS, run,
    quick=200,
)  # fmt: skip

if __name__ == "__main__":
    Console(width=100).print(as_table(GRID.measure()))
