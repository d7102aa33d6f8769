"""Taking the tour: chapters in order, a progress bar each, a summary table, one page."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from isinglass._support.optional import require_extra
from isinglass._support.progress import Progress, progress_bars
from isinglass.cli._threads import one_thread
from isinglass.cli.tour.chapter import Chapter
from isinglass.cli.tour.page import build_page, describe_machine
from isinglass.errors import ParameterError
from isinglass.io.atomic import atomic_write

with require_extra("cli"):
    from rich.console import Console
    from rich.table import Table

__all__ = ["VERBS", "Tour", "take_tour"]

VERBS = ("remember", "attend", "imagine", "act", "think")
#: Seconds of a chapter for a second of ``_probe``: 0.16 s of it and a tour of 56 s go together.
PROBES = {"remember": 25.0, "attend": 7.0, "imagine": 170.0, "act": 150.0, "think": 20.0}


@dataclass(frozen=True)
class Tour:
    """Chapters that were walked.

    Attributes:
        chapters: With their figures and facts.
        estimate: Seconds that were expected before the first.
        seconds: Seconds that it took.
    """

    chapters: list[Chapter]
    estimate: float
    seconds: float


def _chapter(verb: str) -> Callable[[Progress, int], Chapter]:
    """Import the chapter of a verb, with the packages that it needs and no others."""
    match verb:
        case "remember":
            from isinglass.cli.tour.remember import remember as chapter
        case "attend":
            from isinglass.cli.tour.attend import attend as chapter
        case "imagine":
            from isinglass.cli.tour.imagine import imagine as chapter
        case "act":
            from isinglass.cli.tour.act import act as chapter
        case "think":
            from isinglass.cli.tour.think import think as chapter
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
) -> Tour:
    """Walks the chapters, print the summary and writes the page.

    Args:
        out: Where the page goes.
        verbs: Which chapters, among ``VERBS``, in this order; each is walked once.
        seed: Seed of everything random.
        overwrite: Whether a page already there may be replaced.
        console: Where to print; None is the terminal.

    Returns:
        The chapters, and how long they took.

    Raises:
        ParameterError: If a verb has no chapter.
        FileError: If the page exists and ``overwrite`` is false, or it cannot be written.
    """
    console, verbs = console or Console(), list(dict.fromkeys(verbs))
    # The page is opened first, so that a folder that cannot be written fails before the work.
    with atomic_write(out, overwrite=overwrite) as aside, one_thread():
        walks = [(verb, _chapter(verb)) for verb in verbs]
        estimate = _probe() * sum(PROBES[verb] for verb in verbs)
        console.print(f"This takes about {_duration(estimate)} on this machine.", highlight=False)
        start = time.perf_counter()
        with progress_bars(console=console, lasting=True) as bars:
            chapters = [_walk(walk, bars.add(f"{verb:<9}"), seed) for verb, walk in walks]
        seconds = time.perf_counter() - start
        console.print(_table(chapters))
        console.print(f"It took {_duration(seconds)}.", highlight=False)
        aside.write_text(build_page(chapters, seed, describe_machine(1)), encoding="utf-8")
    return Tour(chapters, estimate, seconds)


def _walk(chapter: Callable[[Progress, int], Chapter], progress: Progress, seed: int) -> Chapter:
    start = time.perf_counter()
    walked = chapter(progress, seed)
    walked.seconds = time.perf_counter() - start
    return walked


def _probe() -> float:
    """Time work like that of the chapters: many small products, hardly more than their calls."""
    generator = torch.Generator().manual_seed(0)
    state, weight = torch.randn(2, 64, 64, generator=generator)
    start = time.perf_counter()
    for _ in range(4_000):
        state = torch.tanh(state @ weight)
    return time.perf_counter() - start


def _duration(seconds: float) -> str:
    """Write seconds as a person would: ``45 s``, ``2 min 5 s``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _table(chapters: list[Chapter]) -> Table:
    """Lay out the facts of all chapters."""
    table = Table(title="A tour of isinglass", title_justify="left")
    table.add_column("verb")
    table.add_column("measured")
    table.add_column("isinglass", style="bold cyan")
    table.add_column("beside it")
    for chapter in chapters:
        for number, fact in enumerate(chapter.facts):
            last = number == len(chapter.facts) - 1
            verb = chapter.verb if number == 0 else ""
            table.add_row(verb, fact.what, fact.own, fact.beside, end_section=last)
    return table
