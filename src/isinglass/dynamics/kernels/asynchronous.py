"""Asynchronous dynamics by the sweep: every unit once, one after another, in blocks."""

from __future__ import annotations

from typing import ClassVar, NamedTuple, Protocol, cast, runtime_checkable

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Float
from isinglass._support.validation import check_generator
from isinglass.core.energy import Energy
from isinglass.core.kernel import FieldEnergy, Kernel, field_energy
from isinglass.errors import IntractableError
from isinglass.units.base import Draw

__all__ = ["Asynchronous", "CoupledEnergy", "FieldState"]

#: Units visited at once: their mutual couplings, 256 kB in float32, stay in the cache.
BLOCK = 256


class FieldState(NamedTuple):
    """The state and the local field on every unit."""

    position: Tensor
    field: Tensor


@runtime_checkable
class CoupledEnergy(FieldEnergy, Protocol):
    """An energy of units joined in pairs: a change of unit j moves the field on i by W_ij."""

    weight: Tensor  #: Symmetric, with a zero diagonal.


class Asynchronous(Kernel[FieldState]):
    """Visit every unit once, one after another: a sweep of Hopfield's rule, or of the heat bath.

    One step is a whole sweep, and ends where one unit at a time would: within a block of units

        s_i = draw(I_i + Σ_{j before i} W_ji (s_j − s_j⁰))

    is a triangular system, solved by iterating it on all units and rows at once. Its first k units
    are final after k rounds, and as few units change, a few rounds do. Then the rows of W of those
    that changed are added to all fields. At T > 0 unit i turns to +1 with probability σ(2I_i/T):
    the same system with logistic noise added to the fields. Ties keep the current value.

    :class:`SingleSite` passes through the same states one by one, unless a field ties within
    rounding.

    Reference: Hopfield 1982, doi:10.1073/pnas.79.8.2554; Glauber 1963, doi:10.1063/1.1703954.

    Args:
        generator: If given, every sweep visits the units in a fresh random order, the same for all
            rows; otherwise in the order of their numbers.

    Examples:
        >>> import isinglass as ig
        >>> patterns = torch.randn(5, 300, generator=torch.Generator().manual_seed(0)).sign()
        >>> cues = torch.cat([-patterns[:, :40], patterns[:, 40:]], -1)
        >>> found = ig.ClassicalHopfield(patterns).recall(cues, kernel=Asynchronous())
        >>> bool((found.state == patterns).all()), found.steps  # the second sweep changes nothing
        (True, tensor([2, 2, 2, 2, 2]))
    """

    leaves_invariant: ClassVar[bool] = True
    monotone: ClassVar[bool] = True
    converges: ClassVar[bool] = True

    def __init__(self, generator: Generator | None = None) -> None:
        check_generator(generator)
        self.generator = generator

    def init(self, energy: Energy, state: Float[Tensor, "batch size"]) -> FieldState:
        """Computes the fields once; later steps only correct them.

        Raises:
            IntractableError: If the energy is not one of spins or bits joined in pairs.
        """
        return FieldState(state, _pairwise(energy).local_field(state))

    def step(
        self,
        energy: Energy,
        kernel_state: FieldState,
        temperature: float = 0.0,
        generator: Generator | None = None,
    ) -> tuple[FieldState, dict[str, Tensor]]:
        """Takes one sweep; ``info["changed"]`` is how many units of each row it changed."""
        pairs = _pairwise(energy)
        start, field = kernel_state
        state, field, weight = start.clone(), field.clone(), pairs.weight
        for block in self._order(start).split(BLOCK):
            felt, before = field[:, block], start[:, block]
            draw = pairs.unit.with_count(len(block)).sampler(felt, temperature, generator)
            change = self._one_by_one(pairs, block, felt, before, draw) - before
            moved = change.any(0).nonzero()[:, 0]
            if len(moved):
                state[:, block] += change
                field.addmm_(change[:, moved], weight[block[moved]])
        return FieldState(state, field), {"changed": (state != start).sum(-1)}

    def _order(self, state: Tensor) -> Tensor:
        size, device = state.shape[-1], state.device
        if self.generator is None:
            return torch.arange(size, device=device)
        return torch.randperm(size, device=device, generator=self.generator)

    def _one_by_one(
        self, pairs: CoupledEnergy, block: Tensor, field: Tensor, before: Tensor, draw: Draw
    ) -> Tensor:
        """The states of a block's units after each in turn has settled."""
        now = draw(field, before)
        if torch.equal(now, before):
            return now
        if self.generator is None:  # a view: the block's numbers run on without a gap
            among = pairs.weight.narrow(0, int(block[0]), len(block))
            among = among.narrow(1, int(block[0]), len(block))
        else:
            among = pairs.weight[block[:, None], block]
        among = among.triu(1)  # what each does to those after it
        for _ in block:  # the first k units are final after k rounds
            after = draw(field + (now - before) @ among, before)
            if torch.equal(after, now):
                break
            now = after
        return now


def _pairwise(energy: Energy) -> CoupledEnergy:
    field_energy(energy)
    if not isinstance(energy, CoupledEnergy):
        raise IntractableError(
            f"{type(energy).__name__} is no energy of units joined in pairs by `weight`",
            "Use SingleSite, which needs local fields alone",
        )
    return cast("CoupledEnergy", energy)
