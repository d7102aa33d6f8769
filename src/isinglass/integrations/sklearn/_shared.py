"""What the estimators share: seeds, and a bar that shows how learning goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Generator

from isinglass._support.optional import require_extra

with require_extra("sklearn"):
    from sklearn.utils import check_random_state

__all__ = ["generator_of", "learning_bar"]


def generator_of(random_state: Any) -> Generator:
    """A torch generator seeded by scikit-learn's ``random_state``: None, a seed or a RandomState.

    Examples:
        >>> generator_of(3).initial_seed() == generator_of(3).initial_seed()
        True
    """
    return Generator().manual_seed(int(check_random_state(random_state).randint(2**31 - 1)))


@contextmanager
def learning_bar(verbose: bool, steps: int) -> Iterator[Callable[[str], None]]:
    """A function to call after each step with what to show (extra ``cli`` if ``verbose``)."""
    if not verbose:
        yield lambda _: None
        return
    with require_extra("cli"):
        from rich.progress import Progress
    with Progress() as bar:
        task = bar.add_task("learning", total=steps)
        yield lambda text: bar.update(task, advance=1, description=text)
        bar.update(task, total=bar.tasks[0].completed)  # it may have come to rest before
