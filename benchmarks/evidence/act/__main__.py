"""What FreeEnergyQ learns beside its peers, at equal steps and at equal wall-clock.

Each agent learns each task from each seed. After the steps of the task it is examined. A peer then
learns on until it has had our training time from the same seed, up to a cap (Task.seconds), and its
learning curve says how good it was by then. Seconds are processor time of one thread, examinations
not counted. Agents that learn from whole rollouts overshoot, to the end of the last one.

A run is a file OUT/TASK-STEPS/AGENT/SEED.json, written when it is done; what is there with the same
settings is not run again, so that a second call goes on where the first was stopped. A peer's run
that ended before ours did is done again, longer. Prints one table and draws one picture a task. All
settings are in agents.py and act_settings.py.

DQN, MaskablePPO and tabular Q choose from a list of all actions: they cannot be asked where actions
have twenty bits or more. SAC is for actions that are real numbers.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import matplotlib as mpl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.evidence.act.agents import AGENTS
from benchmarks.evidence.act.report import draw, table
from benchmarks.evidence.act.runs import by_name, kept, missing, run
from benchmarks.evidence.act.speed import speed_table
from benchmarks.evidence.act.tasks import TASKS, Task

SPEED = "learning-speed"
Job = tuple[Task, str, int, int]  # with agent, seed and steps


def main() -> None:
    """Parse the command line, run what is missing, print the tables."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.evidence.act", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    names = [*TASKS, SPEED]
    parser.add_argument(
        "tasks", nargs="*", metavar="TASK", help=f"of {', '.join(names)}; all if none"
    )
    parser.add_argument("--seeds", type=_count, default=10, help="how many seeds, from 0")
    parser.add_argument("--first", type=int, default=0, help="the first seed, 0")
    parser.add_argument(
        "--agents", nargs="+", choices=AGENTS, metavar="AGENT", default=[*AGENTS],
        help=f"of {', '.join(AGENTS)}; all that the task has if none",
    )  # fmt: skip
    parser.add_argument("--steps", type=_count, help="environment steps, if not the task's")
    parser.add_argument("--out", type=Path, default=Path("evidence/act"), help="where results go")
    parser.add_argument("--jobs", type=_count, default=1, help="runs at a time")
    parser.add_argument("--show", action="store_true", help="run nothing: tables of what is there")
    given = parser.parse_args()
    if unknown := set(given.tasks) - set(names):
        parser.error(f"no {' '.join(sorted(unknown))}: there are {' '.join(names)}")
    chosen = given.tasks or names
    mpl.rcParams |= {"svg.hashsalt": "isinglass", "svg.fonttype": "none", "font.size": 9}
    console = Console()
    jobs = [job for name in chosen if name in TASKS for job in _jobs(TASKS[name], given)]
    if not given.show:
        for own in (True, False):  # peers learn for as long as ours did
            wave = [job for job in jobs if (job[1] == "ours") == own and missing(*job, given.out)]
            if wave:
                _run(wave, given, console)
    for name in chosen:
        if name == SPEED:
            console.print(speed_table(given.out, range(given.first, given.first + given.seeds)))
        else:
            _report(TASKS[name], [job for job in jobs if job[0].name == name], given.out, console)


def _count(text: str) -> int:
    """A whole number of at least one."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least one")
    return int(text)


def _jobs(task: Task, given: argparse.Namespace) -> Iterator[Job]:
    """All runs of a task, seed by seed."""
    for seed in range(given.first, given.first + given.seeds):
        for agent in given.agents:
            if agent in ("ours", *task.peers):
                yield task, agent, seed, given.steps or task.steps


def _run(jobs: list[Job], given: argparse.Namespace, console: Console) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
               TimeElapsedColumn())  # fmt: skip
    with Progress(*columns, console=console) as progress:
        whole = progress.add_task("runs", total=len(jobs))
        if given.jobs > 1:
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(given.jobs, context) as pool:
                waiting = [
                    pool.submit(by_name, task.name, agent, seed, steps, given.out)
                    for task, agent, seed, steps in jobs
                ]
                for done in as_completed(waiting):
                    done.result()
                    progress.advance(whole)
            return
        for task, agent, seed, steps in jobs:
            bar = progress.add_task(f"{task.name}, {agent}, seed {seed}", total=steps)
            run(task, agent, seed, steps, given.out,
                lambda done, bar=bar: progress.update(bar, completed=done))  # fmt: skip
            progress.remove_task(bar)
            progress.advance(whole)


def _report(task: Task, jobs: list[Job], folder: Path, console: Console) -> None:
    runs = {}
    for job in jobs:
        if (record := kept(*job, folder)) is not None:
            runs.setdefault(job[1], []).append(record)
    if not runs:
        console.print(f"{task.name}: no runs yet")
        return
    console.print(table(task, runs))
    path = folder / f"{task.name}-{jobs[0][3]}.svg"
    draw(task, runs, path)
    console.print(f"learning curves: {path}")


if __name__ == "__main__":
    main()
