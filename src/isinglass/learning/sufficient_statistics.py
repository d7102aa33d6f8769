"""What EM needs of the data: expected sufficient statistics, and imagined rows beside them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from isinglass._support.typing import Bool, Float
from isinglass.learning.robust import RobustStatistics

__all__ = ["NO_MASS", "PseudoCounts", "SufficientStatistics"]

#: Responsibility, as a share of the rows, below which a memory has none: 0/0 is not to be taken.
NO_MASS = 1e-12
#: Degrees of freedom of the Student prior of means: how soon a far memory is let go.
FREEDOM = 4.0


@dataclass(frozen=True)
class PseudoCounts:
    r"""Imagined rows at the middle of the data, a Student prior on the means of memories.

        κ_μi = κ / (1 + ((m_μi − c_i)/s_i)²/4)      rows of memory μ for unit i

    keeps probabilities off 0 and 1 and memories of few rows near the rest. A memory that has its
    rows far outside is let go: an odd row is not drawn to the middle, nor the middle to it.

    Attributes:
        share: κ, as a share of the rows.
        center: c, ``(d,)``: the median of Gaussian units, the mean of others.
        spread: s, ``(d,)``: by the quartiles of Gaussian units, infinite for others.

    Examples:
        >>> data = torch.tensor([[0.0], [1.0], [2.0], [900.0]])
        >>> PseudoCounts.of(data, None, torch.tensor([True]), 0.1).center  # no odd row moves it
        tensor([1.5000])
    """

    share: float
    center: Float[Tensor, " d"]
    spread: Float[Tensor, " d"]

    @classmethod
    def of(
        cls,
        data: Float[Tensor, "n d"],
        observed: Bool[Tensor, "n d"] | None,
        gaussian: Bool[Tensor, " d"],
        share: float,
    ) -> PseudoCounts:
        """Places them in the middle of the data, where the flags say Gaussian by the median."""
        seen = data if observed is None else torch.where(observed, data, 0.0)
        count = len(data) if observed is None else observed.sum(0).clamp_min(1)
        center, spread = seen.sum(0) / count, torch.full_like(data[0], torch.inf)
        if share > 0 and bool(gaussian.any()):
            chosen = gaussian.nonzero().squeeze(-1)
            robust = RobustStatistics.of(
                data[:, chosen], None if observed is None else observed[:, chosen]
            )
            center[chosen] = robust.center
            # Where the middle half of a column are equal nothing says what is far.
            spread[chosen] = torch.where(robust.spread > 0, robust.spread, torch.inf)
        return cls(share, center, spread)


@dataclass(frozen=True)
class SufficientStatistics:
    r"""Expected sufficient statistics of a Hopfield–Boltzmann machine, averages over the rows.

    Attributes:
        weight: ⟨r_μ⟩, ``(N,)``.
        mass: ⟨r_μ o_i⟩, ``(N, d)``, with o_i = 1 where unit i was observed.
        total: ⟨r_μ o_i (x_i − a_i)⟩, ``(N, d)``.
        square: ⟨o_i (x_i − a_i)²⟩, ``(d,)``.
        origin: a, ``(d,)``: near the mean, so that in the variance squares cancel the least.

    Examples:
        >>> rows, seen = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.ones(2, 2, dtype=torch.bool)
        >>> found = SufficientStatistics.of(torch.ones(2, 1), rows, seen, torch.zeros(2))
        >>> found.total / found.mass  # the mean of the rows
        tensor([[2., 3.]])
    """

    weight: Float[Tensor, " N"]
    mass: Float[Tensor, "N d"]
    total: Float[Tensor, "N d"]
    square: Float[Tensor, " d"]
    origin: Float[Tensor, " d"]

    @classmethod
    def of(
        cls,
        responsibilities: Float[Tensor, "n N"],
        data: Float[Tensor, "n d"],
        observed: Bool[Tensor, "n d"] | None = None,
        origin: Float[Tensor, " d"] | None = None,
    ) -> SufficientStatistics:
        """Averages data over the rows, row n given to memory μ with probability r_nμ.

        Args:
            responsibilities: r, as :func:`e_step` returns them.
            data: x.
            observed: True where a unit was observed; None is everywhere.
            origin: a; None is zero.
        """
        share = responsibilities.mT / len(data)
        weight = share.sum(-1)
        origin = torch.zeros_like(data[0]) if origin is None else origin
        seen = data - origin
        if observed is None:
            mass = weight.unsqueeze(-1).expand(-1, data.shape[-1])
        else:
            mass = share @ observed.to(data)
            seen = torch.where(observed, seen, 0.0)
        return cls(weight, mass, share @ seen, seen.square().mean(0), origin)

    def toward(self, other: SufficientStatistics, rate: float) -> SufficientStatistics:
        """Moves to (1 − rate) · self + rate · other: a step of stepwise EM."""
        other = other.about(self.origin)
        return SufficientStatistics(
            *(
                torch.lerp(mine, theirs, rate)
                for mine, theirs in zip(vars(self).values(), vars(other).values(), strict=True)
            )
        )

    def about(self, origin: Float[Tensor, " d"]) -> SufficientStatistics:
        """Moves the origin of the moments to a."""
        step = self.origin - origin
        mass, total = self.mass.sum(0), self.total.sum(0)
        return replace(
            self,
            total=self.total + self.mass * step,
            square=self.square + 2 * step * total + step.square() * mass,
            origin=origin,
        )

    def center(self) -> Float[Tensor, " d"]:
        """Returns the mean of what was observed of each unit, less the origin."""
        return self.total.sum(0) / self.mass.sum(0).clamp_min(NO_MASS)

    def with_pseudo_counts(self, pseudo: PseudoCounts) -> SufficientStatistics:
        """Adds imagined rows at the middle of the data, fewer to a memory that is far from it."""
        center = pseudo.center - self.origin
        means = self.total / self.mass.clamp_min(NO_MASS)
        away = torch.where(self.mass > NO_MASS, means - center, 0.0) / pseudo.spread
        share = pseudo.share / (1 + away.square() / FREEDOM)
        return replace(
            self,
            weight=self.weight + pseudo.share,
            mass=self.mass + share,
            total=self.total + share * center,
            square=self.square + share.sum(0) * center.square(),
        )

    def deviation(self, means: Float[Tensor, "N d"]) -> Float[Tensor, " d"]:
        """Returns Σ_μ ⟨r_μ o_i (x_i − mean_μi)²⟩, the means less the origin."""
        product = means * (means * self.mass - 2 * self.total)
        return (self.square + product.sum(0)).clamp_min(0)
