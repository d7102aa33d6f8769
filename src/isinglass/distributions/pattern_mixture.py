"""One one-hot group summed out exactly: a mixture of patterns, closed under conditioning."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn.functional import linear

from isinglass._support.typing import Bool, Float
from isinglass._support.validation import (
    check_count,
    check_features,
    check_positive,
    values_visible,
)
from isinglass.errors import IntractableError, ShapeError
from isinglass.units import Unit

__all__ = ["PatternMixture"]


@dataclass(frozen=True)
class PatternMixture:
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

    def __post_init__(self) -> None:
        check_positive("temperature", self.temperature)
        count, size = self.fields.shape[-2:]
        if self.keys.shape[-1] != count or size != self.unit.size:
            raise ShapeError(
                f"keys {tuple(self.keys.shape)}, fields {tuple(self.fields.shape)}, {self.unit}",
                "Give N keys and N fields, each as long as the state of the unit",
            )

    def log_weights(self) -> Float[Tensor, "*batch N"]:
        """log p(μ), normalised."""
        return torch.log_softmax(self._reach() / self.temperature, -1)

    def value(self, generator: Generator | None = None) -> Float[Tensor, "*batch"]:
        """V = T log Z over the units that are not clamped: exact, whatever the generator."""
        return self._sum_out(self._reach())

    def score(self, state: Float[Tensor, "*states d"]) -> Float[Tensor, "*states"]:
        """The score T log Σ_μ exp((k_μ + θ_μ·v)/T) − U(v) of a full state of all units."""
        total = self._sum_out(self._overlap(state))
        if not self.unit.has_base_measure_energy:
            return total
        # What is clamped has its U in the keys already.
        free = state if self.observed is None else torch.where(self.observed, 0.0, state)
        return total - self.unit.base_measure_energy(free, self.temperature)

    def score_each(self, states: Float[Tensor, "M d"]) -> Float[Tensor, "*batch M"]:
        """The score of each of these full states in every row: what :meth:`score` says, at once."""
        total = self._sum_out(self.keys.unsqueeze(-2) + torch.matmul(states, self.fields.mT))
        free = states
        if self.observed is not None:
            free = torch.where(self.observed.unsqueeze(-2), 0.0, states)
        return total - self.unit.base_measure_energy(free, self.temperature)

    def log_prob(self, state: Float[Tensor, "*states d"]) -> Float[Tensor, "*states"]:
        """log p(v) = (S(v) − V)/T, a density for continuous units.

        Of a conditional it is that of the free units given the clamped ones, whose values in
        ``state`` are not looked at.
        """
        return (self.score(state) - self.value()) / self.temperature

    def responsibilities(self, state: Float[Tensor, "*states d"]) -> Float[Tensor, "*states N"]:
        """p(μ | v) = softmax((k + θv)/T): which memory this state reminds of."""
        return torch.softmax(self._overlap(state) / self.temperature, -1)

    def mean(self) -> Float[Tensor, "*batch d"]:
        """The mean state, Σ_μ p(μ) ∂A_T(θ_μ); clamped units keep their values."""
        means = self.unit.mean(self.fields, self.temperature)
        return self._restore(torch.einsum("...n,...nd->...d", self.log_weights().exp(), means))

    def sample(self, generator: Generator | None = None) -> Float[Tensor, "*batch d"]:
        """One exact draw a row: the pattern first, then every unit by itself."""
        fields = self.draw_pattern(generator)
        return self._restore(self.unit.sample(fields, self.temperature, generator))

    def draw_pattern(self, generator: Generator | None = None) -> Float[Tensor, "*batch d"]:
        """θ_μ of one pattern a row, drawn from p(μ)."""
        return self._pick(self.log_weights().exp(), generator)

    def sample_n(self, count: int, generator: Generator | None = None) -> Float[Tensor, "n d"]:
        """``count`` exact draws from a mixture without batch dimensions.

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
        fields = self.fields[chosen]
        return self._restore(self.unit.sample(fields, self.temperature, generator))

    def mode(self, refinements: int = 3) -> Float[Tensor, "*batch d"]:
        """A state of high score: the settled state of the best pattern, then climbed from.

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
        fields = self._row_of(best)
        state = self._restore(self.unit.argmax_state(fields, self.unit.mean(fields, 0.0)))
        for _ in range(refinements):
            pull = torch.einsum("...n,...nd->...d", self.responsibilities(state), self.fields)
            state = self._restore(self.unit.argmax_state(pull, state))
        return state

    def condition(
        self, state: Float[Tensor, "*batch d"], observed: Bool[Tensor, "*mask"]
    ) -> PatternMixture:
        """The exact distribution of the other units given the observed ones: again a mixture.

            p(μ | v_O) ∝ exp((k_μ + Σ_{i∈O} θ_μi v_i)/T) Π_{i∉O} exp(A_T(θ_μi)/T)

        The difference of the two values, (V_O − V)/T, is log p(v_O).

        Args:
            state: Values of all units; those not observed are ignored (and may be NaN).
            observed: True where a unit is observed.

        Raises:
            ShapeError: If state or mask has the wrong number of features, or the mask cuts
                through a one-hot unit.
            DomainError: If an observed value is not a state of the unit.
        """
        check_features(state, self.unit.size)
        self.unit.check_mask(observed)
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
        keys = self._overlap(given) - self.unit.base_measure_energy(
            given, self.temperature
        ).unsqueeze(-1)
        return replace(
            self,
            keys=keys,
            fields=torch.where(observed.unsqueeze(-2), 0.0, self.fields),
            observed=observed,
            clamped=torch.where(new, state, clamped),
        )

    def zeros_like_event(self) -> Float[Tensor, "*batch d"]:
        """Zeros shaped like one state a row."""
        batch = torch.broadcast_shapes(self.keys.shape[:-1], self.fields.shape[:-2])
        return self.keys.new_zeros(*batch, self.unit.size)

    def lowered(self, penalty: Float[Tensor, "*batch d"]) -> PatternMixture:
        """The same with a penalty taken off the field of every unit, in all patterns."""
        return replace(self, fields=self.fields - penalty.unsqueeze(-2))

    def _sum_out(self, reach: Tensor) -> Tensor:
        """T log Σ_μ exp(·/T)."""
        if reach.requires_grad and values_visible(reach):
            return _SumOut.apply(reach, self.temperature)  # pyright: ignore[reportReturnType]
        return self.temperature * torch.logsumexp(reach / self.temperature, -1)

    def _overlap(self, state: Tensor) -> Tensor:
        """k_μ + θ_μ·v."""
        if self.fields.ndim == 2:
            return self.keys + linear(state, self.fields)
        # Several times as fast as a batch of matrix-vector products, backwards above all.
        return self.keys + torch.linalg.vecdot(self.fields, state.unsqueeze(-2))

    def _reach(self) -> Tensor:
        """k_μ + A_T(θ_μ) over the free units: T times the log weight of each pattern."""
        return self.keys + self._free_partition(self.temperature)

    def _free_partition(self, temperature: float) -> Tensor:
        if self.observed is None:
            return self.unit.log_partition(self.fields, temperature)
        shares = self.unit.log_partition_per_component(self.fields, temperature)
        return torch.where(self.observed.unsqueeze(-2), 0.0, shares).sum(-1)

    def _pick(self, weights: Tensor, generator: Generator | None) -> Tensor:
        rows = weights.reshape(-1, weights.shape[-1])
        chosen = torch.multinomial(rows, 1, generator=generator)
        return self._row_of(chosen.reshape(*weights.shape[:-1], 1))

    def _row_of(self, index: Tensor) -> Tensor:
        """θ_μ for one μ a row."""
        fields = self.fields.expand(*index.shape[:-1], *self.fields.shape[-2:])
        index = index.unsqueeze(-1).expand(*index.shape, fields.shape[-1])
        return fields.gather(-2, index).squeeze(-2)

    def _restore(self, state: Tensor) -> Tensor:
        if self.observed is None or self.clamped is None:
            return state
        return torch.where(self.observed, self.clamped, state)


class _SumOut(torch.autograd.Function):
    """T log Σ_μ exp(x_μ/T), whose slope, softmax(x/T), is made on the way and kept.

    Slopes of slopes are right too; tracing and vmap go through torch's own logsumexp.
    """

    @staticmethod
    def forward(ctx: Any, reach: Tensor, temperature: float) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        shares = torch.softmax(reach / temperature, -1)
        ctx.save_for_backward(reach, shares)
        ctx.temperature = temperature
        # The largest share is exp(max x/T) over the sum.
        return torch.sub(reach.amax(-1), shares.amax(-1).log_(), alpha=temperature)

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        reach, shares = ctx.saved_tensors
        if torch.is_grad_enabled():  # this slope is to be differentiated itself
            shares = torch.softmax(reach / ctx.temperature, -1)
        return weight.unsqueeze(-1) * shares, None
