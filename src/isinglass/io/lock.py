"""Locks on files: held by one process, and let go when it ends, however it ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from isinglass.errors import FileError

try:
    import fcntl
except ImportError:  # not a POSIX system: nothing is locked there
    fcntl = None

__all__ = ["claim", "take_lock"]


def take_lock(path: Path) -> int | None:
    """Makes and locks a file; None if another process, or this one, has it locked.

    The lock is the kernel's: it goes when the descriptor is closed or the process is killed, so
    that none is ever stale. File systems without locks, and systems without ``fcntl``, give it.

    Returns:
        The descriptor of the file, to be closed.

    Raises:
        OSError: If the file cannot be opened for writing.
    """
    while True:
        lock = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
        try:
            if fcntl is not None:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        except OSError:
            return lock
        with suppress(FileNotFoundError):  # removed meanwhile by who had it before
            if os.path.samestat(os.fstat(lock), path.stat()):
                return lock
        os.close(lock)


@contextmanager
def claim(path: Path, operation: str) -> Iterator[None]:
    """Holds the lock of a file, which is removed at the end.

    Raises:
        FileError: If another process holds it, or it cannot be made.
    """
    try:
        lock = take_lock(path)
    except OSError as error:
        raise FileError(
            f"{path} cannot be written ({error.strerror})",
            "Choose a folder that can be written",
            operation=operation,
        ) from error
    if lock is None:
        raise FileError(
            "another process is writing there",
            "Wait until it has ended, stop it, or choose another folder",
            operation=operation,
        )
    try:
        yield
    finally:
        with suppress(OSError):  # a disk that takes nothing any more must not hide what went wrong
            path.unlink(missing_ok=True)
        os.close(lock)
