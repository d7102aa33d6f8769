"""``isinglass tour``: the four verbs on real data, and thinking."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from isinglass._support.optional import require_extra
from isinglass.cli._common import LARGEST_SEED, JsonOption, Output, QuietOption, free_name, whole

with require_extra("cli"):
    import typer
    from rich.markup import escape

__all__ = ["tour"]


class Verb(StrEnum):
    """The four verbs and thinking, each a chapter of the tour."""

    REMEMBER = "remember"
    ATTEND = "attend"
    IMAGINE = "imagine"
    ACT = "act"
    THINK = "think"


def tour(
    verbs: Annotated[
        list[Verb] | None,
        typer.Argument(help="Only these chapters, in this order.", show_default="all five"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Where the page goes.", show_default="isinglass-tour.html, or the next free name"
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(parser=whole(0, LARGEST_SEED), help="Seed of everything random.")
    ] = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite the page named by --out.")
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Walk the four verbs on real data, beside their peers, and think.

    Digits are recalled from halves of themselves; attention is sampled; a
    Boltzmann machine is fitted, sampled and asked for missing halves, all
    exactly; an agent chooses among 2^40 actions; a stored rule answers a
    question, and a Sudoku is guessed and retracted. Says first how long it will
    take here; prints a table and writes one page with pictures that needs no
    network.

    Examples:
        isinglass tour
        isinglass tour imagine act --out two.html
    """
    from isinglass.cli.tour.guide import take_tour

    output = Output(as_json, quiet)
    page = out or free_name(Path("isinglass-tour.html"))
    walked = take_tour(
        page,
        [verb.value for verb in verbs or Verb],
        seed=seed,
        overwrite=force,
        console=output.console,
    )
    output.say(f"Open [bold]{escape(str(page))}[/bold] to see the pictures.")
    output.finish(
        {
            "page": page,
            "seed": seed,
            "seconds": walked.seconds,
            "chapters": [
                {
                    "verb": chapter.verb,
                    "seconds": chapter.seconds,
                    "facts": [
                        {"measured": fact.what, "isinglass": fact.own, "beside": fact.beside}
                        for fact in chapter.facts
                    ],
                }
                for chapter in walked.chapters
            ],
        }
    )
