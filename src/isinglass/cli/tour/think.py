"""Think: a stored rule answers what could not be answered; a Sudoku is guessed and retracted."""

from __future__ import annotations

from typing import cast

import torch

from isinglass._support.progress import Progress
from isinglass.cli.think.boards import make_boards, propositions
from isinglass.cli.think.pictures import plot_board, plot_proof, plot_thoughts
from isinglass.cli.tour.chapter import Chapter, Drawing, Fact, new_figure
from isinglass.thinking import (
    ConstraintNetwork,
    Mind,
    PuzzleThinker,
    Reply,
    RuleMemory,
    SmallestGroup,
    Thinker,
    Vocabulary,
)

FAMILY = [
    ("mother", "Ada", "Ben"),
    ("father", "Ben", "Cleo"),
    ("mother", "Cleo", "Dan"),
    ("brother", "Ben", "Eve"),
]
KNOWN = [
    "mother(X,Y) -> parent(X,Y)",
    "father(X,Y) -> parent(X,Y)",
    "parent(X,Z), parent(Z,Y) -> grandparent(X,Y)",
]
TOLD = "grandparent(X,Z), parent(Z,Y) -> great-grandparent(X,Y)"
QUESTION = ("great-grandparent", "?", "Dan")
#: A Sudoku of 17 givens: the fewest that have a single solution (arXiv:1201.0749).
HARD = "52...6.........7.13...........4..8..6......5...........418.........3..2...87....."
MADE = 3000
PUZZLES = 50
HIDDEN = 0.45

LEAD = """A mind is a set of propositions, a thought is one more. Rules are stored patterns of an
energy over relations, so a rule works as soon as it is stored: a question that was unsure before is
answered with its derivation, whose energy is the sum of −log p over the rules it uses. In a puzzle
all propositions are known in advance. Its energy counts what is violated and is learned from solved
boards alone; thinking settles what is forced, guesses, retracts, and answers only with energy 0."""


def think(progress: Progress, seed: int) -> Chapter:
    """Answers a question about a family, solves Sudokus, and returns the chapter."""
    chapter = Chapter("think", "Think: add to a set of propositions", LEAD)
    progress(0.1, "a family")
    _family(chapter)
    progress(0.2, "solved boards")
    boards = make_boards(9, MADE + PUZZLES, torch.Generator().manual_seed(seed))
    network = ConstraintNetwork(729).fit(propositions(boards[:MADE]))
    chapter.facts.append(
        Fact(
            f"rules of Sudoku from {MADE:,} solved boards: exclusions, groups",
            f"{len(network.pairs):,}, {len(network.groups)}",
            "the rule book 10,206, 324",
        )
    )
    progress(0.4, "puzzles")
    _sudokus(chapter, network, boards[MADE:], seed)
    progress(0.7, "a hard one")
    _hard(chapter, network)
    progress(1.0, "done")
    return chapter


def _family(chapter: Chapter) -> None:
    words = Vocabulary(
        ["brother", "father", "grandparent", "great-grandparent", "mother", "parent"]
    )
    memory = RuleMemory(words)
    memory.store(KNOWN)
    mind = Mind.from_tuples(FAMILY, words)
    before = _ask(memory, mind)
    memory.store(TOLD)
    after = _ask(memory, mind)
    figure = new_figure(8.4, 3.6)
    plot_proof(figure.add_subplot(), after.answers[0].proof)
    chapter.pictures.append(
        Drawing(
            figure,
            f"Who is the great-grandparent of Dan? Unsure, until the rule {TOLD} is stored; then "
            f"{after.answers[0].proposition[1]}, by this derivation. What is given is gray.",
            "A tree of boxes: the answer on top, the facts that it follows from at the bottom.",
        )
    )
    chapter.facts.append(
        Fact(
            "a question, after its rule is stored and before",
            _said(after),
            f"before: {_said(before)}",
        )
    )


def _ask(memory: RuleMemory, mind: Mind) -> Reply:
    return cast("Reply", Thinker(memory).think(mind, QUESTION))


def _said(reply: Reply) -> str:
    if not reply.sure:
        return "unsure"
    return f"sure, {reply.answers[0].proposition[1]}, energy {reply.answers[0].energy:.1f}"


def _sudokus(chapter: Chapter, network: ConstraintNetwork, boards: torch.Tensor, seed: int) -> None:
    """Hides cells of boards that were not learned from, and counts right and wrong answers."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.rand(boards.shape, generator=generator) < HIDDEN
    truths = propositions(boards).bool()
    puzzles = propositions(boards.masked_fill(hidden, 0))
    answers = PuzzleThinker(network).think(puzzles, solutions=2)
    only = answers.complete & (answers.found == 1)
    right = int((only & (answers.solutions == truths).all(-1)).sum())
    settled = PuzzleThinker(network).think(puzzles, budget=0)
    plain = int((settled.sure & (settled.solutions == truths).all(-1)).sum())
    several = int((answers.found > 1).sum())
    chapter.facts.append(
        Fact(
            f"{len(boards)} others, {HIDDEN:.0%} of cells hidden: right, several solutions, wrong",
            f"{right}, {several}, {len(boards) - right - several}",
            f"right by settling alone {plain}",
        )
    )


def _hard(chapter: Chapter, network: ConstraintNetwork) -> None:
    board = torch.tensor([0 if cell == "." else int(cell) for cell in HARD]).view(9, 9)
    givens = propositions(board[None])
    answer = PuzzleThinker(network).think(givens, solutions=2)[0]
    plain = PuzzleThinker(network, SmallestGroup()).think(givens, solutions=2)[0]
    chapter.facts.append(
        Fact(
            "a hard Sudoku, to its only solution: guesses, retractions",
            f"{answer.guesses}, {answer.retractions}",
            f"first of the smallest group {plain.guesses}, {plain.retractions}",
        )
    )
    figure = new_figure(8.4, 4.2)
    left, right = figure.subplots(1, 2)
    plot_board(left, network, board, answer)
    plot_thoughts(right, answer)
    chapter.pictures.append(
        Drawing(
            figure,
            "A Sudoku of 17 givens. Left: givens are bold, what they force is blue, the guesses "
            "that stood are bold italic, what followed from these is gray italic. Right: how many "
            "guesses stood "
            "after each guess and retraction; the search goes on until no second solution is left.",
            "A filled board, and a line that climbs with guesses and falls with retractions.",
        )
    )
