"""Every error a user can meet: each says the operation, what was found, and the remedy."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import FrameType

_PACKAGE = str(Path(__file__).parent)
# A command says by itself what it does.
_COMMANDS = str(Path(__file__).parent / "cli")
_STANDARD_LIBRARY = str(Path(os.__file__).parent)
_CONSTRUCTORS = {"__init__", "__new__", "__post_init__", "__call__", "forward"}


class IsinglassError(Exception):
    """Base of all errors raised on purpose by isinglass.

    The operation is what the user called, read from the stack where the error is made, so no
    function hands its name down to the helpers that check for it.

    Args:
        found: What was found, with the shapes or values that were wrong.
        remedy: What to do about it.
        operation: What was being done, where the call alone does not tell: ``"loading x.csv"``.

    Examples:
        >>> raise IsinglassError("cues of shape (3, 5), patterns of 4 units", "Pass 4", "recall")
        Traceback (most recent call last):
            ...
        isinglass.errors.IsinglassError: recall: cues of shape (3, 5), patterns of 4 units. Pass 4
    """

    def __init__(self, found: str, remedy: str, operation: str | None = None) -> None:
        operation = operation or _public_operation()
        super().__init__(found, remedy, operation)  # the three parts, so that a copy is whole
        self.operation = operation
        self.found = found
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.operation}: {self.found}. {self.remedy}"


class ShapeError(IsinglassError, ValueError):
    """A tensor has the wrong shape: wrong feature size, missing batch, no patterns at all."""


class DomainError(IsinglassError, ValueError):
    """A value lies outside the states it must take: NaN, infinity, a spin that is not ±1."""


class ParameterError(IsinglassError, ValueError):
    """A parameter is out of range or of the wrong kind: ``beta <= 0``, a negative temperature."""


class IntractableError(IsinglassError, RuntimeError):
    """The quantity has no closed form for this model; the remedy names one that has."""


class DivergenceError(IsinglassError, ArithmeticError):
    """Learning ran away: a loss or a parameter is no finite number any more."""


class NoOverlapError(IsinglassError, ArithmeticError):
    """Where a walk starts and where it should end have too little in common to be compared."""


class FileError(IsinglassError, OSError):
    """A file cannot be read, is truncated or altered, or would be overwritten unasked."""


class UnknownEnvironmentError(IsinglassError, KeyError):
    """No such environment is registered."""


class MissingExtraError(IsinglassError, ImportError):
    """An optional dependency is not installed; the remedy is the command that installs it."""


def _public_operation() -> str:
    """Return the name of the outermost public function of isinglass that is being called.

    The stack is walked outward through isinglass and through libraries that call it back, such as
    torch and Stable-Baselines3, up to the user's own code. Methods are named after the class of
    the object, ``"ModernHopfield.recall"``, constructors and layers after the class alone.

    Examples:
        >>> import isinglass as ig
        >>> ig.Spin(0)
        Traceback (most recent call last):
            ...
        isinglass.errors.ParameterError: Spin: size = 0. Give size as a whole number of at least 1
    """
    frame, named = sys._getframe(1), ""
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(_PACKAGE):
            if not file.startswith(_COMMANDS) and file != __file__:
                named = _name(frame) or named
        elif not _is_plumbing(file, frame.f_code.co_name):
            break
        frame = frame.f_back
    return named or "isinglass"


def _is_plumbing(file: str, name: str) -> bool:
    """Whether a frame belongs to a library between isinglass and the user."""
    generated = file.startswith("<@beartype") or (file == "<string>" and name == "__init__")
    installed = "site-packages" in file or "dist-packages" in file
    return generated or installed or file.startswith(_STANDARD_LIBRARY)


def _name(frame: FrameType) -> str:
    """The public name of a frame of isinglass; none of what is private."""
    code = frame.f_code
    name = code.co_name
    if name.startswith("<") or (name.startswith("_") and name not in _CONSTRUCTORS):
        return ""
    first = code.co_varnames[0] if code.co_argcount else ""
    owner = frame.f_locals.get(first) if first in ("self", "cls") else None
    if owner is None:
        return code.co_qualname.rpartition("<locals>.")[2] if "." not in code.co_qualname else name
    kind = owner if isinstance(owner, type) else type(owner)
    return kind.__name__ if name in _CONSTRUCTORS else f"{kind.__name__}.{name}"
