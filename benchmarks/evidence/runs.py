"""Experiments run one after another, each with a limit of time; what is done is not done again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.evidence.cache import Cache
from benchmarks.evidence.experiments import Experiment
from isinglass.errors import FileError

__all__ = ["lacking", "run_all", "run_one"]

ROOT = Path(__file__).parents[2]
Record = dict[str, Any]


def lacking(experiment: Experiment, data: Path | None) -> str:
    """Says what an experiment needs and is not there, or nothing.

    Args:
        experiment: What is to be run.
        data: The folder of data; None if none was named.
    """
    packages = [name for name in experiment.packages if find_spec(name) is None]
    folders = [name for name in experiment.data if data is None or not _holds(data / name)]
    missing = [f"packages: {', '.join(packages)}"] * bool(packages)
    if folders:
        them = "it" if len(folders) == 1 else "them"
        remedy = f"set ISINGLASS_DATA to the folder that has {them}"
        missing.append(f"data: {', '.join(folders)} ({remedy})")
    return "; ".join(missing)


def _holds(path: Path) -> bool:
    """Whether data are there: a file, or a folder that is not empty."""
    return any(path.iterdir()) if path.is_dir() else path.exists()


def run_one(
    experiment: Experiment, arguments: Sequence[str], out: Path, limit: float | None
) -> Record:
    """Runs an experiment in a process of its own, and cuts it at its limit.

    Args:
        experiment: What is run.
        arguments: What it is given besides ``--out``.
        out: The folder of all results; what it prints goes to ``NAME.log`` there.
        limit: Seconds; None is no limit.

    Returns:
        What became of it: done, cut or failed, and after how many seconds.

    Raises:
        FileError: If the folder cannot be written.
    """
    module = f"benchmarks.evidence.{experiment.name}"
    command = [sys.executable, "-m", module, *arguments, "--out", str(out / experiment.name)]
    environment = dict(os.environ)
    if folder := os.environ.get("ISINGLASS_DATA"):
        environment["ISINGLASS_DATA"] = str(Path(folder).resolve())  # it runs in another folder
    start = time.perf_counter()
    with _log(out / f"{experiment.name}.log") as log:
        # A session of its own, so that what it starts ends with it.
        process = subprocess.Popen(  # noqa: S603, a module of this folder
            command, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT, env=environment,
            start_new_session=True,
        )  # fmt: skip
        try:
            found = "done" if process.wait(limit) == 0 else "failed"
        except subprocess.TimeoutExpired:
            found = "cut"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    return {"found": found, "seconds": time.perf_counter() - start}


def _log(path: Path) -> TextIO:
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        remedy = "Name a folder that can be written: --out"
        raise FileError(f"it cannot be ({error.strerror})", remedy, f"writing {path}") from error


def _done(path: Path) -> Cache:
    """Reads which experiments are done."""
    cache = Cache(path)
    for name, record in cache.found.items():
        if not isinstance(record, dict) or not isinstance(record.get("seconds"), int | float):
            remedy = "Delete it, and all is run again"
            raise FileError(f"it has no seconds of {name}", remedy, f"reading {path}")
    return cache


def run_all(
    experiments: Sequence[Experiment], out: Path, quick: bool, minutes: float
) -> dict[str, Record]:
    """Runs all that is not done yet, one after another.

    Args:
        experiments: In their order.
        out: The folder of results; ``runs.json`` and ``quick-runs.json`` there say what is done.
        quick: Whether with the quick arguments, and the limits of these.
        minutes: After which no further experiment is begun; 0 is no limit.

    Returns:
        What became of each, by name; what was done before is kept, with the seconds it took then.

    Raises:
        FileError: If the file that says what is done is not as it was written, or the folder
            cannot be written.
    """
    out = out.resolve()
    cache = _done(out / f"{'quick-' * quick}runs.json")
    folder = os.environ.get("ISINGLASS_DATA")
    data = Path(folder) if folder else None
    end = time.perf_counter() + 60 * minutes if minutes else None
    found: dict[str, Record] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=len(experiments))
        for experiment in experiments:
            name = experiment.name
            bar.update(task, description=name)
            left = None if end is None else end - time.perf_counter()
            if name in cache.found:
                found[name] = {**cache.found[name], "found": "kept"}
            elif missing := lacking(experiment, data):
                found[name] = {"found": f"needs {missing}", "seconds": 0.0}
            elif left is not None and left < 1:
                found[name] = {"found": "no time left", "seconds": 0.0}
            else:
                limits = [s for s in (left, experiment.seconds if quick else None) if s]
                arguments = experiment.quick if quick else experiment.whole
                record = run_one(experiment, arguments, out, min(limits, default=None))
                found[name] = record
                if record["found"] == "done":
                    cache.get(name, record.copy)
            bar.advance(task)
    return found
