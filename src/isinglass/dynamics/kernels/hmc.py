"""Hamiltonian Monte Carlo: states that roll on the energy, kicked anew each time."""

from __future__ import annotations

import math
import warnings
from dataclasses import KW_ONLY, dataclass, replace
from typing import ClassVar, TypeVar

import torch
from torch import Generator, Tensor

from isinglass._support.random import source
from isinglass._support.typing import Float
from isinglass._support.validation import (
    check_count,
    check_fraction,
    check_positive,
    check_temperature,
)
from isinglass.core.energy import Energy
from isinglass.core.kernel import SamplingWarning
from isinglass.dynamics.kernels._gradient import (
    GradientKernel,
    GradientState,
    choose,
    evaluate,
    normal_like,
)
from isinglass.errors import ParameterError

__all__ = ["HMC"]

Tuned = TypeVar("Tuned", bound="HMC")
PATIENCE = 5  # rejections, more than acceptances, before a row shrinks its step in warm-up
ENOUGH = 20  # steps of warm-up after which a chain that never moved is reported
PILOTS = 4  # runs whose variance sets the mass of the next: each sees further than the one before


@dataclass(frozen=True, eq=False)
class HMC(GradientKernel):
    r"""Hamiltonian Monte Carlo, at any temperature: roll L leaps from a random kick p, then judge.

        p ~ N(0, T·M);   L times:  p ← p − ½h∇E,  s ← s + h M⁻¹p,  p ← p − ½h∇E
        accept with probability min(1, exp(−ΔH/T)),   H = E(s) + ½ pᵀM⁻¹p

    exp(−E/T) is left exactly as it is, whatever the step size h; too large a one is rejected
    often. The best h does not depend on T. A roll that leaves the domain of bounded units, or
    overflows, is rejected. At T = 0 the state rolls from rest, and stays where it was if it would
    end higher, so that E never rises.

    Reference: Neal 2011, arXiv:1206.1901; Duane et al. 1987, doi:10.1016/0370-2693(87)91197-X.

    Args:
        step_size: h > 0, in units of the state; None is 1.2 d^(−1/4), about right for d units
            of unit curvature, U = ½|s|². :meth:`warm_up` finds one.
        leaps: L, leapfrog steps; each costs one gradient.
        jitter: Each row's h is drawn within this fraction of it, at T > 0, so that no period of
            the roll repeats itself for ever.
        mass: M > 0, one number a unit; None is one.

    Raises:
        ParameterError: If a number is out of range.

    Examples:
        >>> import isinglass as ig
        >>> rbm = ig.RBM(ig.Gaussian(3), ig.Bernoulli(2)).marginal()
        >>> generator = torch.Generator().manual_seed(0)
        >>> kernel = HMC()
        >>> kernel_state = kernel.init(rbm, torch.zeros(100, 3))
        >>> kernel_state, info = kernel.step(rbm, kernel_state, 1.0, generator)
        >>> bool(info["acceptance"].mean() > 0.7)
        True
    """

    leaves_invariant: ClassVar[bool] = True
    monotone: ClassVar[bool] = True
    #: The mean acceptance that :meth:`warm_up` aims at (Hoffman & Gelman 2014).
    target: ClassVar[float] = 0.8

    _: KW_ONLY
    leaps: int = 5
    jitter: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("leaps", self.leaps)
        check_fraction("jitter", self.jitter)

    def default_step_size(self, size: int) -> float:
        """Computes 1.2 d^(−1/4) (Beskos et al. 2013, arXiv:1001.4460)."""
        return 1.2 * size**-0.25

    def step(
        self,
        energy: Energy,
        kernel_state: GradientState,
        temperature: float = 0.0,
        generator: Generator | None = None,
    ) -> tuple[GradientState, dict[str, Tensor]]:
        """Kicks, rolls, accepts or rejects, each row by itself.

        The info has ``acceptance``, the probability of it, and ``accepted``.
        """
        temperature = check_temperature(temperature)
        size = self._sizes(kernel_state.position, temperature, generator)
        return self._move(energy, kernel_state, temperature, generator, size)

    def _move(
        self,
        energy: Energy,
        kernel_state: GradientState,
        temperature: float,
        generator: Generator | None,
        size: Tensor | float,
    ) -> tuple[GradientState, dict[str, Tensor]]:
        """Takes a step with the step size of each row given."""
        mass = self._mass(kernel_state.position)
        kick = torch.zeros_like(kernel_state.position)
        if temperature > 0:
            kick = (temperature * mass).sqrt() * normal_like(kick, generator)
        end, momentum = self._roll(energy, kernel_state, kick, size, mass)
        kinetic = (momentum.square() - kick.square()).div(mass).sum(-1) / 2
        rise = end.energy - kernel_state.energy + kinetic
        if temperature > 0:
            acceptance = (-rise / temperature).clamp_max(0.0).exp()
        else:
            acceptance = (end.energy <= kernel_state.energy).to(rise.dtype)
        acceptance = acceptance.where(rise.isfinite(), 0.0)
        drawn = torch.rand(rise.shape, dtype=rise.dtype, device=rise.device, **source(generator))
        accepted = drawn < acceptance
        info = {"acceptance": acceptance, "accepted": accepted}
        return choose(accepted, end, kernel_state), info

    def _sizes(
        self, state: Tensor, temperature: float, generator: Generator | None
    ) -> Tensor | float:
        """h of every row."""
        size = self._step_size(state)
        if self.jitter == 0 or temperature == 0:
            return size
        uniform = torch.rand(
            len(state), 1, dtype=state.dtype, device=state.device, **source(generator)
        )
        return size * (1 + self.jitter * (2 * uniform - 1))

    def _roll(
        self,
        energy: Energy,
        kernel_state: GradientState,
        momentum: Tensor,
        size: Tensor | float,
        mass: Tensor,
    ) -> tuple[GradientState, Tensor]:
        """The leapfrog rule, L times."""
        for _ in range(self.leaps):
            momentum = momentum - size / 2 * kernel_state.grad
            kernel_state = evaluate(energy, kernel_state.position + size * momentum / mass)
            momentum = momentum - size / 2 * kernel_state.grad
        return kernel_state, momentum

    @torch.no_grad()
    def warm_up(
        self: Tuned,
        energy: Energy,
        state: Float[Tensor, "*batch size"],
        temperature: float,
        generator: Generator | None = None,
        *,
        steps: int = 300,
        target: float | None = None,
        adapt_mass: bool = False,
    ) -> tuple[Tuned, Tensor]:
        """Runs the chains while tuning the step size; returns the kernel and where they are.

        Dual averaging on log h, while the chains run on; all rows share one h. With
        ``adapt_mass`` most of the run is four pilots, and the variance σ² in the later half of
        each, over all rows, sets M = T/σ² for the next. Sample with the kernel that comes back,
        from the position that comes back: a kernel that goes on adapting is not exact, and one
        tuned for where the chains are may never move from where they began.

        Reference: Hoffman & Gelman 2014, arXiv:1111.4246.

        Args:
            energy: What to sample.
            state: Where chains start, ``(*batch, size)``; the more, the surer the estimate.
            temperature: T > 0.
            generator: Source of randomness; None is torch's global one.
            steps: How many steps to adapt for.
            target: Mean acceptance to aim at; None is the kernel's own, 0.8 or MALA's 0.574.
            adapt_mass: Whether M follows the variance of each unit.

        Warns:
            SamplingWarning: If some chains never moved.

        Raises:
            ParameterError: If a number is out of range.
            IsinglassError: As :meth:`init` does.

        Examples:
            >>> import isinglass as ig
            >>> narrow = ig.HopfieldBoltzmann(ig.Gaussian(2), 3, beta=100.0).marginal()
            >>> generator = torch.Generator().manual_seed(0)
            >>> start = torch.full((50, 2), 9.0)
            >>> kernel, state = HMC(10.0).warm_up(narrow, start, 0.01, generator, steps=50)
            >>> kernel.step_size < 2, state.shape
            (True, torch.Size([50, 2]))
        """
        check_positive("temperature", temperature)
        check_count("steps", steps, least=2)
        if target is not None and not 0 < target < 1:
            raise ParameterError(f"target = {target}", "Give a rate between 0 and 1")
        aim = self.target if target is None else target
        kernel_state = self.init(energy, state.reshape(-1, state.shape[-1]))
        kernel = self
        pilots = min(PILOTS, steps - 1) if adapt_mass else 0
        steps //= pilots + 1
        for _ in range(pilots):
            _, kernel_state, variance = kernel._adapt(
                energy, kernel_state, temperature, generator, steps, aim
            )
            kernel = replace(kernel, mass=temperature / variance, step_size=None)
        before = kernel_state.position
        kernel, kernel_state, _ = kernel._adapt(
            energy, kernel_state, temperature, generator, steps, aim
        )
        stuck = int((kernel_state.position == before).all(-1).sum())
        if stuck and steps >= ENOUGH:
            warnings.warn(
                f"{type(self).__name__}.warm_up: {stuck} of {len(before)} chains never moved in "
                f"{steps} steps: the energy is steeper there than where the others are. Start them "
                "nearer, or give more steps", SamplingWarning, stacklevel=2,
            )  # fmt: skip
        return kernel, kernel_state.position.reshape(state.shape)

    def _adapt(
        self: Tuned,
        energy: Energy,
        kernel_state: GradientState,
        temperature: float,
        generator: Generator | None,
        steps: int,
        aim: float,
    ) -> tuple[Tuned, GradientState, Tensor]:
        """The kernel after dual averaging, where the chains are, their variance in the later half.

        With the constants of Hoffman & Gelman, γ = 0.05, t₀ = 10, κ = 0.75.
        """
        start = self._step_size(kernel_state.position)
        lacking, average, log_size = 0.0, math.log(start), math.log(start)
        seen, total, squares = 0, 0.0, 0.0
        origin = kernel_state.position.mean(0)  # near it, squares cancel the least
        # Far out, where the energy is steep, a row that is rejected again and again shrinks its own
        # step until it gets away.
        rejected = torch.zeros_like(kernel_state.energy)
        for time in range(1, steps + 1):
            kernel = replace(self, step_size=math.exp(log_size))
            shrink = 0.7 ** (rejected - PATIENCE).clamp_min(0)
            size = shrink.unsqueeze(-1) * kernel._sizes(
                kernel_state.position, temperature, generator
            )
            kernel_state, info = kernel._move(energy, kernel_state, temperature, generator, size)
            # The few that shrink do not count; where they are the most, h itself is too large.
            rate, whole = info["acceptance"], shrink == 1
            few = bool(whole.double().mean() >= 0.5)
            lacking += aim - float(rate[whole].mean() if few else (rate * whole).mean())
            rejected = torch.where(info["accepted"], rejected - 2, rejected + 1).clamp_min(0)
            log_size = math.log(10 * start) - math.sqrt(time) / 0.05 * lacking / (time + 10)
            log_size = min(max(log_size, -30.0), 30.0)
            weight = time**-0.75
            average = weight * log_size + (1 - weight) * average
            if 2 * time > steps:
                shifted = kernel_state.position - origin
                seen += len(shifted)
                total, squares = total + shifted.sum(0), squares + shifted.square().sum(0)
        variance = torch.as_tensor(squares / seen - (total / seen) ** 2)
        least = max(1e-8 * float(variance.max()), torch.finfo(variance.dtype).tiny)
        variance = variance.clamp_min(least)  # of what stood still
        return replace(self, step_size=math.exp(average)), kernel_state, variance
