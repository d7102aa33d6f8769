"""Units coupled pair by pair, in fields given row by row: a driven Boltzmann machine."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Bool, Float
from isinglass._support.validation import check_positive
from isinglass.distributions.annealed_conditional import AnnealedConditional, Annealing
from isinglass.errors import DomainError, ShapeError
from isinglass.units import Unit

__all__ = ["ConditionalBoltzmannMachine"]


@dataclass(frozen=True)
class ConditionalBoltzmannMachine(AnnealedConditional):
    r"""The distribution of units v that are coupled pair by pair.

        S(v)  = b·v + ½ vᵀJv − U(v) + o          score, −E(v), Q(s, a)
        V     = T log Σ_v exp(S(v)/T)            value, estimated

    Attraction and repulsion alike: what at most one unit may do is a negative coupling between
    all that could. A sweep draws one unit after the other given the others, for all rows and
    chains at once: where every pair is coupled no two may be drawn together.

    Reference: Ackley, Hinton & Sejnowski 1985, "A learning algorithm for Boltzmann machines",
    doi:10.1207/s15516709cog0901_7; Neal 2001, doi:10.1023/A:1008923215028 (the estimate of V).

    Attributes:
        unit: The kind of the units v.
        bias: b, ``(*batch, d)``, in units of the energy.
        coupling: J, ``(d, d)``, symmetric and zero within each unit.
        temperature: T > 0.
        offset: o, ``(*batch)``, or one number.
        annealing: How it is sampled.
        observed: Which units are clamped, ``(*batch, d)``; None if none is.
        clamped: Their values, in place; zeros elsewhere.

    Examples:
        >>> from isinglass import Spin
        >>> distribution = ConditionalBoltzmannMachine(Spin(2), torch.tensor([0.1, 0.0]), torch.tensor([[0.0, -1], [-1, 0]]))
        >>> distribution.mode()
        tensor([ 1., -1.])
    """

    unit: Unit
    bias: Float[Tensor, "*batch d"]
    coupling: Float[Tensor, "d d"]
    temperature: float = 1.0
    offset: Float[Tensor, "*batch"] | float = 0.0
    annealing: Annealing = field(default_factory=Annealing)
    observed: Bool[Tensor, "*batch d"] | None = None
    clamped: Float[Tensor, "*batch d"] | None = None

    def __post_init__(self) -> None:
        check_positive("temperature", self.temperature)
        size = self.unit.size
        if self.coupling.shape != (size, size) or self.bias.shape[-1] != size:
            raise ShapeError(
                f"J {tuple(self.coupling.shape)}, b {tuple(self.bias.shape)} for {self.unit}",
                "Give J of shape (d, d) and b with d columns",
            )
        if not torch.equal(self.coupling, self.coupling.mT) or bool(self.coupling.diag().any()):
            raise DomainError(
                "J that is not symmetric or has a diagonal",
                "Give (J + Jᵀ)/2 with zeros where a unit would meet itself",
            )

    def score(self, state: Float[Tensor, "*states d"]) -> Float[Tensor, "*states"]:
        """S(v) of a full state of all units, differentiable."""
        return self._own(state) + ((state @ self.coupling) * state).sum(-1) / 2

    def _gained(self, states: Tensor, before: float, after: float) -> Tensor:
        return (after - before) * ((states @ self.coupling) * states).sum(-1) / 2

    def _swept(self, states: Tensor, coupling: float, generator: Generator | None) -> Tensor:
        return self._in_turn(states, coupling, self.temperature, generator)

    def _retried(self, states: Tensor, sharpness: float, generator: Generator) -> Tensor:
        return self._in_turn(states, 1.0, 1 / sharpness, generator)

    def _climbed(self, states: Tensor) -> Tensor:
        """Settles one unit after the other."""
        return self._in_turn(states, 1.0, 0.0)

    def _in_turn(
        self,
        states: Tensor,
        coupling: float,
        temperature: float,
        generator: Generator | None = None,
    ) -> Tensor:
        """Every unit in turn drawn given the others; settled at T = 0."""
        states, scaled = states.clone(), coupling * self.coupling
        pull = self.bias + states @ scaled
        for unit, place in self._single_units():
            old, given = states[..., place].clone(), pull[..., place]
            new = (
                unit.sample(given, temperature, generator)
                if temperature > 0
                else unit.argmax_state(given, old)
            )
            if self.observed is not None:
                new = torch.where(self.observed[..., place], old, new)
            pull = pull + (new - old) @ scaled[place]
            states[..., place] = new
        return states
