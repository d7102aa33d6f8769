"""Actions that meet a constraint: by looking at all, where they are few, or by drawing again."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Float
from isinglass.distributions import Distribution
from isinglass.errors import DomainError

__all__ = ["choose_accepted"]

MOST_DRAWS = 1_000
GREEDY_DRAWS = 100

Accepts = Callable[[Tensor], Tensor]
"""From actions as states of units, one a row, to which of them may be taken."""


def choose_accepted(
    distribution: Distribution, accepts: Accepts, deterministic: bool, generator: Generator
) -> Float[Tensor, "batch d"]:
    """Draws one accepted action a row from p(a | accepted), or finds the best.

    Exact where the distribution can be restricted. Else draws are repeated until all rows have one
    that is accepted; the best is that of some draws.

    Raises:
        DomainError: If there is none, or no draw has met the constraint.
    """
    given = distribution.restrict(accepts)
    if given is not None:
        return given.mode() if deterministic else given.sample(generator)
    best = distribution.mode() if deterministic else distribution.sample(generator)
    met = accepts(best)
    scores = distribution.score(best).masked_fill(~met, -torch.inf)
    for draw in range(MOST_DRAWS):
        if bool(met.all()) and (draw >= GREEDY_DRAWS or not deterministic):
            break
        states = distribution.sample(generator)
        may = accepts(states)
        score = distribution.score(states).masked_fill(~may, -torch.inf)
        better = may & (score > scores) if deterministic else may & ~met
        best = torch.where(better.unsqueeze(-1), states, best)
        scores, met = torch.where(better, score, scores), met | may
    if not bool(met.all()):
        raise DomainError(
            f"no one of {MOST_DRAWS} draws meets the constraint for {int((~met).sum())} of "
            f"{len(met)} observations",
            "Fix or forbid parts of the action (fixed=, action_masks=), raise the temperature of "
            "the policy, or constrain less",
        )
    return best
