"""An autoregressive model and an energy of whole sequences are the same, by enumeration."""

import copy

import pytest
import torch

from isinglass.language import LanguageQ, TabularLanguage, as_language_model
from isinglass.language.residuals import score
from tests.language.toys import (
    END,
    LENGTH,
    WORDS,
    Tiny,
    all_sequences,
    plain_log_prob,
    random_table,
    tiny_llama,
    whole,
)
from tests.seeds import seeded

T, EXACT = 0.7, 1e-9


def test_every_sequence_is_listed_once():
    listed = random_table().sequences(END)
    assert sorted(listed.lists()) == sorted(all_sequences(WORDS, LENGTH, END))
    assert len(random_table().sequences()) == WORDS**LENGTH  # 625


def test_log_prob_is_the_sum_over_tokens_each_by_itself():
    toy = random_table()
    rows = list(all_sequences(WORDS, LENGTH, END))[::7]
    found = LanguageQ(toy, end=END).log_prob(rows)
    plain = torch.tensor([plain_log_prob(toy, row) for row in rows], dtype=torch.float64)
    torch.testing.assert_close(found, plain, rtol=0, atol=EXACT)


@pytest.mark.parametrize("with_reference", [False, True])
@pytest.mark.parametrize("end", [END, None])
def test_a_model_is_the_boltzmann_law_of_its_energy(with_reference, end):
    reference = random_table(1) if with_reference else None
    judge = LanguageQ(random_table(), reference, T, end=end)
    every = random_table().sequences(end)
    prior = 0.0 if reference is None else LanguageQ(reference, end=end).log_prob(every)
    weights = prior - judge.energy(every) / T
    log_z = weights.logsumexp(0)
    torch.testing.assert_close(weights - log_z, judge.log_prob(every), rtol=0, atol=EXACT)
    first = judge.value(torch.tensor([[0]]))[0, 0]
    torch.testing.assert_close(T * log_z, first, rtol=0, atol=EXACT)


@pytest.mark.parametrize("with_reference", [False, True])
@pytest.mark.parametrize("end", [END, None])
def test_an_energy_is_the_model_of_its_boltzmann_law(with_reference, end):
    reference = random_table(1) if with_reference else None
    every = random_table().sequences(end)
    energies = torch.randn(len(every), generator=seeded(3), dtype=torch.float64)
    model = TabularLanguage.from_energy(
        lambda found: energies, WORDS, LENGTH, temperature=T, end=end, reference=reference
    )
    prior = 0.0 if reference is None else LanguageQ(reference, end=end).log_prob(every)
    expected = (prior - energies / T).log_softmax(0)
    found = LanguageQ(model, reference, T, end=end)
    torch.testing.assert_close(found.log_prob(every), expected, rtol=0, atol=EXACT)
    torch.testing.assert_close(found.energy(every), energies, rtol=0, atol=EXACT)  # and back


@pytest.mark.parametrize("with_reference", [False, True])
def test_the_energy_is_minus_the_sum_of_rewards_of_soft_bellman(with_reference):
    """r(s, a) = q(s, a) − T log π_ref(a|s) − V(s a), token by token, V = 0 at the end."""
    reference = random_table(1) if with_reference else None
    judge = LanguageQ(random_table(), reference, T, end=END)
    for row in list(all_sequences(WORDS, LENGTH, END))[::11]:
        tokens = torch.tensor([row[:-1]])
        q, values = judge.q(tokens)[0], judge.value(tokens)[0]
        following = [*values[1:].tolist(), 0.0]
        total = 0.0
        for place, after in enumerate(following):
            total += float(q[place, row[place + 1]].detach()) - after
            if reference is not None:
                prior = reference(tokens)[0, place].log_softmax(0)
                total -= T * float(prior[row[place + 1]].detach())
        assert abs(float(judge.energy([row]).detach()) + total) < EXACT


def test_the_value_is_zero_from_the_end_on_but_not_in_the_prompt():
    judge = LanguageQ(random_table(), temperature=T, end=END)
    tokens = torch.tensor([[0, 1, END, 3]])
    values = judge.value(tokens)[0]
    assert (values[2:] == 0).all()
    assert (values[:2] != 0).all()
    assert (judge.value(tokens, start=3)[0] != 0).all()


def test_the_same_model_as_reference_has_no_energy():
    judge = LanguageQ(random_table(), random_table(), T, end=END)
    every = random_table().sequences(END)
    torch.testing.assert_close(judge.energy(every), torch.zeros(len(every)).double())
    tokens = torch.tensor([[0, 1, 3]])
    expected = T * random_table()(tokens).log_softmax(-1)
    torch.testing.assert_close(judge.q(tokens), expected, rtol=0, atol=EXACT)


def test_what_follows_the_end_token_does_not_count():
    judge = LanguageQ(random_table(), end=END)
    short, long = judge.log_prob([[0, 1, END]]), judge.log_prob([[0, 1, END, 4, 4]])
    torch.testing.assert_close(short, long)


@pytest.mark.parametrize("make", [Tiny, tiny_llama])
def test_rows_of_different_lengths_are_scored_as_each_by_itself(make):
    model = make().double()
    judge = LanguageQ(model.eval(), end=None)
    rows = [[0, 5, 6, 7, 8], [1, 3], [3, 4, 4, 9]]
    together = judge.log_prob(rows)
    alone = torch.stack([judge.log_prob([row])[0] for row in rows])
    torch.testing.assert_close(together, alone, rtol=0, atol=EXACT)


def test_scores_of_half_precision_are_summed_in_float32():
    judge = LanguageQ(tiny_llama().bfloat16())
    assert judge.log_prob([[0, 3, 4]]).dtype == torch.float32
    assert judge.sample([[0, 3]], 4, seeded()).tokens.shape[0] == 1


def test_a_tokenizer_turns_texts_to_tokens_and_back():
    class Letters:
        eos_token_id = 2

        def encode(self, text):
            return [0, *(ord(letter) - 97 + 3 for letter in text)]

        def decode(self, row):
            return "".join(chr(token + 94) for token in row if token > 2)

    judge = LanguageQ(Tiny().eval(), tokenizer=Letters())
    assert judge.end == 2
    torch.testing.assert_close(judge.log_prob(["abc"]), judge.log_prob([[0, 3, 4, 5]]))
    found = judge.sample(["ab", "c"], 4, seeded())
    texts = judge.texts(found)
    assert texts[0].startswith("ab")
    assert texts[1].startswith("c")


def test_a_copy_is_independent():
    judge = LanguageQ(random_table())
    assert copy.deepcopy(judge).log_prob([[0, 1, 1, 1, 1]]) == judge.log_prob([[0, 1, 1, 1, 1]])
    assert as_language_model(judge.model) is judge.model


def test_scores_are_zero_where_nothing_was_chosen():
    found = whole([[0, 1, 3], [0, 4]])
    assert score(random_table(), found).log_p[1, 1] == 0
