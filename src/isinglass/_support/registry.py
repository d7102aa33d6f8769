"""Names of classes in files: looked up among what is imported, so that a file can name no code."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar, cast

from isinglass.errors import FileError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["Configurable", "name_of", "subclasses_by_name"]

Kind = TypeVar("Kind")


def name_of(kind: type) -> str:
    """Returns the class's name, with its module unless it is one of isinglass's own.

    Examples:
        >>> from isinglass import Spin
        >>> name_of(Spin), name_of(dict)
        ('Spin', 'builtins:dict')
    """
    own = kind.__module__.partition(".")[0] == "isinglass"
    return kind.__qualname__ if own else f"{kind.__module__}:{kind.__qualname__}"


def subclasses_by_name(base: type[Kind]) -> dict[str, type[Kind]]:
    """Returns every imported subclass of ``base``, itself included, by :func:`name_of`.

    Examples:
        >>> from isinglass import Bernoulli, Unit
        >>> subclasses_by_name(Unit)["Bernoulli"] is Bernoulli
        True
    """
    found = {name_of(base): base}
    for kind in base.__subclasses__():
        found |= subclasses_by_name(kind)
    return found


class Configurable:
    """A dataclass that is saved as its kind's name and its fields.

    Examples:
        >>> from isinglass import Spin, Unit
        >>> Spin(3).config()
        {'kind': 'Spin', 'size': 3}
        >>> Unit.from_config({"kind": "Spin", "size": 3})
        Spin(size=3)
    """

    def config(self) -> dict[str, Any]:
        """Returns the fields as JSON values, the kind by name, for :meth:`from_config`."""
        return {"kind": name_of(type(self)), **asdict(cast("DataclassInstance", self))}

    @classmethod
    def from_config(cls: type[Kind], config: dict[str, Any]) -> Kind:
        """Builds what :meth:`config` described, among the kinds of this class already imported.

        Raises:
            FileError: If no such kind is imported.
        """
        kind = cast("Any", subclasses_by_name(cls).get(config["kind"]))
        if kind is None:
            raise FileError(
                f"the {cls.__name__.lower()} kind {config['kind']!r} is not imported",
                "Import the module that defines it first",
            )
        return kind.from_fields({name: value for name, value in config.items() if name != "kind"})

    @classmethod
    def from_fields(cls: type[Kind], fields: dict[str, Any]) -> Kind:
        """Builds one of this very kind from the fields of its configuration."""
        return cls(**fields)
