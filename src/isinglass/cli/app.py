"""All commands as one application, with no traceback unless asked for."""

from __future__ import annotations

from typing import Annotated

import isinglass
from isinglass._support.optional import require_extra
from isinglass.cli.act.command import act
from isinglass.cli.imagine.command import imagine
from isinglass.cli.recall import recall, remember
from isinglass.cli.tour.command import tour
from isinglass.errors import IsinglassError

with require_extra("cli"):
    import typer
    from rich.console import Console
    from rich.markup import escape

__all__ = ["app", "run"]

app = typer.Typer(
    name="isinglass",
    help="One energy: descend it to remember, differentiate it to attend, sample it to imagine, "
    "learn it by Bellman's equation to act.",
    epilog="Start with: isinglass tour",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        Console().print(f"isinglass {isinglass.__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Options that stand before or after any command; ``run`` has read --debug already."""


for command in (tour, remember, recall, imagine, act):
    app.command()(command)


def run(arguments: list[str]) -> int:
    """Run the command line and return the exit status: 0 done, 1 an error, 2 wrong usage."""
    debug = "--debug" in arguments
    rest = [argument for argument in arguments if argument != "--debug"]
    try:
        app(rest)
    except SystemExit as done:  # typer has shown usage errors by itself
        return done.code if isinstance(done.code, int) else 1
    except IsinglassError as error:
        if debug:
            raise
        return _complain(str(error), 1)
    except KeyboardInterrupt:
        return _complain("stopped", 130)
    except Exception as error:
        if debug:
            raise
        found = f"{type(error).__name__}: {error}".strip()
        return _complain(f"unexpected {found}. Run again with --debug for the traceback", 1)
    return 0


def _complain(message: str, status: int) -> int:
    Console(stderr=True).print(
        "[red]isinglass:[/red]", escape(message), highlight=False, soft_wrap=True
    )
    return status
