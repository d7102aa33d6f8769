"""One self-contained page: pictures inline, nothing fetched."""

from __future__ import annotations

import platform
import re
from collections.abc import Sequence
from html import escape
from importlib.resources import files

import torch

from isinglass.cli.tour.chapter import Chapter, Drawing

__all__ = ["build_page", "describe_machine", "html_figure", "wrap_page"]

MOTTO = (
    "One energy: descend it to remember, differentiate it to attend, sample it to imagine, "
    "learn it by Bellman's equation to act."
)


def build_page(chapters: Sequence[Chapter], seed: int, machine: str) -> str:
    """Builds the tour as HTML.

    Args:
        chapters: What was done, in order.
        seed: The seed it was done with.
        machine: The machine and versions it was done on.
    """
    links = "".join(f'<a href="#{c.verb}">{c.verb}</a>' for c in chapters)
    total = sum(chapter.seconds for chapter in chapters)
    return wrap_page(
        "A tour of isinglass",
        f"""<h1>isinglass</h1>
<p class="motto">{escape(MOTTO)}</p>
<nav>{links}</nav>
{_summary(chapters)}
{"".join(_section(chapter) for chapter in chapters)}
<footer><p>Computed in {total:.0f} s with seed {seed} on {escape(machine)}.</p></footer>""",
    )


def wrap_page(title: str, body: str) -> str:
    """Wraps a body into a page that needs no other file.

    Args:
        title: As text.
        body: As HTML.
    """
    style = files("isinglass.cli.tour").joinpath("style.css").read_text()
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>
{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def describe_machine(threads: int) -> str:
    """Names processor, threads and versions, for the foot of a page."""
    count = "1 thread" if threads == 1 else f"{threads} threads"
    return (
        f"{platform.machine()}, {count}, Python {platform.python_version()}, "
        f"torch {torch.__version__}"
    )


def html_figure(drawing: Drawing) -> str:
    """Returns a drawing with its caption, as HTML."""
    return (
        f'<figure><img src="{drawing.data_uri()}" width="{drawing.width}" '
        f'alt="{escape(drawing.caption)}">'
        f"<figcaption>{_prose(drawing.caption)}</figcaption></figure>"
    )


def _summary(chapters: Sequence[Chapter]) -> str:
    rows = "".join(
        f"<tr><td>{c.verb}</td><td>{escape(f.what)}</td>"
        f'<td class="own">{escape(f.own)}</td><td>{escape(f.beside)}</td></tr>'
        for c in chapters
        for f in c.facts
    )
    return (
        "<table><thead><tr><th>verb</th><th>measured</th><th>isinglass</th><th>beside it</th>"
        f"</tr></thead><tbody>{rows}</tbody></table>"
    )


def _section(chapter: Chapter) -> str:
    pictures = "".join(html_figure(picture) for picture in chapter.pictures)
    notes = "".join(f'<p class="note">{_prose(note)}</p>' for note in chapter.notes)
    return (
        f'<section id="{chapter.verb}"><h2>{escape(chapter.title)}</h2>'
        f"<p>{_prose(chapter.lead)}</p>{pictures}{notes}</section>"
    )


def _prose(text: str) -> str:
    """Escape text; fractions such as 1/√m stay on one line."""
    return re.sub(r"\w+/√\w+", r'<span class="formula">\g<0></span>', escape(text))
