"""Gradient steps a second, of FreeEnergyQ and of SB3's DQN with the same network."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.progress import track
from rich.table import Table
from stable_baselines3 import DQN

from benchmarks.evidence.act.report import mean_and_error
from isinglass.agents import FreeEnergyQ
from isinglass.io.atomic import atomic_write

__all__ = ["speed_table"]

#: Gradient steps an update, and rows of each.
CASES = ((50, 32), (50, 64), (50, 256), (1, 64))
STEPS, ROUNDS = 50, 20
NETWORK = [64, 64]


def speed_table(folder: Path, seeds: Sequence[int]) -> Table:
    """One line a case; each seed is measured once and kept."""
    path = folder / "learning-speed.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    left = [seed for seed in seeds if len(found.get(str(seed), ())) != len(CASES)]
    for seed in track(left, "learning speed"):
        found[str(seed)] = measure(seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, overwrite=True) as aside:
            aside.write_text(json.dumps(found))
    table = Table(title="learning-speed: gradient steps a second, CartPole-v1, 64 × 64, one thread")
    for column in ("steps an update", "batch", "seeds", "FreeEnergyQ", "DQN", "ratio"):
        table.add_column(column, justify="right")
    for case, (steps, batch) in enumerate(CASES):
        pairs = [found[str(seed)][case] for seed in seeds]
        ratios = [own / theirs for own, theirs in pairs]
        own, theirs = (mean_and_error(list(rates)) for rates in zip(*pairs, strict=True))
        row = (steps, batch, len(pairs), own, theirs, mean_and_error(ratios))
        table.add_row(*map(str, row))
    return table


def measure(seed: int) -> list[list[float]]:
    """For each case the two rates, medians of rounds taken in turn."""
    torch.set_num_threads(1)
    agents = [
        kind("MlpPolicy", "CartPole-v1", seed=seed, device="cpu", learning_starts=100,
             train_freq=50, policy_kwargs={"net_arch": NETWORK}).learn(1_000)
        for kind in (FreeEnergyQ, DQN)
    ]  # fmt: skip
    found = []
    for steps, batch in CASES:
        rounds = [[_rate(agent, steps, batch) for agent in agents] for _ in range(ROUNDS)]
        found.append([statistics.median(rates) for rates in zip(*rounds, strict=True)])
    return found


def _rate(agent: FreeEnergyQ | DQN, steps: int, batch: int) -> float:
    begin = time.perf_counter()
    for _ in range(STEPS // steps):
        agent.train(steps, batch)
    return STEPS / (time.perf_counter() - begin)
