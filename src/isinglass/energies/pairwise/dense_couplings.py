"""Couplings between all pairs of units, or those of a mask, as a matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from isinglass._support.typing import Bool, Float, Int
from isinglass._support.validation import check_finite, check_tensor, is_hollow, is_symmetric
from isinglass.energies.pairwise.couplings import Block, Couplings
from isinglass.errors import DomainError, ParameterError, ShapeError

__all__ = ["DenseCouplings"]

#: Units that touch and are drawn together, by rounds.
BLOCK = 128
#: So many small classes of units that do not touch are still drawn one by one.
CLASSES = 6


class DenseCouplings(Couplings):
    r"""Every pair of units joined by a weight of its own, or those of a mask: W = U + Uᵀ.

    U, the parameter's part above the diagonal, is what counts, so that W is symmetric whatever
    learning does to it, and −∂E/∂U_ij = s_i s_j.

    Args:
        units: How many units are joined.
        components: How many components the state of each has: one number, or one for each unit.

    Attributes:
        upper: The parameter, ``(size, size)``.
        mask: Which of it counts.

    Examples:
        >>> pair = DenseCouplings.of(torch.tensor([[0.0, 2.0], [2.0, 0.0]]))
        >>> pair(torch.tensor([1.0, -1.0]))
        tensor([-2.,  2.], grad_fn=<SqueezeBackward4>)
    """

    mask: Tensor

    def __init__(self, units: int, components: int | Sequence[int] = 1) -> None:
        super().__init__(units, components)
        self.upper = nn.Parameter(torch.zeros(self.size, self.size))
        self.register_buffer("mask", self._above(torch.ones(units, units).bool()))

    @classmethod
    def of(cls, weight: Tensor, components: int | Sequence[int] = 1) -> DenseCouplings:
        """Builds couplings of these strengths: symmetric, and none of a unit to itself.

        Raises:
            ShapeError: If they are no square matrix, or not of whole units.
            DomainError: If they are no tensor of floating dtype, or not finite.
            ParameterError: If they are not symmetric, or join a unit to itself.
        """
        check_tensor("couplings", weight)
        if not weight.is_floating_point():
            raise DomainError(f"couplings of dtype {weight.dtype}", "Convert them first: W.float()")
        square = weight.ndim == 2 and weight.shape[0] == weight.shape[1]
        if isinstance(components, int):
            whole = square and len(weight) % components == 0
        else:
            whole = square and len(weight) == sum(components)
        if not whole:
            raise ShapeError(
                f"couplings of shape {tuple(weight.shape)}",
                f"Give a square matrix, {components} rows a unit",
            )
        if is_hollow(weight):
            raise DomainError(
                f"couplings without values, on {weight.device}",
                "Give couplings with values; the energy then moves by .to",
            )
        check_finite("the couplings", weight)
        units = len(weight) // components if isinstance(components, int) else len(components)
        couplings = cls(units, components).to(weight)
        itself = ~(couplings.mask | couplings.mask.mT)
        if bool(weight[itself].any()):
            raise ParameterError("couplings of units to themselves", "Put zeros on the diagonal")
        if not is_symmetric(weight):
            raise ParameterError("couplings that are not symmetric", "Give (W + W.mT) / 2")
        couplings.upper.data.copy_(weight * couplings.mask)
        return couplings

    def masked(self, joined: Bool[Tensor, "units units"]) -> DenseCouplings:
        """Keeps the couplings of these pairs of units alone, now and while learning.

        Raises:
            ShapeError: If it is not one yes or no for every pair.
        """
        if joined.shape != (self.units, self.units):
            raise ShapeError(
                f"a mask of shape {tuple(joined.shape)} for {self.units} units",
                "Give one row and one column a unit",
            )
        self.mask = self._above(joined.to(self.mask.device))
        return self

    def matrix(self) -> Float[Tensor, "size size"]:
        """Returns W itself as a dense matrix."""
        upper = self.upper * self.mask
        return upper + upper.mT

    def neighbors(self) -> list[list[int]]:
        """Returns the pairs of units that the mask couples."""
        above = self._pairs()
        return [row.nonzero()[:, 0].tolist() for row in above | above.mT]

    def _pairs(self) -> Tensor:
        """The mask by units, as their first components say."""
        first = torch.tensor([0, *self.widths[:-1]], device=self.mask.device).cumsum(0)
        return self.mask[first[:, None], first]

    def _above(self, joined: Tensor) -> Tensor:
        """The pairs of components whose units are joined, the first before the second."""
        unit = self.variable_ids.to(joined.device)
        return (joined | joined.mT).triu(1)[unit[:, None], unit]

    def forward(self, state: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch size"]:
        """Computes Ws, the field of the couplings."""
        return state @ self.matrix()

    def blocks(self) -> Iterator[Block]:
        """Sorts units into classes that do not touch; many small ones are drawn by rounds."""
        weight = self.matrix()
        for places, touching in self._classes():
            columns = weight[:, places]
            among = columns[places] if touching else None
            yield Block(places, lambda state, columns=columns: state @ columns, among)

    def moved_field(
        self,
        field: Float[Tensor, "batch size"],
        site: Int[Tensor, " batch"],
        change: Float[Tensor, " batch"],
    ) -> Float[Tensor, "batch size"]:
        """Adds a row of W: the field after one component has changed."""
        return torch.addcmul(field, change.unsqueeze(-1), self.matrix()[site])

    def _draw(self) -> list[tuple[Tensor, bool]]:
        pairs = self.units * (self.units - 1) // 2
        if int(self._pairs().sum()) == pairs:
            return [(units, True) for units in torch.arange(self.units).split(BLOCK)]
        classes = self.colors()
        small = [units for units in classes if len(units) < BLOCK // CLASSES]
        if len(small) <= CLASSES:
            return [(units, False) for units in classes]
        large = [(units, False) for units in classes if len(units) >= BLOCK // CLASSES]
        return large + [(units, True) for units in torch.cat(small).split(BLOCK)]

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._known = None  # the mask may be another
