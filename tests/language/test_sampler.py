"""Draws follow the model, whatever is kept while it draws."""

import pytest
import torch

from isinglass.language import LanguageQ
from tests.language.toys import END, Cached, Tiny, random_table, tiny_llama
from tests.seeds import seeded

DEVIATIONS = 5


def test_draws_follow_the_law_of_the_model():
    toy = random_table(words=3, length=3)
    judge = LanguageQ(toy, end=END)
    every = toy.sequences(END)
    expected = judge.log_prob(every).exp().detach()
    number = {tuple(row): n for n, row in enumerate(every.lists())}
    many = 4000
    drawn = judge.sample([[0]] * many, 3, seeded())
    counts = torch.zeros(len(every), dtype=torch.float64)
    for row in drawn.lists():
        counts[number[tuple(row)]] += 1
    deviation = (expected * (1 - expected) / many).sqrt()
    assert ((counts / many - expected).abs() < DEVIATIONS * deviation + 1 / many).all()


@pytest.mark.parametrize("make", [Tiny, Cached, tiny_llama])
def test_what_is_kept_changes_no_probability(make):
    """log π of the draws, summed up while drawing, is that of one pass over whole sequences."""
    torch.manual_seed(0)
    judge = LanguageQ(make().eval(), end=2)
    prompts = [[0], [0, 5, 6], [0, 7], [3, 4, 5, 6, 7]] * 8
    from isinglass.language.sampler import draw_sequences

    rows = judge.prompts(prompts, 6)
    found, log_p = draw_sequences(judge.model, rows, judge.end, 6, seeded(), judge.device)
    torch.testing.assert_close(log_p, judge.log_prob(found).detach(), rtol=0, atol=1e-4)
    for row, prompt in zip(found.lists(), prompts, strict=True):
        assert row[: len(prompt)] == prompt
        assert len(prompt) < len(row) <= len(prompt) + 6
        rest = row[len(prompt) :]
        assert 2 not in rest[:-1]
        assert rest[-1] == 2 or len(rest) == 6


def test_draws_repeat_with_their_generator():
    judge = LanguageQ(Tiny().eval(), end=2)
    first, second = (judge.sample([[0]] * 5, 6, seeded(1)).lists() for _ in range(2))
    assert first == second


def test_words_of_no_probability_are_never_drawn():
    toy = random_table(words=3, length=3)
    with torch.no_grad():
        toy.table[:, 1] = -torch.inf
    assert not (LanguageQ(toy).sample([[0]] * 200, 3, seeded()).tokens == 1).any()
