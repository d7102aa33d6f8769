"""Optional dependencies: imported where they are used, missed with the command that adds them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from isinglass.errors import MissingExtraError

__all__ = ["require_extra"]


@contextmanager
def require_extra(extra: str) -> Iterator[None]:
    """Turns a failed import of a third-party package into an error that says what to install.

    Raises:
        MissingExtraError: If an import inside the block fails for want of a package.

    Examples:
        >>> with require_extra("rl"):
        ...     import no_such_package
        Traceback (most recent call last):
            ...
        isinglass.errors.MissingExtraError: importing no_such_package: ...
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "isinglass":
            raise
        raise MissingExtraError(
            "it is not installed",
            f"Install it with: pip install 'isinglass[{extra}]'",
            operation=f"importing {error.name}",
        ) from error
