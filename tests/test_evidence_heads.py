"""What the figures on trained heads, heated models and energy blocks are made with."""

import numpy as np
import pytest
import torch

pytest.importorskip("transformers", reason="needs transformers")
pytest.importorskip("benchmarks", reason="the harness is in the repository alone")

from benchmarks.evidence import energy_transformer, findings, heat, middle_layers, texts
from benchmarks.evidence.models import Loaded, MissingModel
from transformers import LlamaConfig, LlamaForCausalLM

from isinglass.integrations.huggingface.attention_interface import replaced_attention
from isinglass.nn import EnergyTransformerBlock
from tests.seeds import seeded, shifted


def tiny() -> Loaded:
    torch.manual_seed(shifted(0))
    config = LlamaConfig(
        vocab_size=30, hidden_size=16, intermediate_size=16, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, initializer_range=0.5,
    )  # fmt: skip
    return Loaded("tiny", LlamaForCausalLM(config).eval(), None)


TOKENS = torch.arange(48).reshape(2, 24) * 7 % 30


@torch.no_grad()
def test_heads_are_replaced_where_asked_and_only_there():
    model = tiny().model
    expected = model(TOKENS).logits
    replaced = findings.Replaced(2)
    with replaced_attention(model, replaced.attend):
        torch.testing.assert_close(model(TOKENS).logits, expected)
        replaced.fixed[1, 3] = torch.tensor([0.0, 0.0, 1.0, 0.0]), torch.zeros(4)
        states, output = middle_layers.states_of(model, TOKENS)
    plain, _ = middle_layers.states_of(model, TOKENS)
    torch.testing.assert_close(states[0], plain[0])
    assert not torch.allclose(output.logits, expected, atol=1e-3)
    # A first token sees itself alone: its own value is what every head gives.
    torch.testing.assert_close(output.logits[:, 0], expected[:, 0])


@torch.no_grad()
def test_heads_that_barely_look_are_fixed_weights():
    loaded = tiny()
    for block in loaded.model.model.layers:
        block.self_attn.q_proj.weight.mul_(1e-4)
    fits = findings.fits_of(loaded.model, TOKENS)
    assert len(fits) == 8
    assert max(fit["error"] for fit in fits.values()) < 1e-2
    replaced = findings.Replaced(2)
    replaced.fixed = {at: (fit["weights"], fit["shift"]) for at, fit in fits.items()}
    with replaced_attention(loaded.model, replaced.attend):
        found = loaded.model(TOKENS).logits
    torch.testing.assert_close(found, loaded.model(TOKENS).logits, atol=0.1, rtol=0.02)


@torch.no_grad()
def test_states_are_cleaned_up_and_lead_on():
    model = tiny().model
    states, output = middle_layers.states_of(model, TOKENS)
    memory = middle_layers.StateMemory(states[0].flatten(0, 1), 300.0)
    noise = 0.2 * memory.spread * torch.randn(states[0].shape, generator=seeded(1))
    cleaned = memory.clean(states[0] + noise)
    assert (cleaned - states[0]).square().mean() < 0.1 * noise.square().mean()
    with texts.changed(texts.blocks(model)[0], lambda _: states[0]):
        torch.testing.assert_close(model(TOKENS.flip(0)).logits, output.logits)


@torch.no_grad()
def test_one_head_is_heated_alone():
    model = tiny().model
    exact = model(TOKENS).logits
    heated = heat.Heated(2, seeded(2))
    errors = {}
    for layer, head in ((None, None), (1, None), (1, 2)):
        heated.layer, heated.head = layer, head
        found = heat.error_by_draws(model, heated, TOKENS, exact, (4, 4096), 4)
        errors[layer, head] = found["error"]["4"]
        # Within a factor of two of m^-1/2.
        assert -0.6 < found["slope"] < -0.4
    assert errors[None, None] > errors[1, 2]
    assert errors[1, None] > errors[1, 2]


@torch.no_grad()
def test_doubt_is_told_per_next_token():
    found = heat.scores_of(tiny().model, TOKENS, (2,), "")
    assert {score.shape for score in found.values()} == {(2, 23)}
    assert all(np.isfinite(score).all() for score in found.values())
    assert (found["m = 2, mutual information"] > -1e-4).all()
    assert heat.auroc(np.array([0, 0, 1]), np.array([0.1, 0.2, 0.3])) == 1
    assert heat.foreign(np.zeros((1, 64)), np.ones((1, 64)), 32) == 1


@pytest.mark.parametrize("kind", energy_transformer.KINDS)
@torch.no_grad()
def test_no_language_model_sees_what_comes(kind: str):
    torch.manual_seed(shifted(3))
    generator = seeded(3)
    model = energy_transformer.LanguageModel(kind, 10, generator)
    model.draw(None)
    rows = torch.randint(10, (2, 20), generator=generator)
    other = rows.clone()
    other[:, 12:] = (other[:, 12:] + 1) % 10
    before, after = model(rows), model(other)
    torch.testing.assert_close(before[:, :12], after[:, :12])
    assert not torch.allclose(before[:, 12:], after[:, 12:], atol=1e-3)


@torch.no_grad()
def test_later_tokens_pull_at_earlier_ones_in_the_energy_of_a_set():
    torch.manual_seed(shifted(5))
    block = EnergyTransformerBlock(8, num_heads=2, memories=16, steps=1, halvings=None)
    tokens = torch.randn(1, 6, 8)
    other = tokens.clone()
    other[:, 5] = other[:, 5].flip(-1)
    causal = torch.ones(6, 6, dtype=torch.bool).tril()
    before, after = block(tokens, causal)[:, :5], block(other, causal)[:, :5]
    assert not torch.allclose(before, after, atol=1e-4)


def test_a_missing_text_is_said(tmp_path):
    with pytest.raises(MissingModel, match="ISINGLASS_DATA"):
        texts.read_text("Shakespeare", tmp_path)


def test_a_table_of_losses_keeps_to_its_columns():
    """What was not drawn is left empty, and the loss of m → ∞ stands last."""
    line = {"error": {"1": 1.0, "4": 0.5}, "nats": {"1": 2.0, "4": 1.5}, "slope": -0.5,
            "exact nats": 1.0}  # fmt: skip
    loss = heat.as_tables({"error/tiny/all": line})[1]
    cells = [next(iter(column.cells)) for column in loss.columns]
    assert cells == ["tiny", "7.39", "4.48", *[""] * (len(heat.DRAWS) - 2), "2.72"]
