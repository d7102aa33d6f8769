"""What the runs say: a table and a picture a task."""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

from benchmarks.evidence.act.agents import AGENTS
from benchmarks.evidence.act.runs import POINTS, Record
from benchmarks.evidence.act.tasks import Task
from isinglass.io.atomic import atomic_write

__all__ = ["draw", "table"]

Runs = dict[str, list[Record]]
COLORS = dict(zip(AGENTS, mpl.colormaps["tab10"].colors, strict=False))  # pyright: ignore[reportAttributeAccessIssue]


def table(task: Task, runs: Runs) -> Table:
    """Mean ± standard error of every exam at equal steps, and of the score at equal wall-clock.

    At equal wall-clock a peer has the score that its learning curve shows after as much training
    time as ours took from the same seed for all its steps; ours has its last score.
    """
    found = Table(title=task.name, caption=f"target: {task.target}")
    found.add_column("")
    for agent in runs:
        found.add_column(AGENTS[agent].title, justify="right")
    found.add_row("seeds", *(str(len(rows)) for rows in runs.values()))
    for name, digits in (("steps", 0), ("seconds", 1)):
        means = (np.mean([row[name] for row in rows]) for rows in runs.values())
        found.add_row(name, *(f"{mean:,.{digits}f}" for mean in means))
    for name in dict.fromkeys(name for rows in runs.values() for name in rows[0]["result"]):
        found.add_row(name, *(
            mean_and_error([row["result"][name] for row in rows if name in row["result"]])
            for rows in runs.values()
        ))  # fmt: skip
    if "ours" in runs:
        limits = {row["seed"]: row["seconds"] for row in runs["ours"]}
        score = next(iter(runs["ours"][0]["result"]))
        found.add_row(
            f"{score} after {np.mean(list(limits.values())):.0f} s",
            *(_at(rows, limits) for rows in runs.values()),
        )
    return found


def mean_and_error(values: list[float]) -> str:
    """Mean ± standard error, to the digits that the error leaves."""
    if not values:
        return "–"
    mean = float(np.mean(values))
    if len(values) == 1:
        return f"{mean:.4g}"
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    rounding = 1e-12 * abs(mean)  # all that is left of it where every value is the same
    digits = max(0, 1 - math.floor(math.log10(error))) if error > rounding else 3
    return f"{mean:,.{digits}f} ± {error:.{digits}f}"


def draw(task: Task, runs: Runs, path: Path) -> None:
    """Learning curves over steps and over training time, mean and band of a standard error."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    by_steps, by_seconds = figure.subplots(1, 2, sharey=True)
    for agent, rows in runs.items():
        _band(by_steps, agent, rows, 0, min(row["steps"] for row in rows))
        _band(by_seconds, agent, rows, 1, min(row["curve"][-1][1] for row in rows))
    score = next(iter(next(iter(runs.values()))[0]["result"]), "score")
    by_steps.set(xlabel="environment steps", ylabel=score, title=task.name)
    by_seconds.set(xlabel="seconds of training", xscale="log")
    by_steps.legend(fontsize=7)
    for axes in (by_steps, by_seconds):
        axes.spines[["top", "right"]].set_visible(False)
    with atomic_write(path, overwrite=True) as aside:
        figure.savefig(aside, metadata={"Date": None})


def _band(axes: Axes, agent: str, rows: list[Record], column: int, most: float) -> None:
    curves = [np.array(row["curve"]) for row in rows]
    first = max(curve[0, column] for curve in curves)
    where = (np.geomspace if column else np.linspace)(max(first, 1e-3), most, 3 * POINTS)
    scores = np.stack([np.interp(where, curve[:, column], curve[:, 2]) for curve in curves])
    mean = scores.mean(0)
    error = scores.std(0, ddof=1) / math.sqrt(len(rows)) if len(rows) > 1 else np.zeros_like(mean)
    axes.plot(where, mean, color=COLORS[agent], label=AGENTS[agent].title, linewidth=1.2)
    axes.fill_between(
        where, mean - error, mean + error, color=COLORS[agent], alpha=0.25, linewidth=0
    )


def _at(rows: list[Record], limits: dict[int, float]) -> str:
    """Scores that the curves show after the seconds of each seed."""
    scores, ends = [], []
    for row in rows:
        if row["seed"] in limits:
            _, seconds, score = np.array(row["curve"]).T
            scores.append(float(np.interp(limits[row["seed"]], seconds, score)))
            ends.append((seconds[-1], limits[row["seed"]]))
    short = [end for end, limit in ends if end < 0.99 * limit]
    return mean_and_error(scores) + (f" (by {min(short):.0f} s)" if short else "")
