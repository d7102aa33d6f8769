"""All commands as one application, with no traceback unless asked for.

Exit status: 0 done, 1 files or data failed, 2 the command line is wrong, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import inspect
import io
import sys
from collections.abc import Callable
from typing import Annotated, Any

from isinglass import __version__
from isinglass._support.optional import require_extra
from isinglass.cli._wording import exit_status, lacks_memory, lacks_space, shell_message
from isinglass.cli.act.command import act
from isinglass.cli.imagine.command import imagine
from isinglass.cli.inspect.command import inspect as inspect_command
from isinglass.cli.lab.command import lab
from isinglass.cli.remember.command import remember
from isinglass.cli.think.command import think
from isinglass.cli.tour.command import tour
from isinglass.errors import IsinglassError

with require_extra("cli"):
    import typer
    from rich.console import Console
    from rich.markup import escape
    from typer.core import TyperCommand, TyperGroup

__all__ = ["app", "run"]

OUT_OF_MEMORY = (
    "there is not enough memory. Give fewer rows, columns or memories, smaller images (--size), or "
    "a smaller buffer_size"
)
OUT_OF_SPACE = "the disk refused it ({}). Free some space, or write elsewhere"
STATUSES = """Exit status: 0 done; 1 files or data failed; 2 the command line is wrong; 130 stopped.

Start with: isinglass tour"""


class _Command(TyperCommand):
    """A command whose flags have no type in the help: they take no value."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Returns the parameters, flags without a type."""
        return _untyped_flags(super().get_params(ctx))


class _Group(TyperGroup):
    """The application itself, its flags as those of the commands."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Returns the parameters, flags without a type."""
        return _untyped_flags(super().get_params(ctx))


def _untyped_flags(parameters: list[Any]) -> list[Any]:
    for parameter in parameters:
        if getattr(parameter, "is_flag", False) or parameter.name in {
            "help", "install_completion", "show_completion",
        }:  # fmt: skip
            parameter.metavar = ""
    return parameters


app = typer.Typer(
    name="isinglass",
    cls=_Group,
    help="One energy: descend it to remember, differentiate it to attend, sample it to imagine, "
    "learn it by Bellman's equation to act.",
    epilog=STATUSES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"isinglass {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks; stands before or after the command.")
    ] = False,
) -> None:
    """Options that stand before or after any command; ``run`` has read --debug already."""


def _add(command: Callable[..., None], name: str | None = None, hidden: bool = False) -> None:
    """Adds a command; what its docstring has under ``Examples:`` stands below the options."""
    text, _, examples = inspect.cleandoc(command.__doc__ or "").partition("\nExamples:\n")
    text = "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
    lines = [line.strip() for line in examples.splitlines() if line.strip()]
    epilog = "\n\n".join(["Examples:", *lines])
    app.command(name, cls=_Command, help=text, epilog=epilog, hidden=hidden)(command)


for command in (tour, remember, imagine, act, think):
    _add(command)
_add(inspect_command, "inspect")
_add(lab)
_add(remember, "recall", hidden=True)  # the same command by the field's name


def run(arguments: list[str]) -> int:
    """Runs the command line and returns the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a console without β must not stop a command
            stream.reconfigure(errors="replace")
    debug = "--debug" in arguments
    rest = [argument for argument in arguments if argument != "--debug"]
    try:
        app(rest, prog_name="isinglass")
    except SystemExit as done:  # typer has shown usage errors by itself
        return done.code if isinstance(done.code, int) else 1
    except IsinglassError as error:
        if debug:
            raise
        return _complain(_in_shell_words(error, rest), exit_status(error))
    except KeyboardInterrupt:
        return _complain("stopped", 130)
    except Exception as error:
        if debug:
            raise
        return _complain(_in_plain_words(error), 1)
    return 0


def _in_shell_words(error: IsinglassError, arguments: list[str]) -> str:
    commands: dict[str, Any] = vars(typer.main.get_command(app))["commands"]
    name = next((argument for argument in arguments if argument in commands), "")
    parameters = commands[name].params if name else []
    options = {p.name: p.opts[0] for p in parameters if p.opts[0].startswith("--")}
    return shell_message(error, name, options)


def _in_plain_words(error: Exception) -> str:
    if lacks_memory(error):
        return OUT_OF_MEMORY
    if lacks_space(error):
        return OUT_OF_SPACE.format(error)
    found = f"{type(error).__name__}: {error}".strip()
    return f"unexpected {found}. Run again with --debug for the traceback"


def _complain(message: str, status: int) -> int:
    try:
        Console(stderr=True).print(
            "[red]isinglass:[/red]", escape(message), highlight=False, soft_wrap=True
        )
    except MemoryError:  # rich wants more than may be left
        sys.stderr.write(f"isinglass: {message}\n")
    return status
