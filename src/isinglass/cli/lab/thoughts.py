"""The room that thinks, in Python: a family by rules, and Sudokus whose rules were learned."""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any, cast

import numpy as np
import torch

from isinglass.cli.lab.asking import text, whole
from isinglass.cli.lab.page import pack
from isinglass.cli.think.boards import make_boards, propositions
from isinglass.errors import ParameterError
from isinglass.thinking import (
    ConstraintNetwork,
    Mind,
    PuzzleThinker,
    Reply,
    RuleMemory,
    Thinker,
    Vocabulary,
)

__all__ = ["FAMILY", "QUESTIONS", "RULES", "asked", "learned", "thoughts_data", "wonder"]

WORDS = ["aunt", "brother", "father", "grandparent", "great-grandparent", "mother", "parent"]
FAMILY = [
    ("mother", "Ada", "Ben"),
    ("mother", "Ada", "Eve"),
    ("father", "Ben", "Cleo"),
    ("mother", "Cleo", "Dan"),
    ("brother", "Ben", "Eve"),
]
#: Rules with how often each was seen: p = c/(c + ½), as of anything seen seldom there is doubt.
RULES = [
    (("mother(X,Y) -> parent(X,Y)", "father(X,Y) -> parent(X,Y)"), 50.0),
    (("parent(X,Z), parent(Z,Y) -> grandparent(X,Y)",), 10.0),
    (("grandparent(X,Z), parent(Z,Y) -> great-grandparent(X,Y)",), 3.0),
]
QUESTIONS = [
    ("great-grandparent", "?", "Dan"),
    ("grandparent", "?", "Cleo"),
    ("grandparent", "Ben", "?"),
    ("parent", "Ada", "?"),
    ("?", "Ada", "Dan"),
    ("aunt", "?", "Cleo"),
]
MADE = 1_200  # solved boards that rules are learned from
BUDGET = 200  # guesses of a visitor's puzzle
SIDES = (4, 6, 9)


@cache
def learned(side: int) -> ConstraintNetwork:
    """Returns the rules of Sudokus of this side, learned from solved boards alone."""
    boards = make_boards(side, MADE, torch.Generator().manual_seed(0))
    return ConstraintNetwork(side**3).fit(propositions(boards))


def asked(question: tuple[str, str, str], stored: list[bool]) -> dict[str, Any]:
    """Answers a question about the family, some of the rules being stored."""
    words = Vocabulary(WORDS)
    memory = RuleMemory(words)
    for (rules, seen), on in zip(RULES, stored, strict=True):
        if on:
            memory.store(rules, seen)
    mind = Mind.from_tuples(FAMILY, words)
    reply = cast("Reply", Thinker(memory).think(mind, question))
    return {
        "sure": reply.sure,
        "thoughts": reply.thoughts,
        "answers": [
            {
                "words": answer.proof.words,
                "energy": answer.energy,
                "proof": [
                    [depth, node.words, "given" if node.rule is None else str(node.rule)]
                    for depth, node in answer.proof.walk()
                ],
            }
            for answer in reply.answers
        ],
    }


def thoughts_data() -> dict[str, Any]:
    """Returns the groups of each board, and every question under every choice of rules."""
    choices = list(product([False, True], repeat=len(RULES)))
    return {
        "boards": {
            side: pack(learned(side).members.numpy().astype(np.float32).ravel()) for side in SIDES
        },
        "family": FAMILY,
        "rules": [f"{'; '.join(some)} (seen {seen:.0f} times)" for some, seen in RULES],
        "questions": [f"{name}({first},{second})" for name, first, second in QUESTIONS],
        "replies": [
            [asked(question, list(choice)) for question in QUESTIONS] for choice in choices
        ],
    }


def wonder(question: dict[str, object]) -> dict[str, object]:
    """Thinks about a visitor's Sudoku with the default order of guesses.

    Raises:
        ParameterError: If the board is none.
    """
    side = whole(question, "side", 2, 9)
    cells = text(question, "cells", 81)
    if side not in SIDES:
        raise ParameterError(f"a board of side {side}", f"Give one of {SIDES}")
    if len(cells) != side**2 or set(cells) - set("0123456789"[: side + 1]):
        raise ParameterError("cells that are no board", f"Give {side**2} digits, 0 where empty")
    board = torch.tensor([int(cell) for cell in cells]).view(1, side, side)
    answers = PuzzleThinker(learned(side)).think(propositions(board), solutions=2, budget=BUDGET)
    answer = answers[0]
    return {
        "status": answer.status,
        "unique": answer.unique,
        "guesses": answer.guesses,
        "retractions": answer.retractions,
    }
