"""How many of the largest weights hold a share of all, without sorting them."""

from __future__ import annotations

import torch
from torch import Tensor

from isinglass._support.typing import Float, Int

__all__ = ["count_held"]

#: Weights of this share of the largest are nothing, log₂.
LEAST = -40.0
PASSES = 200


def count_held(
    weights: Float[Tensor, "rows N"],
    total: Float[Tensor, " rows"],
    mass: float,
    guess: Float[Tensor, " rows"],
    buffer: Float[Tensor, "rows N"] | None = None,
) -> Int[Tensor, " rows"]:
    """Counts the largest weights of each row that hold ``mass`` of their sum.

    What :func:`~isinglass.analysis.metastability.metastable_size` finds by sorting. A threshold t
    is moved until as many weights lie above it as are needed: with C(t) of them that sum to S(t),
    k lies between C + ⌈(mass·Z − S)/t⌉ at both ends of the bracket around t. The ends agree after
    a few passes over the weights, each a hundredth of the time of sorting.

    Args:
        weights: Weights, the largest of each row 1.
        total: Z, their sums, above zero.
        mass: Share that counts as all, above 0 and below 1.
        guess: Where the threshold may lie, log₂ t: the better, the fewer passes.
        buffer: Memory for the work, as large as the weights; what it holds is lost.

    Examples:
        >>> weights = torch.tensor([[1.0, 0.5, 0.5, 0.01], [1, 0.02, 0.02, 0.02]])
        >>> count_held(weights, weights.sum(-1), 0.9, torch.zeros(2))
        tensor([3, 1])
    """
    found = torch.zeros_like(total, dtype=torch.long)
    at = torch.arange(len(total), device=total.device)  # the rows that are still looked at
    target = mass * (1 - 1e-6) * total
    low, high = torch.full_like(total, LEAST), torch.zeros_like(total)
    inside = torch.full_like(total, float(weights.shape[-1]))  # how many lie above the low end
    held, above, sums = total.clone(), torch.zeros_like(total), torch.zeros_like(total)
    rows, buffer = weights, torch.empty_like(weights) if buffer is None else buffer
    threshold = guess.clamp(LEAST + 1, -1e-3)
    for turn in range(PASSES):
        t = threshold.exp2()
        over = torch.sub(rows, t[:, None], out=buffer[: len(rows)]).relu_()
        excess = over.sum(-1)
        count = over.sign_().sum(-1)
        reached = excess + t * count
        enough = reached >= target
        low, high = torch.where(enough, threshold, low), torch.where(enough, high, threshold)
        inside, held = torch.where(enough, count, inside), torch.where(enough, reached, held)
        above, sums = torch.where(enough, above, count), torch.where(enough, sums, reached)
        rest = target - sums
        least = (above + torch.ceil(rest / high.exp2())).clamp(min=1)
        most = torch.minimum(above + torch.ceil(rest / low.exp2()), inside)
        done = (least >= most) | (inside - above <= 1)
        if turn == PASSES - 1:
            done = torch.ones_like(done)
        found[at[done]] = most[done].clamp(min=1).long()
        if bool(done.all()):
            break
        if turn % 2:  # halves, so that no end stays where it is
            threshold = (low + high) / 2
        else:  # the line through both ends
            slope = ((held - target) / (held - sums).clamp(min=1e-30)).clamp(0.03, 0.97)
            threshold = low + slope * (high - low)
        kept = torch.nonzero(~done)[:, 0]
        if 2 * len(kept) > len(done):
            continue
        rows, at = rows[kept], at[kept]
        target, low, high, inside, held, above, sums, threshold = (
            part[kept] for part in (target, low, high, inside, held, above, sums, threshold)
        )
    return found
