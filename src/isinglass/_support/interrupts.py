"""Ctrl-C that waits until the work at hand can be kept."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

__all__ = ["interrupts"]


@contextmanager
def interrupts() -> Iterator[Event]:
    """Gives an event that the first Ctrl-C sets; the second one interrupts at once.

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
