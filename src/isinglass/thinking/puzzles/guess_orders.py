"""Which proposition to guess next: by hand, by a look ahead, or by Bellman's equation."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from isinglass._support.validation import check_count
from isinglass.thinking.puzzles._look_ahead import LookAhead, open_members
from isinglass.thinking.puzzles.board import OPEN, Board

__all__ = ["ContradictionAhead", "GuessOrder", "LookingAhead", "SmallestGroup"]

COLUMNS_AT_ONCE = 64  # states that are looked ahead from together


class GuessOrder(ABC):
    """A choice of what to guess where nothing is forced; only :meth:`choose` is required."""

    @abstractmethod
    def choose(self, board: Board, columns: Tensor) -> Tensor:
        """Chooses an open proposition in each of these columns of the board, ``(columns,)``.

        Args:
            board: States of many puzzles.
            columns: Where to choose: settled ones, with a group that has no true proposition.
        """


class SmallestGroup(GuessOrder):
    """The first open member of the first group with fewest of them: no look ahead.

    Reference: Golomb & Baumert 1965, doi:10.1145/321296.321300.

    Examples:
        >>> from isinglass.thinking import ConstraintNetwork, PuzzleThinker
        >>> network = ConstraintNetwork(5, groups=[[0, 1, 2], [3, 4]])
        >>> print(PuzzleThinker(network, SmallestGroup()).think(torch.zeros(1, 5))[0])
        guess 3
          guess 0
        sure, 2 guesses, 0 retractions
    """

    def choose(self, board: Board, columns: Tensor) -> Tensor:
        """Chooses the first open member of a smallest group."""
        group = open_members(board, columns).argmin(0)
        members = board.network.members[group]
        which = (board.state[members, columns[:, None]] == OPEN).int().argmax(1)
        return members.gather(1, which[:, None])[:, 0]


class LookingAhead(GuessOrder):
    """An order that asserts the open members of the smallest groups and looks what follows.

    A member that leads to a solution at once is chosen; else the group of lowest cost, and in it,
    of those that lead to no contradiction at once, the member after which least is left to search.

    Args:
        groups: How many groups are looked into.

    Raises:
        ParameterError: If it is no whole number above zero.
    """

    def __init__(self, groups: int = 32) -> None:
        self.groups = check_count("groups", groups)

    def choose(self, board: Board, columns: Tensor) -> Tensor:
        """Chooses a member of the group of lowest cost."""
        return torch.cat([self._choose(board, some) for some in columns.split(COLUMNS_AT_ONCE)])

    def _choose(self, board: Board, columns: Tensor) -> Tensor:
        look = LookAhead.of(board, columns, self.groups)
        left = self.left(look.board)[look.child]
        return look.pick(self.cost(look, left), left)

    @abstractmethod
    def left(self, board: Board) -> Tensor:
        """Returns how much is left to search in each settled state, ``(columns,)``."""

    @abstractmethod
    def cost(self, look: LookAhead, left: Tensor) -> Tensor:
        """Returns what splitting at each group costs, ``(columns, groups)``.

        Args:
            look: What follows from each member.
            left: How much is left after each, ``(columns, groups, members)``.
        """


class ContradictionAhead(LookingAhead):
    """The group with fewest members that survive a look ahead, then fewest open propositions.

    What is left to search is measured by hand: open propositions.

    Examples:
        >>> from isinglass.thinking import ConstraintNetwork, PuzzleThinker
        >>> network = ConstraintNetwork(4, groups=[[0, 1], [2, 3]])
        >>> thinker = PuzzleThinker(network, ContradictionAhead())
        >>> thinker.think(torch.zeros(1, 4), exclusions=[[(0, 2), (0, 3)]])[0].solution
        tensor([False,  True,  True, False])
    """

    def left(self, board: Board) -> Tensor:
        """Counts the propositions that stay open."""
        return (board.state == OPEN).sum(0).double()

    def cost(self, look: LookAhead, left: Tensor) -> Tensor:
        """Counts members that survive; open propositions after them decide between equals."""
        most = len(look.board.state) * look.live.shape[-1]
        return (look.live * (most + left)).sum(-1)
