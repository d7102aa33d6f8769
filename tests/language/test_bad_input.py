"""What is wrong is refused by name, with the remedy."""

import math

import pytest
import torch

from isinglass.errors import DivergenceError, DomainError, ParameterError, ShapeError
from isinglass.language import LanguageQ, LearningOptions, TabularLanguage, optimum
from tests.language.toys import Tiny, tiny_llama
from tests.seeds import seeded


def good(rows):
    return [float(3 in row) for row in rows]


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        ({"prompts": []}, ShapeError, "0 rows"),
        ({"prompts": [[]]}, ShapeError, "row 0 of prompts is empty"),
        ({"prompts": [[0], [1, 99]]}, DomainError, "token 99 in row 1"),
        ({"prompts": [[-1]]}, DomainError, "token -1"),
        ({"prompts": [[0.5]]}, DomainError, "dtype"),
        ({"prompts": None}, DomainError, "NoneType"),
        ({"prompts": ["once"]}, ParameterError, "no tokenizer"),
        ({"prompts": [[0] * 30], "max_tokens": 20}, ParameterError, "the model reads 40"),
        ({"reward": lambda rows: [1.0] * len(rows)}, DomainError, "a reward of 1 for each"),
        ({"reward": lambda rows: [math.nan] * len(rows)}, DomainError, "a reward of nan"),
        ({"reward": lambda rows: 1.0}, ShapeError, "rewards of shape ()"),
        ({"reward": lambda rows: ["much"] * len(rows)}, DomainError, "no numbers"),
        ({"reward": 3}, ParameterError, "reward"),
        ({"steps": 0}, ParameterError, "steps"),
        ({"base_rate": 2.0}, ParameterError, "base_rate"),
        ({"residual": "td"}, ParameterError, "residual"),
        ({"colour": 1}, ParameterError, "no setting 'colour'"),
        ({"options": 3}, ParameterError, "options"),
        ({"generator": 0}, ParameterError, "generator"),
    ],
)
def test_fit_refuses(arguments, kind, words):
    judge = LanguageQ(tiny_llama())
    given = {"prompts": [[0]], "reward": good, "steps": 1, "max_tokens": 4, "progress": False}
    given |= arguments
    with pytest.raises(kind) as caught:
        judge.fit(given.pop("prompts"), given.pop("reward"), given.pop("options", None), **given)
    assert words in str(caught.value)
    assert caught.value.remedy


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: LanguageQ(3), ParameterError, "model of type int"),
        (
            lambda: LanguageQ(torch.nn.Embedding(5, 5), temperature=0.0),
            ParameterError,
            "temperature",
        ),
        (lambda: LanguageQ(lambda tokens: tokens), ShapeError, "the model gives"),
        (lambda: LanguageQ(tiny_llama().model), ShapeError, "AutoModelForCausalLM"),
        (lambda: LanguageQ(Tiny(12), Tiny(13)), ShapeError, "12 words, a reference of 13"),
        (lambda: LanguageQ(Tiny(), end=12), ParameterError, "end = 12"),
        (lambda: LanguageQ(Tiny(), tokenizer=3), ParameterError, "tokenizer"),
        (lambda: TabularLanguage(1000, 10), Exception, "prefixes"),
        (lambda: LearningOptions(batch=1), ParameterError, "batch"),
        (lambda: LearningOptions(average=1.0), ParameterError, "average"),
        (lambda: optimum(0.1, 0.0), ParameterError, "temperature"),
        (lambda: LanguageQ(Tiny()).log_prob([[0]]), ShapeError, "prompt of 1"),
        (lambda: LanguageQ(Tiny()).texts(None), ParameterError, "no tokenizer"),
        (lambda: LanguageQ(Tiny()).evaluate([[0]], good), ParameterError, "no reference"),
    ],
)
def test_others_refuse(make, kind, words):
    with pytest.raises(kind) as caught:
        make()
    assert words in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_learns_nothing(dtype):
    with pytest.raises(ParameterError, match=r"model\.float"):
        LanguageQ(Tiny().to(dtype)).fit([[0]], good, steps=1, max_tokens=4, progress=False)


def test_logits_that_are_no_numbers():
    model = Tiny()
    torch.nn.init.constant_(model.head.bias, torch.nan)
    with pytest.raises(DivergenceError, match="logits that are no numbers"):
        LanguageQ(model.eval()).sample([[0]], 4, seeded())


def test_a_frozen_model_has_nothing_to_learn():
    with pytest.raises(ParameterError, match="parameters that learn"):
        LanguageQ(Tiny().requires_grad_(False)).fit([[0]], good, steps=1, progress=False)


def test_a_model_that_sees_what_follows_is_refused():
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    config = transformers.BertConfig(
        vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    with pytest.raises(ParameterError, match="sees the words that follow"):
        LanguageQ(transformers.BertForMaskedLM(config).eval())
