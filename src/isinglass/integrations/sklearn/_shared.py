"""What the estimators share: seeds, far numbers, and a bar that shows how learning goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import numpy as np
from numpy.random import RandomState
from torch import Generator

from isinglass._support.optional import require_extra
from isinglass._support.progress import progress_bars
from isinglass._support.wording import shown
from isinglass.errors import DomainError, ParameterError

with require_extra("sklearn"):
    from sklearn.utils import check_random_state

__all__ = ["LARGEST", "check_learnable", "generator_of", "learning_bar", "random_source",
           "standardized"]  # fmt: skip

LARGEST = 1e30  # beyond it squares are no numbers of 32 bits


def random_source(random_state: Any) -> RandomState:
    """Returns the source that ``random_state`` stands for: None, a seed or a RandomState.

    Raises:
        ParameterError: If it is none of these.
    """
    try:
        return check_random_state(random_state)
    except ValueError as error:
        raise ParameterError(
            f"random_state = {shown(random_state)}",
            "Give None, a RandomState or a seed below 2**32",
        ) from error


def generator_of(random_state: Any) -> Generator:
    """Returns a generator seeded by ``random_state``: None, a seed or a RandomState.

    Examples:
        >>> generator_of(3).initial_seed() == generator_of(3).initial_seed()
        True
    """
    return Generator().manual_seed(int(random_source(random_state).randint(2**31 - 1)))


def check_learnable(name: str, values: np.ndarray) -> None:
    """Refuses numbers of which no mean and deviation can be taken.

    Raises:
        DomainError: If one is beyond ±1e30.
    """
    if np.abs(values).max() > LARGEST:
        raise DomainError(f"{name} has numbers beyond ±{LARGEST:g}", "Mend or divide them")


def standardized(
    values: np.ndarray, mean: np.ndarray, scale: np.ndarray, most: float = LARGEST
) -> np.ndarray:
    """Returns (x − mean) / scale, what is farther than ``most`` at ``most``, on its side.

    Examples:
        >>> standardized(np.array([3.0, -1.7e308]), np.zeros(2), np.array([2.0, 0.1]), 100.0)
        array([   1.5, -100. ])
    """
    with np.errstate(over="ignore"):  # what is that far is at ``most``
        return ((values - mean) / scale).clip(-most, most)


@contextmanager
def learning_bar(verbose: bool, steps: int) -> Iterator[Callable[[str], None]]:
    """Gives a function to call after each step with what to show (extra ``cli`` if ``verbose``)."""
    if not verbose:
        yield lambda _: None
        return
    with require_extra("cli"):
        from rich.console import Console
    with progress_bars(console=Console(), lasting=True) as bars:
        show, done = bars.add("learning", steps), count(1)
        yield lambda text: show(next(done), text)
        show(steps, "done")  # it may have come to rest before
