"""Agents as they come: FreeEnergyQ, DQN, PPO and MaskablePPO without a single setting.

One run is one agent, one task and one seed, for as many steps of the environment as all others; it
goes to a file of its own in --out, and a second call makes only what is missing. Greedy episodes
are counted at the end, in environments of another seed. Our defaults were chosen on other tasks
(a heavier cart, another frozen lake, identities of other sizes, LargeAction with 30 bits) with
seeds from 200 on. Seconds are processor time of the one thread that learns.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.wrappers import TimeLimit
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.envs import (
    BitFlippingEnv,
    IdentityEnv,
    IdentityEnvBox,
    IdentityEnvMultiBinary,
    IdentityEnvMultiDiscrete,
)
from stable_baselines3.common.monitor import Monitor

from benchmarks.evidence.cache import Cache
from isinglass.agents import FreeEnergyQ, MaskedEnv
from isinglass.envs import make_env

LONGEST = 1_000  # steps of an episode that is counted
METHODS = ("FreeEnergyQ", "DQN", "PPO", "MaskablePPO")


@dataclass(frozen=True)
class Task:
    """An environment, how long is learned in it, and what is asked of a mean return.

    Args:
        make: Makes the environment.
        steps: Environment steps of training.
        target: The least mean return, None if it is only reported.
        episodes: Greedy episodes that are counted.
        masked: Whether it tells masks.
    """

    make: Callable[[], gym.Env[Any, Any]]
    steps: int
    target: float | None
    episodes: int = 20
    masked: bool = False


def _gym(name: str, **settings: Any) -> Callable[[], gym.Env[Any, Any]]:
    return partial(make_env, name, disable_env_checker=True, **settings)


def _own(name: str) -> Callable[[], gym.Env[Any, Any]]:
    return partial(make_env, f"isinglass.envs:{name}")


TASKS = {
    "CartPole": Task(_gym("CartPole-v1"), 50_000, 475),
    "Acrobot": Task(_gym("Acrobot-v1"), 50_000, -100),
    "FrozenLake": Task(_gym("FrozenLake-v1"), 20_000, 0.70, 200),
    "FrozenLake, dry": Task(_gym("FrozenLake-v1", is_slippery=False), 12_000, 0.95),
    "Taxi": Task(_gym("Taxi-v4"), 100_000, 7, 100, masked=True),
    "Pendulum": Task(_gym("Pendulum-v1"), 10_000, -160, 50),
    "BitFlipping": Task(partial(BitFlippingEnv, n_bits=4, continuous=False), 1_200, None),
    "Identity, one of 4": Task(partial(IdentityEnv, dim=4), 1_200, 90),
    "Identity, 4 bits": Task(partial(IdentityEnvMultiBinary, dim=4), 1_200, 90),
    "Identity, two of 4": Task(partial(IdentityEnvMultiDiscrete, dim=4), 1_200, 90),
    "Identity, real": Task(partial(IdentityEnvBox, low=-1, high=1), 1_200, 90),
    "LargeAction": Task(_own("LargeAction"), 12_000, 39.4, 1_000),
    "Trap": Task(_own("Trap"), 60_000, None, 1),
    "Assignment": Task(_own("Assignment"), 12_000, None, 200),
    "Blockers": Task(_own("Blockers"), 50_000, None, 100),
}


def main() -> None:
    """Parse the command line, make what is missing, print one table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.evidence.act_defaults", description=__doc__
    )
    parser.add_argument("--out", type=Path, default=Path("evidence/act_defaults"))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS[:3]))
    parser.add_argument("--quick", action="store_true", help="one seed, few steps: does it run?")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.quick:
        given.seeds = given.seeds[:1]
    todo = [(t, m, s) for t in given.tasks for m in given.methods for s in given.seeds]
    found = []
    with Progress() as progress:
        for task, method, seed in progress.track(todo, description="runs"):
            quick = "quick-" if given.quick else ""
            path = given.out / f"{quick}{task}-{method}-{seed}.json".replace(" ", "_")
            steps = 300 if given.quick else TASKS[task].steps
            found.append(Cache(path).get("run", partial(run, task, method, seed, steps)))
    Console(width=120).print(as_table(found))


def run(name: str, method: str, seed: int, steps: int) -> dict[str, Any]:
    """Learns once, and is examined; an agent that does not know the actions is said not to."""
    task = TASKS[name]
    begin = time.process_time()
    try:
        agent = _agent(method, task, seed)
    except AssertionError:  # Stable-Baselines3's, for action spaces
        return {"task": name, "method": method, "seed": seed, "mean": None, "seconds": 0.0}
    agent.learn(steps)
    seconds = time.process_time() - begin
    returns = [episode(agent, task, 1_000_000 + i) for i in range(task.episodes)]
    return {
        "task": name, "method": method, "seed": seed, "mean": float(np.mean(returns)),
        "seconds": seconds,
    }  # fmt: skip


def _agent(method: str, task: Task, seed: int) -> Any:
    env = Monitor(TimeLimit(task.make(), LONGEST))
    settings: dict[str, Any] = {"seed": seed, "device": "cpu"}
    policy = "MultiInputPolicy" if isinstance(env.observation_space, gym.spaces.Dict) else None
    if method == "MaskablePPO":
        from sb3_contrib import MaskablePPO  # pyright: ignore[reportMissingImports]

        return MaskablePPO(policy or "MlpPolicy", MaskedEnv(env), **settings)
    kind = {"FreeEnergyQ": FreeEnergyQ, "DQN": DQN, "PPO": PPO}[method]
    return kind(policy or "MlpPolicy", env, **settings)


def episode(agent: Any, task: Task, seed: int) -> float:
    """Returns the return of one greedy episode, with masks for those that take them."""
    env = TimeLimit(task.make(), LONGEST)
    seen, info = env.reset(seed=seed)
    total, over = 0.0, False
    takes_masks = task.masked and not isinstance(agent, DQN | PPO)
    while not over:
        masks = {"action_masks": info["action_mask"].astype(bool)} if takes_masks else {}
        action, _ = agent.predict(seen, deterministic=True, **masks)
        action = action if np.ndim(action) else action.item()  # FrozenLake looks it up
        seen, reward, terminated, truncated, info = env.step(action)
        total, over = total + float(reward), terminated or truncated
    return total


def as_table(records: list[dict[str, Any]]) -> Table:
    """Builds the table: mean and worst seed of each agent in each task."""
    methods = [m for m in METHODS if any(r["method"] == m for r in records)]
    table = Table("task", "steps", "asked", *methods, "s")
    for name in dict.fromkeys(record["task"] for record in records):
        cells = []
        for method in methods:
            runs = [r for r in records if (r["task"], r["method"]) == (name, method)]
            means = [r["mean"] for r in runs if r["mean"] is not None]
            cells.append(f"{np.mean(means):.4g} ({min(means):.4g})" if means else "–")
        seconds = [
            r["seconds"] for r in records if (r["task"], r["method"]) == (name, METHODS[0])
        ]  # fmt: skip
        target = TASKS[name].target
        table.add_row(
            name, f"{TASKS[name].steps:,}", "" if target is None else f"{target:g}", *cells,
            f"{np.mean(seconds):.0f}" if seconds else "",
        )  # fmt: skip
    return table


if __name__ == "__main__":
    main()
