"""What every head of a trained model does on inputs of yours: ``inspect(model, inputs)``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from isinglass._support.optional import require_extra
from isinglass._support.validation import check_count, check_kind
from isinglass.analysis.heads import HeadClass
from isinglass.errors import DomainError, IntractableError, ParameterError, ShapeError
from isinglass.integrations.huggingface.attention_interface import (
    Attend,
    replaced_attention,
)
from isinglass.integrations.huggingface.head_recorder import (
    HeadRecorder,
    LayerRecord,
    QueryRecorder,
    QueryView,
)

with require_extra("hf"):
    from transformers import PreTrainedModel

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["Inspection", "QueryView", "check_inputs", "inspect"]

#: Called with how many layers are done.
Notify = Callable[[int], None]


@dataclass(frozen=True)
class Inspection:
    """What the heads of a model did on some inputs; made by :func:`inspect`.

    Attributes:
        name: The class of the model.
        layers: What was found of each call of attention, in the order of the calls.
        output: What the model gave.

    Args:
        name: The class of the model.
        layers: What was found of each call of attention.
        output: What the model gave.
        rerun: Runs the model again with attention of ours.

    Examples:
        >>> from transformers import GPT2Config, GPT2LMHeadModel
        >>> config = GPT2Config(vocab_size=20, n_positions=64, n_embd=8, n_layer=2, n_head=2)
        >>> found = inspect(GPT2LMHeadModel(config).eval(), torch.arange(64)[None] % 20)
        >>> found.classes.shape, found.table["keys"].tolist()
        (torch.Size([2, 2]), [36.0, 36.0, 36.0, 36.0])
    """

    name: str
    layers: Sequence[LayerRecord]
    output: Any
    rerun: Callable[[Attend], Any]

    @property
    def classes(self) -> Tensor:
        """The :class:`HeadClass` of each head as a number, ``(layers, heads)``; −1 pads."""
        classes = [layer.classes() for layer in self.layers]
        widest = max(len(kinds) for kinds in classes)
        padded = [torch.nn.functional.pad(k, (0, widest - len(k)), value=-1) for k in classes]
        return torch.stack(padded)

    @property
    def counts(self) -> dict[str, int]:
        """How many heads there are of each class, by its name."""
        found = Counter(int(kind) for layer in self.layers for kind in layer.classes())
        return {kind.title: found[kind] for kind in HeadClass}

    @property
    def table(self) -> pd.DataFrame:
        """One line a head: class, means and medians over the queries that count."""
        with require_extra("cli"):
            import pandas as pd
        return pd.DataFrame([line for layer in self.layers for line in layer.lines()])

    @property
    def queries(self) -> pd.DataFrame:
        """One line a query of a head, of the queries that count."""
        with require_extra("cli"):
            import pandas as pd
        return pd.concat(
            [pd.DataFrame(layer.query_columns()) for layer in self.layers], ignore_index=True
        )

    def look(self, query: int, *, sequence: int = 0, steps: int = 32) -> QueryView:
        """Runs the model once more and looks at one query of every head.

        Args:
            query: Its place in the sequence; negative counts from the end.
            sequence: Which of the batch.
            steps: How often the step is iterated.

        Returns:
            Attention and the energy along the path to rest, of each layer.

        Raises:
            ParameterError: If there is no such query or sequence in any layer.

        Examples:
            >>> from transformers import BertConfig, BertModel
            >>> config = BertConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1,
            ...                     num_attention_heads=2, intermediate_size=8)
            >>> seen = inspect(BertModel(config).eval(), torch.arange(9)[None]).look(-1)
            >>> seen.attention[0].shape, bool((seen.energies[0].diff(dim=-1) <= 1e-4).all())
            (torch.Size([2, 9]), True)
        """
        check_count("steps", steps)
        recorder = QueryRecorder(query, sequence, steps)
        self.rerun(recorder.attend)
        if not recorder.view.attention:
            raise ParameterError(
                f"query {query} of sequence {sequence}", "Give a place within the inputs"
            )
        return recorder.view

    def draw_classes(self) -> Figure:
        """Draws the heads of each layer, colored by class."""
        from isinglass.integrations.huggingface import inspection_figures

        return inspection_figures.draw_classes(self)

    def draw_sizes(self) -> Figure:
        """Draws how many keys hold 90 % of the mass of each head."""
        from isinglass.integrations.huggingface import inspection_figures

        return inspection_figures.draw_sizes(self)

    def draw_energy_paths(self, query: int = -1, *, sequence: int = 0) -> Figure:
        """Draws the energy of every head along the path of one query to rest.

        Args:
            query: Its place in the sequence; negative counts from the end.
            sequence: Which of the batch.
        """
        from isinglass.integrations.huggingface import inspection_figures

        view = self.look(query, sequence=sequence)
        return inspection_figures.draw_energy_paths(view, self.classes.numpy())

    def draw_attention(
        self,
        query: int,
        heads: Sequence[tuple[int, int]],
        *,
        sequence: int = 0,
        tokens: Sequence[str] | None = None,
    ) -> Figure:
        """Draws the attention of one query in some heads.

        Args:
            query: Its place in the sequence; negative counts from the end.
            heads: Which heads, as pairs of layer and head.
            sequence: Which of the batch.
            tokens: The tokens as text, for the names of the keys.

        Raises:
            ParameterError: If there is no such query or head.
        """
        from isinglass.integrations.huggingface import inspection_figures

        view = self.look(query, sequence=sequence)
        for layer, head in heads:
            if not (0 <= layer < len(view.attention) and 0 <= head < len(view.attention[layer])):
                raise ParameterError(
                    f"layer {layer}, head {head}", "Give a pair of layer and head that there is"
                )
        return inspection_figures.draw_attention(view, heads, tokens)


class _Ready(NamedTuple):
    """What the model is called with."""

    inputs: dict[str, Any]
    padding: list[Tensor]


def inspect(
    model: PreTrainedModel,
    inputs: Tensor | Mapping[str, Any],
    *,
    every: int = 8,
    settle: int = 8,
    notify: Notify | None = None,
) -> Inspection:
    r"""Computes what every head of a trained model does: energies, β, class, sink, fixed weights.

    A head is a modern Hopfield net on its keys, E(ξ) = ½|ξ|² − β⁻¹ log Σ_μ exp(s_μ(ξ)), that takes
    one step from the query and reads the values with it. The output of the model is that of torch's
    fused attention; statistics are computed beside it, a block of queries at a time, and the
    matrix of scores is never formed.

    Reference: Ramsauer et al. 2020, arXiv:2008.02217.

    Args:
        model: A model whose attention can be set (``model.set_attn_implementation``), in
            evaluation.
        inputs: What the model is called with: tokens, or a dictionary, as a tokenizer or an image
            processor gives. Padding by ``attention_mask`` is left out.
        every: Which queries are looked at: every so manieth, counted from the last. 1 is all.
        settle: How many queries of a sequence have their step iterated until it rests; 0 is none.
        notify: Called with the number of layers after each.

    Raises:
        ParameterError: If a number is out of range, ``model`` no model of transformers or in
            training, attentions are asked for, or an encoder–decoder gets no decoder inputs.
        ShapeError: If there are no tokens, or more than the model has positions for.
        DomainError: If tokens are no whole numbers or not of the vocabulary, or a row is padding
            alone.
        IntractableError: If the model's attention cannot be set, or there is none.

    Examples:
        >>> from transformers import LlamaConfig, LlamaModel
        >>> config = LlamaConfig(vocab_size=20, hidden_size=16, intermediate_size=16,
        ...                      num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)
        >>> found = inspect(LlamaModel(config).eval(), torch.arange(100)[None] % 20, every=1)
        >>> sum(found.counts.values()), found.table["class"].unique().tolist()
        (8, ['global average'])
    """
    check_kind("model", model, PreTrainedModel, "a model of transformers")
    every, settle = check_count("every", every), check_count("settle", settle, least=0)
    ready = check_inputs(model, inputs)

    def run(attend: Attend) -> Any:
        with replaced_attention(model, attend), torch.no_grad():
            return model(**ready.inputs)

    recorder = HeadRecorder(model, every, settle, ready.padding, notify)
    with recorder.hooked():
        output = run(recorder.attend)
    if not recorder.layers:
        raise IntractableError(
            f"{type(model).__name__} calls no attention of transformers' interface",
            "Use a model with softmax attention",
        )
    return Inspection(type(model).__name__, recorder.layers, output, run)


def check_inputs(model: PreTrainedModel, inputs: object) -> _Ready:
    """Refuses what the model could not be called with, or would answer with nothing."""
    if model.training:
        raise ParameterError("a model in training, whose dropout is no head", "Call model.eval()")
    main = model.main_input_name
    if isinstance(inputs, Tensor):
        inputs = {main: inputs}
    if not isinstance(inputs, Mapping):
        raise ParameterError(
            f"inputs of {type(inputs).__name__}", "Give tokens, or what a tokenizer gives"
        )
    given = dict(inputs)
    if given.get("output_attentions") or getattr(model.config, "output_attentions", False):
        raise ParameterError(
            "output_attentions, which is the whole matrix of scores",
            "Leave it out: look(query) gives the attention of one query; "
            "sampled_attention(model, None) answers output_attentions=True",
        )
    for name, values in given.items():
        if isinstance(values, Tensor) and values.is_floating_point() and values.isnan().any():
            raise DomainError(f"{name} with NaN", "Give numbers")
    if not given.keys() & {main, "inputs_embeds"}:
        raise ParameterError(
            f"inputs named {sorted(given)}", f"Give {main}, as a tokenizer or image processor does"
        )
    tokens = given.get("input_ids")
    if isinstance(tokens, Tensor):
        _check_tokens(model, tokens)
    encoder_decoder = getattr(model.config, "is_encoder_decoder", False)
    if encoder_decoder and not any(name.startswith(("decoder_", "labels")) for name in given):
        raise ParameterError(
            "an encoder–decoder without decoder inputs", "Give decoder_input_ids too"
        )
    return _Ready(given, _padding(given))


def _padding(given: Mapping[str, Any]) -> list[Tensor]:
    """Returns which tokens are no padding; refuses rows of nothing else."""
    masks = [given.get(name) for name in ("attention_mask", "decoder_attention_mask")]
    padding = [m.bool() for m in masks if isinstance(m, Tensor) and m.ndim == 2]
    if any(not bool(mask.any(-1).all()) for mask in padding):
        raise DomainError("a row that is padding alone", "Leave it out")
    return padding


def _check_tokens(model: PreTrainedModel, tokens: Tensor) -> None:
    if tokens.ndim != 2 or tokens.numel() == 0:
        raise ShapeError(
            f"input_ids of shape {tuple(tokens.shape)}", "Give (batch, tokens), one token at least"
        )
    if tokens.is_floating_point():
        raise DomainError(f"input_ids of {tokens.dtype}", "Give whole numbers: tokens.long()")
    config = model.config.get_text_config()
    most = getattr(config, "max_position_embeddings", None)
    if isinstance(most, int) and 0 < most < tokens.shape[1]:
        raise ShapeError(
            f"{tokens.shape[1]} tokens for a model of {most} positions", "Give a shorter text"
        )
    size = getattr(config, "vocab_size", None)
    if isinstance(size, int) and (int(tokens.max()) >= size or int(tokens.min()) < 0):
        raise DomainError(
            f"a token {int(tokens.max())} for a vocabulary of {size}",
            "Use the tokenizer of the model",
        )
