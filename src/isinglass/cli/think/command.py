"""``isinglass think``: questions answered from facts and rules with their derivation, puzzles."""

from __future__ import annotations

from pathlib import Path

from isinglass.cli._common import ForceOption, JsonOption, Output, QuietOption
from isinglass.cli.think.options import (
    Budget,
    Confidence,
    Draw,
    Exclusive,
    Facts,
    Learn,
    PuzzleFile,
    Query,
    Rules,
    SaveRules,
    Seed,
)
from isinglass.errors import FileError, ParameterError

__all__ = ["think"]


def think(
    facts: Facts = None,
    rules: Rules = None,
    query: Query = None,
    learn: Learn = None,
    save_rules: SaveRules = None,
    exclusive: Exclusive = None,
    confidence: Confidence = None,
    puzzle: PuzzleFile = None,
    seed: Seed = None,
    budget: Budget = None,
    draw: Draw = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Answer questions from facts and rules, each with its energy and derivation, or unsure.

    Rules are given, or learned from questions with their answers. An answer is sure if its steps
    are certain enough and nothing speaks against it; without --query all that follows is listed.
    Facts that contradict each other are shown. With --puzzle boards are solved: settled, guessed,
    retracted, and answered only with energy 0.

    Examples:
        isinglass think facts.csv --rules rules.txt --query "grandmother,?,Ann"
        isinglass think facts.csv --learn examples.csv --query "?,Ann,Bob" --draw why.svg
        isinglass think --learn examples.csv --save-rules rules.csv
        isinglass think facts.csv --exclusive mother,father
        isinglass think --puzzle sudoku.txt --json | jq .puzzles[0].status
    """
    output = Output(as_json, quiet)
    asked = {"--rules": rules, "--query": query, "--save-rules": save_rules,
             "--exclusive": exclusive, "--confidence": confidence, "facts": facts}  # fmt: skip
    read = {"facts": facts, "--rules": rules, "--learn": learn, "--puzzle": puzzle}
    _check_files({"--save-rules": (save_rules, ".csv"), "--draw": (draw, ".svg")}, read, force)
    if puzzle is not None:
        _refuse(asked, "--puzzle", "Boards are solved without facts: leave it out")
        if learn is not None:
            _refuse({"--seed": seed}, "--puzzle and --learn", "No board is made: leave it out")
        from isinglass.cli.think.puzzle import solve

        solve(output, puzzle, learn, seed or 0, budget, draw, force)
        return
    if facts is None and learn is None:
        raise ParameterError(
            "nothing to think about", "Give facts.csv, or --learn, or --puzzle; see --help"
        )
    if learn is None:
        _refuse({"--save-rules": save_rules, "--seed": seed}, "no --learn", "It is for --learn")
    if facts is None:
        rest = {name: asked[name] for name in ("--rules", "--query", "--exclusive", "--confidence")}
        _refuse(rest, "no facts", "Give facts.csv too")
    if not query:
        _refuse({"--budget": budget, "--draw": draw}, "no --query", "It is for a question")
    if draw is not None and query is not None and len(query) > 1:
        raise ParameterError(f"--draw with {len(query)} questions", "Ask one, or leave it out")
    from isinglass.cli.think.reasoning import Asking, Sources, reason

    sources = Sources(facts, rules, learn, exclusive or [], seed or 0, save_rules)
    certain = 0.95 if confidence is None else confidence
    reason(output, sources, Asking(query or [], budget, certain, draw, force))


def _refuse(given: dict[str, object], beside: str, remedy: str) -> None:
    named = [name for name, value in given.items() if value is not None and value != []]
    if named:
        raise ParameterError(f"{', '.join(named)} with {beside}", remedy)


def _check_files(
    targets: dict[str, tuple[Path | None, str]], read: dict[str, Path | None], force: bool
) -> None:
    """Refuses what could not or must not be written, before any work is done."""
    for option, (path, suffix) in targets.items():
        if path is None:
            continue
        if path.suffix.lower() != suffix:
            raise ParameterError(f"{option} {path}", f"Name it {path.with_suffix(suffix)}")
        for name, source in read.items():
            if source is not None and path.resolve() == source.resolve():
                raise ParameterError(f"{option} {path}, which is {name} too", "Choose another path")
        if path.exists() and not force:
            raise FileError(
                "the file exists already", "Choose another path, or allow it: overwrite=True",
                f"writing {path}",
            )  # fmt: skip
