"""How many memories a table is worth, by rows held out."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Generator, Tensor

__all__ = ["choose_count", "held_out_scores"]

#: Numbers of memories that are tried, as long as the rows held out gain.
CANDIDATES = (1, 2, 3, 5, 8, 12, 18, 27, 40, 60, 90, 135, 200)
#: How many candidates in a row may gain nothing.
PATIENCE = 2
#: Parts the rows are split into; each is held out in turn …
FOLDS = 5
#: … until so many rows have been.
ENOUGH = 300
#: Share of the rows held out, the least likely ones, that have no say.
TRIMMED = 0.05


def choose_count(
    rows: int,
    score: Callable[[int, Tensor, Tensor], Tensor],
    generator: Generator,
    show: Callable[[str], None],
) -> tuple[int, dict[int, float]]:
    """Chooses the fewest memories N under which rows held out are as likely as under any number.

    As likely is within one standard error of the difference a row. The least likely twentieth of
    the rows has no say in the means, nor has the most different twentieth at each end in the error.

    Args:
        rows: How many there are.
        score: Log p of each of some rows under N memories fitted to others, given N, the numbers
            of the others and theirs.
        generator: Source of randomness.
        show: Told how far it is.

    Returns:
        N, and the trimmed mean of log p by number of memories.
    """
    folds = _folds(rows, generator)
    scores: dict[int, Tensor] = {}
    found: dict[int, float] = {}
    best = 1
    for count in CANDIDATES:
        if not _enough(folds, count) or _stale(list(found), best):
            break
        scores[count] = torch.cat([score(count, *fold) for fold in folds])
        found[count] = trimmed_mean(scores[count])
        show(f"{count} memories, {found[count]:.4g} nats a row held out")
        best = max(found, key=lambda count: found[count])
    as_good = (
        count
        for count in found
        if found[best] - found[count] <= _standard_error(scores[best] - scores[count])
    )
    return next(as_good, best), found


def held_out_scores(
    rows: int,
    score: Callable[[int, Tensor, Tensor], Tensor],
    generator: Generator,
    counts: Iterable[int],
) -> dict[int, float]:
    """Computes the trimmed means of some numbers of memories, without a choice."""
    folds = _folds(rows, generator)
    return {
        count: trimmed_mean(torch.cat([score(count, *fold) for fold in folds]))
        for count in counts
        if _enough(folds, count)
    }


def _folds(rows: int, generator: Generator) -> list[tuple[Tensor, Tensor]]:
    """Splits the rows into numbers to fit and numbers held out, until enough have been held out."""
    parts = torch.randperm(rows, generator=generator).tensor_split(min(FOLDS, rows))
    if len(parts) < 2:
        return []
    turns = range(min(len(parts), -(-ENOUGH * FOLDS // rows)))
    return [(torch.cat([*parts[:turn], *parts[turn + 1 :]]), parts[turn]) for turn in turns]


def _enough(folds: list[tuple[Tensor, Tensor]], count: int) -> bool:
    return bool(folds) and count <= min(len(train) for train, _ in folds)


def trimmed_mean(scores: Tensor) -> float:
    """Computes the mean of all but the least likely rows, a twentieth of them.

    Examples:
        >>> trimmed_mean(torch.tensor([-1e9] + [1.0] * 19))
        1.0
    """
    cut = int(TRIMMED * len(scores))
    return float(scores.sort().values[cut:].mean())


def _standard_error(differences: Tensor) -> float:
    """Computes that of their mean, the farthest twentieth at each end left out."""
    cut = int(TRIMMED * len(differences))
    kept = differences.sort().values[cut : len(differences) - cut]
    return float(kept.std()) / len(kept) ** 0.5 if len(kept) > 1 else 0.0


def _stale(counts: list[int], best: int) -> bool:
    """Returns whether the last candidates have gained nothing."""
    return len(counts) > PATIENCE and best not in counts[-PATIENCE:]
