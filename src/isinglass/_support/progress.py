"""Progress bars of long work: one look for all, and none without rich or a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from isinglass._support.optional import require_extra
from isinglass.errors import MissingExtraError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Display

__all__ = ["Progress", "ProgressBars", "progress_bar", "progress_bars"]

#: Called with how much is done and what is being done.
Progress = Callable[[float, str], None]


class ProgressBars:
    """Bars below each other, one for each task; without a display they are silent.

    Args:
        display: Where they are shown; None is nowhere.
    """

    def __init__(self, display: Display | None) -> None:
        self._display = display

    def add(self, name: str, total: float = 1.0) -> Progress:
        """Adds a bar and returns the function that moves it.

        Args:
            name: What stands before the bar.
            total: How much there is to do.
        """
        display = self._display
        if display is None:
            return lambda *_: None
        task = display.add_task(name, total=total, what="")
        return lambda done, what: display.update(task, completed=min(done, total), what=what)


@contextmanager
def progress_bars(
    *, shown: bool = True, console: Console | None = None, lasting: bool = False
) -> Iterator[ProgressBars]:
    """Shows bars while the block runs, if the extra ``cli`` is installed.

    Args:
        shown: Whether there are any.
        console: Where; None is standard error.
        lasting: Whether they stay when all is done, and are printed once where there is no
            terminal; else they vanish, and are shown on a terminal only.
    """
    display = _display(console, lasting) if shown else None
    if display is None:
        yield ProgressBars(None)
        return
    with display:
        yield ProgressBars(display)


@contextmanager
def progress_bar(total: float = 1.0, name: str = "", *, shown: bool = True) -> Iterator[Progress]:
    """Shows one bar on standard error, which vanishes when the block ends.

    Args:
        total: How much there is to do.
        name: What stands before the bar.
        shown: Whether there is one.
    """
    with progress_bars(shown=shown) as bars:
        yield bars.add(name, total)


def _display(console: Console | None, lasting: bool) -> Display | None:
    try:
        with require_extra("cli"):
            from rich import progress
            from rich.console import Console
    except MissingExtraError:
        return None
    console = console or Console(stderr=True)
    return progress.Progress(
        progress.TextColumn("{task.description}", style="bold", markup=False),
        progress.BarColumn(bar_width=16),
        progress.TaskProgressColumn(),
        progress.TimeRemainingColumn(elapsed_when_finished=True),
        progress.TextColumn("{task.fields[what]}", style="dim", markup=False),
        console=console,
        transient=not lasting,
        disable=not (lasting or console.is_terminal or console.is_jupyter),
    )
