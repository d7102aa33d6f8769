"""Robust statistics of columns: middle, spread, resolution, and which cells lie far outside."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from isinglass._support.typing import Bool, Float

__all__ = ["RobustStatistics", "resolution", "winsorized_moments"]

#: Interquartile range of a normal distribution, in standard deviations.
NORMAL = 1.349
#: A cell lies outside if it is farther than so many spreads from the median …
SPREADS = 6.0
#: … and so many times farther than the farthest that does not …
JUMP = 3.0
#: … and is one of few: of a larger share, memories are to be learned.
SHARE = 0.02
#: With fewer cells nothing is called odd.
FEWEST = 8


@dataclass(frozen=True)
class RobustStatistics:
    r"""Medians and quartiles of columns, which single cells cannot move.

    Attributes:
        center: The median of each column, ``(d,)``.
        spread: (third − first quartile)/1.349, the deviation of a normal distribution with these
            quartiles, ``(d,)``; 0 where the middle half of the cells are equal.
        reach: How far from the median a cell may lie, ``(d,)``: beyond it are cells that are few
            (at most 2 %), over 6 spreads from the median, and over 3 times farther than all others.
            Where the middle half are equal, spreads are the middle distance of the cells that
            differ from them. Infinite where those, or all cells, are fewer than 8.

    Examples:
        >>> data = torch.arange(-49.0, 50).unsqueeze(-1)
        >>> odd = torch.cat([data, torch.tensor([[1e6]])])
        >>> clean, torn = RobustStatistics.of(data), RobustStatistics.of(odd)
        >>> clean.center, torn.center, clean.spread.round(), torn.spread.round()
        (tensor([0.]), tensor([0.5000]), tensor([37.]), tensor([38.]))
        >>> torn.outside(odd).sum(), clean.outside(data).sum()
        (tensor(1), tensor(0))
    """

    center: Float[Tensor, " d"]
    spread: Float[Tensor, " d"]
    reach: Float[Tensor, " d"]

    @classmethod
    def of(
        cls, data: Float[Tensor, "n d"], observed: Bool[Tensor, "n d"] | None = None
    ) -> RobustStatistics:
        """Computes them of the observed cells of each column; zeros where there are none."""
        observed = torch.ones_like(data, dtype=torch.bool) if observed is None else observed
        count = observed.sum(0)
        ordered = torch.where(observed, data, torch.inf).sort(0).values
        center = (_lower(ordered, count, 0.5) + _upper(ordered, count, 0.5)) / 2
        first, third = _lower(ordered, count, 0.25), _upper(ordered, count, 0.75)
        spread = (third - first) / NORMAL
        # Ascending distances; what is not observed is nowhere, and never the last of the near.
        distance = torch.where(observed, (data - center).abs(), torch.inf).sort(0).values
        rank = torch.arange(len(data) - 1, device=data.device).unsqueeze(-1)
        few = (count * SHARE).floor().clamp_min(1)
        # Where the middle half are equal, the middle distance of those that differ is the measure.
        same = (distance == 0).sum(0)
        differ = count - same
        other = _pick(distance, differ, (same + differ // 2).clamp_max(len(data) - 1))
        unit = torch.where((spread > 0) | (differ < FEWEST), spread, other)
        far = distance[1:] > torch.maximum(SPREADS * unit, JUMP * distance[:-1])
        odd = far & (rank + 1 < count) & (rank + 1 >= count - few)
        # The farthest that is not odd: just before the first jump, or the last that was observed.
        last = _pick(distance, count, count - 1).unsqueeze(0)
        inner = torch.cat([torch.where(odd, distance[:-1], torch.inf), last]).amin(0)
        reach = torch.maximum(SPREADS * unit, JUMP * inner)
        bounded = (unit > 0) & (count >= FEWEST)
        return cls(center, spread, torch.where(bounded, reach, torch.inf))

    def outside(self, data: Float[Tensor, "n d"]) -> Bool[Tensor, "n d"]:
        """Marks cells that lie beyond the reach of their column."""
        return (data - self.center).abs() > self.reach


def winsorized_moments(
    data: Float[Tensor, "n d"], observed: Bool[Tensor, "n d"], found: RobustStatistics
) -> tuple[Float[Tensor, " d"], Float[Tensor, " d"]]:
    """Computes mean and deviation of columns, with cells brought to within 6 spreads of the median.

    Where the middle half of a column are equal there is no such bound, and cells count as they are.

    Examples:
        >>> data = torch.tensor([[0.0], [1.0], [2.0], [1e9]])
        >>> mean, deviation = winsorized_moments(
        ...     data, torch.ones(4, 1, dtype=bool), RobustStatistics.of(data[:3])
        ... )
        >>> bool((mean < 5) & (deviation < 5))
        True
    """
    away = torch.where(observed, data - found.center, 0.0)
    # In units in which squares of huge and tiny numbers are floats.
    unit = torch.where(found.spread > 0, found.spread, away.abs().amax(0))
    bound = torch.where(found.spread > 0, SPREADS, torch.inf)
    unit = torch.where(unit > 0, unit, 1.0)
    away = (away / unit).clamp(-bound, bound)
    count = observed.sum(0).clamp_min(1)
    mean = away.sum(0) / count
    square = torch.where(observed, away - mean, 0.0).square().sum(0) / count
    return found.center + mean * unit, square.sqrt() * unit


def resolution(
    data: Float[Tensor, "n d"], observed: Bool[Tensor, "n d"] | None = None
) -> Float[Tensor, " d"]:
    """Computes the median gap between different values of a column that are next to each other.

    Numbers that were rounded to δ have a resolution of δ where they lie close enough, and no
    deviation below δ/√12 can be told from the rounding.

    Returns:
        ``(d,)``, 0 where all values of a column are equal.

    Examples:
        >>> resolution(torch.tensor([[0.0, 7], [0, 7], [2, 7], [3, 7], [4, 7]]))
        tensor([1., 0.])
    """
    observed = torch.ones_like(data, dtype=torch.bool) if observed is None else observed
    ordered = torch.where(observed, data, torch.inf).sort(0).values
    gaps = ordered.diff(dim=0)
    # A gap of rounding errors is none.
    rounding = 64 * torch.finfo(data.dtype).eps * ordered[1:].abs()
    gaps = torch.where(gaps.isfinite() & (gaps > rounding), gaps, torch.inf)
    count = gaps.isfinite().sum(0)
    if not len(gaps):
        return torch.zeros_like(data[0])
    return _lower(gaps.sort(0).values, count, 0.5)


def _lower(ordered: Tensor, count: Tensor, share: float) -> Tensor:
    """Picks the value below a share of the first ``count`` of a column; 0 where there is none."""
    return _pick(ordered, count, ((count - 1) * share).floor())


def _upper(ordered: Tensor, count: Tensor, share: float) -> Tensor:
    return _pick(ordered, count, ((count - 1) * share).ceil())


def _pick(ordered: Tensor, count: Tensor, place: Tensor) -> Tensor:
    index = place.long().clamp_min(0).unsqueeze(0)
    return torch.where(count > 0, ordered.gather(0, index)[0], 0.0)
