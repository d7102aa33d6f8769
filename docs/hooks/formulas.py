"""Typeset display formulas as MathML: no script, no font and no network is needed to read them.

A formula is a block of LaTeX in a fence named ``math``, which GitHub typesets too; every line that
is not empty is a row of its own, and ``&`` aligns rows.
"""

import html
import re
from typing import Any

from latex2mathml.converter import convert

BLOCK = re.compile(r"^```math\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _cell(latex: str) -> str:
    """One piece of a row, without the element around it; names of functions are no operators."""
    if not latex.strip():
        return ""
    whole = convert(latex, display="block")
    inner = re.sub(r"^<math[^>]*><mrow>|</mrow></math>$", "", whole)
    inner = re.sub(r"<mo>([A-Za-z]{2,})</mo>", r"<mi>\1</mi>", inner)
    inner = inner.replace("<mi>&#x0007E;</mi>", "<mo>&#x0223C;</mo>")
    return inner.replace("<mi>log</mi>", '<mi>log</mi><mspace width="0.17em" />').replace("\n", " ")


def typeset(latex: str) -> str:
    """MathML of rows of LaTeX, in one line, so that Markdown leaves it as it is."""
    rows = [line.strip() for line in latex.splitlines() if line.strip()]
    body = "".join(
        "<mtr>"
        + "".join(f"<mtd><mrow>{_cell(cell)}</mrow></mtd>" for cell in row.split("&"))
        + "</mtr>"
        for row in rows
    )
    said = html.escape(" ; ".join(rows).replace("&", ""), quote=True)
    kind = "aligned" if any("&" in row for row in rows) else "rows"
    return (
        f'<math xmlns="http://www.w3.org/1998/Math/MathML" display="block" alttext="{said}">'
        f'<mtable class="{kind}" displaystyle="true">{body}</mtable></math>'
    )


def _block(found: re.Match[str]) -> str:
    return (
        f'\n<div class="formula" tabindex="0" data-search-exclude>{typeset(found.group(1))}</div>\n'
    )


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put MathML in place of LaTeX."""
    return BLOCK.sub(_block, markdown)
