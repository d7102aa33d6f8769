"""Sequences of different lengths in one table, each with its prompt and its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from isinglass._support.typing import Bool, Int
from isinglass.errors import DomainError, ParameterError, ShapeError

__all__ = ["Sequences", "as_rows", "pad"]


@dataclass(frozen=True)
class Sequences:
    """Token sequences as rows, filled up behind their ends.

    Args:
        tokens: Whole numbers, ``(rows, length)``.
        starts: How many tokens of each row are its prompt, at least one.
        stops: How many tokens each row has in all, its end token among them.

    Examples:
        >>> two = Sequences(torch.tensor([[0, 1, 2], [0, 2, 0]]), torch.tensor([1, 1]),
        ...                 torch.tensor([3, 2]))
        >>> two.chosen.int()
        tensor([[1, 1],
                [1, 0]], dtype=torch.int32)
        >>> two.lists()
        [[0, 1, 2], [0, 2]]
    """

    tokens: Int[Tensor, "rows length"]
    starts: Int[Tensor, " rows"]
    stops: Int[Tensor, " rows"]

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def chosen(self) -> Bool[Tensor, "rows steps"]:
        """Which of the tokens 1, 2, ... of a row were chosen by the model: not prompt, not fill."""
        place = torch.arange(1, self.tokens.shape[1], device=self.tokens.device)
        return (place >= self.starts[:, None]) & (place < self.stops[:, None])

    def lists(self) -> list[list[int]]:
        """Returns the tokens of each row up to its end, as lists."""
        stops = self.stops.tolist()
        return [row[:stop] for row, stop in zip(self.tokens.tolist(), stops, strict=True)]

    def rows(self, which: Tensor) -> Sequences:
        """Returns some of the rows."""
        stops = self.stops[which]
        longest = int(stops.max()) if len(stops) else 0
        return Sequences(self.tokens[which, :longest], self.starts[which], stops)

    @staticmethod
    def join(parts: Sequence[Sequences]) -> Sequences:
        """Returns the rows of several tables in one."""
        longest = max(part.tokens.shape[1] for part in parts)
        tokens = [
            torch.nn.functional.pad(part.tokens, (0, longest - part.tokens.shape[1]))
            for part in parts
        ]
        return Sequences(
            torch.cat(tokens),
            torch.cat([part.starts for part in parts]),
            torch.cat([part.stops for part in parts]),
        )


def as_rows(given: Any, name: str = "sequences") -> list[Tensor]:
    """Returns token sequences, given as a table, or as lists or tensors, one tensor each.

    Raises:
        ShapeError: If there are none, or one is empty.
        DomainError: If they are not whole numbers.
    """
    if isinstance(given, Tensor) and given.ndim == 1:
        given = given[None]
    try:
        rows = [torch.as_tensor(row) for row in given]
    except (TypeError, ValueError, RuntimeError) as error:
        raise DomainError(
            f"{name} of type {type(given).__name__}",
            "Give lists of token numbers, or texts and a tokenizer",
        ) from error
    if not rows or any(row.ndim != 1 for row in rows):
        raise ShapeError(f"{name}: {len(rows)} rows", "Give at least one row of tokens")
    for number, row in enumerate(rows):
        if len(row) == 0:
            raise ShapeError(
                f"row {number} of {name} is empty",
                "Give at least one token, such as the one that begins every text",
            )
        if row.is_floating_point() or row.is_complex() or row.dtype == torch.bool:
            raise DomainError(f"{name} of dtype {row.dtype}", "Give whole numbers")
    return [row.long() for row in rows]


def pad(rows: Sequence[Tensor], device: torch.device) -> tuple[Tensor, Tensor]:
    """Returns rows of different lengths as one table, filled up with zeros, and their lengths."""
    lengths = torch.tensor([len(row) for row in rows], device=device)
    table = torch.nn.utils.rnn.pad_sequence([row.to(device) for row in rows], batch_first=True)
    return table, lengths


def check_words(rows: Sequence[Tensor], words: int, name: str) -> None:
    """Refuses tokens that are not in the vocabulary.

    Raises:
        DomainError: If there is one, which and where.
    """
    for number, row in enumerate(rows):
        if bool(((row < 0) | (row >= words)).any()):
            wrong = int(row[(row < 0) | (row >= words)][0])
            raise DomainError(
                f"token {wrong} in row {number} of {name}, for a vocabulary of {words}",
                f"Give tokens from 0 to {words - 1}: the tokenizer is perhaps another model's",
            )


def check_length(longest: int, limit: int | None, name: str) -> None:
    """Refuses sequences that are longer than the model can read.

    Raises:
        ParameterError: If they are.
    """
    if limit is not None and longest > limit:
        raise ParameterError(
            f"{name} of {longest} tokens, the model reads {limit}",
            "Give shorter prompts, or less max_tokens",
        )
