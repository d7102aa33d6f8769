"""The range of returns that the transitions met allow, which no value may leave."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from isinglass._support.typing import Float

__all__ = ["NOTHING_MET", "ReturnRange", "kept_within", "widened"]

#: The least and the greatest value.
ReturnRange = tuple[float, float]
NOTHING_MET: ReturnRange = (math.inf, -math.inf)


def widened(
    known: ReturnRange, rewards: Float[Tensor, " batch"], discounts: Float[Tensor, " batch"]
) -> ReturnRange:
    r"""Returns the range of values that these transitions and the known range allow.

        min_i r_i/(1 − γ_i) ≤ V ≤ max_i r_i/(1 − γ_i),   γ_i = 0 where an episode has terminated

    It is the smallest range that a backup r + γV, V between the least and the greatest value of
    the actions, does not leave: where V ≤ B, r + γV ≤ B as long as r ≤ (1 − γ)B. Where γ_i = 1
    a reward of 0 allows 0, and one above zero any value above: it may come for ever.

    Args:
        known: The range of transitions met before.
        rewards: r, of one step or summed over several.
        discounts: γ to the number of these steps, 0 where the episode has terminated.

    Examples:
        >>> widened(NOTHING_MET, torch.tensor([1.0, -5.0]), torch.tensor([0.75, 0.0]))
        (-5.0, 4.0)
        >>> widened((-5.0, 4.0), torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 1.0]))
        (-inf, 4.0)
    """
    forever = (rewards / (1 - discounts)).nan_to_num(nan=0.0, posinf=math.inf, neginf=-math.inf)
    low, high = torch.stack([forever.min(), forever.max()]).tolist()
    return min(known[0], low), max(known[1], high)


def kept_within(known: ReturnRange, targets: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Returns targets clamped to a range; at an end that nothing met tells, they are left.

    That is so where γ = 1, all rewards are below zero (above zero), and nothing has ended yet.

    Examples:
        >>> kept_within((-math.inf, 4.0), torch.tensor([-7.0, 5.0]))
        tensor([-7.,  4.])
        >>> kept_within((-math.inf, -math.inf), torch.tensor([-7.0, 5.0]))
        tensor([-7.,  5.])
    """
    low, high = known
    return targets.clamp(
        -math.inf if low == math.inf else low, math.inf if high == -math.inf else high
    )
