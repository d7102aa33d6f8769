"""What kernels that follow the gradient share: where they can, and what they carry."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import KW_ONLY, dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from isinglass._support.random import source
from isinglass._support.typing import Bool, Float
from isinglass._support.validation import check_finite, check_positive, check_tensor, is_hollow
from isinglass.core.energy import Energy
from isinglass.core.kernel import Kernel
from isinglass.errors import IntractableError, ParameterError
from isinglass.units import Unit

__all__ = ["GradientKernel", "GradientState", "check_real"]

LINE = (-math.inf, math.inf)


class GradientState(NamedTuple):
    """State, energy and ∂E/∂s, so that none is computed twice."""

    position: Tensor
    energy: Tensor
    grad: Tensor


@dataclass(frozen=True, eq=False)
class GradientKernel(Kernel[GradientState]):
    """A kernel that moves real states along −∇E.

    Args:
        step_size: h > 0, in units of the state; None follows the number of units.
        mass: M > 0, one number a unit: where the state varies by σ_i, T/σ_i² is the best; None
            is one.

    Raises:
        ParameterError: If the step size is not above zero, or a mass is not.
    """

    step_size: float | None = None
    _: KW_ONLY
    mass: Float[Tensor, " size"] | None = None

    def __post_init__(self) -> None:
        if self.step_size is not None:
            check_positive("step_size", self.step_size)
        if self.mass is not None:
            check_tensor("a mass", self.mass)
            real = self.mass.ndim == 1 and not (self.mass.is_complex() or is_hollow(self.mass))
            if not real or not bool(((self.mass > 0) & self.mass.isfinite()).all()):
                raise ParameterError(f"mass = {self.mass}", "Give one number above 0 a unit")

    @abstractmethod
    def default_step_size(self, size: int) -> float:
        """Returns h for ``size`` units of unit curvature, U = ½|s|²."""

    def init(self, energy: Energy, state: Float[Tensor, "batch size"]) -> GradientState:
        """Computes the energy and its gradient once; later steps carry them along.

        Raises:
            IntractableError: If units of the energy are discrete.
            DomainError: If the state is not one of the energy's, or its energy is not finite.
            ParameterError: If there is not one mass a unit.
        """
        check_real(energy.layers)
        energy.check_state(state)
        if self.mass is not None and self.mass.shape != state.shape[-1:]:
            raise ParameterError(
                f"mass of shape {tuple(self.mass.shape)} for {state.shape[-1]} units",
                "Give one number a unit",
            )
        kernel_state = evaluate(energy, state)
        check_finite("the energy of the state", kernel_state.energy)
        return kernel_state

    def _step_size(self, state: Tensor) -> float:
        return self.step_size or self.default_step_size(state.shape[-1])

    def _mass(self, state: Tensor) -> Tensor:
        return state.new_ones(()) if self.mass is None else self.mass.to(state)


def check_real(layers: tuple[Unit, ...], *, whole_line: bool = False) -> None:
    """Refuses units that are discrete, or, where the whole line is asked for, bounded.

    Raises:
        IntractableError: If there is one.
    """
    wrong = [a for a in layers if a.support is None or (whole_line and a.support != LINE)]
    if wrong:
        raise IntractableError(
            f"{', '.join(map(str, wrong))} {'is' if len(wrong) == 1 else 'are'} not made of "
            + ("reals of any sign" if whole_line else "real numbers"),
            "Use BlockGibbs or SingleSite, or sum hidden units out: machine.marginal()",
        )


def evaluate(energy: Energy, state: Tensor) -> GradientState:
    """Computes E and ∂E/∂s; E of what is no state of bounded units is infinite."""
    value, slope = energy.energy_and_grad(state)
    if any(layer.support != LINE for layer in energy.layers):
        parts = state.split([layer.size for layer in energy.layers], -1)
        legal = [a.contains(part) for a, part in zip(energy.layers, parts, strict=True)]
        value = value.masked_fill(~torch.cat(legal, -1).all(-1), torch.inf)
    return GradientState(state, value, slope)


def choose(
    accepted: Bool[Tensor, " batch"], new: GradientState, old: GradientState
) -> GradientState:
    """Takes the new position in the rows where it is accepted."""
    rows = accepted.unsqueeze(-1)
    return GradientState(
        torch.where(rows, new.position, old.position),
        torch.where(accepted, new.energy, old.energy),
        torch.where(rows, new.grad, old.grad),
    )


def normal_like(state: Tensor, generator: Generator | None) -> Tensor:
    """Draws standard normal numbers, shaped, typed and placed like a state."""
    return torch.randn(state.shape, dtype=state.dtype, device=state.device, **source(generator))
