"""Fixed weights of all replaced heads fitted together, to what the model itself says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from isinglass._support.optional import require_extra
from isinglass._support.precision import at_least_single
from isinglass._support.random import source
from isinglass._support.typing import Float
from isinglass._support.validation import check_count, check_kind, check_positive
from isinglass.errors import DivergenceError, ParameterError
from isinglass.integrations.huggingface.head_plan import FixedHeads, HeadPlan
from isinglass.integrations.huggingface.head_planner import Notify, take_sequences
from isinglass.integrations.huggingface.inspection import check_inputs
from isinglass.integrations.huggingface.replaced_heads import replace_heads

with require_extra("hf"):
    from transformers import PreTrainedModel

__all__ = ["tune_heads"]


def tune_heads(
    model: PreTrainedModel,
    inputs: Tensor | Mapping[str, Any],
    plan: HeadPlan,
    steps: int = 100,
    *,
    rate: float = 0.03,
    generator: torch.Generator | None = None,
    notify: Notify | None = None,
) -> HeadPlan:
    r"""Fits the fixed weights of all heads of a plan together, so that the model says the same.

    The loss is how far the next token is from what the whole model foretells,

        E[Σ_x p(x) log (p(x)/p̂(x))],   p of the model, p̂ of the model with heads replaced,

    one sequence a step, by Adam at a rate that falls to zero; constants count in their own size.
    The texts are not learned: what is fitted to is the model. Its own weights stay as they are.

    Reference: Hinton, Vinyals & Dean 2015, "Distilling the knowledge in a neural network",
    arXiv:1503.02531.

    Args:
        model: The model that the plan was made for.
        inputs: Tokens, ``(batch, length)``, or what a tokenizer gives: other texts than those that
            are reported on.
        plan: As :func:`plan_heads` gives it.
        steps: Gradient steps; each runs the model twice and back on one sequence.
        rate: Of Adam, at the start.
        generator: Source of the order of the sequences; None is torch's global one.
        notify: Called with the name of a stage and the share of it that is done.

    Returns:
        The same heads with other weights. What is said of each alone, ``explained``, ``error`` and
        ``damage``, stays.

    Raises:
        ParameterError: If a number is out of range, the plan is empty, or there are no logits.
        ShapeError: If there are no tokens, or more than the model has positions for.
        DivergenceError: If the loss is not finite: the rate is too high.

    Examples:
        >>> from transformers import LlamaConfig, LlamaForCausalLM
        >>> from isinglass.integrations import plan_heads
        >>> config = LlamaConfig(vocab_size=20, hidden_size=16, intermediate_size=16,
        ...                      num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)
        >>> model = LlamaForCausalLM(config).eval()
        >>> tokens = torch.randint(20, (4, 50))
        >>> plan = plan_heads(model, tokens, share=0.5)
        >>> len(tune_heads(model, tokens, plan, steps=3))
        4
    """
    check_kind("model", model, PreTrainedModel, "a model of transformers")
    check_kind("plan", plan, HeadPlan, "a HeadPlan")
    check_count("steps", steps)
    check_positive("rate", rate)
    if not len(plan):
        raise ParameterError("an empty plan", "Give one of at least one head")
    ready = check_inputs(model, inputs).inputs
    order = _orders(len(ready["input_ids"]), steps, generator)
    tuned = _Tuned(plan)
    optimizer = torch.optim.Adam(tuned.variables, lr=rate)
    fall = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=steps)
    for step, row in enumerate(order):
        one = take_sequences(ready, slice(row, row + 1))
        with torch.enable_grad():
            loss = _divergence(model, one, tuned.plan())
        if not torch.isfinite(loss):
            raise DivergenceError(
                f"a loss of {float(loss.detach())} after {step} steps",
                "Lower the rate, or look for NaN in the plan",
            )
        found = torch.autograd.grad(loss, tuned.variables)
        for variable, slope in zip(tuned.variables, found, strict=True):
            variable.grad = slope
        optimizer.step()
        fall.step()
        if notify is not None:
            notify("tune", (step + 1) / steps)
    return tuned.plan(detached=True)


class _Tuned:
    """The weights of a plan as variables: constants in units of their own size.

    Args:
        plan: Where they start.
    """

    def __init__(self, plan: HeadPlan) -> None:
        self._before = plan
        parts = plan.modules.values()
        size = torch.cat([part.constant.flatten() for part in parts]).square().mean().sqrt()
        self._size = float(size) or 1.0
        self.variables: list[Tensor] = []
        for part in parts:
            for values in (part.weights, part.constant / self._size):
                self.variables.append(values.detach().float().clone().requires_grad_())

    def plan(self, *, detached: bool = False) -> HeadPlan:
        """Returns the plan as it is now, differentiable by the variables unless detached."""
        values = iter([v.detach() if detached else v for v in self.variables])
        modules: dict[str, FixedHeads] = {}
        for name, part in self._before.modules.items():
            weights, constant = next(values), next(values) * self._size
            modules[name] = part._replace(weights=weights, constant=constant)
        return HeadPlan(modules, self._before.total)


def _orders(count: int, steps: int, generator: torch.Generator | None) -> list[int]:
    """Every sequence in turn, in another order each time."""
    device = torch.device("cpu") if generator is None else generator.device
    rounds = -(-steps // count)
    drawn = [torch.randperm(count, device=device, **source(generator)) for _ in range(rounds)]
    return torch.cat(drawn)[:steps].tolist()


def _divergence(
    model: PreTrainedModel, inputs: Mapping[str, Any], plan: HeadPlan
) -> Float[Tensor, ""]:
    """Mean of Σ p log (p/p̂) over the tokens that are no padding, in nats."""
    options = {"use_cache": False} if hasattr(model.config, "use_cache") else {}
    given = {**inputs, **options}
    with torch.no_grad():
        logits = getattr(model(**given), "logits", None)
        if logits is None or logits.shape[:2] != inputs["input_ids"].shape:
            raise ParameterError(
                "a model without logits of the next token", "Give a causal model of language"
            )
        before = at_least_single(logits).log_softmax(-1)
    with replace_heads(model, plan):
        after = at_least_single(model(**given).logits).log_softmax(-1)
        each = torch.nn.functional.kl_div(after, before, reduction="none", log_target=True).sum(-1)
        mask = inputs.get("attention_mask")
        return each.mean() if mask is None else each[mask.bool()].mean()
