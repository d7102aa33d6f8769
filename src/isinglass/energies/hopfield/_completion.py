"""Recall from a part of a cue: descent over its unknown cells, the known ones held."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple, cast

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Bool, Float
from isinglass.core.energy import Energy
from isinglass.core.kernel import Kernel, descending_only
from isinglass.retrieval.scores import everywhere

if TYPE_CHECKING:
    from isinglass.energies.hopfield.continuous import ContinuousHopfield

__all__ = ["HeldCCCP"]


class HeldState(NamedTuple):
    """The position, and which of its cells are held."""

    position: Tensor
    known: Tensor


class HeldCCCP(Kernel[HeldState]):
    r"""The concave–convex step over unknown cells, patterns compared by distance.

        E(ξ) = −Φ_μ(−½|x_μ − ξ|²),   ξ_unknown ← Σ_μ p_μ x_μ,   p = ∇Φ

    It is the memory's energy with ½|x_μ|² taken off each score, so that no pattern wins by its
    length; with patterns of one length they are the same but for a constant.

    Args:
        known: Which cells are held, as the cues, ``(batch, d)``.
    """

    monotone: ClassVar[bool] = True
    converges: ClassVar[bool] = True

    def __init__(self, known: Bool[Tensor, "batch d"]) -> None:
        self.known = known

    def init(self, energy: Energy, state: Float[Tensor, "batch size"]) -> HeldState:
        """Starts from the states as they are."""
        return HeldState(state, self.known)

    def step(
        self,
        energy: Energy,
        kernel_state: HeldState,
        temperature: float = 0.0,
        generator: Generator | None = None,
    ) -> tuple[HeldState, dict[str, Tensor]]:
        """Moves the unknown cells once.

        Raises:
            ParameterError: If the temperature is not zero.
        """
        descending_only(temperature)
        state, known = kernel_state
        memory = cast("ContinuousHopfield", energy)
        moved = memory.average(state, memory.patterns, everywhere(state))
        return HeldState(torch.where(known, state, moved), known), {}

    def energy(self, energy: Energy, state: Float[Tensor, "batch size"]) -> Float[Tensor, " batch"]:
        """Computes −Φ_μ(−½|x_μ − ξ|²)."""
        return cast("ContinuousHopfield", energy).energy_of_distance(state)
