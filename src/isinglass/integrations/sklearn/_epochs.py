"""One epoch of learning by batches, on a part of a rate that falls as a cosine."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi

import torch
from torch import Tensor

__all__ = ["cosine", "learn_epoch"]


def cosine(rate: float, part: float) -> float:
    """Returns the rate after a part of the learning: all of it at 0, none at 1.

    Examples:
        >>> cosine(0.5, 0.0), cosine(0.5, 1.0)
        (0.5, 0.0)
    """
    return rate * (1 + cos(pi * part)) / 2


def learn_epoch(
    optimizer: torch.optim.Optimizer,
    order: Tensor,
    loss_of: Callable[[Tensor], tuple[Tensor, Tensor | float]],
    *,
    batch_size: int,
    rate_at: Callable[[float], float],
    after: Callable[[], object] = lambda: None,
) -> Tensor | float:
    """Takes a step for each batch of an order, and returns Σ loss · weight over the batches.

    Args:
        optimizer: Of one rate for all parameters.
        order: Which examples, one after another.
        loss_of: Gives the mean loss of some examples, and what they count together.
        batch_size: Examples a step.
        rate_at: Gives the rate where this part of the order is done.
        after: Is called after each step.
    """
    total: Tensor | float = 0.0
    for start in range(0, len(order), batch_size):
        loss, weight = loss_of(order[start : start + batch_size])
        optimizer.zero_grad()
        loss.backward()
        rate = rate_at(start / len(order))
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        after()
        total = total + loss.detach() * weight
    return total
