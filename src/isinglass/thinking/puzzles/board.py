"""Minds of known propositions side by side: what is true, false or open, and since which guess."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from isinglass._support.several import check_several
from isinglass.errors import ShapeError
from isinglass.thinking.puzzles._neighbors import NeighborLists, as_pairs

if TYPE_CHECKING:
    from isinglass.thinking.puzzles.constraint_network import ConstraintNetwork

__all__ = ["Board", "OwnExclusions"]

FALSE, OPEN = 0, 1
TRUTHS = 2**30  # the sum of no group at all


@dataclass(frozen=True)
class OwnExclusions:
    """Exclusions of single puzzles, beside those that all share.

    Attributes:
        neighbors: Propositions excluded by key puzzle · size + proposition.
        never: What excludes itself, ``(puzzles, size)``.
    """

    neighbors: NeighborLists
    never: Tensor

    @classmethod
    def of(
        cls,
        exclusions: Sequence[Tensor | Sequence[Sequence[int]]] | None,
        puzzles: int,
        size: int,
        device: torch.device,
    ) -> OwnExclusions | None:
        """Returns the pairs of all puzzles, or None where there are none.

        Raises:
            ShapeError: If there are not exclusions for each puzzle, or they are not pairs.
            ParameterError: If one is not a proposition 0 … size − 1.
        """
        if exclusions is None:
            return None
        example = "for each puzzle its pairs: [[(0, 1), (1, 2)], []]"
        exclusions = check_several("exclusions", exclusions, example)
        if len(exclusions) != puzzles:
            raise ShapeError(
                f"exclusions of {len(exclusions)} puzzles, givens of {puzzles}", "Give as many"
            )
        each = [as_pairs(pairs, size) for pairs in exclusions]
        many = torch.tensor([len(pairs) for pairs in each], dtype=torch.int64)
        owner = torch.repeat_interleave(many).to(device)
        one, other = torch.cat([*each, torch.zeros(0, 2, dtype=torch.int64)]).to(device).unbind(1)
        never = torch.zeros(puzzles, size, dtype=torch.bool, device=device)
        never[owner[one == other], one[one == other]] = True
        keys = torch.cat([owner * size + one, owner * size + other])
        return cls(NeighborLists.of(keys, torch.cat([other, one]), puzzles * size), never)


@dataclass
class Board:
    """The minds of several puzzles, one a column: their states and their undo trail.

    A proposition is false (0), open (1) or true (a number above the size of any group), so the sum
    over a group says all: 0 is a contradiction, 1 forces its one open member, and a large sum means
    that it has a true one. The trail is the depth at which each was decided: to retract a guess is
    to open again all that was decided at its depth.

    Attributes:
        network: Exclusions and groups that all columns share.
        puzzle: Which puzzle a column belongs to, ``(columns,)``.
        state: The states, ``(size + 1, columns)``; the last row, padding of groups, is false.
        level: The depth at which each was decided, ``(size + 1, columns)``; −1 of open ones.
        fresh: What became true and has not yet told its neighbors: propositions and their columns.
        depth: How many guesses stand, ``(columns,)``.
        clashing: Whether a contradiction was met, ``(columns,)``.
        solved: Whether each group had a true proposition at the last step, ``(columns,)``.
        sums: The sums over the groups at the last step, ``(groups, columns)``.
        own: Exclusions of single puzzles.
    """

    network: ConstraintNetwork
    puzzle: Tensor
    state: Tensor
    level: Tensor
    fresh: tuple[Tensor, Tensor]
    depth: Tensor
    clashing: Tensor
    solved: Tensor
    sums: Tensor
    own: OwnExclusions | None = None

    @classmethod
    def of(
        cls,
        network: ConstraintNetwork,
        givens: Tensor,
        own: OwnExclusions | None = None,
        puzzles: Tensor | None = None,
    ) -> Board:
        """Returns a board with these givens, 1 true, −1 false, 0 open, ``(rows, size)``.

        Args:
            network: Exclusions and groups.
            givens: What is given.
            own: Exclusions of single puzzles.
            puzzles: Which puzzle each row is of; None is one after the other.
        """
        puzzles = torch.arange(len(givens), device=givens.device) if puzzles is None else puzzles
        never = network.never if own is None else network.never | own.never[puzzles]
        givens = givens.masked_fill(never & (givens == 0), -1)
        given = torch.cat([givens, -torch.ones_like(givens[:, :1])], 1).mT.contiguous()
        state = torch.full_like(given, OPEN, dtype=network.kind)
        state.masked_fill_(given < 0, FALSE).masked_fill_(given > 0, network.true)
        level = torch.where(given == 0, -1, 0).to(torch.int16)
        units, columns = (given > 0).nonzero(as_tuple=True)
        depth = torch.zeros_like(puzzles)
        sums = state.new_zeros(len(network.members), len(givens))
        fresh = units, columns
        return cls(network, puzzles, state, level, fresh, depth, depth > 0, depth > 0, sums, own)

    def take(self, columns: Tensor) -> Board:
        """Returns a copy of some columns, each as often as it is named, where they have settled."""
        nothing = columns[:0]
        return Board(
            self.network,
            self.puzzle[columns],
            self.state[:, columns],
            self.level[:, columns],
            (nothing, nothing),
            self.depth[columns],
            self.clashing[columns],
            self.solved[columns],
            self.sums[:, columns],
            self.own,
        )

    @classmethod
    def join(cls, boards: Sequence[Board]) -> Board:
        """Returns the columns of several settled boards of the same puzzles, side by side."""
        first = boards[0]
        named = ("puzzle", "state", "level", "depth", "clashing", "solved", "sums")
        beside = {name: torch.cat([getattr(b, name) for b in boards], -1) for name in named}
        return cls(network=first.network, fresh=first.fresh, own=first.own, **beside)

    def without(self, ended: Tensor) -> Board:
        """Returns the columns whose search has not ended, with what they still have to tell."""
        left = self.take((~ended).nonzero().flatten())
        units, columns = self.fresh
        kept = ~ended[columns]
        left.fresh = units[kept], ((~ended).cumsum(0) - 1)[columns[kept]]
        return left

    @property
    def moving(self) -> Tensor:
        """Which columns have more to tell, ``(columns,)``."""
        return torch.zeros_like(self.clashing).index_fill_(0, self.fresh[1], True)

    def step(self) -> None:
        """Lets new truths exclude their neighbors, and groups with one open member force it."""
        self._exclude(*self._excluded_by(*self.fresh))
        slots = self.network.slots
        members = self.state.index_select(0, slots.flatten()).view(*slots.shape, len(self.puzzle))
        self.sums = members.sum(0, dtype=self.state.dtype)
        lowest = self.sums.amin(0) if len(self.sums) else torch.full_like(self.puzzle, TRUTHS)
        self.clashing |= lowest == 0
        self.solved = lowest >= self.network.true
        groups, columns = ((self.sums == 1) & ~self.clashing).nonzero(as_tuple=True)
        which = (members[:, groups, columns] == OPEN).int().argmax(0)
        self.fresh = self.fresh[0][:0], self.fresh[1][:0]
        self.make_true(slots[which, groups], columns)

    def _excluded_by(self, units: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """What these exclude in their columns, and the columns."""
        which, targets = self.network.neighbors.listed(units)
        if self.own is None:
            return targets, columns[which]
        keys = self.puzzle[columns] * self.network.size + units
        also, more = self.own.neighbors.listed(keys)
        return torch.cat([targets, more]), columns[torch.cat([which, also])]

    def _exclude(self, units: Tensor, columns: Tensor) -> None:
        was = self.state[units, columns]
        self.clashing[columns[was == self.network.true]] = True
        open_ones = was == OPEN
        units, columns = units[open_ones], columns[open_ones]
        self.state[units, columns] = FALSE
        self.level[units, columns] = self.depth[columns].to(torch.int16)

    def make_true(self, units: Tensor, columns: Tensor) -> None:
        """Sets propositions of these columns to true, to be told to their neighbors."""
        self.state[units, columns] = self.network.true
        self.level[units, columns] = self.depth[columns].to(torch.int16)
        self.fresh = torch.cat([self.fresh[0], units]), torch.cat([self.fresh[1], columns])

    def settle(self) -> None:
        """Steps until nothing is forced any more; columns that clash are left as they are."""
        self.step()
        while len(self.fresh[0]):
            self.step()

    def ahead(self, units: Tensor, columns: Tensor) -> Board:
        """Returns what would follow: a settled column for each proposition, asserted there."""
        board = self.take(columns)
        board.make_true(units, torch.arange(len(units), device=units.device))
        board.settle()
        return board

    def guess(self, units: Tensor, columns: Tensor) -> None:
        """Asserts one proposition in each of these columns, one guess deeper."""
        self.depth[columns] += 1
        self.make_true(units, columns)

    def retract(self, units: Tensor, columns: Tensor) -> None:
        """Undoes the last guess of these columns, ``units``, which is false from now on."""
        depth = self.depth[columns]
        level = self.level[:, columns]
        undone = level >= depth
        self.state[:, columns] = self.state[:, columns].masked_fill(undone, OPEN)
        self.level[:, columns] = level.masked_fill(undone, -1)
        self.clashing[columns] = False
        self.depth[columns] = depth - 1
        self.state[units, columns] = FALSE
        self.level[units, columns] = (depth - 1).to(torch.int16)

    def first_clashes(self) -> dict[int, tuple[int, ...]]:
        """Returns two true propositions that exclude each other, or one that is never true.

        Only for columns that have such; what clashes elsewhere follows from more.
        """
        units, columns = (self.state[:-1] == self.network.true).nonzero(as_tuple=True)
        other, where = self._excluded_by(units, columns)
        met = self.state[other, where] == self.network.true
        found: dict[int, tuple[int, ...]] = {}
        for unit, column in zip(other[met].tolist(), where[met].tolist(), strict=True):
            if column not in found:  # what excludes it there, itself where it is never true
                one, there = torch.tensor([[unit], [column]], device=units.device)
                partners = self._excluded_by(one, there)[0]
                partner = partners[self.state[partners, column] == self.network.true].min()
                found[column] = tuple(sorted({unit, int(partner)}))
        return found

    def own_energy(self, columns: Tensor) -> Tensor:
        """Counts ends of violated exclusions of the puzzles themselves, ``(columns,)``."""
        violated = torch.zeros_like(columns)
        if self.own is None:
            return violated
        units, which = (self.state[:-1, columns] == self.network.true).nonzero(as_tuple=True)
        keys = self.puzzle[columns[which]] * self.network.size + units
        arrow, targets = self.own.neighbors.listed(keys)
        met = self.state[targets, columns[which[arrow]]] == self.network.true
        return violated.index_add(0, which[arrow], met.long())
