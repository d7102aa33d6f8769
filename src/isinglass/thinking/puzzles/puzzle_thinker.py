"""Thinking in a mind of known propositions: settle, guess, retract, answer only with energy 0."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from isinglass._support.typing import Bool, Float, Num
from isinglass._support.validation import check_count, check_kind
from isinglass.thinking.puzzles._search import Search
from isinglass.thinking.puzzles.board import Board, OwnExclusions
from isinglass.thinking.puzzles.constraint_network import ConstraintNetwork, as_givens
from isinglass.thinking.puzzles.guess_orders import ContradictionAhead, GuessOrder
from isinglass.thinking.puzzles.puzzle_answers import PuzzleAnswers

__all__ = ["PuzzleThinker"]


class PuzzleThinker:
    r"""Search for a state of energy 0: settle, guess, retract, all puzzles side by side.

    Settling asserts what exclusions and groups force. Where nothing is forced the order chooses a
    proposition, and the thinker asserts it; a contradiction retracts the last guess, with all that
    followed from it, and what was guessed is false from then on. An answer is given only with its
    certificate: its energy is 0, exclusions of the puzzle counted. Propositions that are in no
    group and nothing decides are false in an answer.

    Reference: Davis, Logemann & Loveland 1962, doi:10.1145/368273.368557.

    Args:
        network: Exclusions and groups of all puzzles.
        order: What to guess; None looks one contradiction ahead.

    Raises:
        ParameterError: If network or order is none.

    Examples:
        >>> latin = ConstraintNetwork(4, groups=[[0, 1], [0, 2], [1, 3], [2, 3]])
        >>> answers = PuzzleThinker(latin).think(torch.tensor([[0, 0, 0, 1], [1, 1, 0, 0]]))
        >>> answers[0].solution
        tensor([ True, False, False,  True])
        >>> print(answers[1])
        contradictory: 0, 1, 0 guesses, 0 retractions
    """

    def __init__(self, network: ConstraintNetwork, order: GuessOrder | None = None) -> None:
        check_kind("network", network, ConstraintNetwork, "a ConstraintNetwork")
        if order is not None:
            check_kind("order", order, GuessOrder, "a GuessOrder, such as SmallestGroup(), or None")
        self.network = network
        self.order = ContradictionAhead() if order is None else order

    def think(
        self,
        givens: Num[Tensor, "puzzles size"] | Bool[Tensor, "puzzles size"],
        budget: int = 100_000,
        *,
        solutions: int = 1,
        exclusions: Sequence[Tensor | Sequence[Sequence[int]]] | None = None,
    ) -> PuzzleAnswers:
        """Solves puzzles, or says of which it is not sure and which contradict themselves.

        Args:
            givens: 1 where given as true, −1 as false, 0 open; booleans are true or open.
            budget: How many guesses may be made in each puzzle; 0 only settles.
            solutions: How many solutions to look for: 2 tell whether a solution is the only one.
            exclusions: Further exclusions of each puzzle, pairs ``(pairs, 2)``, one tensor a
                puzzle; a proposition paired with itself is never true.

        Raises:
            ShapeError: If a row has not ``size`` numbers, or there are not exclusions for each.
            DomainError: If a given is not −1, 0 or 1.
            ParameterError: If budget or solutions is no count, or an exclusion names no
                proposition.
        """
        check_count("budget", budget, least=0)
        check_count("solutions", solutions)
        given = as_givens(givens, self.network)
        own = OwnExclusions.of(exclusions, len(given), self.network.size, given.device)
        search = Search(self.network, self.order, given, own, budget, solutions).run()
        return search.answers(self._clashes(search, given, own, budget))

    def beliefs(
        self,
        givens: Num[Tensor, "puzzles size"] | Bool[Tensor, "puzzles size"],
        budget: int = 100_000,
        *,
        exclusions: Sequence[Tensor | Sequence[Sequence[int]]] | None = None,
    ) -> Float[Tensor, "puzzles size"]:
        """Computes P(s_i = 1 | givens) at T → 0, the share of all solutions where it is true.

        Args:
            givens: As in :meth:`think`.
            budget: How many guesses may be made in each puzzle.
            exclusions: As in :meth:`think`.

        Returns:
            Exact marginals in float64; NaN where there is no solution or the budget was too small.

        Raises:
            ShapeError: As :meth:`think` does.
            DomainError: As :meth:`think` does.
            ParameterError: As :meth:`think` does.
        """
        check_count("budget", budget, least=0)
        given = as_givens(givens, self.network)
        own = OwnExclusions.of(exclusions, len(given), self.network.size, given.device)
        found = Search(self.network, self.order, given, own, budget, None).run().answers([])
        known = found.complete & found.sure
        shares = found.totals.double() / found.found.clamp_min(1)[:, None]
        return shares.masked_fill(~known[:, None], torch.nan)

    def _clashes(
        self, search: Search, given: Tensor, own: OwnExclusions | None, budget: int
    ) -> list[tuple[int, ...]]:
        """Givens of every contradictory puzzle that clash by themselves, none of them idle.

        Where two exclude each other at once, the rest is not looked at; of two orders of leaving
        out the one is taken that leaves fewer.
        """
        clashes: list[tuple[int, ...]] = [()] * len(given)
        rows = search.refuted.nonzero().flatten()
        start = given[rows]
        for place, two in Board.of(self.network, start, own, rows).first_clashes().items():
            rest = torch.ones_like(start[place], dtype=torch.bool)
            rest[list(two)] = False
            start[place, rest] = 0
        settled = (search.guesses[rows] == 0).nonzero().flatten()
        tried = []
        for backwards in (False, True):
            kept, thin = start.clone(), partial(self._thinned, own=own, backwards=backwards)
            kept[settled] = thin(kept[settled], rows[settled], budget=0)  # quick, leaves few
            tried.append(thin(kept, rows, budget=budget))
        for row, *both in zip(rows.tolist(), *tried, strict=True):
            left = min(both, key=lambda kept: int(kept.count_nonzero()))
            clashes[row] = tuple(left.nonzero().flatten().tolist())
        return clashes

    def _thinned(
        self,
        kept: Tensor,
        puzzles: Tensor,
        *,
        own: OwnExclusions | None,
        budget: int,
        backwards: bool,
    ) -> Tensor:
        """Leaves out one given after another where the rest still has no solution."""
        units = kept.any(0).nonzero().flatten().tolist()
        for unit in reversed(units) if backwards else units:
            rows = kept[:, unit].nonzero().flatten()
            trial = kept[rows]
            trial[:, unit] = 0
            search = Search(self.network, self.order, trial, own, budget, 1, puzzles[rows])
            refuted = search.run().refuted
            kept[rows[refuted]] = trial[refuted]
        return kept
