"""Pairs of two-state units, swept many runs at a time: what is fast about spin glasses."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, cast, runtime_checkable

import torch
from torch import Generator, Tensor
from torch.nn.functional import embedding_bag

from isinglass._support.coloring import color_greedily
from isinglass._support.random import source
from isinglass._support.typing import Float, Int
from isinglass.core.energy import Energy
from isinglass.core.kernel import FieldEnergy
from isinglass.dynamics._walkers import Walkers
from isinglass.dynamics.kernels.asynchronous import CoupledEnergy

__all__ = ["DenseSpins", "SparseSpins", "SpinPairs", "list_pairs", "spin_walkers"]

#: Spins drawn at once on a CPU: their fields stay in the cache, and no page is asked for anew.
AT_ONCE = 2**15
#: Spins of a block that are drawn in turn, at most.
BLOCK = 64
#: Classes of fewer spins than this on average are not worth their calls.
SMALLEST_CLASS = 8
#: Sweeps after which fields that are carried along are computed afresh.
REFRESH = 100
#: Sweeps at T = 0, which end far earlier.
MOST = 100_000


@runtime_checkable
class ListsPairs(Protocol):
    """Couplings that can list themselves."""

    def pairs(self) -> tuple[Tensor, Tensor]:
        """Lists pairs of components and their strengths."""
        ...


class SpinPairs(NamedTuple):
    """E = −Σ_k J_k σ_i σ_j − Σ_i h_i σ_i + constant, of spins σ = ±1 that stand for two states.

    Attributes:
        pairs: i and j of each coupling, ``(pairs, 2)``.
        strength: J of each, ``(pairs,)``.
        field: h of each spin, ``(size,)``.
        states: The lower and the upper state that −1 and +1 stand for.
        dtype: Of the energy's states; sums of halves are of float32.
    """

    pairs: Tensor
    strength: Tensor
    field: Tensor
    states: tuple[float, float]
    dtype: torch.dtype

    @classmethod
    def of(cls, energy: Energy) -> SpinPairs | None:
        """Returns the pairs of an energy; None if it is not one of two-state units in pairs.

        With s = m + dσ a coupling W_ij s_i s_j is d² W_ij σ_i σ_j, and d m W_ij of each field.
        """
        found = list_pairs(energy)
        if found is None:
            return None
        pairs, strength = found
        unit = cast("FieldEnergy", energy).unit
        states = unit.two_states or (0.0, 1.0)
        dtype = strength.dtype
        middle, half = (states[0] + states[1]) / 2, (states[1] - states[0]) / 2
        alone = cast("FieldEnergy", energy).local_field(strength.new_full((1, unit.size), middle))
        if strength.element_size() < 4:
            strength, alone = strength.float(), alone.float()
        return cls(pairs, half**2 * strength, half * alone[0].detach(), states, dtype)

    @property
    def size(self) -> int:
        """How many spins there are."""
        return len(self.field)

    def enter(self, states: Float[Tensor, "runs size"]) -> Float[Tensor, "size runs"]:
        """Returns states as spins, a run a column."""
        middle = sum(self.states) / 2
        one = torch.ones((), dtype=self.field.dtype, device=states.device)
        return torch.where(states.mT > middle, one, -one).contiguous()

    def leave(self, spins: Float[Tensor, "size runs"]) -> Float[Tensor, "runs size"]:
        """Returns spins as states of the energy, a run a row."""
        low, high = self.states
        return (low + (high - low) / 2 * (spins.mT + 1)).to(self.dtype).contiguous()

    def slack(self) -> Float[Tensor, "size 1"]:
        """Returns the field of each spin that is rounding: it flips nothing at T = 0."""
        total = self.field.abs()
        for end in (0, 1):
            total = total.index_add(0, self.pairs[:, end], self.strength.abs())
        return 4 * torch.finfo(total.dtype).eps * total[:, None]


def list_pairs(energy: Energy) -> tuple[Tensor, Tensor] | None:
    """Returns pairs of units and their strengths W_ij; None if they are not of two states each."""
    if not isinstance(energy, FieldEnergy) or not energy.unit.pointwise:
        return None
    if energy.unit.two_states is None:
        return None
    couplings = getattr(energy, "couplings", None)
    if isinstance(couplings, ListsPairs):
        pairs, strength = couplings.pairs()
    elif isinstance(energy, CoupledEnergy):
        upper = energy.weight.detach().triu(1)
        pairs = upper.nonzero()
        strength = upper[pairs[:, 0], pairs[:, 1]]
    else:
        return None
    return pairs, strength.to(next(energy.parameters(), strength).dtype)


def spin_walkers(energy: Energy, states: Float[Tensor, "runs size"]) -> Walkers | None:
    """Returns fast runs of an energy of two-state units in pairs; None of any other."""
    found = SpinPairs.of(energy)
    if found is None:
        return None
    most = found.size * (found.size - 1) / 2
    if len(found.pairs) > most / 2:
        return DenseSpins(found, states)
    near: list[list[int]] = [[] for _ in range(found.size)]
    for one, other in found.pairs.tolist():
        near[one].append(other)
        near[other].append(one)
    colors = color_greedily(near)
    if len(colors) * SMALLEST_CLASS > found.size > 2 * BLOCK:
        return DenseSpins(found, states)
    return SparseSpins(found, states, colors)


class _Rows(NamedTuple):
    """Spins drawn together: their numbers run from first to last, and whom they feel."""

    first: int
    last: int
    neighbors: Tensor
    offsets: Tensor
    strength: Tensor
    field: Tensor

    def feel(self, spins: Tensor) -> Tensor:
        """The fields on these spins, a run a column."""
        if not len(self.neighbors):
            return self.field.expand(-1, spins.shape[-1]).clone()
        felt = embedding_bag(
            self.neighbors, spins, self.offsets, mode="sum", per_sample_weights=self.strength
        )
        return felt.add_(self.field)


class SparseSpins(Walkers):
    """Runs of spins with few neighbors each: colors of the graph are drawn one after another.

    Spins are numbered by color, and a run is a column, so that what a spin feels is a sum of
    whole rows.

    Args:
        pairs: What is moved.
        states: Where runs begin.
        colors: Classes of spins that do not touch.
    """

    def __init__(
        self, pairs: SpinPairs, states: Float[Tensor, "runs size"], colors: list[list[int]]
    ) -> None:
        device = states.device
        self._order = torch.tensor([spin for color in colors for spin in color], device=device)
        self._pairs, self._spins = pairs, pairs.enter(states)[self._order].contiguous()
        self._one = self._spins.new_ones(())
        self._slack = pairs.slack()[self._order]
        self._rows = self._numbered([len(color) for color in colors], len(states))

    def _numbered(self, colors: list[int], runs: int) -> list[_Rows]:
        """Neighbors in the numbers by color, cut into parts that are drawn at once."""
        pairs, device = self._pairs, self._order.device
        place = torch.empty_like(self._order)
        place[self._order] = torch.arange(pairs.size, device=device)
        ends = place[pairs.pairs]
        ends = torch.cat([ends, ends.flip(-1)])
        ends, order = ends[ends[:, 0].argsort(stable=True)], ends[:, 0].argsort(stable=True)
        strength = pairs.strength.repeat(2)[order]
        bounds = torch.zeros(pairs.size + 1, dtype=torch.int64, device=device)
        bounds[1:] = torch.bincount(ends[:, 0], minlength=pairs.size).cumsum(0)
        field = pairs.field[self._order][:, None]
        step = max(1, AT_ONCE // runs) if device.type == "cpu" else pairs.size
        found, start = [], 0
        for count in colors:
            for first in range(start, start + count, step):
                last = min(first + step, start + count)
                low, high = int(bounds[first]), int(bounds[last])
                found.append(
                    _Rows(
                        first, last, ends[low:high, 1].contiguous(), bounds[first:last] - low,
                        strength[low:high], field[first:last],
                    )
                )  # fmt: skip
            start += count
        return found

    def sweep(self, temperature: Float[Tensor, " runs"], generator: Generator | None) -> None:
        """Draws spin i as +1 with probability 1/(1 + exp(−2f_i/T)), color by color."""
        scale = 2 / temperature.to(self._spins)
        for rows in self._rows:
            up = rows.feel(self._spins).mul_(scale).sigmoid_()
            up.sub_(_uniform(up, generator))
            torch.copysign(self._one, up, out=self._spins[rows.first : rows.last])

    def energy(self) -> Float[Tensor, " runs"]:
        """Computes −½ Σ σ_i (f_i + h_i)."""
        total = self._spins.new_zeros(self._spins.shape[-1])
        for rows in self._rows:
            felt = rows.feel(self._spins).add_(rows.field)
            total -= felt.mul_(self._spins[rows.first : rows.last]).sum(0) / 2
        return total

    def select(self, runs: Int[Tensor, " runs"]) -> None:
        """Picks columns of the spins."""
        self._spins = self._spins[:, runs]

    def states(self, runs: Int[Tensor, " some"] | None = None) -> Float[Tensor, "some size"]:
        """Returns the spins in the order of the energy's units."""
        some = self._spins if runs is None else self._spins[:, runs]
        spins = torch.empty_like(some)
        spins[self._order] = some
        return self._pairs.leave(spins)

    def descend(self) -> None:
        """Turns spins against their fields over, color by color, until there are none."""
        for _ in range(MOST):
            before = self._spins.clone()
            for rows in self._rows:
                here = self._spins[rows.first : rows.last]
                wrong = rows.feel(self._spins) * here < -self._slack[rows.first : rows.last]
                here[wrong] *= -1
            if torch.equal(before, self._spins):
                return

    def costs(self, generator: Generator | None) -> Float[Tensor, " changes"]:
        """Computes 2 σ_i f_i of all."""
        felt = [2 * rows.feel(self._spins) * self._spins[rows.first : rows.last]
                for rows in self._rows]  # fmt: skip
        return torch.cat(felt).flatten()


class DenseSpins(Walkers):
    """Runs of spins that touch nearly all others: drawn in turn, block by block.

    Fields are carried along. With the noise drawn beforehand each spin of a block is a function
    of those before it, a triangular system, which rounds on the whole block solve: the first k
    spins are final after k rounds, and mostly all of them after a few.

    Args:
        pairs: What is moved.
        states: Where runs begin.
    """

    def __init__(self, pairs: SpinPairs, states: Float[Tensor, "runs size"]) -> None:
        size = pairs.size
        upper = pairs.strength.new_zeros(size, size)
        upper.index_put_(pairs.pairs.unbind(-1), pairs.strength, accumulate=True)
        self._couplings = upper + upper.mT
        self._pairs, self._spins = pairs, pairs.enter(states)
        self._one, self._slack = self._spins.new_ones(()), pairs.slack()
        ends = [(first, min(first + BLOCK, size)) for first in range(0, size, BLOCK)]
        #: First and last of each block, and what each of its spins feels from those before it.
        self._blocks = [(a, b, self._couplings[a:b, a:b].tril(-1)) for a, b in ends]
        self._swept, self._field = 0, self._feel()

    def _feel(self) -> Tensor:
        return torch.addmm(self._pairs.field[:, None], self._couplings, self._spins)

    def sweep(self, temperature: Float[Tensor, " runs"], generator: Generator | None) -> None:
        """Draws spin i as +1 if f_i + T/2 times logistic noise is above zero."""
        self._swept += 1
        if self._swept % REFRESH == 0:
            self._field = self._feel()
        half = temperature.to(self._spins) / 2
        for block in self._blocks:
            first, last, _ = block
            noise = torch.logit(_uniform(self._spins[first:last], generator)).mul_(half)
            noise += self._field[first:last]
            self._settle(block, noise, lambda felt, _: torch.copysign(self._one, felt))

    def _settle(
        self,
        block: tuple[int, int, Tensor],
        felt: Tensor,
        draw: Callable[[Tensor, Tensor], Tensor],
    ) -> bool:
        """Draws a block in turn and moves all fields; tells whether a spin of it changed."""
        first, last, among = block
        before = self._spins[first:last].clone()
        now = draw(felt, before)
        for _ in range(last - first):
            after = draw(torch.addmm(felt, among, now - before), before)
            if torch.equal(after, now):
                break
            now = after
        change = now - before
        if not bool(change.any()):
            return False
        self._spins[first:last] = now
        self._field.addmm_(self._couplings[:, first:last], change)
        return True

    def energy(self) -> Float[Tensor, " runs"]:
        """Computes −½ Σ σ_i (f_i + h_i)."""
        return -((self._field + self._pairs.field[:, None]) * self._spins).sum(0) / 2

    def select(self, runs: Int[Tensor, " runs"]) -> None:
        """Picks columns, of fields as well."""
        self._spins, self._field = self._spins[:, runs], self._field[:, runs]

    def states(self, runs: Int[Tensor, " some"] | None = None) -> Float[Tensor, "some size"]:
        """Returns the spins as states of the energy."""
        return self._pairs.leave(self._spins if runs is None else self._spins[:, runs])

    def descend(self) -> None:
        """Turns spins against their fields over, one after another, until there are none."""
        self._field = self._feel()
        for _ in range(MOST):
            moved = False
            for block in self._blocks:
                first, last, _ = block
                slack = self._slack[first:last]

                def draw(felt: Tensor, before: Tensor, slack: Tensor = slack) -> Tensor:
                    return torch.where(felt * before < -slack, -before, before)

                moved |= self._settle(block, self._field[first:last].clone(), draw)
            if not moved:
                return

    def costs(self, generator: Generator | None) -> Float[Tensor, " changes"]:
        """Computes 2 σ_i f_i of all."""
        return (2 * self._field * self._spins).flatten()


def _uniform(like: Tensor, generator: Generator | None) -> Tensor:
    """Uniform numbers between 0 and 1, never 0; those of a CPU in float32 from whole numbers.

    The stream of whole numbers is several times faster than that of floats, and as fine: both
    have 24 bits.
    """
    if like.dtype != torch.float32 or like.device.type != "cpu":
        eps = torch.finfo(like.dtype).eps
        drawn = torch.rand(like.shape, dtype=like.dtype, device=like.device, **source(generator))
        return drawn.clamp_(eps / 2, 1 - eps / 2)
    words = torch.empty(like.numel() // 2 + 1, dtype=torch.int64)
    words.random_(-(2**63), None, generator=generator)
    drawn = words.view(torch.int32)[: like.numel()].view(like.shape).float()
    return drawn.mul_(2.0**-32).add_(0.5 + 2.0**-25).clamp_(max=1 - 2.0**-24)
