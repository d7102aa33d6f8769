"""A bar that shows how learning goes, and a Ctrl-C that waits for the step at hand."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING

from isinglass._support.optional import require_extra
from isinglass.errors import MissingExtraError
from isinglass.learning.trainer.data import rank
from isinglass.learning.trainer.history import summary

if TYPE_CHECKING:
    from rich.progress import Progress

    from isinglass.learning.trainer.loop import Training

__all__ = ["bar", "interrupts"]


@contextmanager
def bar(steps: int, wanted: bool) -> Iterator[Callable[[Training], None]]:
    """A function that shows where a run is: on a terminal, if rich is installed, else nothing."""
    progress = _progress() if wanted and rank() == 0 else None
    if progress is None:
        yield lambda _: None
        return
    with progress:
        task = progress.add_task("", total=steps)

        def show(run: Training) -> None:
            done = run.epoch * run.batches.count() + run.batch
            progress.update(task, completed=done, description=summary(run.history[-1:]))

        yield show


def _progress() -> Progress | None:
    try:
        with require_extra("cli"):
            from rich.console import Console
            from rich.progress import Progress
    except MissingExtraError:
        return None
    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)


@contextmanager
def interrupts() -> Iterator[Event]:
    """An event that the first Ctrl-C sets; the second one interrupts at once.

    Only the main thread can hear signals: elsewhere the event stays unset.
    """
    wanted = Event()
    if threading.current_thread() is not threading.main_thread():
        yield wanted
        return
    before = signal.getsignal(signal.SIGINT)

    def heard(*_: object) -> None:
        wanted.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, heard)
    try:
        yield wanted
    finally:
        signal.signal(signal.SIGINT, before)
