"""A Transformer of another library, its heads looked up."""

import pytest
import torch

from isinglass.errors import ParameterError

transformers = pytest.importorskip("transformers", reason="needs transformers")

from isinglass.integrations import sampled_attention  # noqa: E402
from tests.seeds import SEED, seeded  # noqa: E402

TOKENS = torch.arange(24).reshape(2, 12) % 19


@pytest.fixture(scope="module", params=["llama with grouped queries", "bert"])
def model(request):
    torch.manual_seed(SEED)
    sizes = {
        "vocab_size": 19, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 32, "max_position_embeddings": 16, "initializer_range": 0.5,
    }  # fmt: skip
    if request.param == "bert":
        return transformers.BertForMaskedLM(transformers.BertConfig(**sizes)).double().eval()
    config = transformers.LlamaConfig(**sizes, num_key_value_heads=2)
    return transformers.LlamaForCausalLM(config).double().eval()


@torch.no_grad()
def test_infinitely_many_draws_are_the_model_itself(model):
    padding = torch.ones_like(TOKENS)
    padding[0, 9:] = 0
    expected = model(TOKENS, attention_mask=padding).logits
    with sampled_attention(model, None):
        found = model(TOKENS, attention_mask=padding).logits
    torch.testing.assert_close(found[padding > 0], expected[padding > 0])


@torch.no_grad()
def test_more_draws_come_closer_and_the_model_is_left_as_it_was(model, generator):
    before = model.config._attn_implementation
    expected = model(TOKENS).logits
    errors = []
    for draws in (1, 16, 256):
        with sampled_attention(model, draws, generator):
            found = torch.stack([model(TOKENS).logits for _ in range(10)])
        errors.append(float((found - expected).square().mean().sqrt()))
    # 1/√m would be factors of 4, but one draw is beyond where what follows a head is linear: the
    # factors are 1.8 to 3.5, each within 6 %.
    assert errors[0] > 1.2 * errors[1] > 1.8 * errors[2] > 0
    assert model.config._attn_implementation == before
    torch.testing.assert_close(model(TOKENS).logits, expected, rtol=0, atol=0)


@torch.no_grad()
@pytest.mark.parametrize("draws", [None, 3])
def test_attentions_are_the_shares(model, draws, generator):
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    expected = model(TOKENS, output_attentions=True).attentions
    model.set_attn_implementation(before)
    with sampled_attention(model, draws, generator):
        found = model(TOKENS, output_attentions=True).attentions
        assert not model(TOKENS).get("attentions")
    assert [shares.shape for shares in found] == [(2, 4, 12, 12)] * 2
    if draws is None:
        near = {"rtol": 1e-5, "atol": 1e-5}  # transformers takes its softmax in float32
        torch.testing.assert_close(found, expected, **near)
    else:
        counts = draws * torch.stack(found)
        torch.testing.assert_close(counts, counts.round())
        assert (counts.sum(-1).round() == draws).all()
    assert not any(part._forward_pre_hooks for part in model.modules())


@torch.no_grad()
def test_same_generator_same_draws(model):
    def once(seed: int) -> torch.Tensor:
        with sampled_attention(model, 2, seeded(seed)):
            return model(TOKENS).logits

    assert torch.equal(once(1), once(1))
    assert not torch.equal(once(1), once(2))


def test_an_error_inside_leaves_the_model_as_it_was(model):
    before = model.config._attn_implementation

    def fail() -> None:
        with sampled_attention(model, 2):
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    assert model.config._attn_implementation == before


def test_bad_input(model):
    with pytest.raises(ParameterError, match="draws"), sampled_attention(model, 0):
        pass


@torch.no_grad()
def test_numbers_added_to_the_scores_are_fields_of_the_patterns(model):
    """A mask of finite numbers is no mask: dropping them would be another model."""
    if not hasattr(model, "lm_head"):
        pytest.skip("the model takes no mask of four dimensions")
    biases = torch.randn(2, 1, 12, 12, dtype=torch.float64)
    expected = model(TOKENS, attention_mask=biases).logits
    assert (expected - model(TOKENS).logits).abs().max() > 0.01
    with sampled_attention(model, None):
        torch.testing.assert_close(model(TOKENS, attention_mask=biases).logits, expected)
