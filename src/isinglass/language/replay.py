"""Sequences met before, with all that a model that does not change says of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from isinglass._support.random import source
from isinglass._support.typing import Float, Int
from isinglass.language.residuals import Scores
from isinglass.language.sequences import Sequences

__all__ = ["Rollouts", "SequenceReplay"]

SAME = 8  # sequences of a prompt that are drawn together, as V₀ is their mean


@dataclass(frozen=True)
class Rollouts:
    """Sequences with their rewards and what the reference says of them.

    Args:
        sequences: The sequences.
        scores: log π_ref of each chosen token, and the reference's log-partition before it.
        rewards: R of each.
        groups: The number of its prompt.

    Examples:
        >>> whole = Sequences(torch.tensor([[0, 1]]), torch.tensor([1]), torch.tensor([2]))
        >>> zeros = torch.zeros(1, 1)
        >>> len(Rollouts(whole, Scores(zeros, zeros), torch.ones(1), torch.tensor([0])))
        1
    """

    sequences: Sequences
    scores: Scores
    rewards: Float[Tensor, " rows"]
    groups: Int[Tensor, " rows"]

    def __len__(self) -> int:
        return len(self.sequences)

    def rows(self, which: Tensor) -> Rollouts:
        """Returns some of the rows."""
        sequences = self.sequences.rows(which)
        steps = sequences.tokens.shape[1] - 1
        scores = Scores(self.scores.log_p[which, :steps], self.scores.partition[which, :steps])
        return Rollouts(sequences, scores, self.rewards[which], self.groups[which])

    @staticmethod
    def join(parts: list[Rollouts]) -> Rollouts:
        """Returns the rows of several tables in one."""
        sequences = Sequences.join([part.sequences for part in parts])
        steps = sequences.tokens.shape[1] - 1

        def filled(tables: list[Tensor]) -> Tensor:
            return torch.cat(
                [torch.nn.functional.pad(table, (0, steps - table.shape[1])) for table in tables]
            )

        scores = Scores(
            filled([part.scores.log_p for part in parts]),
            filled([part.scores.partition for part in parts]),
        )
        return Rollouts(
            sequences,
            scores,
            torch.cat([part.rewards for part in parts]),
            torch.cat([part.groups for part in parts]),
        )

    def state(self) -> dict[str, Tensor]:
        """Returns all of it as tensors."""
        found = self.sequences
        return {
            "tokens": found.tokens, "starts": found.starts, "stops": found.stops,
            "log_p": self.scores.log_p, "partition": self.scores.partition,
            "rewards": self.rewards, "groups": self.groups,
        }  # fmt: skip

    @staticmethod
    def load(state: dict[str, Any], device: torch.device) -> Rollouts:
        """Builds what :meth:`state` returned."""
        t = {name: tensor.to(device) for name, tensor in state.items()}
        return Rollouts(
            Sequences(t["tokens"], t["starts"], t["stops"]),
            Scores(t["log_p"], t["partition"]),
            t["rewards"],
            t["groups"],
        )


class SequenceReplay:
    """Keeps the newest sequences, to be learned from again.

    What the reference says of a sequence never changes, so it is stored with it: one pass of the
    model is all that a replayed sequence costs.

    Args:
        size: How many are kept.

    Examples:
        >>> whole = Sequences(torch.tensor([[0, 1], [0, 2]]), torch.tensor([1, 1]),
        ...                   torch.tensor([2, 2]))
        >>> two = Rollouts(whole, Scores(torch.zeros(2, 1), torch.zeros(2, 1)), torch.ones(2),
        ...                torch.tensor([0, 0]))
        >>> replay = SequenceReplay(size=3)
        >>> replay.add(two)
        >>> replay.add(two)
        >>> len(replay), len(replay.draw(5))
        (3, 5)
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.held: Rollouts | None = None

    def __len__(self) -> int:
        return 0 if self.held is None else len(self.held)

    def add(self, rollouts: Rollouts) -> None:
        """Keeps new sequences, and lets the oldest go that are too many."""
        if self.size == 0:
            return
        joined = rollouts if self.held is None else Rollouts.join([self.held, rollouts])
        newest = torch.arange(len(joined), device=joined.rewards.device)[-self.size :]
        self.held = joined.rows(newest)

    def draw(self, count: int, generator: Generator | None = None) -> Rollouts:
        """Draws sequences, all alike, with replacement, several of each prompt that is met.

        Raises:
            IndexError: If none are kept.
        """
        if self.held is None:
            raise IndexError("nothing is kept")
        groups = self.held.groups
        _, number, sizes = groups.unique(return_inverse=True, return_counts=True)
        order, firsts = number.argsort(stable=True), sizes.cumsum(0) - sizes
        shape = (-(-count // SAME), 1)
        met = number[torch.randint(len(groups), shape, device=groups.device, **source(generator))]
        share = torch.rand(shape[0], SAME, device=groups.device, **source(generator))
        place = firsts[met] + (share * sizes[met]).long()
        return self.held.rows(order[place].flatten()[:count])
