"""Paired timings: ours and the peer's in turn, in one process, on the same threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

__all__ = ["Line", "compare", "peak_allocated_bytes", "peak_extra_bytes"]


@dataclass(frozen=True)
class Line:
    """One line of the table.

    Attributes:
        what: What is timed.
        shapes: On which shapes and dtype.
        peer: Who it is compared with.
        ours: Median seconds of ours.
        theirs: Median seconds of the peer's.
        target: Largest ratio of ours to theirs that was aimed for; None if none was.
        threads: Threads that torch used.
        note: Anything a reader must know.
    """

    what: str
    shapes: str
    peer: str
    ours: float
    theirs: float
    target: float | None
    threads: int
    note: str = ""

    @property
    def ratio(self) -> float:
        """Ours over theirs: below one is faster."""
        return self.ours / self.theirs

    @property
    def verdict(self) -> str:
        """Whether the target was met."""
        if self.target is None:
            return "–"
        return "met" if self.ratio <= self.target else "missed"


def compare(
    what: str,
    own: Callable[[], object],
    theirs: Callable[[], object],
    *,
    peer: str,
    shapes: str,
    target: float | None = None,
    rounds: int = 7,
    note: str = "",
) -> Line:
    """Time both in turn, once to warm up and then ``rounds`` times, and keep the medians."""
    mine, other = [], []
    own()
    theirs()
    for _ in range(rounds):
        mine.append(_seconds(own))
        other.append(_seconds(theirs))
    return Line(
        what, shapes, peer, median(mine), median(other), target, torch.get_num_threads(), note
    )


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def peak_extra_bytes(call: Callable[[], object]) -> int:
    """How far the process's resident memory rose above its level before, while ``call`` ran."""
    page = 4096
    level = Path("/proc/self/statm")
    peak = start = int(level.read_text().split()[1])
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.0005):
            peak = max(peak, int(level.read_text().split()[1]))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        call()
    finally:
        done.set()
        watcher.join()
    return (peak - start) * page


def peak_allocated_bytes(call: Callable[[], object]) -> int:
    """How many bytes of tensors lay in memory at most while ``call`` ran, beyond those before.

    Counted from what torch allocates and frees, so it is the same at every run; resident memory is
    not, as the system's allocator keeps what was freed.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        call()
    results: Any = found.profiler.kineto_results  # pyright: ignore[reportOptionalMemberAccess]
    events = [event for event in results.events() if event.name() == "[memory]"]
    changes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return max(accumulate(changes, initial=0))
