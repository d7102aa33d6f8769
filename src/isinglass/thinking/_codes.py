"""Propositions of a batch of minds as single numbers, and how numbers are found among others."""

from __future__ import annotations

import torch
from torch import Tensor

from isinglass.errors import IntractableError
from isinglass.thinking.mind import Mark, Mind

__all__ = ["answer", "code_of", "codes_of", "matches", "place_of", "ranges", "rows_of"]

#: B, n, n, R: minds, subjects, objects, relations.
Shape = tuple[int, int, int, int]

#: More matches than this are refused: they would not fit into memory.
MOST_MATCHES = 2**27


def codes_of(mind: Mind) -> tuple[Tensor, Shape]:
    """Returns what is given or asserted as numbers, ascending, and the shape that they are read by.

    A proposition is the number ((b·n + x)·n + y)·R + r.
    """
    shape = (len(mind), mind.entities, mind.entities, len(mind.vocabulary))
    kept = mind.held & (mind.marks != Mark.OPEN)
    relation, subject, other = mind.rows[kept].unbind(-1)
    return torch.unique(code_of(kept.nonzero()[:, 0], subject, other, relation, shape)), shape


def code_of(
    batch: Tensor, subject: Tensor, other: Tensor, relation: Tensor, shape: Shape
) -> Tensor:
    """Returns propositions as numbers, ((b·n + x)·n + y)·R + r."""
    _, n, _, count = shape
    return ((batch * n + subject) * n + other) * count + relation


def rows_of(codes: Tensor, shape: Shape) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns mind, subject, object, relation of propositions."""
    _, n, _, count = shape
    pair, relation = codes // count, codes % count
    return pair // (n * n), pair // n % n, pair % n, relation


def answer(propositions: Tensor, asked: Tensor) -> Tensor:
    """Tells which propositions answer a question; rows of relation, subject, object, −1 if open."""
    return ((asked == propositions) | (asked < 0)).all(-1)


def place_of(codes: Tensor, known: Tensor) -> Tensor:
    """Returns where numbers stand among ascending ones, −1 where they do not."""
    if not len(known):
        return torch.full_like(codes, -1)
    place = torch.searchsorted(known, codes.contiguous()).clamp(max=len(known) - 1)
    return torch.where(known[place] == codes, place, -1)


def ranges(begin: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Returns for all numbers begin, …, begin + count − 1 of every row the row and the number."""
    row = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
    offset = torch.arange(len(row), device=count.device) - (count.cumsum(0) - count)[row]
    return row, begin[row] + offset


def matches(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Returns all i, j with left[i] = right[j], by i and then by j.

    Raises:
        IntractableError: If there are more than memory holds.
    """
    order = right.argsort(stable=True)
    ranked, left = right[order], left.contiguous()
    begin = torch.searchsorted(ranked, left)
    count = torch.searchsorted(ranked, left, right=True) - begin
    if int(count.sum()) > MOST_MATCHES:
        raise IntractableError(
            f"{int(count.sum()):,} chains of two facts that meet",
            "Take fewer facts, or fewer and smaller minds at a time",
        )
    which, place = ranges(begin, count)
    return which, order[place]
