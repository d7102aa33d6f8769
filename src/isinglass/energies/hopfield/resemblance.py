"""How much a cue resembles what is stored: asked of the cue, before recall makes it a pattern."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from isinglass._support.typing import Bool, Float, Int
from isinglass._support.validation import (
    check_features,
    check_finite,
    check_fraction,
    check_like,
    check_patterns,
    known_cells,
)
from isinglass.retrieval.scores import BLOCK, everywhere, nearest_keys, spaced_rows

__all__ = ["Resemblance", "resemblance"]

REFERENCES = 256  # held-out cues, or stored patterns in their place, that novelty is counted by
TOGETHER = 2**22  # numbers of a mask's references and patterns held at a time


@dataclass(frozen=True)
class Resemblance:
    """How much each cue resembles what is stored, in the cells that are known of it.

    Attributes:
        nearest: Number of the stored pattern nearest in the known cells, ``(*batch,)``.
        distance: Root-mean-square difference to it over the known cells, in their units.
        similarity: Cosine between cue and that pattern over the known cells, −1 to 1.
        weight: Its share of the attention at the cue, 0 to 1: the posterior probability that the
            cue, in Gaussian noise of variance 1/β, was this pattern and none of the others.
        log_density: log p of the known cells, in nats, in the mixture of Gaussians N(x_μ, 1/β).
        novelty: The share of held-out cues, 0 to 1, that are nearer to their nearest pattern than
            this cue to its own; in place of held-out cues, stored patterns against the others.

    Examples:
        >>> import isinglass as ig
        >>> memory = ig.ModernHopfield(torch.eye(3), beta=20.0)
        >>> found = memory.resemblance(torch.tensor([[0.0, 2.0, 0.0]]))
        >>> found.nearest, found.distance.round(decimals=3), found.similarity
        (tensor([1]), tensor([0.5770]), tensor([1.]))
    """

    nearest: Int[Tensor, "*batch"]
    distance: Float[Tensor, "*batch"]
    similarity: Float[Tensor, "*batch"]
    weight: Float[Tensor, "*batch"]
    log_density: Float[Tensor, "*batch"]
    novelty: Float[Tensor, "*batch"]

    def unfamiliar(self, level: float = 0.05) -> Bool[Tensor, "*batch"]:
        """Tells the cues that nothing stored resembles; of held-out ones a share ``level`` too.

        Args:
            level: How many false alarms to allow, 0 to 1: the significance level.

        Raises:
            ParameterError: If ``level`` is not from 0 to 1.
        """
        return self.novelty >= 1 - check_fraction("level", level)


@torch.no_grad()
def resemblance(
    patterns: Float[Tensor, "N d"],
    beta: float,
    cues: Float[Tensor, "*batch d"],
    known: Bool[Tensor, "*mask d"] | None = None,
    *,
    held_out: Float[Tensor, "M d"] | None = None,
) -> Resemblance:
    r"""Compares each cue with all stored patterns in the cells that are known of it.

        weight = max_μ p_μ,  p = softmax(−½β Σ_known (x_μ − ξ)²)
        log p(ξ_known) = log N⁻¹ Σ_μ Π_known N(ξ_i; x_μi, 1/β)
        novelty = share of held-out cues whose nearest pattern is nearer than this cue's

    After recall every state is one of the patterns, so its weights say nothing of the cue; these
    figures do. Novelty is the p-value of a one-class test by the nearest neighbor's distance.

    Reference: Knorr & Ng 1998 (outliers by distance); Vovk, Gammerman & Shafer 2005 (conformal
    p-values).

    Args:
        patterns: ``(N, d)``.
        beta: β > 0.
        cues: ``(*batch, d)``; unknown cells may be anything.
        known: True where a cell is given, broadcast over the batch; None is everywhere.
        held_out: Cues that should count as familiar, ``(M, d)``, to calibrate novelty on; None
            takes stored patterns, each compared with all others.

    Raises:
        ShapeError: If cues, mask or held-out cues do not fit the patterns.
        DomainError: If a known cell is not finite, or dtypes or devices differ.
        ParameterError: If nothing is known of a cue.
    """
    check_features(cues, patterns.shape[-1])
    if known is None:
        known = everywhere(cues)
    cells = known_cells(cues, known)
    check_like(cells, patterns)
    found = nearest_keys(cells, known, patterns, beta)
    pattern = torch.where(known, patterns[found.number], 0.0)
    squared = (pattern - cells).square().sum(-1)
    check_finite("the squared distances of the cues", squared)
    count = known.sum(-1).expand(squared.shape)
    log_density = (
        found.log_mass - math.log(len(patterns)) + count / 2 * math.log(beta / (2 * math.pi))
    )
    return Resemblance(
        found.number,
        (squared / count).sqrt(),
        torch.cosine_similarity(pattern, cells, dim=-1),
        (-beta / 2 * found.squared_distance - found.log_mass).exp().clamp_max(1.0),
        log_density,
        _novelty(squared, known, patterns, held_out),
    )


def _novelty(squared: Tensor, known: Tensor, patterns: Tensor, held_out: Tensor | None) -> Tensor:
    """Counts the references that are nearer to a pattern than the cues are."""
    beyond = -1.0
    if held_out is None:
        if len(patterns) == 1:  # nothing to be compared with but its own absence
            return (squared >= torch.where(known, patterns[0], 0.0).square().sum(-1)).to(squared)
        references = patterns[spaced_rows(patterns, REFERENCES)]
        # A pattern is no neighbor of itself, nor of its copies.
        spread = (references - references.mean(0)).square().sum(-1).mean()
        beyond = 1e3 * torch.finfo(patterns.dtype).eps * float(spread)
    else:
        check_patterns(held_out)
        check_features(held_out, patterns.shape[-1], "held-out cues")
        check_like(held_out, patterns, "held-out cues")
        references = held_out
    masks, which = known.reshape(-1, known.shape[-1]).unique(dim=0, return_inverse=True)
    together = max(1, TOGETHER // (len(references) * BLOCK))
    parts = [
        nearest_keys(references, some.unsqueeze(1), patterns, beyond=beyond).squared_distance
        for some in masks.split(together)
    ]
    distances = torch.cat(parts).sort(-1).values  # masks × references
    asked = squared.reshape(-1, 1)
    nearer = torch.searchsorted(distances[which.expand(len(asked))], asked)
    return (nearer / len(references)).reshape(squared.shape).to(squared.dtype)
