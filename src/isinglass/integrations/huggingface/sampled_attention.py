"""Hugging Face Transformers whose every head is a memory that is looked up, not averaged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Generator, Tensor, nn

from isinglass._support.optional import require_extra
from isinglass._support.validation import (
    check_count,
    check_finite,
    check_generator,
    check_kind,
)
from isinglass.integrations.huggingface.attention_interface import (
    AttentionCall,
    replaced_attention,
)

with require_extra("hf"):
    from transformers import PreTrainedModel

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


@contextmanager
def sampled_attention(
    model: PreTrainedModel, draws: int | None, generator: Generator | None = None
) -> Iterator[PreTrainedModel]:
    r"""Runs a trained Transformer with every head drawn at T = 1/(mβ), without retraining.

    Inside the block softmax(βKq)ᵀV becomes (n/m)ᵀV with n ~ Multinomial(m, softmax(βKq)): each
    head is a Hopfield–Boltzmann association step on its keys with a linear read-out. Every head
    is unbiased, and m → ∞ is the model itself. After the block the model is as it was.

    Reference: Ramsauer et al. 2020, arXiv:2008.02217.

    A position bias is a field of a pattern, a sink is a null pattern, capped scores are squashed:
    all are drawn from as they are. ``output_attentions=True`` gives the shares n/m of the keys.
    Where activations are checkpointed in training, leave the generator out.

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
        IntractableError: If the model's attention cannot be set, or its keys lie in a paged cache.

    Examples:
        >>> import torch
        >>> from transformers import GPT2Config, GPT2LMHeadModel
        >>> config = GPT2Config(vocab_size=20, n_positions=8, n_embd=8, n_layer=1, n_head=2)
        >>> model = GPT2LMHeadModel(config).eval()
        >>> with sampled_attention(model, draws=4), torch.no_grad():
        ...     model(torch.arange(5)[None]).logits.shape
        torch.Size([1, 5, 20])
    """
    _check(model, draws, generator)
    asked = _Asked(model)

    def attend(call: AttentionCall) -> tuple[Tensor, Tensor | None]:
        for name in ("query", "key", "value"):
            check_finite(name, getattr(call, name))
        return call.attend(draws, asked.shares, generator=generator)

    try:
        with replaced_attention(model, attend):
            yield model
    finally:
        asked.stop()
