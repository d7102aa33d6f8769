"""The theory of capacity measured: random patterns stored, looked at and recalled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor

from isinglass._support.functions import check_takes
from isinglass._support.typing import Float
from isinglass._support.validation import check_above_zero, check_count, check_fraction
from isinglass.dynamics import FieldEnergy, Recall
from isinglass.errors import ParameterError

__all__ = [
    "Estimate",
    "SpinMemory",
    "large_size_limit",
    "simulate_one_step_error",
    "simulate_overlaps",
]

#: Stored patterns looked at in one go.
BLOCK = 1024


class SpinMemory(FieldEnergy, Protocol):
    """A memory of spins that feel fields, such as ``ClassicalHopfield`` or ``DenseMemory``."""

    def recall(self, cues: Tensor) -> Recall:
        """Descends from each cue, as every memory does."""
        ...


@dataclass(frozen=True)
class Estimate:
    """A mean over independent trials.

    Attributes:
        mean: The mean.
        error: Its standard error.

    Examples:
        >>> print(Estimate(0.05, 0.001))
        0.05 ± 0.001
    """

    mean: float
    error: float

    def __str__(self) -> str:
        return f"{self.mean:.4g} ± {self.error:.1g}"

    @staticmethod
    def of(values: Float[Tensor, " trials"]) -> Estimate:
        """Returns the mean of some values and its standard error.

        Raises:
            ParameterError: If there are fewer than two.

        Examples:
            >>> print(Estimate.of(torch.tensor([0.9, 1.0, 1.1])))
            1 ± 0.06
        """
        if len(values) < 2:
            raise ParameterError(f"{len(values)} values", "Give at least two: trials=2 or more")
        return Estimate(float(values.mean()), float(values.std() / len(values) ** 0.5))


def _random_spins(count: int, size: int, generator: Generator) -> Tensor:
    uniform = torch.rand(count, size, generator=generator, device=generator.device)
    return torch.where(uniform < 0.5, -1.0, 1.0)


@torch.no_grad()
def simulate_one_step_error(
    build: Callable[[Tensor], SpinMemory],
    patterns: int,
    size: int,
    *,
    trials: int,
    generator: Generator,
    looked_at: int = BLOCK,
) -> Estimate:
    """Measures the share of units of stored patterns that one parallel step turns wrong.

    To be held against :func:`~isinglass.analysis.capacity.one_step_error` and
    :func:`~isinglass.analysis.capacity.dense_one_step_error`. A field of zero keeps its unit right.

    Args:
        build: Makes the memory of ``(N, d)`` patterns, such as ``ClassicalHopfield``.
        patterns: N, how many are stored.
        size: d, the number of units.
        trials: How many memories are made; at least 2.
        generator: Source of the patterns; they are made on its device.
        looked_at: How many of the stored patterns of each memory are looked at, at most.

    Returns:
        The mean over trials and its standard error.

    Raises:
        ParameterError: If a count is not a whole number above zero, or trials are fewer than 2.

    Examples:
        >>> from isinglass import ClassicalHopfield
        >>> from isinglass.analysis.capacity import one_step_error
        >>> found = simulate_one_step_error(
        ...     ClassicalHopfield, 40, 200, trials=20, generator=torch.Generator().manual_seed(0)
        ... )
        >>> abs(found.mean - one_step_error(0.2)) < 5 * found.error
        True
    """
    check_takes("build", build, "patterns")
    check_count("patterns", patterns)
    check_count("size", size)
    check_count("trials", trials, least=2)
    check_count("looked_at", looked_at)
    shares = []
    for _ in range(trials):
        stored = _random_spins(patterns, size, generator)
        memory = build(stored)
        wrong = [
            (rows * memory.local_field(rows) < 0).float().mean(-1)
            for rows in stored[:looked_at].split(BLOCK)
        ]
        shares.append(torch.cat(wrong).mean())
    return Estimate.of(torch.stack(shares))


@torch.no_grad()
def simulate_overlaps(
    build: Callable[[Tensor], SpinMemory],
    patterns: int,
    size: int,
    *,
    trials: int,
    generator: Generator,
    flipped: float = 0.0,
    cues: int = BLOCK,
) -> Float[Tensor, "trials cues"]:
    """Measures m = x_μ·v/d of what is recalled from stored patterns with units flipped.

    To be held against :func:`~isinglass.analysis.capacity.retrieval_overlap`; 1 is recall
    without error.

    Args:
        build: Makes the memory of ``(N, d)`` patterns, such as ``ClassicalHopfield``.
        patterns: N, how many are stored.
        size: d, the number of units.
        trials: How many memories are made.
        generator: Source of patterns and flips; they are made on its device.
        flipped: Chance of each unit of a cue to be turned.
        cues: How many of the stored patterns of each memory are recalled, at most.

    Returns:
        One row a memory, one column a cue: ``(trials, min(cues, N))``.

    Raises:
        ParameterError: If a count is not a whole number above zero, or ``flipped`` no share.

    Examples:
        >>> from isinglass import ClassicalHopfield
        >>> overlaps = simulate_overlaps(
        ...     ClassicalHopfield, 5, 100, trials=3, generator=torch.Generator().manual_seed(0)
        ... )
        >>> overlaps.shape, bool((overlaps > 0.95).all())
        (torch.Size([3, 5]), True)
    """
    check_takes("build", build, "patterns")
    check_count("patterns", patterns)
    check_count("size", size)
    check_count("trials", trials)
    check_count("cues", cues)
    check_fraction("flipped", flipped)
    overlaps = []
    for _ in range(trials):
        stored = _random_spins(patterns, size, generator)
        wanted = stored[:cues]
        start = wanted
        if flipped > 0:
            noise = torch.rand(wanted.shape, generator=generator, device=generator.device)
            start = torch.where(noise < flipped, -wanted, wanted)
        found = build(stored).recall(start).state
        overlaps.append((found * wanted).mean(-1))
    return torch.stack(overlaps)


def large_size_limit(
    sizes: Sequence[int],
    values: Sequence[float],
    errors: Sequence[float],
    exponent: float,
) -> Estimate:
    """Extrapolates measured values to d → ∞, by the line through value against d^−exponent.

    Weighted least squares. Noise that is a sum of d independent parts makes 1/2; a state that is
    lost when the hill beside it, of height d (α_c − α)^{3/2}, drowns in noise of order one makes
    2/3. Which holds is for the measurements to say.

    Args:
        sizes: d of each measurement, two different ones at least.
        values: What was measured.
        errors: Standard errors, above zero.
        exponent: How fast the effect of a finite size falls.

    Returns:
        The limit, and its standard error given that the theory is right.

    Raises:
        ParameterError: If there are fewer than two sizes, lengths differ, or an error or the
            exponent is not above zero.

    Examples:
        >>> print(large_size_limit([100, 400], [1.1, 1.05], [0.01, 0.01], exponent=0.5))
        1 ± 0.02
    """
    if len(set(sizes)) < 2 or not len(sizes) == len(values) == len(errors):
        raise ParameterError(
            f"{len(sizes)} sizes, {len(values)} values, {len(errors)} errors",
            "Give one value and one error for each of two or more sizes",
        )
    check_above_zero("exponent", exponent)
    weights = [check_above_zero("error", error) ** -2 for error in errors]
    line = torch.tensor([[1.0, size**-exponent] for size in sizes], dtype=torch.float64)
    weighted = line * torch.tensor(weights, dtype=torch.float64)[:, None]
    covariance = torch.linalg.inv(weighted.mT @ line)
    fit = covariance @ (weighted.mT @ torch.tensor(values, dtype=torch.float64))
    return Estimate(float(fit[0]), float(covariance[0, 0].sqrt()))
