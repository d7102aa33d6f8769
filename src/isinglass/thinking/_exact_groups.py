"""Groups of propositions of which exactly one was true in every example, found in the counts."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["exact_groups"]

SEEDS_AT_ONCE = 1024


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
    always = [(int(unit),) for unit in (counts == examples).nonzero()]
    seeds = torch.triu(excludes, 1).nonzero()
    found = set(always)
    weights = excludes.to(counts.dtype)
    for pairs in seeds.split(SEEDS_AT_ONCE):
        cliques = _grow(pairs, counts, excludes, weights, examples)
        found.update(tuple(clique.nonzero().flatten().tolist()) for clique in cliques.unique(dim=0))
    return sorted(found)


def _grow(
    pairs: Tensor, counts: Tensor, excludes: Tensor, weights: Tensor, examples: int
) -> Tensor:
    """The cliques that these pairs can be grown to, ``(found, size)``."""
    one, other = pairs.unbind(1)
    members = torch.zeros(len(pairs), len(counts), dtype=torch.bool, device=counts.device)
    rows = torch.arange(len(pairs), device=counts.device)
    members[rows, one] = members[rows, other] = True
    candidates = excludes[one] & excludes[other]
    complete = [members[:0]]
    while len(members):
        total = members.to(counts.dtype) @ counts
        done = total == examples
        complete.append(members[done])
        bounds = (total[:, None] + counts) + (candidates * counts) @ weights
        kept = candidates & (bounds >= examples)
        growing = ~done & kept.any(1)
        shrunk = growing & (kept != candidates).any(1)
        candidates, members, shrunk = kept[growing], members[growing], shrunk[growing]
        best = bounds[growing].masked_fill(~candidates, -1).argmax(1)
        joins = torch.nn.functional.one_hot(best, len(counts)).bool() & ~shrunk[:, None]
        members = members | joins
        candidates = torch.where(shrunk[:, None], candidates, candidates & excludes[best])
    return torch.cat(complete)
