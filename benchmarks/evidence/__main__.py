"""All experiments behind the pages, one after another: ``python -m benchmarks.evidence --quick``.

Each runs in a process of its own and goes on from the JSON in ``--out``; a second call does what is
missing and keeps the rest. With ``--quick`` each has some seconds, all together ``--minutes``, and
what it found says that it runs, no more: ``evidence.md`` in the folder has it beside the figures of
the whole runs, which are in ``benchmarks/evidence/summary.json`` and on the pages. Without it the
whole runs are made, which takes days. Data are not part of the project: the variable ISINGLASS_DATA
names the folder that has them. What lacks data or a package is left out by name; ``--list`` says
what each needs. ``--page`` runs nothing and writes the table of ``docs/evidence.md`` anew;
``python -m benchmarks.pictures evidence`` draws its picture.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.evidence.experiments import EXPERIMENTS, Experiment
from benchmarks.evidence.runs import run_all
from benchmarks.evidence.summary import PAGE, Row, load, replaced
from isinglass.errors import FileError
from isinglass.io.atomic import atomic_write

Lines = list[tuple[str, ...]]
HEADS = (
    "experiment",
    "became",
    "seconds",
    "what",
    "here",
    "whole run",
    "others",
    "whole run, asked",
)


def parser() -> argparse.ArgumentParser:
    """What can be asked for."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.evidence", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    names = [experiment.name for experiment in EXPERIMENTS]
    made.add_argument("--quick", action="store_true", help="does each run? some seconds each")
    made.add_argument("--page", action="store_true", help="write docs/evidence.md, run nothing")
    made.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    made.add_argument(
        "--out", type=Path, help="folder of results; evidence, evidence/quick if quick"
    )
    made.add_argument("--minutes", type=minutes_of, help="in all; 15 if quick, else no limit")
    made.add_argument(
        "--list", action="store_true", help="name the experiments and what each needs, run nothing"
    )
    return made


def minutes_of(text: str) -> float:
    """Reads a time that something can be run in."""
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not 0 < minutes < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no finite number above 0")
    return minutes


def listed(experiments: list[Experiment], rows: list[Row]) -> Table:
    """What each experiment takes and needs, and the page it is on."""
    pages = {row.experiment: row.page for row in rows}
    table = Table("experiment", "quick, seconds", "data", "packages", "page")
    for experiment in experiments:
        cells = (
            ", ".join(experiment.data), ", ".join(experiment.packages),
            pages.get(experiment.name, experiment.page),
        )  # fmt: skip
        table.add_row(experiment.name, str(experiment.seconds), *(cell or "–" for cell in cells))
    return table


def lines_of(
    experiments: list[Experiment], found: dict[str, dict[str, Any]], rows: list[Row], out: Path
) -> Iterator[tuple[str, ...]]:
    """The lines of the table: what was measured in this folder, beside the whole runs."""
    known = {(row.experiment, row.what): row for row in rows}
    for experiment in experiments:
        record = found[experiment.name]
        head = (experiment.name, record["found"], f"{record['seconds']:.0f}")
        for figure in experiment.figures or (None,):
            row = figure and known.get((experiment.name, figure.what))
            value = figure and figure.read(out / experiment.name)
            yield (
                *head, figure.what if figure else "", "" if value is None else f"{value:.4g}",
                row.value if row else "", row.beside if row else "",
                row.verdict.replace("**", "") if row else "",
            )  # fmt: skip
            head = ("", "", "")


def as_markdown(lines: Lines, quick: bool) -> str:
    """The same as a page."""
    kind = "quick runs, which say that it runs and no more" if quick else "whole runs"
    cells = [HEADS, ("---",) * len(HEADS), *lines]
    table = "\n".join(f"| {' | '.join(line)} |" for line in cells)
    return f"# Evidence: {kind}\n\n{table}\n"


def as_table(lines: Lines) -> Table:
    """The same for a terminal."""
    table = Table(*HEADS)
    for line in lines:
        table.add_row(*line)
    return table


def write(path: Path, text: str) -> None:
    """Writes a text aside, and renames it."""
    with atomic_write(path, overwrite=True) as aside:
        aside.write_text(text, encoding="utf-8")


def counted(became: list[str]) -> str:
    """How many are done, now or before, how many were left out, and how many went wrong."""
    kept, cut, failed = (became.count(how) for how in ("kept", "cut", "failed"))
    done = became.count("done") + kept
    before = f" ({kept} kept from before)" if kept else ""
    left = len(became) - done - cut - failed
    return f"{done} of {len(became)} done{before}, {left} not run, {cut} cut, {failed} failed"


def main(arguments: list[str] | None = None) -> int:
    """Runs what is missing, writes and prints the table; 1 if something failed, 2 if misused."""
    made = parser()
    given = made.parse_args(arguments)
    console = Console(width=200)
    chosen = [experiment for experiment in EXPERIMENTS if experiment.name in given.only]
    if given.list:
        console.print(listed(chosen, load()))
        return 0
    if given.page:
        write(PAGE, replaced(PAGE.read_text(encoding="utf-8"), load()))
        console.print(f"written to {PAGE}")
        return 0
    given.out = given.out or Path("evidence", *["quick"] * given.quick)
    try:
        given.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        made.error(f"--out {given.out} cannot be a folder ({error.strerror}): name another")
    minutes = given.minutes if given.minutes is not None else 15.0 * given.quick
    try:
        found = run_all(chosen, given.out, given.quick, minutes)
        lines = list(lines_of(chosen, found, load(), given.out))
        write(given.out / "evidence.md", as_markdown(lines, given.quick))
    except FileError as error:
        made.error(str(error))
    console.print(as_table(lines))
    became = [record["found"] for record in found.values()]
    console.print(f"{counted(became)}; written to {given.out / 'evidence.md'}")
    return int("failed" in became)


if __name__ == "__main__":
    sys.exit(main())
