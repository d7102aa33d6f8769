"""Swendsen–Wang's clusters beside single spins: draws that are worth one, and what they take.

Ising tori at the critical point, and ±J glasses of the same size at T = 1: the autocorrelation time
of m² (of E in a glass, whose m says nothing), in sweeps and in seconds of CPU. Every run is stored
at once; run again to go on after a stop.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import isinglass as ig
from benchmarks.evidence.cache import Cache
from benchmarks.evidence.ground_states import glass
from isinglass.dynamics import Kernel, diagnose, record

CRITICAL = 2 / math.log(1 + math.sqrt(2))
CHAINS = 20
#: Kernels, and how many steps they are watched for after a fifth of them.
KERNELS: dict[str, tuple[Kernel, int]] = {
    "single spins": (ig.BlockGibbs(), 3000), "clusters": (ig.SwendsenWang(), 300)
}  # fmt: skip
SIDES = (8, 16, 32)


def measure(kind: str, side: int, kernel: Kernel, steps: int, seed: int) -> dict[str, float]:
    """The autocorrelation time in steps, and the seconds of a step and chain."""
    generator = torch.Generator().manual_seed(seed)
    ising = kind == "Ising"
    machine = ig.BoltzmannMachine.ising(side, side)
    if not ising:
        machine = glass((side, side), True, False, seed)
    temperature = CRITICAL if ising else 1.0
    start = machine.unit.sample(torch.zeros(CHAINS, side**2), 1.0, generator)
    begin = time.process_time()
    seen = record(
        kernel, machine, start, steps=steps + steps // 5, temperature=temperature,
        quantity=(lambda s: s.mean(-1).square()) if ising else None, generator=generator,
    )  # fmt: skip
    seconds = (time.process_time() - begin) / (steps + steps // 5) / CHAINS
    report = diagnose(seen[steps // 5 :])
    return {"time": report.autocorrelation_time[0], "seconds": seconds, "r_hat": report.r_hat[0]}


def main() -> None:
    """Runs what is missing, prints the table."""
    parser = argparse.ArgumentParser("python -m benchmarks.evidence.clusters", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("evidence"), help="folder of the results")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random")
    parser.add_argument("--quick", action="store_true", help="side 8 alone")
    given = parser.parse_args()
    sides = SIDES[:1] if given.quick else SIDES
    cache = Cache(given.out / "clusters.json")
    table = Table("", "side", "kernel", "steps that are worth one", "ms a step", "ms worth one")
    runs = [(k, side, name) for k in ("Ising", "glass") for side in sides for name in KERNELS]
    with Progress() as bar:
        for kind, side, name in bar.track(runs, description="chains"):
            found = cache.get(
                f"{kind} {side} {name} {given.seed}",
                lambda k=kind, s=side, n=name: measure(k, s, *KERNELS[n], given.seed),
            )
            mixed = "" if found["r_hat"] < 1.05 else " or more"
            table.add_row(
                kind, str(side), name, f"{found['time']:.0f}{mixed}",
                f"{1e3 * found['seconds']:.2f}", f"{1e3 * found['time'] * found['seconds']:.1f}",
            )  # fmt: skip
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
