"""Measure log-partition functions: beside enumeration and a peer, and the width of the bracket.

(a) A 64×16 machine of bits is trained on the binarized digits of scikit-learn by persistent
contrastive divergence. Its log Z is summed exactly over the 2^16 hidden states, and estimated by
300 levels and 100 chains with each of 20 seeds; so does ebmkit (extra peers), with a Bernoulli base
of the data's means, Gibbs-with-gradients of one flip a pixel at every level, and that of its two
schedules that does better with the first seed. (b) With --model, a saved machine of 784 bits and
any number of hidden ones: its log Z between annealing up and annealing down, and the test
log-likelihood that follows. Prints one table, draws one picture. Every run is stored at once; run
again to go on after a stop.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean, median
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import Progress, track
from rich.table import Table
from torch import Generator, Tensor

import isinglass as ig
from isinglass._support.optional import require_extra
from isinglass._support.palette import BLUE, VERMILION
from isinglass.data.digits import load_digits
from isinglass.io.atomic import atomic_write

HIDDEN, EPOCHS, BATCH = 16, 300, 50
LEVELS, CHAINS = 300, 100
SCHEDULES = ("linear", "geometric")

Result = dict[str, Any]


def trained(data: Tensor, seed: int) -> ig.RBM:
    """Persistent contrastive divergence with a rate that falls to zero."""
    generator = Generator().manual_seed(seed)
    machine = ig.RBM(ig.Bernoulli(data.shape[-1]), ig.Bernoulli(HIDDEN), generator=generator)
    share = (data.sum(0) + 1) / (len(data) + 2)
    machine.biases[0].data = torch.logit(share)
    chains = machine.extend(data[torch.randperm(len(data), generator=generator)[:100]])
    steps = EPOCHS * (len(data) // BATCH)
    optimizer = torch.optim.SGD(machine.parameters(), lr=0.05)
    rate = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    for _ in track(range(steps), "training"):
        batch = data[torch.randint(len(data), (BATCH,), generator=generator)]
        with torch.no_grad():
            chains = machine.sweep(chains, 1.0, generator)
        optimizer.zero_grad()
        gap = machine.free_energy(batch).mean()
        gap = gap - machine.free_energy(machine.visible_part(chains)).mean()
        gap.backward()
        optimizer.step()
        rate.step()
    return machine


def own(machine: ig.RBM, data: Tensor, seed: int) -> Result:
    """One estimate."""
    start = time.perf_counter()
    found = ig.log_partition(
        machine, "ais", data=data, levels=LEVELS, chains=CHAINS,
        generator=Generator().manual_seed(seed),
    )  # fmt: skip
    return as_result(found) | {"seconds": time.perf_counter() - start}


def as_result(found: ig.dynamics.LogPartition) -> Result:
    """For the file."""
    return {
        "value": found.value, "error": found.standard_error, "size": found.effective_sample_size,
        "up": found.up, "down": found.down, "low": found.bracket[0], "high": found.bracket[1],
        "levels": found.levels, "status": found.status.value,
    }  # fmt: skip


def peer(machine: ig.RBM, data: Tensor, schedule: str, flips: int, seed: int) -> Result:
    """One estimate of ebmkit."""
    with require_extra("peers"):
        from ebm import ais_log_z  # pyright: ignore[reportMissingImports]
        from ebm.samplers import GibbsWithGradients  # pyright: ignore[reportMissingImports]
    torch.manual_seed(seed)
    start = time.perf_counter()
    share = (data.mean(0) * len(data) + 1) / (len(data) + 2)
    found = ais_log_z(
        machine.marginal(), (data.shape[-1],),
        base=torch.distributions.Independent(
            torch.distributions.Bernoulli(share, validate_args=False), 1
        ),
        n_temps=LEVELS, n_chains=CHAINS, transitions=flips,
        sampler=GibbsWithGradients(), schedule=schedule,
    )  # fmt: skip
    return {"value": found.log_z, "size": found.ess, "seconds": time.perf_counter() - start}


class Results:
    """What was measured, in a file that grows by one entry at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[str, Result] = json.loads(path.read_text()) if path.exists() else {}

    def get(self, key: str, measure: Callable[[], Result]) -> Result:
        """The entry, measured and written if it is not there yet."""
        if key not in self.found:
            self.found[key] = measure()
            with atomic_write(self.path, overwrite=True) as aside:
                aside.write_text(json.dumps(self.found, indent=1))
        return self.found[key]


def small(
    results: Results, seeds: int, rivals: int, flips: int, console: Console, out: Path
) -> tuple[float, Any, Any]:
    """(a): the exact value, our runs, and those of the peer's better schedule."""
    data = load_digits(0)[0].bits().float()
    file = out / "digits-64x16.safetensors"
    if not file.exists():
        ig.save(trained(data, 0), file)
    machine = ig.load(file)
    assert isinstance(machine, ig.RBM)  # noqa: S101
    exact = ig.log_partition(machine.double()).value
    machine = machine.float()
    runs = [
        results.get(f"ours {seed}", lambda seed=seed: own(machine, data, seed))
        for seed in track(range(seeds), "isinglass", console=console)
    ]

    def rival(schedule: str, seed: int) -> Result:
        key = f"ebmkit {schedule} {flips} {seed}"
        return results.get(key, lambda: peer(machine, data, schedule, flips, seed))

    if not rivals:
        return exact, runs, ("not run", [])
    first = {schedule: rival(schedule, 0) for schedule in track(SCHEDULES, "ebmkit's schedules")}
    best = min(SCHEDULES, key=lambda name: abs(first[name]["value"] - exact))
    theirs = [rival(best, seed) for seed in track(range(rivals), "ebmkit", console=console)]
    return exact, runs, (f"{best} schedule, {flips} flips a level, {rivals} seeds", theirs)


def large(results: Results, file: Path, data: Path, levels: int | None, seed: int) -> Result:
    """(b): the bracket of a saved machine, and the test log-likelihood."""
    machine = ig.load(file)
    parts = np.load(data / "binarized_mnist" / "binarized_mnist.npz")
    train, test = (
        torch.from_numpy(np.unpackbits(parts[name], axis=1)).float() for name in ("train", "test")
    )
    key = hashlib.sha256(file.read_bytes()).hexdigest()[:12]

    def measure() -> Result:
        start = time.perf_counter()
        with Progress() as bar:
            task = bar.add_task("784 bits", total=1.0)
            found = ig.log_partition(
                machine, "ais", data=train, levels=levels, chains=CHAINS,
                progress=lambda share, what: bar.update(task, completed=share, description=what),
                generator=Generator().manual_seed(seed),
            )  # fmt: skip
        with torch.no_grad():
            likelihood = float(-machine.free_energy(test).double().mean()) - found.value
        return as_result(found) | {
            "test log-likelihood": likelihood, "seconds": time.perf_counter() - start
        }  # fmt: skip

    return results.get(f"large {key} {levels} {seed}", measure)


def table_of(exact: float, runs: list[Result], rival: Any, big: Result | None) -> Table:
    """The table."""
    table = Table(title="Log-partition functions")
    for column in ("what", "target", "isinglass", "elsewhere"):
        table.add_column(column)
    name, theirs = rival

    def each(write: Callable[[list[Result]], str]) -> list[str]:
        return [write(side) if side else "–" for side in (runs, theirs)]

    def error(side: list[Result]) -> str:
        found = [abs(run["value"] - exact) for run in side]
        return f"{mean(found):.3f} ({max(found):.3f})"

    def size(side: list[Result]) -> str:
        found = [run["size"] for run in side]
        return f"{mean(found):.1f} ({min(found):.1f})"

    what = f"64×16, {LEVELS} levels × {CHAINS} chains, {len(runs)} seeds"
    table.add_row(f"{what}: error, mean (largest)", "≤ 0.1", *each(error))
    table.add_row("effective sample size, mean (least)", "≥ 80", *each(size))
    up, down = (median(run[way] - exact for run in runs) for way in ("up", "down"))
    table.add_row("median of up and of down, less exact", "− and +", f"{up:+.4f}, {down:+.4f}", "–")
    inside = sum(run["low"] <= exact <= run["high"] for run in runs)
    table.add_row("bracket holds the exact value", "–", f"{inside} of {len(runs)}", "–")
    seconds = each(lambda side: f"{mean(run['seconds'] for run in side):.1f}")
    table.add_row("seconds a run", "–", *seconds)
    table.add_row("elsewhere is", "", "", f"ebmkit, up only, {name}")
    if big is not None:
        width = big["high"] - big["low"]
        table.add_row(
            f"784 bits, {big['levels']} levels: bracket, nats", "≤ 1", f"{width:.3f}",
            "PyDeep 11.75",
        )  # fmt: skip
        table.add_row(
            "log Z", "–", f"{big['value']:.3f} ± {big['error']:.3f} ({big['status']})", "–"
        )
        table.add_row("test log-likelihood", "–", f"{big['test log-likelihood']:.2f}", "–")
    return table


def picture(exact: float, runs: list[Result], rival: Any) -> Figure:
    """Every run's ways up and down about the exact value, beside the peer's."""
    figure = Figure(figsize=(6, 2.8), layout="constrained")
    axes = figure.subplots()
    seeds = range(len(runs))
    for way, color, mark in (("up", BLUE, "^"), ("down", VERMILION, "v")):
        axes.plot(
            seeds, [r[way] - exact for r in runs], mark, color=color, label=f"annealing {way}"
        )
    both = [run["value"] - exact for run in runs]
    axes.errorbar(
        seeds, both, [run["error"] for run in runs], fmt="k_", label="both", elinewidth=0.8
    )
    theirs = [r["value"] - exact for r in rival[1]]
    axes.plot(range(len(theirs)), theirs, "x", color="gray", label="ebmkit")
    axes.axhline(0.0, color="black", linewidth=0.8)
    axes.set_yscale("symlog", linthresh=0.1)
    axes.set(xlabel="seed", ylabel="log Z less the exact value, nats")
    axes.legend(fontsize=7, ncols=2)
    return figure


def main() -> None:
    """Measure what is missing, print the table, draw the picture."""
    parser = argparse.ArgumentParser("python -m benchmarks.evidence.partition", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("evidence"), help="folder of the results")
    parser.add_argument("--seeds", type=int, default=20, help="runs of (a)")
    parser.add_argument("--rivals", type=int, default=3, help="runs of ebmkit, minutes each")
    parser.add_argument("--flips", type=int, default=64, help="of ebmkit's sampler at every level")
    parser.add_argument("--model", type=Path, help="a saved machine of 784 bits for (b)")
    parser.add_argument("--levels", type=int, help="of (b); a pilot chooses unless given")
    parser.add_argument("--seed", type=int, default=0, help="of (b)")
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("ISINGLASS_DATA", "data")),
        help="folder with binarized_mnist/binarized_mnist.npz in it, for (b)",
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="two runs, no peer")
    given = parser.parse_args()
    if given.quick:
        given.seeds, given.rivals = 2, 0
    given.out.mkdir(parents=True, exist_ok=True)
    console = Console()
    results = Results(given.out / "partition.json")
    exact, runs, rival = small(results, given.seeds, given.rivals, given.flips, console, given.out)
    big = None
    if given.model is not None:
        big = large(results, given.model, given.data, given.levels, given.seed)
    console.print(table_of(exact, runs, rival, big))
    mpl.use("svg")
    with atomic_write(given.out / "partition.svg", overwrite=True) as aside:
        picture(exact, runs, rival).savefig(aside, format="svg")
    console.print(f"results and picture in {given.out}")


if __name__ == "__main__":
    main()
