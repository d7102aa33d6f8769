"""Writing files so that nothing is lost: aside first, then renamed; nothing overwritten unasked."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from isinglass.errors import FileError
from isinglass.io.lock import take_lock

__all__ = ["atomic_write", "sweep"]

PREFIX, LOCK = ".isinglass-", ".lock"


@contextmanager
def atomic_write(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yields a temporary path beside ``path``; renames it into place if the block succeeds.

    A kill or a full disk in the middle leaves what was there before, whole; what a killed writer
    has left beside it is swept by the next one in the folder.

    Args:
        path: Where the finished file goes.
        overwrite: Whether a file already there may be replaced.

    Raises:
        FileError: If the file exists and ``overwrite`` is false, or it cannot be written.

    Examples:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> with atomic_write(Path(folder) / "note.txt") as aside:
        ...     _ = aside.write_text("whole or not at all")
        >>> (Path(folder) / "note.txt").read_text()
        'whole or not at all'
    """
    try:
        path = Path(path).resolve()  # what a link points to is written, not the link
    except (
        TypeError,
        ValueError,
    ) as error:  # of another type, or with a character that no path has
        raise FileError(str(error), "Give the path of a file", "writing a file") from error
    operation = f"writing {path}"
    if path.exists() and not path.is_file():
        raise FileError("it is a folder or a device", "Give the path of a file", operation)
    if path.exists() and not overwrite:
        raise _exists(operation)
    try:
        sweep(path.parent)
        folder, lock = _make_folder(path.parent)
        aside = folder / path.name
        aside.touch()  # as any new file is made, so that the umask decides who may read it
    except OSError as error:
        raise FileError(
            f"its folder cannot be written ({error.strerror})",
            "Create the folder, or choose a path that can be written",
            operation=operation,
        ) from error
    try:
        yield aside
        with aside.open("rb") as written:
            os.fsync(written.fileno())
        _publish(aside, path, overwrite, operation)
    except FileError:
        raise
    except OSError as error:
        raise FileError(
            f"the disk refused it ({error})",
            "Free some space and try again",
            operation=operation,
        ) from error
    finally:
        _remove(folder, lock)


def _publish(aside: Path, path: Path, overwrite: bool, operation: str) -> None:
    """Puts a finished file in its place; a file that came there meanwhile stays, unless allowed."""
    if not overwrite:
        try:
            os.link(aside, path)  # unlike a rename, it fails where there is one
        except FileExistsError as error:
            raise _exists(operation) from error
        except OSError:  # a file system without links
            if path.exists():
                raise _exists(operation) from None
        else:
            return
    if path.exists():
        aside.chmod(stat.S_IMODE(path.stat().st_mode))
    aside.replace(path)


def _exists(operation: str) -> FileError:
    return FileError(
        "the file exists already",
        "Choose another path, or allow it: overwrite=True",
        operation=operation,
    )


def _make_folder(beside: Path) -> tuple[Path, int]:
    """Makes a folder for one temporary file, and locks it."""
    while True:
        folder = beside / f"{PREFIX}{secrets.token_hex(8)}"
        folder.mkdir()
        with suppress(FileNotFoundError):  # swept before it was locked
            if (lock := take_lock(folder / LOCK)) is not None:
                return folder, lock


def sweep(folder: Path) -> None:
    """Removes what writers have left in a folder that were killed: nobody holds its lock."""
    for left in folder.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if (lock := take_lock(left / LOCK)) is not None:
                _remove(left, lock)


def _remove(folder: Path, lock: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    os.close(lock)
