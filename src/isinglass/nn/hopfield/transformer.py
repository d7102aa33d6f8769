"""Encoder and decoder layers of a Transformer, with Hopfield layers for attention."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

from torch import Tensor, nn

from isinglass._support.typing import Float, Int
from isinglass._support.validation import check_count, check_fraction, without_non_finite
from isinglass.core.described import Labeled
from isinglass.errors import ParameterError
from isinglass.nn.hopfield.layer import Hopfield
from isinglass.nn.hopfield.options import find_activation, name_of_activation

__all__ = ["HopfieldDecoderLayer", "HopfieldEncoderLayer"]

Activation = str | Callable[[Tensor], Tensor]
AnyMask = Tensor | None
Padding = Tensor | None


class _Residual(nn.Module):
    """LayerNorm(x + dropout(change)): what follows every part of the block."""

    def __init__(self, size: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size)
        self.dropout = nn.Dropout(check_fraction("dropout", dropout))

    def forward(self, state: Tensor, change: Tensor) -> Tensor:
        return self.norm(state + self.dropout(change))


class _FeedForward(Labeled, nn.Module):
    """x + W₂ dropout(f(W₁ x)), normalized."""

    def __init__(self, size: int, inner: int, dropout: float, activation: Activation) -> None:
        super().__init__()
        self.inner = nn.Linear(size, check_count("dim_feedforward", inner))
        self.dropout = nn.Dropout(dropout)
        self.outer = nn.Linear(inner, size)
        self.residual = _Residual(size, dropout)
        self.activation = find_activation(activation)

    def description(self) -> dict[str, Any]:
        return {"activation": name_of_activation(self.activation)}

    def forward(self, state: Tensor) -> Tensor:
        change = self.outer(self.dropout(self.activation(self.inner(state))))
        return self.residual(state, change)


class _Block(nn.Module):
    """States of one size in and out, which pass an association of the block first."""

    first: str

    @property
    def batch_first(self) -> bool:
        """Whether states are ``(batch, rows, features)``."""
        return getattr(self, self.first).batch_first

    @property
    def input_size(self) -> int:
        """Features of a state."""
        return getattr(self, self.first).input_size

    @property
    def output_size(self) -> int:
        """The features of the output, as many as of the input."""
        return self.input_size


def _copy(association: Hopfield, size: int | None) -> Hopfield:
    """A fresh copy of a layer that takes and gives states of one size."""
    if not isinstance(association, Hopfield):
        raise ParameterError(
            f"an association of type {type(association).__name__}", "Give a Hopfield"
        )
    size = association.input_size if size is None else size
    given = association.options.input_size, association.options.output_size
    if size is None or given != (size, size):
        raise ParameterError(
            f"an association of {given[0]} features in and {given[1]} out, states of {size}",
            "What is added to the states needs their size: give input_size, no output_size",
        )
    fresh = deepcopy(association)
    fresh.reset_parameters()
    return fresh


def _without(state: Tensor, padding: Padding, *, batch_first: bool) -> Tensor:
    """Clears padding of NaN, which gradients would carry on."""
    if padding is None:
        return state
    if state.ndim == 3 and padding.ndim == 2 and not batch_first:
        padding = padding.mT
    elif state.ndim == 3 and not batch_first:
        padding = padding.unsqueeze(-1)
    return without_non_finite(state, padding.unsqueeze(-1))


class HopfieldEncoderLayer(_Block):
    """States that associate with each other, then pass a small network; both are residual.

        x ← LayerNorm(x + Hopfield(x)),   x ← LayerNorm(x + W₂ f(W₁ x))

    Reference: Ramsauer et al. 2020, arXiv:2008.02217; Vaswani et al. 2017, arXiv:1706.03762.

    Args:
        hopfield_association: What the layer is to associate with: a copy is taken, its weights
            drawn anew, so one serves many layers.
        dim_feedforward: Features inside the small network.
        dropout: Share of activations dropped in training, of the association and the network.
        activation: f, a function or the name of one in torch.

    Raises:
        ParameterError: If the association's output is not of the size of its states, or an
            argument is out of range.

    Examples:
        >>> import torch
        >>> layer = HopfieldEncoderLayer(Hopfield(8, num_heads=2), dim_feedforward=32)
        >>> layer(torch.randn(4, 10, 8)).shape
        torch.Size([4, 10, 8])
    """

    first = "hopfield_association"

    def __init__(
        self,
        hopfield_association: Hopfield,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        self.hopfield_association = _copy(hopfield_association, None)
        size = self.input_size
        self.residual = _Residual(size, dropout)
        self.feed_forward = _FeedForward(size, dim_feedforward, dropout, activation)
        self.to(getattr(self, self.first).scaling)  # of one dtype, in one place

    def forward(
        self,
        src: Float[Tensor, "*batch size"],
        src_mask: AnyMask = None,
        src_key_padding_mask: Padding = None,
    ) -> Float[Tensor, "*batch size"]:
        """Encodes a source: self-association, then the feed-forward net.

        Args:
            src: States, ``(batch, rows, features)`` or ``(rows, features)``.
            src_mask: ``association_mask`` of :class:`Hopfield`.
            src_key_padding_mask: ``stored_pattern_padding_mask`` of :class:`Hopfield`.
        """
        change = self.hopfield_association(src, src_key_padding_mask, src_mask)
        src = _without(src, src_key_padding_mask, batch_first=self.batch_first)
        return self.feed_forward(self.residual(src, change))

    def association(
        self, src: Tensor, src_mask: AnyMask = None, src_key_padding_mask: Padding = None
    ) -> Float[Tensor, "*batch H L S"]:
        """Computes the weights, as :meth:`Hopfield.association` does."""
        return self.hopfield_association.association(src, src_key_padding_mask, src_mask)

    def energy(
        self, src: Tensor, src_mask: AnyMask = None, src_key_padding_mask: Padding = None
    ) -> Float[Tensor, "*batch H L"]:
        """Computes the energies, as :meth:`Hopfield.energy` does."""
        return self.hopfield_association.energy(src, src_key_padding_mask, src_mask)

    def metastable_size(
        self, src: Tensor, src_mask: AnyMask = None, src_key_padding_mask: Padding = None
    ) -> Int[Tensor, "*batch H L"]:
        """Computes the sizes, as :meth:`Hopfield.metastable_size` does."""
        return self.hopfield_association.metastable_size(src, src_key_padding_mask, src_mask)

    def get_association_matrix(
        self,
        input: Tensor | Sequence[Tensor],  # noqa: A002 - as hflayers calls it
    ) -> Float[Tensor, "*batch H L S"]:
        """Computes the weights without gradients, by the name in hflayers."""
        return self.hopfield_association.get_association_matrix(input)


class HopfieldDecoderLayer(_Block):
    """States that associate with each other, then with a memory, then pass a small network.

        x ← LayerNorm(x + Hopfield(x)),   x ← LayerNorm(x + Hopfield(memory, x, memory)),
        x ← LayerNorm(x + W₂ f(W₁ x))

    Reference: Ramsauer et al. 2020, arXiv:2008.02217; Vaswani et al. 2017, arXiv:1706.03762.

    Args:
        hopfield_association_self: How states associate with each other: a copy, drawn anew.
        hopfield_association_cross: How they associate with the memory: a copy, drawn anew.
        dim_feedforward: Features inside the small network.
        dropout: Share of activations dropped in training, of the associations and the network.
        activation: f, a function or the name of one in torch.

    Raises:
        ParameterError: If an association's output is not of the size of the states, or an
            argument is out of range.

    Examples:
        >>> import torch
        >>> layer = HopfieldDecoderLayer(Hopfield(8), Hopfield(8), dim_feedforward=32)
        >>> layer(torch.randn(4, 10, 8), torch.randn(4, 20, 8)).shape
        torch.Size([4, 10, 8])
    """

    first = "hopfield_association_self"

    def __init__(
        self,
        hopfield_association_self: Hopfield,
        hopfield_association_cross: Hopfield,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        self.hopfield_association_self = _copy(hopfield_association_self, None)
        size = self.input_size
        self.hopfield_association_cross = _copy(hopfield_association_cross, size)
        self.residual_self = _Residual(size, dropout)
        self.residual_cross = _Residual(size, dropout)
        self.feed_forward = _FeedForward(size, dim_feedforward, dropout, activation)
        self.to(getattr(self, self.first).scaling)  # of one dtype, in one place

    def forward(
        self,
        tgt: Float[Tensor, "*batch size"],
        memory: Float[Tensor, "*memories features"],
        tgt_mask: AnyMask = None,
        memory_mask: AnyMask = None,
        tgt_key_padding_mask: Padding = None,
        memory_key_padding_mask: Padding = None,
    ) -> Float[Tensor, "*batch size"]:
        """Decodes a target: self-association, cross-association, the feed-forward net.

        Args:
            tgt: States, ``(batch, rows, features)`` or ``(rows, features)``.
            memory: What they associate with next, ``(batch, memories, features)``.
            tgt_mask: ``association_mask`` among the states.
            memory_mask: ``association_mask`` between states and memory.
            tgt_key_padding_mask: ``stored_pattern_padding_mask`` of the states.
            memory_key_padding_mask: ``stored_pattern_padding_mask`` of the memory.
        """
        state = self._after_self(tgt, tgt_mask, tgt_key_padding_mask)
        change = self.hopfield_association_cross(
            (memory, state, memory), memory_key_padding_mask, memory_mask
        )
        return self.feed_forward(self.residual_cross(state, change))

    def association(self, tgt: Tensor, memory: Tensor, **masks: AnyMask) -> tuple[Tensor, Tensor]:
        """Computes the weights among the states, and of the states after that with the memory.

        Masks as of :meth:`forward`, by keyword.
        """
        return self._both(Hopfield.association, tgt, memory, **masks)

    def energy(self, tgt: Tensor, memory: Tensor, **masks: AnyMask) -> tuple[Tensor, Tensor]:
        """Computes the energies of the same two; see :meth:`Hopfield.energy`."""
        return self._both(Hopfield.energy, tgt, memory, **masks)

    def metastable_size(
        self, tgt: Tensor, memory: Tensor, **masks: AnyMask
    ) -> tuple[Tensor, Tensor]:
        """Computes the sizes of the same two, as :meth:`Hopfield.metastable_size` does."""
        return self._both(Hopfield.metastable_size, tgt, memory, **masks)

    def get_association_matrix_self(
        self,
        input: Tensor | Sequence[Tensor],  # noqa: A002
    ) -> Float[Tensor, "*batch H L S"]:
        """Computes the weights among ``input`` without gradients, by the name in hflayers."""
        return self.hopfield_association_self.get_association_matrix(input)

    def get_association_matrix_cross(
        self,
        input: Tensor | Sequence[Tensor],  # noqa: A002
    ) -> Float[Tensor, "*batch H L S"]:
        """Computes the weights of ``(memory, states, memory)``, by the name in hflayers."""
        return self.hopfield_association_cross.get_association_matrix(input)

    def _after_self(self, tgt: Tensor, mask: AnyMask, padding: Padding) -> Tensor:
        change = self.hopfield_association_self(tgt, padding, mask)
        return self.residual_self(_without(tgt, padding, batch_first=self.batch_first), change)

    def _both(
        self,
        what: Callable[..., Tensor],
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: AnyMask = None,
        memory_mask: AnyMask = None,
        tgt_key_padding_mask: Padding = None,
        memory_key_padding_mask: Padding = None,
    ) -> tuple[Tensor, Tensor]:
        state = self._after_self(tgt, tgt_mask, tgt_key_padding_mask)
        cross = (memory, state, memory)
        return (
            what(self.hopfield_association_self, tgt, tgt_key_padding_mask, tgt_mask),
            what(self.hopfield_association_cross, cross, memory_key_padding_mask, memory_mask),
        )
