"""Ground states: spin glasses and cuts, beside peers, at equal seconds of one core.

Edwards–Anderson glasses in two dimensions, whose least energy a minimum over transfer matrices
tells; Sherrington–Kirkpatrick glasses, N = 20 by enumeration, N = 100 and 200 beside the known
mean, −0.7632 + 0.70 N^(−2/3) a spin (Boettcher 2010, doi:10.1140/epjb/e2010-00141-4); Max-Cut of
random 3-regular graphs, N = 50 by scipy's HiGHS, and of a random graph of 800 vertices and density
6 %, the recipe of G1 of the Gset. Each method is called with its own defaults, again and again,
until it has met the least energy or its seconds of CPU are over. Peers: simulated annealing and
tabu search of dwave-samplers, simanneal with our temperatures; naive: descents from random
states. Every run is stored at once; run again to go on after a stop.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import networkx as nx
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

import isinglass as ig
from benchmarks.evidence.grid import Grid, of
from isinglass.energies import GridCouplings, max_cut, to_ising

#: Seconds of CPU a run, at most.
SECONDS = {
    "EA 10×10 ±J torus": 5, "EA 14×14 Gaussian open": 5, "EA 32×32 Gaussian torus": 3, "SK 20": 5,
    "SK 100": 2, "SK 200": 3, "Max-Cut 3-regular 50": 5, "Max-Cut 3-regular 200": 2,
    "Max-Cut G(800, 6 %)": 6,
}  # fmt: skip
METHODS = (
    "population", "annealing", "exchange", "descent", "dwave annealing", "dwave tabu", "simanneal"
)  # fmt: skip
#: Relative difference that is rounding of float32.
SAME = 1e-5


def glass(shape: tuple[int, int], periodic: bool, normal: bool, seed: int) -> ig.BoltzmannMachine:
    """Builds an Edwards–Anderson glass with bonds of ±1 or N(0, 1)."""
    rng = np.random.default_rng(seed)
    bonds = rng.normal(size=(2, *shape)) if normal else rng.choice([-1.0, 1.0], (2, *shape))
    couplings = GridCouplings(shape, torch.tensor(bonds, dtype=torch.float32), periodic=periodic)
    return ig.BoltzmannMachine(ig.Spin(shape[0] * shape[1]), couplings)


def sherrington_kirkpatrick(size: int, seed: int) -> ig.BoltzmannMachine:
    """Builds a glass whose couplings are N(0, 1/N)."""
    half = np.triu(np.random.default_rng(seed).normal(size=(size, size)), 1) / size**0.5
    return ig.BoltzmannMachine(ig.Spin(size), torch.tensor(half + half.T, dtype=torch.float32))


def cut(graph: nx.Graph) -> ig.BoltzmannMachine:
    """Builds the machine whose energy is minus a cut."""
    return max_cut(list(graph.edges), size=len(graph), dtype=torch.float32)


def transfer(bonds: np.ndarray, periodic: bool) -> float:
    """Computes the least energy of a grid, by a minimum over the states of a row at a time.

    Each spin of a row in turn becomes the one below it; on a torus from every state of the first
    row around to itself.
    """
    height, width = bonds.shape[1:]
    spins = 1.0 - 2.0 * ((np.arange(2**width)[:, None] >> np.arange(width)[::-1]) & 1)

    def row(number: int) -> np.ndarray:
        along = bonds[1, number] if periodic else np.r_[bonds[1, number, :-1], 0.0]
        return -(spins * np.roll(spins, -1, 1)) @ along

    def step(energy: np.ndarray, strengths: np.ndarray) -> np.ndarray:
        for place, strength in enumerate(strengths):
            up, down = np.moveaxis(energy.reshape(len(energy), 2**place, 2, -1), 2, 0)
            both = np.stack(
                [np.minimum(up - strength, down + strength),
                 np.minimum(up + strength, down - strength)], 2
            )  # fmt: skip
            energy = both.reshape(len(energy), -1)
        return energy

    if not periodic:
        energy = row(0)[None]
        for number in range(1, height):
            energy = step(energy, bonds[0, number - 1]) + row(number)
        return float(energy.min())
    least = np.inf
    for starts in np.array_split(np.arange(2**width), max(1, 2**width // 256)):
        energy = np.full((len(starts), 2**width), np.inf)
        energy[np.arange(len(starts)), starts] = row(0)[starts]
        for number in range(1, height):
            energy = step(energy, bonds[0, number - 1]) + row(number)
        energy = step(energy, bonds[0, -1])
        least = min(least, energy[np.arange(len(starts)), starts].min())
    return float(least)


def enumerated(machine: ig.BoltzmannMachine) -> float:
    """Computes the least energy by looking at all states, half of them by symmetry."""
    states = ig.Spin(machine.unit.size - 1).enumerate_states().float()
    with torch.no_grad():
        return min(
            float(machine(torch.nn.functional.pad(rows, (0, 1), value=1.0)).min())
            for rows in states.split(2**16)
        )


def highs(graph: nx.Graph) -> float:
    """Computes minus the largest cut by mixed integer programming, proved optimal."""
    edges, size = list(graph.edges), len(graph)
    count = len(edges)
    # y_e ≤ x_i + x_j and y_e ≤ 2 − x_i − x_j, x and y of 0 or 1; vertex 0 is on one side.
    rows = np.repeat(np.arange(2 * count), 3)
    columns = [c for e, (i, j) in enumerate(edges) for c in (size + e, i, j)] * 2
    values = [1, -1, -1] * count + [1, 1, 1] * count
    matrix = coo_array((values, (rows, columns)), shape=(2 * count, size + count)).tocsr()
    upper = np.r_[np.zeros(count), np.full(count, 2)]
    most = np.ones(size + count)
    most[0] = 0
    found = milp(
        np.r_[np.zeros(size), -np.ones(count)], integrality=np.ones(size + count),
        bounds=Bounds(0, most),  # pyright: ignore[reportArgumentType]
        constraints=LinearConstraint(matrix, -np.inf, upper),
    )  # fmt: skip
    if found.status != 0:
        raise RuntimeError(found.message)
    return float(found.fun)


@dataclass
class Problem:
    """An instance.

    Args:
        machine: The energy.
        least: Its least energy, where it is known.
    """

    machine: ig.BoltzmannMachine
    least: float | None = None


def problem(task: str, seed: int) -> Problem:
    """Builds an instance, and finds what its least energy is where that can be had."""
    kind, *size = task.split()
    if kind == "EA":
        side, periodic = int(size[0].split("×")[0]), "torus" in task
        machine = glass((side, side), periodic, "Gaussian" in task, seed)
        bonds = machine.couplings.bonds().detach().double().numpy()  # pyright: ignore[reportCallIssue]
        return Problem(machine, transfer(bonds, periodic) if side < 20 else None)
    if kind == "SK":
        machine = sherrington_kirkpatrick(int(size[0]), seed)
        return Problem(machine, enumerated(machine) if machine.unit.size <= 24 else None)
    if "regular" in task:
        graph = nx.random_regular_graph(3, int(size[-1]), seed=seed)
        return Problem(cut(graph), highs(graph) if len(graph) <= 50 else None)
    return Problem(cut(nx.gnm_random_graph(800, 19_176, seed=seed)))


def caller(method: str, given: Problem, seed: int) -> Callable[[], float]:
    """Returns a call of a method with its defaults, which returns the least energy it met."""
    generator = torch.Generator().manual_seed(seed)
    machine = given.machine
    if method in ("population", "annealing", "exchange", "descent"):
        return lambda: ig.minimize(machine, method, generator=generator).energy
    fields, couplings, offset = to_ising(machine)
    if method == "simanneal":
        return simanneal(machine, fields, couplings, offset, seed)
    import dimod  # pyright: ignore[reportMissingImports]
    from dwave.samplers import (  # pyright: ignore[reportMissingImports]
        SimulatedAnnealingSampler,
        TabuSampler,
    )

    problem = dimod.BinaryQuadraticModel.from_ising(fields, couplings, offset)
    seeds = np.random.default_rng(seed)
    if method == "dwave tabu":
        sampler = TabuSampler()
        return lambda: (
            sampler.sample(problem, num_reads=10, seed=int(seeds.integers(2**31))).first.energy
        )
    annealer = SimulatedAnnealingSampler()
    return lambda: (
        annealer.sample(problem, num_reads=100, seed=int(seeds.integers(2**31))).first.energy
    )


def simanneal(
    machine: ig.BoltzmannMachine, fields: dict[int, float], couplings: dict, offset: float,
    seed: int,
) -> Callable[[], float]:  # fmt: skip
    """Returns a call of simanneal on spins, at the temperatures that isinglass finds."""
    from simanneal import Annealer  # pyright: ignore[reportMissingImports]

    near: list[list[tuple[int, float]]] = [[] for _ in fields]
    for (one, other), value in couplings.items():
        near[one].append((other, value))
        near[other].append((one, value))
    found = ig.minimize(machine, "annealing", runs=1, sweeps=2)
    source = random.Random(seed)
    random.seed(seed)  # simanneal draws from the global one

    class Spins(Annealer):
        """Flips one spin a move."""

        copy_strategy = "slice"
        updates = 0

        def move(self) -> float:
            """Flips a spin and returns what it cost."""
            spin = source.randrange(len(self.state))
            felt = fields[spin] + sum(value * self.state[other] for other, value in near[spin])
            self.state[spin] = -self.state[spin]
            return 2 * self.state[spin] * felt

        def energy(self) -> float:
            """Computes E from the start."""
            pairs = sum(v * self.state[i] * self.state[j] for (i, j), v in couplings.items())
            return offset + pairs + sum(h * self.state[i] for i, h in fields.items())

    def call() -> float:
        annealer = Spins([source.choice((-1, 1)) for _ in fields])
        annealer.Tmax, annealer.Tmin = (float(t) for t in found.temperatures)
        annealer.steps = 200 * len(fields)
        return float(annealer.anneal()[1])

    return call


def run(task: str, method: str, seed: int, seconds: int) -> dict[str, Any]:
    """One instance by one method: the least energy met, and after how many seconds."""
    given = problem(task, seed)
    call = caller(method, given, seed)
    begin, best, reached, hit, calls = time.process_time(), float("inf"), 0.0, None, 0
    while (spent := time.process_time() - begin) < seconds and hit is None:
        found, calls = call(), calls + 1
        if found < best - SAME * abs(found):
            best, reached = found, time.process_time() - begin
        if given.least is not None and best <= given.least + SAME * abs(given.least):
            hit = time.process_time() - begin
    return {
        "task": task, "method": method, "seed": seed, "mean": best, "least": given.least,
        "hit": hit, "reached": reached, "calls": calls, "seconds": spent,
        "size": given.machine.unit.size,
    }  # fmt: skip


def as_table(records: list[dict[str, Any]]) -> Table:
    """Builds the table: instances solved (median seconds to it), and how far off the mean is."""
    table = Table("problem", *METHODS, title="solved (median seconds), off in % of the least")
    for task in dict.fromkeys(record["task"] for record in records):
        here = [record for record in records if record["task"] == task]
        best = {
            s: min(r["mean"] for r in here if r["seed"] == s) for s in {r["seed"] for r in here}
        }
        known = all(record["least"] is not None for record in here)
        cells = []
        for method in METHODS:
            some = of(records, task, method)
            if not some:
                cells.append("–")
                continue
            off = [(r["mean"] - best[r["seed"]]) / abs(best[r["seed"]]) for r in some]
            solved = [r["reached"] for r, o in zip(some, off, strict=True) if o <= SAME]
            middle = f" ({np.median(solved):.2g} s)" if solved else ""
            mean = np.mean([0.0 if o <= SAME else 100 * o for o in off])
            cells.append(f"{len(solved)}/{len(some)}{middle} {mean:.2g}")
        table.add_row(task + ("" if known else " *"), *cells)
    return table


def law(records: list[dict[str, Any]]) -> Table:
    """Builds the table of energies a spin of SK glasses, beside the known law."""
    table = Table("N", "least found, a spin", "−0.7632 + 0.70 N^(−2/3)", "off in σ")
    for task in ("SK 20", "SK 100", "SK 200"):
        here = [record for record in records if record["task"] == task]
        if not here:
            continue
        size = here[0]["size"]
        seeds = {r["seed"] for r in here}
        found = [min(r["mean"] for r in here if r["seed"] == s) / size for s in seeds]
        error = np.std(found, ddof=1) / len(found) ** 0.5 if len(found) > 1 else float("nan")
        wanted = -0.7632 + 0.70 * size ** (-2 / 3)
        table.add_row(
            str(size), f"{np.mean(found):.4f} ± {error:.4f}", f"{wanted:.4f}",
            f"{(np.mean(found) - wanted) / error:+.1f}",
        )  # fmt: skip
    return table


GRID = Grid("ground_states", __doc__, SECONDS, METHODS, run, seeds=3, quick=1)

if __name__ == "__main__":
    found = GRID.measure()
    console = Console(width=170)
    console.print(as_table(found))
    console.print("* the least energy is the least that any method found")
    console.print(law(found))
