"""A mixture of patterns of discrete and real units side by side, the real ones in a box."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Bool, Float
from isinglass._support.validation import check_features
from isinglass.distributions._truncated import draw_within, log_share_within
from isinglass.distributions.base import Distribution
from isinglass.distributions.pattern_mixture import PatternMixture, draw_one
from isinglass.errors import ParameterError, ShapeError
from isinglass.units import Mixed, Unit

__all__ = ["HybridMixture", "discrete_units", "real_components"]


@dataclass(frozen=True)
class HybridMixture(Distribution):
    r"""The distribution of discrete units d and real ones x that share one hidden choice μ.

    A pattern has a field on the discrete units, and a center and a slope on each real axis. Given
    μ all units are independent, so that sums over d and integrals over the box |x_i| ≤ r are
    products, whatever the kinds:

        S(d, x) = T log Σ_μ exp((k_μ + θ_μ·d − ½ Σ_i γ_μi² (x_i − c_μi)²)/T)
        V       = T log Σ_μ exp((k_μ + A_T(θ_μ))/T) Π_i (√(2πT)/γ_μi) P_μi
        P_μi    = Φ(γ_μi (r − c_μi)/√T) − Φ(−γ_μi (r + c_μi)/√T)

    Value, draws, conditionals and masks of the discrete units are exact. A pattern whose slope is
    small on an axis does not mind where x is there: the parameters of other choices.

    Reference: Hunt & Jorgensen 1999, doi:10.1111/1467-842X.00071 (mixtures of mixed columns);
    Sallans & Hinton 2004, JMLR 5:1063-1088 (Q = −F).

    Attributes:
        unit: The kinds of all units, in their order.
        distribution: The mixture over the discrete units, with keys k_μ and fields θ_μ.
        centers: c, ``(*batch, N, r)``.
        slopes: γ > 0, ``(*batch, N, r)``.
        bound: r > 0, half the width of the box.
        observed: Which real units are clamped, ``(*batch, r)``; None if none is.
        clamped: Their values, in place; zeros elsewhere.

    Examples:
        >>> from isinglass import Categorical, Gaussian
        >>> kinds = PatternMixture(Categorical(2), torch.zeros(1), torch.zeros(1, 2))
        >>> unit = Mixed([Categorical(2), Gaussian(1)])
        >>> one = HybridMixture(unit, kinds, torch.zeros(1, 1), torch.ones(1, 1))
        >>> one.value()  # log 2 ∫ exp(−x²/2) dx from −1 to 1
        tensor(1.2304)
        >>> one.score(torch.tensor([0.0, 1.0, 1.0]))
        tensor(-0.5000)
    """

    unit: Unit
    distribution: PatternMixture
    centers: Float[Tensor, "*batch N r"]
    slopes: Float[Tensor, "*batch N r"]
    bound: float = 1.0
    observed: Bool[Tensor, "*batch r"] | None = None
    clamped: Float[Tensor, "*batch r"] | None = None

    def __post_init__(self) -> None:
        if not 0 < self.bound < math.inf:
            raise ParameterError(
                f"bound = {self.bound}", "Give half the width of the box, above zero"
            )
        real = int(real_components(self.unit).sum())
        if self.centers.shape[-1] != real or real + self.distribution.unit.size != self.unit.size:
            raise ShapeError(
                f"centers of shape {tuple(self.centers.shape)} beside {self.distribution.unit}, in "
                f"{self.unit}",
                "Give each discrete unit a field and each real one a center, pattern by pattern",
            )

    @property
    def temperature(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The temperature T of the mixture."""
        return self.distribution.temperature

    @property
    def exact_value(self) -> bool:
        """Always: V is a sum over patterns."""
        return True

    def zeros_like_event(self) -> Float[Tensor, "*batch d"]:
        """Returns zeros with the shape, type and device of one state for each row."""
        batch = self.distribution.zeros_like_event().shape[:-1]
        batch = torch.broadcast_shapes(batch, self.centers.shape[:-2])
        return self.centers.new_zeros(*batch, self.unit.size)

    def score(self, state: Float[Tensor, "*states d"]) -> Float[Tensor, "*states"]:
        """Returns S(d, x) of full states, one for each row."""
        check_features(state, self.unit.size)
        discrete, real = self._split(state)
        overlap = self.distribution._overlap(discrete) + self._penalty(real)
        return self.distribution._score(discrete, overlap)

    def value(self, generator: Generator | None = None) -> Float[Tensor, "*batch"]:
        """Returns V, the sum and integral over the units that are not clamped, exactly."""
        return self._box_mixture().value(generator)

    def log_prob(self, state: Float[Tensor, "*states d"]) -> Float[Tensor, "*states"]:
        """Returns log p(d, x), a density in x, of states within the box."""
        return (self.score(state) - self.value()) / self.temperature

    def sample(self, generator: Generator | None = None) -> Float[Tensor, "*batch d"]:
        """Draws one state for each row, exactly: a pattern first, then every unit.

        Raises:
            DomainError: If keys and fields add up to more than the dtype holds.
        """
        box = self._box_mixture()
        index = draw_one(box.log_weights().exp(), generator)
        fields = box._mask_fields(box._row_of(index))
        discrete = box._restore(box.unit.sample(fields, self.temperature, generator))
        centers, slopes = (self._row_of(part, index) for part in (self.centers, self.slopes))
        real = draw_within(slopes * centers, slopes, self.bound, self.temperature, generator)
        return self._join(discrete, self._restore(real))

    def mode(self, refinements: int = 3) -> Float[Tensor, "*batch d"]:
        """Finds a state of high score: the settled state of the best pattern, climbed from.

        The start is exact as T → 0. A refinement takes the responsibilities p(μ) of the patterns
        for the state, and settles d in Σ_μ p(μ) θ_μ and x at Σ_μ p(μ) γ_μ² c_μ / Σ_μ p(μ) γ_μ²:
        a concave–convex step that never lowers the score.
        """
        kinds, unit = self.distribution, self.distribution.unit
        within = self.centers.clamp(-self.bound, self.bound)
        heights = kinds.keys + kinds._free_partition(0.0) + self._penalty(within, each=True)
        best = heights.argmax(-1, keepdim=True)
        fields = kinds._mask_fields(kinds._row_of(best))
        discrete = kinds._restore(unit.argmax_state(fields, unit.mean(fields, 0.0)))
        real = self._restore(self._row_of(within, best))
        steep = self.slopes.square()
        for _ in range(refinements):
            overlap = kinds._overlap(discrete) + self._penalty(real)
            shares = torch.softmax(overlap / self.temperature, -1)
            pull = torch.einsum("...n,...nd->...d", shares, kinds.fields)
            discrete = kinds._restore(unit.argmax_state(kinds._mask_fields(pull), discrete))
            weights = shares.unsqueeze(-1) * steep
            mean = (weights * self.centers).sum(-2) / weights.sum(-2)
            real = self._restore(mean.clamp(-self.bound, self.bound))
        return self._join(discrete, real)

    def condition(
        self, state: Float[Tensor, "*batch d"], observed: Bool[Tensor, "*mask"]
    ) -> HybridMixture:
        """Returns the exact distribution of the units that are not observed given those that are.

        Raises:
            ShapeError: If state or mask has the wrong number of features, or the mask cuts
                through a one-hot unit.
            DomainError: If an observed value is not a state of the unit, or is forbidden.
        """
        check_features(state, self.unit.size)
        self.unit.check_mask(observed)
        observed = observed.expand(torch.broadcast_shapes(observed.shape, state.shape))
        self.unit.check(state.expand(observed.shape), observed)
        discrete, real = self._split(state)
        new_kinds, new = self._split(observed)
        clamped = torch.zeros_like(real).expand(new.shape)
        now = new
        if self.observed is not None and self.clamped is not None:
            new = new & ~self.observed  # what was clamped before stays as it was
            now, clamped = new | self.observed, self.clamped
        kinds = self._weighted(self._penalty(real, of=new)).condition(discrete, new_kinds)
        clamped = torch.where(new, real, clamped)
        return replace(self, distribution=kinds, observed=now, clamped=clamped)

    def _without(self, forbidden: Bool[Tensor, "*batch d"]) -> HybridMixture:
        kinds, _ = self._split(forbidden)
        return replace(self, distribution=self.distribution._without(kinds))

    def _split(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the discrete and the real components."""
        real = real_components(self.unit).to(values.device)
        return values[..., ~real], values[..., real]

    def _join(self, discrete: Tensor, real: Tensor) -> Tensor:
        """Returns states of all components, in the order of the unit."""
        at = real_components(self.unit)
        order = torch.cat([(~at).nonzero(), at.nonzero()]).flatten().argsort()
        return torch.cat([discrete, real], -1)[..., order.to(real.device)]

    def _penalty(self, real: Tensor, each: bool = False, of: Tensor | None = None) -> Tensor:
        """Returns −½ Σ_i γ_μi² (x_i − c_μi)² over free axes, or over ``of``; x may be of each μ."""
        away = (real if each else real.unsqueeze(-2)) - self.centers
        axes = (self.slopes * away).square()
        if of is not None:
            axes = torch.where(of.unsqueeze(-2), axes, 0.0)
        elif self.observed is not None:
            axes = torch.where(self.observed.unsqueeze(-2), 0.0, axes)
        return -axes.sum(-1) / 2

    def _box_mixture(self) -> PatternMixture:
        """Returns the mixture over d, each pattern weighted by its integral over the box."""
        fields, temperature = self.slopes * self.centers, self.temperature
        logs = log_share_within(fields, self.slopes, self.bound, temperature)
        logs = logs - self.slopes.log() + math.log(2 * math.pi * temperature) / 2
        if self.observed is not None:
            logs = torch.where(self.observed.unsqueeze(-2), 0.0, logs)
        return self._weighted(temperature * logs.sum(-1))

    def _weighted(self, more: Tensor) -> PatternMixture:
        return replace(self.distribution, keys=self.distribution.keys + more)

    def _row_of(self, part: Tensor, index: Tensor) -> Tensor:
        """Returns what one pattern a row has on the real axes."""
        part = part.expand(*index.shape[:-1], *part.shape[-2:])
        index = index.unsqueeze(-1).expand(*index.shape, part.shape[-1])
        return part.gather(-2, index).squeeze(-2)

    def _restore(self, real: Tensor) -> Tensor:
        """Puts clamped real units back to their values."""
        if self.observed is None or self.clamped is None:
            return real
        return torch.where(self.observed, self.clamped, real)


def real_components(unit: Unit) -> Bool[Tensor, " size"]:
    """Tells which components of a unit are Gaussian.

    Examples:
        >>> from isinglass import Gaussian, Spin
        >>> real_components(Mixed([Spin(1), Gaussian(2)]))
        tensor([False,  True,  True])
    """
    kinds = torch.tensor([part.is_gaussian for part in unit.parts])
    return kinds.repeat_interleave(torch.tensor([part.size for part in unit.parts]))


def discrete_units(unit: Unit) -> Unit:
    """Returns the units that are not Gaussian, in their order.

    Raises:
        ParameterError: If there is none.

    Examples:
        >>> from isinglass import Gaussian, Spin
        >>> discrete_units(Mixed([Gaussian(2), Spin(3)]))
        Spin(size=3)
    """
    parts = [part for part in unit.parts if not part.is_gaussian]
    return parts[0] if len(parts) == 1 else Mixed(parts)
