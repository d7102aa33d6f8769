"""The trained models behind the figures about heads are what they are said to be."""

import os
from pathlib import Path

import pytest
import torch

pytest.importorskip("transformers", reason="needs transformers")

from benchmarks.evidence import models


def stories() -> models.Loaded:
    try:
        return models.stories260k()
    except models.MissingModel as missing:
        pytest.skip(str(missing))


@torch.no_grad()
def test_stories_are_told():
    loaded = stories()
    told = loaded.model.generate(torch.tensor([[1]]), max_new_tokens=40, do_sample=False)
    text = loaded.tokenizer.decode(told[0], skip_special_tokens=True)
    assert text.startswith("Once upon a time, there was a little girl named Lily.")


def test_the_tokenizer_gives_every_text_back():
    tokenizer = stories().tokenizer
    text = "Once upon a time, né ✓.\nYes"
    tokens = tokenizer(text)["input_ids"]
    assert tokens[:5] == [1, 403, 407, 261, 378]  # as llama2.c encodes it
    assert tokenizer.decode(tokens, skip_special_tokens=True) == text


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("name", ["SmolLM2-135M", "all-MiniLM-L6-v2"])
def test_packaged_models_know_what_they_learned(name):
    try:
        loaded = models.LOADERS[name]()
    except models.MissingModel as missing:
        pytest.skip(str(missing))
    if name == "SmolLM2-135M":
        asked = loaded.tokenizer("The capital of France is", return_tensors="pt")
        told = loaded.model.generate(**asked, max_new_tokens=2, do_sample=False)
        assert "Paris" in loaded.tokenizer.decode(told[0])
        return
    sentences = ["A cat sleeps.", "A kitten naps.", "Stocks fell sharply today."]
    asked = loaded.tokenizer(sentences, padding=True, return_tensors="pt")
    vectors = loaded.model(**asked).last_hidden_state
    kept = asked["attention_mask"][..., None]
    means = torch.nn.functional.normalize((vectors * kept).sum(1) / kept.sum(1), dim=-1)
    alike = means @ means.mT
    assert alike[0, 1] > alike[0, 2] + 0.3


def test_what_is_missing_is_said(tmp_path):
    with pytest.raises(models.MissingModel, match="ISINGLASS_DATA"):
        models.stories260k(tmp_path)
    for load in (models.minilm, models.smollm2):
        with pytest.raises(models.MissingModel):
            load(Path(os.devnull))
