"""A path to copy: from spins that feel nothing to any energy of spins, by scaling it."""

import math
from typing import ClassVar

import torch
from torch import Generator, Tensor

from isinglass.core import AnnealingPath, Energy


class ScaledEnergyPath(AnnealingPath):
    """Anneals by log w_λ(s) = −λ E(s)/T on n spins: p₀ is uniform and log Z₀ = n log 2.

    Reference: Neal 2001, doi:10.1023/A:1008923215028.
    """

    reversible: ClassVar[bool] = True  # Metropolis flips are in detailed balance

    def __init__(self, energy: Energy, size: int, temperature: float = 1.0) -> None:
        self.energy, self.size, self.temperature = energy, size, temperature

    @property
    def base_log_partition(self) -> Tensor:
        """log Z₀ = n log 2."""
        return torch.tensor(self.size * math.log(2), dtype=torch.float64)

    def draw_base(self, count: int, generator: Generator | None = None) -> Tensor:
        """Draws every spin by a coin."""
        coin = torch.rand(count, self.size, dtype=torch.float64, generator=generator)
        return torch.where(coin < 0.5, -1.0, 1.0).to(coin)

    def log_weight(self, state: Tensor, lambda_: Tensor) -> Tensor:
        """Computes −λ E(s)/T, each row at its own λ."""
        return -lambda_ * self.energy(state) / self.temperature

    def transition(
        self, state: Tensor, lambda_: Tensor, generator: Generator | None = None
    ) -> Tensor:
        """Turns one random spin with probability min(1, w_λ(s')/w_λ(s))."""
        rows = torch.arange(len(state))
        site = torch.randint(self.size, (len(state),), generator=generator)
        proposal = state.clone()
        proposal[rows, site] *= -1
        gain = self.log_weight(proposal, lambda_) - self.log_weight(state, lambda_)
        uniform = torch.rand(len(state), dtype=state.dtype, generator=generator)
        return torch.where((uniform.log() < gain).unsqueeze(-1), proposal, state)
