"""One self-contained page: pictures inline, nothing fetched."""

from __future__ import annotations

import platform
import re
from collections.abc import Sequence
from html import escape
from importlib.resources import files

import torch

from isinglass.cli.tour.chapter import Chapter, Drawing

__all__ = ["build_page", "describe_machine", "html_figure", "scrolling", "wrap_page"]

MOTTO = (
    "One energy: descend it to remember, differentiate it to attend, sample it to imagine, "
    "learn it by Bellman's equation to act."
)

DOCUMENTATION = "https://isinglass.readthedocs.io/en/latest/"

#: For each verb a few lines to start from, and the page of the documentation to read next.
GO_ON = {
    "remember": (
        """import torch, isinglass as ig

patterns = torch.randn(1000, 64).sign()  # yours, one a row
memory = ig.ModernHopfield(patterns, beta=1.0)
cue = patterns[:1].clone()
cue[:, 32:] = 0  # forgotten
print(memory.recall(cue))""",
        "Recall digits, step by step", "tutorials/recall-digits/",
    ),
    "attend": (
        """import torch
from isinglass.nn import stochastic_attention

q, k, v = torch.randn(3, 2, 8, 10, 16)  # batch, heads, tokens, features
print(stochastic_attention(q, k, v, draws=4).shape)""",
        "Swap the attention of a Transformer", "tutorials/swap-attention/",
    ),
    "imagine": (
        """import torch
from isinglass.integrations.sklearn import HopfieldBoltzmannMachine

rows = torch.randn(200, 1) + 0.1 * torch.randn(200, 3)  # yours; NaN where unknown
model = HopfieldBoltzmannMachine(random_state=0).fit(rows.numpy())
print(model.sample(5))""",
        "Fill the gaps of a table", "tutorials/impute-a-table/",
    ),
    "act": (
        """from isinglass.agents import FreeEnergyQ
from isinglass.envs import make_env

env = make_env("isinglass/LargeAction-v0")  # or yours
agent = FreeEnergyQ("MlpPolicy", env).learn(500)
print(agent.predict(env.reset()[0], deterministic=True)[0])""",
        "Act where there are 2^40 actions", "tutorials/many-actions/",
    ),
    "think": (
        """from isinglass.thinking import Mind, RuleMemory, Thinker, Vocabulary

family = Vocabulary(["mother", "grandmother"])
mind = Mind.from_tuples([("mother", "Ann", "Bea"), ("mother", "Bea", "Cleo")], family)
memory = RuleMemory(family)
memory.store("mother(X,Z), mother(Z,Y) -> grandmother(X,Y)")
print(Thinker(memory).think(mind, ("grandmother", "?", "Cleo")))""",
        "A family that thinks", "tutorials/family/",
    ),
}  # fmt: skip


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
        f'alt="{escape(drawing.alt)}">'
        f"<figcaption>{_prose(drawing.caption)}</figcaption></figure>"
    )


def scrolling(table: str, name: str) -> str:
    """Lets a table that is wider than the screen be scrolled by itself, by keyboard too.

    Args:
        table: As HTML.
        name: What it holds, for who does not see it.
    """
    return f'<div class="wide" role="region" aria-label="{name}" tabindex="0">{table}</div>'


def _summary(chapters: Sequence[Chapter]) -> str:
    rows = "".join(
        f"<tr><td>{c.verb}</td><td>{escape(f.what)}</td>"
        f'<td class="own">{escape(f.own)}</td><td>{escape(f.beside)}</td></tr>'
        for c in chapters
        for f in c.facts
    )
    return scrolling(
        "<table><thead><tr><th>verb</th><th>measured</th><th>isinglass</th><th>beside it</th>"
        f"</tr></thead><tbody>{rows}</tbody></table>",
        "what was measured",
    )


def _section(chapter: Chapter) -> str:
    pictures = "".join(html_figure(picture) for picture in chapter.pictures)
    notes = "".join(f'<p class="note">{_prose(note)}</p>' for note in chapter.notes)
    code, name, page = GO_ON[chapter.verb]
    return (
        f'<section id="{chapter.verb}"><h2>{escape(chapter.title)}</h2>'
        f"<p>{_prose(chapter.lead)}</p>{pictures}{notes}"
        f'<h3>Go on</h3><pre tabindex="0"><code>{escape(code)}</code></pre>'
        f'<p class="note">Next: <a href="{DOCUMENTATION}{page}">{name}</a>.</p></section>'
    )


def _prose(text: str) -> str:
    """Escape text; fractions such as 1/√m stay on one line."""
    return re.sub(r"\w+/√\w+", r'<span class="formula">\g<0></span>', escape(text))
