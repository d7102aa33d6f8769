"""A law of units seen through a stretch of its axes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from isinglass._shapes import Bool, Float
from isinglass.energies.mixture import PatternMixture
from isinglass.units import Unit

__all__ = ["Stretched"]


@dataclass(frozen=True)
class Stretched:
    r"""The law of a = x/γ, where a mixture of patterns is the law of real units x.

        S(a) = S_x(γa),   V = T log ∫ exp(S(a)/T) da = V_x − T Σ_i log γ_i

    Reference: Gu et al. 2016, arXiv:1603.00748 (quadratic action values); change of variables.

    Attributes:
        law: The mixture over x, of Gaussian units.
        slopes: γ > 0, ``(*batch, d)``.

    Examples:
        >>> from isinglass import Gaussian
        >>> hill = PatternMixture(Gaussian(1), torch.zeros(1), torch.zeros(1, 1))
        >>> Stretched(hill, torch.tensor([2.0])).score(torch.tensor([0.5]))
        tensor(-0.5000)
    """

    law: PatternMixture
    slopes: Float[Tensor, "*batch d"]

    @property
    def unit(self) -> Unit:
        """Real units."""
        return self.law.unit

    @property
    def temperature(self) -> float:
        """T."""
        return self.law.temperature

    def blank(self) -> Float[Tensor, "*batch d"]:
        """Zeros shaped like one state a row."""
        return self.law.blank()

    def score(self, state: Float[Tensor, "*states d"]) -> Float[Tensor, "*states"]:
        """S(a)."""
        return self.law.score(self.slopes * state)

    def value(self, generator: Generator | None = None) -> Float[Tensor, "*batch"]:
        """V of the units that are not clamped, exactly."""
        logs = self.slopes.log()
        if self.law.observed is not None:
            logs = torch.where(self.law.observed, 0.0, logs)
        return self.law.value(generator) - self.temperature * logs.sum(-1)

    def log_prob(self, state: Float[Tensor, "*states d"]) -> Float[Tensor, "*states"]:
        """Log density of a."""
        return (self.score(state) - self.value()) / self.temperature

    def sample(self, generator: Generator | None = None) -> Float[Tensor, "*batch d"]:
        """One exact draw a row."""
        return self.law.sample(generator) / self.slopes

    def mode(self) -> Float[Tensor, "*batch d"]:
        """A state of high density."""
        return self.law.mode() / self.slopes

    def condition(
        self, state: Float[Tensor, "*batch d"], observed: Bool[Tensor, "*mask"]
    ) -> Stretched:
        """The exact law of the other units given the observed ones."""
        return replace(self, law=self.law.condition(self.slopes * state, observed))

    def lowered(self, penalty: Float[Tensor, "*batch d"]) -> Stretched:
        """The same with a penalty taken off the field of every unit x."""
        return replace(self, law=self.law.lowered(penalty))
