"""Look-up: states that associate with patterns which the layer has learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from torch import Tensor

from isinglass._support.validation import check_count, check_flag
from isinglass.errors import ParameterError, ShapeError
from isinglass.nn.hopfield.keywords import LayerKeywords
from isinglass.nn.hopfield.layer import Hopfield
from isinglass.nn.hopfield.patterns import Triple

__all__ = ["HopfieldLayer"]


class HopfieldLayer(Hopfield):
    """A trainable memory: each state of the input associates with learned patterns.

        output = W (Vᵀ softmax(βKξ)), K and V of ``quantity`` learned patterns

    Reference: Ramsauer et al. 2020, arXiv:2008.02217.

    Args:
        input_size: Features of a state.
        quantity: How many patterns are learned.
        trainable: Whether they are learned at all, or stay as they are drawn or set.
        lookup_weights_as_separated: Whether what is read out has patterns of its own.
        lookup_targets_as_trainable: Whether those are learned; they stand or fall with the option
            before.
        options: ``scaling``, ``device``, ``dtype`` and the options of :class:`HopfieldOptions`.

    Raises:
        ParameterError: If targets are not to be learned, but are not separated.
        IsinglassError: As :class:`Hopfield` does.

    Examples:
        >>> import torch
        >>> look_up = HopfieldLayer(8, quantity=100, output_size=3)
        >>> look_up(torch.randn(4, 5, 8)).shape
        torch.Size([4, 5, 3])
        >>> look_up.metastable_size(torch.randn(4, 5, 8)).shape  # of each head and state
        torch.Size([4, 1, 5])
    """

    def __init__(
        self,
        input_size: int | None,
        *,
        quantity: int = 1,
        trainable: bool = True,
        lookup_weights_as_separated: bool = False,
        lookup_targets_as_trainable: bool = True,
        **options: Unpack[LayerKeywords],
    ) -> None:
        super().__init__(input_size, **options)
        of = self.options
        self.quantity = check_count("quantity", quantity)
        size = of.expected_sizes[0] or of.hidden_size or input_size
        trainable = check_flag("trainable", trainable)
        check_flag("lookup_weights_as_separated", lookup_weights_as_separated)
        check_flag("lookup_targets_as_trainable", lookup_targets_as_trainable)
        self.lookup_weights = self._own_patterns(quantity, size, trainable=trainable)
        self.target_weights = None
        if not (lookup_weights_as_separated or lookup_targets_as_trainable):
            raise ParameterError(
                "lookup_targets_as_trainable=False with lookup_weights_as_separated=False",
                "Ask for separated ones, or for trainable=False: one pattern is both",
            )
        if lookup_weights_as_separated:
            size = of.expected_sizes[2] or of.pattern_projection_size or size
            self.target_weights = self._own_patterns(
                quantity, size, trainable=lookup_targets_as_trainable
            )

    def _patterns(self, input: Tensor | Sequence[Tensor]) -> Triple:  # noqa: A002
        if not isinstance(input, Tensor):
            raise ShapeError(
                f"an input of type {type(input).__name__}",
                "Give the states alone: stored patterns and projections are the layer's own",
            )
        targets = self.lookup_weights if self.target_weights is None else self.target_weights
        return self.lookup_weights, input, targets
