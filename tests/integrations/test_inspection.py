"""Every head of models of another library: their output is theirs, what is found is so."""

import pytest
import torch

from isinglass.analysis.heads import attention_heads
from isinglass.errors import DomainError, IntractableError, ParameterError, ShapeError
from tests.seeds import SEED, seeded

transformers = pytest.importorskip("transformers", reason="needs transformers")

from isinglass.integrations import inspect, sampled_attention  # noqa: E402
from isinglass.integrations.huggingface import attention_interface  # noqa: E402

#: Encoders, decoders, encoder–decoders, vision; biases, sinks, caps, windows, shared keys.
FAMILIES = [
    "albert", "bart", "bert", "clip", "cohere2", "deit", "dinov2", "electra", "gemma2",
    "gemma3_text", "gpt2", "gpt_oss", "layoutlm", "llama", "marian", "mistral", "mixtral",
    "modernbert", "opt", "phi3", "qwen2", "qwen3", "roberta", "siglip_vision_model", "smollm3",
    "splinter", "t5", "vit",
]  # fmt: skip


def tiny(name: str, **sizes):
    torch.manual_seed(SEED)
    shared = {
        "vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 48, "max_position_embeddings": 128, "initializer_range": 0.3,
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
    }  # fmt: skip
    return getattr(transformers, name.replace("Model", "Config"))(**shared | sizes)


def llama(**sizes):
    config = tiny("LlamaModel", num_key_value_heads=2, **sizes)
    return transformers.LlamaForCausalLM(config).eval()


def tokens(length: int = 40, rows: int = 2) -> torch.Tensor:
    return torch.randint(3, 50, (rows, length), generator=seeded(2))


@pytest.mark.parametrize("family", FAMILIES)
def test_families_are_themselves_when_looked_into_and_with_endless_draws(family):
    families = pytest.importorskip("benchmarks.evidence.attention_families")
    found = families.try_family(family)
    assert found["found"] == "works", found["why"]
    assert found["restored"]


@pytest.mark.parametrize("family", ["deberta-v2", "bloom", "fnet"])
def test_families_without_the_interface_are_refused_by_name(family):
    families = pytest.importorskip("benchmarks.evidence.attention_families")
    assert families.try_family(family)["found"] == "refused"


@torch.no_grad()
def test_attention_by_hand_gives_the_table(monkeypatch):
    """The eager attention of transformers, whole, beside blocks of a few scores."""
    monkeypatch.setitem(attention_heads.BLOCK, "cpu", 500)
    model, given = llama(), tokens()
    model.set_attn_implementation("eager")
    expected = model(given, output_attentions=True)
    found = inspect(model, given, every=1)
    near = {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(found.output.logits, expected.logits, **near)
    for layer, p in zip(found.layers, expected.attentions, strict=True):
        entropy = -torch.special.xlogy(p, p).sum(-1)
        torch.testing.assert_close(layer.statistics.entropy, entropy, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(layer.statistics.first, p[..., 0], **near)
    assert len(found.table) == 8
    assert len(found.queries) == 2 * 4 * 2 * 40
    assert sum(found.counts.values()) == 8
    seen = found.look(-1, sequence=1)
    torch.testing.assert_close(seen.attention[1], expected.attentions[1][1, :, -1], **near)
    seen = found.look(3)
    torch.testing.assert_close(seen.attention[0], expected.attentions[0][0, :, 3], **near)


@torch.no_grad()
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_is_left_out(side):
    model, given = llama(), tokens(24, 1)
    padding = torch.zeros(1, 8, dtype=torch.long)
    parts = [padding, given] if side == "left" else [given, padding]
    mask = torch.cat([part > 0 for part in parts], 1).long()
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    found = inspect(
        model,
        {"input_ids": torch.cat(parts, 1), "attention_mask": mask, "position_ids": positions},
        every=1, settle=0,
    ).table  # fmt: skip
    alone = inspect(model, given, every=1, settle=0).table
    for column in ("k90", "keys", "entropy", "energy", "sink", "explained", "error"):
        close = torch.tensor(found[column]), torch.tensor(alone[column])
        torch.testing.assert_close(*close, rtol=1e-4, atol=1e-4, equal_nan=True)
    assert (found["queries"] == 24).all()


@torch.no_grad()
@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_what_lies_in_a_cache_is_looked_at(cache):
    model, given = llama(), tokens(20, 1)
    whole = inspect(model, given, every=1)
    past = (
        transformers.DynamicCache(config=model.config)
        if cache == "dynamic"
        else transformers.StaticCache(config=model.config, max_cache_len=32)
    )
    model(given[:, :15], past_key_values=past, use_cache=True)
    later = inspect(model, {"input_ids": given[:, 15:], "past_key_values": past}, every=1)
    for a, b in zip(whole.layers, later.layers, strict=True):
        assert torch.equal(b.statistics.keys[0, 0], torch.arange(16, 21))
        torch.testing.assert_close(
            a.statistics.energy[..., 15:], b.statistics.energy, rtol=1e-4, atol=1e-4
        )


def test_fixed_weights_meet_the_weights_behind_the_head():
    """A head whose scores are all equal is its mean, which fixed weights explain whole."""
    model = llama()
    for layer in model.model.layers:
        layer.self_attn.q_proj.weight.data.zero_()
    table = inspect(model, tokens(), every=1).table
    assert (table["explained"] > 1 - 1e-6).all()
    assert (table["error"] < 1e-3).all()
    assert (table["class"] == "global average").all()


def test_towers_get_back_what_they_had():
    config = transformers.CLIPConfig(
        text_config={"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "eos_token_id": 2,
                     "num_attention_heads": 2, "intermediate_size": 16},
        vision_config={"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                       "intermediate_size": 16, "image_size": 16, "patch_size": 8},
    )  # fmt: skip
    model = transformers.CLIPModel(config).eval()
    model.set_attn_implementation({"text_config": "eager", "vision_config": "sdpa"})
    kinds = [model.config.text_config, model.config.vision_config]
    before = [kind._attn_implementation for kind in kinds]
    assert before == ["eager", "sdpa"]
    with sampled_attention(model, 2):
        assert len({kind._attn_implementation for kind in kinds}) == 1
    assert [kind._attn_implementation for kind in kinds] == before


@torch.no_grad()
def test_draws_see_sinks_caps_and_biases_by_blocks(monkeypatch):
    """The shares are those of the model's own attention, whatever alters the scores."""
    t5 = transformers.T5Config(vocab_size=50, d_model=32, d_kv=8, d_ff=32, num_layers=1,
                               num_heads=4, decoder_start_token_id=0)  # fmt: skip
    capped = tiny("Gemma2Model", num_key_value_heads=2, head_dim=8, attn_logit_softcapping=1.0)
    models = [
        (transformers.T5EncoderModel(t5).eval(), "attentions"),
        (transformers.Gemma2Model(capped).eval(), "attentions"),
    ]
    monkeypatch.setattr(attention_interface, "MOST", 700)
    given = tokens(12)
    for model, name in models:
        model.set_attn_implementation("eager")
        expected = model(given, output_attentions=True)[name]
        with sampled_attention(model, None):
            found = model(given, output_attentions=True)[name]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        with sampled_attention(model, 3, seeded(0)):
            shares = torch.stack(model(given, output_attentions=True)[name])
        torch.testing.assert_close(3 * shares, (3 * shares).round())


def test_bad_input():
    model = llama()
    with pytest.raises(ParameterError, match="a model of transformers"):
        inspect(torch.nn.Linear(2, 2), tokens())  # pyright: ignore[reportArgumentType]
    with pytest.raises(ParameterError, match="every"):
        inspect(model, tokens(), every=0)
    with pytest.raises(ParameterError, match="output_attentions"):
        inspect(model, {"input_ids": tokens(), "output_attentions": True})
    with pytest.raises(ShapeError, match="200 tokens for a model of 128"):
        inspect(model, tokens(200))
    with pytest.raises(ShapeError, match="input_ids"):
        inspect(model, tokens()[:, :0])
    with pytest.raises(DomainError, match="vocabulary"):
        inspect(model, tokens() + 50)
    with pytest.raises(ParameterError, match="list"):
        inspect(model, [1, 2])  # pyright: ignore[reportArgumentType]
    with pytest.raises(ParameterError, match="training"):
        inspect(llama().train(), tokens())
    with pytest.raises(ParameterError, match="query 99"):
        inspect(model, tokens()).look(99)
    with pytest.raises(IntractableError, match="no attention"):
        inspect(transformers.FNetModel(tiny("FNetModel")).eval(), tokens())
    model.model.layers[0].self_attn.q_proj.weight.data[0, 0] = torch.nan
    with pytest.raises(DomainError, match="NaN in the scores"):
        inspect(model, tokens())
    t5 = transformers.T5Config(vocab_size=50, d_model=32, d_kv=8, d_ff=32, num_layers=1,
                               num_heads=4, decoder_start_token_id=0)  # fmt: skip
    with pytest.raises(ParameterError, match="decoder_input_ids"):
        inspect(transformers.T5Model(t5).eval(), tokens())


@torch.no_grad()
@pytest.mark.slow
def test_memory_grows_with_the_length_and_not_with_its_square():
    """What torch has allocated at most, beside the model alone, the matrix of scores never."""
    harness = pytest.importorskip("benchmarks.speed.harness")
    model = llama(max_position_embeddings=4096).base_model
    for length in (1024, 4096):
        inputs = {"input_ids": tokens(length, 1), "use_cache": False}
        with torch.no_grad():
            alone = harness.peak_allocated_bytes(lambda given=inputs: model(**given))
        looked = harness.peak_allocated_bytes(lambda given=inputs: inspect(model, given))
        # A few blocks of one size, and for every eighth query of the 4 heads a few numbers.
        assert 0 <= looked - alone < 8 * 4 * attention_heads.BLOCK["cpu"] + length / 8 * 4 * 1024
    assert looked - alone < 4 * 4 * 4096**2 / 8  # the scores of these queries


@pytest.mark.slow
def test_memory_is_that_of_the_model():
    """A model as wide as those in use: a tenth more at most at 2,048 tokens."""
    harness = pytest.importorskip("benchmarks.speed.harness")
    model = llama(
        hidden_size=512, intermediate_size=1376, num_hidden_layers=1, num_attention_heads=8,
        max_position_embeddings=2048,
    ).base_model  # fmt: skip
    inputs = {"input_ids": tokens(2048, 1), "use_cache": False}
    with torch.no_grad():
        alone = harness.peak_allocated_bytes(lambda: model(**inputs))
    assert harness.peak_allocated_bytes(lambda: inspect(model, inputs)) <= 1.1 * alone


def test_half_precision_runs_as_it_is():
    model, given = llama().bfloat16(), tokens()
    expected = model(given).logits
    found = inspect(model, given)
    assert found.output.logits.dtype == torch.bfloat16
    torch.testing.assert_close(found.output.logits, expected)
    assert found.layers[0].statistics.energy.dtype == torch.float32


def test_figures_are_drawn():
    pytest.importorskip("matplotlib", reason="needs matplotlib")
    found = inspect(llama(), tokens())
    for figure in (
        found.draw_classes(), found.draw_sizes(), found.draw_energy_paths(),
        found.draw_attention(-1, [(0, 1), (1, 0)], tokens=["a"] * 40),
    ):  # fmt: skip
        figure.canvas.draw()
    with pytest.raises(ParameterError, match="layer 9"):
        found.draw_attention(-1, [(9, 0)])


def test_inputs_that_would_be_answered_with_nothing_are_told():
    model, given = llama(), tokens()
    with pytest.raises(DomainError, match="whole numbers"):
        inspect(model, given.float())
    with pytest.raises(ParameterError, match=r"inputs named \['input_idz'\]"):
        inspect(model, {"input_idz": given})
    mask = torch.ones_like(given)
    mask[-1] = 0
    with pytest.raises(DomainError, match="padding alone"):
        inspect(model, {"input_ids": given, "attention_mask": mask})
