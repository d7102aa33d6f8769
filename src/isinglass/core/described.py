"""What a module is made of beside tensors and numbers, such as units, kept in its state dict."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from isinglass.errors import ParameterError

__all__ = ["Described", "Labeled", "MixedIn", "as_it_is"]

# To the type checker too it is a module; at run time it comes before one in a class's bases.
MixedIn = nn.Module if TYPE_CHECKING else object
KEY = "config"


class Described(MixedIn):
    """A mixin of modules that keeps in the state dict what else their results depend on.

    A load restores what :attr:`adopts` names, and refuses a state of something else, which would
    fit in shape and compute another thing. A state without a description is loaded as it is.

    Examples:
        >>> class Scaled(Described, nn.Module):
        ...     def __init__(self, law):
        ...         super().__init__()
        ...         self.law = law
        ...     def description(self):
        ...         return {"law": self.law}
        >>> Scaled("cube").load_state_dict(Scaled("square").state_dict())
        Traceback (most recent call last):
            ...
        isinglass.errors.ParameterError: ...: a state of law = 'square' for a Scaled of law = 'cube'...
    """  # noqa: E501

    #: What a load sets, by the name in the description that is an attribute too, and what makes
    #: the attribute of its JSON value.
    adopts: ClassVar[Mapping[str, Callable[..., object]]] = {}

    def description(self) -> dict[str, object]:
        """Returns what results depend on beside the tensors: JSON values only."""
        raise NotImplementedError

    def own_description(self) -> dict[str, Tensor]:
        """Returns what the state dict holds of it: the letters of its JSON."""
        return {KEY: torch.frombuffer(bytearray(self._said(), "ascii"), dtype=torch.uint8)}

    def _said(self) -> str:
        return json.dumps(self.description(), sort_keys=True, default=_plain)

    def _save_to_state_dict(
        self, destination: dict[str, object], prefix: str, keep_vars: bool
    ) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        held = self.own_description()
        destination.update({prefix + name: value for name, value in held.items()})

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: object, **kwargs: object
    ) -> None:
        given = dict(state_dict)
        letters = given.pop(prefix + KEY, None)
        if letters is not None:
            self._compare(_read(letters), f"leave {prefix + KEY!r} out of the state")
        super()._load_from_state_dict(given, prefix, *args, **kwargs)

    def _compare(self, found: dict[str, object], otherwise: str) -> None:
        own = json.loads(self._said())
        other = {name: value for name, value in found.items() if own.get(name, value) != value}
        name = next((name for name in other if name not in self.adopts), None)
        if name is not None:
            kind = type(self).__name__
            raise ParameterError(
                f"a state of {name} = {_short(other[name])} for a {kind} of {name} = "
                f"{_short(own[name])}",
                f"Build the {kind} with what the state was written with; to keep its own {name} "
                f"all the same, {otherwise}",
            )
        for name, value in other.items():
            setattr(self, name, self.adopts[name](value))


class Labeled(Described):
    """A description kept with the metadata of a state dict, whose keys stay those of other packages.

    A state dict that was made a plain one, ``dict(state)``, or was written as tensors alone has
    none.
    """  # noqa: E501

    def own_description(self) -> dict[str, Tensor]:
        """Returns nothing, as no key holds it."""
        return {}

    def _save_to_state_dict(
        self, destination: dict[str, object], prefix: str, keep_vars: bool
    ) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        metadata = getattr(destination, "_metadata", {})
        metadata.setdefault(prefix[:-1], {})[KEY] = self._said()

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: object, **kwargs: object
    ) -> None:
        metadata = cast("dict[str, str]", args[0] if args else kwargs["local_metadata"])
        if KEY in metadata:
            self._compare(json.loads(metadata[KEY]), "load dict(state)")
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def as_it_is(value: object) -> object:
    """Returns what JSON gives, for :attr:`Described.adopts` where that is the attribute.

    Examples:
        >>> as_it_is(2.0)
        2.0
    """
    return value


def _plain(value: object) -> object:
    """What JSON knows in place of what it does not: numpy's numbers, and functions by name."""
    if isinstance(value, np.generic | np.ndarray | Tensor):
        return value.tolist()
    return getattr(value, "__qualname__", None) or type(value).__qualname__


def _read(letters: Tensor) -> dict[str, object]:
    try:
        return dict(json.loads(bytes(letters.to("cpu", torch.uint8).tolist())))
    except (ValueError, TypeError) as error:
        raise ParameterError(
            f"a state whose {KEY!r} is no description",
            "Give a state dict as it was written; means of two are of like modules alone",
        ) from error


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
