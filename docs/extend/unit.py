"""A unit kind to copy: three-state units s ∈ {−1, 0, +1} that pay U(s) = θ s² for being on."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from isinglass.units import Unit


@dataclass(frozen=True)
class Ternary(Unit):
    """Three-state unit: A_T(I) = T log(1 + 2 e^{−θ/T} cosh(I/T)), θ = ½.

    Reference: Blume 1966, doi:10.1103/PhysRev.141.517.
    """

    def log_partition(self, field: Tensor, temperature: float = 1.0) -> Tensor:
        """Computes A_T(I), summed over the layer."""
        if temperature == 0:
            return (field.abs() - 0.5).clamp_min(0.0).sum(-1)
        scores = torch.stack([field - 0.5, torch.zeros_like(field), -field - 0.5], -1)
        return (temperature * torch.logsumexp(scores / temperature, -1)).sum(-1)

    def mean(self, field: Tensor, temperature: float = 1.0) -> Tensor:
        """Computes m(I) = ∂A_T/∂I, the mean of each unit."""
        if temperature == 0:
            return field.sign() * (field.abs() > 0.5)
        scores = torch.stack([field - 0.5, torch.zeros_like(field), -field - 0.5], -1)
        up, _, down = torch.softmax(scores / temperature, -1).unbind(-1)
        return up - down

    def sample(
        self, field: Tensor, temperature: float = 1.0, generator: Generator | None = None
    ) -> Tensor:
        """Draws s ~ exp((I s − U(s))/T)."""
        if temperature == 0:
            return self.mean(field, 0.0)
        scores = torch.stack([-field - 0.5, torch.zeros_like(field), field - 0.5], -1)
        below = torch.softmax(scores / temperature, -1).cumsum(-1)
        uniform = torch.rand(field.shape, dtype=field.dtype, generator=generator).to(field.device)
        return (uniform > below[..., 0]).to(field) + (uniform > below[..., 1]).to(field) - 1

    def argmax_state(self, field: Tensor, current: Tensor) -> Tensor:
        """Returns the state of largest I s − U(s); of two that tie, the current one stays."""
        best = self.mean(field, 0.0)
        tied = (field.abs() == 0.5) & ((current == 0) | (current == field.sign()))
        return torch.where(tied, current, best)

    def base_measure_energy(self, state: Tensor, temperature: float = 1.0) -> Tensor:
        """Computes U(s) = θ Σ s²."""
        return state.square().sum(-1) / 2

    def contains(self, state: Tensor) -> Tensor:
        """Tells which components are −1, 0 or +1."""
        return (state == state.round()) & (state.abs() <= 1)

    def enumerate_states(self, temperature: float = 1.0) -> Tensor:
        """Returns every state of the layer, one a row, in float64."""
        one = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)
        return torch.cartesian_prod(*[one] * self.size).reshape(-1, self.size)
