"""A law of units seen through a stretch of its axes, on all real numbers or in a box."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Bool, Float
from isinglass.distributions.pattern_mixture import PatternMixture
from isinglass.errors import ParameterError
from isinglass.units import Unit
from isinglass.units.base import uniform_like

__all__ = ["ScaledTruncatedMixture"]


@dataclass(frozen=True)
class ScaledTruncatedMixture:
    r"""The law of a = x/γ, where a mixture of patterns is the law of real units x.

        S(a) = S_x(γa),   V = T log ∫ exp(S(a)/T) da = V_x − T Σ_i log γ_i

    With a ``reach`` r the law is that of a in the box |a_i| ≤ r: pattern μ counts by its share
    within, and draws are exact ones of truncated normals.

        V = T log Σ_μ exp((k_μ + A_T(θ_μ))/T) Π_i [Φ((γ_i r − θ_μi)/√T) − Φ((−γ_i r − θ_μi)/√T)]
            − T Σ_i log γ_i

    Reference: Gu et al. 2016, arXiv:1603.00748 (quadratic action values); change of variables.

    Attributes:
        distribution: The mixture over x, of Gaussian units.
        slopes: γ > 0, ``(*batch, d)``.
        reach: r > 0, half the width of the box; infinite if a may be any real numbers.

    Examples:
        >>> from isinglass import Gaussian
        >>> hill = PatternMixture(Gaussian(1), torch.zeros(1), torch.zeros(1, 1))
        >>> ScaledTruncatedMixture(hill, torch.tensor([2.0])).score(torch.tensor([0.5]))
        tensor(-0.5000)
        >>> ScaledTruncatedMixture(hill, torch.tensor([2.0]), reach=1.0).value()  # log ∫ exp(−2a²) da
        tensor(0.1792)
    """

    distribution: PatternMixture
    slopes: Float[Tensor, "*batch d"]
    reach: float = math.inf

    def __post_init__(self) -> None:
        if not self.reach > 0:
            raise ParameterError(
                f"reach = {self.reach}",
                "Give half the width of the box, above zero",
            )

    @property
    def unit(self) -> Unit:
        """Real units."""
        return self.distribution.unit

    @property
    def temperature(self) -> float:
        """T."""
        return self.distribution.temperature

    def zeros_like_event(self) -> Float[Tensor, "*batch d"]:
        """Zeros shaped like one state a row."""
        return self.distribution.zeros_like_event()

    def score(self, state: Float[Tensor, "*states d"]) -> Float[Tensor, "*states"]:
        """S(a)."""
        return self.distribution.score(self.slopes * state)

    def value(self, generator: Generator | None = None) -> Float[Tensor, "*batch"]:
        """V of the units that are not clamped, exactly."""
        logs = self.slopes.log()
        if self.distribution.observed is not None:
            logs = torch.where(self.distribution.observed, 0.0, logs)
        return self._within().value(generator) - self.temperature * logs.sum(-1)

    def log_prob(self, state: Float[Tensor, "*states d"]) -> Float[Tensor, "*states"]:
        """Log density of a, which has to lie in the box."""
        return (self.score(state) - self.value()) / self.temperature

    def sample(self, generator: Generator | None = None) -> Float[Tensor, "*batch d"]:
        """One exact draw a row."""
        if math.isinf(self.reach):
            return self.distribution.sample(generator) / self.slopes
        centers = self._within().draw_pattern(generator)
        low, high = (torch.erf(edge) for edge in self._edges(centers, self.slopes))
        chance = uniform_like(centers, generator)
        away = torch.erfinv(torch.lerp(low, high, chance)) * math.sqrt(2 * self.temperature)
        drawn = ((centers + away) / self.slopes).clamp(-self.reach, self.reach)
        if self.distribution.observed is None or self.distribution.clamped is None:
            return drawn
        return torch.where(
            self.distribution.observed, self.distribution.clamped / self.slopes, drawn
        )

    def mode(self) -> Float[Tensor, "*batch d"]:
        """A state of high density."""
        return (self.distribution.mode() / self.slopes).clamp(-self.reach, self.reach)

    def condition(
        self, state: Float[Tensor, "*batch d"], observed: Bool[Tensor, "*mask"]
    ) -> ScaledTruncatedMixture:
        """The exact law of the other units given the observed ones."""
        return replace(
            self, distribution=self.distribution.condition(self.slopes * state, observed)
        )

    def lowered(self, penalty: Float[Tensor, "*batch d"]) -> ScaledTruncatedMixture:
        """The same with a penalty taken off the field of every unit x."""
        return replace(self, distribution=self.distribution.lowered(penalty))

    def _within(self) -> PatternMixture:
        """The law of x, each pattern weighted by its share of the box."""
        if math.isinf(self.reach):
            return self.distribution
        low, high = self._edges(self.distribution.fields, self.slopes.unsqueeze(-2))
        shares = (torch.erf(high) - torch.erf(low)) / 2
        logs = shares.clamp_min(torch.finfo(shares.dtype).tiny).log()
        if self.distribution.observed is not None:
            logs = torch.where(self.distribution.observed.unsqueeze(-2), 0.0, logs)
        return replace(
            self.distribution, keys=self.distribution.keys + self.temperature * logs.sum(-1)
        )

    def _edges(self, centers: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
        """The bounds of the box as seen from the centres, in units of √2 standard deviations."""
        width = math.sqrt(2 * self.temperature)
        bound = self.reach * slopes
        return (-bound - centers) / width, (bound - centers) / width
