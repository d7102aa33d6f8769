"""A way from a Gaussian to any energy of real states, walked by the gradient."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Float
from isinglass._support.validation import check_like, check_positive
from isinglass.core.energy import Energy
from isinglass.core.kernel import Kernel
from isinglass.core.path import AnnealingPath
from isinglass.dynamics.kernels._gradient import check_real, normal_like
from isinglass.dynamics.kernels.hmc import HMC
from isinglass.errors import ParameterError, ShapeError

__all__ = ["GaussianPath"]


class GaussianPath(AnnealingPath):
    r"""From N(m, diag σ²) to exp(−E/T), for any energy of real states whose Z is finite.

        log w_λ(s) = −λ E(s)/T − (1 − λ) ½ Σ_i (s_i − m_i)²/σ_i²

    A Gaussian that covers where the energy has its mass is the shorter way: take mean and
    deviation of the data.

    Reference: Neal 2001, doi:10.1023/A:1008923215028.

    Args:
        energy: E, of states that fill the whole space.
        mean: m, ``(size,)``.
        deviation: σ > 0, ``(size,)``.
        temperature: T > 0; None is the energy's own.
        kernel: What moves states at each λ, :class:`HMC` or MALA; None is HMC with mass T/σ².

    Raises:
        ShapeError: If mean and deviation are not two vectors of the same size.
        DomainError: If they differ in dtype or device.
        ParameterError: If a deviation or T is not above zero, or the kernel is another one.
        IntractableError: If the energy has discrete or bounded units.

    Examples:
        >>> import isinglass as ig
        >>> memory = ig.ModernHopfield(torch.eye(2), beta=1.0)
        >>> path = GaussianPath(memory, torch.zeros(2), torch.ones(2))
        >>> start = path.draw_base(5, torch.Generator().manual_seed(0))
        >>> path.transition(start, torch.linspace(0, 1, 5)).shape
        torch.Size([5, 2])
    """

    reversible: ClassVar[bool] = True

    def __init__(
        self,
        energy: Energy,
        mean: Float[Tensor, " size"],
        deviation: Float[Tensor, " size"],
        *,
        temperature: float | None = None,
        kernel: Kernel | None = None,
    ) -> None:
        check_real(energy.layers, whole_line=True)
        if mean.ndim != 1 or mean.shape != deviation.shape:
            raise ShapeError(
                f"a mean of shape {tuple(mean.shape)}, deviations {tuple(deviation.shape)}",
                "Give one number a unit for each",
            )
        check_like(deviation, mean)
        if not bool(((deviation > 0) & deviation.isfinite()).all()):
            raise ParameterError(f"deviation = {deviation}", "Give numbers above zero")
        self.temperature = check_positive(
            "temperature", energy.temperature if temperature is None else temperature
        )
        self.energy, self.mean, self.deviation = energy, mean, deviation
        self.kernel = HMC(mass=self.temperature / deviation**2) if kernel is None else kernel
        if not isinstance(self.kernel, HMC):
            raise ParameterError(
                f"kernel = {self.kernel!r}",
                "Give HMC or MALA, which are exact and reversible: the weights rely on it",
            )

    @property
    def base_log_partition(self) -> Tensor:
        """log Z₀ = Σ_i log σ_i + (d/2) log 2π."""
        return (self.deviation.double().log() + math.log(2 * math.pi) / 2).sum()

    def draw_base(self, count: int, generator: Generator | None = None) -> Float[Tensor, "n size"]:
        """Draws ``count`` exact independent states from N(m, diag σ²)."""
        noise = normal_like(self.mean.expand(count, -1), generator)
        return self.mean + self.deviation * noise

    def log_weight(
        self, state: Float[Tensor, "batch size"], lambda_: Float[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Computes −λ E(s)/T − (1 − λ) ½ Σ_i (s_i − m_i)²/σ_i²."""
        bridge = _Bridge(self, lambda_)
        with torch.no_grad():
            return -bridge(state) / self.temperature

    def log_ratio(
        self,
        state: Float[Tensor, "batch size"],
        start: Float[Tensor, " batch"],
        end: Float[Tensor, " batch"],
    ) -> Float[Tensor, " batch"]:
        """Computes log w_end(s) − log w_start(s) = (end − start)(log w₁(s) − log w₀(s))."""
        with torch.no_grad():
            gap = self.base_measure_energy(state) - self.energy(state)
        return (end - start).to(gap) * gap / self.temperature

    def transition(
        self,
        state: Float[Tensor, "batch size"],
        lambda_: Float[Tensor, " batch"],
        generator: Generator | None = None,
    ) -> Float[Tensor, "batch size"]:
        """Takes one step of the kernel, each row at its own λ."""
        bridge = _Bridge(self, lambda_)
        with torch.no_grad():
            kernel_state = self.kernel.init(bridge, state)
            kernel_state, _ = self.kernel.step(bridge, kernel_state, self.temperature, generator)
        return kernel_state.position

    def base_measure_energy(self, state: Float[Tensor, "batch size"]) -> Float[Tensor, " batch"]:
        """Computes T ½ Σ_i (s_i − m_i)²/σ_i², the energy of the Gaussian."""
        scaled = (state - self.mean) / self.deviation
        return self.temperature * scaled.square().sum(-1) / 2


class _Bridge(Energy):
    """λE + (1 − λ)E₀, a λ for each row."""

    def __init__(self, path: GaussianPath, lambda_: Tensor) -> None:
        super().__init__()
        self.way, self.lambda_ = path, lambda_

    def forward(self, state: Float[Tensor, "batch size"]) -> Float[Tensor, " batch"]:
        lambda_ = self.lambda_.to(state)
        return lambda_ * self.way.energy(state) + (1 - lambda_) * self.way.base_measure_energy(
            state
        )
