"""Boards solved by a network that is learned from solved ones: settle, guess, retract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from isinglass._support.optional import require_extra
from isinglass.cli._common import Output
from isinglass.cli._threads import one_thread
from isinglass.cli.think.boards import block_of, make_boards, propositions, read_boards, written
from isinglass.errors import FileError, ParameterError
from isinglass.io.atomic import atomic_write
from isinglass.thinking import ConstraintNetwork, PuzzleAnswer, PuzzleThinker

with require_extra("cli"):
    from rich.markup import escape

__all__ = ["MADE", "solve"]

#: So many that of 9 × 9 every pair that may be true together is, many times.
MADE = 3000
GUESSES = 100_000
#: Of more guesses and retractions the rest is counted, not printed; JSON has all.
MOST_LINES = 50


def solve(
    output: Output,
    path: Path,
    learn: Path | None,
    seed: int,
    budget: int | None,
    draw: Path | None,
    force: bool,
) -> None:
    """Solves the boards of a file, prints and draws them.

    Raises:
        FileError: If a file cannot be read or written.
        ParameterError: If boards cannot be made of that side, or several are to be drawn.
    """
    boards = read_boards(path)
    side, report = boards.shape[-1], dict[str, Any]()
    if draw is not None and len(boards) > 1:
        raise ParameterError(f"--draw with {len(boards)} boards", "Give a file of one")
    with one_thread():
        solved = _solved(output, learn, side, seed, report)
        network = ConstraintNetwork(side**3).fit(solved)
        scarce = _scarce(solved)
        report |= {"exclusions": len(network.pairs), "groups": len(network.groups)}
        output.say(
            f"They left {len(network.pairs):,} exclusions and {len(network.groups)} groups of "
            "which one is true."
        )
        if scarce:
            output.warn(
                f"{scarce:,} pairs were true together in one board only, so more may be missing "
                "and exclude what is allowed: more boards answer more puzzles"
            )
        givens = propositions(boards)
        answers = PuzzleThinker(network).think(
            givens, GUESSES if budget is None else budget, solutions=2
        )
    report["puzzles"] = []
    for number, board in enumerate(boards):
        answer = answers[number]
        outcome = _outcome(answer, int(answers.found[number]), bool(scarce), board)
        report["puzzles"].append(outcome)
        _print(output, answer, outcome, board, number if len(boards) > 1 else None)
    if draw is not None:
        from isinglass.cli.think.pictures import draw_board

        with atomic_write(draw, overwrite=force) as aside:
            draw_board(network, boards[0], answers[0]).savefig(aside, format="svg")
        report["drawn"] = draw
        output.say(f"Wrote [bold]{escape(str(draw))}[/bold].")
    output.finish(report)


def _solved(
    output: Output, learn: Path | None, side: int, seed: int, report: dict[str, Any]
) -> Tensor:
    """Returns solved boards as propositions: those of a file, or made ones."""
    if learn is None:
        high, wide = block_of(side)
        output.say(
            f"Learned from {MADE:,} solved Sudokus made here, side {side}, blocks of {high} × "
            f"{wide}, seed {seed}."
        )
        report |= {"learned from": "made", "boards": MADE, "seed": seed}
        return propositions(make_boards(side, MADE, Generator().manual_seed(seed)))
    boards = read_boards(learn, solved=True)
    if boards.shape[-1] != side:
        raise FileError(
            f"solved boards of side {boards.shape[-1]}, puzzles of side {side}",
            "Give both of one size", f"reading {learn}",
        )  # fmt: skip
    output.say(f"Learned from {len(boards):,} solved boards of {escape(str(learn))}.")
    report |= {"learned from": learn, "boards": len(boards)}
    return propositions(boards)


def _scarce(solved: Tensor) -> int:
    """Counts pairs that were true together exactly once: then others were never, by chance."""
    truths = solved.float()
    together = torch.triu(truths.mT @ truths, 1)
    return int((together == 1).sum())


def _outcome(answer: PuzzleAnswer, found: int, scarce: bool, board: Tensor) -> dict[str, Any]:
    """Returns what is said of a board; what false exclusions could have caused is not said."""
    side = len(board)
    status = "unsure" if scarce and answer.status == "contradictory" else answer.status
    cells = None
    if answer.solution is not None:
        digits = answer.solution.view(side * side, side).int().argmax(-1) + 1
        cells = "".join(map(str, digits.tolist()))
    only = False if found > 1 else True if answer.unique and not scarce else None
    return {
        "status": status,
        "solution": cells,
        "energy": None if cells is None else 0,
        "the only one": only,
        "guesses": answer.guesses,
        "retractions": answer.retractions,
        "clash": [written(unit, side) for unit in answer.clash if status == answer.status],
        "thoughts": [
            {"guess" if t.guessed else "retract": written(t.proposition, side), "depth": t.depth}
            for t in answer.thoughts
        ],
    }


def _print(
    output: Output, answer: PuzzleAnswer, outcome: dict[str, Any], board: Tensor, number: int | None
) -> None:
    side, cells = len(board), outcome["solution"]
    if number is None:
        for thought in answer.thoughts[:MOST_LINES]:
            word = "guess" if thought.guessed else "retract"
            output.say(f"  {'  ' * thought.depth}{word} {written(thought.proposition, side)}")
        if len(answer.thoughts) > MOST_LINES:
            output.say(f"  … and {len(answer.thoughts) - MOST_LINES} more.")
        if cells is not None:
            for row in range(side):
                output.say("  " + " ".join(cells[row * side : (row + 1) * side]))
    status = {
        "sure": {True: "sure, the only solution", False: "sure, but not the only solution",
                 None: "sure, perhaps not the only solution"}[outcome["the only one"]],
        "unsure": "unsure: " + ("the boards that rules were learned from are too few"
                                if answer.status == "contradictory" else "the budget ended before"),
        "contradictory": "contradictory: " + ", ".join(outcome["clash"]),
    }[outcome["status"]]  # fmt: skip
    place = "" if number is None else f"{number + 1}: {cells or '–'}  "
    energy = "" if cells is None else ", energy 0"
    guesses, back = outcome["guesses"], outcome["retractions"]
    output.say(
        f"{place}[bold]{status}[/bold]{energy}, {guesses} guess{'' if guesses == 1 else 'es'}, "
        f"{back} retraction{'' if back == 1 else 's'}"
    )
