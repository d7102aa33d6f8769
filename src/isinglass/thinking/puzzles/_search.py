"""The searches of many puzzles side by side, a round of all at a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from isinglass.errors import ParameterError, ShapeError
from isinglass.thinking.puzzles._neighbors import check_units
from isinglass.thinking.puzzles.board import OPEN, Board, OwnExclusions
from isinglass.thinking.puzzles.constraint_network import ConstraintNetwork
from isinglass.thinking.puzzles.guess_orders import GuessOrder
from isinglass.thinking.puzzles.puzzle_answers import PuzzleAnswers, ThoughtLog

__all__ = ["Search"]

#: Columns whose search has ended are dropped when they are this share of all.
ENDED = 0.25


class Search:
    """The boards that still think, and what was found so far.

    Args:
        network: Exclusions and groups of all puzzles.
        order: What to guess.
        given: 1 true, −1 false, 0 open, ``(puzzles, size)``.
        own: Exclusions of single puzzles.
        budget: How many guesses a puzzle may have.
        solutions: How many to look for; None is all.
        puzzles: Whose exclusions each row has; None is its own.
    """

    def __init__(
        self,
        network: ConstraintNetwork,
        order: GuessOrder,
        given: Tensor,
        own: OwnExclusions | None,
        budget: int,
        solutions: int | None = 1,
        puzzles: Tensor | None = None,
    ) -> None:
        many, where = len(given), given.device
        self.network, self.order, self.budget, self.wanted = network, order, budget, solutions
        self.board = Board.of(network, given, own, puzzles)
        self.rows = torch.arange(many, device=where)  # whose answer each column looks for
        self.found = torch.zeros_like(self.rows)
        self.guesses, self.retractions = self.found.clone(), self.found.clone()
        self.complete = self.found.bool()
        self.totals = torch.zeros(many, network.size, dtype=torch.int64, device=where)
        self.solutions = self.totals.bool()
        self.stack = torch.zeros(0, many, dtype=torch.int64, device=where)
        self.log = ThoughtLog()

    @property
    def refuted(self) -> Tensor:
        """Which rows have no solution."""
        return self.complete & (self.found == 0)

    def run(self) -> Search:
        """Takes rounds until every search has ended, and returns itself."""
        ended = torch.zeros_like(self.board.clashing)
        while len(self.rows):
            board = self.board
            board.step()
            clashing = board.clashing & ~ended
            still = ~(ended | clashing | board.moving)
            solved = still & board.solved
            self._accept(solved.nonzero().flatten(), ended)
            self._retract(((clashing | solved) & ~ended).nonzero().flatten(), ended)
            self._guess((still & ~solved).nonzero().flatten(), ended)
            if int(ended.sum()) >= max(1, ENDED * len(ended)):
                self.rows, self.stack = self.rows[~ended], self.stack[:, ~ended]
                self.board, ended = board.without(ended), ended[~ended]
        return self

    def _accept(self, columns: Tensor, ended: Tensor) -> None:
        """Counts solutions; only what has energy 0 is one."""
        if len(columns) == 0:
            return
        truths = (self.board.state[:-1, columns] == self.network.true).mT
        energies = self.network.energy(truths) + self.board.own_energy(columns)
        columns, truths = columns[energies == 0], truths[energies == 0]
        rows = self.rows[columns]
        first = self.found[rows] == 0
        self.solutions[rows[first]] = truths[first]
        self.found[rows] += 1
        self.totals[rows] += truths
        if self.wanted is not None:
            ended[columns[self.found[rows] >= self.wanted]] = True

    def _retract(self, columns: Tensor, ended: Tensor) -> None:
        """Takes the last guess back; where none stands, all was searched."""
        if len(columns) == 0:
            return
        none = self.board.depth[columns] == 0
        self.complete[self.rows[columns[none]]] = True
        ended[columns[none]] = True
        columns = columns[~none]
        below = self.board.depth[columns] - 1
        units = self.stack[below, columns]
        self.board.retract(units, columns)
        self.retractions[self.rows[columns]] += 1
        self.log.add(self.rows[columns], units, below, guessed=False)

    def _guess(self, columns: Tensor, ended: Tensor) -> None:
        """Asserts what the order chooses, while the budget lasts."""
        spent = self.guesses[self.rows[columns]] >= self.budget
        ended[columns[spent]] = True
        columns = columns[~spent]
        if len(columns) == 0:
            return
        units, below = self._chosen(columns), self.board.depth[columns]
        if int(below.max()) >= len(self.stack):
            self.stack = torch.cat([self.stack, torch.zeros_like(self.board.depth)[None]])
        self.stack[below, columns] = units
        self.board.guess(units, columns)
        self.guesses[self.rows[columns]] += 1
        self.log.add(self.rows[columns], units, below, guessed=True)

    def _chosen(self, columns: Tensor) -> Tensor:
        """Returns what the order chooses, an open proposition in each column.

        Raises:
            ShapeError: If it does not choose one for each.
            ParameterError: If one is not open.
        """
        units, kind = self.order.choose(self.board, columns), type(self.order).__name__
        whole = isinstance(units, Tensor) and units.dtype == torch.int64
        if not whole or units.shape != columns.shape:
            found = f"{units.dtype} {tuple(units.shape)}" if whole else type(units).__name__
            raise ShapeError(
                f"{kind}.choose: {found} for {len(columns)} columns",
                "Return the number of one proposition for each, as int64",
            )
        check_units(units, self.network.size)
        if bool((self.board.state[units, columns] != OPEN).any()):
            raise ParameterError(
                f"{kind}.choose: a proposition that is decided", "Choose one that is open"
            )
        return units

    def answers(self, clashes: Sequence[tuple[int, ...]]) -> PuzzleAnswers:
        """Returns what was found, with the givens of each puzzle that clash."""
        return PuzzleAnswers(
            self.solutions, self.found, self.complete, self.guesses, self.retractions,
            list(clashes), self.totals, self.log,
        )  # fmt: skip
