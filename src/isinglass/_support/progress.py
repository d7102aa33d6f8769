"""A bar that shows how far a long piece of work is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from isinglass._support.optional import require_extra
from isinglass.errors import MissingExtraError

__all__ = ["Progress", "bar"]

Progress = Callable[[float, str], None]


@contextmanager
def bar() -> Iterator[Progress]:
    """A function of the share done and what is being done, seen on terminals if rich is there."""
    try:
        with require_extra("cli"):
            from rich import progress
            from rich.console import Console
    except MissingExtraError:
        yield lambda *_: None
        return
    console = Console(stderr=True)
    with progress.Progress(
        console=console, transient=True, disable=not console.is_terminal
    ) as shown:
        task = shown.add_task("", total=1.0)
        yield lambda share, what: shown.update(task, completed=share, description=what)
