"""Relations that can stand for each other in rules, found in how often rules are used."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["share_among_twins", "twins_of"]

#: Evidence that a pair needs: about one rule in common, less what speaks against it.
LEAST = 0.6


def share_among_twins(counts: Tensor, other: Tensor, share: float) -> Tensor:
    """Returns counts of compositions with a share of those of their twin rules.

    With σ the exchange of twins, (r₁, r₂ → r₃), (σr₁, r₂ → r₃) and (r₁, σr₂ → σr₃) go together.

    Args:
        counts: Uses of the rules, ``(R, R, R)``.
        other: The twin of each relation, as :func:`twins_of` finds it.
        share: How much is passed on.
    """
    first = counts[other]
    second = counts[:, other][:, :, other]
    both = first[:, other][:, :, other]
    alone = other == torch.arange(len(other))  # its own twin: nothing is passed on to itself
    first = first.masked_fill(alone[:, None, None], 0.0)
    second = second.masked_fill(alone[None, :, None], 0.0)
    both = both.masked_fill(alone[:, None, None] | alone[None, :, None], 0.0)
    return counts + share * (first + second + both)


def twins_of(table: Tensor, rounds: int = 12) -> Tensor:
    """Returns the twin of each relation, itself where it has none.

    Pairs are scored by the rules they have in common less those in which they differ: as first
    premises first, then, with the pairs that were found, as second premises and conclusions.

    Args:
        table: Uses of each rule, ``(R, R, R)``.
        rounds: How often pairs are sought anew at most.
    """
    sure = torch.where(table < 0.3, 0.0, table)
    sure = sure / (sure.sum(-1, keepdim=True) + 0.5)
    mass = sure.sum(-1)
    other = torch.arange(len(table))
    for round_ in range(rounds):
        alike = torch.einsum("axr,bxr->ab", sure, sure)
        score = 2 * alike - mass @ mass.T
        if round_:
            paired = other != torch.arange(len(other))
            ends = sure[:, :, paired]
            same = torch.einsum("xar,xbr->ab", sure[:, :, other][:, :, paired], ends)
            weight = ends.sum(-1)
            score = score + 2 * same - weight.T @ weight
            swapped = sure[:, other] * paired[None, :, None]
            common = torch.einsum("xya,xyb->ab", sure, swapped)
            score = score + common + common.T
        new = _paired((score + score.T) / 2)
        if torch.equal(new, other):
            break
        other = new
    return other


def _paired(score: Tensor) -> Tensor:
    """Returns a matching of high score, the best pair first."""
    other = torch.arange(len(score))
    upper = torch.triu(score, 1)
    order = upper.flatten().argsort(descending=True)[: int((upper > LEAST).sum())]
    for pair in order.tolist():
        one, two = divmod(pair, len(score))
        if other[one] == one and other[two] == two:
            other[one], other[two] = two, one
    return other
