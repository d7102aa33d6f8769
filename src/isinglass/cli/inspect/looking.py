"""What ``isinglass inspect`` does: read, run, write."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from isinglass._support.optional import require_extra
from isinglass._support.progress import progress_bar
from isinglass.cli._common import Output
from isinglass.cli.inspect.loading import load
from isinglass.cli.inspect.page import build_report
from isinglass.errors import FileError, ParameterError
from isinglass.integrations import Inspection, inspect
from isinglass.io.atomic import atomic_write

with require_extra("cli"):
    from rich.markup import escape
    from rich.table import Table

__all__ = ["Asking", "look"]

MOST_TOKENS = 2048


@dataclass(frozen=True)
class Asking:
    """What is asked for on the command line."""

    model: str
    text: Path
    out: Path | None
    table: Path | None
    every: int
    tokens: int | None
    query: int
    force: bool


def look(output: Output, asking: Asking) -> None:
    """Loads, inspects, prints and writes.

    Args:
        output: Where text goes.
        asking: What is asked for.
    """
    text = _read_text(asking.text)
    model, tokenizer = load(asking.model, lambda note: output.say(escape(note)))
    inputs, words = _tokens(output, asking, model, tokenizer, text)
    if not -len(words) <= asking.query < len(words):
        raise ParameterError(
            f"--query {asking.query}, of {len(words)} tokens", "Give a place within the text"
        )
    layers = getattr(model.config.get_text_config(), "num_hidden_layers", 1)
    shown = not (output.as_json or output.console.quiet)
    with progress_bar(layers, "layers", shown=shown) as move:
        found = inspect(
            model, inputs, every=asking.every, notify=lambda done: move(done, f"{done} looked into")
        )
    lines = found.table
    if asking.table is not None:
        with atomic_write(asking.table, overwrite=asking.force) as aside:
            lines.to_csv(aside, index=False)
    if asking.out is not None:
        page = build_report(asking.model, found, words, asking.query)
        with atomic_write(asking.out, overwrite=asking.force) as aside:
            aside.write_text(page, encoding="utf-8")
    _print(output, found, len(words))
    for path in (asking.out, asking.table):
        if path is not None:
            output.say(f"written to {escape(str(path))}")
    output.finish(
        {
            "model": asking.model,
            "architecture": found.name,
            "tokens": len(words),
            "layers": len(found.layers),
            "heads": len(lines),
            "classes": found.counts,
            "table": lines.to_dict("records"),
            "out": asking.out,
        }
    )


def _read_text(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = "it is no text in UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise FileError(reason, "Give a .txt", f"reading {path}") from error
    if not text.strip():
        raise FileError("it is empty", "Give a text of some words", f"reading {path}")
    return text.rstrip()


def _tokens(
    output: Output, asking: Asking, model: Any, tokenizer: Any, text: str
) -> tuple[dict[str, Any], list[str]]:
    """Returns what the model is called with, and the tokens as text."""
    config = model.config.get_text_config()
    most = asking.tokens or MOST_TOKENS
    positions = getattr(config, "max_position_embeddings", None)
    if isinstance(positions, int) and positions > 0:
        # Models whose positions begin after that of padding, as RoBERTa's, have two fewer.
        first = 2 if config.model_type in ("roberta", "xlm-roberta", "camembert") else 0
        if asking.tokens is not None and asking.tokens > positions - first:
            raise ParameterError(
                f"--tokens {asking.tokens}, of a model of {positions - first} positions",
                "Give fewer",
            )
        most = min(most, positions - first)
    tokens = list(tokenizer(text, verbose=False)["input_ids"])
    if len(tokens) > most:
        cut = tokenizer(text, truncation=True, max_length=most, verbose=False)["input_ids"]
        output.warn(f"The text has {len(tokens):,} tokens: the first {len(cut):,} are read")
        tokens = list(cut)
    if not tokens:
        raise FileError(
            f"the tokenizer of {asking.model} makes no token of it",
            "Save the tokenizer in the model's folder too, or give another text",
            f"reading {asking.text}",
        )
    rows = torch.tensor([tokens])
    inputs: dict[str, Any] = {"input_ids": rows}
    if model.config.is_encoder_decoder:  # the decoder reads the same text
        inputs["decoder_input_ids"] = rows
    return inputs, [tokenizer.decode([token]) for token in tokens]


def _percent(share: float) -> str:
    """Writes a share; a dash where too few queries were looked at to tell."""
    return "–" if math.isnan(share) else f"{share:.0%}"


def _print(output: Output, found: Inspection, tokens: int) -> None:
    lines = found.table
    heads = len(lines)
    output.say(
        f"[bold]{escape(found.name)}[/bold]: {heads} heads in {len(found.layers)} layers, "
        f"{tokens:,} tokens"
    )
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("class", "heads", "keys that hold 90 %", "sharpness", "explained"):
        table.add_column(column, justify="left" if column == "class" else "right")
    for kind, number in found.counts.items():
        some: Any = lines[lines["class"] == kind]
        if number:
            table.add_row(
                kind, str(number),
                f"{some['k90'].median():.0f}, {_percent(some['k90_share'].median())} of those seen",
                f"{some['effective_beta'].median():.1f}", _percent(some["explained"].median()),
            )  # fmt: skip
    output.console.print(table)
    output.say(
        "[dim]Medians of heads. Sharpness: effective β. Explained: share of the output's variance "
        "that weights explain which do not look at the query.[/dim]"
    )
