"""The transform of Yeo and Johnson, column by column, with λ where it is onto the real line."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from isinglass._support.typing import Bool, Float

__all__ = ["YeoJohnson"]

#: λ that are tried.
GRID = 41
#: Largest exponent: squares of what it gives are floats.
LARGEST = 250.0
#: Below this a power is a logarithm.
TINY = 1e-9


@dataclass(frozen=True)
class YeoJohnson:
    r"""The transform z = T(u), u = (x − center)/spread, of each column.

        T(u) = ((1 + u)^λ − 1)/λ for u ≥ 0,   −((1 − u)^(2−λ) − 1)/(2 − λ) for u < 0

    with λ in [0, 2], where T maps the real line onto itself; λ = 1 is the identity.

    Reference: Yeo & Johnson 2000, doi:10.1093/biomet/87.4.954.

    Args:
        power: λ, ``(d,)``.
        center: ``(d,)``.
        spread: Above 0, ``(d,)``.

    Examples:
        >>> one = torch.ones(1).double()
        >>> transform = YeoJohnson(0 * one, 0 * one, 2 * one)
        >>> transform(torch.tensor([[2.0]]).double())  # log(1 + 2/2)
        tensor([[0.6931]], dtype=torch.float64)
        >>> transform.inverse(torch.tensor([[0.6931]]).double()).round(decimals=3)
        tensor([[2.]], dtype=torch.float64)
    """

    power: Float[Tensor, " d"]
    center: Float[Tensor, " d"]
    spread: Float[Tensor, " d"]

    @classmethod
    def of(
        cls,
        numbers: Float[Tensor, "n d"],
        known: Bool[Tensor, "n d"],
        center: Float[Tensor, " d"],
        spread: Float[Tensor, " d"],
    ) -> YeoJohnson:
        """Fits λ of each column by the likelihood of a normal distribution.

        λ stays 1 where another gains less than half log n nats.

        Args:
            numbers: The columns.
            known: Which cells are known.
            center: What is taken off first.
            spread: What is divided by.
        """
        away = torch.where(known, (numbers - center) / spread, 0.0)
        count = known.sum(0).clamp_min(1)
        logs = (away.sign() * away.abs().log1p()).sum(0) / count
        powers = torch.linspace(0, 2, GRID, dtype=numbers.dtype, device=numbers.device)
        scores = []
        for power in powers:
            values = _forward(away, power)  # T(0) = 0: what is unknown adds nothing
            mean = values.sum(0) / count
            square = torch.where(known, values - mean, 0.0).square().sum(0) / count
            scores.append((power - 1) * logs - square.clamp_min(1e-300).log() / 2)
        table = torch.stack(scores).nan_to_num(nan=-torch.inf)
        best, plain = table.max(0), table[GRID // 2]
        gained = (best.values - plain) * count > count.clamp_min(2).log() / 2
        return cls(torch.where(gained, powers[best.indices], 1.0), center, spread)

    @classmethod
    def identity(cls, center: Float[Tensor, " d"], spread: Float[Tensor, " d"]) -> YeoJohnson:
        """Returns the transform that only centers and divides."""
        return cls(torch.ones_like(center), center, spread)

    @property
    def plain(self) -> bool:
        """Whether λ is 1 in every column."""
        return bool((self.power == 1).all())

    def __call__(self, numbers: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """Transforms numbers x to z."""
        return _forward((numbers - self.center) / self.spread, self.power)

    def inverse(self, values: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """Transforms values z back to numbers x."""
        power = torch.where(values >= 0, self.power, 2 - self.power)
        size = values.abs()
        logs = torch.where(power < TINY, size, (power * size).log1p() / power.clamp_min(TINY))
        away = values.sign() * logs.clamp_max(LARGEST).expm1()
        return self.center + self.spread * torch.where(self.power == 1, values, away)

    def log_slope(self, numbers: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """Computes log dz/dx of each number."""
        away = (numbers - self.center) / self.spread
        return (self.power - 1) * away.sign() * away.abs().log1p() - self.spread.log()


def _forward(away: Tensor, power: Tensor) -> Tensor:
    exponent = torch.where(away >= 0, power, 2 - power)
    logs = away.abs().log1p()
    grown = (exponent * logs).clamp_max(LARGEST).expm1() / exponent.clamp_min(TINY)
    values = away.sign() * torch.where(exponent < TINY, logs, grown)
    return torch.where(power == 1, away, values)
