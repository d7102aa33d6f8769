"""The base of all kinds of unit."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Generator, Tensor

from isinglass._support.random import source
from isinglass._support.registry import Configurable
from isinglass._support.typing import Bool, Float, Int
from isinglass._support.validation import (
    check_count,
    check_features,
    check_finite,
    check_kind,
    check_temperature,
    check_tensor,
    values_visible,
)
from isinglass.errors import DomainError, IntractableError, ShapeError

__all__ = [
    "EDGE",
    "Draw",
    "Flags",
    "PerRow",
    "States",
    "Unit",
    "check_unit",
    "gumbel_like",
    "uniform_like",
]

#: Fields or states of a layer.
States: TypeAlias = Float[Tensor, "*batch size"]
#: One yes or no for every component.
Flags: TypeAlias = Bool[Tensor, "*batch size"]
#: One number for every row of the batch.
PerRow: TypeAlias = Float[Tensor, "*batch"]
#: A draw whose random numbers are given: from the field and the current state to the new state.
Draw: TypeAlias = Callable[[Tensor, Tensor], Tensor]

#: How many times T the field of a mean at its edge is: within 1e-13 of it, and finite.
EDGE = 30.0


def uniform_like(field: Tensor, generator: Generator | None) -> Tensor:
    """Draws uniform numbers in [0, 1), shaped, typed and placed like a field."""
    return torch.rand(field.shape, dtype=field.dtype, device=field.device, **source(generator))


def gumbel_like(field: Tensor, generator: Generator | None) -> Tensor:
    """Draws Gumbel noise: the arg-max of it and log weights is a draw by those weights."""
    return -torch.log(-torch.log(uniform_like(field, generator)))


@dataclass(frozen=True)
class Unit(Configurable, ABC):
    r"""A layer of exponential-family units of one kind, p(s | I) ∝ exp((I·s − U(s))/T).

    A kind gives ``log_partition``, ``mean`` and ``sample``; ``enumerate_states`` if its states are
    finitely many, ``components`` if a unit's state is several numbers. Everything else is derived
    or has a default. Instances are immutable and hold no tensors, so they cost nothing to share.

    Reference: Wainwright & Jordan 2008, doi:10.1561/2200000001 (exponential families).

    Args:
        size: Number of components of the layer's state.

    Raises:
        ParameterError: If ``size`` is not a whole number of at least one.

    Examples:
        >>> from dataclasses import dataclass
        >>> import isinglass as ig
        >>> @dataclass(frozen=True)
        ... class Ternary(ig.Unit):
        ...     "Three states, s ∈ {−1, 0, 1}: A_T(I) = T log(1 + 2 cosh(I/T))."
        ...     def _three(self, field):
        ...         return torch.stack([-field, 0 * field, field], -1)
        ...     def log_partition(self, field, temperature=1.0):
        ...         if temperature == 0:
        ...             return field.abs().sum(-1)
        ...         each = torch.logsumexp(self._three(field) / temperature, -1)
        ...         return temperature * each.sum(-1)
        ...     def mean(self, field, temperature=1.0):
        ...         if temperature == 0:
        ...             return field.sign()
        ...         probability = torch.softmax(self._three(field) / temperature, -1)
        ...         return probability[..., 2] - probability[..., 0]
        ...     def sample(self, field, temperature=1.0, generator=None):
        ...         return self.sampler(field, temperature, generator)(field, self.mean(field, 0.0))
        ...     def enumerate_states(self, temperature=1.0):
        ...         one = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)
        ...         return torch.cartesian_prod(*[one] * self.size).reshape(-1, self.size)
        >>> machine = ig.BoltzmannMachine(Ternary(4))
        >>> machine.exact_log_partition().exp().round().item()  # 3⁴ states, weakly coupled
        81.0
    """

    size: int = 1

    def __post_init__(self) -> None:
        check_count("size", self.size)

    @abstractmethod
    def log_partition(self, field: States, temperature: float = 1.0) -> PerRow:
        """Computes A_T(I), summed over the layer."""

    @abstractmethod
    def mean(self, field: States, temperature: float = 1.0) -> States:
        """Computes ∂A_T/∂I, the mean state; the exact limit at ``temperature=0``."""

    @abstractmethod
    def sample(
        self,
        field: States,
        temperature: float = 1.0,
        generator: Generator | None = None,
    ) -> States:
        """Draws a state from exp((I·s − U(s) − A_T(I))/T)."""

    def log_partition_per_component(self, field: States, temperature: float = 1.0) -> States:
        """Computes A_T(I) of every unit by itself, shared out evenly among its components.

        Summed over whole units it is their log-partition: over all of them :meth:`log_partition`,
        over some of them that of the others being clamped.
        """
        units = field.unflatten(-1, (-1, self.components))
        each = self.with_count(1).log_partition(units, temperature).unsqueeze(-1)
        return (each / self.components).expand(units.shape).flatten(-2)

    def log_partition_over(
        self, fields: Float[Tensor, "M d"], allowed: Bool[Tensor, "*batch d"], temperature: float
    ) -> Float[Tensor, "*batch M"]:
        """Computes A_T(I) of each field over the allowed states alone, by one matrix product.

        A unit of which nothing is allowed counts zero, as one that is clamped does.
        """
        return allowed.to(fields) @ self.log_partition_per_component(fields, temperature).mT

    def base_measure_energy(self, state: States, temperature: float = 1.0) -> PerRow:
        """Computes U(s), the energy without any field; zero unless the kind says otherwise."""
        return state.new_zeros(state.shape[:-1])

    @property
    def has_base_measure_energy(self) -> bool:
        """Whether U(s) may be other than zero: to be asked where making zeros would cost."""
        return type(self).base_measure_energy is not Unit.base_measure_energy

    def argmax_state(self, field: States, current: States) -> States:
        """Returns the state of least energy in this field; where two tie, the current one stays.

        Always a state of the kind; a current one that is not is left even at a tie.
        """
        return self.mean(field, 0.0)

    @property
    def bounded(self) -> bool:
        """Whether means have edges, which no finite field reaches."""
        return False

    @property
    def support(self) -> tuple[float, float] | None:
        """The ends of the interval that real states fill; None where states are discrete."""
        return None

    @property
    def has_multiplicity(self) -> bool:
        """Whether U(s) depends on the temperature, so that ``argmax_state`` is for T = 0 alone."""
        return False

    def check_temperature(self, temperature: float) -> None:
        """Refuses a temperature at which the kind has no distribution.

        Raises:
            ParameterError: If it is negative, or this kind has no distribution at it.
        """
        check_temperature(temperature)

    def contains(self, state: States) -> Flags:
        """Tells which components are states this kind can take (given that they are finite)."""
        return torch.ones_like(state, dtype=torch.bool)

    def natural_parameter(self, mean: States, temperature: float = 1.0) -> States:
        """Returns the field whose mean state is ``mean``: the inverse of :meth:`mean`.

        A mean at an edge, or past it by rounding, gives a finite field, about 30 T.

        Raises:
            IntractableError: If the kind has no closed-form inverse.
        """
        raise IntractableError(
            "the mean of this kind has no closed-form inverse",
            "Use Spin, Bernoulli, Gaussian or Categorical units, or fit by gradient",
        )

    def state_count(self, temperature: float = 1.0) -> float:
        """Counts the states of the layer; infinite where they cannot be listed."""
        if self.support is not None:
            return math.inf
        try:
            states = self.with_count(1).enumerate_states(temperature)
        except IntractableError:
            return math.inf
        return len(states) ** self.count

    def enumerate_states(self, temperature: float = 1.0) -> Float[Tensor, "states size"]:
        """Lists every state of the layer, one a row, in float64; only draws of fixed β use T.

        Raises:
            IntractableError: If the kind has infinitely many states.
        """
        raise IntractableError(
            "continuous units have infinitely many states",
            "Enumerate discrete units only, or integrate by quadrature",
        )

    @property
    def parts(self) -> tuple[Unit, ...]:
        """The layers of one kind each that lie side by side in this one: itself, unless mixed."""
        return (self,)

    @property
    def components(self) -> int:
        """How many components the state of one unit has, side by side: N of a one-hot unit."""
        return 1

    @property
    def count(self) -> int:
        """How many units there are."""
        return self.size // self.components

    @property
    def widths(self) -> tuple[int, ...]:
        """The number of components of every unit, in their order."""
        return (self.components,) * self.count

    @property
    def pointwise(self) -> bool:
        """Whether every component is a unit by itself, all alike, so that any may be left out."""
        return self.components == 1

    @property
    def two_states(self) -> tuple[float, float] | None:
        """The lower and the upper state of units that have these two, and U = 0; else None."""
        return None

    @property
    def is_gaussian(self) -> bool:
        """Whether the states are normal, s ~ N(I, T), so that sums over them are closed."""
        return False

    def with_count(self, count: int) -> Unit:
        """Returns a layer of ``count`` units of this kind.

        Raises:
            ParameterError: If ``count`` is not a whole number of at least one.

        Examples:
            >>> import isinglass as ig
            >>> ig.Spin(3).with_count(5), ig.Categorical(6, groups=2).with_count(1).size
            (Spin(size=5), 3)
        """
        return replace(self, size=check_count("count", count) * self.components)

    def select(self, units: Sequence[int]) -> Unit:
        """Returns the layer of these units alone, by number, in this order."""
        return self.with_count(len(units))

    def variable_ids(self) -> Int[Tensor, " size"]:
        """Numbers the unit that each component belongs to, from 0; a one-hot unit has several."""
        return torch.arange(self.size) // self.components

    def sampler(
        self, like: States, temperature: float = 1.0, generator: Generator | None = None
    ) -> Draw:
        """Draws the random numbers of a sample now; what it returns maps a field to the sample.

        So fields can be corrected and the same draw made again, which is what drawing units one
        after another by rounds needs. The arg-max of noisy log weights, log w_k + g_k with Gumbel
        noise g, over the listed states of every unit; ``argmax_state`` at T = 0.

        Reference: Maddison, Tarlow & Minka 2014, "A* sampling" (the Gumbel-max trick).

        Args:
            like: A field: its shape, dtype and device are those of what will be given.
            temperature: T.
            generator: Source of randomness; None is torch's global one.

        Raises:
            IntractableError: If the kind has infinitely many states.

        Examples:
            >>> import isinglass as ig
            >>> draw = ig.Spin(2).sampler(torch.zeros(2), 1.0, torch.Generator().manual_seed(0))
            >>> now = torch.ones(2)
            >>> torch.equal(draw(torch.zeros(2), now), draw(torch.zeros(2), now))
            True
        """
        if temperature == 0:
            return self.argmax_state
        one = self.with_count(1)
        states = one.enumerate_states(temperature).to(like)
        own = one.base_measure_energy(states, temperature)
        shape = (*like.shape[:-1], self.count, len(states))
        noise = gumbel_like(like.new_empty(()).expand(shape), generator)

        def draw(field: Tensor, current: Tensor) -> Tensor:
            del current  # noisy log weights do not tie
            agreement = field.unflatten(-1, (self.count, -1)) @ states.mT
            return states[((agreement - own) / temperature + noise).argmax(-1)].flatten(-2)

        return draw

    def check(self, state: Tensor, observed: Bool[Tensor, "..."] | None = None) -> None:
        """Refuses a state of the wrong size, with NaN or infinity, or outside this kind's states.

        Components where ``observed`` is given and false are not looked at.

        Raises:
            ShapeError: If the last dimension is not ``size``.
            DomainError: If a value is not finite or not a state of this kind.
        """
        check_features(state, self.size)
        seen = state if observed is None else torch.where(observed, state, 0.0)
        check_finite("the state", seen)
        self.check_legal(state, observed)

    def check_mask(self, observed: Tensor) -> None:
        """Refuses a mask of observed components that is not boolean or cuts through a unit.

        Raises:
            ShapeError: If it is, or if its last dimension is not ``size``.
            DomainError: If it is no tensor.
        """
        check_tensor("an observed mask", observed)
        if observed.dtype != torch.bool or observed.shape[-1:] != (self.size,):
            raise ShapeError(
                f"an observed mask of shape {tuple(observed.shape)} and dtype {observed.dtype}",
                f"Give a boolean mask of {self.size} features, True where observed",
            )
        if self.pointwise:
            return
        variable_ids = self.variable_ids().to(observed.device)
        if bool((observed.diff(dim=-1) & (variable_ids.diff() == 0)).any()):
            raise ShapeError(
                "a mask that cuts through a one-hot unit", "Observe all of it, or none"
            )

    def check_legal(self, state: Tensor, observed: Bool[Tensor, "..."] | None = None) -> None:
        """Refuses finite values outside this kind's states.

        Raises:
            DomainError: If there is one, where ``observed`` is not false.
        """
        if not values_visible(state):
            return
        legal = self.contains(state)
        if observed is not None:
            legal = legal | ~observed
        if not bool(legal.all()):
            raise DomainError(
                f"{int((~legal).sum())} of {state.numel()} values are not states of {self}, "
                f"e.g. {state[~legal][0].item():g}",
                self._remedy(),
            )

    def _remedy(self) -> str:
        return f"Give states that {type(self).__name__} units can take"


def check_unit(unit: object) -> None:
    """Refuses what is no layer of units, such as a class of them or a size.

    Raises:
        ParameterError: If it is none.
    """
    check_kind("unit", unit, Unit, "a layer of units, such as Bernoulli(3)")
