"""Replica exchange, even and odd pairs in turn beside a coin: trips from the easy end to the model.

A replica is drawn afresh at λ = 0; counted is how often one that was arrives at λ = 1, for each
round of swaps and moves. In turn is what ReplicaExchange does (deterministic, not reversible); by a
coin, even or odd pairs each time, is the reversible way. Where moves forget, theory says

    in turn  1/(2 + 2 Σ r/(1 − r))      by a coin  1/(2 K + 2 Σ r/(1 − r))

for K pairs that are rejected with probability r (Syed et al. 2022, doi:10.1111/rssb.12464), so that
more levels cost nothing in turn, and everything by a coin. Every run is stored at once.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Generator, Tensor

import isinglass as ig
from benchmarks.evidence.cache import Cache
from benchmarks.evidence.exchange import machines
from isinglass.core import Annealable, AnnealingPath, require
from isinglass.core.energy import Energy
from isinglass.dynamics import Replicas

LEVELS = (8, 16, 32)
CHAINS, BURN, STEPS = 50, 400, 800


class Tagged(AnnealingPath):
    """A path of states with one more component: one if drawn at λ = 0 and not yet at λ = 1.

    Args:
        path: The path of the states themselves.
    """

    def __init__(self, path: AnnealingPath) -> None:
        self.path = path

    @property
    def base_log_partition(self) -> Tensor:
        """log Z₀, which the tag does not change."""
        return self.path.base_log_partition

    def draw_base(self, count: int, generator: Generator | None = None) -> Tensor:
        """Draws states with a tag of one."""
        drawn = self.path.draw_base(count, generator)
        return torch.nn.functional.pad(drawn, (0, 1), value=1.0)

    def log_weight(self, state: Tensor, lambda_: Tensor) -> Tensor:
        """Computes log w of the states alone."""
        return self.path.log_weight(state[:, :-1], lambda_)

    def transition(
        self, state: Tensor, lambda_: Tensor, generator: Generator | None = None
    ) -> Tensor:
        """Moves the states, and leaves their tags."""
        moved = self.path.transition(state[:, :-1].contiguous(), lambda_, generator)
        return torch.cat([moved, state[:, -1:]], -1)


class ByCoin(ig.ReplicaExchange):
    """The reversible way: a coin says which pairs trade, each time."""

    def step(
        self,
        energy: Energy,
        kernel_state: Replicas,
        temperature: float = 0.0,
        generator: Generator | None = None,
    ) -> tuple[Replicas, dict[str, Tensor]]:
        """Swaps and moves twice."""
        replicas = kernel_state.replicas
        total, tries = torch.zeros(2, replicas.shape[1] - 1)
        for _ in range(2):
            first = int(torch.randint(2, (), generator=generator))
            replicas, acceptance = self._swap(replicas, first, generator)
            replicas = self._move(replicas, generator)
            total += acceptance.mean(0)
            tries[first::2] += 1
        return Replicas(replicas[:, -1], replicas), {"acceptance": total, "tries": tries}


def measure(machine: Energy, kind: type[ig.ReplicaExchange], levels: int, seed: int) -> dict:
    """Arrivals a round, and what theory says from the rejections that were met."""
    generator = torch.Generator().manual_seed(seed)
    path = Tagged(require(machine, Annealable).path())
    kernel = kind(machine, levels, path=path, generator=generator)
    replicas = kernel.path.draw_base(CHAINS * levels, generator).unflatten(0, (CHAINS, levels))
    replicas[:, 1:, -1] = 0.0  # only what passes the easy end counts
    state = Replicas(replicas[:, -1], replicas)
    arrived, accepted, tried = 0.0, torch.zeros(levels - 1), torch.zeros(levels - 1)
    with torch.no_grad():
        for step in range(BURN + STEPS):
            state, info = kernel.step(machine, state, machine.temperature, generator)
            if step >= BURN:
                arrived += float(state.replicas[:, -1, -1].sum())
                acceptance = info["acceptance"]
                accepted += (acceptance.mean(0) if acceptance.ndim == 2 else acceptance).float()
                tried += info.get("tries", torch.ones(levels - 1))
            state.replicas[:, -1, -1] = 0.0
    rejected = 1 - accepted / tried
    barrier = float((rejected / (1 - rejected)).sum())
    start = 2.0 * (levels - 1) if kind is ByCoin else 2.0
    return {
        "rate": arrived / (CHAINS * STEPS * 2), "theory": 1 / (start + 2 * barrier),
        "length": float(rejected.sum()),
    }  # fmt: skip


def cases() -> dict[str, Callable[[], Energy]]:
    """The machines by name."""
    two = "Gaussian hidden unit"
    return {
        "two modes, 10 spins": lambda: machines()[two],
        "Ising 8×8, T = 2": lambda: ig.BoltzmannMachine.ising(8, 8, coupling=0.5),
    }


def main() -> None:
    """Runs what is missing, prints the table."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.evidence.round_trips", description=__doc__
    )
    parser.add_argument("--out", type=Path, default=Path("evidence"), help="folder of the results")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random")
    parser.add_argument("--quick", action="store_true", help="eight levels alone")
    given = parser.parse_args()
    many = LEVELS[:1] if given.quick else LEVELS
    cache = Cache(given.out / "round_trips.json")
    table = Table(
        "machine", "levels", "Σr", "in turn", "theory", "by a coin", "theory", "times",
        title="arrivals at the model, a round of swaps and moves",
    )  # fmt: skip
    with Progress() as bar:
        runs = [(name, levels) for name in cases() for levels in many]
        for name, levels in bar.track(runs, description="ladders"):
            found: list[dict[str, Any]] = [
                cache.get(
                    f"{name} {levels} {kind.__name__} {given.seed}",
                    lambda k=kind, n=name, m=levels: measure(cases()[n](), k, m, given.seed),
                )
                for kind in (ig.ReplicaExchange, ByCoin)
            ]
            turn, coin = found
            table.add_row(
                name, str(levels), f"{turn['length']:.2f}", f"{turn['rate']:.4f}",
                f"{turn['theory']:.4f}", f"{coin['rate']:.4f}", f"{coin['theory']:.4f}",
                f"{turn['rate'] / max(coin['rate'], 1e-9):.1f}",
            )  # fmt: skip
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
