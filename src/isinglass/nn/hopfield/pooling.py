"""Pooling: learned states that gather from the patterns of a set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Unpack

from torch import Tensor

from isinglass._support.typing import Float
from isinglass._support.validation import check_count, check_flag
from isinglass.errors import ParameterError, ShapeError
from isinglass.nn.hopfield.association import Association
from isinglass.nn.hopfield.keywords import LayerKeywords
from isinglass.nn.hopfield.layer import Hopfield
from isinglass.nn.hopfield.patterns import Triple, tensors_of
from isinglass.nn.hopfield.repeated import RepeatedEmbedding
from isinglass.nn.hopfield.streamed import Block, StreamedAssociation, blocks_of

__all__ = ["HopfieldPooling"]


class HopfieldPooling(Hopfield):
    """A set of any size to a vector: learned states q associate with the patterns of the set.

        output = W (Vᵀ softmax(βKq)), of ``quantity`` states q, joined

    Reference: Ramsauer et al. 2020, arXiv:2008.02217; for sets of labels, Widrich et al. 2020,
    arXiv:2007.13505.

    Args:
        input_size: Features of a pattern, and of a learned state unless that is static.
        quantity: How many states are learned.
        trainable: Whether they are learned at all, or stay as they are drawn.
        options: ``scaling``, ``device``, ``dtype`` and the options of :class:`HopfieldOptions`.

    Raises:
        IsinglassError: As :class:`Hopfield` does.

    Examples:
        >>> import torch
        >>> pool = HopfieldPooling(8, num_heads=2, quantity=3)
        >>> bags, padding = torch.randn(4, 10, 8), torch.rand(4, 10) > 0.7
        >>> pool(bags, stored_pattern_padding_mask=padding).shape
        torch.Size([4, 24])
    """

    def __init__(
        self,
        input_size: int | None,
        *,
        quantity: int = 1,
        trainable: bool = True,
        **options: Unpack[LayerKeywords],
    ) -> None:
        super().__init__(input_size, **options)
        self.quantity = check_count("quantity", quantity)
        size = self.options.expected_sizes[1] or self.options.hidden_size or input_size
        self.pooling_weights = self._own_patterns(
            quantity, size, trainable=check_flag("trainable", trainable)
        )

    def forward(
        self,
        input: Tensor | Sequence[Tensor],  # noqa: A002 - as hflayers calls it
        stored_pattern_padding_mask: Tensor | None = None,
        association_mask: Tensor | None = None,
    ) -> Float[Tensor, "*batch output"]:
        """Returns the set as one vector: what each learned state retrieves from it, joined.

        Args:
            input: The set, ``(batch, rows, features)`` or ``(rows, features)``, or ``(stored
                patterns, pattern projections)``.
            stored_pattern_padding_mask: True at rows to be ignored, ``(batch, rows)``.
            association_mask: As of :class:`Hopfield`, its states being the learned ones.

        Returns:
            ``(batch, quantity · output_size)``; ``(quantity · output_size,)`` without batch.
        """
        found = super().forward(input, stored_pattern_padding_mask, association_mask)
        if found.ndim == 3 and not self.options.batch_first:
            found = found.transpose(0, 1)
        return found.flatten(-2)

    def stream(
        self,
        blocks: Iterable[Tensor],
        stored_pattern_padding_masks: Iterable[Tensor] | None = None,
        *,
        embed: Callable[[Tensor], Tensor] | None = None,
    ) -> Float[Tensor, "*batch output"]:
        """Returns what :meth:`forward` does of a set that comes in blocks, one held at a time.

            Vᵀ softmax(βKq) = Σ_b (Z_b / Z) V_bᵀ softmax(βK_b q),   Z = Σ_b Z_b

        Memory beyond the blocks themselves does not grow with their number, but for one average
        and one log Z_b a state where gradients are wanted. There blocks and paddings are kept by
        reference until the backward pass, which makes each anew from them: give each a tensor of
        its own, not one buffer that is filled again and again. Writes by torch are noticed, those
        by NumPy into memory that a tensor shares are not.

        A block that is embedded again is as it was the first time, masks of dropout and running
        statistics too, and these count it once. For that is kept of each block what ``embed``
        changes of its modules' buffers; modules are found where ``embed`` is one, is a method of
        one or names them. BatchNorm in training mode norms by the block, not by the set.

        Reference: Milakov & Gimelshein 2018, arXiv:1805.02867.

        Args:
            blocks: Parts of the set, each one tensor, ``(batch, rows, features)`` or ``(rows,
                features)``, or what ``embed`` makes one of; the same batch in all, or none. They
                may be loaded as they are asked for where ``update_steps_max`` is 1; otherwise they
                are gone over once for each update.
            stored_pattern_padding_masks: One a block, as of :meth:`forward`.
            embed: Makes patterns of a block, such as a network that sees each row by itself; its
                own memory is that of one block too.

        Returns:
            ``(batch, quantity · output_size)``; ``(quantity · output_size,)`` without batch.

        Raises:
            ShapeError: If there is no block, or batches, paddings and features do not fit.
            ParameterError: If blocks are one tensor, a block, or what ``embed`` makes of it, is no
                tensor, ``embed`` is no function, or blocks can be gone over once, but
                ``update_steps_max`` is not 1.
            DomainError: If values, dtypes or devices are not as :meth:`forward` wants them; here or
                in the backward pass, if a block was written to after it was given, or ``embed``
                made something else of it the second time.

        Examples:
            >>> import torch
            >>> pool = HopfieldPooling(8, quantity=3).double()
            >>> rows = torch.randn(1000, 8).double()
            >>> torch.allclose(pool.stream(rows.split(64)), pool(rows))
            True
        """
        streamed, unbatched = self._streamed(blocks, stored_pattern_padding_masks, embed, 1)
        found = self._output(streamed.read(self._dropout)).flatten(-2)
        return found.squeeze(0) if unbatched() else found

    def stream_association(
        self,
        blocks: Iterable[Tensor],
        stored_pattern_padding_masks: Iterable[Tensor] | None = None,
        *,
        embed: Callable[[Tensor], Tensor] | None = None,
    ) -> Iterator[Float[Tensor, "*batch H L S"]]:
        """Computes what :meth:`association` does, block by block.

        Arguments as of :meth:`stream`, gone over once more.

        Examples:
            >>> import torch
            >>> pool = HopfieldPooling(8)
            >>> weights = torch.cat([*pool.stream_association(torch.randn(90, 8).split(32))], -1)
            >>> weights.shape, bool(weights.sum() > 0.999)
            (torch.Size([1, 1, 90]), True)
        """
        streamed, unbatched = self._streamed(blocks, stored_pattern_padding_masks, embed, 2)
        for weights in streamed.weights():
            yield weights.squeeze(0) if unbatched() else weights

    def _streamed(
        self,
        blocks: Iterable[Tensor],
        paddings: Iterable[Tensor] | None,
        embed: Callable[[Tensor], Tensor] | None,
        passes: int,
    ) -> tuple[StreamedAssociation, Callable[[], bool]]:
        """The association before its last update, and whether its blocks turned out unbatched."""
        if embed is not None and not callable(embed):
            raise ParameterError(
                f"embed = {embed} of type {type(embed).__name__}",
                "Give a function of a block, or None",
            )
        passes += max(self.options.updates_before)
        embedded = RepeatedEmbedding(embed, self.pooling_weights.device, passes)
        shapes: list[tuple[int, ...]] = []  # that of the first block, once it is seen

        def opened(block: Block) -> Association:
            patterns = embedded(block)
            if not shapes:
                shapes.append(tuple(patterns.shape))
            self._check_block(block.number, tuple(patterns.shape), shapes[0])
            return self._associate(patterns, block.padding, None, lengthen=block.number == 0)

        state = self._enter(
            self.pooling_weights.unsqueeze(0), self.norm_state_pattern, self.project_state
        )
        streamed = StreamedAssociation(state, blocks_of(blocks, paddings, passes), opened)
        return self._rest(streamed), lambda: len(shapes[0]) == 2

    def _check_block(self, number: int, found: tuple[int, ...], first: tuple[int, ...]) -> None:
        """Refuses a block of another batch than the first: a batch of one would be repeated."""
        batch = slice(-2) if self.options.batch_first else slice(1, -1)
        if len(found) != len(first) or found[batch] != first[batch]:
            raise ShapeError(
                f"block {number} with patterns of shape {found}, block 0 of shape {first}",
                "Give all blocks the same batch, or none: they are parts of the same sets",
            )

    def _patterns(self, input: Tensor | Sequence[Tensor]) -> Triple:  # noqa: A002
        if isinstance(input, Tensor):
            return input, self.pooling_weights, input
        stored, projection = tensors_of(input, "stored pattern", "pattern projection")
        return stored, self.pooling_weights, projection
