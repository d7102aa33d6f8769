"""Actions that meet a constraint: by looking at all, where they are few, or by drawing again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Float
from isinglass.agents.action_codec import PENALTY
from isinglass.distributions.enumerated import ActionDistribution, Enumerated
from isinglass.errors import DomainError

__all__ = ["meeting"]

MOST_DRAWS = 1_000
GREEDY_DRAWS = 100

Meets = Callable[[Tensor], Tensor]
"""From actions as states of units, one a row, to which of them may be taken."""


def meeting(
    distribution: ActionDistribution, meets: Meets, deterministic: bool, generator: Generator
) -> Float[Tensor, "batch d"]:
    """One action a row that may be taken: drawn from the law given that, or the best found.

    Exact from :class:`Enumerated`. Else draws are repeated until all rows have one that may; the
    best is that of some draws.

    Raises:
        DomainError: If there is none, or no draw has met the constraint.
    """
    if isinstance(distribution, Enumerated):
        given = _given(distribution, meets)
        return given.mode() if deterministic else given.sample(generator)
    best = distribution.mode() if deterministic else distribution.sample(generator)
    met = meets(best)
    scores = distribution.score(best).masked_fill(~met, -torch.inf)
    for draw in range(MOST_DRAWS):
        if bool(met.all()) and (draw >= GREEDY_DRAWS or not deterministic):
            break
        states = distribution.sample(generator)
        may = meets(states)
        score = distribution.score(states).masked_fill(~may, -torch.inf)
        better = may & (score > scores) if deterministic else may & ~met
        best = torch.where(better.unsqueeze(-1), states, best)
        scores, met = torch.where(better, score, scores), met | may
    _check_met(met, f"no one of {MOST_DRAWS} draws", "raise the temperature of the policy, ")
    return best


def _given(distribution: Enumerated, meets: Meets) -> Enumerated:
    """The law of those that may be taken; what a mask forbids has a score below all others."""
    may = meets(distribution.states) & (distribution.scores > -PENALTY / 2)
    _check_met(may.any(-1), "no allowed action")
    return replace(distribution, scores=distribution.scores.masked_fill(~may, -torch.inf))


def _check_met(met: Tensor, who: str, warmer: str = "") -> None:
    if not bool(met.all()):
        raise DomainError(
            f"{who} meets the constraint for {int((~met).sum())} of {len(met)} observations",
            f"Fix or forbid parts of the action (fixed=, action_masks=), {warmer}or constrain less",
        )
