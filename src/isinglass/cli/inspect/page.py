"""The report of ``isinglass inspect``: one page of figures and one table of heads."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import torch

from isinglass._support.optional import require_extra
from isinglass.analysis.heads import HeadClass
from isinglass.cli.tour.chapter import Drawing
from isinglass.cli.tour.page import describe_machine, html_figure, wrap_page
from isinglass.integrations.huggingface import inspection_figures as figures

with require_extra("hf"):
    import transformers

if TYPE_CHECKING:
    import pandas as pd

    from isinglass.integrations import Inspection

__all__ = ["build_report"]

CLASSES = {
    HeadClass.GLOBAL_AVERAGE: "more than half of what it sees holds 90 % of its mass",
    HeadClass.LARGE_METASTABLE: "an eighth to a half",
    HeadClass.SMALL_METASTABLE: "a thirty-second to an eighth",
    HeadClass.SINGLE_PATTERN: "less than that, or one key",
    HeadClass.SINK: "more than half of its mass lies on the first token or on a null pattern",
}
COLUMNS = {
    "layer": ("layer", "{:.0f}", "number of the call of attention"),
    "head": ("head", "{:.0f}", "number of the head"),
    "class": ("class", "{}", "as above"),
    "k90": ("k90", "{:.0f}", "median number of keys that hold 90 % of the mass"),
    "entropy": ("entropy", "{:.2f}", "−Σ p log p, nats, mean"),
    "effective_beta": ("β", "{:.1f}", "standard deviation of the scores: how sharp, mean"),
    "separation": ("gap", "{:.2f}", "score of the winner less the second's, median"),
    "sink": ("sink", "{:.2f}", "mass on the first token and on a null pattern, mean"),
    "energy": ("E", "{:.1f}", "½|q|² − log Σ exp(s)/β at the query, mean"),
    "energy_after": ("E′", "{:.1f}", "the same after the step, mean"),
    "steps": ("steps", "{:.1f}", "steps until the iterated step rests, mean"),
    "k90_at_rest": ("k90 there", "{:.0f}", "keys that hold 90 % at rest, median"),
    "explained": ("explained", "{:.0%}", "variance of the output that fixed weights explain"),
    "error": ("error", "{:.3f}", "what they leave, over the residual stream's length"),
}


def build_report(name: str, found: Inspection, tokens: Sequence[str], query: int) -> str:
    """Builds the page as HTML.

    Args:
        name: What the model is called.
        found: What was found.
        tokens: The tokens as text.
        query: The token whose attention and energy paths are drawn.
    """
    lines = found.table
    view = found.look(query)
    at = query % len(tokens)
    chosen = _one_of_each(lines)
    pictures = [
        Drawing(
            found.draw_classes(),
            "Every head, colored and marked by its class.",
            "A grid of heads by layers; the table above has the counts.",
        ),
        Drawing(
            found.draw_sizes(),
            "How many keys hold 90 % of the mass: a point is the median of a head, the line the "
            "median of a layer.",
            "Points by layer on a logarithmic scale; the table below has every value.",
        ),
        Drawing(
            figures.draw_energy_paths(view, found.classes.numpy()),
            f"Energy of every head on the path of token {at} ({tokens[at].strip()!r}) to its fixed "
            "point. A model takes one step and stops; the fixed point is where the head would go.",
            "Lines that fall from 1 to 0, most of them within a few steps.",
        ),
        Drawing(
            figures.draw_attention(view, chosen, tokens),
            f"Attention of token {at} ({tokens[at].strip()!r}) in one head of each class.",
            "Bars over the keys, one plot a head; the largest carry their tokens.",
        ),
    ]
    body = f"""<h1>{escape(name)}</h1>
<p class="motto">{escape(found.name)}: {len(lines)} heads, {len(tokens):,} tokens</p>
{_summary(found)}
<h2>Heads</h2>{html_figure(pictures[0])}
<h2>What they blend</h2>{html_figure(pictures[1])}
<h2>Where they rest</h2>{html_figure(pictures[2])}
<h2>One token</h2>{html_figure(pictures[3])}
<h2>All heads</h2>
{_legend(lines)}
{_all_heads(lines)}
<footer><p>isinglass inspect, transformers {escape(transformers.__version__)},
{escape(describe_machine(torch.get_num_threads()))}.</p></footer>"""
    return wrap_page(f"isinglass inspect {name}", body)


def _one_of_each(lines: pd.DataFrame) -> list[tuple[int, int]]:
    """One head of each class, the middle one by size."""
    chosen = []
    for kind in HeadClass:
        of_kind: Any = lines[lines["class"] == kind.title]
        some = of_kind.sort_values(["k90", "layer", "head"])
        if len(some):
            line = some.iloc[len(some) // 2]
            chosen.append((int(line["layer"]), int(line["head"])))
    return chosen


def _summary(found: Inspection) -> str:
    counts = found.counts
    total = max(1, sum(counts.values()))
    rows = "".join(
        f'<tr><td><span style="background:{figures.CLASS_COLORS[kind]};display:inline-block;'
        f'width:.9em;height:.9em;border-radius:2px;margin-right:.5em"></span>{kind.title}</td>'
        f'<td class="own">{counts[kind.title]}</td><td>{counts[kind.title] / total:.0%}</td>'
        f"<td>{escape(meaning)}</td></tr>"
        for kind, meaning in CLASSES.items()
    )
    head = "".join(f"<th>{name}</th>" for name in ("class", "heads", "share", "meaning"))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _legend(lines: pd.DataFrame) -> str:
    told = "; ".join(
        f"<b>{escape(title)}</b> {escape(meaning)}"
        for key, (title, _, meaning) in COLUMNS.items()
        if key in lines
    )
    return f'<p class="note">{told}.</p>'


def _all_heads(lines: pd.DataFrame) -> str:
    kept = {key: column for key, column in COLUMNS.items() if key in lines}
    head = "".join(f'<th title="{escape(c[2])}">{escape(c[0])}</th>' for c in kept.values())
    rows = "".join(
        "<tr>" + "".join(_cell(line[key], column[1]) for key, column in kept.items()) + "</tr>"
        for line in lines.to_dict("records")
    )
    return (
        '<div style="overflow-x:auto"><table class="figures" style="font-size:.82rem"><thead>'
        f"<tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _cell(value: object, form: str) -> str:
    missing = isinstance(value, float) and value != value
    return f"<td>{'–' if missing else escape(form.format(value))}</td>"
