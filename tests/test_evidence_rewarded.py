"""A language model taught from a reward that a program checks, as the figures are made with."""

from argparse import Namespace

import pytest
import torch

pytest.importorskip("transformers", reason="needs transformers")
pytest.importorskip("benchmarks", reason="the harness is in the repository alone")

from benchmarks.evidence import replaced_heads, rewarded_smollm2
from benchmarks.evidence.cache import Cache
from benchmarks.evidence.models import Loaded
from transformers import LlamaConfig, LlamaForCausalLM

from tests.seeds import shifted

WORDS = ("", "a", "b", "?", "7", "\n", "c", "d", "e", "f")


class Letters:
    """A tokenizer of one sign a token; 0 begins every text."""

    eos_token_id = None

    def encode(self, text):
        return [0, *(WORDS.index(sign) for sign in text if sign in WORDS)]

    def decode(self, row, **_):
        return "".join(WORDS[token] for token in row)


def tiny() -> Loaded:
    torch.manual_seed(shifted(0))
    config = LlamaConfig(
        vocab_size=10, hidden_size=16, intermediate_size=16, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, initializer_range=0.05,
    )  # fmt: skip
    return Loaded("tiny", LlamaForCausalLM(config).eval(), Letters())


def given(**changed) -> Namespace:
    wanted = {
        "quick": True,
        "task": "question",
        "seed": 1,
        "steps": 2,
        "rollouts": 64,
        "tokens": 16,
    }
    return Namespace(**wanted | changed)


def test_rewards_say_what_they_say():
    checks = rewarded_smollm2.TASKS
    assert checks["question"]("Is it so?")
    assert not checks["question"]("It is so.")
    assert checks["stop"]("It is so. \n")
    assert not checks["stop"]("It is. So")
    assert checks["rain"]("Rainy")
    assert not checks["rain"]("dry")
    assert checks["line"]("one\ntwo")
    assert not checks["line"]("one two")


def test_the_upper_third_alone_learns(tmp_path):
    loaded = tiny()
    before = {name: tensor.clone() for name, tensor in loaded.model.state_dict().items()}
    learned = rewarded_smollm2.freeze_below(loaded.model)
    upper = loaded.model.model.layers[2]
    assert learned == sum(p.numel() for p in upper.parameters())
    found = rewarded_smollm2.taught(loaded, given(), Cache(tmp_path / "run.json"))
    moved = {
        name.split(".")[2] for name, tensor in loaded.model.state_dict().items()
        if not torch.equal(tensor, before[name])
    }  # fmt: skip
    assert moved == {"2"}
    assert found["before"]["kl"] == pytest.approx(0, abs=1e-5)


@pytest.mark.slow
def test_what_is_rewarded_becomes_more_and_is_kept(tmp_path):
    cache = Cache(tmp_path / "run.json")
    found = rewarded_smollm2.taught(tiny(), given(steps=40), cache)
    assert found["after"]["reward"] >= found["before"]["reward"]
    again = rewarded_smollm2.taught(tiny(), given(steps=40), Cache(tmp_path / "run.json"))
    assert again["after"] == found["after"]


def test_a_certificate_says_how_many_heads_get_by():
    lines = [[0.05, 0.05, 0.08, 0.09], [0.5, 0.6, 0.7, 0.9]]
    table = replaced_heads._certificate_table({"needed": lines})
    columns = [list(column.cells) for column in table.columns]
    assert columns[1] == ["median", "90 %", "99 %", "worst"]
    assert columns[-1] == ["1 of 2"] * 4
    assert columns[3][3] == "49.5%"
