"""Taking the tour: chapters in order, a progress bar each, a summary table, one page."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from isinglass._support.optional import require_extra
from isinglass.cli.tour.chapter import Chapter, Tick
from isinglass.cli.tour.page import build_page
from isinglass.errors import ParameterError
from isinglass.io.atomic import atomic_write

with require_extra("cli"):
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.table import Table

__all__ = ["VERBS", "take_tour"]

VERBS = ("remember", "attend", "imagine", "act")


def _chapter(verb: str) -> Callable[[Tick, int], Chapter]:
    """The chapter of a verb, whose packages (and no others) are imported here."""
    match verb:
        case "remember":
            from isinglass.cli.tour.remember import remember as chapter
        case "attend":
            from isinglass.cli.tour.attend import attend as chapter
        case "imagine":
            from isinglass.cli.tour.imagine import imagine as chapter
        case "act":
            from isinglass.cli.tour.act import act as chapter
        case _:
            raise ParameterError(
                f"no chapter {verb!r}", f"Choose among {VERBS}", operation="the tour"
            )
    return chapter


def take_tour(
    out: Path,
    verbs: list[str],
    *,
    seed: int = 0,
    overwrite: bool = False,
    console: Console | None = None,
) -> list[Chapter]:
    """Walk the chapters, print the summary and write the page.

    Args:
        out: Where the page goes.
        verbs: Which chapters, among ``VERBS``, in this order; each is walked once.
        seed: Seed of everything random.
        overwrite: Whether a page already there may be replaced.
        console: Where to print; None is the terminal.

    Returns:
        The chapters, with their figures.

    Raises:
        ParameterError: If a verb has no chapter.
        FileError: If the page exists and ``overwrite`` is false, or it cannot be written.
    """
    console = console or Console()
    # The page is opened first, so that a folder that cannot be written fails before the work.
    with atomic_write(out, overwrite=overwrite) as aside:
        with _progress(console) as progress, _one_thread():
            chapters = [_walk(verb, progress, seed) for verb in dict.fromkeys(verbs)]
        console.print(_table(chapters))
        aside.write_text(build_page(chapters, seed, _machine()), encoding="utf-8")
    return chapters


def _walk(verb: str, progress: Progress, seed: int) -> Chapter:
    task = progress.add_task(verb, total=1.0, what="loading")

    def tick(done: float, what: str) -> None:
        progress.update(task, completed=done, what=what)

    start = time.perf_counter()
    chapter = _chapter(verb)(tick, seed)
    chapter.seconds = time.perf_counter() - start
    return chapter


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch to one thread: these problems are small, and threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("[bold]{task.description:<9}"),
        BarColumn(bar_width=28),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[what]}"),
        console=console,
    )


def _table(chapters: list[Chapter]) -> Table:
    table = Table(title="A tour of isinglass", title_justify="left")
    table.add_column("verb")
    table.add_column("measured")
    table.add_column("isinglass", style="bold cyan")
    table.add_column("beside it")
    for chapter in chapters:
        for number, fact in enumerate(chapter.facts):
            last = number == len(chapter.facts) - 1
            verb = chapter.verb if number == 0 else ""
            table.add_row(verb, fact.what, fact.ours, fact.beside, end_section=last)
    return table


def _machine() -> str:
    return (
        f"{platform.machine()}, one thread, "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )
