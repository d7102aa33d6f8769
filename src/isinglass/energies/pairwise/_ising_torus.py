"""The partition function of the Ising torus, in closed form."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["ising_log_partition"]

#: Distance from the critical line within which log |K₂ − K₁*| has no slope to speak of.
NEAREST = 1e-12


def ising_log_partition(
    height: int, width: int, vertical: float | Tensor, horizontal: float | Tensor
) -> Tensor:
    r"""Computes log Z of the Ising model without field on a torus, exactly, in float64.

        Z = ½ (2 sinh 2K₁)^{hw/2} [Π 2cosh ½hγ₁ + Π 2sinh ½hγ₁ + Π 2cosh ½hγ₀ ± Π 2sinh ½hγ₀]
        cosh γ_l = cosh 2K₂ cosh 2K₁* − sinh 2K₂ sinh 2K₁* cos(πl/w),   tanh K₁* = exp(−2K₁)

    where γ₁ stands for the odd l below 2w, γ₀ for the even ones, and ± is the sign of K₂ − K₁*.
    Differentiable in both couplings.

    Reference: Kaufman 1949, doi:10.1103/PhysRev.76.1232.

    Args:
        height: h, how many rows.
        width: w, how many columns.
        vertical: K₁ = J/T > 0 of bonds between rows.
        horizontal: K₂ = J/T > 0 of bonds within rows.

    Examples:
        >>> critical = math.log(1 + math.sqrt(2)) / 2
        >>> round(float(ising_log_partition(256, 256, critical, critical)) / 256**2, 5)
        0.92971
    """
    rows, columns = (torch.as_tensor(k, dtype=torch.float64) for k in (vertical, horizontal))
    gap = columns + rows.tanh().log() / 2  # K₂ − K₁*
    # At the critical line sinh γ₀/2 of l = 0 is zero, its logarithm −∞ and its slope NaN.
    gap = torch.where(gap.abs() < NEAREST, gap + 2 * NEAREST, gap)
    angle = torch.arange(2 * width, dtype=torch.float64) * math.pi / (2 * width)
    # sinh² γ/2 = sinh²(K₂ − K₁*) + sin²(πl/2w) sinh 2K₂ / sinh 2K₁, in logarithms
    bend = 2 * angle.sin().log() + _log_sinh(2 * columns) - _log_sinh(2 * rows)
    log_sinh = torch.logaddexp(2 * _log_sinh(gap.abs()), bend) / 2
    # arsinh of exp(log_sinh) without overflow: the larger of it and 1 is taken out of the root.
    above = log_sinh.clamp_min(0.0)
    root = torch.sqrt(torch.exp(2 * (log_sinh - above)) + torch.exp(-2 * above))
    half = above + torch.log(torch.exp(log_sinh - above) + root)  # γ/2 of all l
    sizes = height * half.reshape(width, 2)
    # Products of up to 2w factors exp(hγ/2) overflow from sides of some hundred: add logarithms.
    fading = torch.exp(-2 * sizes)
    cosh = (sizes + torch.log1p(fading)).sum(0)
    sinh = (sizes + torch.log1p(-fading)).sum(0)
    terms = torch.cat([cosh, sinh])
    signs = torch.stack([*terms.new_ones(2), torch.sign(gap), terms.new_ones(())])
    top = terms.amax()
    total = top + (signs * torch.exp(terms - top)).sum().log()
    return height * width / 2 * (_log_sinh(2 * rows) + math.log(2)) - math.log(2) + total


def _log_sinh(x: Tensor) -> Tensor:
    # sinh overflows at 710, which 2J/T reaches at low temperature.
    return x - math.log(2) + torch.log1p(-torch.exp(-2 * x))
