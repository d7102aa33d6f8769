"""Pictures of docs/partition.md: the bracket against levels, and the way out of a mode."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure
from torch import Generator

import isinglass as ig
from benchmarks.evidence.exchange import measure
from benchmarks.evidence.exchange import picture as exchange_picture
from isinglass._support.palette import BLUE, VERMILION
from isinglass.dynamics import anneal, even_schedule

LEVELS = (5, 10, 20, 40, 80, 160, 320)
SEEDS = 10


def draw() -> dict[str, Figure]:
    """The pictures by file name."""
    return {"partition": _bracket(), "exchange": exchange_picture(measure(0))}


@torch.no_grad()
def _bracket() -> Figure:
    """log Z by annealing up and down, less the exact value, for several numbers of levels."""
    generator = Generator().manual_seed(0)
    machine = ig.RBM(ig.Bernoulli(60), ig.Bernoulli(14), scale=1.5, generator=generator)
    exact = machine.exact_log_partition().item()
    hidden = ig.Bernoulli(14).enumerate_states().to(machine.biases[0])
    path = machine.path()
    full = torch.cat([torch.zeros(len(hidden), 60), hidden], -1)
    probability = torch.softmax(path.log_weight(full, torch.ones(len(full))), 0)
    base = float(path.base_log_partition) - exact
    figure = Figure(figsize=(5, 2.8))
    axes = figure.subplots()
    for way, color, mark in (("up", BLUE, "^"), ("down", VERMILION, "v")):
        for number, count in enumerate(LEVELS):
            levels = even_schedule(path, count, generator=generator).levels
            found = []
            for _ in range(SEEDS):
                if way == "up":
                    walk = anneal(path, path.draw_base(100, generator), levels, generator)
                    found.append(base + float(walk.log_weights.exp().mean().log()))
                else:
                    drawn = full[torch.multinomial(probability, 100, True, generator=generator)]
                    start = path.transition(drawn, torch.ones(100), generator)
                    walk = anneal(path, start, levels.flip(0), generator)
                    found.append(base - float(walk.log_weights.exp().mean().log()))
            label = f"annealing {way}" if number == 0 else None
            axes.plot(
                [count] * SEEDS, found, mark, markersize=4, color=color, alpha=0.6, label=label
            )
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yscale("symlog", linthresh=0.1)
    axes.set(xlabel="levels", ylabel="log Z less the exact value, nats")
    axes.legend(fontsize=8)
    return figure
