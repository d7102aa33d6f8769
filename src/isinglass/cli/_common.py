"""What several commands share: options, and one place that prints for people or for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from isinglass._support.optional import require_extra

with require_extra("cli"):
    import typer
    from rich.console import Console
    from rich.markup import escape

__all__ = [
    "LARGEST_SEED", "ForceOption", "JsonOption", "Output", "QuietOption", "free_name", "whole",
]  # fmt: skip

LARGEST_SEED = 2**32 - 1  # numpy's, which seeds scikit-learn and the agents


def whole(least: int, most: float = math.inf) -> Callable[[str | int], int]:
    """Returns a parser of whole numbers within bounds, which may be typed as ``20_000`` or ``2e4``.

    Examples:
        >>> whole(1)("2e4")
        20000
    """

    def integer(text: str | int) -> int:
        try:
            number = Decimal(str(text))
            value = int(number)
        except (ArithmeticError, ValueError):
            raise typer.BadParameter(f"{text!r} is no whole number.") from None
        if value != number:
            raise typer.BadParameter(f"{text!r} is no whole number.")
        if not least <= value <= most:
            within = f"{least} or more" if most == math.inf else f"from {least} to {most}"
            raise typer.BadParameter(f"{text} is not {within}.")
        return value

    return integer


JsonOption: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout, and nothing else there.")
]
QuietOption: TypeAlias = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")
]
ForceOption: TypeAlias = Annotated[
    bool, typer.Option("--force", help="Overwrite files that are there already.")
]


class Output:
    """The standard output of a command: text for people, or one JSON object for programs.

    Args:
        as_json: Whether to print the result alone, as JSON.
        quiet: Whether to print nothing.

    Attributes:
        console: Where text goes; it prints nothing in JSON and when quiet.
        notes: What :meth:`warn` has said, which is part of the JSON too.

    Examples:
        >>> output = Output(as_json=True)
        >>> output.warn("2 blank lines are left out")
        >>> output.finish({"rows": 3, "energy": float("nan")})
        {"rows": 3, "energy": null, "notes": ["2 blank lines are left out"]}
    """

    def __init__(self, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json = as_json
        self.console = Console(quiet=quiet or as_json, emoji=False)
        self.notes: list[str] = []

    def say(self, text: str) -> None:
        """Prints a line of rich markup, wrapped by the terminal alone."""
        self.console.print(text, highlight=False, soft_wrap=True)

    def warn(self, note: str) -> None:
        """Prints what the user should know, in yellow, and keeps it for the JSON."""
        self.notes.append(note)
        self.say(f"[yellow]{escape(note)}.[/yellow]")

    def finish(self, result: Mapping[str, Any]) -> None:
        """Prints the result and the notes if the output is JSON; NaN and infinities become null."""
        if self.as_json:
            print(json.dumps(_finite({**result, "notes": self.notes})))  # noqa: T201


def _finite(value: Any) -> Any:
    """Replaces numbers that JSON does not have, and paths, in a nested result."""
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value


def free_name(path: Path) -> Path:
    """Returns the path, or the first of path-2, path-3, … that is not taken."""
    number, free = 2, path
    while free.exists():
        free = path.with_stem(f"{path.stem}-{number}")
        number += 1
    return free
