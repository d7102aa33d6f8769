"""A trained model with some of its heads replaced by fixed weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from isinglass._support.optional import require_extra
from isinglass._support.typing import Float
from isinglass._support.validation import check_kind
from isinglass.analysis.heads import AttentionHeads, fixed_features
from isinglass.errors import IntractableError, ParameterError
from isinglass.integrations.huggingface.attention_interface import (
    AttentionCall,
    replaced_attention,
)
from isinglass.integrations.huggingface.head_plan import FEATURES, FixedHeads, HeadPlan

with require_extra("hf"):
    from transformers import PreTrainedModel

__all__ = ["attend_fixed", "first_keys", "head_features", "replace_heads"]

#: Queries for which to leave scores out takes longer than to compute them: to give the other heads
#: keys of their own copies all keys.
FEW = 16


@contextmanager
def replace_heads(model: PreTrainedModel, plan: HeadPlan) -> Iterator[PreTrainedModel]:
    r"""Runs a trained Transformer with the heads of a plan replaced by fixed weights.

    Inside the block a replaced head gives c + a·mean + b·v_first + d·v_self + e·v_previous of the
    values that a query sees, and its scores are not computed, but for a few queries at a time, as
    in generation, where that would take longer. The other heads are attended to by torch's fused
    kernels. After the block the model is as it was. Generation with a cache works:
    the mean is taken over the values in the cache.

    Args:
        model: The model that the plan was made for, or one with the same modules and heads.
        plan: Which heads, and their weights, as of
            :func:`~isinglass.integrations.plan_heads`. An empty one changes nothing.

    Yields:
        The same model.

    Raises:
        ParameterError: If ``model`` is no model of transformers, or the plan names a module or a
            head that it has not.
        IntractableError: If the model's attention cannot be set, its keys lie in a paged cache,
            or a replaced head's first key leaves a sliding window.

    Examples:
        >>> from transformers import LlamaConfig, LlamaForCausalLM
        >>> config = LlamaConfig(vocab_size=20, hidden_size=16, intermediate_size=16,
        ...                      num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)
        >>> model = LlamaForCausalLM(config).eval()
        >>> with replace_heads(model, HeadPlan({}, total=8)), torch.no_grad():
        ...     model(torch.arange(5)[None]).logits.shape
        torch.Size([1, 5, 20])
    """
    check_kind("model", model, PreTrainedModel, "a model of transformers")
    check_kind("plan", plan, HeadPlan, "a HeadPlan")
    named = dict(model.named_modules())
    missing = [name for name in plan.modules if name not in named]
    if missing:
        raise ParameterError(
            f"a plan for {missing[0]}, which {type(model).__name__} has not",
            "Give the plan of this model",
        )
    parts = {id(named[name]): part for name, part in plan.modules.items()}

    def attend(call: AttentionCall) -> tuple[Tensor, None]:
        return attend_fixed(call, parts.get(id(call.module))), None

    with replaced_attention(model, attend):
        yield model


def attend_fixed(call: AttentionCall, part: FixedHeads | None) -> Float[Tensor, "b L H e"]:
    """Attends with some heads replaced by fixed weights.

    Args:
        call: The call.
        part: The heads that are replaced; None is none.

    Raises:
        ParameterError: If a head is not there.
        IntractableError: If the first key leaves a sliding window.
    """
    if part is None or len(part.heads) == 0:
        return call.fused()
    count, device = call.query.shape[1], call.query.device
    heads = part.heads.to(device)
    if int(heads.max()) >= count:
        raise ParameterError(
            f"head {int(heads.max())} of a module with {count}", "Give the plan of this model"
        )
    found = _weigh(part, head_features(call, heads)).to(call.value.dtype).transpose(1, 2)
    if call.query.shape[2] <= FEW:
        return call.fused().index_copy(2, heads, found)
    order = torch.ones(count, dtype=torch.bool, device=device)
    order[heads] = False
    kept = order.nonzero()[:, 0]
    if len(kept) == 0:
        return found.contiguous()
    rest = call.part(kept).fused()
    place = torch.cat([kept, heads]).argsort()
    return torch.cat([rest, found], 2)[:, :, place].contiguous()


def _weigh(part: FixedHeads, features: Mapping[str, Tensor]) -> Tensor:
    """c + Σ weight · feature, ``(b, m, L, e)``."""
    some = next(iter(features.values()))
    weights, constant = part.weights.to(some), part.constant.to(some)
    found = constant[:, None].expand_as(some)
    for at, name in enumerate(FEATURES):
        found = torch.addcmul(found, weights[:, at, None, None], features[name])
    return found


def head_features(
    call: AttentionCall, heads: Tensor, rows: Tensor | None = None
) -> dict[str, Float[Tensor, "b m R e"]]:
    """Computes what fixed weights of some heads are put on.

    Args:
        call: The call.
        heads: Which heads, ``(m,)``.
        rows: Which queries, ascending; None is all.

    Raises:
        IntractableError: If the first key leaves a sliding window.
    """
    if call.window is not None and call.key.shape[2] > call.window:
        raise IntractableError(
            f"{call.key.shape[2]} keys under a window of {call.window}, which the first one leaves",
            "Replace heads of layers without a window, or give a shorter text",
        )
    shared = call.query.shape[1] // call.key.shape[1]
    whole = call.part(heads)
    scores = (whole.mask, whole.bias)
    alike = all(not isinstance(s, Tensor) or s.ndim < 3 or s.shape[-3] == 1 for s in scores)
    groups, places = heads // shared, torch.arange(len(heads), device=heads.device)
    if alike:  # heads that share values share what is computed of them
        groups, places = groups.unique(return_inverse=True)
    # Features look at values alone: queries and keys only say how many there are.
    key = call.key[:, :1].expand(-1, len(groups), -1, -1)
    query = call.query[:, :1].expand(-1, len(groups), -1, -1)
    found = fixed_features(
        AttentionHeads(query, key, call.value[:, groups], call.beta, whole.mask, bias=whole.bias),
        torch.arange(call.query.shape[2], device=heads.device) if rows is None else rows,
        first=first_keys(call),
        offset=call.offset,
    )
    return {name: values[:, places] for name, values in found.items()}


def first_keys(call: AttentionCall) -> Tensor | None:
    """Returns which key is the first of each sequence, where padding goes before it."""
    return None if call.padding is None else call.padding.long().argmax(-1)
