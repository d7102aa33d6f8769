"""The options of every command that reads a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

from isinglass._support.optional import require_extra

if TYPE_CHECKING:
    from isinglass.data.csv import Reading

with require_extra("cli"):
    from typer import Option

__all__ = ["reading_of"]

PANEL = "How a .csv is read (decided from the file unless told)"

Header: TypeAlias = Annotated[
    bool | None,
    Option("--header/--no-header", help="The first line holds names.", rich_help_panel=PANEL),
]
Separator: TypeAlias = Annotated[
    str | None, Option(help="What stands between cells: , ; | tab.", rich_help_panel=PANEL)
]
DecimalMark: TypeAlias = Annotated[
    str | None, Option(help="The mark before decimals: . or ,", rich_help_panel=PANEL)
]
ThousandsMark: TypeAlias = Annotated[
    str | None, Option(help="The mark between groups of digits.", rich_help_panel=PANEL)
]
Encoding: TypeAlias = Annotated[
    str | None, Option(help="The encoding: utf-8, cp1252, utf-16 …", rich_help_panel=PANEL)
]
UnknownWords: TypeAlias = Annotated[
    list[str] | None,
    Option(metavar="WORD", help="What stands for an unknown cell. Repeatable.",
           rich_help_panel=PANEL),
]  # fmt: skip
NoUnknownWords: TypeAlias = Annotated[
    bool,
    Option("--no-na", help="NA and such are names: only empty cells are unknown.",
           rich_help_panel=PANEL),
]  # fmt: skip


def reading_of(
    header: bool | None,
    sep: str | None,
    decimal: str | None,
    thousands: str | None,
    encoding: str | None,
    na: list[str] | None,
    no_na: bool,
) -> Reading:
    """Returns what the options tell of a file.

    Raises:
        ParameterError: If a mark is not one character, or is used twice.
    """
    from isinglass.data.csv import Reading

    return Reading(header, sep, decimal, thousands, encoding, tuple(na or ()), not no_na)
