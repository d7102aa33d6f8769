"""Hugging Face Transformers whose every head is a memory that is looked up, not averaged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import torch
from torch import Generator, Tensor, nn

from isinglass._support.optional import require_extra
from isinglass._support.validation import (
    check_count,
    check_finite,
    check_generator,
    check_kind,
)
from isinglass.errors import IntractableError
from isinglass.nn.attention.functional import look_up

with require_extra("hf"):
    from transformers import PreTrainedModel
    from transformers.masking_utils import AttentionMaskInterface, eager_mask
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

__all__ = ["sampled_attention"]


class _Asked:
    """Whether the call of a model at hand wants attentions."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model, self.shares = model, False
        parts = (part for part in model.modules() if isinstance(part, PreTrainedModel))
        self.hooks = [part.register_forward_pre_hook(self.note, with_kwargs=True) for part in parts]

    def note(self, module: nn.Module, _: tuple[Any, ...], options: dict[str, Any]) -> None:
        wanted = options.get("output_attentions")
        if module is self.model:
            self.shares = bool(self.model.config.output_attentions if wanted is None else wanted)
        elif wanted:
            self.shares = True

    def stop(self) -> None:
        for hook in self.hooks:
            hook.remove()


def _check(model: object, draws: int | None, generator: object) -> None:
    """Refuses what is no model, no count and no source of randomness."""
    check_kind("model", model, PreTrainedModel, "a model of transformers")
    check_generator(generator)
    if draws is not None:
        check_count("draws", draws)


def _refuse(module: nn.Module, options: dict[str, Any]) -> None:
    """Refuses attention that is no plain softmax."""
    for option in ("softcap", "s_aux", "position_bias"):
        if options.get(option) is not None:
            raise IntractableError(
                f"{type(module).__name__} uses {option}, so its attention is no plain softmax",
                "Use a model without it",
            )


@contextmanager
def sampled_attention(
    model: PreTrainedModel, draws: int | None, generator: Generator | None = None
) -> Iterator[PreTrainedModel]:
    r"""Runs a trained Transformer with every head drawn at T = 1/(mβ), without retraining.

    Inside the block softmax(βKq)ᵀV becomes (n/m)ᵀV with n ~ Multinomial(m, softmax(βKq)): each
    head is a Hopfield–Boltzmann association step on its keys with a linear read-out. Every head
    is unbiased, and m → ∞ is the model itself. After the block the model is as it was.

    Reference: Ramsauer et al. 2020, arXiv:2008.02217.

    ``output_attentions=True`` gives the shares n/m. Where activations are checkpointed in training,
    leave the generator out.

    Args:
        model: A model whose attention can be set (``model.set_attn_implementation``), in
            evaluation: attention dropout is not applied.
        draws: m, look-ups of each head at each position; None is m → ∞.
        generator: Source of randomness, on the model's device; None is torch's global one.

    Yields:
        The same model.

    Raises:
        ParameterError: If ``draws`` is not a whole number of at least one, ``model`` no model of
            transformers, or ``generator`` none of torch.
        IntractableError: If the model's attention cannot be set, or is not a plain softmax.

    Examples:
        >>> from transformers import GPT2Config, GPT2LMHeadModel
        >>> config = GPT2Config(vocab_size=20, n_positions=8, n_embd=8, n_layer=1, n_head=2)
        >>> model = GPT2LMHeadModel(config).eval()
        >>> with sampled_attention(model, draws=4), torch.no_grad():
        ...     model(torch.arange(5)[None]).logits.shape
        torch.Size([1, 5, 20])
    """
    _check(model, draws, generator)
    asked = _Asked(model)

    def attend(
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        scaling: float | None = None,
        **options: Any,
    ) -> tuple[Tensor, Tensor | None]:
        _refuse(module, options)
        repeats = query.shape[1] // key.shape[1]  # grouped queries share keys and values
        mask = None
        if attention_mask is not None:
            mask = attention_mask > torch.finfo(attention_mask.dtype).min / 2
            if bool((attention_mask.where(mask, 0.0) != 0).any()):
                raise IntractableError(
                    f"{type(module).__name__} adds biases to the scores by its mask, so its "
                    "attention is no plain softmax",
                    "Use a model without them",
                )
        for name, rows in (("query", query), ("key", key), ("value", value)):
            check_finite(name, rows)
        looked_up, shares = look_up(
            query,
            key.repeat_interleave(repeats, 1),
            value.repeat_interleave(repeats, 1),
            draws,
            beta=query.shape[-1] ** -0.5 if scaling is None else scaling,
            mask=None if mask is None else ~mask,
            generator=generator,
            need_shares=asked.shares,
        )
        return looked_up.transpose(1, 2).contiguous(), shares

    # transformers looks attention up by name. Ours leaves the table with the block; that the name
    # asks for masks of numbers is told to transformers once, and names are used again.
    name = next(n for n in map("isinglass-{}".format, count()) if n not in ALL_ATTENTION_FUNCTIONS)
    before = model.config._attn_implementation or "eager"
    AttentionMaskInterface.register(name, eager_mask)
    ALL_ATTENTION_FUNCTIONS[name] = attend
    try:
        model.set_attn_implementation(name)
        if model.config._attn_implementation != name:
            raise IntractableError(
                f"the attention of {type(model).__name__} cannot be set",
                "Use a model that follows transformers' attention interface",
            )
        yield model
    finally:
        asked.stop()
        model.set_attn_implementation(before)
        del ALL_ATTENTION_FUNCTIONS[name]
