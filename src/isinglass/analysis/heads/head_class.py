"""The classes of heads, by how many of the patterns they blend."""

from __future__ import annotations

from enum import IntEnum

import torch
from torch import Tensor

from isinglass._support.typing import Float, Int

__all__ = ["HeadClass", "classify_heads"]


class HeadClass(IntEnum):
    """Class of a head, by the number k of patterns that hold 90 % of its mass, of N that it sees.

    Reference: Ramsauer et al. 2020, arXiv:2008.02217, Section 3; a sink is told apart here, as
    what looks like one pattern is most often the first token.

    Attributes:
        GLOBAL_AVERAGE: Class I, k > N/2: the average of most of what is seen.
        LARGE_METASTABLE: Class II, N/8 < k ≤ N/2.
        SMALL_METASTABLE: Class III, N/32 < k ≤ N/8.
        SINGLE_PATTERN: Class IV, k ≤ N/32, or k = 1.
        SINK: More than half of the mass lies on the first key or on the null pattern.
    """

    GLOBAL_AVERAGE = 1
    LARGE_METASTABLE = 2
    SMALL_METASTABLE = 3
    SINGLE_PATTERN = 4
    SINK = 5

    @property
    def title(self) -> str:
        """The name as text, ``"small metastable"``."""
        return self.name.lower().replace("_", " ")


def classify_heads(
    k90: Int[Tensor, "*batch R"],
    keys: Int[Tensor, "*batch R"],
    sink: Float[Tensor, "*batch R"] | None = None,
) -> Int[Tensor, "*batch"]:
    """Classifies heads as a :class:`HeadClass`, by the median of its queries' classes.

    Queries that see fewer than eight keys say little of a head and are left out where others
    are there.

    Args:
        k90: Patterns that hold 90 % of the mass of each query.
        keys: Patterns that each query sees; 0 for queries that do not count.
        sink: Mass on the first key and on the null pattern; None tells no sink apart.

    Examples:
        >>> classify_heads(torch.tensor([[1, 2, 1], [90, 80, 99]]), torch.full((2, 3), 100))
        tensor([4, 1])
    """
    share = torch.where(k90 <= 1, 0.0, k90 / keys.clamp(min=1))
    counts = keys >= 8
    counts = torch.where(counts.any(-1, keepdim=True), counts, keys > 0)
    bounds = torch.tensor([1 / 32, 1 / 8, 1 / 2], device=share.device)
    kinds = 4.0 - (share[..., None] > bounds).sum(-1)
    median = kinds.masked_fill(~counts, torch.nan).nanmedian(-1).values
    found = median.nan_to_num(float(HeadClass.GLOBAL_AVERAGE)).long()
    if sink is None:
        return found
    on_sink = sink.masked_fill(~counts, torch.nan).nanmean(-1) > 0.5
    return torch.where(on_sink, int(HeadClass.SINK), found)
