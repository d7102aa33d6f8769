"""The head of actions with discrete and real parts: a mixture whose sums and integrals are exact."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from isinglass._support.typing import Float
from isinglass.agents.heads import Head, MixtureHead
from isinglass.distributions import HybridMixture
from isinglass.distributions.hybrid_mixture import discrete_units
from isinglass.units import Unit

__all__ = ["HybridMixtureHead"]


class HybridMixtureHead(MixtureHead):
    """Memories of a key k_μ(s), fields θ_μ, centers c_μ(s) in the box and slopes γ_μ(s).

    Keys are over a level that all memories share, as heights in
    :class:`~isinglass.agents.heads.GaussianMixtureHead`. A memory has slopes of its own: what
    matters for one choice need not matter for another.
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
        shape = self.keys.out_features, -1
        slopes = softplus(self.steepness(features)) * self.scale.sqrt() + 1e-3
        centers = torch.tanh(self.centers(features))
        return HybridMixture(
            self.unit, patterns, centers.unflatten(-1, shape), slopes.unflatten(-1, shape)
        )

    def score(
        self,
        features: Float[Tensor, "batch f"],
        temperature: float,
        state: Float[Tensor, "*states d"],
    ) -> Float[Tensor, "..."]:
        """Returns Q(s, a) of actions."""
        return Head.score(self, features, temperature, state)
