"""The arguments and options of ``isinglass inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

from isinglass._support.optional import require_extra
from isinglass.cli._common import whole

with require_extra("cli"):
    from typer import Argument, Option

__all__ = ["Every", "Model", "Query", "Report", "Table", "Text", "Tokens"]

Model: TypeAlias = Annotated[
    str,
    Argument(
        help="A folder with a model of transformers: config.json, model.safetensors and its "
        "tokenizer. hub:OWNER/NAME downloads one from huggingface.co; nothing else goes online.",
        show_default=False,
    ),
]
Text: TypeAlias = Annotated[
    Path, Option("--text", "-t", help="What the model reads: a .txt in UTF-8.", show_default=False)
]
Report: TypeAlias = Annotated[
    Path | None,
    Option("--out", "-o", help="Write a page that needs no other file, an .html."),
]
Table: TypeAlias = Annotated[
    Path | None, Option(help="Write the table of heads, a .csv: one line a head.")
]
Every: TypeAlias = Annotated[
    int,
    Option(
        parser=whole(1), help="Look at every so manieth token, counted from the last; 1 is all."
    ),
]
Tokens: TypeAlias = Annotated[
    int | None,
    Option(
        parser=whole(2),
        help="Read at most so many tokens of the text.",
        show_default="2048, or what the model has positions for",
    ),
]
Query: TypeAlias = Annotated[
    int,
    Option(
        "--query",
        help="The token whose attention and energy path are drawn; negative counts from the end.",
    ),
]
