"""``isinglass lab``: rooms to play with energies in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from isinglass._support.optional import require_extra
from isinglass.cli._common import ForceOption, JsonOption, Output, QuietOption, whole
from isinglass.errors import ParameterError

with require_extra("cli"):
    import typer
    from rich.markup import escape

__all__ = ["lab"]


def lab(
    export: Annotated[
        Path | None,
        typer.Option(help="Write the page as one file that needs no Python, and end."),
    ] = None,
    port: Annotated[
        int,
        typer.Option(parser=whole(0, 65535), help="Where to serve; 0 is any port that is free."),
    ] = 8470,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")
    ] = True,
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Play with energies: a page in the browser, served by this machine to itself.

    Six rooms, the energy always in view. Remember: draw a digit, break it, and watch it fall back
    into a memory; heat it, and let the memory imagine. Compare: classical, dense and modern nets
    by the number of patterns. Play: TicTacToe with Q = -F in every cell. Attend: the heads of a
    Transformer at any temperature. World: a plan for every goal. Think: a Sudoku and a family.

    Large nets are computed by this library, small ones by the page. Nothing is fetched from a
    network and no other machine can reach it; Ctrl-C ends it.

    With --export the same page is written as one file, which opens from a disk and computes
    everything itself.

    Examples:
        isinglass lab
        isinglass lab --port 0 --no-browser
        isinglass lab --export lab.html
    """
    output = Output(as_json, quiet)
    if export is not None and export.suffix.lower() not in (".html", ".htm"):
        name = export.with_suffix(".html") if export.name.strip(".") else "lab.html"
        raise ParameterError(f"--export {str(export)!r}", f"Name it {name}")
    if export is None:
        from isinglass.cli.lab.serving import serve_lab

        serve_lab(output, port, browser)
        return
    from isinglass.cli.lab.data import page_data
    from isinglass.cli.lab.page import build_page
    from isinglass.io.atomic import atomic_write

    with atomic_write(export, overwrite=force) as aside:
        aside.write_text(build_page(page_data()), encoding="utf-8")
    size = export.stat().st_size
    output.say(f"Open [bold]{escape(str(export))}[/bold] in a browser ({size / 1e6:.1f} MB).")
    output.finish({"page": export, "bytes": size})
