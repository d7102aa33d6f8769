"""What would follow from each guess: open members of small groups, asserted and settled."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from isinglass.thinking.puzzles.board import OPEN, Board

__all__ = ["LookAhead", "open_members"]


def open_members(board: Board, columns: Tensor) -> Tensor:
    """Counts open members of each group, ``(groups, columns)``; many where it has a true one."""
    return board.sums[:, columns].clamp_max(board.network.true)


@dataclass(frozen=True)
class LookAhead:
    """The settled states that follow from asserting each open member of a few small groups.

    Attributes:
        units: The members, ``(columns, groups, members)``.
        asked: Which of them are open, and so were asserted.
        child: The column of ``board`` with what follows from each; of the others 0.
        board: What follows from each proposition, settled, a column each.
    """

    units: Tensor
    asked: Tensor
    child: Tensor
    board: Board

    @classmethod
    def of(cls, board: Board, columns: Tensor, groups: int) -> LookAhead:
        """Asserts every open member of the smallest open groups of these columns, one at a time."""
        network = board.network
        sizes, chosen = open_members(board, columns).topk(
            min(groups, len(network.members)), 0, largest=False
        )
        units = network.members[chosen.mT]
        within = torch.arange(len(columns), device=columns.device)[:, None, None]
        asked = board.state[units, columns[within]] == OPEN
        asked &= (sizes.mT < network.true)[..., None]
        keys = (within * (network.size + 1) + units)[asked]
        distinct, place = keys.unique(return_inverse=True)
        child = torch.zeros_like(units).masked_scatter(asked, place)
        owner = columns[distinct // (network.size + 1)]
        return cls(units, asked, child, board.ahead(distinct % (network.size + 1), owner))

    @property
    def live(self) -> Tensor:
        """Which open members lead to no contradiction at once, ``(columns, groups, members)``."""
        return self.asked & ~self.board.clashing[self.child]

    @property
    def solved(self) -> Tensor:
        """Which open members lead to a solution at once."""
        return self.live & self.board.solved[self.child]

    def pick(self, cost: Tensor, value: Tensor) -> Tensor:
        """Chooses a member: one that solves, else of the cheapest group the cheapest live one.

        Args:
            cost: What splitting at each group would cost, ``(columns, groups)``.
            value: What each member would, ``(columns, groups, members)``.
        """
        solved, live = self.solved, self.live
        cost = cost.masked_fill(~self.asked.any(-1), torch.inf)
        group = cost.masked_fill(solved.any(-1), -torch.inf).argmin(1)
        value = value.masked_fill(solved, -torch.inf).masked_fill(
            ~live, torch.finfo(value.dtype).max
        )
        value = value.masked_fill(~self.asked, torch.inf)
        rows = torch.arange(len(group), device=group.device)
        return self.units[rows, group, value[rows, group].argmin(1)]
