"""Names of classes in files: looked up among what is imported, so that a file can name no code."""

from __future__ import annotations

from typing import TypeVar

__all__ = ["name_of", "subclasses_by_name"]

Kind = TypeVar("Kind")


def name_of(kind: type) -> str:
    """The class's name, with its module unless it is one of isinglass's own.

    Examples:
        >>> from isinglass import Spin
        >>> name_of(Spin), name_of(dict)
        ('Spin', 'builtins:dict')
    """
    own = kind.__module__.partition(".")[0] == "isinglass"
    return kind.__qualname__ if own else f"{kind.__module__}:{kind.__qualname__}"


def subclasses_by_name(base: type[Kind]) -> dict[str, type[Kind]]:
    """Every imported subclass of ``base``, itself included, by :func:`name_of`.

    Examples:
        >>> from isinglass import Bit, Unit
        >>> subclasses_by_name(Unit)["Bit"] is Bit
        True
    """
    found = {name_of(base): base}
    for kind in base.__subclasses__():
        found |= subclasses_by_name(kind)
    return found
