"""log Z of the 16 × 16 Ising torus by annealed importance sampling, beside Kaufman's formula.

At temperatures below, around and above T_c = 2/log(1 + √2), some seeds each: the error a spin,
which is aimed to be at most 1e-3. Prints one table and draws one picture. Every run is stored at
once; run again to go on after a stop.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from statistics import mean

import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import isinglass as ig
from isinglass.io.atomic import atomic_write

CRITICAL = 2 / math.log(1 + math.sqrt(2))
TEMPERATURES = (1.8, 2.0, 2.2, CRITICAL, 2.35, 2.5, 3.0, 4.0)
TARGET = 1e-3

Result = dict[str, float]


def main() -> None:
    """Parse the command line, measure, print one table, store it with a picture."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.evidence.ising", description=__doc__
    )
    parser.add_argument("--out", type=Path, default=Path("evidence"), help="where results go")
    parser.add_argument("--side", type=int, default=16, help="of the torus")
    parser.add_argument("--seeds", type=int, default=10, help="runs at each temperature")
    parser.add_argument("--chains", type=int, default=100, help="walks each way")
    parser.add_argument("--levels", type=int, default=2000, help="stops on the way")
    parser.add_argument("--quick", action="store_true", help="a seed, 8 × 8, few levels")
    given = parser.parse_args()
    if given.quick:
        given.side, given.seeds, given.chains, given.levels = 8, 1, 20, 200
    given.out.mkdir(parents=True, exist_ok=True)
    stored = given.out / f"ising-{given.side}-{given.chains}-{given.levels}.json"
    found: dict[str, Result] = json.loads(stored.read_text()) if stored.exists() else {}
    with Progress() as progress:
        runs = [(t, seed) for t in TEMPERATURES for seed in range(given.seeds)]
        for temperature, seed in progress.track(runs, description="annealing"):
            key = f"{temperature:.4f} {seed}"
            if key not in found:
                found[key] = measure(given, temperature, seed)
                with atomic_write(stored, overwrite=True) as aside:
                    aside.write_text(json.dumps(found, indent=1))
    Console().print(as_table(found, given.seeds))
    with atomic_write(given.out / "ising.svg", overwrite=True) as aside:
        picture(found, given.side).savefig(aside)
    Console().print(f"written to {given.out}")


def measure(given: argparse.Namespace, temperature: float, seed: int) -> Result:
    """One estimate, and the truth, both a spin."""
    machine = ig.BoltzmannMachine.ising(given.side, given.side)
    spins = given.side**2
    found = ig.log_partition(
        machine, "ais", temperature=temperature, chains=given.chains, levels=given.levels,
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    return {
        "temperature": temperature,
        "exact": machine.exact_log_partition(temperature).item() / spins,
        "value": found.value / spins,
        "standard error": found.standard_error / spins,
        "low": found.bracket[0] / spins,
        "high": found.bracket[1] / spins,
        "size": found.effective_sample_size,
    }


def rows_at(found: dict[str, Result], temperature: float, seeds: int) -> list[Result]:
    """All runs at one temperature."""
    return [found[f"{temperature:.4f} {seed}"] for seed in range(seeds)]


def as_table(found: dict[str, Result], seeds: int) -> Table:
    """Errors for the eye."""
    table = Table(title=f"log Z a spin of the Ising torus, {seeds} seeds")
    for column in (
        "T", "Kaufman", "annealed, mean", "error, worst", "stated", "bracketed", "ESS, least",
        "target",
    ):  # fmt: skip
        table.add_column(column, justify="right")
    for temperature in TEMPERATURES:
        rows = rows_at(found, temperature, seeds)
        exact = rows[0]["exact"]
        worst = max(abs(row["value"] - exact) for row in rows)
        held = sum(row["low"] <= exact <= row["high"] for row in rows)
        table.add_row(
            f"{temperature:.3f}", f"{exact:.6f}", f"{mean(r['value'] for r in rows):.6f}",
            f"{worst:.1e}", f"{mean(r['standard error'] for r in rows):.1e}",
            f"{held} of {seeds}", f"{min(row['size'] for row in rows):.0f}",
            "met" if worst <= TARGET else "missed",
        )  # fmt: skip
    return table


def picture(found: dict[str, Result], side: int) -> Figure:
    """Kaufman's curve with the estimates on it, and their errors below."""
    figure = Figure((5.2, 4.2), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    machine = ig.BoltzmannMachine.ising(side, side)
    line = torch.linspace(min(TEMPERATURES) - 0.1, max(TEMPERATURES) + 0.1, 200).tolist()
    exact = [machine.exact_log_partition(t).item() / side**2 for t in line]
    above.plot(line, exact, color="0.5", label="Kaufman's formula")
    runs = list(found.values())
    at = [run["temperature"] for run in runs]
    above.plot(at, [run["value"] for run in runs], "o", ms=4, label="annealed importance sampling")
    above.set(ylabel="log Z a spin")
    above.legend(frameon=False)
    below.axhspan(-TARGET, TARGET, color="0.9", label="10⁻³")
    below.plot(at, [run["value"] - run["exact"] for run in runs], "o", ms=4, alpha=0.6)
    below.set(xlabel="temperature T/J", ylabel="error a spin", ylim=(-2 * TARGET, 2 * TARGET))
    for axes in (above, below):
        axes.axvline(CRITICAL, color="0.5", lw=0.8, ls=":")
    return figure


if __name__ == "__main__":
    main()
