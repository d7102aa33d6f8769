"""The keywords of the Hopfield layers, for editors and type checkers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypedDict

import torch
from torch import Tensor

__all__ = ["HopfieldKeywords", "LayerKeywords"]


class HopfieldKeywords(TypedDict, total=False):
    """The fields of :class:`HopfieldOptions` as keywords of a layer, which explains each of them.

    A type checker reads ``**options`` from this list; at run time the dataclass checks them. A test
    holds the two equal.
    """

    hidden_size: int | None
    output_size: int | None
    pattern_size: int | None
    num_heads: int
    update_steps_max: int | Sequence[int | None] | Tensor | None
    update_steps_eps: float | Sequence[float] | Tensor
    normalize_stored_pattern: bool
    normalize_stored_pattern_affine: bool | None
    normalize_stored_pattern_eps: float
    normalize_state_pattern: bool
    normalize_state_pattern_affine: bool | None
    normalize_state_pattern_eps: float
    normalize_pattern_projection: bool
    normalize_pattern_projection_affine: bool | None
    normalize_pattern_projection_eps: float
    normalize_hopfield_space: bool
    normalize_hopfield_space_affine: bool
    normalize_hopfield_space_eps: float
    stored_pattern_as_static: bool
    state_pattern_as_static: bool
    pattern_projection_as_static: bool
    pattern_projection_as_connected: bool
    stored_pattern_size: int | None
    pattern_projection_size: int | None
    batch_first: bool
    association_activation: str | Callable[[Tensor], Tensor] | None
    dropout: float
    input_bias: bool
    concat_bias_pattern: bool
    add_zero_association: bool
    disable_out_projection: bool


class LayerKeywords(HopfieldKeywords, total=False):
    """Those of :class:`HopfieldKeywords` and the keywords of :class:`Hopfield` itself."""

    scaling: float | Tensor | None
    device: torch.device | str | None
    dtype: torch.dtype | None
