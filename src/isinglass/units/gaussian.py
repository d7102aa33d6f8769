"""Units with real states: Gaussian and rectified."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator

from isinglass._support.random import source
from isinglass.units.base import Flags, PerRow, States, Unit, uniform_like

__all__ = ["Gaussian", "RectifiedGaussian"]


@dataclass(frozen=True)
class Gaussian(Unit):
    """Real units with U(s) = s²/2: A_T(I) = I²/2 + (T/2) log 2πT, mean I, s ~ N(I, T).

    Reference: Krotov & Hopfield 2021, arXiv:2008.06996.

    Args:
        size: Number of real units.

    Raises:
        ParameterError: If ``size`` is not a whole number of at least one.

    Examples:
        >>> Gaussian(2).sample(torch.tensor([1.0, -1.0]), temperature=0.0)
        tensor([ 1., -1.])
    """

    def log_partition(self, field: States, temperature: float = 1.0) -> PerRow:
        """Computes Σ_i I_i²/2 + (T/2) log 2πT."""
        volume = temperature * math.log(2 * math.pi * temperature) if temperature > 0 else 0.0
        return field.square().sum(-1) / 2 + field.shape[-1] * volume / 2

    def mean(self, field: States, temperature: float = 1.0) -> States:
        """Returns the field itself, at every temperature."""
        return field.clone()

    def sample(
        self,
        field: States,
        temperature: float = 1.0,
        generator: Generator | None = None,
    ) -> States:
        """Draws a state from N(I, T)."""
        if temperature == 0:
            return field.clone()
        noise = torch.randn(
            field.shape, dtype=field.dtype, device=field.device, **source(generator)
        )
        return field + math.sqrt(temperature) * noise

    def base_measure_energy(self, state: States, temperature: float = 1.0) -> PerRow:
        """Computes Σ_i s_i²/2, the energy of the base measure."""
        return state.square().sum(-1) / 2

    @property
    def support(self) -> tuple[float, float]:
        """Interval (−∞, ∞) of the states."""
        return (-math.inf, math.inf)

    @property
    def is_gaussian(self) -> bool:
        """Whether the conditional is normal: here N(I, T)."""
        return True

    def natural_parameter(self, mean: States, temperature: float = 1.0) -> States:
        """Returns the mean itself, which is the field."""
        return mean


@dataclass(frozen=True)
class RectifiedGaussian(Gaussian):
    """Rectified units, s ≥ 0 with U(s) = s²/2: a Gaussian truncated at zero.

    With z = I/√T and the normal density φ and distribution Φ,

        A_T(I) = I²/2 + (T/2) log 2πT + T log Φ(z)  →  max(I, 0)²/2
        mean   = I + √T φ(z)/Φ(z)                   →  max(I, 0)

    Reference: Nair & Hinton 2010 (rectified units); Robert 1995, doi:10.1007/BF00143942
    (truncated normal).

    Args:
        size: Number of rectified units.

    Raises:
        ParameterError: If ``size`` is not a whole number of at least one.

    Examples:
        >>> RectifiedGaussian(2).mean(torch.tensor([1.0, -1.0]), temperature=0.0)
        tensor([1., 0.])
    """

    def log_partition(self, field: States, temperature: float = 1.0) -> PerRow:
        """Computes Σ_i I_i²/2 + (T/2) log 2πT + T log Φ(I_i/√T)."""
        if temperature == 0:
            return field.clamp_min(0).square().sum(-1) / 2
        z = field / math.sqrt(temperature)
        # I²/2 + T log Φ cancels in the left tail; erfcx holds the difference in one piece there.
        left = torch.log(torch.special.erfcx(-z.clamp_max(0) / math.sqrt(2)) / 2)
        right = z.clamp_min(0).square() / 2 + torch.special.log_ndtr(z.clamp_min(0))
        volume = math.log(2 * math.pi * temperature) / 2
        return temperature * (torch.where(z < 0, left, right) + volume).sum(-1)

    def mean(self, field: States, temperature: float = 1.0) -> States:
        """Computes I + √T φ(z)/Φ(z), by an asymptotic series far in the left tail."""
        if temperature == 0:
            return field.clamp_min(0)
        scale = math.sqrt(temperature)
        z = field / scale
        near = z.clamp(-50.0, 10.0)  # above 10 the hazard is below 1e-22
        hazard = math.sqrt(2 / math.pi) / torch.special.erfcx(-near / math.sqrt(2))
        inverse = 1 / z.clamp_max(-50.0).abs()
        far = inverse * (1 - inverse**2 * (2 - inverse**2 * (10 - 74 * inverse**2)))
        return scale * torch.where(z < -50.0, far, torch.where(z > 10.0, z, near + hazard))

    def sample(
        self,
        field: States,
        temperature: float = 1.0,
        generator: Generator | None = None,
    ) -> States:
        """Draws from N(I, T) truncated to s ≥ 0, by inverting its distribution function."""
        if temperature == 0:
            return self.mean(field, 0.0)
        scale = math.sqrt(temperature)
        start = -field / scale  # the standard normal is cut off below here
        # In (0, 1): at 1 the body below would be cut off at the far end.
        uniform = (1 - uniform_like(field, generator)).clamp_max(
            1 - torch.finfo(field.dtype).eps / 2
        )
        body = -torch.special.ndtri(uniform * torch.special.ndtr(-start.clamp_max(2.0)))
        # In the tail log Φ(−x) = log u + log Φ(−start) is solved by Newton's rule, which is
        # monotone there because log Φ is concave; four steps reach float64 precision.
        tail_start = start.clamp_min(2.0)
        target = uniform.log() + torch.special.log_ndtr(-tail_start)
        tail = torch.sqrt(tail_start.square() - 2 * uniform.log())
        for _ in range(4):
            hazard = math.sqrt(2 / math.pi) / torch.special.erfcx(tail / math.sqrt(2))
            tail = tail + (torch.special.log_ndtr(-tail) - target) / hazard
        return scale * (torch.where(start < 2.0, body, tail) - start).clamp_min(0)

    def contains(self, state: States) -> Flags:
        """Tells whether each value is zero or above."""
        return state >= 0

    @property
    def support(self) -> tuple[float, float]:
        """Interval [0, ∞) of the states."""
        return (0.0, math.inf)

    @property
    def is_gaussian(self) -> bool:
        """No: cut off at zero."""
        return False

    def natural_parameter(self, mean: States, temperature: float = 1.0) -> States:
        """Raises an error: the mean of a rectified unit has no inverse in closed form.

        Raises:
            IntractableError: Always.
        """
        return Unit.natural_parameter(self, mean, temperature)

    def _remedy(self) -> str:
        return "RectifiedGaussian units take values of zero or above: clamp first, x.clamp_min(0)"
