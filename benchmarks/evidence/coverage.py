"""Do the error bars of log Z hold? Free energies of glasses and magnets beside exact ones.

Default settings of log_partition(method="ais") on Edwards–Anderson glasses, another instance each
seed, and on the Ising torus, at temperatures above and below where they freeze; exact are transfer
matrices, and Kaufman's formula. Counted is how often the truth lies within one and two stated
standard errors, which of normal errors would be 68 % and 95 %, and within the bracket. Every run is
stored at once; run again to go on after a stop.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import isinglass as ig
from benchmarks.evidence.grid import Grid, of
from benchmarks.evidence.ground_states import glass
from isinglass.errors import NoOverlapError

CRITICAL = 2 / math.log(1 + math.sqrt(2))
#: The machine of a seed, and the temperature.
TASKS = {
    "Ising 8×8, T_c": (lambda _: ig.BoltzmannMachine.ising(8, 8), CRITICAL),
    "EA ±J torus 4×4, T = 1": (lambda seed: glass((4, 4), True, False, seed), 1.0),
    "EA ±J torus 6×6, T = 1": (lambda seed: glass((6, 6), True, False, seed), 1.0),
    "EA ±J torus 6×6, T = 0.5": (lambda seed: glass((6, 6), True, False, seed), 0.5),
    "EA Gaussian 6×6, T = 0.5": (lambda seed: glass((6, 6), False, True, seed), 0.5),
}


def run(task: str, method: str, seed: int, chains: int) -> dict[str, Any]:
    """One estimate, in standard errors from the truth."""
    build, temperature = TASKS[task]
    machine = build(seed)
    exact = float(machine.exact_log_partition(temperature).detach())
    begin = time.process_time()
    record = {"task": task, "method": method, "seed": seed, "mean": None, "exact": exact}
    try:
        found = ig.log_partition(
            machine, "ais", temperature=temperature, chains=chains,
            generator=torch.Generator().manual_seed(seed),
        )  # fmt: skip
    except NoOverlapError:
        return record | {"seconds": time.process_time() - begin}
    low, high = found.bracket
    return record | {
        "mean": found.value, "error": found.standard_error, "held": low <= exact <= high,
        "doubts": list(found.doubts), "levels": found.levels, "width": high - low,
        "seconds": time.process_time() - begin,
    }  # fmt: skip


def as_table(records: list[dict[str, Any]]) -> Table:
    """Builds the table of how often the truth was where it was said to be."""
    table = Table(
        "problem", "runs", "refused", "with doubts", "within 1 σ", "within 2 σ", "in the bracket",
        "error in nats, mean (largest)", "stated σ", "seconds",
    )  # fmt: skip
    for task in dict.fromkeys(record["task"] for record in records):
        here = of(records, task, "default")
        some = [r for r in here if r["mean"] is not None]
        off = np.array([r["mean"] - r["exact"] for r in some])
        error = np.array([r["error"] for r in some])
        count = len(some)
        table.add_row(
            task, str(len(here)), str(len(here) - count),
            str(sum(bool(r["doubts"]) for r in some)),
            f"{np.sum(abs(off) <= error)} of {count}",
            f"{np.sum(abs(off) <= 2 * error)} of {count}",
            f"{sum(r['held'] for r in some)} of {count}",
            f"{abs(off).mean():.3f} ({abs(off).max():.3f})", f"{error.mean():.3f}",
            f"{np.mean([r['seconds'] for r in here]):.1f}",
        )  # fmt: skip
    return table


GRID = Grid(
    "coverage", __doc__, dict.fromkeys(TASKS, 100), ("default",), run, seeds=10, quick=10
)  # fmt: skip

if __name__ == "__main__":
    Console(width=160).print(as_table(GRID.measure()))
