"""A gallery of images as an associative memory: show it part of one, it completes the rest."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from isinglass._support.typing import Bool, Float, Int
from isinglass._support.validation import (
    check_features,
    check_finite,
    check_like,
    check_patterns,
    known_cells,
)
from isinglass.dynamics import Recall
from isinglass.energies import ModernHopfield
from isinglass.energies.hopfield.resemblance import Resemblance
from isinglass.retrieval.scores import everywhere, nearest_keys, spaced_rows

__all__ = ["Completion", "ImageMemory"]

SAMPLE = 1000  # images whose separation from all others chooses β
SAME = 1024  # epsilons of the dtype: half a squared distance that is no more is rounding


@dataclass(frozen=True)
class Completion:
    """The completion of cues by an :class:`ImageMemory`, and what to think of it.

    Attributes:
        images: The completed images, ``(*batch, d)``; known cells are those of the cue.
        recall: What the memory recalled, in its own units: steps, energy, convergence.
        memory: The memory itself.
        shown: The cues in its units, zero where they are unknown.
        known: Which cells were given.
    """

    images: Float[Tensor, "*batch d"]
    recall: Recall
    memory: ModernHopfield = field(repr=False)
    shown: Float[Tensor, "*batch d"] = field(repr=False)
    known: Bool[Tensor, "*mask d"] = field(repr=False)

    @cached_property
    def weights(self) -> Float[Tensor, "*batch N"]:
        """How much of each stored image is in the completion, computed when asked for."""
        return self.memory.association(self.recall.state, everywhere(self.recall.state))

    @cached_property
    def resemblance(self) -> Resemblance:
        """How much each cue, as it is shown, resembles what is stored; computed when asked for."""
        return self.memory.resemblance(self.shown, self.known)

    @property
    def nearest(self) -> Int[Tensor, "*batch"]:
        """Number of the stored image that is nearest in the known cells."""
        return self.resemblance.nearest


class ImageMemory:
    r"""Images, or rows of a table, stored in a modern Hopfield net and completed from parts.

        x_μ = (image_μ − mean)/scale,   p = softmax(−½β|x_μ − ξ|²)
        unknown cells = Σ_μ p_μ image_μ,   known cells stay as they are

    Images are compared by their distance in the known cells; the unknown ones are first integrated
    out, then descend (:meth:`~isinglass.ModernHopfield.recall`, ``known=``). The scale, one
    number, makes the root-mean-square length of the x_μ one.

    Reference: Ramsauer et al. 2020, arXiv:2008.02217 (the separation Δ_i of a pattern decides
    how sharply it is retrieved).

    Args:
        images: ``(N, d)``, one image a row.
        beta: β > 0; None chooses log(999 (N−1))/Δ, with Δ = min_{i≠j} ½|x_i − x_j|² over distinct
            images, so that each stored image draws at least 99.9 % of the attention when shown
            whole; at least 1. Images that differ by rounding count as one.

    Raises:
        ShapeError: If there is no image or the tensor is not a matrix.
        DomainError: If it is no tensor, or a value or its deviation is not finite.
        ParameterError: If ``beta`` is not above zero.

    Examples:
        >>> images = torch.tensor([[0.0, 0, 1, 1], [1, 1, 0, 0], [0, 1, 0, 1]])
        >>> known = torch.tensor([True, True, False, False])
        >>> done = ImageMemory(images).complete(torch.tensor([1.0, 1, torch.nan, 0]), known)
        >>> int(done.nearest), done.images.round()
        (1, tensor([1., 1., 0., 0.]))
    """

    def __init__(self, images: Tensor, beta: float | None = None) -> None:
        check_patterns(images)
        self.images = images
        # One image has no deviation from its own mean: take its mean gray instead.
        self.mean = images.mean(0) if len(images) > 1 else images.mean().expand(images.shape[-1])
        deviation = images - self.mean
        check_finite("the images less their mean", deviation)
        # Large values are divided by the largest first, or their squares would overflow.
        largest = deviation.abs().amax().clamp_min(torch.finfo(images.dtype).tiny)
        length = (deviation / largest).square().sum(-1).mean().sqrt()
        self.scale = largest * torch.where(length > 0, length, 1.0)
        patterns = deviation / self.scale
        self.memory = ModernHopfield(patterns, _sharpest(patterns) if beta is None else beta)

    @property
    def beta(self) -> float:
        """The inverse temperature β in use."""
        return float(self.memory.beta)

    def complete(
        self,
        cues: Float[Tensor, "*batch d"],
        known: Bool[Tensor, "*mask d"],
        max_steps: int | None = None,
        trace: bool = False,
    ) -> Completion:
        """Completes each cue from the cells that are known.

        Args:
            cues: ``(*batch, d)``; unknown cells may be anything, NaN included.
            known: True where a cell is given, at least one a cue; broadcast over the batch.
            max_steps: Most steps a row may take; None asks the kernel.
            trace: Whether to record the energy after every step.

        Raises:
            ShapeError: If a cue or the mask has the wrong number of cells.
            DomainError: If cues or mask are no tensors, a known cell is not finite, or the mask is
                not of booleans.
            ParameterError: If no cell of a cue is known.
        """
        check_features(cues, self.images.shape[-1])
        cells = known_cells(cues, known)
        check_like(cells, self.images)
        shown = torch.where(known, cells - self.mean, 0.0) / self.scale
        check_finite("the cues less the mean image", shown)
        found = self.memory.recall(shown, known=known, max_steps=max_steps, trace=trace)
        state = found.state
        images = self.memory.average(state, self.images, everywhere(state))
        return Completion(torch.where(known, cells, images), found, self.memory, shown, known)


def _sharpest(patterns: Tensor) -> float:
    """Returns β that gives each pattern 99.9 % of the attention when it is the query.

    Of many patterns, 1,000 are looked at, evenly spaced, each against all.
    """
    count = len(patterns)
    if count < 2:
        return 1.0
    same = 2 * SAME * torch.finfo(patterns.dtype).eps
    shown = patterns[spaced_rows(patterns, SAMPLE)]
    nearest = nearest_keys(shown, everywhere(shown), patterns, beyond=same)
    separation = float(nearest.squared_distance.amin()) / 2
    return max(math.log(999 * (count - 1)) / separation, 1.0)
