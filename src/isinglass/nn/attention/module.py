"""Multi-head attention by look-up, in the place of ``torch.nn.MultiheadAttention``."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from isinglass._support.typing import Float
from isinglass._support.validation import (
    check_count,
    check_device,
    check_finite,
    check_flag,
    check_fraction,
    check_generator,
    check_kind,
    check_operand,
    check_tensor,
    without_non_finite,
)
from isinglass.core.described import Labeled
from isinglass.errors import DomainError, ParameterError, ShapeError
from isinglass.nn.attention.functional import Gradient, check_draws, check_gradient, look_up
from isinglass.nn.attention.fused import fused_attention
from isinglass.nn.attention.masks import keys_mask, merge_masks, pairs_mask

__all__ = ["StochasticAttention", "replace_attention"]

Inputs = tuple[Tensor, ...]
PARAMETERS = (
    "in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight", "in_proj_bias",
    "bias_k", "bias_v",
)  # fmt: skip


class StochasticAttention(Labeled, nn.MultiheadAttention):
    r"""Multi-head attention whose every head looks m keys up, for ``torch.nn.MultiheadAttention``.

        n_h ~ Multinomial(m, softmax(K_h q_h / √d)),   output = W_O (n_h/m)ᵀ V_h + b_O

    At m → ∞ (``draws=None``) it is multi-head attention itself. For finite m its mean is
    multi-head attention's output and its variance falls as 1/m: before W_O the components of a
    head vary by (Σ_μ p_μ V_μ² − (Σ_μ p_μ V_μ)²)/m, p the attention. Parameters have the names of
    ``nn.MultiheadAttention``'s, so a trained state dict fits, and so do its calls.

    **Gradients.** Draws have no slope. ``gradient="softmax"`` hands queries and keys the
    gradient that softmax attention would have at the same downstream error (straight-through). If
    what follows is linear in the output, that is exactly the gradient of the mean output; if
    not, it is biased by the curvature of what follows times the variance, which falls as 1/m.
    ``gradient="values"`` hands them none. Values get the gradient of the draws in both.

    **Nothing to see.** A query whose every key is masked gets zeros from its heads, hence the
    bias b_O, where ``nn.MultiheadAttention`` gives NaN. What no query may see can be anything, NaN
    too.

    **Inside nn.Transformer.** In evaluation its layers bypass their attention module for a
    fused kernel that knows nothing of draws; a hook of this class, which does nothing, tells them
    not to. As they cannot pass a generator on, set ``layer.generator``; copies of a layer share
    it, so that they draw independently of each other. Where activations are checkpointed leave it
    None: torch replays its global source for the second pass, and no other, which is refused.

    Reference: Ramsauer et al. 2020, arXiv:2008.02217; Bengio et al. 2013, arXiv:1308.3432
    (straight-through).

    Args:
        embed_dim: Features of queries and of the output, a multiple of ``num_heads``.
        num_heads: Heads.
        dropout: Probability of a share n/m to be dropped, in training.
        bias: Whether the projections have a bias.
        add_bias_kv: Whether to add a learned key and value.
        add_zero_attn: Whether to add a key and value of zeros.
        kdim: Features of keys; None is ``embed_dim``.
        vdim: Features of values; None is ``embed_dim``.
        batch_first: Whether inputs are ``(batch, tokens, features)``, not
            ``(tokens, batch, features)``.
        device: Where the parameters are.
        dtype: Their type.
        draws: m; None is m → ∞. The attribute may be set anew.
        gradient: ``"softmax"`` or ``"values"``, see above.
        generator: Source of randomness where the call gives none; None is torch's global one.

    Raises:
        ParameterError: If a number is out of range, ``num_heads`` does not divide ``embed_dim``,
            or there is no such ``gradient``.

    Examples:
        >>> attention = StochasticAttention(8, num_heads=2, draws=4, batch_first=True)
        >>> generator = torch.Generator().manual_seed(0)
        >>> tokens = torch.randn(3, 5, 8, generator=generator)
        >>> output, shares = attention(tokens, tokens, tokens, generator=generator)
        >>> output.shape, shares.shape, bool(((4 * 2 * shares) % 1 == 0).all())
        (torch.Size([3, 5, 8]), torch.Size([3, 5, 5]), True)
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        draws: int | None = None,
        gradient: Gradient = "softmax",
        generator: Generator | None = None,
    ) -> None:
        check_count("embed_dim", embed_dim)
        check_count("num_heads", num_heads)
        if embed_dim % num_heads:
            raise ParameterError(
                f"embed_dim = {embed_dim}, num_heads = {num_heads}",
                "Give an embed_dim that num_heads divides",
            )
        for label, features in (("kdim", kdim), ("vdim", vdim)):
            if features is not None:
                check_count(label, features)
        check_device(device)
        check_generator(generator)
        flags = {"bias": bias, "add_bias_kv": add_bias_kv, "add_zero_attn": add_zero_attn}
        for name, flag in {**flags, "batch_first": batch_first}.items():
            check_flag(name, flag)
        super().__init__(
            embed_dim, num_heads, check_fraction("dropout", dropout), bias, add_bias_kv,
            add_zero_attn, kdim, vdim, batch_first, device, dtype,
        )  # fmt: skip
        # The fused kernels of nn.Transformer pass over modules that have hooks.
        self.register_forward_pre_hook(_nothing)
        self.draws = draws
        self.gradient: Gradient = check_gradient(gradient)
        self.generator = generator

    @property
    def draws(self) -> int | None:
        """How many keys each head looks up for a query, m; None is infinitely many."""
        return self._draws

    @draws.setter
    def draws(self, draws: int | None) -> None:
        self._draws = check_draws(draws)

    @property
    def generator(self) -> Generator | None:
        """Source of randomness where a call gives none; shared by copies of the layer."""
        return self._source.generator

    @generator.setter
    def generator(self, generator: Generator | None) -> None:
        self._source = _Source(generator)

    @classmethod
    def from_attention(
        cls,
        attention: nn.MultiheadAttention,
        draws: int | None = None,
        *,
        gradient: Gradient = "softmax",
        generator: Generator | None = None,
    ) -> StochasticAttention:
        """Wraps a trained module: the same attention by look-up, its parameters shared.

        Args:
            attention: A trained or untrained ``nn.MultiheadAttention``.
            draws: m; None is m → ∞.
            gradient: As for the class.
            generator: As for the class.

        Raises:
            ParameterError: If it is no ``nn.MultiheadAttention``.

        Examples:
            >>> trained = nn.MultiheadAttention(8, 2)
            >>> drawn = StochasticAttention.from_attention(trained, draws=16)
            >>> drawn.in_proj_weight is trained.in_proj_weight
            True
        """
        if not isinstance(attention, nn.MultiheadAttention):
            raise ParameterError(
                f"a {type(attention).__name__}",
                "Give a torch.nn.MultiheadAttention",
            )
        layer = cls(
            attention.embed_dim, attention.num_heads, attention.dropout,
            kdim=attention.kdim, vdim=attention.vdim, add_zero_attn=attention.add_zero_attn,
            batch_first=attention.batch_first, device="meta",
            draws=draws, gradient=gradient, generator=generator,
        )  # fmt: skip
        for name in PARAMETERS:
            setattr(layer, name, getattr(attention, name))
        layer.out_proj = attention.out_proj
        return layer.train(attention.training)

    def description(self) -> dict[str, Any]:
        """Returns the heads and what is drawn, for the metadata of the state dict."""
        return {
            "num_heads": self.num_heads, "add_zero_attn": bool(self.add_zero_attn),
            "draws": self.draws,
        }  # fmt: skip

    def forward(
        self,
        query: Float[Tensor, "..."],
        key: Float[Tensor, "..."],
        value: Float[Tensor, "..."],
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
        *,
        generator: Generator | None = None,
    ) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."] | None]:
        """Attends to the keys as ``nn.MultiheadAttention`` does, by drawing them.

        Args:
            query: ``(L, N, embed_dim)``, ``(N, L, embed_dim)`` with ``batch_first``, or unbatched
                ``(L, embed_dim)``.
            key: The same with S tokens of ``kdim`` features.
            value: The same with S tokens of ``vdim`` features.
            key_padding_mask: ``(N, S)``, unbatched ``(S,)``: True where a key is ignored, or
                floating and added to the scores.
            need_weights: Whether to return the shares. Without them few draws are faster.
            attn_mask: ``(L, S)`` or ``(N·num_heads, L, S)``: True where a query may not look, or
                floating and added to the scores.
            average_attn_weights: Whether the shares are averaged over the heads.
            is_causal: Whether a query may look at no later key. With ``attn_mask``, which then
                is that mask, a hint; without, the mask is made.
            generator: Source of randomness; None is the layer's own.

        Returns:
            The output, shaped like the query, and the shares n/m, ``(N, L, S)`` or
            ``(N, num_heads, L, S)``, those of added keys last; None if not needed.

        Raises:
            ShapeError: If an input or a mask has the wrong shape.
            DomainError: If an input is not finite, its dtype or device differs from the
                parameters', or a mask is neither boolean nor floating.
        """
        self._check_inputs(query, key, value)
        if query.is_nested:
            if key_padding_mask is not None or attn_mask is not None:
                raise DomainError("masks with a nested query", "Leave them out, or pad the query")
            return self._attend_nested(
                query, need_weights=need_weights, average_attn_weights=average_attn_weights,
                is_causal=is_causal, generator=generator,
            )  # fmt: skip
        batched = query.ndim == 3
        inputs = self._batch_first(query, key, value)
        (size, length, _), source = inputs[0].shape, inputs[1].shape[1]
        mask = merge_masks(
            pairs_mask(attn_mask, (length, source), size, self.num_heads, is_causal, query),
            keys_mask(key_padding_mask, source, size, batched, query),
        )
        inputs = self._seen(inputs, mask, key_padding_mask)
        q, k, v = (
            rows.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)
            for rows in self._extend(*self._project(*inputs))
        )
        if mask is not None:
            mask = F.pad(mask, (0, k.shape[-2] - source))  # added keys are seen by all
        averaged, shares = self._attend(
            q, k, v, mask, need_weights, self.generator if generator is None else generator
        )
        output = self.out_proj(averaged.transpose(1, 2).flatten(-2))
        if shares is not None and average_attn_weights:
            shares = shares.mean(1)
        if not batched:
            return output[0], None if shares is None else shares[0]
        return output if self.batch_first else output.transpose(0, 1), shares

    def extra_repr(self) -> str:
        """Shows the size, heads and draws."""
        return f"{self.embed_dim}, num_heads={self.num_heads}, draws={self.draws}"

    def _check_inputs(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        named = {"query": query, "key": key, "value": value}
        for name, features in (
            ("query", self.embed_dim), ("key", self.kdim), ("value", self.vdim)
        ):  # fmt: skip
            rows = named[name]
            check_tensor(name, rows)
            if rows.is_nested:
                if query is key is value and self.batch_first and rows.layout == torch.strided:
                    return
                raise DomainError(
                    f"a nested {name}",
                    "Pad it: nested tensors of strided layout can attend to themselves alone, and "
                    "with batch_first=True",
                )
            if rows.ndim not in (2, 3) or rows.shape[-1] != features:
                raise ShapeError(
                    f"a {name} of shape {tuple(rows.shape)}",
                    f"Give {features} features in the last of two dimensions, or of three if "
                    "batched",
                )
            check_operand(rows, self.out_proj.weight, name)
        batch = 0 if self.batch_first else 1
        if not (
            query.ndim == key.ndim == value.ndim
            and key.shape[:-1] == value.shape[:-1]
            and (query.ndim == 2 or query.shape[batch] == key.shape[batch])
        ):
            raise ShapeError(
                f"query {tuple(query.shape)}, key {tuple(key.shape)}, value {tuple(value.shape)}",
                "Give one batch size, and as many values as keys",
            )

    def _batch_first(self, query: Tensor, key: Tensor, value: Tensor) -> Inputs:
        """Brings the inputs to ``(N, tokens, features)``; what was one tensor stays one."""

        def first(rows: Tensor) -> Tensor:
            if rows.ndim == 2:
                return rows.unsqueeze(0)
            return rows if self.batch_first else rows.transpose(0, 1)

        return _each(first, query, key, value)

    def _seen(self, inputs: Inputs, mask: Tensor | None, padding: Tensor | None) -> Inputs:
        """Checks the inputs, rid of NaN where no query may look."""
        query, key, value = inputs
        if query is key is value:
            if padding is not None:  # padding that asks is not listened to either
                unseen = _hides(padding).reshape(*query.shape[:2], 1)
                inputs = (without_non_finite(query, unseen),) * 3
        elif mask is not None:
            pairs = (query.shape[0], self.num_heads, query.shape[1], key.shape[1])
            unseen = _hides(mask).expand(pairs).all(-2).all(1).unsqueeze(-1)
            inputs = (query, *_each(lambda rows: without_non_finite(rows, unseen), key, value))
        for rows in inputs[:1] if inputs[0] is inputs[1] is inputs[2] else inputs:
            check_finite("query, key or value", rows)
        return inputs

    def _attend_nested(self, tokens: Tensor, **settings: Any) -> tuple[Tensor, Tensor | None]:
        """Attends within sets of several lengths, as nn.TransformerEncoder makes of padding."""
        padded = torch.nested.to_padded_tensor(tokens, 0.0)
        lengths = torch.tensor([rows.shape[0] for rows in tokens.unbind()], device=padded.device)
        real = torch.arange(padded.shape[1], device=padded.device) < lengths.unsqueeze(-1)
        output, shares = self.forward(padded, padded, padded, ~real, **settings)
        nested = torch._nested_tensor_from_mask(output, real)  # pyright: ignore[reportPrivateImportUsage]
        return nested, shares

    def _project(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, ...]:
        if self.in_proj_weight is not None and query is key is value:
            return F.linear(query, self.in_proj_weight, self.in_proj_bias).chunk(3, -1)
        if self.in_proj_weight is not None:
            weights = self.in_proj_weight.chunk(3)
        else:
            weights = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        biases = (None,) * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        rows = (query, key, value)
        return tuple(F.linear(*each) for each in zip(rows, weights, biases, strict=True))

    def _extend(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, ...]:
        """Keys and values with the learned one and the one of zeros, where there are such."""
        added = (key.shape[0], 1, self.embed_dim)
        if self.bias_k is not None and self.bias_v is not None:
            key = torch.cat([key, self.bias_k.to(key.dtype).expand(added)], 1)
            value = torch.cat([value, self.bias_v.to(value.dtype).expand(added)], 1)
        if self.add_zero_attn:
            key = torch.cat([key, key.new_zeros(added)], 1)
            value = torch.cat([value, value.new_zeros(added)], 1)
        return query, key, value

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        need_weights: bool,
        generator: Generator | None,
    ) -> tuple[Tensor, Tensor | None]:
        """The heads' averages, ``(N, heads, L, head_dim)``, and their shares."""
        dropout = self.dropout if self.training else 0.0
        exact = self.draws is None and self.gradient == "softmax"
        if exact and not need_weights and dropout == 0 and mask is None:
            return fused_attention(query, key, value, scale=1 / math.sqrt(self.head_dim)), None
        return look_up(
            query, key, value, self.draws, beta=1 / math.sqrt(self.head_dim), mask=mask,
            dropout=dropout, gradient=self.gradient, generator=generator, need_shares=need_weights,
        )  # fmt: skip


def _nothing(module: nn.Module, inputs: tuple[Any, ...]) -> None:
    """Does nothing: a hook that only has to be there."""


def _each(change: Callable[[Tensor], Tensor], *tables: Tensor) -> tuple[Tensor, ...]:
    """Changes tables; what was one tensor stays one."""
    changed: list[Tensor] = []
    for number, table in enumerate(tables):
        same = [i for i in range(number) if tables[i] is table]
        changed.append(changed[same[0]] if same else change(table))
    return tuple(changed)


def _hides(mask: Tensor) -> Tensor:
    """Tells where a mask, boolean or of numbers, forbids to look."""
    return mask if mask.dtype == torch.bool else mask == -torch.inf


class _Source:
    """Where a layer's randomness comes from; a copy of the layer keeps the same one."""

    def __init__(self, generator: Generator | None) -> None:
        self.generator = generator

    def __deepcopy__(self, memo: dict[int, Any]) -> _Source:
        return self


def replace_attention(
    model: nn.Module,
    draws: int | None = None,
    *,
    gradient: Gradient = "softmax",
    generator: Generator | None = None,
) -> nn.Module:
    """Puts :class:`StochasticAttention` in the place of every ``nn.MultiheadAttention`` of a model.

    The parameters stay what they are, so optimizers and state dicts go on as before. Subclasses
    of ``nn.MultiheadAttention`` with a forward of their own are left alone, but for
    ``StochasticAttention``, which is made anew with these settings.

    Args:
        model: Any module; changed in place, and itself replaced if it is the attention.
        draws: m; None is m → ∞.
        gradient: As for :class:`StochasticAttention`.
        generator: One source for all layers; None is torch's global one.

    Returns:
        The model.

    Raises:
        ParameterError: If it has no such attention in it.

    Examples:
        >>> layer = nn.TransformerEncoderLayer(8, 2, batch_first=True)
        >>> model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
        >>> model = replace_attention(model, 4, generator=torch.Generator().manual_seed(0))
        >>> model(torch.ones(1, 5, 8)).shape, model.layers[0].self_attn.draws
        (torch.Size([1, 5, 8]), 4)
    """
    check_kind("model", model, nn.Module, "a module")
    kinds = (nn.MultiheadAttention, StochasticAttention)
    made: dict[nn.Module, StochasticAttention] = {}

    def drawn(module: nn.Module) -> nn.Module:
        if not isinstance(module, nn.MultiheadAttention) or type(module) not in kinds:
            return module
        if module not in made:  # a module that is used twice stays one
            made[module] = StochasticAttention.from_attention(
                module, draws, gradient=gradient, generator=generator
            )
        return made[module]

    for parent in list(model.modules()):
        for name, child in parent._modules.items():
            if child is not None:
                parent._modules[name] = drawn(child)
        if isinstance(parent, nn.TransformerEncoder):
            parent.use_nested_tensor = False  # only the fused kernels take these
    model = drawn(model)
    if not made:
        raise ParameterError(
            f"no torch.nn.MultiheadAttention in a {type(model).__name__}",
            "Call isinglass.nn.stochastic_attention where the model attends",
        )
    return model
