"""Couplings along the edges of a sparse graph, as a table of neighbors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from isinglass._support.typing import Float, Int
from isinglass._support.validation import check_finite
from isinglass.energies.pairwise.couplings import Block, Couplings
from isinglass.errors import ParameterError, ShapeError

__all__ = ["SparseCouplings"]


class SparseCouplings(Couplings):
    """Pairs of units joined, few for each unit: W as a table of neighbors.

    Args:
        units: How many units there are.
        edges: The pairs, ``(edges, 2)``, each named once.
        weight: One strength a pair, or one for all; learned.
        components: How many components the state of each unit has; like components are joined.

    Raises:
        ShapeError: If the edges are not pairs, or there is not one strength for each.
        ParameterError: If a pair is no two different units, or is named twice.
        DomainError: If a strength is not finite.

    Examples:
        >>> star = SparseCouplings(4, [(0, 1), (0, 2), (0, 3)], 0.5)
        >>> star(torch.tensor([1.0, 1.0, 1.0, -1.0])).detach()
        tensor([0.5000, 0.5000, 0.5000, 0.5000])
    """

    table: Tensor
    which: Tensor

    def __init__(
        self,
        units: int,
        edges: Sequence[Sequence[int]] | Int[Tensor, "edges 2"],
        weight: float | Float[Tensor, " edges"] = 0.0,
        components: int = 1,
    ) -> None:
        super().__init__(units, components)
        self.width = components
        self.edges = _check_edges(units, edges)
        strength = torch.as_tensor(
            weight, dtype=None if isinstance(weight, Tensor) else torch.get_default_dtype()
        )
        if strength.shape not in {(), (len(self.edges),)}:
            raise ShapeError(
                f"weights of shape {tuple(strength.shape)} for {len(self.edges)} edges",
                "Give one number, or one for each edge",
            )
        check_finite("the weights", strength)
        self.weight = nn.Parameter(strength.detach().expand(len(self.edges)).clone())
        near: list[list[tuple[int, int]]] = [[] for _ in range(units)]
        for edge, (one, other) in enumerate(self.edges):
            near[one].append((other, edge))
            near[other].append((one, edge))
        most = max(map(len, near))
        nobody = (0, len(self.edges))  # a neighbor of no strength: rows of the table are as long
        full = torch.tensor([row + [nobody] * (most - len(row)) for row in near])
        table, which = full.reshape(units, most, 2).unbind(-1)
        self.register_buffer("table", table, persistent=False)
        self.register_buffer("which", which, persistent=False)

    def forward(self, state: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch size"]:
        """Sums the fields of the neighbors of each unit."""
        return self._gather(state, self.table, self.which)

    def _gather(self, state: Tensor, table: Tensor, which: Tensor) -> Tensor:
        strength = torch.cat([self.weight, self.weight.new_zeros(1)])[which]
        units = state.unflatten(-1, (self.units, -1))
        felt = torch.zeros_like(units[..., :1, :]).expand(*units.shape[:-2], len(table), -1)
        for near, weight in zip(table.unbind(-1), strength.unbind(-1), strict=True):
            felt = torch.addcmul(felt, weight[:, None], units[..., near, :])
        return felt.flatten(-2)

    def neighbors(self) -> list[list[int]]:
        """Lists the edges, from both ends."""
        near: list[list[int]] = [[] for _ in range(self.units)]
        for one, other in self.edges:
            near[one].append(other)
            near[other].append(one)
        return near

    def pairs(self) -> tuple[Int[Tensor, "pairs 2"], Float[Tensor, " pairs"]]:
        """Lists the edges, component by component, and their strengths."""
        device = self.weight.device
        edges = torch.tensor(self.edges, device=device) * self.width
        inside = torch.arange(self.width, device=device)
        joined = (edges[:, None] + inside[:, None]).flatten(0, 1)
        return joined, self.weight.detach().repeat_interleave(self.width)

    def blocks(self) -> Iterator[Block]:
        """Sorts units into classes that do not touch; only their own edges are looked at."""
        for places, _ in self._classes():
            units = places[:: self.width] // self.width
            rows = (self.table[units], self.which[units])
            yield Block(places, lambda state, rows=rows: self._gather(state, *rows))

    def config(self) -> dict[str, Any]:
        """Returns the configuration, with the edges."""
        return super().config() | {"edges": [list(edge) for edge in self.edges]}


def _check_edges(units: int, edges: Sequence[Sequence[int]] | Tensor) -> list[tuple[int, int]]:
    given = torch.as_tensor(edges, dtype=torch.int64)
    if given.ndim != 2 or given.shape[-1] != 2 or len(given) == 0:
        raise ShapeError(f"edges of shape {tuple(given.shape)}", "Give pairs of units, one a row")
    pairs = [(min(pair), max(pair)) for pair in given.tolist()]
    wrong = [pair for pair in pairs if pair[0] == pair[1] or pair[0] < 0 or pair[1] >= units]
    if wrong:
        raise ParameterError(
            f"edge {wrong[0]} among {units} units",
            "Join two different units, numbered from 0",
        )  # fmt: skip
    if len(set(pairs)) < len(pairs):
        twice = next(pair for pair in pairs if pairs.count(pair) > 1)
        raise ParameterError(f"edge {twice} named twice", "Name each pair once")
    return pairs
