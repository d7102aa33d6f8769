"""Writing files so that nothing is lost: aside first, then renamed; nothing overwritten unasked."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from isinglass.errors import FileError

__all__ = ["writing"]


@contextmanager
def writing(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it into place if the block succeeds.

    A kill or a full disk in the middle leaves what was there before, whole.

    Args:
        path: Where the finished file goes.
        overwrite: Whether a file already there may be replaced.

    Raises:
        FileError: If the file exists and ``overwrite`` is false, or it cannot be written.

    Examples:
        >>> folder = tempfile.mkdtemp()
        >>> with writing(Path(folder) / "note.txt") as aside:
        ...     _ = aside.write_text("whole or not at all")
        >>> (Path(folder) / "note.txt").read_text()
        'whole or not at all'
    """
    path = Path(path)
    if path.is_dir():
        raise FileError(f"writing {path}", "it is a folder", "Give the path of a file")
    if path.exists() and not overwrite:
        raise FileError(
            f"writing {path}",
            "the file exists already",
            "Allow overwriting, or choose another path",
        )
    try:
        handle, name = tempfile.mkstemp(
            prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent
        )
    except OSError as error:
        raise FileError(
            f"writing {path}", f"its folder cannot be written ({error.strerror})",
            "Create the folder, or choose a path that can be written",
        ) from error  # fmt: skip
    os.close(handle)
    aside = Path(name)
    try:
        yield aside
        with aside.open("rb") as written:
            os.fsync(written.fileno())
        aside.chmod(0o666 & ~_umask())
        aside.replace(path)
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(
            f"writing {path}", f"the disk refused it ({error})", "Free some space and try again"
        ) from error
    finally:
        aside.unlink(missing_ok=True)


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
