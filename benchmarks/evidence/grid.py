"""Runs of every task, method and seed: each in a file of its own, several side by side."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import Progress

from benchmarks.evidence.cache import Cache

__all__ = ["Grid", "mean_and_worst", "of"]

Record = dict[str, Any]


@dataclass(frozen=True)
class Grid:
    """What is run, and what can be asked for on the command line.

    Args:
        name: Of the module in ``benchmarks.evidence``, and of the folder of its results.
        about: What its ``--help`` says.
        steps: Environment steps of training, by task.
        methods: All that there are.
        run: Makes one record of a task, a method, a seed and a number of steps.
        usual: The methods run where none is named; None is all.
        seeds: How many seeds, from 0, where none is named.
        quick: Steps of a run with ``--quick``.
    """

    name: str
    about: str | None
    steps: dict[str, int]
    methods: Sequence[str]
    run: Callable[[str, str, int, int], Record]
    usual: Sequence[str] | None = None
    seeds: int = 3
    quick: int = 300

    def measure(self) -> list[Record]:
        """Parses the command line, makes what is missing, returns all that was asked for."""
        given = self._parser().parse_args()
        if given.quick:
            given.seeds = given.seeds[:1]
        todo = [(t, m, s) for t in given.tasks for m in given.methods for s in given.seeds]
        one = partial(self._one, given.out, given.quick)
        with Progress() as progress:
            if given.processes == 1:
                return [one(*what) for what in progress.track(todo, description="runs")]
            context = get_context("spawn")  # a fork would share the threads of torch
            with ProcessPoolExecutor(given.processes, context) as pool:
                waiting = [pool.submit(one, *what) for what in todo]
                over = as_completed(waiting)
                for _ in progress.track(over, total=len(todo), description="runs"):
                    pass
            return [done.result() for done in waiting]

    def _one(self, out: Path, quick: bool, task: str, method: str, seed: int) -> Record:
        torch.set_num_threads(1)
        name = f"{'quick-' * quick}{task}-{method}-{seed}.json"
        path = out / name.replace(" ", "_").replace("()", "")
        steps = self.quick if quick else self.steps[task]
        return Cache(path).get("run", partial(self.run, task, method, seed, steps))

    def _parser(self) -> argparse.ArgumentParser:
        parser = argparse.ArgumentParser(
            prog=f"python -m benchmarks.evidence.{self.name}", description=self.about
        )
        whole, usual = list(self.steps), list(self.usual or self.methods)
        parser.add_argument("--out", type=Path, default=Path("evidence", self.name))
        parser.add_argument("--seeds", type=int, nargs="+", default=list(range(self.seeds)))
        parser.add_argument("--tasks", nargs="+", choices=whole, default=whole)
        parser.add_argument("--methods", nargs="+", choices=self.methods, default=usual)
        parser.add_argument("--processes", type=int, default=1, help="runs side by side")
        parser.add_argument(
            "--quick", action="store_true", help="one seed, few steps: does it run?"
        )
        return parser


def of(records: Iterable[Record], task: str, method: str) -> list[Record]:
    """Returns the records of one task and one method."""
    return [r for r in records if (r["task"], r["method"]) == (task, method)]


def mean_and_worst(runs: Sequence[Record], digits: int = 4) -> str:
    """Writes the mean of all seeds, and the worst in parentheses; a dash where there is none."""
    means = [run["mean"] for run in runs if run["mean"] is not None]
    if not means:
        return "–"
    return f"{np.mean(means):.{digits}g} ({min(means):.{digits}g})"
