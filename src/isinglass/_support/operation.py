"""The name of what a user called, read from the stack: errors are given it once, as they are made."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path
from types import FrameType

__all__ = ["public_operation"]

_PACKAGE = str(Path(__file__).parents[1])
# A command says by itself what it does; the properties check what users hand to them.
_COMMANDS = str(Path(__file__).parents[1] / "cli")
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})
_CONSTRUCTORS = {"__init__", "__new__", "__post_init__", "__call__", "forward"}


def public_operation() -> str:
    """Return the name of the outermost public function of isinglass that is being called.

    The stack is walked outward through isinglass and through libraries that call it back, such as
    torch and Stable-Baselines3, up to the user's own code. Methods are named after the class of
    the object, ``"ModernHopfield.recall"``, constructors and layers after the class alone.

    Examples:
        >>> import isinglass as ig
        >>> ig.RBM(ig.Bernoulli(4), ig.Bernoulli(3), scale="wide")
        Traceback (most recent call last):
            ...
        isinglass.errors.ParameterError: RBM: scale = 'wide'. Give a finite scale of zero or above
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
    return generated or file.startswith(_LIBRARIES)


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
