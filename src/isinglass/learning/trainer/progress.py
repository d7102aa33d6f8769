"""A bar that shows how learning goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from isinglass._support.progress import progress_bar
from isinglass.learning.trainer.data import rank
from isinglass.learning.trainer.history import summary

if TYPE_CHECKING:
    from isinglass.learning.trainer.loop import TrainingLoop

__all__ = ["bar"]


@contextmanager
def bar(steps: int, wanted: bool) -> Iterator[Callable[[TrainingLoop], None]]:
    """Gives a function that shows where a run is: on a terminal, of the first process only."""
    with progress_bar(steps, shown=wanted and rank() == 0) as show:
        yield lambda run: show(
            run.epoch * run.batches.count() + run.batch, summary(run.history[-1:])
        )
