"""What a language model must be able to do: one method; the rest follows from it."""

from __future__ import annotations

import inspect
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from isinglass._support.typing import Float, Int
from isinglass.errors import ParameterError, ShapeError

__all__ = ["CallableModel", "LanguageModel", "TransformersModel", "as_language_model"]


class LanguageModel(nn.Module, ABC):
    """Logits of the next token after every prefix of some tokens: one required method.

        logits[n, t] = ℓ(· | tokens[n, :t + 1])

    The model must be causal: what stands after a position has no part in its logits, so that
    shorter rows may be filled up behind their end. :meth:`begin` and :meth:`extend` compute the
    whole prefix again for each token; override both where keys and values can be kept.

    Examples:
        >>> class Uniform(LanguageModel):
        ...     def logits(self, tokens):
        ...         return torch.zeros(*tokens.shape, 4)
        >>> last, past = Uniform().begin(torch.tensor([[0, 1]]))
        >>> Uniform().extend(past, torch.tensor([3]))[0].shape
        torch.Size([1, 4])
    """

    @abstractmethod
    def logits(self, tokens: Int[Tensor, "rows length"]) -> Float[Tensor, "rows length words"]:
        """Computes the logits of the token that follows each position."""

    def forward(self, tokens: Int[Tensor, "rows length"]) -> Float[Tensor, "rows length words"]:
        """Computes what :meth:`logits` does."""
        return self.logits(tokens)

    def begin(self, tokens: Int[Tensor, "rows length"]) -> tuple[Float[Tensor, "rows words"], Any]:
        """Computes the logits of the last position, and what :meth:`extend` needs to go on."""
        return self.logits(tokens)[:, -1], tokens

    def extend(self, past: Any, token: Int[Tensor, " rows"]) -> tuple[Tensor, Any]:
        """Adds one token to each row; computes as :meth:`begin` does."""
        return self.begin(torch.cat([past, token[:, None]], 1))


class CallableModel(LanguageModel):
    """A network of torch, or any function, that gives logits for tokens.

    Args:
        function: Takes whole numbers ``(rows, length)`` and gives logits ``(rows, length, words)``,
            or an object that has them as ``logits``.

    Raises:
        ParameterError: If it cannot be called.

    Examples:
        >>> network = nn.Sequential(nn.Embedding(5, 8), nn.Linear(8, 5))  # of the last token alone
        >>> CallableModel(network)(torch.tensor([[0, 1, 2]])).shape
        torch.Size([1, 3, 5])
    """

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        if not callable(function):
            raise ParameterError(
                f"a model of type {type(function).__name__}",
                "Give a causal model of transformers, or a module or function that gives logits "
                "(rows, length, words) for tokens (rows, length)",
            )
        self.function = function

    def logits(self, tokens: Int[Tensor, "rows length"]) -> Float[Tensor, "rows length words"]:
        """Computes the logits by calling the function.

        Raises:
            ShapeError: If what it gives is no table of logits for these tokens.
        """
        found = self._call(tokens)
        found = getattr(found, "logits", found)
        if (
            not isinstance(found, Tensor)
            or found.ndim != 3
            or found.shape[:2] != tokens.shape
            or not found.is_floating_point()
        ):
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ShapeError(
                f"the model gives {shape} for tokens of shape {tuple(tokens.shape)}",
                "Give a model whose logits are (rows, length, words): of transformers, one with a "
                "head for language (AutoModelForCausalLM)",
            )
        return found

    def _call(self, tokens: Tensor) -> Any:
        return self.function(tokens)


class TransformersModel(CallableModel):
    """A causal model of transformers, whose keys and values are kept while it draws.

    Args:
        function: The model.

    Raises:
        ParameterError: If it has an encoder, or sees what follows, as models of masked words do.

    Examples:
        >>> from transformers import GPT2Config, GPT2LMHeadModel
        >>> config = GPT2Config(vocab_size=20, n_positions=8, n_embd=8, n_layer=1, n_head=2)
        >>> model = TransformersModel(GPT2LMHeadModel(config).eval())
        >>> last, past = model.begin(torch.tensor([[1, 2]]))
        >>> again = model.extend(past, torch.tensor([3]))[0]
        >>> torch.allclose(again, model(torch.tensor([[1, 2, 3]]))[:, -1], atol=1e-5)
        True
    """

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__(function)
        config = getattr(function, "config", None)
        if getattr(config, "is_encoder_decoder", False):
            raise ParameterError(
                f"{type(function).__name__}, which has an encoder",
                "Give a model that reads and writes with the same layers (AutoModelForCausalLM)",
            )
        if any(kind.__name__.endswith("ForMaskedLM") for kind in inspect.getmro(type(function))):
            raise ParameterError(
                f"{type(function).__name__}, which sees the words that follow",
                "Give a causal model (AutoModelForCausalLM): logits are of the next word there",
            )
        #: The longest sequence, if the model says so.
        self.longest: int | None = getattr(config, "max_position_embeddings", None)

    def begin(self, tokens: Int[Tensor, "rows length"]) -> tuple[Float[Tensor, "rows words"], Any]:
        """Computes the logits of the last position; the keys and values are kept."""
        return self._go_on(tokens, None)

    def extend(self, past: Any, token: Int[Tensor, " rows"]) -> tuple[Tensor, Any]:
        """Adds one token to each row; its keys and values join those that are kept."""
        return self._go_on(token[:, None], past)

    def _call(self, tokens: Tensor) -> Any:
        model: Any = self.function
        return model(input_ids=tokens, use_cache=False)

    def _go_on(self, tokens: Tensor, past: Any) -> tuple[Tensor, Any]:
        model: Any = self.function
        found = model(input_ids=tokens, past_key_values=past, use_cache=True)
        return found.logits[:, -1], found.past_key_values


def as_language_model(model: Any) -> LanguageModel:
    """Returns a language model for what was given: one already, one of transformers, or a function.

    Raises:
        ParameterError: If it is none of them.

    Examples:
        >>> type(as_language_model(nn.Embedding(5, 5))).__name__
        'CallableModel'
    """
    if isinstance(model, LanguageModel):
        return model
    transformers = sys.modules.get("transformers")  # who has such a model has imported it
    if transformers is not None and isinstance(model, transformers.PreTrainedModel):
        return TransformersModel(model)
    return CallableModel(model)
