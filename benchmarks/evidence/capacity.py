"""Measure how much the memories hold, beside the theory of ``isinglass.analysis.capacity``.

Four experiments on random patterns: (a) recall by Hebb's rule at several sizes, and the critical
load they tend to; (b) wrong units after one update of dense memories of degree 2, 3 and 4;
(c) how many patterns Hebb's, Storkey's, the pseudo-inverse and the perceptron rule hold; (d) how
often a single unit with free couplings can hold them, by linear programming. Prints one table,
draws one picture. Every measured point is stored at once; run again to go on after a stop.
"""

from __future__ import annotations

import argparse
import json
import math
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.optimize import linprog
from torch import Generator

from isinglass import ClassicalHopfield, DenseMemory
from isinglass._support.palette import BLUE, SERIES
from isinglass.analysis import capacity
from isinglass.analysis.capacity import Estimate
from isinglass.energies import (
    ConvergenceWarning,
    Hebb,
    Perceptron,
    PseudoInverse,
    Rule,
    Storkey,
)
from isinglass.io.atomic import atomic_write

#: (a) Units, how many networks of each size, and at which loads: where the share falls.
SIZES = {250: 32, 500: 16, 1000: 8, 2000: 4, 4000: 4}
LOADS = {
    250: [0.14, 0.15, 0.16, 0.17, 0.18, 0.19, 0.2, 0.21],
    500: [0.14, 0.15, 0.16, 0.17, 0.18, 0.19, 0.2],
    1000: [0.14, 0.15, 0.16, 0.17, 0.18, 0.19],
    2000: [0.13, 0.14, 0.15, 0.16, 0.17],
    4000: [0.12, 0.13, 0.14, 0.145, 0.15, 0.155, 0.16],
}
SMALL = 250  # units, of --quick
KEPT = 0.9  # overlap above which a pattern counts as recalled
#: (b) Degree, and units.
DENSE = {2: 1000, 3: 200, 4: 100}
FACTORS = [0.5, 0.7, 1.0, 1.4, 2.0, 3.0]
#: (c)
RULES: dict[str, Rule] = {
    "Hebb": Hebb(),
    "Storkey": Storkey(),
    "pseudo-inverse": PseudoInverse(),
    "perceptron": Perceptron(max_epochs=500),
}
RULE_SIZE, RULE_TRIALS = 200, 5
RULE_LOADS = [0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 0.95, 1.0, 1.1, 1.2, 1.3, 1.4]
#: (d)
UNIT_SIZE, UNIT_TRIALS = 50, 100
UNIT_LOADS = [1.4, 1.6, 1.8, 2.0, 2.2, 2.4, 2.6]

Result = dict[str, float]
Point = tuple[str, Callable[[Generator], Result]]


def as_result(estimate: Estimate) -> Result:
    """For the file."""
    return {"mean": estimate.mean, "error": estimate.error}


def recalled(size: int, trials: int, load: float, generator: Generator) -> Result:
    """Share of patterns recalled, and the overlap of those that are."""
    overlaps = capacity.simulate_overlaps(
        ClassicalHopfield, round(load * size), size, trials=trials, generator=generator, cues=128
    )
    kept = overlaps > KEPT
    overlap = float(overlaps[kept].mean()) if bool(kept.any()) else math.nan
    return as_result(Estimate.of(kept.float().mean(-1))) | {"overlap": overlap}


def wrong_units(degree: int, size: int, load: float, generator: Generator) -> Result:
    """Share of units that one update turns wrong."""
    return as_result(
        capacity.simulate_one_step_error(
            partial(DenseMemory, degree=degree, rectified=False),
            round(load * size ** (degree - 1)), size, trials=8, generator=generator,
        )
    )  # fmt: skip


def held(rule: Rule, load: float, generator: Generator) -> Result:
    """Share of patterns of which every unit is held."""
    shares = []
    for _ in range(RULE_TRIALS):
        noise = torch.rand(round(load * RULE_SIZE), RULE_SIZE, generator=generator)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            memory = ClassicalHopfield((noise - 0.5).double().sign(), rule)
        # What no other unit reaches is not held by the couplings, only not moved by them.
        shares.append((memory.stability() > 1e-9).all(-1).double().mean())
    return as_result(Estimate.of(torch.stack(shares)))


def separable(load: float, generator: Generator) -> Result:
    """Share of random signs of N patterns that one unit of free couplings can have."""
    count = round(load * UNIT_SIZE)
    found = []
    for _ in range(UNIT_TRIALS):
        signed = (torch.rand(count, UNIT_SIZE, generator=generator) - 0.5).sign().numpy()
        done = linprog(np.zeros(UNIT_SIZE), A_ub=-signed, b_ub=-np.ones(count), bounds=(None, None))
        found.append(float(done.status == 0))
    return as_result(Estimate.of(torch.tensor(found)))


def points(quick: bool) -> Iterator[Point]:
    """All that is measured, the long ones first; quick are small nets by Hebb's rule."""
    for size, trials in reversed(SIZES.items()):
        if quick and size > SMALL:
            continue
        for load in LOADS[size]:
            yield f"a {size} {load}", partial(recalled, size, trials, load)
    if quick:
        return
    for degree, size in DENSE.items():
        for factor in FACTORS:
            load = factor * capacity.dense_critical_load(degree)
            yield f"b {degree} {factor}", partial(wrong_units, degree, size, load)
    for name, rule in RULES.items():
        for load in RULE_LOADS:
            yield f"c {name} {load}", partial(held, rule, load)
    for load in UNIT_LOADS:
        yield f"d {load}", partial(separable, load)


def measure(path: Path, seed: int, console: Console, quick: bool = False) -> dict[str, Result]:
    """Every point that the file does not hold yet, each with a seed of its own."""
    found: dict[str, Result] = json.loads(path.read_text()) if path.exists() else {}
    missing = [point for point in points(quick) if point[0] not in found]
    for key, run in track(missing, "measuring", console=console):
        generator = Generator().manual_seed(zlib.crc32(f"{seed} {key}".encode()))
        found[key] = run(generator)
        with atomic_write(path, overwrite=True) as aside:
            aside.write_text(json.dumps(found, indent=1))
    return found


def crossing(xs: list[float], found: list[Result], level: float) -> Estimate:
    """Where a measured curve crosses a level, by the line between its neighbors."""
    ys = [point["mean"] for point in found]
    place = next(i for i in range(len(ys) - 1) if (ys[i] - level) * (ys[i + 1] - level) <= 0)
    slope = (ys[place + 1] - ys[place]) / (xs[place + 1] - xs[place])
    part = (level - ys[place]) / (ys[place + 1] - ys[place])
    error = math.hypot((1 - part) * found[place]["error"], part * found[place + 1]["error"])
    return Estimate(xs[place] + (level - ys[place]) / slope, error / abs(slope))


def halves(found: dict[str, Result]) -> dict[int, Estimate]:
    """For each size the load at which half the patterns are recalled."""
    return {
        size: crossing(loads, [found[f"a {size} {load}"] for load in loads], 0.5)
        for size, loads in LOADS.items()
        if f"a {size} {loads[0]}" in found
    }


def lines(found: dict[str, Result]) -> Iterator[tuple[str, str, str]]:
    """The rows of the table: what, theory, measured."""
    at_half = halves(found)
    for size, load in at_half.items():
        yield f"Hebb, half of the patterns recalled, d = {size}", "–", str(load)
    means, errors = zip(*((e.mean, e.error) for e in at_half.values()), strict=True)
    for exponent, name in ((1 / 2, "1/2"), (2 / 3, "2/3")):
        limit = capacity.large_size_limit(list(at_half), means, errors, exponent)
        what = f"Hebb, the same, d → ∞ as d^(−{name})"
        yield what, f"{capacity.critical_load():.4f}", f"{limit.mean:.4f} ± {limit.error:.1g}"
    for load in (0.12, 0.13):
        wrong = (1 - found[f"a {max(SIZES)} {load}"]["overlap"]) / 2
        expected = (1 - capacity.retrieval_overlap(load)) / 2
        yield f"Hebb, units wrong after recall, α = {load}", f"{expected:.2%}", f"{wrong:.2%}"
    for degree, size in DENSE.items():
        scale = capacity.dense_critical_load(degree)
        curve = [found[f"b {degree} {factor}"] for factor in FACTORS]
        at = crossing([factor * scale for factor in FACTORS], curve, 0.005)
        yield f"dense, n = {degree}, d = {size}: α at 0.5 % wrong", f"{scale:.5f}", str(at)
    for name, load in (("pseudo-inverse", 0.95), ("perceptron", 1.0)):
        share = found[f"c {name} {load}"]
        what = f"{name}, patterns held at α = {load}, d = {RULE_SIZE}"
        yield what, "1", str(Estimate(share["mean"], share["error"]))
    for load in (1.6, 2.0, 2.4):
        share = found[f"d {load}"]
        expected = capacity.separable_probability(round(load * UNIT_SIZE), UNIT_SIZE)
        what = f"one unit, N = {load} d can be held, d = {UNIT_SIZE}"
        yield what, f"{expected:.3f}", str(Estimate(share["mean"], share["error"]))


def plotted(axes: Axes, xs: list[float], found: list[Result], **style: Any) -> None:
    """Measured points with bars of one standard error."""
    axes.errorbar(
        xs, [p["mean"] for p in found], [p["error"] for p in found],
        markersize=4, elinewidth=1, **({"linewidth": 0.8} | style),
    )  # fmt: skip


def draw(found: dict[str, Result]) -> Figure:
    """Measured points beside the curves of theory."""
    figure = Figure(figsize=(8, 6.4), layout="constrained")
    (a, b), (c, d) = figure.subplots(2, 2)
    for (color, marker, line), size in zip(SERIES, SIZES, strict=False):
        curve = [found[f"a {size} {load}"] for load in LOADS[size]]
        style = {"color": color, "marker": marker, "linestyle": line}
        plotted(a, LOADS[size], curve, label=f"d = {size}", **style)
    edge = capacity.critical_load()
    a.axvline(edge, color="black", linestyle="--", linewidth=1, label=f"theory, {edge:.4f}")
    a.set(xlabel="load N/d", ylabel="patterns recalled", title="(a) Hebb's rule")
    a.legend(fontsize=7)

    for (color, marker, line), (degree, size) in zip(SERIES, DENSE.items(), strict=False):
        scale = capacity.dense_critical_load(degree)
        plotted(
            b, [f * scale for f in FACTORS], [found[f"b {degree} {f}"] for f in FACTORS],
            color=color, marker=marker, linewidth=0, label=f"n = {degree}, d = {size}",
        )  # fmt: skip
        fine = [float(x) * scale for x in np.geomspace(0.4, 3.5, 25)]
        distribution = [capacity.dense_one_step_error(load, degree) for load in fine]
        exact = [capacity.dense_one_step_error(load, degree, size=size) for load in fine]
        b.plot(fine, distribution, line, color=color, linewidth=1)
        b.plot(fine, exact, color="black", linewidth=1, linestyle=":")
        b.plot([scale, scale], [1e-4, 0.005], color=color, linewidth=0.8, linestyle="--")
        b.text(
            scale * 1.08, 1.2e-4, f"{scale:.4g}", color=color, fontsize=7,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        )  # fmt: skip
    b.axhline(0.005, color="gray", linewidth=0.8, linestyle="--")
    b.set(
        xscale="log", yscale="log", ylim=(1e-4, 0.3), xlabel="load N/dⁿ⁻¹",
        ylabel="units wrong after one update", title="(b) Dense memories",
    )  # fmt: skip
    b.legend(fontsize=7, loc="upper left")

    for (color, marker, line), name in zip(SERIES, RULES, strict=False):
        curve = [found[f"c {name} {load}"] for load in RULE_LOADS]
        style = {"color": color, "marker": marker, "linestyle": line}
        plotted(c, RULE_LOADS, curve, label=name, **style)
    c.axvline(1.0, color="black", linestyle="--", linewidth=1, label="α = 1")
    c.set(xlabel="load N/d", ylabel="patterns held", title=f"(c) Rules, d = {RULE_SIZE}")
    c.legend(fontsize=7, loc="center right", bbox_to_anchor=(1.0, 0.5), framealpha=1.0)

    plotted(
        d, UNIT_LOADS, [found[f"d {load}"] for load in UNIT_LOADS], color=BLUE,
        marker="o", linewidth=0, label="linear programming",
    )  # fmt: skip
    counts = range(round(1.3 * UNIT_SIZE), round(2.7 * UNIT_SIZE))
    distribution = [capacity.separable_probability(count, UNIT_SIZE) for count in counts]
    d.plot(
        [count / UNIT_SIZE for count in counts],
        distribution,
        color="black",
        linewidth=1,
        label="Cover",
    )
    d.axvline(2.0, color="black", linestyle="--", linewidth=1, label="Gardner, d → ∞")
    d.set(xlabel="load N/d", ylabel="chance to be held", title=f"(d) One unit, d = {UNIT_SIZE}")
    d.legend(fontsize=7)
    return figure


def main() -> None:
    """Measure what is missing, print the table, draw the picture."""
    parser = argparse.ArgumentParser("python -m benchmarks.evidence.capacity", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("capacity"), help="folder of the results")
    parser.add_argument("--seed", type=int, default=0, help="seed of the patterns")
    parser.add_argument("--threads", type=int, default=2, help="threads for torch")
    parser.add_argument("--quick", action="store_true", help="small nets by Hebb's rule")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    console = Console()
    given.out.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    found = measure(given.out / f"capacity-{given.seed}.json", given.seed, console, given.quick)
    if given.quick:
        console.print(f"half of the patterns are recalled at the load, by units: {halves(found)}")
        return
    table = Table(title="Capacity: theory and measurement (± one standard error)")
    for column in ("what", "theory", "measured"):
        table.add_column(column)
    for row in lines(found):
        table.add_row(*row)
    console.print(table)
    mpl.use("svg")
    mpl.rcParams |= {
        "svg.hashsalt": "isinglass", "svg.fonttype": "none", "font.size": 9,
        "axes.spines.top": False, "axes.spines.right": False, "savefig.bbox": "tight",
    }  # fmt: skip
    draw(found).savefig(given.out / "capacity.svg", metadata={"Date": None})
    console.print(f"{time.perf_counter() - start:.0f} s; results and picture in {given.out}")


if __name__ == "__main__":
    main()
