"""``isinglass tour``: the four verbs on real data."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from isinglass._support.optional import require_extra
from isinglass.cli._common import LARGEST_SEED, free_name

with require_extra("cli"):
    import typer
    from rich.console import Console

__all__ = ["tour"]


class Verb(StrEnum):
    """The four verbs."""

    REMEMBER = "remember"
    ATTEND = "attend"
    IMAGINE = "imagine"
    ACT = "act"


def tour(
    verbs: Annotated[
        list[Verb] | None,
        typer.Argument(help="Only these chapters, in this order.", show_default="all four"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Where the page goes.", show_default="isinglass-tour.html, or the next free name"
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Seed of everything random.")
    ] = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite the page named by --out.")
    ] = False,
) -> None:
    """Walk the four verbs on real data, beside their peers, in about a minute.

    Digits are recalled from halves of themselves; attention is sampled; a
    Boltzmann machine is fitted, sampled and asked for missing halves, all
    exactly; an agent chooses among 2^40 actions. Prints a table and writes one
    page with pictures that needs no network.

    Examples:
        isinglass tour
        isinglass tour imagine act --out two.html
    """
    from isinglass.cli.tour.guide import take_tour

    console = Console()
    page = out or free_name(Path("isinglass-tour.html"))
    take_tour(
        page,
        [verb.value for verb in verbs or Verb],
        seed=seed,
        overwrite=force,
        console=console,
    )
    console.print(f"Open [bold]{page}[/bold] to see the pictures.", highlight=False, soft_wrap=True)
