"""Replica exchange out of a mode: the weight of the other mode against the number of updates.

Two machines of 10 spins have two modes tens of nats deep: one with one Gaussian hidden unit (field
0.03, weight 0.8), and a Hopfield–Boltzmann machine of two opposite memories at m = 6 draws. A
thousand chains start in one mode, and once more in the other; replica exchange moves them beside
plain block Gibbs. Prints one table, stores the curves, draws one picture. Takes a minute.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import matplotlib as mpl
import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Generator

import isinglass as ig
from isinglass._support.palette import BLUE
from isinglass.dynamics import Kernel, ReplicaExchange
from isinglass.io.atomic import atomic_write

SPINS, CHAINS, UPDATES = 10, 1000, 100
SIDES = {"+": 1.0, "−": -1.0}


def machines() -> dict[str, ig.Harmonium]:
    """The two machines by name."""
    gaussian = ig.RBM(ig.Spin(SPINS), ig.Gaussian(1)).double()
    gaussian.weights[0].data.fill_(0.8)
    gaussian.biases[0].data.fill_(0.03)
    patterns = torch.ones(2, SPINS, dtype=torch.float64)
    patterns[1] = -1.0
    memory = ig.HopfieldBoltzmann.from_patterns(ig.Spin(SPINS), patterns, draws=6)
    memory.visible_bias.data.fill_(0.005)
    return {"Gaussian hidden unit": gaussian, "two memories, 6 draws": memory}


def exact_weight(machine: ig.Harmonium) -> float:
    """P(Σv > 0), half of what is at zero counted, by enumeration."""
    states = machine.visible.enumerate_states()
    with torch.no_grad():
        distribution = torch.softmax(-machine.free_energy(states) / machine.temperature, 0)
    return float(distribution @ ((states.sum(-1).sign() + 1) / 2))


def curve(kernel: Kernel, machine: ig.Harmonium, side: float, generator: Generator) -> list[float]:
    """The share of chains in the + mode before the first update and after each."""
    start = machine.extend(torch.full((CHAINS, SPINS), side, dtype=torch.float64))
    kernel_state, shares = kernel.init(machine, start), [float(side > 0)]
    with torch.no_grad():
        for _ in range(UPDATES):
            kernel_state, _ = kernel.step(machine, kernel_state, machine.temperature, generator)
            total = machine.visible_part(kernel_state.position).sum(-1)
            shares.append(float(((total.sign() + 1) / 2).mean()))
    return shares


def measure(seed: int) -> dict[str, dict[str, list[float] | float]]:
    """Every curve."""
    found: dict[str, dict[str, list[float] | float]] = {}
    with Progress() as bar:
        task = bar.add_task("chains", total=2 * 2 * 2)
        for name, machine in machines().items():
            generator = Generator().manual_seed(seed)
            ladder = ReplicaExchange.tune(machine, generator=generator)
            found[name] = {"exact": exact_weight(machine), "levels": len(ladder.levels)}
            for kernel, label in ((ladder, "exchange"), (ig.BlockGibbs(), "Gibbs")):
                for sign, side in SIDES.items():
                    found[name][f"{label} from {sign}"] = curve(kernel, machine, side, generator)
                    bar.advance(task)
    return found


def table_of(found: dict[str, dict[str, list[float] | float]]) -> Table:
    """The table."""
    table = Table(title=f"Weight of the + mode after {UPDATES} updates, {CHAINS} chains")
    for column in ("machine", "sampler, start", "exact", "found", "off, in σ", "within 4 σ"):
        table.add_column(column)
    for name, curves in found.items():
        exact = float(curves["exact"])  # pyright: ignore[reportArgumentType]
        for label, shares in curves.items():
            if not isinstance(shares, list):
                continue
            off = (shares[-1] - exact) / math.sqrt(exact * (1 - exact) / CHAINS)
            table.add_row(
                name, label, f"{exact:.4f}", f"{shares[-1]:.3f}", f"{off:+.1f}",
                "yes" if abs(off) < 4 else "no",
            )  # fmt: skip
    return table


def picture(found: dict[str, dict[str, list[float] | float]]) -> Figure:
    """Weight against update, a panel a machine."""
    figure = Figure(figsize=(7.5, 2.8), layout="constrained")
    panels = figure.subplots(1, len(found), sharey=True)
    for axes, (name, curves) in zip(panels, found.items(), strict=True):
        for label, shares in curves.items():
            if isinstance(shares, list):
                exchanged = label.startswith("exchange")
                axes.plot(
                    shares, color=BLUE if exchanged else "gray", linewidth=1.2,
                    linestyle="-" if label.endswith("+") else "--", label=label,
                )  # fmt: skip
        axes.axhline(float(curves["exact"]), color="black", linewidth=0.8, label="exact")  # pyright: ignore[reportArgumentType]
        axes.set(xlabel="update", title=name, ylim=(-0.04, 1.04))
    panels[0].set_ylabel("weight of the + mode")
    panels[-1].legend(fontsize=7, loc="center right", bbox_to_anchor=(1.0, 0.28))
    return figure


def main() -> None:
    """Run the chains, print the table, draw the picture."""
    parser = argparse.ArgumentParser("python -m benchmarks.evidence.exchange", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("evidence"), help="folder of the results")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    found = measure(given.seed)
    Console().print(table_of(found))
    with atomic_write(given.out / "exchange.json", overwrite=True) as aside:
        aside.write_text(json.dumps(found, indent=1))
    mpl.use("svg")
    with atomic_write(given.out / "exchange.svg", overwrite=True) as aside:
        picture(found).savefig(aside, format="svg")
    Console().print(f"results and picture in {given.out}")


if __name__ == "__main__":
    main()
