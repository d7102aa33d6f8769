"""Thoughts in worlds of facts: an agent learns on chains of up to 3 facts and is asked about 20.

One run is one method, one kind of question and one seed; it goes to a file of its own in --out, and
a second call makes only what is missing. Seconds are processor time of the one thread that learns.
Settings were chosen on seeds from 200 on.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from stable_baselines3.common.vec_env import DummyVecEnv

from benchmarks.evidence.cache import Cache
from isinglass.agents import thinking_agent
from isinglass.envs import FactChains, Thoughts
from isinglass.thinking.vocabulary import Vocabulary

TRAINED, LONGEST = (1, 2, 3), 20
VOCABULARY = Vocabulary({"reached": 1})
KINDS = {
    "chains": {"kind": "plain"},
    "rules": {"kind": "rules"},
    "branching": {"kind": "branching"},
    "doors": {"doors": 3},
}
STEPS, ENVIRONMENTS = 24_000, 16
PEERS = ("PPO", "DQN")
METHODS = ("thoughts", "4 layers, no thoughts", *PEERS)


def main() -> None:
    """Parse the command line, make what is missing, print one table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.evidence.think_worlds", description=__doc__
    )
    parser.add_argument("--out", type=Path, default=Path("evidence/think_worlds"))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10, 20)))
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=["chains"])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--episodes", type=int, default=20, help="of each length, in the test")
    parser.add_argument("--quick", action="store_true", help="one seed, few steps: does it run?")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.quick:
        given.seeds, given.episodes = given.seeds[:1], 4
    todo = [(m, k, s) for k in given.kinds for m in given.methods for s in given.seeds]
    found = []
    with Progress() as progress:
        for method, kind, seed in progress.track(todo, description="runs"):
            quick = "quick-" if given.quick else ""
            path = given.out / f"{quick}{method}-{kind}-{seed}.json".replace(" ", "_")
            steps = 320 if given.quick else STEPS
            once = partial(run, method, kind, seed, given.episodes, steps)
            found.append(Cache(path).get("run", once))
    Console(width=120).print(as_table(found))


def run(method: str, kind: str, seed: int, episodes: int, steps: int) -> dict[str, Any]:
    """Learns once and is examined: the share of right answers at every length."""
    begin = time.process_time()
    agent = learn(method, kind, seed, steps)
    seconds = time.process_time() - begin
    test = partial(world, kind, method != "4 layers, no thoughts")
    exams = [exam(agent, test, length, episodes) for length in range(1, LONGEST + 1)]
    right, thoughts = zip(*exams, strict=True)
    return {
        "method": method, "kind": kind, "seed": seed, "seconds": seconds, "episodes": episodes,
        "right": right, "thoughts": thoughts,
    }  # fmt: skip


def learn(method: str, kind: str, seed: int, steps: int) -> Any:
    """Learns in 16 worlds at once, by default settings where the method is ours."""
    thinking = method != "4 layers, no thoughts"
    peer = method in PEERS
    # Peers learn where there is room for no more than they are shown: DQN explores among all.
    longest = max(TRAINED) if peer else LONGEST
    trained = DummyVecEnv([partial(world, kind, thinking, longest)] * ENVIRONMENTS)
    if peer:
        from benchmarks.evidence import think_world_peers as peers  # of the extra ``peers``

        learned = (peers.learn_ppo if method == "PPO" else peers.learn_dqn)(trained, seed, steps)
        return peers.moved(learned, DummyVecEnv([partial(world, kind, thinking)]))
    layers = {} if thinking else {"features_extractor_kwargs": {"layers": 4}}
    return thinking_agent(trained, seed=seed, device="cpu", policy_kwargs=layers).learn(steps)


def world(kind: str, thinking: bool, longest: int = LONGEST) -> gym.Env[Any, Any]:
    """Makes an environment with room for chains of so many facts."""
    env = FactChains(TRAINED, longest, **KINDS[kind])  # pyright: ignore[reportArgumentType]
    return Thoughts(env, VOCABULARY) if thinking else env


def exam(
    agent: Any, make: Callable[[], gym.Env[Any, Any]], length: int, episodes: int
) -> tuple[float, float]:
    """Returns the share of episodes answered rightly to the end, and steps besides acts."""
    envs = [make() for _ in range(episodes)]
    options = {"length": length}
    seen = [env.reset(seed=1_000_000 + i, options=options)[0] for i, env in enumerate(envs)]
    playing, right, steps = list(range(episodes)), 0, 0
    while playing:
        together = {key: np.stack([seen[i][key] for i in playing]) for key in seen[0]}
        actions, _ = agent.predict(together, deterministic=True)
        going = []
        for i, action in zip(playing, actions, strict=True):
            seen[i], _, over, _, info = envs[i].step(action)
            steps += int(action >= 2)
            right += int(over and info["is_success"])
            going += [] if over else [i]
        playing = going
    return right / episodes, steps / episodes


def as_table(records: list[dict[str, Any]]) -> Table:
    """Builds the table: means over seeds, and in how many seeds nothing was wrong at any length."""
    spans = ("k ≤ 3", "k = 4 … 10", "k = 11 … 20")
    table = Table("method", "questions", *spans, "all right", "thoughts", "s")
    groups = sorted({(r["kind"], r["method"]) for r in records})
    for kind, method in groups:
        runs = [r for r in records if (r["kind"], r["method"]) == (kind, method)]
        right = np.array([r["right"] for r in runs])
        perfect = int((right == 1).all(1).sum())
        parts = (right[:, :3], right[:, 3:10], right[:, 10:])
        seconds = [r["seconds"] for r in runs]
        table.add_row(
            method, kind, *(f"{100 * part.mean():.1f}" for part in parts),
            f"{perfect} of {len(runs)}", f"{np.mean([r['thoughts'][-1] for r in runs]):.1f}",
            f"{np.mean(seconds):.0f}, max {max(seconds):.0f}",
        )  # fmt: skip
    return table


if __name__ == "__main__":
    main()
