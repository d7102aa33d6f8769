"""The arguments and options of ``isinglass think``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

from isinglass._support.optional import require_extra
from isinglass.cli._common import LARGEST_SEED, whole

with require_extra("cli"):
    from typer import Argument, Option

__all__ = [
    "Budget",
    "Confidence",
    "Draw",
    "Exclusive",
    "Facts",
    "Learn",
    "PuzzleFile",
    "Query",
    "Rules",
    "SaveRules",
    "Seed",
]

FACTS, PUZZLES = "Facts and rules", "Puzzles"

Facts: TypeAlias = Annotated[
    Path | None,
    Argument(
        help="What is given: a .csv with the columns relation,subject,object, a fact a line; "
        "object is empty where a relation has one argument.",
        show_default=False,
    ),
]
Rules: TypeAlias = Annotated[
    Path | None,
    Option(
        help="Rules: a .txt, one a line, as mother(X,Z), mother(Z,Y) -> grandmother(X,Y); or a "
        ".csv with the column rule, or first,second,conclusion. A column count weighs rules of "
        "the same premises; without it they are certain.",
        rich_help_panel=FACTS,
    ),
]
Query: TypeAlias = Annotated[
    list[str] | None,
    Option(
        metavar="RELATION,SUBJECT,OBJECT",
        help="What is asked, ? for what is open; a name with commas in quotes. Repeatable.",
        show_default="all that follows",
        rich_help_panel=FACTS,
    ),
]
Learn: TypeAlias = Annotated[
    Path | None,
    Option(
        help="Learn rules from questions with their answers: a .csv with the columns question,"
        "role,relation,subject,object, where lines of one question share its name and role is "
        "fact or answer. With --puzzle: solved boards, in the form of the puzzles.",
    ),
]
SaveRules: TypeAlias = Annotated[
    Path | None,
    Option(help="Write the learned rules, a .csv for --rules.", rich_help_panel=FACTS),
]
Exclusive: TypeAlias = Annotated[
    list[str] | None,
    Option(
        metavar="RELATION,RELATION",
        help="Relations of which one at most holds of the same arguments. Repeatable.",
        rich_help_panel=FACTS,
    ),
]
Confidence: TypeAlias = Annotated[
    float | None,
    Option(
        help="The share an answer needs to be sure, between 0 and 1; the higher, the likelier its "
        "steps must be, and at 1 all are certain.",
        show_default="0.95",
        rich_help_panel=FACTS,
    ),
]
PuzzleFile: TypeAlias = Annotated[
    Path | None,
    Option(
        "--puzzle",
        help="Boards to solve instead: all cells in one line (81 for 9 × 9), or 9 lines of 9; "
        ". or 0 is empty. The rules are learned from solved boards: those of --learn, or usual "
        "Sudokus of side 4, 6, 8 or 9 that are made.",
        rich_help_panel=PUZZLES,
    ),
]
Seed: TypeAlias = Annotated[
    int | None,
    Option(
        parser=whole(0, LARGEST_SEED),
        help="Seed of the boards that are made, and of learning.",
        show_default="0",
    ),
]
Budget: TypeAlias = Annotated[
    int | None,
    Option(
        parser=whole(0),
        help="How many thoughts a question may take, or guesses a puzzle.",
        show_default="all derivations, 100000 guesses",
    ),
]
Draw: TypeAlias = Annotated[
    Path | None,
    Option(help="Draw the derivation of the best answer, or the board, as .svg."),
]
