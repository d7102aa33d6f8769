"""Layers of several kinds side by side: the columns of a table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import torch
from torch import Generator, Tensor

from isinglass._support.registry import name_of
from isinglass._support.typing import Bool, Float, Int
from isinglass._support.validation import check_features
from isinglass.errors import DomainError, IntractableError, ParameterError
from isinglass.units.base import Draw, Flags, PerRow, States, Unit

__all__ = ["Mixed"]

MOST_STATES = 2**24


@dataclass(frozen=True)
class Mixed(Unit):
    """Units of several kinds side by side in one layer, such as the columns of a table.

    Given their fields, units are independent of each other whatever their kinds, so that

        A_T(I) = Σ_parts A_T(I_part),   mean and sample part by part

    A mixture of such layers is a latent class model of mixed columns.

    Reference: Hunt & Jorgensen 1999, doi:10.1111/1467-842X.00071 (mixtures of mixed columns).

    Args:
        parts: The kinds and sizes, in the order of their components; a mixed part is taken
            apart, and its parts take its place.

    Raises:
        ParameterError: If there is no part, or one is not a unit.

    Examples:
        >>> from isinglass import Bernoulli, Gaussian, Categorical
        >>> columns = Mixed([Gaussian(1), Bernoulli(1), Categorical(3)])  # age, member, color
        >>> columns.mean(torch.tensor([0.5, 0.0, 0.0, 9.0, 0.0]), temperature=0.0)
        tensor([0.5000, 0.5000, 0.0000, 1.0000, 0.0000])
        >>> columns.variable_ids()  # the last three components are one unit
        tensor([0, 1, 2, 2, 2])
    """

    size: int = field(default=1, repr=False)
    parts: tuple[Unit, ...] = ()  # pyright: ignore[reportIncompatibleMethodOverride]  # a field here

    def __init__(self, parts: Sequence[Unit]) -> None:
        listed = isinstance(parts, list | tuple)
        if not (listed and parts and all(isinstance(part, Unit) for part in parts)):
            raise ParameterError(
                f"parts {parts}",
                "Give at least one part, each a unit such as Bernoulli(3)",
            )
        flat = tuple(inner for part in parts for inner in part.parts)
        object.__setattr__(self, "parts", flat)
        object.__setattr__(self, "size", sum(part.size for part in flat))

    def split(self, values: Tensor) -> tuple[Tensor, ...]:
        """Views of the parts.

        Raises:
            ShapeError: If the last dimension is not the size of all parts.
        """
        if values.shape[-1:] != (self.size,):
            check_features(values, self.size)
        return values.split([part.size for part in self.parts], -1)

    def log_partition(self, field: States, temperature: float = 1.0) -> PerRow:
        """Computes Σ_parts A_T(I_part), the log-partition."""
        return self._total([p.log_partition(x, temperature) for p, x in self._with(field)])

    def log_partition_per_component(self, field: States, temperature: float = 1.0) -> States:
        """Computes A_T(I) of every unit, shared out among its components, part by part."""
        return torch.cat(
            [p.log_partition_per_component(x, temperature) for p, x in self._with(field)], -1
        )

    def log_partition_over(
        self, fields: Float[Tensor, "M d"], allowed: Bool[Tensor, "*batch d"], temperature: float
    ) -> Float[Tensor, "*batch M"]:
        """Computes Σ_parts A_T(I_part) over what is allowed."""
        parts = zip(self._with(fields), self.split(allowed), strict=True)
        return self._total([p.log_partition_over(x, mask, temperature) for (p, x), mask in parts])

    def mean(self, field: States, temperature: float = 1.0) -> States:
        """Returns the means of the parts."""
        return torch.cat([p.mean(x, temperature) for p, x in self._with(field)], -1)

    def sample(
        self,
        field: States,
        temperature: float = 1.0,
        generator: Generator | None = None,
    ) -> States:
        """Draws the parts one after the other; given their fields they are independent."""
        return torch.cat([p.sample(x, temperature, generator) for p, x in self._with(field)], -1)

    def base_measure_energy(self, state: States, temperature: float = 1.0) -> PerRow:
        """Computes Σ_parts U(s_part), the energy of the base measure."""
        return self._total([p.base_measure_energy(x, temperature) for p, x in self._with(state)])

    def argmax_state(self, field: States, current: States) -> States:
        """Returns the states of least energy of the parts."""
        pairs = zip(self._with(field), self.split(current), strict=True)
        return torch.cat([p.argmax_state(x, now) for (p, x), now in pairs], -1)

    def contains(self, state: States) -> Flags:
        """Tells which components are states of their part."""
        return torch.cat([p.contains(x) for p, x in self._with(state)], -1)

    def natural_parameter(self, mean: States, temperature: float = 1.0) -> States:
        """Returns the fields of the parts' means.

        Raises:
            IntractableError: If a part has no closed-form inverse.
        """
        return torch.cat([p.natural_parameter(x, temperature) for p, x in self._with(mean)], -1)

    @property
    def bounded(self) -> bool:
        """Whether the means of any part have edges; ask the parts which."""
        return any(part.bounded for part in self.parts)

    @property
    def support(self) -> tuple[float, float] | None:
        """What all parts have in common, if anything."""
        found = {part.support for part in self.parts}
        return found.pop() if len(found) == 1 else None

    @property
    def has_base_measure_energy(self) -> bool:
        """Whether a part has."""
        return any(part.has_base_measure_energy for part in self.parts)

    @property
    def has_multiplicity(self) -> bool:
        """Whether any part has."""
        return any(part.has_multiplicity for part in self.parts)

    @property
    def is_gaussian(self) -> bool:
        """Whether all parts are."""
        return all(part.is_gaussian for part in self.parts)

    @property
    def components(self) -> int:
        """The number of components that every unit has.

        Raises:
            IntractableError: If units differ in it; see :attr:`widths`.
        """
        found = set(self.widths)
        if len(found) > 1:
            raise IntractableError(
                f"units of {min(found)} to {max(found)} components", "Ask unit.parts, or widths"
            )
        return found.pop()

    @property
    def count(self) -> int:
        """How many units all parts have together."""
        return sum(part.count for part in self.parts)

    @property
    def widths(self) -> tuple[int, ...]:
        """The number of components of every unit, part by part."""
        return tuple(width for part in self.parts for width in part.widths)

    @property
    def pointwise(self) -> bool:
        """Components differ in kind, so that none may be left out."""
        return False

    def with_count(self, count: int) -> Unit:
        """Returns the units themselves if there are ``count``: others would have no kind.

        Raises:
            IntractableError: Unless ``count`` is how many units there are.
        """
        if count == self.count:
            return self
        raise IntractableError(
            f"{count} units of {self}", "Ask its parts, or name units: unit.select([0, 2])"
        )

    def select(self, units: Sequence[int]) -> Unit:
        """Returns these units by number, those of one kind that follow each other as one part.

        Examples:
            >>> from isinglass import Bernoulli, Categorical
            >>> Mixed([Bernoulli(2), Categorical(3)]).select([1, 2]).widths
            (1, 3)
        """
        part_of = [part for part in self.parts for _ in range(part.count)]
        runs = groupby((part_of[unit] for unit in units), key=id)
        together = [list(run) for _, run in runs]
        parts = [run[0].with_count(len(run)) for run in together]
        return parts[0] if len(parts) == 1 else Mixed(parts)

    def sampler(
        self, like: States, temperature: float = 1.0, generator: Generator | None = None
    ) -> Draw:
        """Returns the draws of the parts, side by side."""
        draws = [part.sampler(x, temperature, generator) for part, x in self._with(like)]

        def draw(field: Tensor, current: Tensor) -> Tensor:
            parts = zip(draws, self.split(field), self.split(current), strict=True)
            return torch.cat([one(x, now) for one, x, now in parts], -1)

        return draw

    def variable_ids(self) -> Int[Tensor, " size"]:
        """Numbers the unit that each component belongs to, through all parts."""
        return torch.arange(self.count).repeat_interleave(torch.tensor(self.widths))

    def check_temperature(self, temperature: float) -> None:
        """Refuses a temperature at which any part has no distribution.

        Raises:
            ParameterError: If there is one.
        """
        for part in self.parts:
            part.check_temperature(temperature)

    def state_count(self, temperature: float = 1.0) -> float:
        """Multiplies the numbers of states of the parts."""
        return math.prod(part.state_count(temperature) for part in self.parts)

    def enumerate_states(self, temperature: float = 1.0) -> Float[Tensor, "states size"]:
        """Lists every state of all parts together, the first part changing slowest.

        Raises:
            IntractableError: If a part has infinitely many states, or all together too many.
        """
        lists = [part.enumerate_states(temperature) for part in self.parts]
        count = math.prod(len(states) for states in lists)
        if count > MOST_STATES:
            raise IntractableError(
                f"{count} states",
                f"Enumerate at most {MOST_STATES}, or sample",
            )
        joint = torch.ones(1, 0, dtype=torch.float64)
        for states in lists:
            rows, new = joint.repeat_interleave(len(states), 0), states.repeat(len(joint), 1)
            joint = torch.cat([rows, new], -1)
        return joint

    def check_legal(self, state: Tensor, observed: Bool[Tensor, "..."] | None = None) -> None:
        """Refuses finite values outside their part's states, and says in which columns.

        Raises:
            DomainError: If there is one, where ``observed`` is not false.
        """
        masks = [None] * len(self.parts) if observed is None else self.split(observed)
        start = 0
        for (part, values), mask in zip(self._with(state), masks, strict=True):
            try:
                part.check_legal(values, mask)
            except DomainError as error:
                columns = f"columns {start} to {start + part.size - 1}"
                raise DomainError(f"{columns}: {error.found}", error.remedy) from error
            start += part.size

    def config(self) -> dict[str, Any]:
        """Returns the configurations of the parts."""
        return {"kind": name_of(type(self)), "parts": [part.config() for part in self.parts]}

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> Mixed:
        """Builds the parts first, then the layer of them."""
        return cls([Unit.from_config(part) for part in fields["parts"]])

    def _with(self, values: Tensor) -> Iterator[tuple[Unit, Tensor]]:
        """Each part with its values."""
        return zip(self.parts, self.split(values), strict=True)

    def _total(self, numbers: list[Tensor]) -> Tensor:
        return torch.stack(numbers).sum(0)
