"""A mixture of real units with scaled axes, on all real numbers or truncated to a box."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Bool, Float
from isinglass.distributions._truncated import draw_within, log_share_within
from isinglass.distributions.base import Distribution
from isinglass.distributions.pattern_mixture import PatternMixture, pairwise_sums
from isinglass.errors import ParameterError
from isinglass.units import Unit

__all__ = ["ScaledTruncatedMixture"]


@dataclass(frozen=True)
class ScaledTruncatedMixture(Distribution):
    r"""The distribution of a = x/γ, where x are the real units of a mixture of patterns.

        S(a) = S_x(γa),   V = T log ∫ exp(S(a)/T) da = V_x − T Σ_i log γ_i

    With a ``bound`` r it is that of a in the box |a_i| ≤ r: pattern μ counts by its share
    within, and draws are exact ones of truncated normals.

        V = T log Σ_μ exp((k_μ + A_T(θ_μ))/T) Π_i [Φ((γ_i r − θ_μi)/√T) − Φ((−γ_i r − θ_μi)/√T)]
            − T Σ_i log γ_i

    Reference: Gu et al. 2016, arXiv:1603.00748 (quadratic action values); change of variables.

    Attributes:
        distribution: The mixture over x, of Gaussian units.
        slopes: γ > 0, ``(*batch, d)``.
        bound: r > 0, half the width of the box; infinite if a may be any real numbers.

    Examples:
        >>> from isinglass import Gaussian
        >>> peak = PatternMixture(Gaussian(1), torch.zeros(1), torch.zeros(1, 1))
        >>> ScaledTruncatedMixture(peak, torch.tensor([2.0])).score(torch.tensor([0.5]))
        tensor(-0.5000)
        >>> steep = ScaledTruncatedMixture(peak, torch.tensor([2.0]), bound=1.0)
        >>> steep.value()  # log ∫ exp(−2a²) da from −1 to 1
        tensor(0.1792)
    """

    distribution: PatternMixture
    slopes: Float[Tensor, "*batch d"]
    bound: float = math.inf

    def __post_init__(self) -> None:
        if not self.bound > 0:
            raise ParameterError(
                f"bound = {self.bound}",
                "Give half the width of the box, above zero",
            )

    @property
    def unit(self) -> Unit:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The kind of the real units, of x and of a alike."""
        return self.distribution.unit

    @property
    def temperature(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The temperature T of the mixture."""
        return self.distribution.temperature

    @property
    def exact_value(self) -> bool:
        """Always: V is a sum over patterns."""
        return True

    def zeros_like_event(self) -> Float[Tensor, "*batch d"]:
        """Returns zeros with the shape, type and device of one state a for each row."""
        return self.distribution.zeros_like_event()

    def score(self, state: Float[Tensor, "*states d"]) -> Float[Tensor, "*states"]:
        """Returns S(a) = S_x(γa) of a state a for each row."""
        return self.distribution.score(self.slopes * state)

    def value(self, generator: Generator | None = None) -> Float[Tensor, "*batch"]:
        """Returns V, the integral over the units that are not clamped, exactly."""
        logs = self.slopes.log()
        if self.distribution.observed is not None:
            logs = torch.where(self.distribution.observed, 0.0, logs)
        return self._box_mixture().value(generator) - self.temperature * logs.sum(-1)

    def log_prob(self, state: Float[Tensor, "*states d"]) -> Float[Tensor, "*states"]:
        """Returns the log-density log p(a) of states a within the box."""
        return (self.score(state) - self.value()) / self.temperature

    def sample(self, generator: Generator | None = None) -> Float[Tensor, "*batch d"]:
        """Draws one a ~ p(a) for each row, exactly."""
        if math.isinf(self.bound):
            return self.distribution.sample(generator) / self.slopes
        centers = self._box_mixture().draw_pattern(generator)
        drawn = draw_within(centers, self.slopes, self.bound, self.temperature, generator)
        if self.distribution.observed is None or self.distribution.clamped is None:
            return drawn
        return torch.where(
            self.distribution.observed, self.distribution.clamped / self.slopes, drawn
        )

    def mode(self) -> Float[Tensor, "*batch d"]:
        """Finds a state a of high density for each row, within the box."""
        return (self.distribution.mode() / self.slopes).clamp(-self.bound, self.bound)

    def condition(
        self, state: Float[Tensor, "*batch d"], observed: Bool[Tensor, "*mask"]
    ) -> ScaledTruncatedMixture:
        """Returns the exact p(a_free | a_observed) of the units that are not observed."""
        return replace(
            self, distribution=self.distribution.condition(self.slopes * state, observed)
        )

    def tilted(self, prior: Distribution) -> ScaledTruncatedMixture | None:
        """Returns prior(a)·exp(S(a)/T) of another such mixture in the same box: again one.

        Precisions add up, γ² + (T/T_prior) γ_prior², and centers are their weighted means.
        """
        if not isinstance(prior, ScaledTruncatedMixture) or prior.bound != self.bound:
            return None
        if not self._is_plain() or not prior._is_plain():
            return None
        base, other = self.distribution, prior.distribution
        share = self.temperature / prior.temperature
        slopes = (self.slopes.square() + share * prior.slopes.square()).sqrt()
        fields = pairwise_sums(
            self.slopes.unsqueeze(-2) * base.fields,
            share * prior.slopes.unsqueeze(-2) * other.fields,
        )
        mixture = replace(
            base,
            keys=base._paired_keys(other, prior.value()),
            fields=fields / slopes.unsqueeze(-2),
        )
        return replace(self, distribution=mixture, slopes=slopes)

    def _is_plain(self) -> bool:
        """Tells whether all units are normal ones, free to be any number in the box."""
        return self.unit.is_gaussian and self.distribution.observed is None

    def _without(self, forbidden: Bool[Tensor, "*batch d"]) -> ScaledTruncatedMixture:
        return replace(self, distribution=self.distribution._without(forbidden))

    def _box_mixture(self) -> PatternMixture:
        """Returns the mixture over x, each pattern weighted by its share of the box."""
        if math.isinf(self.bound):
            return self.distribution
        fields, slopes = self.distribution.fields, self.slopes.unsqueeze(-2)
        logs = log_share_within(fields, slopes, self.bound, self.temperature)
        if self.distribution.observed is not None:
            logs = torch.where(self.distribution.observed.unsqueeze(-2), 0.0, logs)
        return replace(
            self.distribution, keys=self.distribution.keys + self.temperature * logs.sum(-1)
        )
