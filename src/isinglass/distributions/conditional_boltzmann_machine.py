"""Units coupled pair by pair, in fields given row by row: a conditional Boltzmann machine."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Float
from isinglass._support.validation import is_symmetric
from isinglass.distributions.annealed_conditional import AnnealedConditional
from isinglass.errors import DomainError, ShapeError
from isinglass.units.base import uniform_like

__all__ = ["ConditionalBoltzmannMachine"]

COLD = 1 / 30  # of T, where the search for the best state ends


@dataclass(frozen=True)
class ConditionalBoltzmannMachine(AnnealedConditional):
    r"""A Boltzmann machine of units v, coupled pair by pair, whose fields b come row by row.

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
        checked: Whether J is known to be so, as where it was made by symmetrizing: not looked at
            again then, at every pass of a network.
        temperature: T > 0; ``offset`` o, ``annealing``, ``observed``, ``clamped`` and ``forbidden``
            as of :class:`AnnealedConditional`.

    Examples:
        >>> from isinglass import Spin
        >>> coupling = torch.tensor([[0.0, -1], [-1, 0]])
        >>> distribution = ConditionalBoltzmannMachine(Spin(2), torch.tensor([0.1, 0.0]), coupling)
        >>> distribution.mode()
        tensor([ 1., -1.])
    """

    coupling: Float[Tensor, "d d"]
    _: KW_ONLY
    checked: bool = field(default=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        size = self.unit.size
        if self.coupling.shape != (size, size) or self.bias.shape[-1] != size:
            raise ShapeError(
                f"J {tuple(self.coupling.shape)}, b {tuple(self.bias.shape)} for {self.unit}",
                "Give J of shape (d, d) and b with d columns",
            )
        if self.checked:
            return
        ids = self.unit.variable_ids().to(self.coupling.device)
        within = self.coupling * (ids[:, None] == ids)
        if not is_symmetric(self.coupling) or bool(within.any()):
            raise DomainError(
                "J that is not symmetric or has a diagonal",
                "Give (J + Jᵀ)/2 with zeros where a unit would meet itself",
            )
        object.__setattr__(self, "checked", True)  # what is replaced later leaves J as it is

    def score(self, state: Float[Tensor, "*states d"]) -> Float[Tensor, "*states"]:
        """Returns S(v) = b·v + ½ vᵀJv − U(v) + o of full states, differentiable."""
        return self._mask_scores(self._unit_terms(state) + self._pair_terms(state), state)

    def _pair_terms(self, states: Tensor) -> Tensor:
        """Computes ½ vᵀJv, the terms of pairs."""
        return ((states @ self.coupling) * states).sum(-1) / 2

    def _score_increment(self, states: Tensor, before: float, after: float) -> Tensor:
        return (after - before) * self._pair_terms(states)

    def _sweep(self, states: Tensor, coupling: float, generator: Generator | None) -> Tensor:
        return self._update_in_turn(states, coupling, self.temperature, generator)

    def _resample_each(self, states: Tensor, sharpness: float, generator: Generator) -> Tensor:
        return self._update_in_turn(states, 1.0, 1 / sharpness, generator)

    def _cool(self, states: Tensor, sweeps: int, generator: Generator) -> Tensor:
        """Sweeps on while T falls to a thirtieth, by the same factor each time."""
        for sweep in range(1, sweeps + 1):
            cooler = self.temperature * COLD ** (sweep / sweeps)
            states = self._resample_each(states, 1 / cooler, generator)
        return states

    def _climb(self, states: Tensor) -> Tensor:
        """Settles one unit after the other."""
        return self._update_in_turn(states, 1.0, 0.0)

    def _update_in_turn(
        self,
        states: Tensor,
        coupling: float,
        temperature: float,
        generator: Generator | None = None,
    ) -> Tensor:
        """Draws every unit in turn given the others; settles it at T = 0."""
        if self.unit.two_states is not None:
            return self._update_bits_in_turn(states, coupling, temperature, generator)
        states, scaled = states.clone(), coupling * self.coupling
        # What is forbidden keeps its −∞: finite pulls are added to it.
        pull = self._mask_fields(self.bias) + states @ scaled
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

    @torch.no_grad()
    def _update_bits_in_turn(
        self, states: Tensor, coupling: float, temperature: float, generator: Generator | None
    ) -> Tensor:
        """Does the same for units of two states, in three operations a unit.

        The noise of a whole sweep is drawn at once, as what each pull has to be above, and units
        lie row by row, so that every one of them is a piece of memory.
        """
        low, high = self.unit.two_states or (0.0, 1.0)
        span, size = high - low, self.unit.size
        fields = self._mask_fields(self.bias) + coupling * (states @ self.coupling)
        pull = fields.expand(states.shape).reshape(-1, size).mT.contiguous()
        before = ((states - low) / span).reshape(-1, size).mT.contiguous()
        needed = self._thresholds(states, temperature, generator).reshape(-1, size).mT.contiguous()
        after, change = torch.empty_like(before), torch.empty_like(before[0])
        pairs = self.coupling.unbind(0)
        rows = pull.unbind(0), needed.unbind(0), before.unbind(0), after.unbind(0)
        for own, above, old, new, pair in zip(*rows, pairs, strict=True):
            torch.gt(own, above, out=new)
            torch.sub(new, old, out=change)
            pull.addr_(pair, change, alpha=coupling * span)
        return after.mT.reshape(states.shape).mul_(span).add_(low)

    def _thresholds(
        self, states: Tensor, temperature: float, generator: Generator | None
    ) -> Tensor:
        """Returns what the pull of each unit has to be above for it to be high."""
        low, high = self.unit.two_states or (0.0, 1.0)
        up = states == high
        if temperature > 0:
            uniform = uniform_like(states, generator)
            needed = torch.logit(uniform).mul_(-temperature / (high - low))
        else:  # where nothing pulls a unit stays
            needed = up.to(states.dtype) * -torch.finfo(states.dtype).tiny
        if self.observed is None:
            return needed
        kept = torch.where(up, -torch.inf, torch.inf).to(states.dtype)
        return torch.where(self.observed, kept, needed)
