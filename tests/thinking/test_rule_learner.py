"""Learning rules: planted ones are found, from answers, noisy answers and reward alone."""

import itertools
import random

import pytest
import torch

from isinglass.errors import DomainError, ParameterError, ShapeError
from isinglass.thinking import DerivationGraph, Mind, RuleLearner, Thinker, Vocabulary
from isinglass.thinking._twins import twins_of
from tests.seeds import seeded, shifted

# Going around a circle of seven: step i after step j is step i + j.
STEPS = [f"by {i}" for i in range(7)]
WORDS = Vocabulary(STEPS)


def questions(lengths, count, seed):
    rng = random.Random(shifted(seed))
    minds, answers = [], []
    for _ in range(count):
        steps = [rng.randrange(7) for _ in range(rng.choice(lengths))]
        minds.append([(STEPS[s], str(i), str(i + 1)) for i, s in enumerate(steps)])
        answers.append((STEPS[sum(steps) % 7], "0", str(len(steps))))
    return Mind.from_batches(minds, WORDS), answers


def replies(memory, mind, answers):
    return Thinker(memory).think(mind, [("?", *answer[1:]) for answer in answers])


@pytest.fixture(scope="module")
def trained():
    return questions([2, 3], 400, 0)


def test_rules_of_a_group_are_learned_and_carry_further(trained):
    memory = RuleLearner().fit(*trained)
    mind, answers = questions([6, 9], 40, 1)
    for reply, answer in zip(replies(memory, mind, answers), answers, strict=True):
        assert reply.sure
        assert reply.best == answer
    best = {}
    for stored in memory.rules():
        best.setdefault(tuple(atom[0] for atom in stored.rule.premises), stored.rule)
    assert len(best) == 49
    for (one, two), rule in best.items():
        assert STEPS.index(rule.conclusion[0]) == (STEPS.index(one) + STEPS.index(two)) % 7


def test_each_round_of_em_raises_the_likelihood(trained):
    """EM without a prior and without twins never lowers the likelihood of the answers."""
    found = []
    for rounds in (1, 2, 3, 5, 8):
        learner = RuleLearner(
            rounds=rounds, twins=0.0, prior=1e-12, least_count=1e-300, least_share=1e-300
        )
        memory = learner.fit(*trained)
        memory.doubt = 0.0
        mind, answers = trained
        graph = DerivationGraph.of(mind, memory.table())
        n = mind.entities
        codes = torch.tensor(
            [
                ((b * n + mind.number(b, a[1])) * n + mind.number(b, a[2])) * 7 + STEPS.index(a[0])
                for b, a in enumerate(answers)
            ]
        )
        value = graph.values(memory.log_weights(), 1.0)[graph.locate(codes)]
        found.append(float(value.sum()))
    assert all(later >= earlier - 1e-6 for earlier, later in itertools.pairwise(found))
    assert found[-1] > found[0]


def test_wrong_labels_are_outvoted(trained):
    mind, answers = trained
    rng = random.Random(shifted(5))
    noisy = [(rng.choice(STEPS), *a[1:]) if rng.random() < 0.05 else a for a in answers]
    memory = RuleLearner().fit(mind, noisy)
    test, right = questions([6, 9], 40, 2)
    found = replies(memory, test, right)
    assert [reply.best for reply in found] == right


def test_reward_alone_teaches_the_same_rules(trained):
    mind, answers = trained

    def reward(said):
        return [float(word == answer[0]) for word, answer in zip(said, answers, strict=True)]

    queries = [("?", *answer[1:]) for answer in answers]
    test, right = questions([6, 9], 40, 3)
    for seed in range(4):
        memory = RuleLearner().fit_from_reward(mind, queries, reward, generator=seeded(seed))
        assert [reply.best for reply in replies(memory, test, right)] == right


def test_reward_is_learned_from_beside_relations_of_one_entity():
    words = Vocabulary({"alone": 1, "a": 2, "b": 2})
    minds = Mind.from_batches([[("a", "1", "2"), ("a", "2", "3"), ("alone", "1")]] * 30, words)
    memory = RuleLearner().fit_from_reward(
        minds, [("?", "1", "3")] * 30, lambda said: [float(word == "b") for word in said]
    )
    assert str(memory.rules()[0].rule) == "a(X,Z), a(Z,Y) -> b(X,Y)"


def test_steps_of_clamped_minus_free_uses_keep_what_is_right(trained):
    memory = RuleLearner(contrast=10).fit(*trained)
    test, right = questions([6, 9], 40, 4)
    assert [reply.best for reply in replies(memory, test, right)] == right


def test_twins_are_found_and_what_is_seen_of_one_speaks_for_the_other():
    # r and R, s and S are twins: the second premise tells the case of the conclusion.
    words = Vocabulary(["r", "R", "s", "S"])
    counts = torch.zeros(4, 4, 4, dtype=torch.float64)
    for first in range(4):
        for second in range(4):
            kind = (first // 2 + second // 2) % 2
            counts[first, second, 2 * kind + second % 2] = 5.0
    assert twins_of(counts).tolist() == [1, 0, 3, 2]
    unseen = (0, 1)
    minds, answers = [], []
    for first in range(4):
        for second in range(4):
            if (first, second) != unseen:
                end = words.relations[int(counts[first, second].argmax())]
                minds.append(
                    [(words.relations[first], "1", "2"), (words.relations[second], "2", "3")]
                )
                answers.append((end, "1", "3"))
    mind = Mind.from_batches(minds * 3, words)
    asked = Mind.from_tuples([("r", "1", "2"), ("R", "2", "3")], words)
    without = RuleLearner(twins=0.0).fit(mind, answers * 3)
    assert Thinker(without).think(asked, ("?", "1", "3")).best is None
    assert Thinker(RuleLearner().fit(mind, answers * 3)).think(asked, ("?", "1", "3")).best == (
        "R", "1", "3",
    )  # fmt: skip


def test_names_that_no_answer_confirms_are_doubted():
    """From three facts alone, what stands between has any name that fits."""
    words = Vocabulary(["a", "b", "end"])
    facts = [("a", "1", "2"), ("a", "2", "3"), ("b", "3", "4")]
    two = [("a", "1", "2"), ("b", "2", "3")]
    mind = Mind.from_batches([facts] * 20 + [two] * 20, words)
    answers = [("end", "1", "4")] * 20 + [("b", "1", "3")] * 20
    memory = RuleLearner(twins=0.0).fit(mind, answers)
    odds = {str(stored.rule): stored.probability for stored in memory.rules()}
    assert odds["a(X,Z), b(Z,Y) -> b(X,Y)"] > 0.5  # an answer of its own
    hidden = [p for text, p in odds.items() if text.startswith("a(X,Z), a(Z,Y)")]
    assert all(p <= 0.5 for p in hidden)


def test_the_same_questions_give_the_same_rules_whatever_their_names(trained):
    mind, answers = trained
    renamed = Mind.from_batches(
        [[(f[0], f"x{f[1]}", f"x{f[2]}") for f in facts] for facts in mind.to_tuples()], WORDS
    )
    one = RuleLearner().fit(mind, answers)
    two = RuleLearner().fit(renamed, [(a[0], f"x{a[1]}", f"x{a[2]}") for a in answers])
    assert [s.rule for s in one.rules()] == [s.rule for s in two.rules()]


def test_bad_questions_are_named(trained):
    mind, answers = trained
    with pytest.raises(ShapeError, match="one for each"):
        RuleLearner().fit(mind, answers[:3])
    with pytest.raises(DomainError, match="unknown entity"):
        RuleLearner().fit(mind[0], [("by 1", "0", "99")])
    with pytest.raises(DomainError, match="unknown relation"):
        RuleLearner().fit(mind[0], [("by 9", "0", "1")])
    alone = Mind.from_tuples([("by 1", "0", "1"), ("by 1", "2", "3")], WORDS)
    with pytest.raises(DomainError, match="linked by facts"):
        RuleLearner().fit(alone, [("by 1", "0", "3")])
    with pytest.raises(ParameterError, match="Nothing composes"):
        RuleLearner().fit(Mind.from_tuples([("u", "1")]), [("u", "1")])
    for settings in ({"rounds": 0}, {"prior": 0.0}, {"twins": 2.0}, {"least_share": -1.0}):
        with pytest.raises(ParameterError):
            RuleLearner(**settings)
    for reward in (
        lambda said: [1.0],
        lambda said: [-1.0] * len(said),
        lambda said: [float("nan")] * len(said),
    ):
        with pytest.raises((ShapeError, DomainError)):
            RuleLearner().fit_from_reward(mind, [("?", *a[1:]) for a in answers], reward)
