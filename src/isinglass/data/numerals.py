"""How the columns of a file write their numbers: decimal point or comma, groups of thousands."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

__all__ = ["NUMBER_LIKE", "Numerals", "decide_numerals", "fitting_numerals"]

#: Digits with any marks among them.
NUMBER_LIKE = re.compile(r"[+-]?[\d.,]*\d[\d.,]*([eE][+-]?\d+)?|[+-]?inf(inity)?", re.I | re.A)


@dataclass(frozen=True)
class Numerals:
    """How numbers are written.

    Args:
        decimal: The mark before decimals.
        thousands: The mark between groups of three digits.

    Examples:
        >>> german = Numerals(",", ".")
        >>> german.parse("203.923,94"), german.spell("203923.9")
        (203923.94, '203.923,9')
    """

    decimal: str = "."
    thousands: str = ""

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """What a number looks like."""
        gap = r"\s" if self.thousands.isspace() else re.escape(self.thousands)
        groups = rf"[1-9]\d{{0,2}}(?:{gap}\d{{3}})+|" if self.thousands else ""
        point = re.escape(self.decimal)
        number = rf"(?:(?:{groups}\d+)(?:{point}\d*)?|{point}\d+)(?:e[+-]?\d+)?"
        return re.compile(rf"[+-]?(?:{number}|inf(?:inity)?)", re.I | re.A)

    def parse(self, cell: str) -> float:
        """Parses a cell that looks like a number."""
        if self.thousands:
            cell = "".join(cell.split()).replace(self.thousands, "")
        return float(cell.replace(self.decimal, "."))

    def spell(self, text: str) -> str:
        """Spells a number of Python's as the column does."""
        if self.thousands and "e" not in text:
            text = f"{Decimal(text):,}"
        return text.translate({ord(","): self.thousands, ord("."): self.decimal})


def fitting_numerals(
    cells: Collection[str], decimal: str | None = None, thousands: str | None = None
) -> list[Numerals]:
    """Returns the ways in which all of these cells are numbers, the plainest first.

    Args:
        cells: Different cells, none of them unknown.
        decimal: The decimal mark, if it is told.
        thousands: The mark between groups, if it is told.
    """
    groups = ["", thousands] if thousands else ["", ".", ","]
    marks = set("".join(cells)) & {".", ","}
    ways = (
        Numerals(point, group)
        for point in ([decimal] if decimal else ".,")
        for group in groups
        if point not in (group, thousands) and {group} & {".", ","} <= marks <= {point, group}
    )
    fits = [way for way in ways if cells and all(map(way.pattern.fullmatch, cells))]
    return fits if marks else fits[:1]


def decide_numerals(
    fits: Mapping[str, list[Numerals]], marked: Collection[str], commas: bool
) -> dict[str, Numerals | None]:
    """Decides how each column of numbers is written; others may tell what its own cells do not.

    Args:
        fits: The ways in which all cells of each column are numbers.
        marked: The columns in which a cell has a point or a comma.
        commas: Whether commas are used beside decimal points only: they stand between cells.

    Returns:
        The one way of each column; None where it stays open.
    """
    evidence = {ways[0].decimal for name, ways in fits.items() if name in marked and len(ways) == 1}
    found: dict[str, Numerals | None] = {}
    for name, ways in fits.items():
        telling = [way for way in ways if way.decimal in evidence]
        if len(ways) == 1 or (not telling and commas and ways[0] == Numerals()):
            telling = ways[:1]  # as 1.234 where commas stand between cells
        found[name] = telling[0] if len(telling) == 1 else None
        if name not in marked and len(evidence) == 1:
            found[name] = Numerals(*evidence)  # whole numbers, whose means have decimals
    return found
