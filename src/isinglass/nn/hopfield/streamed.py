"""Association with stored patterns that come in blocks, of which one is held at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import repeat, zip_longest

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from isinglass._support.typing import Float
from isinglass.errors import ParameterError, ShapeError
from isinglass.nn.hopfield.association import Association, Gathered, Resting

__all__ = ["Block", "StreamedAssociation", "blocks_of"]

Block = tuple[Tensor, Tensor | None]  # patterns and, True where there is none, their padding


@dataclass(frozen=True)
class StreamedAssociation(Resting):
    """States that associate with patterns of which one block is made at a time.

        Z = Σ_b Z_b,   Vᵀ softmax(βKξ) = Σ_b (Z_b / Z) V_bᵀ softmax(βK_b ξ)

    Where gradients are wanted, blocks are made anew in the backward pass: what is kept of a block
    is its input, and one average and one log-partition a state.

    Reference: Milakov & Gimelshein 2018, arXiv:1805.02867; for gradients, Chen et al. 2016,
    arXiv:1604.06174.

    Attributes:
        state: ξ, ``(batch, heads, states, d)``.
        blocks: What patterns are made of, gone over once for each update.
        open: Makes an association of a block; the flag tells whether the block is the first.
    """

    state: Float[Tensor, "_ H L d"]
    blocks: Iterable[Block]
    open: Callable[[Block, bool], Association]

    @property
    def traced(self) -> bool:
        """Whether values cannot be looked at."""
        return False

    def update(self) -> StreamedAssociation:
        """Takes one step, ξ ← Kᵀ softmax(βKξ), in every row."""
        found = self._gather(lambda part: part.gather(part.stored))
        return replace(self, state=found.average.to(self.state.dtype))

    def read(self, dropout: float = 0.0) -> Float[Tensor, "B H L e"]:
        """Computes Vᵀ softmax(βKξ), a share of the weights dropped."""
        found = self._gather(lambda part: part.gather(part.projection, dropout))
        return found.average.to(self.state.dtype)

    def weights(self) -> Iterator[Float[Tensor, "B H L S"]]:
        """Computes softmax(βKξ) block by block; rows that may look at nothing are zero."""
        whole = self._gather(lambda part: part.gather(part.projection)).log_mass
        for number, block in enumerate(self.blocks):
            part = self._opened(block, number == 0)
            found = part.gather(part.projection)
            share = (found.log_mass - whole).exp().unsqueeze(-1)
            yield (part.weights() * share).to(self.state.dtype)

    def _gather(self, read: Callable[[Association], Gathered]) -> Gathered:
        def gathered(block: Block, first: bool) -> Gathered:
            return read(self._opened(block, first))

        whole = None
        for number, block in enumerate(self.blocks):
            if torch.is_grad_enabled():
                part = checkpoint(gathered, block, number == 0, use_reentrant=False)
            else:
                part = gathered(block, number == 0)
            whole = part if whole is None else whole.joined(part)
        if whole is None:
            raise ShapeError("no block of patterns", "Give one block at least")
        return whole

    def _opened(self, block: Block, first: bool) -> Association:
        return replace(self.open(block, first), state=self.state)


def blocks_of(
    blocks: Iterable[Tensor], paddings: Iterable[Tensor] | None, passes: int
) -> Iterable[Block]:
    """Pairs blocks with their paddings.

    Args:
        blocks: Of patterns, or of what they are embedded from.
        paddings: One a block; None is none.
        passes: How often all blocks are gone over.

    Raises:
        ParameterError: If they are gone over twice but can be once.
        ShapeError: If there are not as many paddings as blocks.
    """
    if passes > 1 and not all(isinstance(x, Sequence | None) for x in (blocks, paddings)):
        raise ParameterError(
            f"blocks of type {type(blocks).__name__} that are gone over {passes} times",
            "Give a list or a tuple of them",
        )
    pairs = _pairs(blocks, paddings)
    return pairs if passes == 1 else list(pairs)


def _pairs(blocks: Iterable[Tensor], paddings: Iterable[Tensor] | None) -> Iterator[Block]:
    if paddings is None:
        yield from zip(blocks, repeat(None))
        return
    for block, padding in zip_longest(blocks, paddings):
        if block is None or padding is None:
            raise ShapeError("not as many paddings as blocks", "Give one a block, or none at all")
        yield block, padding
