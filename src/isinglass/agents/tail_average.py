"""The mean of an agent's weights over the end of a training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["TailAverage"]


class TailAverage:
    r"""Averages weights over the last part of a training, and puts the mean in their place.

        w ← (1/n) Σ_k w_k,   k the updates of the last part

    Steps of stochastic gradients go around what they look for; their mean is nearer to it, and a
    greedy policy, which small errors of values can turn over, no longer hangs on the last step.

    References: Polyak & Juditsky 1992, SIAM Journal on Control and Optimization 30:838-855;
    Izmailov et al. 2018, arXiv:1803.05407.

    Args:
        share: How much of a training is its last part, 0 for none.

    Examples:
        >>> weight, tail = torch.zeros(1), TailAverage(0.5)
        >>> for step, value in enumerate([9.0, 9.0, 1.0, 3.0]):
        ...     _ = weight.fill_(value)
        ...     tail.take([weight], remaining=1 - step / 4)
        >>> tail.settle([weight])
        >>> weight
        tensor([2.])
    """

    def __init__(self, share: float) -> None:
        self.share, self.count = share, 0
        self._mean: list[Tensor] = []

    @torch.no_grad()
    def take(self, weights: Sequence[Tensor], remaining: float) -> None:
        """Takes weights into the mean, if no more of the training remains than its last part.

        Args:
            weights: What was just learned.
            remaining: The share of the training that is left, 1 to 0.
        """
        if remaining > self.share or self.share == 0:
            self.count = 0  # of a training that was broken off
            return
        self.count += 1
        if self.count == 1:
            self._mean = [weight.detach().clone() for weight in weights]
            return
        now: Any = [weight.detach() for weight in weights]
        torch._foreach_lerp_(self._mean, now, 1 / self.count)  # pyright: ignore[reportPrivateImportUsage]

    @torch.no_grad()
    def settle(self, weights: Sequence[Tensor]) -> None:
        """Puts the mean in the place of the weights, if there is one, and forgets it."""
        if self.count:
            for weight, mean in zip(weights, self._mean, strict=True):
                weight.copy_(mean)
        self.count, self._mean = 0, []
