"""Learning from logged data alone: FreeEnergyQ.from_data beside what the data did.

For each task and seed an agent of defaults is stopped early; half of the log are uniform actions,
half are draws of that agent, every fifth of them uniform too. From the same log learn, by as many
gradient steps and without a setting: ``FreeEnergyQ.from_data`` (tilted), the same agent without a
density (SoftBackup), the density alone (behavior cloning, its greedy action), and, where actions
are one list, d3rlpy's DiscreteBCQ and DiscreteCQL, if that is installed. Their defaults are made
for long trainings on pictures; they get our batches, a rate of 1e-3 and a target that moves every
100 steps. Greedy episodes are
counted, in environments of other seeds. The criterion: never below the mean return of the log.

The floor of the temperature was chosen on other instances (other keys, bits dealt to other blocks,
a smaller square) and seeds.

One run goes to a file of its own in --out, and a second call makes only what is missing.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from stable_baselines3.common.monitor import Monitor

from benchmarks.evidence.cache import Cache
from isinglass.agents import FreeEnergyQ, LoggedData
from isinglass.envs import Assignment, Blockers, LargeAction, Parity

UNIFORM = 0.2  # of the draws of the agent that was stopped early
PEERS = ("DiscreteBCQ", "DiscreteCQL")
METHODS = ("from_data", "SoftBackup", "cloning", *PEERS)


@dataclass(frozen=True)
class Task:
    """An environment, how long the agent of the log learned in it, and how much it logged.

    Args:
        make: Makes the environment.
        learned: Environment steps of the agent that is stopped early.
        logged: Transitions, half of them by uniform actions.
        steps: Gradient steps of whoever learns from the log.
        episodes: Greedy episodes that are counted.
    """

    make: Callable[[], gym.Env[Any, Any]]
    learned: int
    logged: int = 4_000
    steps: int = 1_000
    episodes: int = 300


TASKS = {
    "LargeAction": Task(LargeAction, 1_500),
    "Parity": Task(Parity, 1_500, episodes=1),  # there is but one state
    "Assignment": Task(Assignment, 1_500),
    "Blockers": Task(Blockers, 3_000, episodes=100),
    "CartPole": Task(partial(gym.make, "CartPole-v1"), 3_000, steps=2_000, episodes=20),
}


def main() -> None:
    """Parse the command line, make what is missing, print one table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.evidence.offline", description=__doc__
    )
    parser.add_argument("--out", type=Path, default=Path("evidence/offline"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[10, 11, 12])
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--quick", action="store_true", help="one seed, few steps: does it run?")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.quick:
        given.seeds = given.seeds[:1]
    todo = [(task, seed) for seed in given.seeds for task in given.tasks]
    found = []
    with Progress() as progress:
        for name, seed in progress.track(todo, description="logs"):
            quick = "quick-" if given.quick else ""
            cache = Cache(given.out / f"{quick}{name}-{seed}.json")
            found.append({"task": name, "seed": seed} | run(cache, name, seed, given.quick))
    Console(width=120).print(as_table(found))


def run(cache: Cache, name: str, seed: int, quick: bool) -> dict[str, Any]:
    """Logs, and lets all methods learn from the log; what is known is not made again."""
    task = TASKS[name]
    if quick:
        task = Task(task.make, 200, 300, 100, min(task.episodes, 3))
    log: list[LoggedData] = []

    def data() -> LoggedData:
        if not log:
            log.append(logged(task, seed))
        return log[0]

    found = {"log": cache.get("log", lambda: {"mean": data().mean_return()})["mean"]}
    for method in METHODS:
        if method == "cloning":
            continue  # the density of from_data
        if method in PEERS and (name != "CartPole" or not importlib.util.find_spec("d3rlpy")):
            continue
        learn = partial(_peer, method) if method in PEERS else partial(_own, method)
        found[method] = cache.get(method, lambda learn=learn: _examined(learn, data(), task, seed))
        if method == "from_data":
            found["cloning"] = {"mean": found[method]["cloning"]}
    return found


def logged(task: Task, seed: int) -> LoggedData:
    """Returns what uniform actions did, and then what an agent did that was stopped early."""
    agent = FreeEnergyQ("MlpPolicy", Monitor(task.make()), seed=seed, device="cpu")
    agent.learn(task.learned)
    env, draw = task.make(), np.random.default_rng(seed)
    env.action_space.seed(seed)
    rows: list[tuple[Any, ...]] = []
    over, seen = True, None
    while len(rows) < task.logged or not over:
        if over:
            seen, _ = env.reset(seed=None if rows else 100_000 + seed)
        uniform = len(rows) < task.logged // 2 or draw.random() < UNIFORM
        action = env.action_space.sample() if uniform else agent.predict(seen)[0]
        after, reward, terminated, truncated, _ = env.step(action)
        rows.append((seen, action, reward, after, terminated, truncated))
        seen, over = after, terminated or truncated
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    return LoggedData(*columns[:5], env, columns[5])


def _examined(
    learn: Callable[[LoggedData, Task, int], Callable[[Any], Any]],
    data: LoggedData,
    task: Task,
    seed: int,
) -> dict[str, Any]:
    """Returns the mean greedy return of what was learned, and the processor time it took."""
    begin = time.process_time()
    act = learn(data, task, seed)
    seconds = time.process_time() - begin
    acting = {"mean": act, "cloning": getattr(act, "cloned", None)}
    means = {
        name: float(np.mean([_episode(one, task, 1_000_000 + i) for i in range(task.episodes)]))
        for name, one in acting.items()
        if one is not None
    }
    return means | {"seconds": seconds}


class _Greedy:
    """Greedy actions of an agent, and those of its density alone."""

    def __init__(self, agent: FreeEnergyQ) -> None:
        self.agent = agent

    def __call__(self, seen: Any) -> Any:
        return self.agent.predict(seen, deterministic=True)[0]


class _Tilted(_Greedy):
    """Greedy actions of an agent that has learned a density."""

    def cloned(self, seen: Any) -> Any:
        policy: Any = self.agent.policy
        obs, _ = policy.obs_to_tensor(seen)
        with torch.no_grad():
            mode = policy.behavior_distribution(obs).mode()
        return policy.code.decode(mode).numpy()[0]


def _own(method: str, data: LoggedData, task: Task, seed: int) -> Callable[[Any], Any]:
    """Returns the greedy actions of one of ours."""
    if method == "from_data":
        return _Tilted(FreeEnergyQ.from_data(data, seed=seed, device="cpu").fit(task.steps))
    env = Monitor(task.make())
    agent = FreeEnergyQ("MlpPolicy", env, seed=seed, device="cpu").add_data(data)
    return _Greedy(agent.fit(task.steps))


def _peer(method: str, data: LoggedData, task: Task, seed: int) -> Callable[[Any], Any]:
    """Returns the greedy actions of an agent of d3rlpy."""
    import d3rlpy  # pyright: ignore[reportMissingImports]

    d3rlpy.seed(seed)
    dataset = d3rlpy.dataset.MDPDataset(
        data.observations, data.actions.reshape(-1, 1), data.rewards,
        data.terminated.astype(np.float32), data.truncated.astype(np.float32),
        action_space=d3rlpy.ActionSpace.DISCRETE, action_size=int(data.spaces[1].n),
    )  # fmt: skip
    config = getattr(d3rlpy.algos, f"{method}Config")
    agent = config(batch_size=256, learning_rate=1e-3, target_update_interval=100).create(
        device=False
    )
    agent.fit(
        dataset, n_steps=task.steps, n_steps_per_epoch=task.steps, show_progress=False,
        logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
    )  # fmt: skip
    return lambda seen: agent.predict(seen[None])[0]


def _episode(act: Callable[[Any], Any], task: Task, seed: int) -> float:
    env = task.make()
    seen, _ = env.reset(seed=seed)
    total, over = 0.0, False
    while not over:
        seen, reward, terminated, truncated, _ = env.step(act(seen))
        total, over = total + float(reward), terminated or truncated
    return total


def as_table(records: list[dict[str, Any]]) -> Table:
    """Builds the table: mean and worst seed, and how often no method fell below the log."""
    table = Table("task", "log", *METHODS, "below the log", "s")
    for name in dict.fromkeys(record["task"] for record in records):
        runs = [record for record in records if record["task"] == name]
        cells = []
        for method in METHODS:
            means = [run[method]["mean"] for run in runs if method in run]
            cells.append(f"{np.mean(means):.4g} ({min(means):.4g})" if means else "–")
        below = sum(run["from_data"]["mean"] < run["log"] for run in runs)
        seconds = np.mean([run["from_data"]["seconds"] for run in runs])
        log = np.mean([run["log"] for run in runs])
        table.add_row(name, f"{log:.4g}", *cells, f"{below} of {len(runs)}", f"{seconds:.0f}")
    return table


if __name__ == "__main__":
    main()
