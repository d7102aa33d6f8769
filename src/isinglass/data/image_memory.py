"""A gallery of images as an associative memory: show it part of one, it completes the rest."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from isinglass._support.typing import Bool, Float, Int
from isinglass._support.validation import (
    check_features,
    check_finite,
    check_like,
    check_patterns,
    values_visible,
)
from isinglass.dynamics import Recall
from isinglass.energies import ModernHopfield
from isinglass.errors import DomainError, ParameterError, ShapeError

__all__ = ["Completion", "ImageMemory"]


@dataclass(frozen=True)
class Completion:
    """The completion of cues by an :class:`ImageMemory`, and how recall went.

    Attributes:
        images: The completed images, ``(*batch, d)``.
        recall: Energy, steps, residual and convergence of each row.
        start_energy: Energy of each cue before the first step.
        weights: How much of each stored image is in the completion, ``(*batch, N)``; sums to 1.
        nearest: Number of the stored image with the largest weight.
        similarity: Cosine between the recalled pattern and that image's, −1 to 1.
    """

    images: Float[Tensor, "*batch d"]
    recall: Recall
    start_energy: Float[Tensor, "*batch"]
    weights: Float[Tensor, "*batch N"]
    nearest: Int[Tensor, "*batch"]
    similarity: Float[Tensor, "*batch"]


class ImageMemory:
    r"""Images stored in a modern Hopfield net as deviations from their mean, of unit length.

        x_μ = (image_μ − mean)/|image_μ − mean|,   ξ ← Xᵀ softmax(βXξ)
        completion = Σ_μ softmax_μ(βXξ) image_μ

    An unknown pixel of a cue deviates by nothing, so it says nothing.

    Reference: Ramsauer et al. 2020, arXiv:2008.02217 (the separation Δ_i of a pattern decides
    how sharply it is retrieved).

    Args:
        images: ``(N, d)``, one image a row.
        beta: β > 0; None chooses log(999 (N−1))/Δ, with Δ = min_{i≠j} (1 − x_i·x_j) over distinct
            images, so that each stored image draws at least 99.9 % of the attention when shown
            whole; kept between 1 and 10,000.

    Raises:
        ShapeError: If there is no image or the tensor is not a matrix.
        DomainError: If it is no tensor, or a value or its deviation is not finite.
        ParameterError: If ``beta`` is not above zero.

    Examples:
        >>> images = torch.tensor([[0.0, 0, 1, 1], [1, 1, 0, 0], [0, 1, 0, 1]])
        >>> known = torch.tensor([True, True, False, False])
        >>> done = ImageMemory(images).complete(torch.tensor([1.0, 1, 0, 0]), known)
        >>> int(done.nearest), done.images.round()
        (1, tensor([1., 1., 0., 0.]))
    """

    def __init__(self, images: Tensor, beta: float | None = None) -> None:
        check_patterns(images)
        self.images = images
        # One image has no deviation from its own mean: take its mean gray instead.
        self.mean = images.mean(0) if len(images) > 1 else images.mean().expand(images.shape[-1])
        patterns = _unit(images - self.mean)
        check_finite("the images less their mean", patterns)
        self.memory = ModernHopfield(patterns, _sharpest(patterns) if beta is None else beta)

    @property
    def beta(self) -> float:
        """The inverse temperature β in use."""
        return float(self.memory.beta)

    def complete(
        self,
        cues: Float[Tensor, "*batch d"],
        known: Bool[Tensor, "*mask"],
        max_steps: int | None = None,
        trace: bool = False,
    ) -> Completion:
        """Completes each cue from the pixels that are known.

        Args:
            cues: ``(*batch, d)``; unknown pixels may be anything finite.
            known: True where a pixel is given, at least one a cue; broadcast over the batch.
            max_steps: Most steps a row may take.
            trace: Whether to record the energy after every step.

        Raises:
            ShapeError: If a cue or the mask has the wrong number of pixels.
            DomainError: If cues or mask are no tensors, a pixel is not finite, or the mask is not
                of booleans.
            ParameterError: If no pixel of a cue is known.
        """
        check_features(cues, self.images.shape[-1])
        check_finite("the cues", cues)
        check_like(cues, self.images)
        _check_known(known, cues)
        start = _unit(torch.where(known, cues - self.mean, 0.0))
        check_finite("the cues less the mean image", start)
        found = self.memory.recall(start, max_steps=max_steps, trace=trace)
        weights = self.memory.association(found.state)
        nearest = weights.argmax(-1)
        similarity = torch.cosine_similarity(found.state, self.memory.patterns[nearest], dim=-1)
        return Completion(
            weights @ self.images, found, self.memory(start), weights, nearest, similarity
        )


def _unit(deviation: Tensor) -> Tensor:
    """Normalizes rows; large values are scaled first, or their squares would overflow."""
    scale = deviation.abs().amax(-1, keepdim=True).clamp_min(1.0)
    return torch.nn.functional.normalize(deviation / scale, dim=-1)


def _check_known(known: Tensor, cues: Tensor) -> None:
    """Refuses a mask that is not of booleans, does not fit the cues, or leaves a cue unknown."""
    size = cues.shape[-1]
    example = f"torch.ones({size}, dtype=torch.bool)"
    if not isinstance(known, Tensor) or known.dtype != torch.bool:
        found = f"dtype {known.dtype}" if isinstance(known, Tensor) else type(known).__name__
        raise DomainError(
            f"a mask of {found}",
            f"Give a boolean tensor, True where a pixel is given, such as {example}",
        )
    try:
        torch.broadcast_shapes(known.shape, cues.shape)
        fits = known.shape[-1:] == (size,)
    except RuntimeError:
        fits = False
    if not fits:
        raise ShapeError(
            f"a mask of shape {tuple(known.shape)} for cues of shape {tuple(cues.shape)}",
            f"Give one boolean a pixel, ({size},) or a batch of them, such as {example}",
        )
    if known.device != cues.device:
        raise DomainError(
            f"a mask on {known.device}, cues on {cues.device}",
            "Bring them together first: known.to(cues.device)",
        )
    if values_visible(known) and not bool(known.any(-1).all()):
        raise ParameterError(
            f"nothing is known of cue {int((~known.any(-1)).nonzero()[0, -1])}",
            "Show some part of it",
        )


def _sharpest(patterns: Tensor) -> float:
    """Returns β that gives each unit vector 99.9 % of the attention when it is the query.

    Of many vectors, 1,000 are looked at, evenly spaced, each against all.
    """
    count = len(patterns)
    if count < 2:
        return 1.0
    rows = torch.linspace(0, count - 1, min(count, 1000)).long()
    overlap = patterns[rows] @ patterns.mT
    overlap[torch.arange(len(rows)), rows] = -1.0
    distinct = overlap[overlap < 1 - 1e-4]
    if len(distinct) == 0:
        return 1.0
    return min(max(math.log(999 * (count - 1)) / (1 - float(distinct.max())), 1.0), 1e4)
