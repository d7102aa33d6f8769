"""Weights and options of hflayers, brought over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from isinglass._support.validation import check_count, check_kind, check_tensor, is_hollow
from isinglass.errors import DomainError, ParameterError, ShapeError
from isinglass.nn.hopfield.layer import Hopfield
from isinglass.nn.hopfield.transformer import HopfieldDecoderLayer, HopfieldEncoderLayer

__all__ = ["hflayers_options", "import_hflayers_state"]

OPERATION = "import_hflayers_state"
LAYERS = Hopfield, HopfieldEncoderLayer, HopfieldDecoderLayer
HEADS = {
    "q_proj_weight": "project_state.weight",
    "k_proj_weight": "project_stored.weight",
    "v_proj_weight": "project_projection.weight",
    "out_proj.weight": "project_out.weight",
    "out_proj.bias": "project_out.bias",
    "bias_k": "bias_stored",
    "bias_v": "bias_projection",
    "p_norm_weight": "norm_hopfield_space.weight",
    "p_norm_bias": "norm_hopfield_space.bias",
}
BLOCK = {
    "linear_residual": "feed_forward.inner",
    "linear_output": "feed_forward.outer",
    "norm_output": "feed_forward.residual.norm",
    "norm_residual": "residual.norm",
    "norm_residual_self": "residual_self.norm",
    "norm_residual_cross": "residual_cross.norm",
}


def hflayers_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Converts options that were meant for hflayers, as isinglass counts.

    All keep their names. hflayers' ``update_steps_max=k`` makes k + 1 updates, none is one: here k
    makes k. None, until rest, stays; a number below zero means the same and becomes None.

    Args:
        options: Keyword arguments of a layer of hflayers.

    Raises:
        ParameterError: If ``update_steps_max`` is neither a whole number nor one a head, or
            ``options`` no dictionary.

    Examples:
        >>> hflayers_options({"input_size": 8, "num_heads": 2, "update_steps_max": 0})
        {'input_size': 8, 'num_heads': 2, 'update_steps_max': 1}
    """
    check_kind("options", options, Mapping, "a dictionary of keyword arguments")
    steps = options.get("update_steps_max", 0)
    if isinstance(steps, Tensor):
        steps = steps.long().tolist()
    several = isinstance(steps, (list, tuple))
    counted = tuple(map(_count, steps)) if several else _count(steps)
    return {**options, "update_steps_max": counted}


def _count(steps: Any) -> int | None:
    """All updates, where hflayers leaves the last out."""
    if steps is None or (type(steps) is int and steps < 0):
        return None
    return check_count("update_steps_max", steps, least=0) + 1


@torch.no_grad()
def import_hflayers_state(
    layer: Hopfield | HopfieldEncoderLayer | HopfieldDecoderLayer, state: Mapping[str, Tensor]
) -> None:
    """Fills a layer with the state dict of its counterpart in hflayers, in place.

    β is no part of such a state: it stays what ``scaling`` made it.

    Args:
        layer: Made with the options of the other, through :func:`hflayers_options`.
        state: ``state_dict()`` of the other.

    Raises:
        ParameterError: If the layer lacks a tensor of the state, or the state one of the layer, or
            one of them is of another kind.
        ShapeError: If a tensor has another shape than the layer's.
        DomainError: If an entry is no tensor, or one on the device "meta".

    Examples:
        >>> from isinglass.nn import HopfieldPooling
        >>> layer = HopfieldPooling(4, quantity=2, disable_out_projection=True)
        >>> norms = ("stored_pattern", "state_pattern", "pattern_projection")
        >>> state = {f"hopfield.norm_{name}.weight": torch.ones(4) for name in norms}
        >>> state |= {f"hopfield.norm_{name}.bias": torch.zeros(4) for name in norms}
        >>> state["hopfield.association_core.in_proj_weight"] = torch.randn(12, 4)
        >>> state["hopfield.association_core.in_proj_bias"] = torch.zeros(12)
        >>> state["pooling_weights"] = torch.randn(1, 2, 4)
        >>> import_hflayers_state(layer, state)
        >>> bool((layer.pooling_weights == state["pooling_weights"][0]).all())
        True
    """
    if not isinstance(layer, LAYERS):
        raise ParameterError(
            f"layer of type {type(layer).__name__}",
            f"Give a layer of isinglass.nn: {', '.join(kind.__name__ for kind in LAYERS)}",
        )
    check_kind("state", state, Mapping, "a dictionary, layer.state_dict()")
    for name, values in state.items():
        check_tensor(f"entry {name!r}", values)
        if is_hollow(values):
            raise DomainError(f"entry {name!r} without values", "Load it on another device: cpu")
    found = _rename(layer, state)
    wanted = {name: to for name, to in layer.state_dict().items() if not name.endswith("scaling")}
    for said, names in (
        ("the layer has no place for", found.keys() - wanted.keys()),
        ("the state lacks", wanted.keys() - found.keys()),
    ):
        if names:
            raise ParameterError(
                f"{said} {', '.join(sorted(names))}",
                "Make the layer with the options of the one that the state is from",
            )
    for name, to in wanted.items():
        if found[name].shape != to.shape:
            raise ShapeError(
                f"{name} of shape {tuple(found[name].shape)}, the layer's is {tuple(to.shape)}",
                "Make the layer with the sizes of the one that the state is from",
            )
    layer.load_state_dict(found, strict=False)


def _rename(layer: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the state under the names that the layer has for them."""
    if isinstance(layer, Hopfield):
        return _rename_association(layer, state)
    found: dict[str, Tensor] = {}
    for name, values in state.items():
        part, _, rest = name.partition(".")
        child = getattr(layer, part, None)
        if isinstance(child, Hopfield):
            inner = _rename_association(child, {rest: values})
            found |= {f"{part}.{own}": value for own, value in inner.items()}
        else:
            found[f"{BLOCK.get(part, part)}.{rest}"] = values
    return found


def _rename_association(layer: Hopfield, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, values in state.items():
        if values.numel() == 0 or values.ndim == 0:
            raise ShapeError(
                f"{name} of shape {tuple(values.shape)}",
                "Give the state dict of a layer of hflayers",
            )
        own = name.removeprefix("hopfield.").removeprefix("association_core.")
        if own in ("in_proj_weight", "in_proj_bias"):
            found |= _split(layer, own.removeprefix("in_proj_"), values)
        elif own in ("bias_k", "bias_v"):
            found[HEADS[own]] = values.reshape(layer.num_heads, -1)
        elif own in ("pooling_weights", "lookup_weights", "target_weights"):
            found[own] = values.reshape(-1, values.shape[-1])
        else:
            found[HEADS.get(own, own)] = values
    return found


def _split(layer: Hopfield, kind: str, values: Tensor) -> dict[str, Tensor]:
    """The rows of the maps of states, stored patterns and projections, which are in one."""
    found = {}
    for name in ("project_state", "project_stored", "project_projection"):
        linear = getattr(layer, name)
        if linear is not None:
            found[f"{name}.{kind}"] = values[: linear.out_features]
            values = values[linear.out_features :]
    unused = layer.pattern_projection_as_static and kind == "bias"  # rows that nothing reads
    if len(values) and not unused:
        raise ShapeError(
            f"in_proj_{kind} has {len(values)} rows more than the layer's maps",
            "Make the layer with the sizes of the one that the state is from",
        )
    return found
