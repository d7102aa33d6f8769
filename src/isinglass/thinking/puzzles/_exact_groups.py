"""Groups of propositions of which exactly one was true in every example, found in the counts."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["exact_groups"]

SEEDS_AT_ONCE = 1024
PAIRS_AT_ONCE = 2**22  # of candidates, looked at together


def exact_groups(counts: Tensor, excludes: Tensor, examples: int) -> list[tuple[int, ...]]:
    """Finds cliques of exclusions whose counts sum to the number of examples, sorted.

    Members of a clique were never true together, so such a sum says that one of them was true in
    each example. Every exclusion is the seed of a clique. A candidate stays while the clique with
    it and all that remains beside it could still reach the sum; the one that could reach most joins
    next.

    Args:
        counts: In how many examples each was true, ``(size,)``, float.
        excludes: Which pairs exclude each other, ``(size, size)``.
        examples: How many examples there were.
    """
    found = {(int(unit),) for unit in (counts == examples).nonzero()}
    pairs = torch.triu(excludes, 1).nonzero()
    for seeds in pairs.split(SEEDS_AT_ONCE) if len(pairs) else ():
        widest = int((excludes[seeds[:, 0]] & excludes[seeds[:, 1]]).sum(1).max())
        for some in seeds.split(max(1, PAIRS_AT_ONCE // max(1, widest) ** 2)):
            for clique in _grow(some, counts, excludes, examples).unique(dim=0).tolist():
                found.add(tuple(sorted(unit for unit in clique if unit >= 0)))
    return sorted(found)


def _grow(pairs: Tensor, counts: Tensor, excludes: Tensor, examples: int) -> Tensor:
    """The cliques that these pairs can be grown to, ``(found, longest)``, padded by −1."""
    common = excludes[pairs[:, 0]] & excludes[pairs[:, 1]]
    width = int(common.sum(1).max())
    left, units = common.int().topk(width, 1)  # the candidates of each pair, before what is none
    left = left.bool()
    between = excludes[units[:, :, None], units[:, None, :]]
    gain = counts[units]
    joined = torch.zeros_like(left)
    total = counts[pairs].sum(1)
    while True:
        reach = total[:, None] + gain + ((between & left[:, None, :]) * gain[:, None, :]).sum(2)
        kept = left & (reach >= examples)
        shrunk = (kept != left).any(1)  # what others can reach has changed: look again
        left = kept
        growing = left.any(1) & ~shrunk
        if not bool((growing | shrunk).any()):
            break
        rows = growing.nonzero().flatten()
        best = reach.masked_fill(~left, -1).argmax(1)[rows] if width else rows
        joined[rows, best] = True
        total[rows] += gain[rows, best]
        left[rows] &= between[rows, best]
    units = torch.cat([pairs, units.masked_fill(~joined, -1)], 1)
    return units[total == examples].sort(1).values
