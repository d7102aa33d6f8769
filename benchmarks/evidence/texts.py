"""Texts as windows of tokens, models without training, and what hooks into a model's blocks."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.evidence.models import Loaded, MissingModel

__all__ = [
    "TEXTS",
    "blocks",
    "changed",
    "nats",
    "own_stories",
    "pair_of_texts",
    "read_text",
    "untrained",
    "windows",
]

#: Files in text/ of the folder of data, by the name a table gives them.
TEXTS = {
    "WikiText-2": "wikitext2_test.txt.gz",
    "WikiText-2 valid": "wikitext2_valid.txt.gz",
    "Shakespeare": "tinyshakespeare.txt.gz",
}
OPENINGS = ("Once upon a time", "One day", "Tom had a", "Lily and Ben")


def read_text(name: str, data: Path | None = None) -> str:
    """Read a text by its name; ``MissingModel`` says where it was looked for."""
    folder = data or Path(os.environ.get("ISINGLASS_DATA", "data"))
    path = folder / "text" / TEXTS[name]
    if not path.is_file():
        raise MissingModel(f"no {path}: set ISINGLASS_DATA to a folder that has it")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return file.read()


def windows(loaded: Loaded, text: str, length: int, count: int) -> Tensor:
    """Return ``(count, length)`` tokens from places spread evenly over a text.

    Each window begins with the tokenizer's first token, if it has one, and ends with its last.
    """
    tokenizer, rows = loaded.tokenizer, []
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    before = whole[: whole.index(bare[0])]
    after = whole[len(before) + len(bare) :]
    inside = length - len(before) - len(after)
    for number in range(count):
        start = number * (len(text) // count)
        start = text.find(" ", start) + 1
        part = tokenizer(text[start : start + 12 * length], add_special_tokens=False)["input_ids"]
        if len(part) < inside:
            raise ValueError(f"{len(part)} tokens from place {start}, fewer than {inside}")
        rows.append([*before, *part[:inside], *after])
    return torch.tensor(rows)


@torch.no_grad()
def own_stories(loaded: Loaded, length: int, count: int, seed: int | None = None) -> Tensor:
    """Return ``(count, length)`` tokens that a model tells; greedily, or drawn at T = 1."""
    if seed is None:
        rows = [
            loaded.model.generate(
                torch.tensor([loaded.tokenizer(opening)["input_ids"]]),
                min_length=length, max_length=length, do_sample=False, pad_token_id=2,
            )[0]
            for opening in OPENINGS[:count]
        ]  # fmt: skip
        return torch.stack(rows)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        begun = torch.ones(count, 1, dtype=torch.long)
        return _told(loaded, begun, length, do_sample=True, top_k=0)


def _told(loaded: Loaded, begun: Tensor, length: int, **options: Any) -> Tensor:
    return loaded.model.generate(
        begun, attention_mask=torch.ones_like(begun), min_length=length, max_length=length,
        pad_token_id=2, **options,
    )  # fmt: skip


def pair_of_texts(loaded: Loaded, length: int, counts: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return windows to choose on and windows to report: the text that a model is at home in.

    Of stories260K these are stories of its own, drawn at T = 1 from two seeds, as no text it was
    trained on is here; of others WikiText-2.
    """
    if loaded.name == "stories260K":
        return tuple(  # pyright: ignore[reportReturnType]
            own_stories(loaded, length, count, seed)
            for count, seed in zip(counts, (1, 0), strict=True)
        )
    valid = windows(loaded, read_text("WikiText-2 valid"), length, counts[0])
    return valid, windows(loaded, read_text("WikiText-2"), length, counts[1])


def untrained(loaded: Loaded, seed: int) -> Loaded:
    """Return a model of the same configuration with the weights that transformers starts from."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = type(loaded.model)(loaded.model.config).eval()
    return Loaded(f"{loaded.name}, random", model, loaded.tokenizer)


def blocks(model: Any) -> Any:
    """Return the blocks of a Llama or of a BERT."""
    return model.encoder.layer if hasattr(model, "encoder") else model.model.layers


@contextmanager
def changed(block: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Let what a block gives be changed on its way to the next."""

    def hook(_: nn.Module, __: object, output: Any) -> Any:
        if isinstance(output, Tensor):
            return change(output)
        return (change(output[0]), *output[1:])

    handle = block.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def nats(logits: Tensor, tokens: Tensor) -> float:
    """Return the mean −log p of each next token."""
    return float(F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()))
