"""Numbers that belong to the state of a module, such as β, kept in its state dict."""

from __future__ import annotations

import math
import warnings
from typing import ClassVar

import torch
from torch import Tensor, nn

from isinglass.core.described import Described, MixedIn

__all__ = ["Numbered", "beside_tensors"]


class Numbered(MixedIn):
    """A mixin of modules that keeps numbers beside tensors in the state dict.

    A load that matches all keys then restores all that the state is made of.

    Examples:
        >>> class Scaled(Numbered, nn.Module):
        ...     numbers = ("scale",)
        ...     scale = 2.0
        >>> one, other = Scaled(), Scaled()
        >>> one.scale = 5.0
        >>> other.load_state_dict(one.state_dict()), other.scale
        (<All keys matched successfully>, 5.0)
    """

    #: Those that belong to the state, by attribute.
    numbers: ClassVar[tuple[str, ...]] = ()

    def own_numbers(self) -> dict[str, Tensor]:
        """Returns the :attr:`numbers` that are not learned, as tensors of no dimension."""
        values = {name: getattr(self, name) for name in self.numbers}
        return {
            name: torch.tensor(value, dtype=torch.float64)  # floats, so that means can be taken
            for name, value in values.items()
            if not isinstance(value, Tensor)
        }

    def _save_to_state_dict(
        self, destination: dict[str, object], prefix: str, keep_vars: bool
    ) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination.update({prefix + name: value for name, value in self.own_numbers().items()})

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: object, **kwargs: object
    ) -> None:
        given, keys = dict(state_dict), [prefix + name for name in self.own_numbers()]
        found = {key: given.pop(key) for key in keys if key in given}
        super()._load_from_state_dict(given, prefix, *args, **kwargs)
        for key in keys:
            name = key.removeprefix(prefix)
            if key in found:
                setattr(self, name, _like(getattr(self, name), found[key].item()))
            else:
                warnings.warn(
                    f"{type(self).__name__}: the state holds no {name}, as it is of an older "
                    f"version: {name} = {getattr(self, name)} stays",
                    stacklevel=2,
                )


def _like(own: float, found: float) -> float:
    """A number as whole as the own one, if it is whole."""
    whole = isinstance(own, int) and math.isfinite(found) and found == int(found)
    return type(own)(found) if whole else found


def beside_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Returns what a state dict holds beside parameters and buffers, by its keys.

    These are the numbers, and the descriptions of what modules are made of.

    Examples:
        >>> import isinglass as ig
        >>> found = beside_tensors(nn.Sequential(ig.ModernHopfield(torch.eye(2), beta=3.0)))
        >>> found["0.beta"], bytes(found["0.config"].tolist())
        (tensor(3., dtype=torch.float64), b'{"constants": false}')
    """
    found: dict[str, Tensor] = {}
    for path, part in module.named_modules():
        held = part.own_numbers() if isinstance(part, Numbered) else {}
        if isinstance(part, Described):
            held |= part.own_description()
        found |= {f"{path}.{name}".lstrip("."): value for name, value in held.items()}
    return found
