"""Two layers in fields given row by row: a conditional restricted Boltzmann machine, annealed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Float
from isinglass.distributions.annealed_conditional import AnnealedConditional
from isinglass.distributions.base import Distribution
from isinglass.distributions.pattern_mixture import PatternMixture
from isinglass.errors import ParameterError, ShapeError
from isinglass.units import Categorical, Mixed, Unit
from isinglass.units.base import uniform_like

__all__ = ["ConditionalRBM", "ExpectedEnergyRBM"]


@dataclass(frozen=True)
class ConditionalRBM(AnnealedConditional):
    r"""A restricted Boltzmann machine of units v and hidden h, whose fields b, c come row by row.

        S(v)  = b·v − U(v) + A_T(c + Wv) − A_T(0) + o      score, −F(v), Q(s, a)
        V     = T log Σ_v exp(S(v)/T)                      value, estimated
        p(v)  = exp((S(v) − V)/T)

    The fields b and c, one row each, may be outputs of a network. A_T(0) is taken off, so that
    without weights S(v) = 0.

    Draws come from annealed importance sampling at constant T. Chains start from the layers by
    themselves, exactly, and the coupling λW grows from 0 to 1 with a sweep of block Gibbs at each
    level, which leaves exp(S_λ/T) unchanged: v given h and h given v are exact at every T. The
    weights that the chains gather make the estimate of exp(V/T) unbiased and choose the chain
    that is kept, so that more chains come closer to p(v).

    Reference: Sallans & Hinton 2004, JMLR 5:1063-1088 (Q = −F); Neal 2001, "Annealed importance
    sampling", doi:10.1023/A:1008923215028.

    Attributes:
        unit: The kind of the units v.
        bias: b, ``(*batch, d)``, in units of the energy.
        hidden: The kind of the hidden units, of any groups.
        hidden_bias: c, ``(*batch, K)``.
        weight: W, ``(K, d)``, shared by all rows.
        temperature: T > 0; ``offset`` o, ``annealing``, ``observed``, ``clamped`` and ``forbidden``
            as of :class:`AnnealedConditional`.

    Examples:
        >>> from isinglass import Bernoulli, Spin
        >>> distribution = ConditionalRBM(
        ...     Spin(3), torch.zeros(5, 3), Bernoulli(2), torch.zeros(5, 2), torch.ones(2, 3))
        >>> distribution.sample(torch.Generator().manual_seed(0)).shape, distribution.mode()[0]
        (torch.Size([5, 3]), tensor([1., 1., 1.]))
    """

    hidden: Unit
    hidden_bias: Float[Tensor, "*batch K"]
    weight: Float[Tensor, "K d"]

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = (self.hidden_bias.shape[-1], self.bias.shape[-1])
        if self.weight.shape != sizes or sizes != (self.hidden.size, self.unit.size):
            raise ShapeError(
                f"W {tuple(self.weight.shape)}, b {tuple(self.bias.shape)}, "
                f"c {tuple(self.hidden_bias.shape)} for {self.unit} and {self.hidden}",
                "Give W of shape (K, d), b with d and c with K columns",
            )

    def score(self, state: Float[Tensor, "*states d"]) -> Float[Tensor, "*states"]:
        """Returns S(v) = b·v − U(v) + A_T(c + Wv) − A_T(0) + o of full states, differentiable."""
        return self._mask_scores(self._free_energy_score(state), state)

    def _free_energy_score(self, state: Tensor) -> Tensor:
        """Returns −F(v), forbidden or not."""
        field = self.hidden_bias + state @ self.weight.mT
        return self._unit_terms(state) + self._relative_log_partition(field)

    def tilted(self, prior: Distribution) -> ConditionalRBM | None:
        """Returns prior(v)·exp(S(v)/T) of a mixture whose fields all rows share.

        Its choice of a pattern is one more hidden group, so that it is again such a machine.
        """
        if not isinstance(prior, PatternMixture) or type(self) is not ConditionalRBM:
            return None
        if prior.unit != self.unit or prior.fields.ndim > 2:
            return None
        bound = (self.observed, self.forbidden, prior.observed, prior.forbidden)
        if any(part is not None for part in bound) or self.unit.has_base_measure_energy:
            return None
        share, patterns = self.temperature / prior.temperature, prior.keys.shape[-1]
        logs = share * (prior.keys - prior.value().unsqueeze(-1))
        rows = torch.broadcast_shapes(self.hidden_bias.shape[:-1], logs.shape[:-1])
        biases = [part.expand(*rows, part.shape[-1]) for part in (self.hidden_bias, logs)]
        return replace(
            self,
            hidden=Mixed([self.hidden, Categorical(patterns)]),
            hidden_bias=torch.cat(biases, -1),
            weight=torch.cat([self.weight, share * prior.fields]),
            offset=self.offset + self.temperature * math.log(patterns),  # A_T(0) of the group
        )

    def _score_increment(self, states: Tensor, before: float, after: float) -> Tensor:
        overlap = states @ self.weight.mT
        return self.hidden.log_partition(
            self.hidden_bias + after * overlap, self.temperature
        ) - self.hidden.log_partition(self.hidden_bias + before * overlap, self.temperature)

    def _sweep(self, states: Tensor, coupling: float, generator: Generator | None) -> Tensor:
        """Sweeps by block Gibbs: h given v, then v given h, exact at every T."""
        field = self.hidden_bias + coupling * (states @ self.weight.mT)
        hidden = self.hidden.sample(field, self.temperature, generator)
        field = self.bias + coupling * (hidden @ self.weight)
        return self.unit.sample(self._mask_fields(field), self.temperature, generator)

    @torch.no_grad()
    def _resample_each(self, states: Tensor, sharpness: float, generator: Generator) -> Tensor:
        states = states.clone()
        field = self.hidden_bias + states @ self.weight.mT
        for unit, place in self._single_units():
            values = unit.enumerate_states(self.temperature).to(states)
            old = states[..., place]
            shifts = (values - old.unsqueeze(-2)) @ self.weight[:, place].mT
            scores = self.hidden.log_partition(field.unsqueeze(-2) + shifts, self.temperature)
            scores = scores + self.bias[..., place] @ values.mT
            if self.forbidden is not None:
                on = self.forbidden[..., place].unsqueeze(-2) & (values != 0)
                scores = scores.masked_fill(on.any(-1), -torch.inf)
            if math.isfinite(sharpness):
                noise = uniform_like(scores, generator).clamp_min(1e-30).log().neg().log()
                scores = sharpness * scores - noise  # the best of them is a draw (Gumbel)
            new = values[scores.argmax(-1)]
            if self.observed is not None:
                new = torch.where(self.observed[..., place], old, new)
            field = field + (new - old) @ self.weight[:, place].mT
            states[..., place] = new
        return states

    def _climb(self, states: Tensor) -> Tensor:
        """Settles v in the field b + Wᵀ⟨h⟩_v: a concave–convex step."""
        means = self.hidden.mean(self.hidden_bias + states @ self.weight.mT, self.temperature)
        field = self._mask_fields(self.bias + means @ self.weight)
        return self._restore(self.unit.argmax_state(field, states))

    def _uncoupled_value(self) -> Tensor:
        return super()._uncoupled_value() + self._relative_log_partition(self.hidden_bias)

    def _relative_log_partition(self, field: Tensor) -> Tensor:
        """Returns A_T(I) − A_T(0) of the hidden units."""
        rest = self.hidden.log_partition(torch.zeros_like(field), self.temperature)
        return self.hidden.log_partition(field, self.temperature) - rest


class ExpectedEnergyRBM(ConditionalRBM):
    r"""A :class:`ConditionalRBM` scored by its expected energy: the entropy of h is left out.

        S(v) = b·v − U(v) + ⟨h⟩·I + o,   I = c + Wv,   ⟨h⟩ = ∂A_T(I)

    S is minus ⟨E(v, h)⟩ over p(h|v), for hidden units without an energy of their own, and has no
    log that grows with every idle unit. The chains still follow −F, as do greedy states when they
    are climbed to; weights are corrected by exp((S + F)/T) at the end. Arguments are those of
    :class:`ConditionalRBM`.

    Reference: Elfwing, Uchibe & Doya 2016, "From free energy to expected energy: Improving
    energy-based value function approximation in reinforcement learning",
    doi:10.1016/j.neunet.2016.07.013.

    Examples:
        >>> from isinglass import Bernoulli, Spin
        >>> distribution = ExpectedEnergyRBM(
        ...     Spin(3), torch.zeros(3), Bernoulli(2), torch.zeros(2), torch.zeros(2, 3))
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
        """Returns S(v) = b·v − U(v) + ⟨h⟩·I + o of full states, differentiable."""
        return self._mask_scores(self._expected_energy_score(state), state)

    def _expected_energy_score(self, state: Tensor) -> Tensor:
        """Returns −⟨E(v, h)⟩, forbidden or not."""
        field = self.hidden_bias + state @ self.weight.mT
        mean = self.hidden.mean(field, self.temperature)
        return self._unit_terms(state) + (mean * field).sum(-1)

    def _log_weight_correction(self, states: Tensor) -> Tensor | float:
        change = self._expected_energy_score(states) - self._free_energy_score(states)
        return change / self.temperature
