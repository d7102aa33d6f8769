"""Fixed weights of all heads fitted together: nearer to the model, and nothing else of it moved."""

import pytest
import torch

from isinglass.errors import DivergenceError, ParameterError
from tests.integrations.test_replaced_heads import llama, some_plan, tokens
from tests.seeds import seeded

pytest.importorskip("transformers", reason="needs transformers")

from isinglass.integrations import (
    HeadPlan,
    plan_heads,
    replace_heads,
    tune_heads,
)
from isinglass.integrations.huggingface.head_tuner import _divergence

STEP = 3e-3


@torch.no_grad()
def plain_divergence(model, given, plan):
    """Σ p log (p/p̂), token by token, in float64."""
    before = model(given).logits.double().softmax(-1)
    with replace_heads(model, plan):
        after = model(given).logits.double().softmax(-1)
    return float((before * (before / after).log()).sum(-1).mean())


@torch.no_grad()
def test_the_loss_is_the_divergence_of_the_definition():
    model, given = llama(), tokens()
    found = _divergence(model, {"input_ids": given}, some_plan())
    assert float(found) == pytest.approx(plain_divergence(model, given, some_plan()), rel=1e-4)


@torch.no_grad()
def test_padding_does_not_count():
    model, given = llama(), tokens(rows=1)
    padded = torch.cat([given, torch.zeros(1, 7, dtype=torch.long)], 1)
    mask = (torch.arange(47) < 40).long()[None]
    found = _divergence(model, {"input_ids": padded, "attention_mask": mask}, some_plan())
    assert float(found) == pytest.approx(plain_divergence(model, given, some_plan()), rel=1e-3)


def test_slopes_are_those_of_differences():
    model, given = llama().double(), {"input_ids": tokens()}
    plan = some_plan()
    names = list(plan.modules)
    part = plan.modules[names[0]]
    part = part._replace(weights=part.weights.double(), constant=part.constant.double())
    weights = part.weights.clone().requires_grad_()
    moved = lambda w: HeadPlan(dict(plan.modules) | {names[0]: part._replace(weights=w)}, 8)  # noqa: E731
    (slope,) = torch.autograd.grad(_divergence(model, given, moved(weights)), weights)
    for at in range(4):
        step = torch.zeros_like(part.weights)
        step[0, at] = STEP  # norms are in float32: 1e-7 of a loss of order 1, over the step
        with torch.no_grad():
            ends = [_divergence(model, given, moved(part.weights + s)) for s in (step, -step)]
        found = float(ends[0] - ends[1]) / (2 * STEP)
        assert float(slope[0, at]) == pytest.approx(found, rel=0.01, abs=1e-6 / STEP)


def test_tuned_heads_are_nearer_to_the_model_on_other_texts():
    model, given = llama(), tokens(rows=8)
    others = torch.randint(3, 50, (8, 40), generator=seeded(7))
    held = {name: value.clone() for name, value in model.state_dict().items()}
    plan, told = plan_heads(model, given, share=0.5), []
    tuned = tune_heads(
        model, given, plan, 40, generator=seeded(1), notify=lambda *step: told.append(step)
    )
    before, after = (plain_divergence(model, others, each) for each in (plan, tuned))
    assert after < before
    assert told[-1] == ("tune", 1.0)
    assert all(torch.equal(value, held[name]) for name, value in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())
    again = tune_heads(model, given, plan, 40, generator=seeded(1))
    for name, part in tuned.modules.items():
        assert torch.equal(part.heads, plan.modules[name].heads)
        assert torch.equal(part.weights, again.modules[name].weights)
        assert not part.weights.requires_grad


def test_what_cannot_be_tuned():
    model = llama()
    with pytest.raises(ParameterError, match="empty"):
        tune_heads(model, tokens(), HeadPlan({}, total=8))
    with pytest.raises(ParameterError, match="steps"):
        tune_heads(model, tokens(), some_plan(), 0)
    with pytest.raises(ParameterError, match="logits"):
        tune_heads(model.model, tokens(), HeadPlan({"layers.0.self_attn": some_plan().modules[
            "model.layers.0.self_attn"]}, total=8))  # fmt: skip
    name, part = next(iter(some_plan().modules.items()))
    lost = HeadPlan({name: part._replace(constant=part.constant * torch.nan)}, total=8)
    with pytest.raises(DivergenceError, match="rate"):
        tune_heads(model, tokens(), lost, 5)
