"""Actions as states of units: how each action space is written, fixed and forbidden."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from gymnasium import spaces
from torch import Generator, Tensor

from isinglass._support.typing import Bool, Float
from isinglass.agents.actions.action_structure import leaves_of, origin_of
from isinglass.distributions import FEW_STATES, Distribution
from isinglass.distributions.hybrid_mixture import discrete_units, real_components
from isinglass.errors import DomainError, ParameterError
from isinglass.units import Categorical, Gaussian, Mixed, Spin, Unit

__all__ = ["ActionCode", "BinaryCode", "BoxCode", "CategoricalCode", "NestedCode"]

LARGEST_CHOICE = 2**24


@dataclass(frozen=True)
class ActionCode(ABC):
    """A code between the actions of one space and states of units.

    A new kind of space gives a unit, :meth:`encode`, :meth:`decode`, :meth:`fixed_units` and, where
    values can be forbidden, ``flags`` and :meth:`read_flags`.

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
        space = origin_of(space)
        match space:
            case spaces.MultiBinary():
                return BinaryCode(Spin(math.prod(space.shape)))
            case spaces.Discrete():
                unit = Categorical(int(space.n))
                return CategoricalCode(unit, (int(space.n),), (int(space.start),), whole=True)
            case spaces.MultiDiscrete():
                choices = tuple(int(n) for n in space.nvec.flat)
                least = tuple(int(start) for start in space.start.flat)
                return CategoricalCode(_one_hots(choices), choices, least)
            case spaces.Box() if space.dtype.kind == "f" and space.is_bounded("both"):
                _check_wide(space)
                return BoxCode(Gaussian(math.prod(space.shape)))
            case spaces.Dict() | spaces.Tuple() if len(space.spaces):
                codes = tuple(ActionCode.of(leaf) for _, leaf in leaves_of(space))
                _check_exact(space, codes)
                return NestedCode(_side_by_side([code.unit for code in codes]), codes)
        raise ParameterError(
            f"the action space {space}",
            "Supported are MultiBinary, Discrete, MultiDiscrete, Box of bounded real numbers, and "
            "Dict and Tuple of these: wrap the environment in gymnasium.wrappers.TransformAction",
        )

    @cached_property
    def real_size(self) -> int:
        """How many parts of an action are real numbers."""
        return int(real_components(self.unit).sum())

    @property
    def continuous(self) -> bool:
        """Whether the actions are vectors of real numbers."""
        return self.real_size == self.unit.size

    @property
    def parts(self) -> int:
        """How many numbers an action has: bits, choices and axes."""
        return self.unit.count

    @property
    def discrete_count(self) -> float:
        """How many values the bits and choices have together."""
        if self.continuous:
            return 1
        return discrete_units(self.unit).state_count()

    @property
    def has_few_actions(self) -> bool:
        """Whether actions are few enough to list: bits and choices, at most 256 together."""
        return not self.real_size and self.discrete_count <= FEW_STATES

    def uniform_states(
        self, like: Float[Tensor, "*rows d"], generator: Generator
    ) -> Float[Tensor, "*rows d"]:
        """Draws states uniformly: of all values, from −1 to 1 where they are real."""
        return self.unit.sample(torch.zeros_like(like), generator=generator)

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
        if not self.flags:
            raise ParameterError("a mask of real actions", "Clip them in the environment instead")
        if bool(allowed.all()):
            return distribution
        may, forced, states = self.read_flags(allowed)
        if bool(forced.any()):
            like = distribution.zeros_like_event()
            distribution = distribution.condition(states.to(like), forced)
        return distribution if bool(may.all()) else distribution.masked(may)

    @property
    def flags(self) -> int:
        """How many flags a mask has, value by value; none for real parts."""
        return 0

    def read_flags(self, allowed: Bool[Tensor, "batch flags"]) -> tuple[Tensor, Tensor, Tensor]:
        """Returns which components may be on, which units have one value left, and these values.

        Raises:
            DomainError: If all values of a part are forbidden.
        """
        free = allowed.new_zeros(*allowed.shape[:-1], self.unit.size)
        return ~free, free, free.float()


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

    @property
    def flags(self) -> int:
        """Two a bit: whether it may be 0, whether it may be 1."""
        return 2 * self.unit.size

    def read_flags(self, allowed: Bool[Tensor, "batch flags"]) -> tuple[Tensor, Tensor, Tensor]:
        """Forces a bit with one value allowed to it; flags are 0, 1 of the first bit, …."""
        zero, one = allowed.unflatten(-1, (-1, 2)).unbind(-1)
        if not bool((zero | one).all()):
            raise DomainError("a mask that forbids both values of a bit", "Allow one of them")
        return torch.ones_like(one), zero != one, 2 * one.float() - 1


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

    @property
    def flags(self) -> int:
        """One a value, part after part."""
        return self.unit.size

    def read_flags(self, allowed: Bool[Tensor, "batch flags"]) -> tuple[Tensor, Tensor, Tensor]:
        """Forces nothing: forbidden values get the log-weight −∞, and so the probability 0."""
        _, free, states = super().read_flags(allowed)
        return allowed, free, states


@dataclass(frozen=True)
class BoxCode(ActionCode):
    """A bounded ``Box``: real units, from −1 at the lower bound to 1 at the upper.

    Examples:
        >>> code = ActionCode.of(spaces.Box(-2, 2, (1,)))
        >>> code.decode(torch.tensor([[3.0]]))
        tensor([[1.]])
    """

    def uniform_states(
        self, like: Float[Tensor, "*rows d"], generator: Generator
    ) -> Float[Tensor, "*rows d"]:
        """Draws states uniformly from −1 to 1."""
        draw = torch.rand(like.shape, generator=generator, device=like.device, dtype=like.dtype)
        return 2 * draw - 1

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


@dataclass(frozen=True)
class NestedCode(ActionCode):
    """A ``Dict`` or ``Tuple``: the units of all its leaves, side by side in their order.

    Attributes:
        codes: The codes of the leaves.

    Examples:
        >>> space = spaces.Dict(kind=spaces.Discrete(2), where=spaces.Box(0, 9, (1,)))
        >>> code = ActionCode.of(space)
        >>> code.encode(torch.tensor([[1.0, 0.5]]))
        tensor([[0.0000, 1.0000, 0.5000]])
    """

    codes: tuple[ActionCode, ...] = ()

    def encode(self, actions: Tensor) -> Float[Tensor, "batch d"]:
        """Returns the states of all leaves."""
        pieces = self._split(actions, [code.parts for code in self.codes])
        return torch.cat([code.encode(piece) for code, piece in pieces], -1)

    def decode(self, states: Float[Tensor, "batch d"]) -> Tensor:
        """Returns the values of all leaves, one number a part."""
        pieces = self._split(states, [code.unit.size for code in self.codes])
        values = [code.decode(piece).reshape(len(states), -1) for code, piece in pieces]
        return torch.cat([value.to(states.dtype) for value in values], -1)

    def fixed_units(self, values: Float[Tensor, "batch parts"]) -> tuple[Tensor, Tensor]:
        """Returns the fixed parts of all leaves."""
        pieces = self._split(values, [code.parts for code in self.codes])
        states, fixed = zip(*(code.fixed_units(piece) for code, piece in pieces), strict=True)
        return torch.cat(states, -1), torch.cat(fixed, -1)

    @property
    def flags(self) -> int:
        """Those of all leaves, one after the other."""
        return sum(code.flags for code in self.codes)

    def read_flags(self, allowed: Bool[Tensor, "batch flags"]) -> tuple[Tensor, Tensor, Tensor]:
        """Reads the flags of every leaf."""
        pieces = self._split(allowed, [code.flags for code in self.codes])
        may, forced, states = zip(*(code.read_flags(p) for code, p in pieces), strict=True)
        return torch.cat(may, -1), torch.cat(forced, -1), torch.cat(states, -1)

    def uniform_states(
        self, like: Float[Tensor, "*rows d"], generator: Generator
    ) -> Float[Tensor, "*rows d"]:
        """Draws the states of every leaf uniformly."""
        pieces = self._split(like, [code.unit.size for code in self.codes])
        return torch.cat([code.uniform_states(piece, generator) for code, piece in pieces], -1)

    def _split(self, values: Tensor, sizes: list[int]) -> Iterator[tuple[ActionCode, Tensor]]:
        return zip(self.codes, values.split(sizes, -1), strict=True)


def _one_hots(choices: tuple[int, ...]) -> Unit:
    if len(set(choices)) == 1:
        return Categorical(sum(choices), groups=len(choices))
    return Mixed([Categorical(n) for n in choices])


def _side_by_side(units: list[Unit]) -> Unit:
    """Returns the units as one layer, of one kind where they are all spins or all real."""
    size = sum(unit.size for unit in units)
    for kind in (Spin, Gaussian):
        if all(type(unit) is kind for unit in units):
            return kind(size)
    return units[0] if len(units) == 1 else Mixed(units)


def _check_exact(space: spaces.Space, codes: tuple[ActionCode, ...]) -> None:
    """Refuses choices whose numbers a float32 beside real ones does not hold."""
    if all(code.continuous == codes[0].continuous for code in codes):
        return
    choices = [code for code in codes if isinstance(code, CategoricalCode)]
    ends = [abs(v) + n for code in choices for v, n in zip(code.least, code.choices, strict=True)]
    if max(ends, default=0) > LARGEST_CHOICE:
        raise ParameterError(
            f"the action space {space}, with choices beyond ±{LARGEST_CHOICE:,}",
            "Count them from a smaller number",
        )


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
