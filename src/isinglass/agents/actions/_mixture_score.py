"""Q of actions under a mixture of stored patterns, from features in one pass there and back."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from isinglass._support.typing import Float
from isinglass._support.validation import values_visible

__all__ = ["mixture_score", "scores_in_one_pass"]


def scores_in_one_pass(features: Tensor, fields: Tensor, state: Tensor) -> bool:
    """Tells whether :func:`mixture_score` can: row by row, no slope for actions, plain tensors."""
    by_rows = features.ndim == state.ndim == 2 and len(features) == len(state)
    mixed = torch.is_autocast_enabled(features.device.type)
    plain = all(map(values_visible, (features, fields, state)))
    return by_rows and plain and not mixed and not state.requires_grad


def mixture_score(
    features: Float[Tensor, "batch f"],
    weight: Float[Tensor, "N f"],
    bias: Float[Tensor, " N"],
    fields: Float[Tensor, "N d"],
    scale: Float[Tensor, ""],
    offset: Float[Tensor, ""],
    state: Float[Tensor, "batch d"],
    temperature: float,
) -> Float[Tensor, " batch"]:
    r"""Computes Q = T log Σ_μ exp(s·u_μ/T) − T log N + o,   u_μ = w_μ·φ + b_μ + θ_μ·a.

    What :class:`~isinglass.PatternMixture` says of keys s·(Wφ + b) and fields s·θ, in a third of
    the operations: the responsibilities p(μ|a, φ), of which its slope consists, are made on the
    way, and the scale enters once. Slopes of slopes are not given.

    Args:
        features: φ.
        weight: W, of the keys.
        bias: b, of the keys.
        fields: θ, the patterns.
        scale: s > 0.
        offset: o.
        state: Actions as states of units without an energy of their own; no slope is given.
        temperature: T > 0.

    Examples:
        >>> one = torch.ones(1)
        >>> inputs = one[None], one[None], 0 * one, one[None], one[0], one[0], one[None]
        >>> mixture_score(*inputs, temperature=0.5)  # a single memory: 1 + 1 + offset
        tensor([3.])
    """
    return _MixtureScore.apply(features, weight, bias, fields, scale, offset, state, temperature)  # pyright: ignore[reportReturnType]


class _MixtureScore(torch.autograd.Function):
    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        bias: Tensor,
        fields: Tensor,
        scale: Tensor,
        offset: Tensor,
        state: Tensor,
        temperature: float,
    ) -> Tensor:
        logits = torch.addmm(bias, features, weight.mT).addmm_(state, fields.mT)
        responsibilities = torch.softmax(logits * (scale / temperature), -1)
        ctx.save_for_backward(features, weight, scale, state, logits, responsibilities)
        # The largest share is exp(s max u/T) over the sum.
        spread = responsibilities.amax(-1).log_()
        level = torch.sub(offset - temperature * math.log(len(bias)), spread, alpha=temperature)
        return level.addcmul_(logits.amax(-1), scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        features, weight, scale, state, logits, responsibilities = ctx.saved_tensors
        grad_logits = responsibilities * grad_output.unsqueeze(-1)
        to_scale = torch.dot(grad_logits.view(-1), logits.view(-1))
        grad_logits *= scale
        across = grad_logits.mT
        return (
            grad_logits @ weight if ctx.needs_input_grad[0] else None,
            across @ features,
            grad_logits.sum(0),
            across @ state,
            to_scale,
            grad_output.sum(),
            None,
            None,
        )
