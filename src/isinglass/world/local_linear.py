"""Attention over stored points with a line through those that are attended to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from isinglass._support.typing import Float, Int
from isinglass.errors import ShapeError

__all__ = ["LocalLinear"]

STEPS = 80  # of Adam on widths and λ
QUERIES = 256  # points that are left out in one step
RATE = 0.1
SMALL = 1e-9
MOST_APART = 1_024  # points whose neighbors are looked for


@dataclass(frozen=True)
class LocalLinear:
    r"""A read-out of stored values, linear in what is attended to by a Gaussian kernel.

        w = softmax(−½ |D(x − x_μ)|²),   ŷ = the constant of the line through (x_μ − x, y_μ),

    fitted with weights w and a ridge λ on its slopes: C = (Φᵀ diag(w) Φ + λI₀)⁻¹ Φᵀ diag(w) Y
    with Φ = (1, x_μ − x) and no ridge on the constant. At λ → ∞ it is plain attention, Σ w_μ y_μ.
    What is read stays between the lowest and the highest value that is stored.

    Reference: Cleveland 1979, JASA 74:829-836 (local regression); Ramsauer et al. 2020,
    arXiv:2008.02217 (the attention).

    Attributes:
        points: x_μ, ``(N, p)``.
        values: y_μ, ``(N, q)``.
        rates: The diagonal of D, ``(p,)``: one over the width of each coordinate.
        ridge: λ ≥ 0, beside weights that add up to 1 and coordinates in units of their spread.

    Examples:
        >>> x = torch.linspace(-1, 1, 21, dtype=torch.float64).unsqueeze(-1)
        >>> read = LocalLinear.fitted(x, 3 * x)
        >>> read(torch.tensor([[0.33]], dtype=torch.float64))[0].round(decimals=3)
        tensor([[0.9900]], dtype=torch.float64)
    """

    points: Float[Tensor, "N p"]
    values: Float[Tensor, "N q"]
    rates: Float[Tensor, " p"]
    ridge: float | Tensor

    @classmethod
    def fitted(
        cls,
        points: Float[Tensor, "N p"],
        values: Float[Tensor, "N q"],
        start: LocalLinear | None = None,
    ) -> LocalLinear:
        """Chooses D and λ by the squared error of points foretold from all others.

        Args:
            points: x_μ.
            values: y_μ.
            start: An earlier one to go on from.

        Raises:
            ShapeError: If there are not as many values as points.
        """
        if len(points) != len(values):
            raise ShapeError(
                f"{len(points)} points, {len(values)} values", "Give a value for each point"
            )
        spread = points.std(0, correction=0)
        spread = torch.where(spread > 0, spread, 1.0)
        if start is None:
            width = max(len(points), 2) ** (-1 / (4 + points.shape[1]))
            start = cls(points, values, 1 / (2 * width * spread), 1e-3)
        log_rates = start.rates.log().clone().requires_grad_()
        log_ridge = torch.as_tensor(start.ridge, dtype=points.dtype).log().requires_grad_()
        optimizer = torch.optim.Adam([log_rates, log_ridge], lr=RATE)
        size = values.std(0, correction=0).clamp_min(SMALL)
        generator = torch.Generator().manual_seed(len(points))
        best = torch.inf, start.rates, float(start.ridge)
        test = torch.randperm(len(points), generator=generator)[:QUERIES].to(points.device)
        data = cls(points, values, start.rates, start.ridge).moments
        for _ in range(STEPS if len(points) > 2 else 0):
            read = cls(points, values, log_rates.exp(), log_ridge.exp())
            read.__dict__["moments"] = data  # the same at every step
            error = ((read.left_out(test) - values[test]) / size).square().mean()
            if not bool(error.isfinite()):
                break
            if float(error.detach()) < best[0]:
                best = (
                    float(error.detach()),
                    log_rates.detach().exp(),
                    float(log_ridge.detach().exp()),
                )
            optimizer.zero_grad()
            error.backward()
            optimizer.step()
        return cls(points, values, *best[1:])

    def __call__(
        self, queries: Float[Tensor, "B p"]
    ) -> tuple[Float[Tensor, "B q"], Float[Tensor, " B"]]:
        """Reads values at queries, and how near the nearest stored point is, as log of its kernel.

        Args:
            queries: x.

        Returns:
            ŷ, and −½ |D(x − x_μ)|² of the nearest.
        """
        scores = self._scores(queries)
        nearest = scores.amax(-1)
        return self._read(queries, scores), nearest

    def left_out(self, index: Int[Tensor, " B"]) -> Float[Tensor, "B q"]:
        """Reads the values of stored points from all others."""
        queries = self.points[index]
        scores = self._scores(queries).scatter(1, index.unsqueeze(-1), -torch.inf)
        return self._read(queries, scores)

    def apart(self) -> Float[Tensor, " N"]:
        """Returns −½ |D(x − x_μ)|² of each stored point from the nearest other, some if many."""
        index = torch.arange(min(len(self.points), MOST_APART), device=self.points.device)
        scores = self._scores(self.points[index]).scatter(1, index.unsqueeze(-1), -torch.inf)
        return scores.amax(-1)

    def _scores(self, queries: Tensor) -> Tensor:
        keys, asked = self.points * self.rates, queries * self.rates
        far = asked.square().sum(-1, keepdim=True) - 2 * asked @ keys.mT + keys.square().sum(-1)
        return -0.5 * far.clamp_min(0)

    @cached_property
    def moments(self) -> _Moments:
        """Products of the stored points, by which a weighted line is a product of matrices."""
        middle = self.points.mean(0)
        scale = self.points.std(0, correction=0)
        scale = torch.where(scale > 0, scale, 1.0)
        points = (self.points - middle) / scale
        square = (points.unsqueeze(2) * points.unsqueeze(1)).flatten(1)
        joint = (points.unsqueeze(2) * self.values.unsqueeze(1)).flatten(1)
        table = torch.cat([points, self.values, square, joint], 1)
        return _Moments(middle, scale, self.values.amin(0), self.values.amax(0), table)

    def _read(self, queries: Tensor, scores: Tensor) -> Tensor:
        """The constant of the weighted line, from moments moved to each query."""
        size, outputs = self.points.shape[1], self.values.shape[1]
        sums = torch.softmax(scores, -1) @ self.moments.table
        asked = (queries - self.moments.middle) / self.moments.scale
        mean, value, square, joint = sums.split([size, outputs, size**2, size * outputs], 1)
        square, joint = square.unflatten(1, (size, size)), joint.unflatten(1, (size, outputs))
        covariance = square - mean.unsqueeze(2) * mean.unsqueeze(1)
        covariance = covariance + (self.ridge + SMALL) * torch.eye(size).to(covariance)
        # About the query the ridge is on slopes alone, so the line goes through (x̄, ȳ).
        slopes = torch.linalg.solve(covariance, joint - mean.unsqueeze(2) * value.unsqueeze(1))
        value = value - ((mean - asked).unsqueeze(1) @ slopes).squeeze(1)
        # A line goes on for ever; what is stored does not, and a plan would go where it ends.
        return value.clamp(self.moments.lowest, self.moments.highest)


@dataclass(frozen=True)
class _Moments:
    """Coordinates in units of their spread, with their products."""

    middle: Tensor
    scale: Tensor
    lowest: Tensor
    highest: Tensor
    table: Tensor
