"""The columns of a transition: state, action, reward, next state, whether the episode ended."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isinglass._support.typing import Bool, Float, Int
from isinglass._support.validation import check_kind
from isinglass.errors import DomainError, ParameterError, ShapeError
from isinglass.units import Bernoulli, Categorical, Gaussian, Mixed, Spin, Unit

__all__ = ["NAMES", "REAL", "WorldColumns", "digits", "number"]

NAMES = ("state", "action", "reward", "next_state", "done")
LARGEST = 1e100  # of real numbers, whose squares are summed
REAL = 0  # of the choices of a real number, which has none


@dataclass(frozen=True)
class WorldColumns:
    """What a transition (s, a, r, s′, done) is made of, as units of one joint energy.

    Values are given and returned as plain numbers: a choice among n as 0 … n − 1, a bit as 0 or 1,
    a spin as −1 or 1, a real number as it is.

    Args:
        state: The units of a state: :class:`Categorical` with one choice a group,
            :class:`Bernoulli`, :class:`Spin`, :class:`Gaussian`, or :class:`Mixed` of these.
        action: The units of an action, likewise.

    Raises:
        ParameterError: If a unit is of another kind.

    Examples:
        >>> columns = WorldColumns(Categorical(64), Categorical(4))
        >>> columns.states, columns.actions, columns.width("next_state")
        (64, 4, 1)
        >>> WorldColumns(Gaussian(3), Gaussian(1)).finite
        False
    """

    state: Unit
    action: Unit

    def __post_init__(self) -> None:
        check_kind("state", self.state, Unit, "units, such as Categorical(64)")
        check_kind("action", self.action, Unit, "units, such as Categorical(4)")
        self.choices("state")
        self.choices("action")

    def choices(self, name: str) -> tuple[int, ...]:
        """Returns the number of choices of each number of a column; 0 is a real one.

        Raises:
            ParameterError: If there is no such column.
        """
        if name not in NAMES:
            raise ParameterError(f"the column {name!r}", f"There are {', '.join(NAMES)}")
        if name == "reward":
            return (REAL,)
        if name == "done":
            return (2,)
        unit = self.action if name == "action" else self.state
        return tuple(n for part in _parts(unit) for n in _choices(part))

    def width(self, name: str) -> int:
        """Returns how many numbers a column has."""
        return len(self.choices(name))

    def place(self, name: str) -> slice:
        """Returns which numbers of a transition are those of a column."""
        before = NAMES[: NAMES.index(name)]
        start = sum(self.width(earlier) for earlier in before)
        return slice(start, start + self.width(name))

    @property
    def finite(self) -> bool:
        """Whether states and actions are choices alone, so that they can be listed."""
        return REAL not in self.choices("state") + self.choices("action")

    @property
    def states(self) -> int:
        """How many states there are.

        Raises:
            ParameterError: If they are real.
        """
        return self._count("state")

    @property
    def actions(self) -> int:
        """How many actions there are.

        Raises:
            ParameterError: If they are real.
        """
        return self._count("action")

    def _count(self, name: str) -> int:
        count = math.prod(self.choices(name))
        if count == REAL:
            raise ParameterError(f"a real {name}", "Real ones cannot be listed: predict them")
        return count

    @property
    def unit(self) -> Mixed:
        """The units of a whole transition, one one-hot group or real number after another."""
        sizes = [n for name in NAMES for n in self.choices(name)]
        return Mixed([Categorical(max(n, 2)) if n else Gaussian(1) for n in sizes])

    def encode(self, name: str, values: object) -> Float[Tensor, "N k"]:
        """Checks values of a column and returns them as numbers, one row a transition.

        Raises:
            ShapeError: If there are more or fewer numbers than the column has.
            DomainError: If one is NaN or infinite, or is none of the choices.
        """
        choices = self.choices(name)
        if isinstance(values, np.ma.MaskedArray):
            raise DomainError(f"a masked array of {name}", "Leave such transitions out")
        try:
            array = values if isinstance(values, Tensor) else torch.as_tensor(np.asarray(values))
            plain = array.detach().cpu().to_dense()
            given = torch.full_like(plain.real, torch.nan) if plain.is_complex() else plain
            given = given.to(torch.float64)
        except (NotImplementedError, TypeError, ValueError, RuntimeError) as error:
            raise DomainError(
                f"the {name} {type(values).__name__}, which is no array of numbers",
                f"Give {len(choices)} numbers a transition",
            ) from error
        if plain.dtype == torch.bool and any(count != 2 for count in choices):
            raise DomainError(f"bools as {name}", "Give numbers: a mask has its nonzero()")
        if len(choices) == 1 and (given.ndim < 2 or given.shape[-1] != 1):
            given = given.unsqueeze(-1)
        if given.ndim == 1:
            given = given.unsqueeze(0)
        if given.ndim != 2 or given.shape[1] != len(choices):
            raise ShapeError(
                f"values of {name} of shape {tuple(array.shape)}",
                f"Give {len(choices)} numbers a transition, one row each",
            )
        spins = self._spins(name)
        if bool(spins.any()):
            given = torch.where(spins, (given + 1) / 2, given)
        self._check(name, given)
        return given

    def decode(self, name: str, values: Float[Tensor, "N k"]) -> Tensor:
        """Returns values as they were given: whole numbers where all are choices."""
        if REAL not in self.choices(name):
            values = values.long()
        values = torch.where(self._spins(name), 2 * values - 1, values)
        return values[:, 0] if self.width(name) == 1 else values

    def _spins(self, name: str) -> Bool[Tensor, " k"]:
        unit = {"state": self.state, "next_state": self.state, "action": self.action}.get(name)
        parts = _parts(unit) if unit is not None else ()
        flags = [isinstance(part, Spin) for part in parts for _ in _choices(part)]
        return torch.tensor(flags or [False])

    def _check(self, name: str, values: Float[Tensor, "N k"]) -> None:
        fine = values.abs() <= LARGEST
        if not bool(fine.all()):
            bad = int((~fine).sum())
            raise DomainError(
                f"{bad} of {values.numel()} values of {name} are NaN or infinite, or beyond "
                f"{LARGEST:.0e}",
                "Leave such transitions out, or fill them in",
            )
        for column, count in zip(values.unbind(-1), self.choices(name), strict=True):
            wrong = (column != column.round()) | (column < 0) | (column >= count)
            if count != REAL and bool(wrong.any()):
                raise DomainError(
                    f"the {name} {column[wrong][0]:g} where there are {count} choices",
                    f"Choices are numbered from 0 to {count - 1}",
                )

    def index(self, name: str, values: Float[Tensor, "N k"]) -> Int[Tensor, " N"]:
        """Returns each state or action as one number, the last choice changing fastest."""
        return number(values.long(), self.choices(name))

    def values(self, name: str, index: Int[Tensor, " N"]) -> Float[Tensor, "N k"]:
        """Returns the choices of states or actions given by one number each."""
        return digits(index, self.choices(name)).to(torch.float64)

    def one_hot(
        self, rows: Float[Tensor, "N w"], scales: Mapping[int, float]
    ) -> Float[Tensor, "N d"]:
        """Returns transitions as states of :attr:`unit`, real numbers in units of their scale."""
        parts = []
        counts = [n for name in NAMES for n in self.choices(name)]
        for place, (column, count) in enumerate(zip(rows.unbind(-1), counts, strict=True)):
            if count:
                chosen = column.long().clamp(0, count - 1)
                parts.append(torch.nn.functional.one_hot(chosen, max(count, 2)).to(rows.dtype))
            else:
                parts.append((column / scales[place]).unsqueeze(-1))
        return torch.cat(parts, -1)


def number(values: Int[Tensor, "N k"], layout: tuple[int, ...]) -> Int[Tensor, " N"]:
    """Returns digits as one number each, the last of them changing fastest.

    Examples:
        >>> number(torch.tensor([[1, 2]]), (8, 8))
        tensor([10])
    """
    index = values.new_zeros(len(values))
    for column, count in zip(values.unbind(-1), layout, strict=True):
        index = index * count + column
    return index


def digits(index: Int[Tensor, " N"], layout: tuple[int, ...]) -> Int[Tensor, "N k"]:
    """Returns the digits of numbers in a layout.

    Examples:
        >>> digits(torch.tensor([10]), (8, 8))
        tensor([[1, 2]])
    """
    found = []
    for count in reversed(layout):
        found.append(index % count)
        index = index // count
    return torch.stack(found[::-1], -1)


def _parts(unit: Unit) -> tuple[Unit, ...]:
    return tuple(unit.parts) if isinstance(unit, Mixed) else (unit,)


def _choices(part: Unit) -> tuple[int, ...]:
    """The number of choices of each number that a unit stands for."""
    if isinstance(part, Gaussian):
        return (REAL,) * part.size
    if isinstance(part, Bernoulli | Spin):
        return (2,) * part.size
    if isinstance(part, Categorical) and part.draws == 1:
        return (part.size // part.groups,) * part.groups
    raise ParameterError(
        f"{part} in a column", "Columns are Categorical, Bernoulli, Spin, Gaussian, or Mixed"
    )
