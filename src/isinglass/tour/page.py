"""One self-contained page: pictures inline, nothing fetched."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from importlib.resources import files

from isinglass.tour.chapter import Chapter

__all__ = ["build_page"]

MOTTO = (
    "One energy: descend it to remember, differentiate it to attend, sample it to imagine, "
    "learn it by Bellman's equation to act."
)


def build_page(chapters: Sequence[Chapter], seed: int, machine: str) -> str:
    """The tour as HTML.

    Args:
        chapters: What was done, in order.
        seed: The seed it was done with.
        machine: The machine and versions it was done on.
    """
    style = files("isinglass.tour").joinpath("style.css").read_text()
    links = "".join(f'<a href="#{c.verb}">{c.verb}</a>' for c in chapters)
    total = sum(chapter.seconds for chapter in chapters)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>A tour of isinglass</title>
<style>
{style}</style>
</head>
<body>
<main>
<h1>isinglass</h1>
<p class="motto">{escape(MOTTO)}</p>
<nav>{links}</nav>
{_summary(chapters)}
{"".join(_section(chapter) for chapter in chapters)}
<footer><p>Computed in {total:.0f} s with seed {seed} on {escape(machine)}.</p></footer>
</main>
</body>
</html>
"""


def _summary(chapters: Sequence[Chapter]) -> str:
    rows = "".join(
        f"<tr><td>{c.verb}</td><td>{escape(f.what)}</td>"
        f'<td class="ours">{escape(f.ours)}</td><td>{escape(f.beside)}</td></tr>'
        for c in chapters
        for f in c.facts
    )
    return (
        "<table><thead><tr><th>verb</th><th>measured</th><th>isinglass</th><th>beside it</th>"
        f"</tr></thead><tbody>{rows}</tbody></table>"
    )


def _section(chapter: Chapter) -> str:
    pictures = "".join(
        f'<figure><img src="{p.data_uri()}" width="{p.width}" alt="{escape(p.caption)}">'
        f"<figcaption>{_prose(p.caption)}</figcaption></figure>"
        for p in chapter.pictures
    )
    notes = "".join(f'<p class="note">{_prose(note)}</p>' for note in chapter.notes)
    return (
        f'<section id="{chapter.verb}"><h2>{escape(chapter.title)}</h2>'
        f"<p>{_prose(chapter.lead)}</p>{pictures}{notes}</section>"
    )


def _prose(text: str) -> str:
    """Escaped text, whose fractions such as 1/√m stay on one line."""
    return re.sub(r"\w+/√\w+", r'<span class="formula">\g<0></span>', escape(text))
