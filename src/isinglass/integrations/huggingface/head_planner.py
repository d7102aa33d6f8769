"""Which heads of a trained model can be replaced, by what, and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, cast

import torch
from torch import Tensor

from isinglass._support.optional import require_extra
from isinglass._support.precision import at_least_single
from isinglass._support.validation import check_choice, check_fraction, check_kind
from isinglass.analysis.heads import FixedFit, fit_fixed_weights
from isinglass.errors import IntractableError, ParameterError
from isinglass.integrations.huggingface.attention_interface import (
    Attend,
    AttentionCall,
    replaced_attention,
)
from isinglass.integrations.huggingface.head_plan import FEATURES, FixedHeads, HeadPlan
from isinglass.integrations.huggingface.head_recorder import CROSS
from isinglass.integrations.huggingface.inspection import check_inputs
from isinglass.integrations.huggingface.replaced_heads import (
    attend_fixed,
    head_features,
)
from isinglass.integrations.huggingface.residual_stream import ResidualStream

with require_extra("hf"):
    from transformers import PreTrainedModel

__all__ = ["plan_heads", "rank_heads", "take_sequences", "token_losses"]

#: Tokens that are differentiated through at a time.
TOKENS = 2048
#: Tokens that heads are ranked on, at most; every fourth query of them is fitted.
RANKED, EVERY = 8192, 4
#: Queries whose changes are taken together, and what is kept of the first order.
STRETCH, SHRINK = 64, 0.25

#: Called with what is done, and how much of it.
Notify = Callable[[str, float], None]


def plan_heads(
    model: PreTrainedModel,
    inputs: Tensor | Mapping[str, Any],
    share: float = 0.12,
    *,
    rank: Literal["damage", "error"] = "damage",
    instead: Literal["fixed", "nothing"] = "fixed",
    ranking: HeadPlan | None = None,
    notify: Notify | None = None,
) -> HeadPlan:
    r"""Chooses the heads of a model whose replacement costs least, and fits fixed weights.

    The heads are ranked by :func:`rank_heads`. Those chosen are fitted by o ≈ c + a·mean +
    b·v_first + d·v_self + e·v_previous, least squares of |W(o − ô)|² in closed form, W what a
    head's output is multiplied with: layer by layer, on a model whose heads upstream are replaced
    already.

    Args:
        model: A model whose attention can be set, in evaluation; of language, causal, for
            ``rank="damage"``.
        inputs: Tokens to rank and fit on, ``(windows, tokens)``, or a dictionary as a tokenizer
            gives. 16,000 tokens and more fit well.
        share: The share of the heads to replace, from 0 to 1.
        rank: What the heads are ranked by.
        instead: Fixed weights, or nothing at all: ô = 0.
        ranking: What :func:`rank_heads` gave for the same model; None asks it.
        notify: Called with the name of a stage and the share of it that is done.

    Raises:
        ParameterError: If a number is out of range, or the model does not give logits of the next
            token and ``rank="damage"``.
        ShapeError: If there are no tokens, or more than the model has positions for.
        IntractableError: If the model's attention cannot be set, or no head of it looks at its
            own sequence and is followed by weights.

    Examples:
        >>> from transformers import LlamaConfig, LlamaForCausalLM
        >>> config = LlamaConfig(vocab_size=20, hidden_size=16, intermediate_size=16,
        ...                      num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)
        >>> model = LlamaForCausalLM(config).eval()
        >>> plan = plan_heads(model, torch.randint(20, (4, 50)), share=0.25)
        >>> len(plan), plan.total
        (2, 8)
    """
    check_fraction("share", share)
    if ranking is None:
        ranking = rank_heads(model, inputs, rank=rank, instead=instead, notify=notify)
    ready = _check(model, inputs, rank, instead)
    tell = notify or _keep_quiet
    chosen = _choose(ranking.modules, round(share * ranking.total), rank)
    metrics = _read_weights(model, ready.inputs)
    fitter = _Fitter(model, metrics, chosen, instead, ready.padding)
    fitter.run(ready.inputs, lambda done: tell("fit", done))
    return HeadPlan(fitter.found, ranking.total)


def rank_heads(
    model: PreTrainedModel,
    inputs: Tensor | Mapping[str, Any],
    *,
    rank: Literal["damage", "error"] = "damage",
    instead: Literal["fixed", "nothing"] = "fixed",
    notify: Notify | None = None,
) -> HeadPlan:
    r"""Computes what the replacement of each head alone would cost, of all heads.

    The error is √(Σ|W(o − ô)|²/Σ|x|²), x the residual stream. The damage estimates the loss of the
    next token to second order: with g = ∂loss/∂o and δ = ô − o of a query, ¼ E[g·δ] +
    ½ E[(g·δ)²], the Fisher information in place of the Hessian, of single queries and of
    stretches of 64. The first order is drawn to zero and the second to the error, by their
    geometric mean, as both are noisy. All heads together take one run forward and back; the first
    8,192 tokens are looked at.

    Reference: Michel et al. 2019, arXiv:1905.10650, for the first order.

    Args:
        model: As for :func:`plan_heads`.
        inputs: As for :func:`plan_heads`.
        rank: ``"error"`` leaves the damage out.
        instead: Fixed weights, or nothing at all.
        notify: Called with the name of a stage and the share of it that is done.

    Returns:
        A plan of all heads, each fitted alone. To choose from, not to run.

    Raises:
        ParameterError: As of :func:`plan_heads`.

    Examples:
        >>> from transformers import BertConfig, BertModel
        >>> config = BertConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1,
        ...                     num_attention_heads=2, intermediate_size=8)
        >>> found = rank_heads(BertModel(config).eval(), torch.arange(18).view(2, 9), rank="error")
        >>> len(found), found.share
        (2, 1.0)
    """
    ready = _check(model, inputs, rank, instead)
    tell = notify or _keep_quiet
    metrics, some = _read_weights(model, ready.inputs), _first_windows(ready.inputs)
    fitter = _Fitter(model, metrics, None, instead, ready.padding)
    fitter.run(some, lambda done: tell("look", done))
    found = fitter.found
    if rank == "damage":
        damages = _measure_damage(model, some, found, lambda done: tell("rank", done))
        found = {name: part._replace(damage=damages[name]) for name, part in found.items()}
    return HeadPlan(found, sum(len(part.heads) for part in found.values()))


def _keep_quiet(_stage: str, _done: float) -> None:
    """Tells nobody."""


def _check(model: object, inputs: Any, rank: object, instead: object) -> Any:
    check_kind("model", model, PreTrainedModel, "a model of transformers")
    check_choice("rank", rank, ("damage", "error"))
    check_choice("instead", instead, ("fixed", "nothing"))
    return check_inputs(cast("PreTrainedModel", model), inputs)


def _first_windows(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The windows that heads are ranked on."""
    tokens = inputs.get("input_ids")
    length = tokens.shape[1] if isinstance(tokens, Tensor) else RANKED
    return take_sequences(inputs, slice(0, max(1, RANKED // length)))


def _choose(found: Mapping[str, FixedHeads], count: int, rank: str) -> dict[str, FixedHeads]:
    """The heads that cost least, by module, with what they were ranked by."""
    costs = torch.cat([getattr(part, rank) for part in found.values()])
    best = torch.zeros_like(costs, dtype=torch.bool)
    best[costs.nan_to_num(torch.inf).argsort(stable=True)[:count]] = True
    chosen, start = {}, 0
    for name, part in found.items():
        some = best[start : start + len(part.heads)]
        start += len(part.heads)
        if some.any():
            chosen[name] = FixedHeads(*(values[some] for values in part))
    return chosen


def _read_weights(model: PreTrainedModel, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
    """W of the heads of every module that looks at its own sequence, by a short run."""
    names = {id(module): name for name, module in model.named_modules()}
    stream, found = ResidualStream(model), {}

    def attend(call: AttentionCall) -> tuple[Tensor, None]:
        stream.finish()
        output, name = call.fused(), names.get(id(call.module), "")
        cross = CROSS.search(f"{name} {type(call.module).__name__}")
        if name and not cross:

            def met(metric: Tensor | None) -> None:
                if metric is not None:
                    found[name] = metric

            stream.expect(output, met)
        return output, None

    with stream.hooked():
        _call(model, take_sequences(inputs, slice(0, 1)), attend)
    if not found:
        raise IntractableError(
            f"{type(model).__name__} has no heads that look at their own sequence and are "
            "followed by weights",
            "Use a model that follows transformers' attention interface",
        )
    return found


class _Fitter:
    """Fits heads call by call, each with those before replaced already.

    Args:
        model: The model.
        metrics: W of the heads of each module.
        chosen: Which heads are fitted and replaced; None fits all and replaces none.
        instead: Fixed weights, or nothing.
        padding: Masks of the inputs.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        metrics: Mapping[str, Tensor],
        chosen: Mapping[str, FixedHeads] | None,
        instead: str,
        padding: list[Tensor],
    ) -> None:
        self.found: dict[str, FixedHeads] = {}
        self._model, self._metrics, self._chosen = model, metrics, chosen
        self._instead, self._padding = instead, padding
        self._names = {id(module): name for name, module in model.named_modules()}
        self._stream = ResidualStream(model)

    def run(self, inputs: Mapping[str, Any], tell: Callable[[float], None]) -> None:
        """Fits on all inputs in one run, without the logits."""
        self._tell = tell
        with self._stream.hooked(), torch.no_grad():
            _call(self._model.base_model, inputs, self._attend, self._model)

    def _attend(self, call: AttentionCall) -> tuple[Tensor, None]:
        name = self._names.get(id(call.module), "")
        chosen = None if self._chosen is None else self._chosen.get(name)
        if name not in self._metrics or (self._chosen is not None and chosen is None):
            return call.fused(), None
        output = call.fused()
        heads = torch.arange(output.shape[2]) if chosen is None else chosen.heads
        part = self._fit(call, output, name, heads)
        if chosen is not None:
            part = part._replace(damage=chosen.damage)
            output = attend_fixed(call, part)
        self.found[name] = part
        self._tell(len(self.found) / len(self._chosen or self._metrics))
        return output, None

    def _fit(self, call: AttentionCall, output: Tensor, name: str, heads: Tensor) -> FixedHeads:
        heads, length = heads.to(output.device), call.query.shape[2]
        every = EVERY if self._chosen is None else 1
        rows = torch.arange(length - 1, -1, -every, device=output.device).flip(0)
        valid = self._valid(call, rows)
        given, w = output[:, rows][:, :, heads].transpose(1, 2), self._metrics[name][heads]
        if self._instead == "nothing":
            norms = (given.transpose(1, 2)[valid].transpose(0, 1) @ w.mT).double()
            fit = FixedFit(
                given.new_zeros(len(heads)), norms.square().sum((1, 2)),
                given.new_zeros(len(heads), len(FEATURES)),
                given.new_zeros(len(heads), given.shape[-1]),
            )  # fmt: skip
        else:
            features = head_features(call, heads, rows)
            fit = fit_fixed_weights(given, features, metric=w, valid=valid)
        squares = self._stream.squares(name, rows, valid, length)
        error = (fit.error / squares).sqrt()
        unknown = torch.full_like(error, torch.nan)
        return FixedHeads(
            heads.cpu(), fit.weights.float().cpu(), fit.constant.float().cpu(),
            fit.explained.float().cpu(), error.float().cpu(), unknown.float().cpu(),
        )  # fmt: skip

    def _valid(self, call: AttentionCall, rows: Tensor) -> Tensor:
        """Which queries are no padding, ``(b, R)``."""
        shape, padding = (len(call.value), call.query.shape[2]), call.padding
        if padding is None:
            padding = next((m for m in self._padding if tuple(m.shape) == shape), None)
        if padding is None:
            return torch.ones(len(call.value), len(rows), dtype=torch.bool, device=rows.device)
        return padding.to(rows.device)[:, rows + call.offset]


def _measure_damage(
    model: PreTrainedModel,
    inputs: Mapping[str, Any],
    found: Mapping[str, FixedHeads],
    tell: Callable[[float], None],
) -> dict[str, Tensor]:
    """What the loss rises by where one head is replaced, nats a token."""
    names = {id(module): name for name, module in model.named_modules()}
    tokens = inputs["input_ids"]
    each = max(1, TOKENS // tokens.shape[1])
    slopes: dict[str, list[Tensor]] = {name: [] for name in found}
    for start in range(0, len(tokens), each):
        some = take_sequences(inputs, slice(start, start + each))
        gates: dict[str, Tensor] = {}

        def attend(call: AttentionCall, gates: dict[str, Tensor] = gates) -> tuple[Tensor, None]:
            output, name = call.fused(), names.get(id(call.module), "")
            if name not in found:
                return output, None
            gates[name] = output.new_zeros(output.shape[:3]).requires_grad_()
            change = (attend_fixed(call, found[name]) - output).detach()
            return output + gates[name][..., None] * change, None

        with torch.enable_grad():
            losses = token_losses(_call(model, some, attend), some)
            grads = torch.autograd.grad(losses.sum(), list(gates.values()))
        for name, grad in zip(gates, grads, strict=True):
            slopes[name].append(grad.cpu())
        tell(min(1.0, (start + each) / len(tokens)))
    heads = {name: torch.cat(parts) for name, parts in slopes.items()}
    first = torch.cat([part.double().mean((0, 1)) for part in heads.values()])
    second = torch.cat([_fisher(part.double()) for part in heads.values()])
    squares = torch.cat([part.error.double().square() for part in found.values()])
    return dict(
        zip(
            found,
            _join(first, second, squares).float().split([len(p.heads) for p in found.values()]),
            strict=True,
        )
    )


def _fisher(slopes: Tensor) -> Tensor:
    """½ E[(Σ g·δ)²] a token, over single queries and over stretches; slopes ``(b, L, H)``."""
    single = slopes.square().mean((0, 1))
    parts = slopes.split(STRETCH, 1)
    joint = sum(part.sum(1).square().sum(0) for part in parts) / slopes[..., 0].numel()
    return (single + joint) / 4


def _join(first: Tensor, second: Tensor, squares: Tensor) -> Tensor:
    """Both orders of the loss; the first is drawn to zero, the second to the error.

    What single heads promise to gain they do not gain together, and few
    windows say little of the second order: squares of the error, scaled alike, say it too.
    """
    seen = (second > 0) & (squares > 0)
    scale = (second[seen].log() - squares[seen].log()).mean().exp()
    return SHRINK * first + (second * squares * scale.nan_to_num(1.0)).sqrt()


def token_losses(output: Any, inputs: Mapping[str, Any]) -> Tensor:
    """Returns −log p of the tokens that follow others, those that are no padding, nats.

    Args:
        output: What a causal model of language gave.
        inputs: What it was called with.

    Raises:
        ParameterError: If there are no logits of the next token.
    """
    logits, tokens = getattr(output, "logits", None), inputs["input_ids"]
    if logits is None or logits.shape[:2] != tokens.shape:
        raise ParameterError(
            "a model without logits of the next token",
            'Give a causal model of language, or rank="error"',
        )
    losses = torch.nn.functional.cross_entropy(
        at_least_single(logits[:, :-1].flatten(0, 1)), tokens[:, 1:].flatten(), reduction="none"
    )
    mask = inputs.get("attention_mask")
    return losses if mask is None else losses[mask[:, 1:].flatten().bool()]


def take_sequences(inputs: Mapping[str, Any], rows: slice) -> dict[str, Any]:
    """Returns some of the sequences of a batch, with all that belongs to each.

    Args:
        inputs: What a tokenizer gives.
        rows: Which sequences.
    """
    count = len(inputs["input_ids"]) if "input_ids" in inputs else None
    return {
        name: values[rows] if isinstance(values, Tensor) and len(values) == count else values
        for name, values in inputs.items()
    }


def _call(
    model: Any, inputs: Mapping[str, Any], attend: Attend, owner: PreTrainedModel | None = None
) -> Any:
    """Runs a model, or a part of what owns it, with attention of ours and no cache."""
    options = {"use_cache": False} if hasattr(model.config, "use_cache") else {}
    with replaced_attention(owner or model, attend):
        return model(**{**inputs, **options})
