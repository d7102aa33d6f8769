"""Names of classes in files: looked up among what is imported, so that a file can name no code."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar, cast

from isinglass.errors import FileError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["config_of", "from_config", "name_of", "subclasses_by_name"]

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


def config_of(thing: DataclassInstance) -> dict[str, Any]:
    """A dataclass as JSON values, its kind by name; :func:`from_config` reads it back.

    Examples:
        >>> from isinglass import Spin
        >>> config_of(Spin(3))
        {'kind': 'Spin', 'size': 3}
    """
    return {"kind": name_of(type(thing)), **asdict(thing)}


def from_config(base: type[Kind], config: dict[str, Any]) -> Kind:
    """What :func:`config_of` described, among the imported kinds of ``base``.

    Raises:
        FileError: If no such kind is imported.

    Examples:
        >>> from isinglass import Unit
        >>> from_config(Unit, {"kind": "Spin", "size": 3})
        Spin(size=3)
    """
    kind = cast("Any", subclasses_by_name(base).get(config["kind"]))
    if kind is None:
        raise FileError(
            f"{base.__name__}.from_config",
            f"the {base.__name__.lower()} kind {config['kind']!r} is not imported",
            "Import the module that defines it first",
        )
    return kind(**{name: value for name, value in config.items() if name != "kind"})
