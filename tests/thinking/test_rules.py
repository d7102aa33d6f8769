"""Rules, and the memory that stores them as patterns of one energy."""

import random

import pytest
import torch

import isinglass as ig
from isinglass.errors import DomainError, ParameterError, ShapeError
from isinglass.testing import check_round_trip
from isinglass.thinking import Mind, Rule, RuleMemory, Vocabulary
from tests.seeds import seeded, shifted

WORDS = Vocabulary({"a": 2, "b": 2, "c": 2, "u": 1})


@pytest.mark.parametrize(
    "text",
    [
        "a(X,Z), b(Z,Y) -> c(X,Y)",
        "a(Z,X), b(Z,Y) -> c(X,Y)",
        "a(X,Y), b(X,Y) -> c(X,Y)",
        "a(Y,X) -> c(X,Y)",
        "a(X,Y), u(X) -> c(X,Y)",
        "a(X,Y), u(Y) -> u(X)",
        "u(X) -> u(X)",
    ],
)
def test_a_rule_reads_back_as_it_is_printed(text):
    rule = Rule.parse(text)
    assert Rule.parse(str(rule)) == rule
    relations, form = rule.codes(WORDS)[:3], rule.codes(WORDS)[3]
    assert Rule.decode(relations, form, WORDS) == rule


def test_names_of_variables_and_the_order_of_premises_do_not_matter():
    assert Rule.parse("b(Q,W), a(P,Q) -> c(P,W)") == Rule.compose("a", "b", "c")
    assert Rule.parse("a(X,Z), b(Z,Y) → c(X,Y)") == Rule.compose("a", "b", "c")
    assert Rule.parse("a(X,Z), b(Z,Y) -> c(Y,X)") != Rule.compose("a", "b", "c")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a(X,Y)", "Write it as"),
        ("-> c(X,Y)", "Write it as"),
        ("a(X,Y) -> b(X,Y), c(X,Y)", "Write it as"),
        ("a(X,Y) -> c(X,Z)", "variable of its own"),
        ("a(X,Y), b(Z,W) -> c(X,W)", "four variables"),
        ("u(X), u(Y) -> c(X,Y)", "share"),
        ("a(X,Y), b(Y,Z), c(Z,X) -> u(X)", "one or two premises"),
        ("a() -> c(X,Y)", "one or two variables|variable"),
    ],
)
def test_what_is_no_rule_is_named(text, said):
    with pytest.raises(ParameterError, match=said):
        Rule.parse(text)


def test_a_stored_rule_works_at_once_and_a_forgotten_one_no_more():
    memory = RuleMemory(WORDS)
    memory.store("a(X,Z), b(Z,Y) -> c(X,Y)")
    mind = Mind.from_tuples([("a", "1", "2"), ("b", "2", "3")], WORDS)
    support = memory.support(mind)
    assert (support < torch.inf).sum() == 1
    where = tuple((support < torch.inf).nonzero()[0].tolist())
    assert mind.proposition(0, where[3], *where[1:3]) == ("c", "1", "3")
    memory.forget(Rule.compose("a", "b", "c"))
    assert len(memory) == 0
    assert not (memory.support(mind) < torch.inf).any()
    with pytest.raises(ParameterError, match="not stored"):
        memory.forget(Rule.compose("a", "b", "c"))


def test_support_sums_over_bindings_and_rules():
    memory = RuleMemory(WORDS, doubt=0.0)
    memory.store("a(X,Z), b(Z,Y) -> c(X,Y)", 3.0)
    memory.store("a(X,Z), b(Z,Y) -> a(X,Y)", 1.0)
    facts = [("a", "1", "2"), ("b", "2", "3"), ("a", "1", "4"), ("b", "4", "3")]
    mind = Mind.from_tuples(facts, WORDS)
    support = memory.support(mind)[0, mind.number(0, "1"), mind.number(0, "3")]
    expected = -(2 * torch.tensor([1 / 4, 3 / 4], dtype=torch.float64)).log()
    assert torch.allclose(support[[0, 2]], expected, atol=1e-12)
    assert support[1] == torch.inf


def test_weights_are_shares_among_rules_of_the_same_premises():
    memory = RuleMemory(WORDS, doubt=0.5)
    memory.store(Rule.compose("a", "b", "c"), 3.0)
    alone = memory.log_weights().clone()
    more = ["a(X,Z), a(Z,Y) -> c(X,Y)", "b(Z,X), a(Z,Y) -> c(X,Y)", "a(X,Y) -> c(X,Y)"]
    memory.store(more, 1.0)
    weights = {str(s.rule): s.probability for s in memory.rules()}
    assert weights["a(X,Z), b(Z,Y) -> c(X,Y)"] == float(alone.exp()[0])  # no bit of it changed
    memory.store(Rule.compose("a", "b", "a"), 1.0)
    weights = {str(s.rule): s.probability for s in memory.rules()}
    assert weights["a(X,Z), b(Z,Y) -> c(X,Y)"] == pytest.approx(3 / 4.5, abs=1e-12)
    assert sum(s.count for s in memory.rules()) == 7


def test_the_energy_is_that_of_the_mixture_of_stored_patterns():
    memory = RuleMemory(WORDS, sharpness=2.0)
    memory.store(Rule.compose("a", "b", "c"), 3.0)
    memory.store("u(X), a(X,Y) -> c(X,Y)", 1.0)
    state = memory.state(memory.codes)
    overlap = 2.0 * state @ state.mT
    expected = -(overlap + memory.counts.log()).logsumexp(-1)
    assert torch.allclose(memory(state), expected, atol=1e-12)


def test_log_prob_of_premises_is_that_of_the_enumerated_mixture():
    memory = RuleMemory(Vocabulary(["a", "b"]), sharpness=1.5)
    memory.store(Rule.compose("a", "b", "a"), 2.0)
    memory.store(Rule.compose("b", "b", "b"), 1.0)
    total = memory.mixture().value()
    ends = [(r, form) for r in range(2) for form in range(2)]
    codes = memory.codes[:1].repeat(len(ends), 1)
    codes[:, 4] = torch.tensor([r for r, _ in ends])
    codes[:, 5] = torch.tensor([form for _, form in ends])
    expected = (-memory(memory.state(codes)) - total).logsumexp(0)
    found = memory.log_prob(["a(X,Z), b(Z,Y)"])
    assert found.item() == pytest.approx(expected.item(), abs=1e-12)


def test_one_of_a_thousand_rules_is_recalled_and_unknown_premises_are_told():
    rng = random.Random(shifted(0))
    names = [f"r{i}" for i in range(60)]
    pairs = rng.sample([(one, two) for one in names for two in names], 2000)
    memory = RuleMemory(Vocabulary(names))
    ends = [rng.choice(names) for _ in pairs[:1000]]
    memory.store(Rule.compose(*pair, end) for pair, end in zip(pairs, ends, strict=False))
    texts = [f"{one}(X,Z), {two}(Z,Y)" for one, two in pairs]
    chances = memory.conclude(texts[:1000])
    assert [names[i] for i in chances.argmax(-1).tolist()] == ends
    wrong = sum(a != b for a, b in zip(memory.sample(texts[:1000], seeded(1)), ends, strict=True))
    expected = (1 - chances.amax(-1)).sum().item()
    assert expected < 1
    assert wrong <= 8  # of a Poisson number below 1 more than that are rarer than 5 deviations
    scores = memory.log_prob(texts)
    assert scores[:1000].min() > scores[1000:].max()  # AUROC 1


def test_a_memory_is_saved_and_read_back(tmp_path):
    memory = RuleMemory(Vocabulary(["a", "b"], named=["Rome"], exclusive=[["a", "b"]]))
    memory.store(Rule.compose("a", "b", "a"), 2.5)
    check_round_trip(memory, memory.state(memory.codes))
    ig.save(memory, tmp_path / "rules.safetensors")
    again = ig.load(tmp_path / "rules.safetensors")
    assert isinstance(again, RuleMemory)
    assert again.rules() == memory.rules()
    assert again.vocabulary == memory.vocabulary


def test_bad_rules_premises_and_counts_are_named():
    memory = RuleMemory(WORDS)
    with pytest.raises(ParameterError, match="without rules"):
        memory.log_prob(["a(X,Y)"])
    with pytest.raises(DomainError, match="unknown relation"):
        memory.store("x(X,Y) -> c(X,Y)")
    with pytest.raises(ShapeError, match="takes 1"):
        memory.store("u(X,Y) -> c(X,Y)")
    for count in (0.0, -1.0, float("nan")):
        with pytest.raises(ParameterError, match="count"):
            memory.store("a(X,Y) -> c(X,Y)", count)
    memory.store("a(X,Y) -> c(X,Y)")
    with pytest.raises(ParameterError, match="premises"):
        memory.log_prob(["nothing"])
    with pytest.raises(ParameterError, match="X, Y, Z"):
        memory.log_prob(["a(P,Q)"])
    with pytest.raises(ParameterError, match="list"):
        memory.log_prob("a(X,Y)")
