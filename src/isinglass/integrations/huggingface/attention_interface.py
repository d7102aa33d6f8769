"""One place that puts attention of ours into a model of transformers, and takes it out again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Literal

import torch
from torch import Tensor, nn

from isinglass._support.optional import require_extra
from isinglass.analysis.heads import AttentionHeads
from isinglass.errors import IntractableError
from isinglass.nn.attention.functional import look_up

with require_extra("hf"):
    from transformers import PreTrainedConfig, PreTrainedModel
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import (
        AttentionMaskInterface,
        eager_mask,
        prepare_padding_mask,
        sdpa_mask,
    )
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, AttentionInterface

__all__ = ["Attend", "AttentionCall", "replaced_attention"]

#: Scores of a block of queries, at most.
MOST = 2**24


@dataclass(frozen=True)
class AttentionCall:
    """One call of the attention of a model, as softmax over scores with what alters them.

    Attributes:
        module: Whose attention it is.
        query: ``(b, H, L, d)``.
        key: ``(b, G, S, d)``, shared by H/G heads each.
        value: ``(b, G, S, e)``.
        beta: What products of queries and keys are scaled by.
        mask: ``"causal"``, booleans (True: a query may look), numbers added to scores, or None.
        bias: Numbers added to the scores for positions, or None.
        null: Scores of a null pattern for each head, or None: a sink.
        softcap: c of c·tanh(score/c), or None.
        padding: True for keys that are no padding, ``(b, S)``; None if all are.
        offset: Which key is that of the first query, if queries are keys.
        window: How many keys a query sees at most, or None: older ones leave the cache.
    """

    module: nn.Module
    query: Tensor
    key: Tensor
    value: Tensor
    beta: float
    mask: Tensor | Literal["causal"] | None
    bias: Tensor | None
    null: Tensor | None
    softcap: float | None
    padding: Tensor | None
    offset: int
    window: int | None = None

    def heads(self) -> AttentionHeads:
        """Returns the heads, for their statistics."""
        return AttentionHeads(
            self.query, self.key, self.value, self.beta, self.mask, self.bias, self.null,
            self.softcap,
        )  # fmt: skip

    def part(self, heads: Tensor) -> AttentionCall:
        """Returns the call with some of its heads, ``(m,)``, each with keys of its own."""
        shared = self.query.shape[1] // self.key.shape[1]

        def some(scores: Any) -> Any:
            if not isinstance(scores, Tensor) or scores.ndim < 3 or scores.shape[-3] == 1:
                return scores
            return scores.index_select(-3, heads)

        return replace(
            self,
            module=nn.Module(),  # that of the model would have the keys shared
            query=self.query[:, heads], key=self.key[:, heads // shared],
            value=self.value[:, heads // shared], mask=some(self.mask), bias=some(self.bias),
            null=None if self.null is None else self.null[heads],
        )  # fmt: skip

    def hidden(self, rows: slice) -> Tensor | None:
        """Returns, for some queries, where they may not look, or numbers to add to the scores."""
        width = self.key.shape[2]
        hides = added = None
        if isinstance(self.mask, str):
            own = torch.arange(self.query.shape[2], device=self.query.device)[rows]
            hides = torch.arange(width, device=own.device) > own[:, None]
        for numbers in (None if isinstance(self.mask, str) else self.mask, self.bias):
            if numbers is None:
                continue
            part = numbers[..., rows, :width] if numbers.shape[-2] > 1 else numbers[..., :width]
            if part.dtype == torch.bool:
                hides = ~part if hides is None else hides | ~part
                continue
            far = part <= torch.finfo(part.dtype).min / 2
            hides = far if hides is None else hides | far
            part = part.masked_fill(far, 0.0)
            added = part if added is None else added + part
        if self.null is not None:
            shape = (*self.query[:, :, rows].shape[:3], width)
            added = self.query.new_zeros(shape) if added is None else added.expand(shape)
        if added is None:
            return hides
        if hides is not None:
            added = added.masked_fill(hides, -torch.inf)
        if self.null is not None:
            null = self.null.to(added)[None, :, None, None].expand(*added.shape[:3], 1)
            added = torch.cat([added, null], -1)
        return added

    def attend(
        self, draws: int | None = None, need_shares: bool = False, **options: Any
    ) -> tuple[Tensor, Tensor | None]:
        """Looks keys up a block of queries at a time.

        Args:
            draws: m, or None for the softmax itself.
            need_shares: Whether to give n/m too.
            options: As of :func:`~isinglass.nn.attention.functional.look_up`.

        Returns:
            The average of the values, ``(b, L, H, e)``, and n/m of the keys if asked for.
        """
        shared, size = self.query.shape[1] // self.key.shape[1], self.key.shape[2]
        key, value = (rows.repeat_interleave(shared, 1) for rows in (self.key, self.value))
        if self.null is not None:  # a pattern of zeros, its value too
            key, value = (nn.functional.pad(rows, (0, 0, 0, 1)) for rows in (key, value))
        heads, length = self.query.shape[1:3]
        each = max(1, MOST // max(1, len(key) * heads * size))
        outputs, shares = [], []
        for start in range(0, length, each):
            rows = slice(start, min(start + each, length))
            found, part = look_up(
                self.query[:, :, rows], key, value, draws, beta=self.beta,
                mask=self.hidden(rows), softcap=self.softcap, need_shares=need_shares, **options,
            )  # fmt: skip
            outputs.append(found)
            if part is not None:
                shares.append(part[..., :size])
        output = outputs[0] if len(outputs) == 1 else torch.cat(outputs, 2)
        return output.transpose(1, 2).contiguous(), torch.cat(shares, 2) if shares else None

    def fused(self) -> Tensor:
        """Attends by torch's fused kernels where they can, by blocks of queries elsewhere."""
        if self.softcap is not None or self.null is not None:
            return self.attend()[0]
        causal = isinstance(self.mask, str)
        return sdpa_attention_forward(
            self.module, self.query, self.key, self.value,
            None if isinstance(self.mask, str) else self.mask,
            scaling=self.beta, is_causal=causal, position_bias=self.bias,
        )[0]  # fmt: skip


#: Gives the output, ``(b, L, H, e)``, and the shares of the keys if there are any.
Attend = Callable[[AttentionCall], tuple[Tensor, Tensor | None]]


@contextmanager
def replaced_attention(model: PreTrainedModel, attend: Attend) -> Iterator[None]:
    """Lets every head of a model be computed by a function of ours while the block runs.

    Attention and masks are replaced together under one name that is free, in every tower of a
    composite model, and every tower gets its own back.

    Args:
        model: The model.
        attend: What computes the heads of a call.

    Raises:
        IntractableError: If the model's attention cannot be set.
    """

    def forward(
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        scaling: float | None = None,
        **options: Any,
    ) -> tuple[Tensor, Tensor | None]:
        if not fused:  # masks are made for the causal ones too, and none hides nothing
            options["is_causal"] = False
        return attend(_read_call(module, query, key, value, attention_mask, scaling, options))

    # transformers looks attention up by name. Ours leaves the table with the block; the masks of a
    # name are told to transformers once, and names are used again.
    fused = all(part._supports_sdpa for part in _parts(model))
    kind = "masked" if fused else "added"
    names = map(f"isinglass-{kind}-{{}}".format, count())
    name = next(name for name in names if name not in ALL_ATTENTION_FUNCTIONS)
    before = {id(config): (config, config._attn_implementation) for config in _configs(model)}
    AttentionMaskInterface.register(name, _boolean_mask if fused else _number_mask)
    AttentionInterface.register(name, forward)  # in the tables that models keep for themselves too
    try:
        _set(model, name)
        yield
    finally:
        for config, implementation in before.values():
            config._attn_implementation_internal = implementation
        AttentionInterface._global_mapping.pop(name, None)


def _set(model: PreTrainedModel, name: str) -> None:
    fixed = [part for part in _parts(model) if not part._can_set_attn_implementation()]
    if not fixed:
        model.set_attn_implementation(name)
        fixed = [part for part in _parts(model) if part.config._attn_implementation != name]
    if fixed:
        raise IntractableError(
            f"the attention of {type(fixed[0]).__name__} cannot be set",
            "Use a model that follows transformers' attention interface",
        )


def _parts(model: PreTrainedModel) -> list[PreTrainedModel]:
    return [part for part in model.modules() if isinstance(part, PreTrainedModel)]


def _configs(model: PreTrainedModel) -> Iterator[PreTrainedConfig]:
    """The configurations of all towers, and of those inside of them."""
    waiting = [part.config for part in _parts(model)]
    while waiting:
        config = waiting.pop()
        yield config
        inner = (getattr(config, name, None) for name in config.sub_configs)
        waiting += [one for one in inner if isinstance(one, PreTrainedConfig)]


def _boolean_mask(*args: Any, **options: Any) -> Tensor | None:
    """The mask of transformers for fused attention: none where it is known without one."""
    return _noted(sdpa_mask(*args, **options), options)


def _number_mask(*args: Any, **options: Any) -> Tensor | None:
    """The mask of transformers for models without fused attention, which may do sums with it."""
    return _noted(eager_mask(*args, **options), options)


def _noted(mask: Tensor | None, options: dict[str, Any]) -> Tensor | None:
    """Keeps on a mask what the statistics of a head want to know and a mask does not tell."""
    if mask is not None:
        start, size = int(options.get("kv_offset", 0)), int(options["kv_length"])
        padding = prepare_padding_mask(options.get("attention_mask"), size, start)
        note = None if padding is None else padding[:, start : start + size].bool()
        mask.isinglass_note = note, int(options.get("q_offset", 0)) - start  # pyright: ignore[reportAttributeAccessIssue]
    return mask


def _read_mask(mask: Tensor, length: int) -> tuple[Tensor | None, int | None]:
    """Reads padding and offset off a mask whose note was lost, as ``generate`` does in a cache.

    The last query sees all keys but padding, and its own is the last one that it sees.
    """
    if mask.ndim != 4 or mask.shape[1] != 1 or mask.shape[2] != length:
        return None, None
    last = mask[:, 0, -1]
    last = last if last.dtype == torch.bool else last > torch.finfo(last.dtype).min / 2
    own = last.shape[1] - 1 - int(last.any(0).long().flip(0).argmax())
    return last, own - length + 1


def _read_call(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scaling: float | None,
    options: dict[str, Any],
) -> AttentionCall:
    """Reads what transformers hands to an attention function.

    Raises:
        IntractableError: If the keys lie in a paged cache, or sinks change with the query.
    """
    if options.get("cache") is not None:
        raise IntractableError(
            f"{type(module).__name__} reads keys from a paged cache",
            "Use a dynamic or a static cache, or none",
        )
    if options.get("sinks") is not None:
        raise IntractableError(
            f"{type(module).__name__} has sinks that change with the query",
            "Use a model whose sinks are a number for each head",
        )
    padding, offset = getattr(mask, "isinglass_note", (None, None))
    bias, (length, size) = options.get("position_bias"), (query.shape[2], key.shape[2])
    causal = options.get("is_causal")
    causal = getattr(module, "is_causal", True) if causal is None else causal
    seen: Tensor | Literal["causal"] | None = mask
    if mask is None and causal and length > 1:
        seen = "causal"
        if size > length:  # the rest of a static cache, empty as yet
            key, value = key[:, :, :length], value[:, :, :length]
    if offset is None and isinstance(seen, Tensor) and causal and size > length:
        padding, offset = _read_mask(seen, length)
    if padding is not None and padding.shape[1] != key.shape[2]:
        padding = None
    if offset is None:
        offset = 0 if isinstance(seen, str) else max(0, size - length)
    null = options.get("s_aux")
    return AttentionCall(
        module, query, key, value,
        query.shape[-1] ** -0.5 if scaling is None else float(scaling),
        seen, bias, None if null is None else null.reshape(-1),
        options.get("softcap"), padding, offset, options.get("sliding_window"),
    )  # fmt: skip
