"""Actions as states of units: how each action space is written, fixed and forbidden."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from isinglass._support.typing import Bool, Float
from isinglass.distributions import Distribution
from isinglass.errors import DomainError, ParameterError
from isinglass.units import Categorical, Gaussian, Mixed, Spin, Unit

__all__ = ["ActionCode", "BinaryCode", "BoxCode", "CategoricalCode"]


@dataclass(frozen=True)
class ActionCode(ABC):
    """A code between the actions of one space and states of units.

    A new kind of space gives a unit, :meth:`encode`, :meth:`decode`, :meth:`fixed_units` and, where
    values can be forbidden, :meth:`forbid`.

    Attributes:
        unit: The units that an action is made of.
    """

    unit: Unit

    @staticmethod
    def of(space: object) -> ActionCode:
        """Returns the code of an action space.

        Raises:
            ParameterError: If the space is not supported.

        Examples:
            >>> ActionCode.of(spaces.MultiDiscrete([3, 3, 2])).unit.size
            8
        """
        match space:
            case spaces.MultiBinary(shape=(size,)):
                return BinaryCode(Spin(size))
            case spaces.Discrete():
                unit = Categorical(int(space.n))
                return CategoricalCode(unit, (int(space.n),), (int(space.start),), whole=True)
            case spaces.MultiDiscrete(shape=(_,)):
                choices = tuple(int(n) for n in space.nvec)
                return CategoricalCode(_one_hots(choices), choices, tuple(map(int, space.start)))
            case spaces.Box(shape=(_,)) if space.dtype.kind == "f" and space.is_bounded("both"):
                _check_wide(space)
                return BoxCode(Gaussian(space.shape[0]))
        raise ParameterError(
            f"the action space {space}",
            "Supported are MultiBinary(d), Discrete(n), MultiDiscrete and Box of one dimension, "
            "boxes of bounded real numbers: wrap the environment in "
            "gymnasium.wrappers.TransformAction",
        )

    @property
    def continuous(self) -> bool:
        """Whether the actions are vectors of real numbers."""
        return False

    @abstractmethod
    def encode(self, actions: Tensor) -> Float[Tensor, "batch d"]:
        """Returns states of the units, from actions as a replay buffer holds them."""

    @abstractmethod
    def decode(self, states: Float[Tensor, "batch d"]) -> Tensor:
        """Returns actions, as an SB3 policy gives them, from states of the units."""

    @abstractmethod
    def fixed_units(self, values: Float[Tensor, "batch parts"]) -> tuple[Tensor, Tensor]:
        """Returns states, and which units are fixed, from parts of actions; NaN where free.

        Raises:
            DomainError: If a fixed value is not one of the action space.
        """

    def forbid(
        self, distribution: Distribution, allowed: Bool[Tensor, "batch flags"]
    ) -> Distribution:
        """Returns the distribution over actions of allowed parts; flags are those of MaskablePPO.

        Raises:
            ParameterError: If the space has no masks.
            DomainError: If all values of a part are forbidden.
        """
        raise ParameterError("a mask of real actions", "Clip them in the environment instead")


@dataclass(frozen=True)
class BinaryCode(ActionCode):
    """``MultiBinary(d)``: bits x in {0, 1} are spins 2x − 1.

    Examples:
        >>> code = ActionCode.of(spaces.MultiBinary(2))
        >>> code.encode(torch.tensor([[0, 1]]))
        tensor([[-1.,  1.]])
    """

    def encode(self, actions: Tensor) -> Float[Tensor, "batch d"]:
        """Returns the spins a = 2x − 1 of bits x."""
        return 2 * actions.float() - 1

    def decode(self, states: Float[Tensor, "batch d"]) -> Tensor:
        """Returns the bits x = (a + 1)/2 of spins a."""
        return (states > 0).to(torch.int8)

    def fixed_units(self, values: Float[Tensor, "batch parts"]) -> tuple[Tensor, Tensor]:
        """Returns fixed bits as spins, and which are fixed."""
        free = values.isnan()
        _check_whole(values, values.new_full((self.unit.size,), 2))
        return torch.where(free, 0.0, 2 * values - 1).float(), ~free

    def forbid(
        self, distribution: Distribution, allowed: Bool[Tensor, "batch flags"]
    ) -> Distribution:
        """Fixes a bit with one value allowed at it; flags are 0, 1 of the first bit, …."""
        zero, one = allowed.unflatten(-1, (-1, 2)).unbind(-1)
        if bool((zero & one).all()):
            return distribution
        if not bool((zero | one).all()):
            raise DomainError("a mask that forbids both values of a bit", "Allow one of them")
        return distribution.condition(one.to(distribution.zeros_like_event()) * 2 - 1, zero != one)


@dataclass(frozen=True)
class CategoricalCode(ActionCode):
    """``Discrete(n)`` or ``MultiDiscrete``: each part is a one-hot unit.

    Attributes:
        choices: How many values each part has.
        least: The least value of each part.
        whole: Whether an action is one number and not an array of them.

    Examples:
        >>> code = ActionCode.of(spaces.MultiDiscrete([2, 3]))
        >>> code.encode(torch.tensor([[1, 0]]))
        tensor([[0., 1., 1., 0., 0.]])
    """

    choices: tuple[int, ...] = ()
    least: tuple[int, ...] = ()
    whole: bool = False

    def encode(self, actions: Tensor) -> Float[Tensor, "batch d"]:
        """Returns one-hot vectors, part by part."""
        actions = actions.reshape(-1, len(self.choices)).long()
        if any(self._starts):
            actions = actions + torch.tensor(self._starts, device=actions.device)
        hot = torch.zeros(len(actions), self.unit.size, device=actions.device)
        return hot.scatter_(-1, actions, 1.0)

    @cached_property
    def _starts(self) -> list[int]:
        """Lists where the units of each part begin, less its least value."""
        return (np.cumsum((0, *self.choices[:-1])) - self.least).tolist()

    def decode(self, states: Float[Tensor, "batch d"]) -> Tensor:
        """Returns the value of every part, from one-hot vectors."""
        pieces = states.split(list(self.choices), -1)
        parts = [piece.argmax(-1) + v for piece, v in zip(pieces, self.least, strict=True)]
        return parts[0] if self.whole else torch.stack(parts, -1)

    def fixed_units(self, values: Float[Tensor, "batch parts"]) -> tuple[Tensor, Tensor]:
        """Returns fixed parts as one-hot vectors, and which components are fixed."""
        free = values.isnan()
        choices = torch.tensor(self.choices, device=values.device)
        least = torch.tensor(self.least, device=values.device)
        _check_whole(values, choices, least)
        fixed = (~free).repeat_interleave(choices, dim=-1)
        return self.encode(torch.where(free, least, values)), fixed

    def forbid(
        self, distribution: Distribution, allowed: Bool[Tensor, "batch flags"]
    ) -> Distribution:
        """Gives forbidden values the log-weight −∞: their probability is zero."""
        return distribution if bool(allowed.all()) else distribution.masked(allowed)


@dataclass(frozen=True)
class BoxCode(ActionCode):
    """A bounded ``Box``: real units, from −1 at the lower bound to 1 at the upper.

    Examples:
        >>> code = ActionCode.of(spaces.Box(-2, 2, (1,)))
        >>> code.decode(torch.tensor([[3.0]]))
        tensor([[1.]])
    """

    @property
    def continuous(self) -> bool:
        """Whether the actions are vectors of real numbers."""
        return True

    def encode(self, actions: Tensor) -> Float[Tensor, "batch d"]:
        """Returns actions as they are: SB3's buffers hold scaled ones."""
        return actions.float()

    def decode(self, states: Float[Tensor, "batch d"]) -> Tensor:
        """Returns states clipped to the box; SB3 scales them back."""
        return states.clamp(-1, 1)

    def fixed_units(self, values: Float[Tensor, "batch parts"]) -> tuple[Tensor, Tensor]:
        """Returns scaled values as they are, and which are fixed."""
        free = values.isnan()
        if bool((~free & (values.abs() > 1 + 1e-6)).any()):
            raise DomainError("a fixed value outside the box", "Stay within its bounds")
        return torch.where(free, 0.0, values).float(), ~free


def _one_hots(choices: tuple[int, ...]) -> Unit:
    if len(set(choices)) == 1:
        return Categorical(sum(choices), groups=len(choices))
    return Mixed([Categorical(n) for n in choices])


def _check_wide(space: spaces.Box) -> None:
    with np.errstate(over="ignore"):
        width = space.high - space.low
    bad = (width == 0) | ~np.isfinite(width)
    if bad.any():
        raise ParameterError(
            f"the action space {space}, with no width or an infinite one at {np.flatnonzero(bad)}",
            "Leave out coordinates that cannot move, and bound the others: wrap the environment "
            "in gymnasium.wrappers.TransformAction",
        )


def _check_whole(values: Tensor, choices: Tensor, least: Tensor | int = 0) -> None:
    within = (values >= least) & (values < least + choices) & (values == values.floor())
    legal = values.isnan() | within
    if not bool(legal.all()):
        raise DomainError(
            f"{int((~legal).sum())} fixed values outside the action space, such as "
            f"{float(values[~legal][0]):g}",
            "Give whole numbers that the space has, NaN where free",
        )
