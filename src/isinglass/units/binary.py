"""Units with two states: spins and bits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional

from isinglass._support.typing import Float
from isinglass.errors import IntractableError
from isinglass.units.base import EDGE, Draw, Flags, PerRow, States, Unit, uniform_like

__all__ = ["Bernoulli", "Spin"]


@dataclass(frozen=True)
class _TwoState(Unit):
    """Units with two states, ``low`` and ``high``, and no energy of their own."""

    low = 0.0
    high = 1.0

    def log_partition(self, field: States, temperature: float = 1.0) -> PerRow:
        """T Σ_i log(exp(low·I_i/T) + exp(high·I_i/T)); max(low·I, high·I) at T = 0."""
        if temperature == 0:
            return torch.maximum(self.low * field, self.high * field).sum(-1)
        wide = field.float() if field.element_size() < 4 else field  # I/T may pass 65,504
        odds = (self.high - self.low) / temperature * wide
        # Above the threshold softplus is its argument: at 50, exactly so in float64.
        total = temperature * functional.softplus(odds, threshold=50.0) + self.low * wide
        return total.sum(-1).to(field.dtype)

    def mean(self, field: States, temperature: float = 1.0) -> States:
        """Low + (high − low) σ((high − low) I/T); the middle at I = 0."""
        probability, span = self._probability(field, temperature), self.high - self.low
        return probability if (self.low, span) == (0.0, 1.0) else self.low + span * probability

    def sample(
        self,
        field: States,
        temperature: float = 1.0,
        generator: Generator | None = None,
    ) -> States:
        """High with probability σ((high − low) I/T), the Boltzmann rule; else low."""
        drawn = uniform_like(field, generator)
        drawn.lt_(self._probability(field, temperature))  # one where high, in place
        span = self.high - self.low
        return drawn if (self.low, span) == (0.0, 1.0) else drawn.mul_(span).add_(self.low)

    def argmax_state(self, field: States, current: States) -> States:
        """High where the field is above zero, low where below; at zero a legal state stays."""
        best = torch.where(field < 0, self.low, self.high).to(field.dtype)
        return torch.where((field == 0) & self.contains(current), current, best)

    @property
    def bounded(self) -> bool:
        """Means lie between Returns both states, ``low`` and ``high``."""
        return True

    @property
    def two_states(self) -> tuple[float, float]:
        """``low`` and ``high``."""
        return (self.low, self.high)

    def sampler(
        self, like: States, temperature: float = 1.0, generator: Generator | None = None
    ) -> Draw:
        """High where I plus T/(high − low) times logistic noise is above zero."""
        if temperature == 0:
            return self.argmax_state
        noise = torch.logit(uniform_like(like, generator)) * (temperature / (self.high - self.low))
        return lambda field, current: self.argmax_state(field + noise, current)

    def contains(self, state: States) -> Flags:
        """Whether each value is ``low`` or ``high``."""
        return (state == self.low) | (state == self.high)

    def natural_parameter(self, mean: States, temperature: float = 1.0) -> States:
        """T/(high − low) · logit of the probability of ``high``, at most 30 either way."""
        span = self.high - self.low
        odds = torch.logit(((mean - self.low) / span).clamp(0.0, 1.0))
        return temperature / span * odds.clamp(-EDGE, EDGE)

    def enumerate_states(self, temperature: float = 1.0) -> Float[Tensor, "states size"]:
        """Lists all 2^size states, one a row."""
        if self.size > 24:
            raise IntractableError(
                f"2^{self.size} states",
                "Enumerate at most 24 units, or sample",
            )
        return torch.cartesian_prod(
            *[torch.tensor([self.low, self.high], dtype=torch.float64)] * self.size
        ).reshape(-1, self.size)

    def _probability(self, field: Tensor, temperature: float) -> Tensor:
        if temperature == 0:
            return torch.heaviside(field, field.new_tensor(0.5))
        span = self.high - self.low
        return torch.sigmoid(field if span == temperature else span * field / temperature)

    def _remedy(self) -> str:
        middle = (self.low + self.high) / 2
        return (
            f"{type(self).__name__} units take {self.low:g} or {self.high:g}: threshold first, "
            f"torch.where(x > {middle:g}, {self.high:g}, {self.low:g}), or use Gaussian units"
        )


@dataclass(frozen=True)
class Spin(_TwoState):
    """Spins, s = ±1: A_T(I) = T log 2cosh(I/T), mean tanh(I/T).

    Reference: Hopfield 1982, doi:10.1073/pnas.79.8.2554.

    Args:
        size: Number of spins.

    Raises:
        ParameterError: If ``size`` is not a whole number of at least one.

    Examples:
        >>> field = torch.tensor([0.5, -2.0])
        >>> Spin(2).mean(field, 0.0)
        tensor([ 1., -1.])
        >>> bool((Spin(2).mean(field, 1.0) - field.tanh()).abs().max() < 1e-6)
        True
    """

    low = -1.0
    high = 1.0


@dataclass(frozen=True)
class Bernoulli(_TwoState):
    """Bits, s ∈ {0, 1}: A_T(I) = T softplus(I/T), mean σ(I/T), the Boltzmann rule.

    Reference: Ackley, Hinton & Sejnowski 1985, doi:10.1207/s15516709cog0901_7.

    Args:
        size: Number of bits.

    Raises:
        ParameterError: If ``size`` is not a whole number of at least one.

    Examples:
        >>> Bernoulli(3).mean(torch.tensor([-4.0, 0.0, 4.0]), 0.0)
        tensor([0.0000, 0.5000, 1.0000])
    """

    low = 0.0
    high = 1.0
