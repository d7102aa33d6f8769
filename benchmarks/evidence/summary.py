"""The figures of all experiments in one table: as the pages have them, and what a call measured."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["DOCS", "PAGE", "Row", "load", "number", "page", "replaced"]

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "evidence.md"
COMMITTED = Path(__file__).with_name("summary.json")
BEGIN, END = "<!-- from summary.json -->", "<!-- to here -->"


def number(text: str) -> float:
    """Reads a number as the pages write it: −1,156 or 0.5."""
    return float(text.replace("−", "-").replace(",", ""))


@dataclass(frozen=True)
class Row:
    """One figure, as a page has it.

    Args:
        experiment: The module in ``benchmarks.evidence``.
        page: The page it comes from, below ``docs``.
        command: What measured it.
        what: What was measured.
        value: What was found, as the page writes it.
        lines: The lines of the page that hold the value and what it is compared with.
        others: What others reach, by name.
        asked: What it is held to; empty if nothing is.
        of: Whose figure that is: target, published or peer.
        better: higher or lower.
        share: Whether it is a share, in 1 or in %, and goes into the picture.
    """

    experiment: str
    page: str
    command: str
    what: str
    value: str
    lines: list[str]
    others: Mapping[str, str] = field(default_factory=dict)
    asked: str = ""
    of: str = ""
    better: str = "higher"
    share: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the value is what was asked; None if nothing was."""
        if not self.asked:
            return None
        value, asked = number(self.value), number(self.asked)
        return value >= asked if self.better == "higher" else value <= asked

    @property
    def verdict(self) -> str:
        """What was asked, and whether it was met."""
        if self.met is None:
            return "–"
        bound = f"{'≥' if self.better == 'higher' else '≤'} {self.asked}, {self.of}"
        return f"{bound}: {'met' if self.met else '**missed**'}"

    @property
    def beside(self) -> str:
        """What others reach."""
        return "; ".join(f"{name} {value}" for name, value in self.others.items()) or "–"


def load(path: Path = COMMITTED) -> list[Row]:
    """Reads the committed figures, in the order of the file."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return [
        Row(experiment=name, page=of["page"], command=of["command"], **row)
        for name, of in found.items()
        for row in of["rows"]
    ]


def _table(rows: list[Row]) -> Iterator[str]:
    """The lines of the table, the first of an experiment with its page and command."""
    yield "| experiment | what | here | others | asked | command |"
    yield "|---|---|---|---|---|---|"
    before = ""
    for row in rows:
        first = row.experiment != before
        before = row.experiment
        name = f"[{row.experiment.replace('_', ' ')}]({row.page})" if first else ""
        command = f"`{row.command}`" if first else ""
        cells = (name, row.what, row.value, row.beside, row.verdict, command)
        yield f"| {' | '.join(cells)} |"


def page(rows: list[Row]) -> str:
    """The part of the page that is made of the figures."""
    asked = [row for row in rows if row.met is not None]
    missed = [row for row in asked if not row.met]
    counted = (
        f"{len(rows)} figures of {len({row.experiment for row in rows})} experiments; "
        f"of {len(asked)} that were held to something, {len(asked) - len(missed)} are met and "
        f"{len(missed)} missed."
    )
    return "\n".join([counted, "", *_table(rows)])


def replaced(text: str, rows: list[Row]) -> str:
    """Puts the table of these figures in its place in the text of the page."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{page(rows)}\n\n{END}{tail}"
