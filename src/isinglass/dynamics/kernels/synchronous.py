"""Synchronous dynamics: all units at once."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from torch import Generator, Tensor

from isinglass._support.typing import Float
from isinglass.core.energy import Energy
from isinglass.core.kernel import Kernel, descending_only, field_energy

__all__ = ["Synchronous", "SynchronousState"]


class SynchronousState(NamedTuple):
    """The state, and the one before it."""

    position: Tensor
    previous: Tensor


class Synchronous(Kernel[SynchronousState]):
    """All units at once, each to the state its field favors: may fall into 2-cycles.

    With a zeroed diagonal a parallel step can raise the energy. Symmetric couplings end in rest
    or in a cycle of two states and nowhere else: −s(t)·W s(t−1) never rises. A row that comes
    back to the state before its last says so in ``info["cycle"]``, and recall stops it there,
    not converged. Ties keep the current value.

    Reference: Little 1974, doi:10.1016/0025-5564(74)90031-5; Goles, Fogelman & Pellegrin 1985,
    doi:10.1016/0166-218X(85)90029-0.

    Examples:
        >>> import torch, isinglass as ig
        >>> memory = ig.ClassicalHopfield(torch.tensor([[1.0, 1.0, -1.0, -1.0]]))
        >>> memory.recall(torch.tensor([[-1.0, 1.0, -1.0, -1.0]]), kernel=Synchronous()).state
        tensor([[ 1.,  1., -1., -1.]])
        >>> found = ig.ClassicalHopfield(torch.tensor([[1.0, -1.0]])).recall(
        ...     torch.ones(2), kernel=Synchronous()
        ... )
        >>> print(found)
        0 of 1 converged, 1 in a 2-cycle, 2–2 steps, energy 1 on average, largest last change 2
    """

    converges: ClassVar[bool] = True

    def init(self, energy: Energy, state: Float[Tensor, "batch size"]) -> SynchronousState:
        """Starts as if the states had come from themselves."""
        return SynchronousState(state, state)

    def step(
        self,
        energy: Energy,
        kernel_state: SynchronousState,
        temperature: float = 0.0,
        generator: Generator | None = None,
    ) -> tuple[SynchronousState, dict[str, Tensor]]:
        """Updates all units in parallel, from the same fields.

        Raises:
            ParameterError: If the temperature is not zero.
            IntractableError: If the energy has no local fields.
        """
        descending_only(temperature)
        fields = field_energy(energy)
        state, previous = kernel_state
        new = fields.unit.argmax_state(fields.local_field(state), state)
        cycle = (new == previous).all(-1) & (new != state).any(-1)
        return SynchronousState(new, state), {"cycle": cycle}
