"""Two layers whose fields are given row by row: the joint law of actions, sampled by annealing."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Bool, Float
from isinglass._support.validation import check_positive
from isinglass.distributions.annealed_conditional import AnnealedConditional, Annealing
from isinglass.errors import ParameterError, ShapeError
from isinglass.units import Unit
from isinglass.units.base import uniform_like

__all__ = ["ConditionalRBM", "ExpectedEnergyRBM"]


@dataclass(frozen=True)
class ConditionalRBM(AnnealedConditional):
    r"""The distribution of units v joined to hidden units h, whose fields come from elsewhere.

        S(v)  = b·v − U(v) + A_T(c + Wv) − A_T(0) + o      score, −F(v), Q(s, a)
        V     = T log Σ_v exp(S(v)/T)                      value, estimated
        p(v)  = exp((S(v) − V)/T)

    The fields b and c, one row each, may be outputs of a network: a restricted Boltzmann machine
    that is driven by its surroundings. A_T(0) is taken off, so that without weights S(v) = 0.

    Draws come from annealed importance sampling at constant T. Chains start from the layers by
    themselves, exactly, and the coupling λW grows from 0 to 1 with a sweep of block Gibbs at each
    level, which leaves exp(S_λ/T) unchanged: v given h and h given v are exact at every T. The
    weights that the chains gather make the estimate of exp(V/T) unbiased and choose the chain
    that is kept, so that more chains come closer to p(v).

    Reference: Sallans & Hinton 2004, JMLR 5:1063-1088 (Q = −F); Neal 2001, "Annealed importance
    sampling", doi:10.1023/A:1008923215028.

    Attributes:
        unit: The kind of the units v.
        hidden: The kind of the hidden units, of any groups.
        bias: b, ``(*batch, d)``, in units of the energy.
        hidden_bias: c, ``(*batch, K)``.
        weight: W, ``(K, d)``, shared by all rows.
        temperature: T > 0.
        offset: o, ``(*batch)``, or one number.
        annealing: How it is sampled.
        observed: Which units are clamped, ``(*batch, d)``; None if none is.
        clamped: Their values, in place; zeros elsewhere.

    Examples:
        >>> from isinglass import Bernoulli, Spin
        >>> distribution = ConditionalRBM(
        ...     Spin(3), Bernoulli(2), torch.zeros(5, 3), torch.zeros(5, 2), torch.ones(2, 3))
        >>> distribution.sample(torch.Generator().manual_seed(0)).shape, distribution.mode()[0]
        (torch.Size([5, 3]), tensor([1., 1., 1.]))
    """

    unit: Unit
    hidden: Unit
    bias: Float[Tensor, "*batch d"]
    hidden_bias: Float[Tensor, "*batch K"]
    weight: Float[Tensor, "K d"]
    temperature: float = 1.0
    offset: Float[Tensor, "*batch"] | float = 0.0
    annealing: Annealing = field(default_factory=Annealing)
    observed: Bool[Tensor, "*batch d"] | None = None
    clamped: Float[Tensor, "*batch d"] | None = None

    def __post_init__(self) -> None:
        check_positive("temperature", self.temperature)
        sizes = (self.hidden_bias.shape[-1], self.bias.shape[-1])
        if self.weight.shape != sizes or sizes != (self.hidden.size, self.unit.size):
            raise ShapeError(
                f"W {tuple(self.weight.shape)}, b {tuple(self.bias.shape)}, "
                f"c {tuple(self.hidden_bias.shape)} for {self.unit} and {self.hidden}",
                "Give W of shape (K, d), b with d and c with K columns",
            )

    def score(self, state: Float[Tensor, "*states d"]) -> Float[Tensor, "*states"]:
        """S(v) of a full state of all units, differentiable."""
        field = self.hidden_bias + state @ self.weight.mT
        return self._own(state) + self._above_rest(field)

    def _gained(self, states: Tensor, before: float, after: float) -> Tensor:
        overlap = states @ self.weight.mT
        return self.hidden.log_partition(
            self.hidden_bias + after * overlap, self.temperature
        ) - self.hidden.log_partition(self.hidden_bias + before * overlap, self.temperature)

    def _swept(self, states: Tensor, coupling: float, generator: Generator | None) -> Tensor:
        """Block Gibbs: h given v, then v given h, exact at every T."""
        field = self.hidden_bias + coupling * (states @ self.weight.mT)
        hidden = self.hidden.sample(field, self.temperature, generator)
        field = self.bias + coupling * (hidden @ self.weight)
        return self.unit.sample(field, self.temperature, generator)

    @torch.no_grad()
    def _retried(self, states: Tensor, sharpness: float, generator: Generator) -> Tensor:
        states = states.clone()
        field = self.hidden_bias + states @ self.weight.mT
        for unit, place in self._single_units():
            values = unit.enumerate_states(self.temperature).to(states)
            old = states[..., place]
            shifts = (values - old.unsqueeze(-2)) @ self.weight[:, place].mT
            scores = self.hidden.log_partition(field.unsqueeze(-2) + shifts, self.temperature)
            scores = scores + self.bias[..., place] @ values.mT
            if math.isfinite(sharpness):
                noise = uniform_like(scores, generator).clamp_min(1e-30).log().neg().log()
                scores = sharpness * scores - noise  # the best of them is a draw (Gumbel)
            new = values[scores.argmax(-1)]
            if self.observed is not None:
                new = torch.where(self.observed[..., place], old, new)
            field = field + (new - old) @ self.weight[:, place].mT
            states[..., place] = new
        return states

    def _climbed(self, states: Tensor) -> Tensor:
        """Settles v in the field b + Wᵀ⟨h⟩_v: a concave–convex step."""
        means = self.hidden.mean(self.hidden_bias + states @ self.weight.mT, self.temperature)
        return self._restore(self.unit.argmax_state(self.bias + means @ self.weight, states))

    def _at_rest(self) -> Tensor:
        return super()._at_rest() + self._above_rest(self.hidden_bias)

    def _above_rest(self, field: Tensor) -> Tensor:
        """A_T(I) − A_T(0) of the hidden units."""
        rest = self.hidden.log_partition(torch.zeros_like(field), self.temperature)
        return self.hidden.log_partition(field, self.temperature) - rest


class ExpectedEnergyRBM(ConditionalRBM):
    r"""The same with the expected energy for a score: the entropy of h is left out.

        S(v) = b·v − U(v) + ⟨h⟩·I + o,   I = c + Wv,   ⟨h⟩ = ∂A_T(I)

    S is minus ⟨E(v, h)⟩ over p(h|v), for hidden units without an energy of their own, and has no
    log that grows with every idle unit. The chains still follow −F, as do greedy states when they
    are climbed to; weights are corrected by exp((S + F)/T) at the end.

    Reference: Elfwing, Uchibe & Doya 2016, "From free energy to expected energy: Improving
    energy-based value function approximation in reinforcement learning",
    doi:10.1016/j.neunet.2016.07.013.

    Examples:
        >>> from isinglass import Bernoulli, Spin
        >>> distribution = ExpectedEnergyRBM(
        ...     Spin(3), Bernoulli(2), torch.zeros(3), torch.zeros(2), torch.zeros(2, 3))
        >>> distribution.score(torch.ones(3))
        tensor(0.)
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden.support is not None or self.hidden.has_multiplicity:
            raise ParameterError(
                f"hidden units {self.hidden}",
                "Use Bernoulli, Spin or Categorical units",
            )

    def score(self, state: Float[Tensor, "*states d"]) -> Float[Tensor, "*states"]:
        """S(v), differentiable."""
        field = self.hidden_bias + state @ self.weight.mT
        mean = self.hidden.mean(field, self.temperature)
        return self._own(state) + (mean * field).sum(-1)

    def _corrected(self, states: Tensor) -> Tensor | float:
        return (self.score(states) - super().score(states)) / self.temperature
