"""Pooling: learned states that gather from the patterns of a set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from torch import Tensor

from isinglass._support.typing import Float
from isinglass._support.validation import check_count, check_flag
from isinglass.nn.hopfield.keywords import LayerKeywords
from isinglass.nn.hopfield.layer import Hopfield
from isinglass.nn.hopfield.patterns import Triple, tensors_of

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

    def _patterns(self, input: Tensor | Sequence[Tensor]) -> Triple:  # noqa: A002
        if isinstance(input, Tensor):
            return input, self.pooling_weights, input
        stored, projection = tensors_of(input, "stored pattern", "pattern projection")
        return stored, self.pooling_weights, projection
