"""Grids of units joined to their nearest neighbors: Ising and Potts models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.utils.checkpoint import checkpoint

from isinglass._support.registry import name_of
from isinglass._support.typing import Bool, Float, Int
from isinglass._support.validation import check_count, check_finite, check_tensor
from isinglass.energies.pairwise._checkerboard import Checkerboard
from isinglass.energies.pairwise._ising_torus import ising_log_partition
from isinglass.energies.pairwise.couplings import Couplings
from isinglass.errors import IntractableError, ParameterError, ShapeError
from isinglass.units import Unit

__all__ = ["GridCouplings"]

#: States of a layer, at most: where sums are carried from each of them around, or once through.
AROUND, THROUGH = 2**12, 2**20
#: Numbers held at once.
AT_ONCE = 2**22


class GridCouplings(Couplings):
    r"""Nearest neighbors of a grid, open or closed to a torus: no matrix, only shifts.

        (Ws)_x = Σ_axes J_a(x) s_{x+a} + J_a(x−a) s_{x−a}

    A side of two units has two bonds between them when periodic; a side of one has none.

    Args:
        shape: The sides: ``(height, width)``, or more or fewer of them.
        coupling: J: one number, one for each axis (the first is that of vertical bonds), or one
            for each bond, ``(axes, *shape)``, from the unit at that place to the next one along
            the axis. Learned, one for each axis or bond.
        per_bond: Whether numbers given for axes are only where each bond starts from.
        periodic: Whether the last unit of a line is joined to its first.
        components: How many components the state of each unit has; like components are joined.

    Raises:
        ParameterError: If a side is no whole number above zero.
        ShapeError: If the couplings have another shape.
        DomainError: If one is not finite.

    Examples:
        >>> ring = GridCouplings((4,), 1.0)
        >>> ring(torch.tensor([1.0, 1.0, 1.0, -1.0])).detach()
        tensor([0., 2., 0., 2.])
    """

    def __init__(
        self,
        shape: Sequence[int],
        coupling: float | Sequence[float] | Tensor = 1.0,
        *,
        per_bond: bool = False,
        periodic: bool = True,
        components: int = 1,
    ) -> None:
        self.shape = tuple(check_count("side", side) for side in shape)
        super().__init__(math.prod(self.shape), components)
        self.width = components
        self.periodic = bool(periodic)
        if not isinstance(coupling, Tensor):
            try:
                coupling = torch.tensor(coupling, dtype=torch.get_default_dtype())
            except (TypeError, ValueError, RuntimeError) as error:
                raise ParameterError(
                    f"coupling = {str(coupling)[:60]}", "Give a number, or a tensor of them"
                ) from error
        check_tensor("the couplings", coupling)
        check_finite("the couplings", coupling)
        axes = len(self.shape)
        if coupling.shape not in {(), (axes,), (axes, *self.shape)}:
            raise ShapeError(
                f"couplings of shape {tuple(coupling.shape)} for a grid of {self.shape}",
                f"Give one number, {axes} of them, or a tensor of shape {(axes, *self.shape)}",
            )
        if coupling.ndim < 2:
            coupling = coupling.expand(axes)
            if per_bond:
                coupling = coupling.reshape(axes, *[1] * axes).expand(axes, *self.shape)
        self.coupling = nn.Parameter(coupling.detach().clone())

    def forward(self, state: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch size"]:
        """Computes what each unit feels from the neighbors on both sides, along every axis."""
        grid = state.unflatten(-1, (*self.shape, self.width))
        felt = torch.zeros_like(grid)
        for axis, bonds in enumerate(self.bonds()):
            along = axis - len(self.shape) - 1
            if self.shape[axis] > 1:
                strength = bonds.unsqueeze(-1)
                felt = felt + strength * grid.roll(-1, along) + (strength * grid).roll(1, along)
        return felt.flatten(-len(self.shape) - 1)

    def bonds(self) -> Float[Tensor, "axes *shape"]:
        """Returns J of every bond, from the unit there to the next; zero past an open edge."""
        every = self.coupling
        if every.ndim == 1:
            every = every.reshape(-1, *[1] * len(self.shape)).expand(-1, *self.shape)
        return every if self.periodic else every * self._inside().to(every)

    def _inside(self) -> Bool[Tensor, "axes *shape"]:
        """Which bonds do not lead past the edge."""
        inside = torch.ones(len(self.shape), *self.shape, dtype=torch.bool)
        for axis in range(len(self.shape)):
            inside[axis].select(axis, -1).fill_(False)
        return inside

    def neighbors(self) -> list[list[int]]:
        """Returns the units that are a step away along an axis."""
        numbers = torch.arange(self.units).reshape(self.shape)
        near: list[set[int]] = [set() for _ in range(self.units)]
        for axis, inside in enumerate(self._inside() | self.periodic):
            ends = torch.stack([numbers, numbers.roll(-1, axis)], -1)[inside]
            for one, other in ends.tolist() if self.shape[axis] > 1 else []:
                near[one].add(other)
                near[other].add(one)
        return [sorted(row) for row in near]

    def pairs(self) -> tuple[Int[Tensor, "pairs 2"], Float[Tensor, " pairs"]]:
        """Lists the bonds, component by component; of a torus two units apart have two."""
        numbers = torch.arange(self.units, device=self.coupling.device).reshape(self.shape)
        inside = torch.arange(self.width, device=numbers.device)
        joined, strengths = [], []
        bonds = self.bonds().detach()
        for axis, there in enumerate((self._inside() | self.periodic).to(numbers.device)):
            if self.shape[axis] > 1:
                ends = torch.stack([numbers, numbers.roll(-1, axis)], -1)[there] * self.width
                joined.append((ends[:, None] + inside[:, None]).flatten(0, 1))
                strengths.append(bonds[axis][there].repeat_interleave(self.width))
        if not joined:
            return numbers.new_zeros(0, 2), bonds.new_zeros(0)
        return torch.cat(joined), torch.cat(strengths)

    def colors(self) -> list[Int[Tensor, " units"]]:
        """Colors each place by the sum of its coordinates: two colors, three on odd rings."""
        rings = [self.periodic and side > 1 and side % 2 == 1 for side in self.shape]
        many = 3 if any(rings) else 2
        total = torch.zeros(self.shape, dtype=torch.int64)
        for axis, (side, odd) in enumerate(zip(self.shape, rings, strict=True)):
            line = torch.arange(side) % 2
            if odd:
                line[-1] = 2  # neither the color of the one before nor of the first
            total += line.reshape(-1, *[1] * (len(self.shape) - axis - 1))
        total = (total % many).flatten()
        classes = [(total == color).nonzero()[:, 0] for color in range(many)]
        return [units for units in classes if len(units)]

    def sweep(
        self,
        state: Float[Tensor, "batch size"],
        unit: Unit,
        bias: Float[Tensor, "*rows size"],
        temperature: float,
        generator: Generator | None = None,
        *,
        scale: float | Float[Tensor, "batch 1"] = 1.0,
        held: Bool[Tensor, "batch size"] | None = None,
        sweeps: int = 1,
        backward: bool = False,
    ) -> Float[Tensor, "batch size"]:
        """Draws as every coupling does; an even torus of equal bonds and fields in bytes."""
        if (
            not backward
            and held is None
            and temperature > 0
            and not isinstance(scale, Tensor)
            and (states := unit.two_states) is not None
            and bias.stride(-1) == 0
            and (coupling := self._common()) is not None
        ):
            board = Checkerboard(
                self.shape, states, scale * coupling, float(bias[..., 0]), temperature, state.device
            )
            halves = board.pack(state)
            for _ in range(sweeps):
                halves = board.sweep(halves, generator)
            return board.unpack(halves, state.dtype)
        return super().sweep(
            state, unit, bias, temperature, generator,
            scale=scale, held=held, sweeps=sweeps, backward=backward,
        )  # fmt: skip

    def _common(self) -> float | None:
        """J of every bond, on a torus of even sides where all are the same."""
        if not self.periodic or any(side % 2 for side in self.shape) or self.coupling.ndim > 1:
            return None
        first, *others = self.coupling.tolist()
        return first if all(other == first for other in others) else None

    def log_partition(
        self, unit: Unit, bias: Float[Tensor, " size"], temperature: float
    ) -> Float[Tensor, ""]:
        """Computes log Z in float64: Kaufman's formula, or transfer matrices; differentiable.

        The formula is for a torus of spins without field. Else layers across the longest side are
        summed out one after another; what a layer does to the next is a product over its units,
        so that it is never a matrix. For gradients layers are computed
        again, so that no product is kept.

        Reference: Kaufman 1949, doi:10.1103/PhysRev.76.1232; Kramers & Wannier 1941,
        doi:10.1103/PhysRev.60.252.

        Raises:
            IntractableError: If the layers across have too many states, over 2^12 on a torus and
                over 2^20 on an open grid.
        """
        if (closed := self._closed_form(unit, bias, temperature)) is not None:
            return closed
        if len(unit.parts) > 1:  # no state of one unit is that of all
            return super().log_partition(unit, bias, temperature)
        one = unit.with_count(1)
        kinds = one.enumerate_states(temperature)
        axis = max(range(len(self.shape)), key=lambda axis: self.shape[axis])
        width = self.units // self.shape[axis]
        most = AROUND if self.periodic and self.shape[axis] > 1 else THROUGH
        if len(kinds) ** width > most:
            raise IntractableError(
                f"layers of {len(kinds)}^{width} states across the longest side",
                "Estimate it: log_partition(energy, method='ais')",
            )
        bonds = self.bonds().double().cpu().movedim(axis + 1, 1) / temperature
        bonds = bonds.reshape(*bonds.shape[:2], -1)
        fields = bias.double().cpu().reshape(*self.shape, -1).movedim(axis, 0) / temperature
        fields = fields.reshape(len(fields), -1, one.size) @ kinds.mT
        fields = fields - one.base_measure_energy(kinds, temperature) / temperature
        across = self.shape[:axis] + self.shape[axis + 1 :]
        inside = torch.cat([bonds[:axis], bonds[axis + 1 :]]).movedim(1, 0)
        agreement = kinds @ kinds.mT
        layers = [
            _layer(across, pairs, field, agreement)
            for pairs, field in zip(inside, fields, strict=True)
        ]
        steps = bonds[axis, :, :, None, None] * agreement
        if self.periodic and len(layers) > 1:
            return _around(layers, steps)
        return torch.logsumexp(_through(layers[0][None], layers[1:], steps[:-1]), -1)[0]

    def _closed_form(self, unit: Unit, bias: Tensor, temperature: float) -> Tensor | None:
        """log Z of a torus of spins without field; turning every other line is turning J."""
        if len(self.shape) != 2 or not self.periodic or self.coupling.ndim > 1:
            return None
        strengths = (self.coupling.double().cpu() / temperature).unbind()
        fits = [
            bool(k > 0) or (bool(k < 0) and side % 2 == 0)
            for k, side in zip(strengths, self.shape, strict=True)
        ]
        if (
            min(self.shape) == 1
            or not all(fits)
            or unit.two_states != (-1.0, 1.0)
            or bool(bias.any())
        ):
            return None
        return ising_log_partition(*self.shape, *(k.abs() for k in strengths))

    def config(self) -> dict[str, Any]:
        """Returns the sides, the edges, and whether each bond has a strength of its own."""
        return {
            "kind": name_of(type(self)),
            "shape": list(self.shape),
            "per_bond": self.coupling.ndim > 1,
            "periodic": self.periodic,
            "components": self.components,
        }


def _layer(
    across: tuple[int, ...], bonds: Tensor, fields: Tensor, agreement: Tensor
) -> Float[Tensor, " states"]:
    """The log weight of every state of a layer by itself: its bonds and fields, all over T."""
    states, width = len(agreement), len(fields)
    total = fields.new_zeros(states**width)
    for place, field in enumerate(fields):
        total.view(states**place, states, -1).add_(field[:, None])
    numbers = torch.arange(width).reshape(across)
    for axis, strengths in enumerate(bonds):
        if across[axis] == 1:
            continue
        ahead = numbers.roll(-1, axis).flatten().tolist()
        for one, (other, strength) in enumerate(zip(ahead, strengths.unbind(), strict=True)):
            first, second = sorted((one, other))
            shape = (states**first, states, states ** (second - first - 1), states, -1)
            total.view(shape).add_(strength * agreement[:, None, :, None])
    return total


def _around(layers: Sequence[Tensor], steps: Tensor) -> Float[Tensor, ""]:
    """log Σ over rings of layers: from each state of the first around to itself."""
    states = len(layers[0])

    def sums(numbers: Tensor) -> Tensor:
        rows = torch.arange(len(numbers))
        start = layers[0].new_full((len(numbers), states), -torch.inf)
        start[rows, numbers] = layers[0][numbers]
        ends = _through(start, layers[1:], steps[:-1])
        return _step(ends, steps[-1])[rows, numbers]

    parts = torch.arange(states).split(max(1, AT_ONCE // states))
    return torch.logsumexp(
        torch.cat([checkpoint(sums, part, use_reentrant=False) for part in parts]), 0
    )


def _through(
    start: Float[Tensor, "rows states"], layers: Sequence[Tensor], steps: Tensor
) -> Float[Tensor, "rows states"]:
    """The log weights of the last layer's states, the others summed out, for each row's start."""
    for layer, step in zip(layers, steps, strict=True):
        start = checkpoint(_step, start, step, use_reentrant=False) + layer
    return start


def _step(
    log_weight: Float[Tensor, "rows states"], step: Float[Tensor, "width kinds kinds"]
) -> Float[Tensor, "rows states"]:
    """From a layer to the next: each unit in turn becomes the one ahead of it."""
    top = log_weight.detach().amax(-1, keepdim=True)
    most = step.detach().amax((-2, -1), keepdim=True)
    kinds, weight = step.shape[-1], torch.exp(log_weight - top)
    for place, bond in enumerate(torch.exp(step - most)):
        shape = (len(weight) * kinds**place, kinds, -1)
        weight = (bond @ weight.reshape(shape)).reshape(log_weight.shape)
    none = weight == 0  # of which the logarithm has no slope
    log_weight = weight.masked_fill(none, 1.0).log().masked_fill(none, -torch.inf)
    return log_weight + top + most.sum()
