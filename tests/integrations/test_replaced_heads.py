"""Heads replaced by fixed weights: by hand, under caches and padding, and refused where need be."""

import copy

import numpy as np
import pytest
import torch

from isinglass.errors import FileError, IntractableError, ParameterError, ShapeError
from tests.seeds import SEED, seeded

transformers = pytest.importorskip("transformers", reason="needs transformers")

from isinglass.integrations import HeadPlan, plan_heads, rank_heads, replace_heads  # noqa: E402
from isinglass.integrations.huggingface import FixedHeads, head_planner  # noqa: E402
from isinglass.integrations.huggingface.attention_interface import (  # noqa: E402
    replaced_attention,
)
from isinglass.integrations.huggingface.replaced_heads import attend_fixed  # noqa: E402

NEAR = {"rtol": 1e-5, "atol": 1e-5}


def llama(**sizes):
    torch.manual_seed(SEED)
    config = {
        "vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "intermediate_size": 48, "max_position_embeddings": 128,
        "initializer_range": 0.3, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
    }  # fmt: skip
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**config | sizes)).eval()


def tokens(length: int = 40, rows: int = 3) -> torch.Tensor:
    return torch.randint(3, 50, (rows, length), generator=seeded(2))


def some_heads(*heads: int, size: int = 8) -> FixedHeads:
    count, generator = len(heads), seeded(4)
    weights = torch.randn(count, 4, generator=generator)
    constant = torch.randn(count, size, generator=generator)
    rest = torch.zeros(3, count)
    return FixedHeads(torch.tensor(heads), weights, constant, *rest)


def some_plan() -> HeadPlan:
    """One head of a group, and one whole layer."""
    names = [f"model.layers.{layer}.self_attn" for layer in range(2)]
    return HeadPlan({names[0]: some_heads(1), names[1]: some_heads(0, 1, 2, 3)}, total=8)


def values_of(model, inputs) -> list[torch.Tensor]:
    """The values of each layer of a Llama, by hooks."""
    seen, hooks = [], []
    for layer in model.model.layers:
        hook = lambda _, __, output: seen.append(output.detach())  # noqa: E731
        hooks.append(layer.self_attn.v_proj.register_forward_hook(hook))
    model(**inputs)
    for hook in hooks:
        hook.remove()
    return seen


def by_hand(part: FixedHeads, values: torch.Tensor, start: int = 0) -> torch.Tensor:
    """c + a·mean + b·v_first + d·v_self + e·v_previous of one sequence, query by query."""
    v = values.unflatten(-1, (2, 8))[start:]  # (L, G, e)
    found = torch.empty(len(v), len(part.heads), 8)
    for query in range(len(v)):
        for at, head in enumerate(part.heads.tolist()):
            own = v[:, head // 2]
            rows = own[: query + 1].mean(0), own[0], own[query], own[max(0, query - 1)]
            found[query, at] = part.constant[at] + sum(
                w * row for w, row in zip(part.weights[at], rows, strict=True)
            )
    return found


@torch.no_grad()
def test_nothing_replaced_is_the_model_and_afterwards_it_is_as_it_was():
    model, given = llama(), tokens()
    before, expected = copy.deepcopy(model.config), model(given).logits
    with replace_heads(model, HeadPlan({}, total=8)):
        torch.testing.assert_close(model(given).logits, expected, **NEAR)
    with replace_heads(model, some_plan()):
        assert (model(given).logits - expected).abs().max() > 0.1
    torch.testing.assert_close(model(given).logits, expected, rtol=0, atol=0)
    assert model.config.to_dict() == before.to_dict()


@torch.no_grad()
@pytest.mark.parametrize("padded", [False, True])
def test_replaced_heads_give_their_fixed_weights(padded):
    """What the output weights are given, beside a loop over the queries."""
    model, given, plan = llama(), tokens(), some_plan()
    inputs = {"input_ids": given}
    start = 7 if padded else 0
    if padded:
        inputs["attention_mask"] = torch.ones_like(given)
        inputs["attention_mask"][1, :start] = 0
    seen: list[torch.Tensor] = []
    hook = lambda _, args: seen.append(args[0].detach())  # noqa: E731
    for layer in model.model.layers:
        layer.self_attn.o_proj.register_forward_pre_hook(hook)
    model(**inputs)
    whole = seen[0].unflatten(-1, (4, 8))
    seen.clear()
    with replace_heads(model, plan):
        values = values_of(model, inputs)
    for given_to, part, value in zip(seen, plan.modules.values(), values, strict=True):
        found = given_to.unflatten(-1, (4, 8))[1, start:][:, part.heads]
        torch.testing.assert_close(found, by_hand(part, value[1], start), **NEAR)
    others = seen[0].unflatten(-1, (4, 8))[:, :, [0, 2, 3]]
    torch.testing.assert_close(others[1, start:], whole[1, start:, [0, 2, 3]], **NEAR)


@torch.no_grad()
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_generation_with_a_cache_is_that_without(cache, padded):
    model, given = llama(), tokens(12, 2)
    mask = torch.ones_like(given)
    mask[1, : 5 * padded] = 0
    options = {"attention_mask": mask}
    options |= {"max_new_tokens": 9, "do_sample": False, "output_logits": True,
               "return_dict_in_generate": True}  # fmt: skip
    with replace_heads(model, some_plan()):
        plain = model.generate(given, use_cache=False, **options)
        cached = model.generate(given, cache_implementation=cache, **options)
    assert torch.equal(plain.sequences, cached.sequences)
    torch.testing.assert_close(torch.stack(plain.logits), torch.stack(cached.logits), **NEAR)


@torch.no_grad()
def test_the_fit_is_least_squares_of_numpy():
    """The first layer, whose inputs are the model's, in the metric of its output weights."""
    model, given = llama().double(), tokens(30, 5)
    plan = plan_heads(model, given, share=1.0, rank="error")
    assert len(plan) == plan.total == 8
    outputs: list[torch.Tensor] = []
    first = model.model.layers[0].self_attn
    first.o_proj.register_forward_pre_hook(lambda _, args: outputs.append(args[0].detach()))
    value = values_of(model, {"input_ids": given})[0]
    o = outputs[0].unflatten(-1, (4, 8))
    part = plan.modules["model.layers.0.self_attn"]
    for head in range(4):
        ones = [some_heads(head)._replace(weights=row[None].double(), constant=torch.zeros(1, 8))
                for row in torch.eye(4)]  # fmt: skip
        features = [torch.stack([by_hand(one, v)[:, 0] for v in value]) for one in ones]
        w = first.o_proj.weight.detach().unflatten(1, (4, 8))[:, head]
        columns = torch.stack(features, -1).flatten(0, 1).double()  # (N, e, 4)
        count = len(columns)
        design = torch.cat([columns, torch.eye(8).expand(count, 8, 8).double()], -1)
        design = (w @ design).flatten(0, 1).numpy()
        target = (o[:, :, head].flatten(0, 1) @ w.mT).flatten().numpy()
        best, _, _, _ = np.linalg.lstsq(design, target, rcond=None)
        torch.testing.assert_close(part.weights[head].numpy(), best[:4].astype("f"), rtol=1e-3,
                                   atol=1e-4)  # fmt: skip
        torch.testing.assert_close(part.constant[head].numpy(), best[4:].astype("f"), rtol=1e-3,
                                   atol=1e-4)  # fmt: skip


def test_heads_that_look_at_no_query_are_found_and_cost_nothing():
    """Heads of zero queries attend evenly: mean has weight 1 and the loss stays."""
    model, given = llama(), tokens(64, 6)
    with torch.no_grad():
        model.model.layers[1].self_attn.q_proj.weight[:16] = 0  # heads 0 and 1
        expected = model(given).logits
    for rank in ("damage", "error"):
        plan = plan_heads(model, given, share=0.25, rank=rank)
        ((name, part),) = plan.modules.items()
        assert name == "model.layers.1.self_attn"
        assert part.heads.tolist() == [0, 1]
        torch.testing.assert_close(part.weights[:, 0], torch.ones(2), rtol=1e-3, atol=1e-3)
        assert (part.explained > 0.9999).all()
        with replace_heads(model, plan), torch.no_grad():
            torch.testing.assert_close(model(given).logits, expected, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_heads_downstream_are_fitted_with_those_upstream_replaced():
    """A free constant makes means agree: those of the second layer as it is under the first."""
    model, given = llama(), tokens(64, 6)
    whole = plan_heads(model, given, share=1.0, rank="error")
    upstream = dict(list(whole.modules.items())[:1])
    seen: list[torch.Tensor] = []
    last = model.model.layers[1].self_attn.o_proj
    last.register_forward_pre_hook(lambda _, args: seen.append(args[0].mean((0, 1))))
    model(given)
    for plan in (HeadPlan(upstream, total=8), whole):
        with replace_heads(model, plan):
            model(given)
    torch.testing.assert_close(seen[2], seen[1], rtol=1e-3, atol=1e-4)
    assert (seen[2] - seen[0]).abs().max() > 0.01


def test_nothing_instead_is_a_head_of_zeros():
    model, given = llama(), tokens()
    plan = plan_heads(model, given, share=0.5, instead="nothing")
    for name, part in plan.modules.items():
        assert not part.weights.any()
        assert not part.constant.any()
        layer = model.get_submodule(name)
        with torch.no_grad():
            for head in part.heads.tolist():
                layer.o_proj.weight[:, 8 * head : 8 * head + 8] = 0
    with torch.no_grad():
        expected = model(given).logits
    whole = llama()
    with replace_heads(whole, plan), torch.no_grad():
        torch.testing.assert_close(whole(given).logits, expected, **NEAR)


def test_slopes_are_those_of_the_loss(monkeypatch):
    """The first order beside differences of the loss, with a head blended in by a little."""
    model, given = llama().double(), tokens(32, 4)
    seen: list[torch.Tensor] = []

    def join(first, second, squares):
        seen.append(first)
        return first

    monkeypatch.setattr(head_planner, "_join", join)
    ranking = rank_heads(model, given)
    assert len(ranking) == 8
    for at in range(8):
        name, head = f"model.layers.{at // 4}.self_attn", at % 4
        part = ranking.modules[name]
        module = model.get_submodule(name)

        def loss(blend: float, part=part, module=module, head=head) -> float:
            def attend(call):
                output = call.fused()
                if call.module is module:
                    change = attend_fixed(call, part) - output
                    output[:, :, head] += blend * change[:, :, head]
                return output, None

            inputs = {"input_ids": given}
            with replaced_attention(model, attend), torch.no_grad():
                losses = head_planner.token_losses(model(given), inputs)
            return float(losses.sum()) / given.numel()

        slope = (loss(1e-3) - loss(-1e-3)) / 2e-3
        assert abs(float(seen[0][at]) - slope) < 1e-5 + 1e-3 * abs(slope)


def test_both_orders_are_joined():
    slopes = torch.randn(2, 100, 3, generator=seeded(5), dtype=torch.float64)
    stretches = [slopes[:, :64], slopes[:, 64:]]
    single = slopes.square().sum((0, 1)) / 200
    joint = sum(part.sum(1).square().sum(0) for part in stretches) / 200
    second = head_planner._fisher(slopes)
    torch.testing.assert_close(second, (single / 2 + joint / 2) / 2)
    first, squares = torch.tensor([0.4, 0.0, -0.4]).double(), 7 * second
    found = head_planner._join(first, second, squares)  # the same but for a scale
    torch.testing.assert_close(found, first / 4 + second)


def test_a_plan_is_saved_and_loaded(tmp_path):
    plan = some_plan()
    plan.save(tmp_path / "plan.safetensors")
    found = HeadPlan.load(tmp_path / "plan.safetensors")
    assert list(found.modules) == list(plan.modules)
    assert found.total == 8
    for name, part in plan.modules.items():
        torch.testing.assert_close(found.modules[name], part, rtol=0, atol=0)
    assert list(found.table["head"]) == [1, 0, 1, 2, 3]
    assert found.share == 5 / 8
    with pytest.raises(FileError):
        plan.save(tmp_path / "plan.safetensors")
    (tmp_path / "other.safetensors").write_bytes(b"no tensors")
    with pytest.raises(FileError, match="other"):
        HeadPlan.load(tmp_path / "other.safetensors")


def test_what_cannot_be_is_refused():
    model, given = llama(), tokens()
    with pytest.raises(ParameterError, match="share"):
        plan_heads(model, given, share=1.5)
    with pytest.raises(ParameterError, match="rank"):
        plan_heads(model, given, rank="size")
    with pytest.raises(ParameterError, match="logits"):
        plan_heads(model.model, given)
    with pytest.raises(ParameterError, match=r"layers\.9"), \
            replace_heads(model, HeadPlan({"layers.9": some_heads(0)}, total=8)):  # fmt: skip
        pass
    name = "model.layers.0.self_attn"
    with replace_heads(model, HeadPlan({name: some_heads(4)}, total=8)), \
            pytest.raises(ParameterError, match="head 4"):  # fmt: skip
        model(given)
    with pytest.raises(ShapeError, match="weights"):
        HeadPlan({name: some_heads(0)._replace(weights=torch.zeros(1, 3))}, total=8)


def test_a_window_that_the_first_key_leaves_is_refused():
    torch.manual_seed(SEED)
    config = transformers.MistralConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, intermediate_size=48, sliding_window=16,
    )  # fmt: skip
    model = transformers.MistralForCausalLM(config).eval()
    plan = plan_heads(model, tokens(16), share=0.5)
    with replace_heads(model, plan), torch.no_grad(), \
            pytest.raises(IntractableError, match="window of 16"):  # fmt: skip
        model(tokens(17))


@torch.no_grad()
def test_an_encoder_is_planned_by_error():
    torch.manual_seed(SEED)
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=48,
    )  # fmt: skip
    model, given = transformers.BertModel(config).eval(), tokens()
    plan = plan_heads(model, given, share=0.5, rank="error")
    expected = model(given).last_hidden_state
    with replace_heads(model, plan):
        found = model(given).last_hidden_state
    assert (found - expected).norm() < 0.1 * expected.norm()  # random heads average
