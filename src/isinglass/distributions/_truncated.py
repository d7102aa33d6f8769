"""Normal densities within a box: what lies there of each, and draws of it."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from isinglass.units.base import uniform_like

__all__ = ["draw_within", "log_share_within"]


def log_share_within(fields: Tensor, slopes: Tensor, bound: float, temperature: float) -> Tensor:
    """Returns log[Φ((γr − θ)/√T) − Φ((−γr − θ)/√T)], what lies within |a| ≤ r, axis by axis."""
    low, high = _edges(fields, slopes, bound, temperature)
    shares = (torch.erf(high) - torch.erf(low)) / 2
    return shares.clamp_min(torch.finfo(shares.dtype).tiny).log()


def draw_within(
    fields: Tensor, slopes: Tensor, bound: float, temperature: float, generator: Generator | None
) -> Tensor:
    """Draws a ~ N(θ/γ, T/γ²) within |a| ≤ r, axis by axis, by inverting its distribution."""
    low, high = (torch.erf(edge) for edge in _edges(fields, slopes, bound, temperature))
    uniform = uniform_like(fields, generator)
    away = torch.erfinv(torch.lerp(low, high, uniform)) * math.sqrt(2 * temperature)
    return ((fields + away) / slopes).clamp(-bound, bound)


def _edges(
    fields: Tensor, slopes: Tensor, bound: float, temperature: float
) -> tuple[Tensor, Tensor]:
    """Returns the box's bounds seen from the centers, in units of √2 standard deviations."""
    width = math.sqrt(2 * temperature)
    edge = bound * slopes
    return (-edge - fields) / width, (edge - fields) / width
