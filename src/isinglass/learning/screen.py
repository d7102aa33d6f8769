"""Finds cells that the other cells of their row contradict."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Bool, Float
from isinglass.distributions.covariance_mixture import CovarianceMixture
from isinglass.distributions.mixed_rows import MixedRows
from isinglass.distributions.mixture_stack import transformed
from isinglass.distributions.yeo_johnson import YeoJohnson
from isinglass.learning.covariance_em import CovariancePrior, covariance_em, covariance_start

__all__ = ["Screen", "left_out_scores"]

#: Deviations from what the rest of the row says beyond which a cell is flagged.
FAR = 4.5
#: Deviations at which numbers are cut off for the first covariance.
CUT = 2.5
#: How often the covariance is fitted to what is not flagged.
ROUNDS = 3
#: Steps of EM of each.
STEPS = 30


def left_out_scores(mixture: CovarianceMixture, rows: MixedRows) -> Float[Tensor, "n d"]:
    r"""Computes how far each known number is from what the other known numbers of its row say.

        z_j = (x_j − E[x_j | x_o∖j])/√Var = (Σ_oo⁻¹ (x_o − μ_o))_j / √(Σ_oo⁻¹)_jj

    Args:
        mixture: One memory of full covariance.
        rows: The rows.

    Returns:
        ``(n, d)``, 0 where unknown.

    Examples:
        >>> line = torch.tensor([[[1.0, 0.8], [0.8, 1.0]]]).double()
        >>> mixture = CovarianceMixture(torch.zeros(1).double(), torch.zeros(1, 2).double(), line)
        >>> rows = MixedRows.of(torch.tensor([[1.0, 0.8]]).double())
        >>> left_out_scores(mixture, rows).round(decimals=2)
        tensor([[0.6000, 0.0000]], dtype=torch.float64)
    """
    found = mixture.expect(rows)
    precision = mixture.precision[0]
    force = (found.numbers[0] - mixture.means[0]) @ precision
    weight = precision.diagonal().expand_as(force).clone()
    for gap, covariance in found.covariances:
        beside = precision[:, gap.cells].movedim(1, 0)  # (p, d, u)
        lost = ((beside @ covariance[0]) * beside).sum(-1)
        weight[gap.rows] -= lost[gap.pattern]
    return torch.where(rows.known, force / weight.clamp_min(1e-12).sqrt(), 0.0)


@dataclass(frozen=True)
class Screen:
    r"""One memory of full covariance, robustly fitted, that flags cells far from it.

    Of each row the cell that is farthest from what the others say is flagged where it is beyond
    4.5 deviations, and so on with the cells that are left.

    Args:
        transform: What numbers are transformed by.
        mixture: The memory.

    Examples:
        >>> generator = torch.Generator().manual_seed(0)
        >>> line = torch.randn(200, 1, generator=generator).double().expand(-1, 3)
        >>> data = line + 0.1 * torch.randn(200, 3, generator=generator).double()
        >>> data[5, 1] += 3
        >>> rows = MixedRows.of(data)
        >>> one = torch.ones(3).double()
        >>> screen = Screen.of(rows, YeoJohnson.identity(0 * one, one), generator=generator)
        >>> screen.flags(rows).nonzero()
        tensor([[5, 1]])
    """

    transform: YeoJohnson
    mixture: CovarianceMixture

    @classmethod
    def of(cls, rows: MixedRows, transform: YeoJohnson, *, generator: Generator) -> Screen:
        """Fits the memory, first to numbers cut off at 2.5 deviations, then to those not flagged.

        Args:
            rows: The data.
            transform: What numbers are transformed by; it should scale them robustly.
            generator: Source of randomness.
        """
        inside = replace(transformed(transform, rows), names=rows.names[:, :0])
        cut = replace(inside, numbers=inside.numbers.clamp(-CUT, CUT))
        screen = cls(transform, _one_memory(cut, generator))
        for _ in range(ROUNDS):
            kept = rows.hidden(~screen.flags(rows))
            inside = replace(transformed(transform, kept), names=rows.names[:, :0])
            screen = cls(transform, _one_memory(inside, generator))
        return screen

    def flags(self, rows: MixedRows) -> Bool[Tensor, "n d"]:
        """Marks the known numbers of rows that the others contradict; at most half of them."""
        found = torch.zeros_like(rows.known)
        index = torch.arange(len(rows), device=rows.known.device)
        inside = replace(transformed(self.transform, rows), names=rows.names[:, :0])
        most = rows.known.sum(1) // 2
        while len(index):
            scores = left_out_scores(self.mixture, inside.take(index)).abs()
            far, column = scores.max(1)
            going = (far > FAR) & (found[index].sum(1) < most[index])
            index, column = index[going], column[going]
            found[index, column] = True
            inside = inside.hidden(~found)
        return found


def _one_memory(rows: MixedRows, generator: Generator) -> CovarianceMixture:
    prior = CovariancePrior.of(rows)
    start = covariance_start(rows, 1, "full", prior, generator=generator)
    return covariance_em(start, rows, "full", prior, steps=STEPS, tolerance=1e-3)[0]
