"""Writing files so that nothing is lost: aside first, then renamed; nothing overwritten unasked."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from isinglass.errors import FileError

__all__ = ["atomic_write"]


@contextmanager
def atomic_write(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yields a temporary path beside ``path``; renames it into place if the block succeeds.

    A kill or a full disk in the middle leaves what was there before, whole.

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
    path = Path(path).resolve()  # what a link points to is written, not the link
    if path.exists() and not path.is_file():
        raise FileError(
            "it is a folder or a device", "Give the path of a file", operation=f"writing {path}"
        )
    if path.exists() and not overwrite:
        raise FileError(
            "the file exists already",
            "Choose another path, or allow it: overwrite=True",
            operation=f"writing {path}",
        )
    aside = path.with_name(f".{secrets.token_hex(8)}{path.suffix}")
    try:
        # Created as any new file is, so that the umask decides who may read it.
        os.close(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except OSError as error:
        raise FileError(
            f"its folder cannot be written ({error.strerror})",
            "Create the folder, or choose a path that can be written",
            operation=f"writing {path}",
        ) from error
    try:
        yield aside
        with aside.open("rb") as written:
            os.fsync(written.fileno())
        if path.exists():
            aside.chmod(stat.S_IMODE(path.stat().st_mode))
        aside.replace(path)
    except FileError:
        raise
    except OSError as error:
        raise FileError(
            f"the disk refused it ({error})",
            "Free some space and try again",
            operation=f"writing {path}",
        ) from error
    finally:
        aside.unlink(missing_ok=True)
