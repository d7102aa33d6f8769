"""One one-hot group summed out exactly: a mixture of patterns, closed under conditioning."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn.functional import linear

from isinglass._support.typing import Bool, Float
from isinglass._support.validation import (
    check_count,
    check_device_of,
    check_features,
    check_positive,
    check_tensor,
    values_visible,
)
from isinglass.distributions.base import Distribution, FieldDistribution
from isinglass.errors import DomainError, IntractableError, ShapeError
from isinglass.units import Unit
from isinglass.units.base import check_unit

__all__ = ["PatternMixture", "draw_one", "joined", "pairwise_sums"]


@dataclass(frozen=True)
class PatternMixture(FieldDistribution):
    r"""The distribution of units v that share one hidden one-hot choice μ of a pattern.

        S(v)      = T log Σ_μ exp((k_μ + θ_μ·v)/T) − U(v)           score, −F(v), Q(s, a)
        V         = T log Σ_μ exp((k_μ + A_T(θ_μ))/T)               value, T log Z
        p(v)      = exp((S(v) − V)/T)
        p(μ)      ∝ exp((k_μ + A_T(θ_μ))/T),   v | μ ~ unit.sample(θ_μ, T)

    Sums over all 2^d states cost O(N·d). Keys and fields may have batch dimensions, one
    distribution a row: they may come from a table of memories or from a network.

    Reference: Sallans & Hinton 2004 (Q = −F); Ota & Karakida 2023, arXiv:2212.04692.

    Attributes:
        unit: The kind of the units v.
        keys: k_μ, ``(*batch, N)``, in units of the energy.
        fields: θ_μ, ``(*batch, N, d)``, or ``(N, d)`` shared by the batch, in units of the energy.
        temperature: T > 0.
        observed: Which units are clamped, ``(*batch, d)``; None if none is.
        clamped: Their values, in place; zeros elsewhere.
        forbidden: Which components of one-hot units are forbidden; None if none is.

    Examples:
        >>> from isinglass import Spin
        >>> mixture = PatternMixture(Spin(3), torch.zeros(2), torch.eye(3)[:2], temperature=0.5)
        >>> states = Spin(3).enumerate_states().float()
        >>> round(float(mixture.log_prob(states).exp().sum()), 5)
        1.0
    """

    unit: Unit
    keys: Float[Tensor, "*batch N"]
    fields: Float[Tensor, "*patterns N d"]
    temperature: float = 1.0
    observed: Bool[Tensor, "*batch d"] | None = None
    clamped: Float[Tensor, "*batch d"] | None = None
    forbidden: Bool[Tensor, "*batch d"] | None = None

    def __post_init__(self) -> None:
        check_positive("temperature", self.temperature)
        check_unit(self.unit)
        check_tensor("keys", self.keys)
        check_tensor("fields", self.fields)
        shape = (*self.keys.shape[-1:], self.unit.size)
        if self.fields.ndim < 2 or self.fields.shape[-2:] != shape:
            raise ShapeError(
                f"keys {tuple(self.keys.shape)}, fields {tuple(self.fields.shape)}, {self.unit}",
                "Give N keys and N fields, each as long as the state of the unit",
            )

    @property
    def exact_value(self) -> bool:
        """Always: V is a sum over patterns."""
        return True

    def log_weights(self) -> Float[Tensor, "*batch N"]:
        """Returns log p(μ), the normalized log-weights of the patterns."""
        return torch.log_softmax(self._pattern_values() / self.temperature, -1)

    def value(self, generator: Generator | None = None) -> Float[Tensor, "*batch"]:
        """Returns V = T log Z over the units that are not clamped, exactly: nothing is drawn."""
        return self._sum_out(self._pattern_values())

    def score(self, state: Float[Tensor, "*states d"]) -> Float[Tensor, "*states"]:
        """Returns S(v) = T log Σ_μ exp((k_μ + θ_μ·v)/T) − U(v) of a full state of all units."""
        return self._score(state, self._overlap(state))

    def _score(self, state: Tensor, overlap: Tensor) -> Tensor:
        """Returns S(v) where k_μ + θ_μ·v over the free units is known, with more in it or not."""
        total = self._sum_out(overlap)
        if self.unit.has_base_measure_energy:
            # What is clamped has its U in the keys already.
            free = state if self.observed is None else torch.where(self.observed, 0.0, state)
            total = total - self.unit.base_measure_energy(free, self.temperature)
        return self._mask_scores(total, state)

    def score_each(self, states: Float[Tensor, "M d"]) -> Float[Tensor, "*batch M"]:
        """Returns S(v) of each of M states in every row, many times as fast as :meth:`score`."""
        free = states
        if self.observed is not None:
            free = torch.where(self.observed.unsqueeze(-2), 0.0, states)
        total = self._sum_out(self.keys.unsqueeze(-2) + torch.matmul(free, self.fields.mT))
        total = total - self.unit.base_measure_energy(free, self.temperature)
        return self._mask_scores_each(total, states)

    def log_prob(self, state: Float[Tensor, "*states d"]) -> Float[Tensor, "*states"]:
        """Returns log p(v) = (S(v) − V)/T, a density for continuous units.

        Of a conditional it is that of the free units given the clamped ones, whose values in
        ``state`` are not looked at.
        """
        return (self.score(state) - self.value()) / self.temperature

    def responsibilities(self, state: Float[Tensor, "*states d"]) -> Float[Tensor, "*states N"]:
        """Returns the responsibilities p(μ | v) = softmax((k + θv)/T) of patterns for a state."""
        return torch.softmax(self._overlap(state) / self.temperature, -1)

    def mean(self) -> Float[Tensor, "*batch d"]:
        """Returns the mean state, Σ_μ p(μ) ∂A_T(θ_μ); clamped units keep their values."""
        means = self.unit.mean(self._masked_fields(), self.temperature)
        return self._restore(torch.einsum("...n,...nd->...d", self.log_weights().exp(), means))

    def sample(self, generator: Generator | None = None) -> Float[Tensor, "*batch d"]:
        """Draws one state v ~ p(v) for each row, exactly: a pattern first, then every unit.

        Raises:
            DomainError: If keys and fields add up to more than the dtype holds.
        """
        fields = self._mask_fields(self.draw_pattern(generator))
        return self._restore(self.unit.sample(fields, self.temperature, generator))

    def draw_pattern(self, generator: Generator | None = None) -> Float[Tensor, "*batch d"]:
        """Draws one pattern μ ~ p(μ) for each row, and returns its fields θ_μ."""
        return self._pick(self.log_weights().exp(), generator)

    def sample_n(self, count: int, generator: Generator | None = None) -> Float[Tensor, "n d"]:
        """Draws ``count`` states v ~ p(v) from a mixture without batch dimensions, exactly.

        Raises:
            ParameterError: If ``count`` is not a whole number of at least one.
            ShapeError: If the mixture has batch dimensions.
        """
        check_count("count", count)
        if self.keys.ndim != 1 or self.fields.ndim != 2:
            raise ShapeError(
                f"keys of shape {tuple(self.keys.shape)}, fields {tuple(self.fields.shape)}",
                "Call sample(), which draws once a row",
            )
        chosen = torch.multinomial(
            self.log_weights().exp(), count, replacement=True, generator=generator
        )
        fields = self._mask_fields(self.fields[chosen])
        return self._restore(self.unit.sample(fields, self.temperature, generator))

    def mode(self, refinements: int = 3) -> Float[Tensor, "*batch d"]:
        """Finds a state of high score S(v): the settled state of the best pattern, climbed from.

        The start, arg-max_μ k_μ + A_0(θ_μ), is exact as T → 0; each refinement settles every
        unit in the field Σ_μ p(μ|v) θ_μ, a concave–convex step that never lowers the score.

        Raises:
            IntractableError: If the units are averages of several draws.
        """
        if self.unit.has_multiplicity:
            raise IntractableError(
                f"{self.unit} has an energy of its own that depends on the temperature",
                "Use one-hot units of a single draw",
            )
        best = (self.keys + self._free_partition(0.0)).argmax(-1, keepdim=True)
        fields = self._mask_fields(self._row_of(best))
        state = self._restore(self.unit.argmax_state(fields, self.unit.mean(fields, 0.0)))
        for _ in range(refinements):
            pull = torch.einsum("...n,...nd->...d", self.responsibilities(state), self.fields)
            state = self._restore(self.unit.argmax_state(self._mask_fields(pull), state))
        return state

    def condition(
        self, state: Float[Tensor, "*batch d"], observed: Bool[Tensor, "*mask"]
    ) -> PatternMixture:
        """Returns the exact p(v_free | v_observed) of the other units: again a mixture.

            p(μ | v_O) ∝ exp((k_μ + Σ_{i∈O} θ_μi v_i)/T) Π_{i∉O} exp(A_T(θ_μi)/T)

        The difference of the two values, (V_O − V)/T, is log p(v_O).

        Args:
            state: Values of all units; those not observed are ignored (and may be NaN).
            observed: True where a unit is observed.

        Raises:
            ShapeError: If state or mask has the wrong number of features, or the mask cuts
                through a one-hot unit.
            DomainError: If an observed value is not a state of the unit, or is forbidden.
        """
        check_features(state, self.unit.size)
        self.unit.check_mask(observed)
        check_device_of("a mask", observed, state)
        try:
            observed = observed.expand(torch.broadcast_shapes(observed.shape, state.shape))
        except RuntimeError as error:
            raise ShapeError(
                f"a mask of shape {tuple(observed.shape)} for states {tuple(state.shape)}",
                "Give one mask for all rows, or one for each",
            ) from error
        self.unit.check(state.expand(observed.shape), observed)
        clamped = torch.zeros_like(state).expand(observed.shape)
        new = observed
        if self.observed is not None and self.clamped is not None:
            new = observed & ~self.observed  # what was clamped before stays as it was
            observed, clamped = observed | self.observed, self.clamped
        given = torch.where(new, state, 0.0)
        keys = self._overlap(given)
        if self.unit.has_base_measure_energy:
            keys = keys - self.unit.base_measure_energy(given, self.temperature).unsqueeze(-1)
        conditional = replace(
            self,
            keys=keys,
            observed=observed,
            clamped=torch.where(new, state, clamped),
        )
        conditional._check_clamped(self.forbidden)
        return conditional

    def tilted(self, prior: Distribution) -> PatternMixture | None:
        """Returns prior(v)·exp(S(v)/T) of another mixture: one of all N·M pairs of patterns.

        Closed in form where both are free, and units have no energy of their own.
        """
        if not isinstance(prior, PatternMixture) or prior.unit != self.unit:
            return None
        bound = any(
            part is not None for of in (self, prior) for part in (of.observed, of.forbidden)
        )
        if bound or self.unit.has_base_measure_energy:
            return None
        fields = pairwise_sums(self.fields, self._share(prior) * prior.fields)
        return replace(self, keys=self._paired_keys(prior, prior.value()), fields=fields)

    def _share(self, prior: Distribution) -> float:
        """Returns by what scores of the prior are multiplied to be in units of this one."""
        return self.temperature / prior.temperature

    def _paired_keys(self, prior: PatternMixture, value: Tensor) -> Tensor:
        logs = self._share(prior) * (prior.keys - value.unsqueeze(-1))
        return pairwise_sums(self.keys.unsqueeze(-1), logs.unsqueeze(-1)).squeeze(-1)

    def zeros_like_event(self) -> Float[Tensor, "*batch d"]:
        """Returns zeros with the shape, type and device of one state v for each row."""
        batch = torch.broadcast_shapes(self.keys.shape[:-1], self.fields.shape[:-2])
        return self.keys.new_zeros(*batch, self.unit.size)

    def _without(self, forbidden: Bool[Tensor, "*batch d"]) -> PatternMixture:
        return replace(self, forbidden=self._join(forbidden))

    def _masked_fields(self) -> Tensor:
        """Returns θ_μ, −∞ where forbidden."""
        if self.forbidden is None:
            return self.fields
        return self.fields.masked_fill(self.forbidden.unsqueeze(-2), -torch.inf)

    def _sum_out(self, logits: Tensor) -> Tensor:
        """Returns T log Σ_μ exp(·/T)."""
        if logits.requires_grad and values_visible(logits):
            return _SumOut.apply(logits, self.temperature)  # pyright: ignore[reportReturnType]
        return self.temperature * torch.logsumexp(logits / self.temperature, -1)

    def _overlap(self, state: Tensor) -> Tensor:
        """Returns k_μ + θ_μ·v over the free units: the keys hold what the clamped ones add."""
        if self.observed is not None:
            state = torch.where(self.observed, 0.0, state)
        if self.fields.ndim == 2:
            return self.keys + linear(state, self.fields)
        # Several times as fast as a batch of matrix-vector products, backwards above all.
        return self.keys + torch.linalg.vecdot(self.fields, state.unsqueeze(-2))

    def _pattern_values(self) -> Tensor:
        """Returns k_μ + A_T(θ_μ) over the free units: T times the log-weight of each pattern."""
        return self.keys + self._free_partition(self.temperature)

    def _free_partition(self, temperature: float) -> Tensor:
        out = [mask for mask in (self.observed, self.forbidden) if mask is not None]
        if self.fields.ndim == 2 and out:  # shared by all rows, and not to be copied for each
            allowed = ~reduce(torch.logical_or, map(_once, out))
            return self.unit.log_partition_over(self.fields, allowed, temperature)
        if self.observed is None:
            return self.unit.log_partition(self._masked_fields(), temperature)
        shares = self.unit.log_partition_per_component(self._masked_fields(), temperature)
        return torch.where(self.observed.unsqueeze(-2), 0.0, shares).sum(-1)

    def _pick(self, weights: Tensor, generator: Generator | None) -> Tensor:
        return self._row_of(draw_one(weights, generator))

    def _row_of(self, index: Tensor) -> Tensor:
        """Returns θ_μ for one μ in each row."""
        fields = self.fields.expand(*index.shape[:-1], *self.fields.shape[-2:])
        index = index.unsqueeze(-1).expand(*index.shape, fields.shape[-1])
        return fields.gather(-2, index).squeeze(-2)


def draw_one(weights: Tensor, generator: Generator | None) -> Tensor:
    """Draws one index for each row of weights, ``(*batch, 1)``.

    Raises:
        DomainError: If weights are NaN.
    """
    rows = weights.reshape(-1, weights.shape[-1])
    try:
        chosen = torch.multinomial(rows, 1, generator=generator)
    except RuntimeError as error:
        found = "weights of patterns that are NaN, as the scores are beyond the dtype"
        raise DomainError(found, "Give states, keys and fields within it") from error
    return chosen.reshape(*weights.shape[:-1], 1)


def pairwise_sums(
    one: Float[Tensor, "*batch N d"], other: Float[Tensor, "*rows M d"]
) -> Float[Tensor, "*both NM d"]:
    """Returns the sums of every row of one table with every row of another.

    Examples:
        >>> pairwise_sums(torch.tensor([[1.0], [2.0]]), torch.tensor([[10.0], [20.0]])).flatten()
        tensor([11., 21., 12., 22.])
    """
    return (one.unsqueeze(-2) + other.unsqueeze(-3)).flatten(-3, -2)


def joined(one: PatternMixture, other: PatternMixture) -> PatternMixture:
    """Returns the mixture of all patterns of two, exp(S/T) being the sum of those of both.

    Examples:
        >>> from isinglass import Spin
        >>> flat = PatternMixture(Spin(1), torch.zeros(1), torch.zeros(1, 1))
        >>> joined(flat, flat).value()  # log(2 + 2)
        tensor(1.3863)
    """
    parts = (one.fields, other.fields)
    rows = torch.broadcast_shapes(*(part.shape[:-2] for part in parts))
    fields = torch.cat([part.expand(*rows, *part.shape[-2:]) for part in parts], -2)
    return replace(one, keys=torch.cat([one.keys, other.keys], -1), fields=fields)


def _once(mask: Tensor) -> Tensor:
    """Returns one row for all where a mask was expanded, so that its sums are made once."""
    for dim, stride in enumerate(mask.stride()[:-1]):
        if stride == 0:
            mask = mask.narrow(dim, 0, min(1, mask.shape[dim]))
    return mask


class _SumOut(torch.autograd.Function):
    """The function T log Σ_μ exp(x_μ/T), whose slope, softmax(x/T), is made on the way and kept.

    Slopes of slopes are right too; tracing and vmap go through torch's own logsumexp.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, temperature: float) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        shares = torch.softmax(logits / temperature, -1)
        ctx.save_for_backward(logits, shares)
        ctx.temperature = temperature
        # The largest share is exp(max x/T) over the sum.
        return torch.sub(logits.amax(-1), shares.amax(-1).log_(), alpha=temperature)

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        logits, shares = ctx.saved_tensors
        if torch.is_grad_enabled():  # this slope is to be differentiated itself
            shares = torch.softmax(logits / ctx.temperature, -1)
        return weight.unsqueeze(-1) * shares, None
