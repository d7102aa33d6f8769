"""Asynchronous dynamics: one unit of each row at a time."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Float
from isinglass._support.validation import check_generator
from isinglass.core.energy import Energy
from isinglass.core.kernel import Kernel, field_energy

__all__ = ["SingleSite", "SiteState"]


class SiteState(NamedTuple):
    """State, local fields, the order of visits, and how far each row has come in it."""

    position: Tensor
    field: Tensor
    order: Tensor
    cursor: Tensor


class SingleSite(Kernel[SiteState]):
    """Update one unit of each row: Hopfield's asynchronous rule at T = 0, heat bath above.

    At T = 0 a unit that its field does not move is passed over, so one step is one *changed*
    unit, and each row jumps to the next unit in its order that wants to change: the states
    passed through are those of a unit-by-unit sweep, without visiting the units in vain.
    A unit whose field is zero keeps its state. At T > 0 one step draws one unit.

    Reference: Hopfield 1982, doi:10.1073/pnas.79.8.2554; Glauber 1963, doi:10.1063/1.1703954.

    Args:
        generator: If given, each row visits the units in a random order of its own, drawn once
            at ``init``; otherwise in the order of their numbers.

    Examples:
        >>> import isinglass as ig
        >>> memory = ig.ClassicalHopfield(torch.tensor([[1.0, 1.0, -1.0, -1.0]]))
        >>> memory.recall(torch.tensor([[-1.0, 1.0, -1.0, -1.0]]), kernel=SingleSite()).state
        tensor([[ 1.,  1., -1., -1.]])
    """

    leaves_invariant: ClassVar[bool] = True
    monotone: ClassVar[bool] = True
    converges: ClassVar[bool] = True

    def __init__(self, generator: Generator | None = None) -> None:
        check_generator(generator)
        self.generator = generator

    def init(self, energy: Energy, state: Float[Tensor, "batch size"]) -> SiteState:
        """Computes the fields once; later steps only correct them.

        Raises:
            IntractableError: If the energy has no local fields.
        """
        field = field_energy(energy).local_field(state)
        if self.generator is None:
            order = torch.arange(state.shape[-1], device=state.device).expand(state.shape)
        else:
            order = torch.rand(state.shape, device=state.device, generator=self.generator).argsort(
                -1
            )
        cursor = torch.zeros(len(state), dtype=torch.int64, device=state.device)
        return SiteState(state, field, order, cursor)

    def step(
        self,
        energy: Energy,
        kernel_state: SiteState,
        temperature: float = 0.0,
        generator: Generator | None = None,
    ) -> tuple[SiteState, dict[str, Tensor]]:
        """Changes the next unit that wants to change (T = 0), or draws the next unit (T > 0)."""
        fields = field_energy(energy)
        state, field, order, cursor = kernel_state
        size = state.shape[-1]
        if temperature == 0:
            proposal = fields.unit.argmax_state(field, state)
            wants = (proposal != state).gather(-1, order)
            # The next place that wants to: from the cursor on, or else from the start; or none.
            ahead = wants & (torch.arange(size, device=state.device) >= cursor[:, None])
            first = torch.where(ahead.any(-1, keepdim=True), ahead, wants).byte().argmax(-1)
            cursor = torch.where(wants.any(-1), first, cursor)
            site = order.gather(-1, cursor[:, None])
            new = proposal.gather(-1, site)  # equals the old value where nothing wants to change
        else:
            site = order.gather(-1, cursor[:, None])
            new = fields.unit.with_count(1).sample(field.gather(-1, site), temperature, generator)
        change = new - state.gather(-1, site)
        state = state.scatter(-1, site, new)
        field = fields.moved_field(field, state, site[:, 0], change[:, 0])
        return SiteState(state, field, order, (cursor + 1) % size), {"site": site[:, 0]}

    def default_max_steps(self, size: int) -> int:
        """Returns a hundred changes for every unit."""
        return 100 * size
