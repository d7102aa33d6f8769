"""The way from units without couplings to a Boltzmann machine."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Float
from isinglass.core.path import AnnealingPath
from isinglass.energies.pairwise.couplings import Couplings
from isinglass.units import Unit

__all__ = ["BoltzmannPath"]


class BoltzmannPath(AnnealingPath):
    """log w_λ(s) = [λ(½ sᵀWs + b·s) + (1 − λ) b₀·s − U(s)]/T: couplings grow, b₀ becomes b.

    Args:
        unit: All units.
        couplings: W.
        bias: b, ``(size,)``.
        base: b₀, ``(size,)``.
        temperature: T > 0.
        visible: How many components are visible, the first ones.
    """

    reversible: ClassVar[bool] = True

    def __init__(
        self,
        unit: Unit,
        couplings: Couplings,
        bias: Float[Tensor, " size"],
        base: Float[Tensor, " size"],
        temperature: float,
        visible: int,
    ) -> None:
        self.unit, self.couplings, self.temperature = unit, couplings, temperature
        self.visible = visible
        self.bias, self.base = bias, base

    @property
    def base_log_partition(self) -> Float[Tensor, ""]:
        """log Π Σ exp(b₀ s/T), unit by unit."""
        return self.unit.log_partition(self.base.double(), self.temperature) / self.temperature

    def draw_base(self, count: int, generator: Generator | None = None) -> Float[Tensor, "n size"]:
        """Draws every unit by itself, in its base field."""
        return self.unit.sample(self.base.expand(count, -1), self.temperature, generator)

    @torch.no_grad()
    def log_weight(
        self, state: Float[Tensor, "batch size"], lambda_: Float[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Computes log w_λ(s), each row at its own λ."""
        own = state @ self.base - self.unit.base_measure_energy(state, self.temperature)
        return lambda_ * self._change(state) + (own / self.temperature).to(lambda_)

    def log_ratio(
        self,
        state: Float[Tensor, "batch size"],
        start: Float[Tensor, " batch"],
        end: Float[Tensor, " batch"],
    ) -> Float[Tensor, " batch"]:
        """Computes (λ₂ − λ₁) (½ sᵀWs + (b − b₀)·s)/T."""
        return (end - start) * self._change(state)

    @torch.no_grad()
    def _change(self, state: Tensor) -> Tensor:
        """Computes d log w/dλ of every row."""
        felt = self.couplings(state) / 2 + (self.bias - self.base)
        return (felt * state).sum(-1) / self.temperature

    @torch.no_grad()
    def transition(
        self,
        state: Float[Tensor, "batch size"],
        lambda_: Float[Tensor, " batch"],
        generator: Generator | None = None,
    ) -> Float[Tensor, "batch size"]:
        """Takes a sweep, or its reversal, by a coin: in detailed balance with p_λ of each row."""
        scale = lambda_.to(state).unsqueeze(-1)
        bias = torch.lerp(self.base, self.bias, scale)
        coin = torch.rand((), device=state.device, generator=generator)
        return self.couplings.sweep(
            state, self.unit, bias, self.temperature, generator,
            scale=scale, backward=bool(coin < 0.5),
        )  # fmt: skip

    @torch.no_grad()
    def prepare(
        self, state: Float[Tensor, "batch size"], generator: Generator | None = None
    ) -> Float[Tensor, "batch size"]:
        """Draws the hidden units once, the visible ones held."""
        if self.visible == self.unit.size:
            return state
        held = (torch.arange(self.unit.size, device=state.device) < self.visible).expand(
            state.shape
        )
        return self.couplings.sweep(
            state, self.unit, self.bias, self.temperature, generator, held=held
        )
