"""α-entmax by one sort, where its threshold has a closed form: α = 1.5 and α = 2."""

from __future__ import annotations

import torch
from torch import Tensor

from isinglass._support.typing import Float

__all__ = ["entmax15", "sparsemax"]


def sparsemax(logits: Float[Tensor, "*batch N"]) -> Float[Tensor, "*batch N"]:
    r"""Computes the point of the simplex nearest to z: p = [z − τ]₊, α-entmax of α = 2.

        τ = (Σ_{i≤k} z_(i) − 1)/k,   k = max {j : 1 + j z_(j) > Σ_{i≤j} z_(i)}

    of scores sorted from the largest down. Made of operations of torch alone, so that it can be
    mapped, compiled and differentiated any number of times.

    Reference: Martins & Astudillo 2016, arXiv:1602.02068, Algorithm 1.

    Args:
        logits: Scores z; −∞ gets no weight.

    Examples:
        >>> sparsemax(torch.tensor([2.0, 1.5, 0.0, -torch.inf]))
        tensor([0.7500, 0.2500, 0.0000, 0.0000])
    """
    near = logits - logits.detach().amax(-1, keepdim=True)
    # τ is at least −1 now: what is below gets no weight, and at −2 it meets no condition.
    ordered, ranks = _ordered(near)
    threshold = (ordered.cumsum(-1) - 1) / ranks
    threshold = _last(threshold, ordered > threshold)
    # Given who has weight, τ is a mean: autograd finds the Jacobian, and sums lose no digit.
    lead = near - threshold
    above = torch.relu(lead)
    shift = (above.sum(-1, keepdim=True) - 1) / (above > 0).sum(-1, keepdim=True)
    return torch.relu(lead - shift)


def entmax15(logits: Float[Tensor, "*batch N"]) -> Float[Tensor, "*batch N"]:
    r"""Computes p = [z/2 − τ]₊², α-entmax of α = 1.5.

        τ_j = (A_j − √(A_j² − j(B_j − 1)))/j,   τ = τ_k,   k = max {j : τ_j < z_(j)/2}

    with A_j the sum of the j largest z/2 and B_j that of their squares. Made of operations of
    torch alone, as :func:`sparsemax`.

    Reference: Peters, Niculae & Martins 2019, arXiv:1905.05702, Algorithm 2.

    Args:
        logits: Scores z; −∞ gets no weight.

    Examples:
        >>> entmax15(torch.tensor([1.0, 1.0, -3.0, -torch.inf]))
        tensor([0.5000, 0.5000, 0.0000, 0.0000])
    """
    near = torch.add(-logits.detach().amax(-1, keepdim=True) / 2, logits, alpha=0.5)
    ordered, ranks = _ordered(near)
    total = ordered.cumsum(-1)
    root = _root(total, ordered.square().cumsum(-1) - 1, ranks)
    threshold = (total - root) / ranks
    threshold = _last(threshold, ordered > threshold)
    # Given who has weight, Σ(y − t)² = 1 with y = z/2 − τ; t is small, and exact to rounding.
    lead = near - threshold
    above = torch.relu(lead)
    total, excess = above.sum(-1, keepdim=True), above.square().sum(-1, keepdim=True) - 1
    shift = excess / (total + _root(total, excess, (above > 0).sum(-1, keepdim=True)))
    return torch.relu(lead - shift).square()


def _root(total: Tensor, excess: Tensor, count: Tensor) -> Tensor:
    """√(A² − kB), of the equation kt² − 2At + B = 0; 0 where it has no root."""
    return torch.addcmul(-count * excess, total, total).relu().sqrt()


def _ordered(near: Tensor) -> tuple[Tensor, Tensor]:
    """Sorts scores, the best 0, from the best down; what is too far to have weight becomes −2."""
    far = near.detach()
    ordered = far.masked_fill(far <= -1, -2.0).sort(-1, descending=True).values
    return ordered, torch.arange(1, near.shape[-1] + 1, dtype=near.dtype, device=near.device)


def _last(thresholds: Tensor, met: Tensor) -> Tensor:
    """Returns the threshold of the largest number of scores that has all of them above it."""
    return thresholds.gather(-1, met.sum(-1, keepdim=True).clamp_min(1) - 1)
