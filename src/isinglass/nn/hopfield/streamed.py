"""Association with stored patterns that come in blocks, of which one is held at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, zip_longest
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from isinglass._support.typing import Float
from isinglass._support.validation import check_kind
from isinglass.errors import DomainError, ParameterError, ShapeError
from isinglass.nn.hopfield.association import Association, Gathered, Resting

__all__ = ["Block", "StreamedAssociation", "blocks_of"]

ABSENT: Any = object()  # where one of two runs out: None may be what was given


class Block(NamedTuple):
    """Some of the patterns, or what they are made of; a tuple, so that torch finds its tensors.

    Attributes:
        number: How many came before.
        given: The patterns, or what they are embedded from.
        padding: True where there is none.
        versions: How often both had been written to when they came.
    """

    number: int
    given: Tensor
    padding: Tensor | None
    versions: tuple[int, int]

    @classmethod
    def of(cls, number: int, given: Tensor, padding: Tensor | None = None) -> Block:
        """Checks what was given for a block.

        Raises:
            ParameterError: If it is no tensor.
        """
        wanted = "a tensor of its own for each block, (batch, rows, features) or (rows, features)"
        check_kind(f"block {number}", given, Tensor, wanted)
        if padding is not None:
            check_kind(f"padding {number}", padding, Tensor, "a mask for each block, or None")
        return cls(number, given, padding, (_version(given), _version(padding)))

    def check_unchanged(self) -> None:
        """Refuses a block that was written to since it came, as a loader does with one buffer.

        Raises:
            DomainError: If it or its padding was.
        """
        for name, tensor, seen in zip(
            ("block", "padding"), (self.given, self.padding), self.versions, strict=True
        ):
            if _version(tensor) != seen:
                raise DomainError(
                    f"{name} {self.number} was written to since it was given, and is needed again",
                    "Yield a tensor of its own for each block, such as buffer.clone(), and leave "
                    "it as it is until the backward pass",
                    "HopfieldPooling.stream",  # which is not on the stack of a backward pass
                )


@dataclass(frozen=True)
class StreamedAssociation(Resting):
    """States that associate with patterns of which one block is made at a time.

        Z = Σ_b Z_b,   Vᵀ softmax(βKξ) = Σ_b (Z_b / Z) V_bᵀ softmax(βK_b ξ)

    Where gradients are wanted, blocks are made anew in the backward pass: what is kept of a block
    is its input, which must stay as it is, and one average and one log-partition a state.

    Reference: Milakov & Gimelshein 2018, arXiv:1805.02867; for gradients, Chen et al. 2016,
    arXiv:1604.06174.

    Attributes:
        state: ξ, ``(batch, heads, states, d)``.
        blocks: What patterns are made of, gone over once for each update.
        open: Makes an association of a block.
    """

    state: Float[Tensor, "_ H L d"]
    blocks: Iterable[Block]
    open: Callable[[Block], Association]

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
        for block in self.blocks:
            part = self._opened(block)
            found = part.gather(part.projection)
            share = (found.log_mass - whole).exp().unsqueeze(-1)
            yield (part.weights() * share).to(self.state.dtype)

    def _gather(self, read: Callable[[Association], Gathered]) -> Gathered:
        def gathered(block: Block, _: Tensor) -> Gathered:
            return read(self._opened(block))

        whole = None
        for block in self.blocks:
            if torch.is_grad_enabled():
                # The state for its device, whose random numbers are the same again.
                part = checkpoint(gathered, block, self.state, use_reentrant=False)
            else:
                part = gathered(block, self.state)
            whole = part if whole is None else whole.joined(part)
        if whole is None:
            raise ShapeError("no block of patterns", "Give one block at least")
        return whole

    def _opened(self, block: Block) -> Association:
        block.check_unchanged()
        return replace(self.open(block), state=self.state)


def blocks_of(
    blocks: Iterable[Tensor], paddings: Iterable[Tensor] | None, passes: int
) -> Iterable[Block]:
    """Pairs blocks with their paddings.

    Args:
        blocks: Of patterns, or of what they are embedded from.
        paddings: One a block; None is none.
        passes: How often all blocks are gone over.

    Raises:
        ParameterError: If they are nothing to go over, one tensor, or gone over twice but can be
            once.
        ShapeError: If there are not as many paddings as blocks.
    """
    check_kind("blocks", blocks, Iterable, "a list of tensors, or what yields them")
    if paddings is not None:
        check_kind("paddings", paddings, Iterable, "a list of masks, one a block, or None")
    for name, whole in (("blocks", blocks), ("paddings", paddings)):
        if isinstance(whole, Tensor):  # which would be gone over sample by sample
            raise ParameterError(
                f"{name} in one tensor of shape {tuple(whole.shape)}",
                "Give a list with a tensor each: x.split(4096, 1) of (batch, rows, …), "
                "x.split(4096) of (rows, …)",
            )
    if passes > 1 and not all(isinstance(x, Sequence | None) for x in (blocks, paddings)):
        raise ParameterError(
            f"blocks of type {type(blocks).__name__} that are gone over {passes} times",
            "Give a list or a tuple of them",
        )
    pairs = _pairs(blocks, paddings)
    return pairs if passes == 1 else list(pairs)


def _pairs(blocks: Iterable[Tensor], paddings: Iterable[Tensor] | None) -> Iterator[Block]:
    if paddings is None:
        yield from map(Block.of, count(), blocks)
        return
    for number, (block, padding) in enumerate(zip_longest(blocks, paddings, fillvalue=ABSENT)):
        if block is ABSENT or padding is ABSENT:
            raise ShapeError("not as many paddings as blocks", "Give one a block, or none at all")
        yield Block.of(number, block, padding)


def _version(tensor: Tensor | None) -> int:
    """How often a tensor, or what it is a view of, was written to; torch counts no inference."""
    return 0 if tensor is None or tensor.is_inference() else tensor._version
