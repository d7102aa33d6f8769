"""What a memory of the episode is worth: T-mazes of growing length, and MiniGrid's MemoryS7.

All agents are as they come: FreeEnergyQ with EpisodicMemory, FreeEnergyQ without, and sb3-contrib's
RecurrentPPO, for as many steps of the environment. Greedy episodes are counted at the end, in
environments of another seed, by Stable-Baselines3's evaluate_policy. One run is one agent, one task
and one seed; it goes to a file in --out, and a second call makes only what is missing. Seconds are
processor time of the one thread that learns. MiniGrid and RecurrentPPO need the packages minigrid
and sb3-contrib.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from rich.console import Console
from rich.table import Table
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

from benchmarks.evidence.grid import Grid, mean_and_worst, of
from isinglass.agents import EpisodicMemory, FreeEnergyQ
from isinglass.envs import TMaze

METHODS = ("EpisodicMemory", "no memory", "RecurrentPPO")
LENGTHS = (5, 10, 20, 50, 100)
KINDS = (0, 1, 2, 5, 6)  # unseen, floor, wall, key, ball: all there is in MemoryS7


@dataclass(frozen=True)
class Task:
    """An environment, how long is learned in it, and how many episodes are counted.

    Args:
        make: Makes the environment.
        steps: Environment steps of training.
        episodes: Greedy episodes that are counted.
    """

    make: Callable[[], gym.Env[Any, Any]]
    steps: int
    episodes: int


class Seen(gym.ObservationWrapper):
    """What MiniGrid shows, as bits: the kind of each of the 7 × 7 cells, and the direction."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.observation_space = spaces.MultiBinary(49 * len(KINDS) + 4)

    def observation(self, observation: dict[str, Any]) -> np.ndarray:
        """Returns the bits, of cells and then of the direction."""
        cells = observation["image"][..., :1] == np.array(KINDS)
        facing = np.arange(4) == observation["direction"]
        return np.concatenate([cells.ravel(), facing]).astype(np.int8)


def memory_s7() -> gym.Env[Any, Any]:
    """MiniGrid's MemoryS7, its pictures as bits."""
    import minigrid  # noqa: F401  # pyright: ignore[reportMissingImports]

    return Seen(gym.make("MiniGrid-MemoryS7-v0"))


TASKS = {
    f"T-maze {length}": Task(partial(TMaze, length), 3_000 + 50 * length, 40) for length in LENGTHS
} | {"MemoryS7": Task(memory_s7, 20_000, 40)}


def run(name: str, method: str, seed: int, steps: int) -> dict[str, Any]:
    """Learns once, and is examined."""
    task = TASKS[name]
    begin = time.process_time()
    agent = _agent(method, Monitor(task.make()), seed)
    agent.learn(steps)
    seconds = time.process_time() - begin
    env = Monitor(task.make())
    env.reset(seed=1_000_000 + seed)
    returns, _ = evaluate_policy(agent, env, task.episodes, return_episode_rewards=True)
    return {
        "task": name, "method": method, "seed": seed, "steps": steps,
        "mean": float(np.mean(returns)), "seconds": seconds,
    }  # fmt: skip


def _agent(method: str, env: gym.Env[Any, Any], seed: int) -> Any:
    if method == "RecurrentPPO":
        from sb3_contrib import RecurrentPPO  # pyright: ignore[reportMissingImports]

        return RecurrentPPO("MlpLstmPolicy", env, seed=seed, device="cpu")
    kind = {"features_extractor_class": EpisodicMemory} if method == METHODS[0] else {}
    return FreeEnergyQ("MlpPolicy", env, policy_kwargs=kind, seed=seed, device="cpu")


def as_table(records: list[dict[str, Any]]) -> Table:
    """Builds the table: mean and worst seed of each agent in each task."""
    table = Table("task", "steps", *METHODS, "s")
    for name in dict.fromkeys(record["task"] for record in records):
        cells = [mean_and_worst(of(records, name, method), 3) for method in METHODS]
        ours = of(records, name, METHODS[0])
        spent = f"{np.mean([r['seconds'] for r in ours]):.0f}" if ours else ""
        table.add_row(name, f"{TASKS[name].steps:,}", *cells, spent)
    return table


GRID = Grid(
    "episodic", __doc__, {name: task.steps for name, task in TASKS.items()}, METHODS, run
)  # fmt: skip

if __name__ == "__main__":
    Console(width=120).print(as_table(GRID.measure()))
