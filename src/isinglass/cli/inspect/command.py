"""``isinglass inspect``: what every head of a trained model does on a text."""

from __future__ import annotations

from isinglass.cli._common import ForceOption, JsonOption, Output, QuietOption
from isinglass.cli.inspect.options import Every, Model, Query, Report, Table, Text, Tokens
from isinglass.errors import FileError, ParameterError

__all__ = ["inspect"]


def inspect(
    model: Model,
    text: Text,
    out: Report = None,
    table: Table = None,
    every: Every = 8,
    tokens: Tokens = None,
    query: Query = -1,
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Look into every head of a trained model: what it blends, where it rests, what is a sink.

    An attention head is one step of a modern Hopfield net on its keys. The page shows each head's
    class (global average, large or small metastable, single pattern, sink), how many keys hold
    90 % of its mass, its energy before and after the step, how sharp it is, and how much of its
    output weights that do not look at the query would explain. The table explains its columns.

    Examples:
        isinglass inspect models/SmolLM2-135M --text story.txt -o report.html
        isinglass inspect models/bert --text story.txt --every 1 --table heads.csv
        isinglass inspect hub:HuggingFaceTB/SmolLM2-135M --text story.txt -o report.html
        isinglass inspect models/bert --text story.txt --json | jq .classes
    """
    output = Output(as_json, quiet)
    for option, path, suffix in (("--out", out, ".html"), ("--table", table, ".csv")):
        if path is None:
            continue
        if path.suffix.lower() != suffix:
            raise ParameterError(f"{option} {path}", f"Name it {path.with_suffix(suffix)}")
        if path.resolve() == text.resolve():
            raise ParameterError(f"{option} {path}, which is --text too", "Choose another path")
        if not path.resolve().parent.is_dir():
            raise FileError(
                "there is no such folder", "Make it, or choose another path", f"writing {path}"
            )
        if path.exists() and not force:
            raise FileError(
                "the file exists already", "Choose another path, or allow it: overwrite=True",
                f"writing {path}",
            )  # fmt: skip
    from isinglass.cli.inspect.looking import Asking, look

    look(output, Asking(model, text, out, table, every, tokens, query, force))
