"""Langevin dynamics: gradient descent with thermal noise, judged or not."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Generator, Tensor

from isinglass._support.validation import check_temperature
from isinglass.core.energy import Energy
from isinglass.dynamics.kernels._gradient import (
    GradientKernel,
    GradientState,
    choose,
    evaluate,
    normal_like,
)
from isinglass.dynamics.kernels.hmc import HMC

__all__ = ["MALA", "Langevin"]


@dataclass(frozen=True, eq=False)
class Langevin(GradientKernel):
    r"""The unadjusted Langevin step: s ← s − ½h² M⁻¹∇E + h √(T/M) ξ, ξ ~ N(0, 1).

    One gradient a step, and no step is rejected, so exp(−E/T) is met only up to an error of order
    h²: for U = ½|s|² the variance is T/(1 − h²/4). :class:`MALA` corrects it. A step to what is
    not finite or no state of the units is not taken. At T = 0 it is gradient descent with rate
    ½h².

    Reference: Roberts & Tweedie 1996, doi:10.2307/3318418; Parisi 1981,
    doi:10.1016/0550-3213(81)90056-0.

    Args:
        step_size: h > 0, in units of the state; None is 0.2.
        mass: M > 0, one number a unit; None is one.

    Raises:
        ParameterError: If the step size is not above zero, or a mass is not.

    Examples:
        >>> import torch, isinglass as ig
        >>> memory = ig.ModernHopfield(torch.eye(2), beta=8.0)
        >>> found = memory.recall(torch.tensor([0.9, 0.2]), kernel=Langevin())
        >>> found.converged, found.state.round(decimals=2)
        (tensor(True), tensor([1., 0.]))
    """

    converges: ClassVar[bool] = True

    def default_step_size(self, size: int) -> float:
        """Returns 0.2: a variance 1 % too large at unit curvature."""
        return 0.2

    def default_max_steps(self, size: int) -> int:
        """Returns ten thousand: a step is small."""
        return 10_000

    def step(
        self,
        energy: Energy,
        kernel_state: GradientState,
        temperature: float = 0.0,
        generator: Generator | None = None,
    ) -> tuple[GradientState, dict[str, Tensor]]:
        """Moves every row once; the info has ``accepted``, false where the row had to stay."""
        temperature = check_temperature(temperature)
        mass, size = self._mass(kernel_state.position), self._step_size(kernel_state.position)
        state = kernel_state.position - size**2 / 2 * kernel_state.grad / mass
        if temperature > 0:
            noise = normal_like(state, generator)
            state = state + size * math.sqrt(temperature) * noise / mass.sqrt()
        new = evaluate(energy, state)
        accepted = new.energy.isfinite() & new.grad.isfinite().all(-1)
        return choose(accepted, new, kernel_state), {"accepted": accepted}


@dataclass(frozen=True, eq=False)
class MALA(HMC):
    r"""The Metropolis-adjusted Langevin algorithm: a Langevin step, accepted or rejected.

        s' = s − ½h² M⁻¹∇E(s) + h √(T/M) ξ
        accept with probability min(1, exp(−ΔE/T) q(s | s')/q(s' | s))

    which leaves exp(−E/T) exactly as it is. It is :class:`HMC` of one leap, whose rule of
    acceptance is the same number. At T = 0 it is gradient descent with rate ½h² that takes no
    step uphill.

    Reference: Roberts & Tweedie 1996, doi:10.2307/3318418; Neal 2011, arXiv:1206.1901.

    Args:
        step_size: h > 0, in units of the state; None is 1.65 d^(−1/6), the best for d units of
            unit curvature. :meth:`warm_up` finds one.
        mass: M > 0, one number a unit; None is one.

    Raises:
        ParameterError: If the step size is not above zero, or a mass is not.

    Examples:
        >>> import torch, isinglass as ig
        >>> rbm = ig.RBM(ig.Gaussian(3), ig.Bernoulli(2)).marginal()
        >>> start, generator = torch.zeros(500, 3), torch.Generator().manual_seed(0)
        >>> ig.run(MALA(), rbm, start, steps=50, temperature=1.0, generator=generator).shape
        torch.Size([500, 3])
    """

    #: Roberts & Rosenthal 1998, doi:10.1111/1467-9868.00123.
    target: ClassVar[float] = 0.574

    leaps: int = field(default=1, init=False, repr=False)
    jitter: float = field(default=0.0, init=False, repr=False)

    def default_step_size(self, size: int) -> float:
        """Computes 1.65 d^(−1/6) (Roberts & Rosenthal 1998)."""
        return 1.65 * size ** (-1 / 6)
