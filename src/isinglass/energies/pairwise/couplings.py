"""What every unit of a Boltzmann machine feels from the others."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn

from isinglass._support.coloring import color_greedily
from isinglass._support.registry import Configurable, name_of
from isinglass._support.typing import Bool, Float, Int
from isinglass._support.validation import check_count
from isinglass.core.described import Described
from isinglass.errors import IntractableError, ParameterError
from isinglass.units import Unit

__all__ = ["Block", "Couplings"]

#: Units of which a dense matrix is made: 1 GB in float64.
DENSE = 2**13
#: States that are enumerated, and how many of them at once.
MOST, AT_ONCE = 2**24, 2**22


class Block(NamedTuple):
    """Units that are drawn together.

    Attributes:
        places: Which components of the state they are.
        field: What they feel of a state.
        among: What they do to each other, where they touch; None where not.
    """

    places: Tensor
    field: Callable[[Tensor], Tensor]
    among: Tensor | None = None


class Couplings(Described, nn.Module, Configurable, ABC):
    """A symmetric matrix W without a diagonal, in whatever form gives Ws fast.

    Only :meth:`forward` is required. Units with several components (one-hot) have them side by
    side; a unit is not joined to itself.

    Args:
        units: How many units are joined.
        components: How many components the state of each has: one number, or one for each unit.

    Raises:
        ParameterError: If a number is not whole and at least one, or there is not one for each.

    Examples:
        >>> class Ring(Couplings):
        ...     "Everyone feels the two neighbors."
        ...     def forward(self, state):
        ...         return state.roll(1, -1) + state.roll(-1, -1)
        >>> [places.tolist() for places in Ring(6).colors()]
        [[0, 2, 4], [1, 3, 5]]
    """

    def __init__(self, units: int, components: int | Sequence[int] = 1) -> None:
        super().__init__()
        self.units = check_count("units", units)
        if isinstance(components, int):
            self.widths = (check_count("components", components),) * units
        else:
            self.widths = tuple(check_count("components", width) for width in components)
        if len(self.widths) != units:
            raise ParameterError(
                f"{len(self.widths)} components for {units} units", "Give one number a unit"
            )
        #: How many components the state of each unit has: one number if it is the same for all.
        self.components = self.widths[0] if len(set(self.widths)) == 1 else self.widths
        self._known: list[tuple[Tensor, bool]] | None = None

    @property
    def size(self) -> int:
        """Components of a state."""
        return sum(self.widths)

    @property
    def variable_ids(self) -> Int[Tensor, " size"]:
        """Which unit each component belongs to."""
        return torch.arange(self.units).repeat_interleave(torch.tensor(self.widths))

    @abstractmethod
    def forward(self, state: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch size"]:
        """Computes Ws, what every unit feels from the others."""

    def matrix(self) -> Float[Tensor, "size size"]:
        """Returns W itself as a dense matrix.

        Raises:
            IntractableError: If it has more than 8,192 rows.
        """
        if self.size > DENSE:
            raise IntractableError(
                f"{self.size} × {self.size} couplings",
                "Use what needs no matrix: BlockGibbs, SingleSite, AIS",
            )
        one = next(self.parameters(), torch.zeros(()))
        return self(torch.eye(self.size, dtype=one.dtype, device=one.device))

    def neighbors(self) -> list[list[int]]:
        """Lists which units each unit touches, whatever the strengths may become."""
        unit = self.variable_ids
        pairs = unit[(self.matrix().detach() != 0).nonzero().cpu()]
        touching = torch.zeros(self.units, self.units, dtype=torch.bool)
        touching[pairs[:, 0], pairs[:, 1]] = True
        return [row.nonzero()[:, 0].tolist() for row in touching]

    def pairs(self) -> tuple[Int[Tensor, "pairs 2"], Float[Tensor, " pairs"]]:
        """Lists the components that are joined, each pair once, and their strengths W_ij.

        Raises:
            IntractableError: If there are too many components for a matrix, and no other list.
        """
        upper = self.matrix().detach().triu(1)
        joined = upper.nonzero()
        return joined, upper[joined[:, 0], joined[:, 1]]

    def colors(self) -> list[Int[Tensor, " units"]]:
        """Sorts units into classes that do not touch: two of them if that can be."""
        return [torch.tensor(units) for units in color_greedily(self.neighbors())]

    def blocks(self) -> Iterator[Block]:
        """Lists what is drawn together, one block after another: a sweep."""
        for places, _ in self._classes():
            yield Block(places, lambda state, places=places: self(state)[..., places])

    def _classes(self) -> list[tuple[Tensor, bool]]:
        """Places that are drawn together, and whether their units touch; found once."""
        device = next(self.parameters(), torch.zeros(())).device
        if self._known is None or self._known[0][0].device != device:
            self._known = [(self._places(units).to(device), some) for units, some in self._draw()]
        return self._known

    def _draw(self) -> list[tuple[Tensor, bool]]:
        """Units that are drawn together, and whether they touch."""
        return [(units, False) for units in self.colors()]

    def moved_field(
        self,
        field: Float[Tensor, "batch size"],
        site: Int[Tensor, " batch"],
        change: Float[Tensor, " batch"],
    ) -> Float[Tensor, "batch size"]:
        """Corrects the field after component ``site`` of each row has changed by ``change``."""
        return field + self(torch.zeros_like(field).scatter(-1, site[:, None], change[:, None]))

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
        """Draws every unit given the others at field = scale · Ws + bias, block by block.

        Backward, units are visited in the opposite order: the reversal of a sweep.
        """
        blocks, state = list(self.blocks())[:: -1 if backward else 1], state.clone()
        bias = bias.expand(state.shape)
        for _ in range(sweeps):
            for places, field, among in blocks:
                draw = _Block(
                    self._layer(unit, places),
                    scale * field(state) + bias[:, places],
                    state[:, places],
                    temperature,
                    None if held is None else held[:, places],
                )
                state[:, places] = (
                    draw.at_once(generator)
                    if among is None
                    else draw.in_turn(
                        scale, among.tril(-1) if backward else among.triu(1), generator
                    )
                )
        return state

    def log_partition(
        self, unit: Unit, bias: Float[Tensor, " size"], temperature: float
    ) -> Float[Tensor, ""]:
        """Computes log Σ_s exp((½ sᵀWs + bias·s)/T) in float64, by enumeration; differentiable.

        The units are cut in two: each half is enumerated, and what they do to each other is one
        product of matrices.

        Raises:
            IntractableError: If there are more than 2^24 states.
        """
        if (count := unit.state_count(temperature)) > MOST:
            raise IntractableError(
                f"10^{math.log10(count):.0f} states",
                "Estimate it: log_partition(energy, method='ais')",
            )
        weight = self.matrix().double().cpu() / temperature
        half = self.units // 2
        cut = sum(self.widths[:half])
        bias = bias.double().cpu() / temperature
        states, alone = [], []
        for part, units in (
            (slice(0, cut), range(half)), (slice(cut, self.size), range(half, self.units))
        ):  # fmt: skip
            if not units:  # of a single unit one half is empty
                states.append(weight.new_ones(1, 0))
                alone.append(weight.new_zeros(1))
                continue
            layer = unit.select(units)
            rows = layer.enumerate_states(temperature)
            states.append(rows)
            own = layer.base_measure_energy(rows, temperature) / temperature
            alone.append(((rows @ weight[part, part] / 2 + bias[part]) * rows).sum(-1) - own)
        across = states[0] @ weight[:cut, cut:]
        step = max(1, AT_ONCE // len(states[1]))
        sums = [
            torch.logsumexp(rows @ states[1].mT + alone[1], -1) + own
            for rows, own in zip(across.split(step), alone[0].split(step), strict=True)
        ]
        return torch.logsumexp(torch.cat(sums), 0)

    def config(self) -> dict[str, Any]:
        """Returns the kind by name, and what its constructor needs beside it."""
        found = self.components
        components = found if isinstance(found, int) else list(found)
        return {"kind": name_of(type(self)), "units": self.units, "components": components}

    def description(self) -> dict[str, Any]:
        """Returns the configuration, for the state dict."""
        return self.config()

    def extra_repr(self) -> str:
        """Shows what the configuration holds."""
        rest = {name: value for name, value in self.config().items() if name != "kind"}
        return ", ".join(f"{name}={value}" for name, value in rest.items() if name != "edges")

    def _places(self, units: Tensor) -> Tensor:
        """The components of these units."""
        if isinstance(self.components, int):
            inside = torch.arange(self.components, device=units.device)
            return (units[:, None] * self.components + inside).flatten()
        parts = torch.arange(self.size, device=units.device).split(list(self.widths))
        return torch.cat([parts[unit] for unit in units.tolist()])

    def _layer(self, unit: Unit, places: Tensor) -> Unit:
        """The units that have these components."""
        if len(unit.parts) == 1:  # all alike, so that their number says everything
            return unit.with_count(len(places) // unit.components)
        return unit.select(list(dict.fromkeys(self.variable_ids[places.cpu()].tolist())))


class _Block(NamedTuple):
    """A block of units to be drawn."""

    unit: Unit
    field: Tensor
    before: Tensor
    temperature: float
    held: Tensor | None

    def at_once(self, generator: Generator | None) -> Tensor:
        """Units that do not touch."""
        if self.temperature == 0:
            return self._kept(self.unit.argmax_state(self.field, self.before))
        return self._kept(self.unit.sample(self.field, self.temperature, generator))

    def in_turn(self, scale: float | Tensor, among: Tensor, generator: Generator | None) -> Tensor:
        """Units that touch, as if one after another.

        With the random numbers drawn beforehand each unit is a function of its field, which
        depends on those before it alone: a triangular system, solved by iterating it on all at
        once. The first k units are final after k rounds, and mostly all of them after a few.
        """
        draw = self.unit.sampler(self.field, self.temperature, generator)
        now = self._kept(draw(self.field, self.before))
        for _ in range(among.shape[-1]):
            field = self.field + scale * ((now - self.before) @ among)
            after = self._kept(draw(field, self.before))
            if torch.equal(after, now):
                break
            now = after
        return now

    def _kept(self, drawn: Tensor) -> Tensor:
        return drawn if self.held is None else torch.where(self.held, self.before, drawn)
