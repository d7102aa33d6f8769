"""What was thought of puzzles: solutions, how sure they are, and the trace of guesses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from isinglass._support.functions import check_takes
from isinglass._support.typing import Bool, Int

__all__ = ["PuzzleAnswer", "PuzzleAnswers", "Thought", "ThoughtLog"]

SURE, UNSURE, CONTRADICTORY = "sure", "unsure", "contradictory"


@dataclass(frozen=True)
class Thought:
    """A guess, or its retraction.

    Attributes:
        proposition: What was asserted, or is false from now on.
        depth: How many guesses stood below it.
        guessed: Whether it was asserted; else it was retracted.
    """

    proposition: int
    depth: int
    guessed: bool


@dataclass
class ThoughtLog:
    """Guesses and retractions of all puzzles, a round at a time."""

    rounds: list[tuple[Tensor, Tensor, Tensor, bool]] = field(default_factory=list)

    def add(self, puzzles: Tensor, units: Tensor, depths: Tensor, guessed: bool) -> None:
        """Adds what was thought in one round, one proposition a puzzle."""
        if len(puzzles):
            self.rounds.append((puzzles, units, depths, guessed))

    def of(self, puzzle: int) -> tuple[Thought, ...]:
        """Returns the thoughts of one puzzle, in order."""
        return tuple(
            Thought(int(units[at]), int(depths[at]), guessed)
            for puzzles, units, depths, guessed in self.rounds
            for at in (puzzles == puzzle).nonzero().flatten()
        )


@dataclass(frozen=True)
class PuzzleAnswer:
    """What was thought of one puzzle; printed, it is the trace of guesses and retractions.

    Attributes:
        status: "sure": a solution of energy 0; "unsure": the budget ended before; "contradictory":
            there is none.
        solution: Which propositions are true, ``(size,)``, or None.
        unique: Whether the search showed that there is no other solution.
        clash: Givens that have no solution together, of which the budget lets none be left out.
        thoughts: Guesses and retractions, in order.

    Examples:
        >>> import torch
        >>> from isinglass.thinking import ConstraintNetwork, PuzzleThinker
        >>> network = ConstraintNetwork(4, groups=[[0, 1], [2, 3]])
        >>> answers = PuzzleThinker(network).think(torch.zeros(1, 4), exclusions=[[(0, 2), (0, 3)]])
        >>> print(answers[0].trace("abcd".__getitem__))
        guess c
        sure, 1 guesses, 0 retractions
    """

    status: str
    solution: Bool[Tensor, " size"] | None
    unique: bool
    clash: tuple[int, ...]
    thoughts: tuple[Thought, ...]

    @property
    def guesses(self) -> int:
        """How many propositions were asserted that nothing forced."""
        return sum(thought.guessed for thought in self.thoughts)

    @property
    def retractions(self) -> int:
        """How many of them were taken back."""
        return len(self.thoughts) - self.guesses

    def trace(self, name: Callable[[int], str] = str) -> str:
        """Writes the thoughts, one a line, deeper ones further to the right.

        Args:
            name: What a proposition is called.

        Raises:
            ParameterError: If that is no function.
        """
        check_takes("name", name, "a proposition")
        lines = [
            f"{'  ' * thought.depth}{'guess' if thought.guessed else 'retract'} "
            f"{name(thought.proposition)}"
            for thought in self.thoughts
        ]
        clash = ", ".join(map(name, self.clash))
        end = f"contradictory: {clash}" if self.clash else self.status
        return "\n".join([*lines, f"{end}, {self.guesses} guesses, {self.retractions} retractions"])

    def __str__(self) -> str:
        return self.trace()


@dataclass(frozen=True)
class PuzzleAnswers:
    """What was thought of many puzzles, one a row.

    Attributes:
        solutions: Which propositions are true, ``(puzzles, size)``; all false without a solution.
        found: How many solutions were found, ``(puzzles,)``.
        complete: Whether the search left nothing out, ``(puzzles,)``.
        guesses: How many propositions were asserted that nothing forced, ``(puzzles,)``.
        retractions: How many of them were taken back, ``(puzzles,)``.
        clashes: Givens that have no solution together, a tuple a puzzle, empty but for
            contradictory ones.
        totals: How often each proposition was true in the solutions found, ``(puzzles, size)``.
        log: The guesses and retractions themselves.

    Examples:
        >>> import torch
        >>> from isinglass.thinking import ConstraintNetwork, PuzzleThinker
        >>> network = ConstraintNetwork(4, groups=[[0, 1], [2, 3]])
        >>> answers = PuzzleThinker(network).think(torch.tensor([[1, 0, 0, 0], [1, 1, 0, 0]]))
        >>> print(answers)
        1 sure, 0 unsure, 1 contradictory; 1 guesses, 0 retracted
        >>> answers.clashes
        [(), (0, 1)]
    """

    solutions: Bool[Tensor, "puzzles size"]
    found: Int[Tensor, " puzzles"]
    complete: Bool[Tensor, " puzzles"]
    guesses: Int[Tensor, " puzzles"]
    retractions: Int[Tensor, " puzzles"]
    clashes: list[tuple[int, ...]]
    totals: Int[Tensor, "puzzles size"]
    log: ThoughtLog = field(repr=False)

    @property
    def sure(self) -> Bool[Tensor, " puzzles"]:
        """Which have a solution, of energy 0."""
        return self.found > 0

    @property
    def contradictory(self) -> Bool[Tensor, " puzzles"]:
        """Which have none: all was searched."""
        return self.complete & (self.found == 0)

    @property
    def unsure(self) -> Bool[Tensor, " puzzles"]:
        """Where the budget of guesses ended before either."""
        return ~self.complete & (self.found == 0)

    def __len__(self) -> int:
        return len(self.found)

    def __getitem__(self, puzzle: int) -> PuzzleAnswer:
        sure, complete = bool(self.sure[puzzle]), bool(self.complete[puzzle])
        return PuzzleAnswer(
            SURE if sure else CONTRADICTORY if complete else UNSURE,
            self.solutions[puzzle] if sure else None,
            complete and int(self.found[puzzle]) == 1,
            self.clashes[puzzle],
            self.log.of(range(len(self))[puzzle]),
        )

    def __str__(self) -> str:
        kinds = {SURE: self.sure, UNSURE: self.unsure, CONTRADICTORY: self.contradictory}
        counts = ", ".join(f"{int(which.sum())} {kind}" for kind, which in kinds.items())
        return (
            f"{counts}; {int(self.guesses.sum())} guesses, {int(self.retractions.sum())} retracted"
        )
