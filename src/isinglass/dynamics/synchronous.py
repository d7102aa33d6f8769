"""Synchronous dynamics: all units at once."""

from __future__ import annotations

from typing import ClassVar

from torch import Generator, Tensor

from isinglass.dynamics.kernel import Memoryless, descending_only, field_energy
from isinglass.energy import Energy

__all__ = ["Synchronous"]


class Synchronous(Memoryless):
    """All units at once, each to the state its field favours: may fall into 2-cycles.

    With a zeroed diagonal a parallel step can raise the energy, so no promise is made; ties
    keep the current value.

    Reference: Little 1974, doi:10.1016/0025-5564(74)90031-5.

    Examples:
        >>> import torch, isinglass as ig
        >>> memory = ig.ClassicalHopfield(torch.tensor([[1.0, 1.0, -1.0, -1.0]]))
        >>> memory.recall(torch.tensor([[-1.0, 1.0, -1.0, -1.0]]), kernel=Synchronous()).state
        tensor([[ 1.,  1., -1., -1.]])
    """

    rests: ClassVar[bool] = True

    def move(
        self, energy: Energy, state: Tensor, temperature: float, generator: Generator | None
    ) -> Tensor:
        """One parallel step.

        Raises:
            ParameterError: If the temperature is not zero.
            IntractableError: If the energy has no local fields.
        """
        descending_only(self, temperature)
        fields = field_energy("Synchronous.step", energy)
        return fields.unit.settle(fields.local_field(state), state)
