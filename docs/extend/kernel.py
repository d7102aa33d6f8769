"""A kernel to copy: Metropolis flips of one spin of every row, chosen at random."""

from typing import ClassVar

import torch
from torch import Generator, Tensor

from isinglass.core import Energy, Memoryless


class MetropolisFlip(Memoryless):
    """Proposes to turn one random spin, accepts with probability min(1, exp(−ΔE/T)).

    Reference: Metropolis et al. 1953, doi:10.1063/1.1699114.
    """

    leaves_invariant: ClassVar[bool] = True  # in detailed balance with exp(−E/T)
    monotone: ClassVar[bool] = True  # at T = 0 only what lowers E is accepted

    def transition(
        self, energy: Energy, state: Tensor, temperature: float, generator: Generator | None
    ) -> Tensor:
        """Turns one spin of every row, or leaves it."""
        rows = torch.arange(len(state))
        site = torch.randint(state.shape[-1], (len(state),), generator=generator)
        proposal = state.clone()
        proposal[rows, site] *= -1
        rise = energy(proposal) - energy(state)
        uniform = torch.rand(len(state), dtype=state.dtype, generator=generator)
        accepted = rise < 0 if temperature == 0 else uniform < torch.exp(-rise / temperature)
        return torch.where(accepted.unsqueeze(-1), proposal, state)
