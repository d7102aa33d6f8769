"""The tour as a page of the documentation: its pictures, and its figures in ``docs/tour.md``."""

from __future__ import annotations

import tempfile
from pathlib import Path

from matplotlib.figure import Figure

from isinglass.cli.tour.chapter import Chapter
from isinglass.cli.tour.guide import VERBS, take_tour
from isinglass.cli.tour.page import describe_machine

PAGE = Path(__file__).parents[2] / "docs" / "tour.md"
BEGIN, END = "<!-- python -m benchmarks.pictures tour: begin -->", "<!-- end -->"


def draw() -> dict[str, Figure]:
    """Take the tour, write what it found into the page, and return the figures by file name."""
    with tempfile.TemporaryDirectory() as folder:
        tour = take_tour(Path(folder) / "tour.html", list(VERBS))
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    found = "\n\n".join(
        [
            _table(tour.chapters),
            f"`isinglass tour {' '.join(chapter.verb for chapter in tour.chapters)}`, seed 0, on "
            f"{describe_machine(1)}: {tour.seconds:.0f} s, whatever else ran.",
            *(_section(chapter) for chapter in tour.chapters),
        ]
    )
    PAGE.write_text(f"{before}{BEGIN}\n\n{found}\n\n{END}{after}", encoding="utf-8")
    return {
        _name(chapter, number): picture.figure
        for chapter in tour.chapters
        for number, picture in enumerate(chapter.pictures)
    }


def _name(chapter: Chapter, number: int) -> str:
    return f"tour-{chapter.verb}-{number + 1}"


def _table(chapters: list[Chapter]) -> str:
    lines = ["| verb | measured | isinglass | beside it |", "|---|---|---|---|"]
    for chapter in chapters:
        lines += [
            f"| {chapter.verb} | {fact.what} | **{fact.own}** | {fact.beside} |"
            for fact in chapter.facts
        ]
    return "\n".join(lines)


def _section(chapter: Chapter) -> str:
    pictures = [
        f"![{picture.alt}](pictures/{_name(chapter, number)}.svg)\n\n*{picture.caption}*"
        for number, picture in enumerate(chapter.pictures)
    ]
    lead = " ".join(chapter.lead.split())
    return "\n\n".join([f"### {chapter.title}", lead, *pictures, *chapter.notes])
