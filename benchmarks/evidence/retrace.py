"""RetraceBackup beside the default backup, all else as it comes.

On two tasks of which no default was chosen: a cart whose pole is short and falls fast, and a
corridor of 12 cells, slippery, with a reward at its end alone. One run goes to one file in --out,
and a second call makes only what is missing. Greedy episodes in environments of another seed are
counted after each quarter of the steps. Seconds are processor time of the one thread that learns.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import TimeLimit
from rich.console import Console
from rich.table import Table
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from benchmarks.evidence.grid import Grid, of
from isinglass.agents import Backup, FreeEnergyQ, RetraceBackup

METHODS: dict[str, Backup | None] = {"default": None, "RetraceBackup()": RetraceBackup()}
QUARTERS, EPISODES, CELLS = 4, 20, 12


class Corridor(gym.Env[Any, Any]):
    """Left, right or stay in 12 cells, another of these one time in ten; 1 at the end."""

    observation_space, action_space = spaces.Discrete(CELLS), spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Starts on the left."""
        super().reset(seed=seed)
        self.cell = 0
        return self.cell, {}

    def step(self, action: int) -> Any:
        """Moves; a step costs 0.01."""
        if self.np_random.random() < 0.1:
            action = int(self.np_random.integers(3))
        self.cell = max(0, self.cell + int(action) - 1)
        over = self.cell == CELLS - 1
        return self.cell, float(over) - 0.01, over, False, {}


def short_pole() -> gym.Env[Any, Any]:
    """Makes a cart with a pole half as long, under twice the gravity."""
    env = gym.make("CartPole-v1", max_episode_steps=300)
    whole: Any = env.unwrapped
    whole.gravity, whole.length = 19.6, 0.25
    whole.polemass_length = whole.masspole * whole.length
    return env


TASKS: dict[str, tuple[Callable[[], gym.Env[Any, Any]], int]] = {
    "short pole": (short_pole, 3_000),
    "corridor": (lambda: TimeLimit(Corridor(), 100), 2_000),
}


class Examiner(BaseCallback):
    """Counts greedy episodes after each quarter of the steps."""

    def __init__(self, make: Callable[[], gym.Env[Any, Any]], every: int) -> None:
        super().__init__()
        self.make, self.every, self.means = make, every, []

    def _on_step(self) -> bool:
        if self.n_calls % self.every == 0:
            env = DummyVecEnv([lambda: Monitor(self.make())] * EPISODES)
            env.seed(1_000_000)
            self.means.append(float(evaluate_policy(self.model, env, EPISODES)[0]))  # pyright: ignore[reportArgumentType]
        return True


def run(name: str, method: str, seed: int, steps: int) -> dict[str, Any]:
    """Learns once, examined on the way."""
    make, begin = TASKS[name][0], time.process_time()
    env, examiner = Monitor(make()), Examiner(make, steps // QUARTERS)
    agent = FreeEnergyQ("MlpPolicy", env, backup=METHODS[method], seed=seed, device="cpu")
    agent.learn(steps, callback=examiner)
    return {
        "task": name, "method": method, "seed": seed, "means": examiner.means,
        "seconds": time.process_time() - begin,
    }  # fmt: skip


def as_table(found: list[dict[str, Any]]) -> Table:
    """Builds means of all seeds after each quarter, the worst in parentheses."""
    table = Table("task", "backup", *(f"{i}/{QUARTERS}" for i in range(1, QUARTERS + 1)), "seconds")
    for task in dict.fromkeys(run["task"] for run in found):
        for method in METHODS:
            runs = of(found, task, method)
            means = np.array([r["means"] for r in runs])
            cells = [f"{m:.2f} ({w:.2f})" for m, w in zip(means.mean(0), means.min(0), strict=True)]
            table.add_row(task, method, *cells, f"{np.mean([r['seconds'] for r in runs]):.0f}")
    return table


GRID = Grid(
    "retrace", __doc__, {name: steps for name, (_, steps) in TASKS.items()}, tuple(METHODS), run,
    quick=400,
)  # fmt: skip

if __name__ == "__main__":
    Console(width=100).print(as_table(GRID.measure()))
