"""Agents as they come: FreeEnergyQ, DQN, PPO and MaskablePPO without a single setting.

"DQN, Zoo" and "PPO, Zoo" have what RL Baselines3 Zoo sets for the task, where it has it.

One run is one agent, one task and one seed, for as many steps of the environment as all others; it
goes to a file of its own in --out, and a second call makes only what is missing. Greedy episodes
are counted at the end, in environments of another seed. Our defaults were chosen on other tasks
(a heavier cart, another frozen lake, identities of other sizes, LargeAction with 30 bits) with
seeds from 200 on. Seconds are processor time of the one thread that learns. MaskablePPO needs the
package sb3-contrib, MiniGrid minigrid.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import TimeLimit
from rich.console import Console
from rich.table import Table
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import (
    BitFlippingEnv,
    IdentityEnv,
    IdentityEnvBox,
    IdentityEnvMultiBinary,
    IdentityEnvMultiDiscrete,
)
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecNormalize

from benchmarks.evidence.act_settings import Falling
from benchmarks.evidence.grid import Grid, mean_and_worst, of
from isinglass.agents import FreeEnergyQ, MaskedEnv
from isinglass.envs import make_env

LONGEST = 1_000  # steps of an episode that is counted
METHODS = ("FreeEnergyQ", "DQN", "PPO", "MaskablePPO", "DQN, Zoo", "PPO, Zoo")


LONG_BUFFER = {
    "learning_rate": 2.5e-4, "batch_size": 512, "buffer_size": 100_000, "learning_starts": 0,
    "gamma": 0.99, "target_update_interval": 5_000, "train_freq": 16, "gradient_steps": 4,
    "exploration_fraction": 0.06, "exploration_final_eps": 0.11,
}  # fmt: skip

#: Settings of RL Baselines3 Zoo, hyperparams/dqn.yml and ppo.yml; ``n_envs`` and ``normalize`` are
#: of the environment.
ZOO: dict[tuple[str, str], dict[str, Any]] = {
    ("CartPole", "DQN"): LONG_BUFFER,
    ("Acrobot", "DQN"): LONG_BUFFER,
    ("CartPole", "PPO"): {
        "n_envs": 8, "n_steps": 32, "batch_size": 256, "gae_lambda": 0.8, "gamma": 0.98,
        "n_epochs": 20, "ent_coef": 0.0, "learning_rate": Falling(1e-3),
        "clip_range": Falling(0.2),
    },
    ("Acrobot", "PPO"): {
        "n_envs": 16, "normalize": True, "n_steps": 256, "gae_lambda": 0.94, "gamma": 0.99,
        "n_epochs": 4, "ent_coef": 0.0,
    },
    ("Pendulum", "PPO"): {
        "n_envs": 4, "n_steps": 1024, "gae_lambda": 0.95, "gamma": 0.9, "n_epochs": 10,
        "ent_coef": 0.0, "learning_rate": 1e-3, "clip_range": 0.2, "use_sde": True,
        "sde_sample_freq": 4,
    },
}  # fmt: skip


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


def _mini_grid() -> gym.Env[Any, Any]:
    from minigrid.wrappers import FlatObsWrapper  # pyright: ignore[reportMissingImports]

    return FlatObsWrapper(gym.make("MiniGrid-Empty-5x5-v0"))


def _own(name: str) -> Callable[[], gym.Env[Any, Any]]:
    return partial(make_env, f"isinglass.envs:{name}")


TASKS = {
    "CartPole": Task(_gym("CartPole-v1"), 50_000, 475),
    "Acrobot": Task(_gym("Acrobot-v1"), 50_000, -100),
    "FrozenLake": Task(_gym("FrozenLake-v1"), 20_000, 0.70, 200),
    "FrozenLake, dry": Task(_gym("FrozenLake-v1", is_slippery=False), 12_000, 0.95),
    "Taxi": Task(_gym("Taxi-v4"), 100_000, 7, 100, masked=True),
    "MiniGrid-Empty": Task(_mini_grid, 20_000, 0.9),
    "CliffWalking": Task(_gym("CliffWalking-v1"), 30_000, None, 1),
    "MountainCar": Task(_gym("MountainCar-v0"), 50_000, None),
    "Pendulum": Task(_gym("Pendulum-v1"), 10_000, -160, 50),
    "BitFlipping": Task(partial(BitFlippingEnv, n_bits=4, continuous=False), 1_200, None),
    "Identity, one of 4": Task(partial(IdentityEnv, dim=4), 1_200, 90),
    "Identity, 4 bits": Task(partial(IdentityEnvMultiBinary, dim=4), 1_200, 90),
    "Identity, two of 4": Task(partial(IdentityEnvMultiDiscrete, dim=4), 1_200, 90),
    "Identity, real": Task(partial(IdentityEnvBox, low=-1, high=1), 1_200, 90),
    "LargeAction": Task(_own("LargeAction"), 12_000, 39.4, 1_000),
    "Parity": Task(_own("Parity"), 20_000, None),
    "Trap": Task(_own("Trap"), 60_000, None, 1),
    "Assignment": Task(_own("Assignment"), 12_000, None, 200),
    "Blockers": Task(_own("Blockers"), 50_000, None, 100),
}


def run(name: str, method: str, seed: int, steps: int) -> dict[str, Any]:
    """Learns once, and is examined; an agent that does not know the actions is said not to."""
    task = TASKS[name]
    begin = time.process_time()
    try:
        agent = _agent(method, name, seed)
    except AssertionError:  # Stable-Baselines3's, for action spaces
        agent = None
    record = {"task": name, "method": method, "seed": seed, "mean": None, "seconds": 0.0}
    if agent is None:
        return record
    agent.learn(steps)
    seconds = time.process_time() - begin
    returns = [episode(agent, task, 1_000_000 + i) for i in range(task.episodes)]
    if name == "Parity":
        from benchmarks.evidence.act import exams  # which needs sb3-contrib
        from benchmarks.evidence.act.agents import Player

        record |= exams.parity(Player(agent), task.make)
    return record | {"mean": float(np.mean(returns)), "seconds": seconds}


def _agent(method: str, name: str, seed: int) -> Any:
    """Returns an agent that has learned nothing; None without masks or settings to try it with."""
    task, settings = TASKS[name], {"seed": seed, "device": "cpu"}
    if method == "MaskablePPO" and not task.masked:
        return None
    env: Any = Monitor(TimeLimit(task.make(), LONGEST))
    policy = "MlpPolicy"
    if isinstance(env.observation_space, gym.spaces.Dict):
        policy = "MultiInputPolicy"
    if method == "MaskablePPO":
        from sb3_contrib import MaskablePPO  # pyright: ignore[reportMissingImports]

        return MaskablePPO(policy, MaskedEnv(env), **settings)
    kind, _, zoo = method.partition(", ")
    if zoo:
        if (name, kind) not in ZOO:
            return None
        settings |= ZOO[name, kind]
        env = make_vec_env(task.make, settings.pop("n_envs", 1), seed=seed)
        env = VecNormalize(env) if settings.pop("normalize", False) else env
    return {"FreeEnergyQ": FreeEnergyQ, "DQN": DQN, "PPO": PPO}[kind](policy, env, **settings)


def episode(agent: Any, task: Task, seed: int) -> float:
    """Returns the return of one greedy episode, with masks for those that take them."""
    env = TimeLimit(task.make(), LONGEST)
    seen, info = env.reset(seed=seed)
    total, over = 0.0, False
    takes_masks = task.masked and not isinstance(agent, DQN | PPO)
    normalized = agent.get_vec_normalize_env()
    while not over:
        masks = {"action_masks": info["action_mask"].astype(bool)} if takes_masks else {}
        seen = seen if normalized is None else normalized.normalize_obs(seen)
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
        target, ours = TASKS[name].target, of(records, name, METHODS[0])
        table.add_row(
            name, f"{TASKS[name].steps:,}", "" if target is None else f"{target:g}",
            *(mean_and_worst(of(records, name, method)) for method in methods),
            f"{np.mean([r['seconds'] for r in ours]):.0f}" if ours else "",
        )  # fmt: skip
    return table


GRID = Grid(
    "act_defaults", __doc__, {name: task.steps for name, task in TASKS.items()}, METHODS, run,
    usual=METHODS[:3], seeds=5,
)  # fmt: skip

if __name__ == "__main__":
    Console(width=120).print(as_table(GRID.measure()))
