"""The head of actions with discrete and real parts: a mixture, whose value is exact."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, softplus

from isinglass._support.typing import Float
from isinglass.agents.actions.heads import Head, MixtureHead
from isinglass.distributions import HybridMixture
from isinglass.distributions.hybrid_mixture import discrete_units, real_components
from isinglass.units import Unit

__all__ = ["HybridMixtureHead"]

NEGLIGIBLE = 60.0  # exp(−60) of the largest share: below the rounding of float64 too


class HybridMixtureHead(MixtureHead):
    """Memories of a key k_μ(s), fields θ_μ, centers c_μ(s) in the box and slopes γ_μ(s).

    Keys are over a level that all memories share, as heights in
    :class:`~isinglass.agents.actions.heads.GaussianMixtureHead`. A memory has slopes of its own:
    what matters for one choice need not matter for another.
    """

    def __init__(
        self, width: int, unit: Unit, init_scale: float, memories: int, state_fields: bool | str
    ) -> None:
        super().__init__(width, discrete_units(unit), init_scale, memories, state_fields)
        self.unit = unit  # choices stay those of the patterns
        self.level = nn.Linear(width, 1)
        real = memories * (unit.size - self.choices.size)
        self.centers, self.steepness = nn.Linear(width, real), nn.Linear(width, real)

    def forward(self, features: Float[Tensor, "batch f"], temperature: float) -> HybridMixture:
        """Returns the mixture, less T log N: Q does not depend on the number of idle memories."""
        patterns = self.patterns(features, temperature)
        patterns = replace(patterns, keys=patterns.keys + self.scale * self.level(features))
        centers, slopes = self._peaks(features)
        return HybridMixture(self.unit, patterns, centers, slopes)

    def score(
        self,
        features: Float[Tensor, "batch f"],
        temperature: float,
        state: Float[Tensor, "*states d"],
    ) -> Float[Tensor, "..."]:
        """Returns Q(s, a), without all fields in all rows where rows share them."""
        own = self.bend is not None and self.bend.out_features > self.choices.size
        if own or features.shape[:-1] != state.shape[:-1]:
            return Head.score(self, features, temperature, state)
        at = real_components(self.unit).to(state.device)
        kinds, real = state[..., ~at], state[..., at]
        values = linear(kinds, self.fields, self.keys.bias) + linear(features, self.keys.weight)
        shared = self.level(features)
        if self.bend is not None:
            shared = shared + (self.bend(features) * kinds).sum(-1, keepdim=True)
        centers, slopes = self._peaks(features)
        away = (slopes * (real.unsqueeze(-2) - centers)).square().sum(-1) / 2
        logits = (self.scale * (values + shared) - away) / temperature
        # Shares near 1e-40 would change no float, and products of matrices take twice as long.
        idle = logits < logits.detach().amax(-1, keepdim=True) - NEGLIGIBLE
        total = torch.logsumexp(logits.masked_fill(idle, -torch.inf), -1)
        return temperature * (total - math.log(self.keys.out_features)) + self.shift

    def _peaks(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Returns centers and slopes, ``(batch, N, r)``."""
        shape = self.keys.out_features, -1
        slopes = softplus(self.steepness(features)) * self.scale.sqrt() + 1e-3
        centers = torch.tanh(self.centers(features))
        return centers.unflatten(-1, shape), slopes.unflatten(-1, shape)
