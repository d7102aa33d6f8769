"""Arguments of a wrong kind have named errors, and what would mislead is refused."""

import math
from xml.etree import ElementTree

import pytest
import torch

from isinglass.errors import DomainError, FileError, IsinglassError, ParameterError, ShapeError
from isinglass.thinking import (
    ConstraintNetwork,
    DerivationGraph,
    GuessOrder,
    Guide,
    LearnedOrder,
    LinkPredictor,
    Mind,
    Proof,
    PuzzleThinker,
    Rule,
    RuleLearner,
    RuleMemory,
    Thinker,
    TowardQuery,
    Vocabulary,
)
from isinglass.thinking.guides import BreadthFirst

pytestmark = pytest.mark.usefixtures("unannotated")

WORDS = Vocabulary(["mother", "grandmother"])
FACTS = [("mother", "Ann", "Bea"), ("mother", "Bea", "Cleo")]
RULE = "mother(X,Z), mother(Z,Y) -> grandmother(X,Y)"
ASKED = ("grandmother", "Ann", "?")
MIND, MEMORY = Mind.from_tuples(FACTS, WORDS), RuleMemory(WORDS, [RULE])
NETWORK, OPEN = ConstraintNetwork(4, groups=[[0, 1], [2, 3]]), torch.zeros(1, 4)
ANSWER = [("grandmother", "Ann", "Cleo")]


def rewarded(value):
    return lambda: RuleLearner().fit_from_reward(MIND, [("?", "Ann", "Cleo")], lambda said: value)


def ordered(choice):
    class Own(GuessOrder):
        def choose(self, board, columns):
            return choice(board, columns)

    return lambda: PuzzleThinker(NETWORK, Own()).think(OPEN)


def guided(priority):
    class Own(Guide):
        def priority(self, possible):
            return priority

    return lambda: Thinker(MEMORY, Own()).think(MIND, ASKED, budget=3)


CALLS = {
    "think, no mind": lambda: Thinker(MEMORY).think(None, ASKED),
    "think, no question": lambda: Thinker(MEMORY).think(MIND, None),
    "think, a word": lambda: Thinker(MEMORY).think(MIND, "mother"),
    "think, a number": lambda: Thinker(MEMORY).think(MIND, [5]),
    "think, a generator": lambda: Thinker(MEMORY).think(MIND, ASKED, budget=2, generator=1),
    "think, consuming": lambda: Thinker(MEMORY).think(MIND, ASKED, budget=2, consuming="x"),
    "think, a temperature": lambda: Thinker(MEMORY).think(MIND, ASKED, temperature="1"),
    "settle": lambda: Thinker(MEMORY).settle(None),
    "settle, depth": lambda: Thinker(MEMORY).settle(MIND, depth=1.5),
    "contradictions": lambda: Thinker(MEMORY).contradictions(5),
    "Thinker": lambda: Thinker(None),
    "Thinker, guide": lambda: Thinker(MEMORY, BreadthFirst),
    "TowardQuery": lambda: TowardQuery(subject="x"),
    "guide of nothing": guided(None),
    "guide of one number": guided(torch.ones(())),
    "Mind": lambda: Mind.from_tuples(None),
    "Mind, a number": lambda: Mind.from_tuples([5]),
    "Mind, words": lambda: Mind.from_tuples(["mother"], WORDS),
    "Mind, vocabulary": lambda: Mind.from_tuples(FACTS, ["mother"]),
    "Mind, batches": lambda: Mind.from_batches([None]),
    "Mind, batches of facts": lambda: Mind.from_batches(FACTS, WORDS),
    "Mind, dictionaries": lambda: Mind.from_dicts([FACTS[0]]),
    "Mind, a table": lambda: Mind.from_csv(None),
    "Mind, a path": lambda: Mind.from_csv("a\0b"),
    "Mind, into a table": lambda: MIND.to_csv(None),
    "Mind, mark": lambda: MIND.to_tuples("given"),
    "Mind, dtype": lambda: MIND.values("x"),
    "Mind, whole numbers": lambda: MIND.values(torch.int64),
    "Mind, rows": lambda: MIND.with_asserted(None),
    "Mind, unknown rows": lambda: MIND.with_asserted(torch.tensor([[[0, 0, 9]]])),
    "Mind, two rows": lambda: MIND.with_asserted(torch.zeros(2, 1, 3, dtype=torch.long)),
    "Mind, held": lambda: MIND.with_asserted(torch.zeros(1, 1, 3).long(), torch.ones(1, 1)),
    "Mind, device": lambda: MIND.to("nowhere"),
    "Mind, ?": lambda: Mind.from_tuples([("mother", "?", "Bea")]),
    "Vocabulary": lambda: Vocabulary(None),
    "Vocabulary, numbers": lambda: Vocabulary([1, 2]),
    "Vocabulary, lists": lambda: Vocabulary([["mother"]]),
    "Vocabulary, arity": lambda: Vocabulary({"mother": 2.0}),
    "Vocabulary, flag": lambda: Vocabulary({"mother": True}),
    "Vocabulary, ?": lambda: Vocabulary(["?"]),
    "Vocabulary, named": lambda: Vocabulary(["mother"], named=5),
    "Vocabulary, words for pairs": lambda: Vocabulary(["a", "b"], exclusive=["a", "b"]),
    "Vocabulary, one for a pair": lambda: Vocabulary(["a", "b"], exclusive=[["a", "a"]]),
    "Vocabulary, no groups": lambda: Vocabulary(["a", "b"], exclusive=None),
    "Vocabulary.of": lambda: Vocabulary.of(None),
    "Vocabulary.of, numbers": lambda: Vocabulary.of([(1, "a"), ("b", "a")]),
    "Vocabulary.check": lambda: WORDS.check(5),
    "store": lambda: MEMORY.store(None),
    "store, numbers": lambda: MEMORY.store([5]),
    "store, no number": lambda: MEMORY.store(RULE, count="inf"),
    "RuleMemory": lambda: RuleMemory(None),
    "forget": lambda: MEMORY.forget(None),
    "conclude": lambda: MEMORY.conclude(None),
    "log_prob": lambda: MEMORY.log_prob([[None]]),
    "sample": lambda: MEMORY.sample([RULE.partition(" ->")[0]], 1),
    "support": lambda: MEMORY.support(None),
    "rule": lambda: MEMORY.rule(1),
    "put": lambda: MEMORY.put(torch.zeros(2, 6), torch.zeros(3)),
    "Rule": lambda: Rule(None, None),
    "Rule, numbers": lambda: Rule([(1, 2, 3)], ("a", "X", "Y")),
    "Rule.parse": lambda: Rule.parse(None),
    "Rule.compose": lambda: Rule.compose("a", 1, "b"),
    "DerivationGraph": lambda: DerivationGraph.of(None, MEMORY.table()),
    "DerivationGraph, table": lambda: DerivationGraph.of(MIND, MEMORY),
    "values": lambda: DerivationGraph.of(MIND, MEMORY.table()).values(torch.zeros(0)),
    "fit": lambda: RuleLearner().fit(None, ANSWER),
    "fit, answers": lambda: RuleLearner().fit(MIND, None),
    "fit, no minds": lambda: RuleLearner().fit(Mind.from_batches([], WORDS), []),
    "fit, generator": lambda: RuleLearner().fit(MIND, ANSWER, generator=0),
    "RuleLearner": lambda: RuleLearner(twins="x"),
    "RuleLearner, least": lambda: RuleLearner(least_count=math.nan),
    "fit_from_reward, queries": lambda: RuleLearner().fit_from_reward(MIND, [None], len),
    "reward of nothing": rewarded(None),
    "reward of no number": rewarded([None]),
    "reward of text": rewarded("1"),
    "LinkPredictor": lambda: LinkPredictor(deviations=None),
    "LinkPredictor.fit": lambda: LinkPredictor().fit(None),
    "LinkPredictor.fit, numbers": lambda: LinkPredictor().fit([5]),
    "LinkPredictor.fit, generator": lambda: LinkPredictor().fit(FACTS, generator=0),
    "ConstraintNetwork, groups": lambda: ConstraintNetwork(6, groups="x"),
    "ConstraintNetwork, a number": lambda: ConstraintNetwork(6, groups=5),
    "ConstraintNetwork, fractions": lambda: ConstraintNetwork(6, groups=[[0.5, 1]]),
    "ConstraintNetwork, exclusions": lambda: ConstraintNetwork(6, "x"),
    "ConstraintNetwork, halves": lambda: ConstraintNetwork(6, [[0.5, 1]]),
    "PuzzleThinker": lambda: PuzzleThinker(None),
    "PuzzleThinker, order": lambda: PuzzleThinker(NETWORK, "smallest"),
    "think, exclusions": lambda: PuzzleThinker(NETWORK).think(OPEN, exclusions="x"),
    "think, one exclusion": lambda: PuzzleThinker(NETWORK).think(OPEN, exclusions=[5]),
    "think, meta": lambda: PuzzleThinker(NETWORK).think(OPEN.to("meta")),
    "trace": lambda: PuzzleThinker(NETWORK).think(OPEN)[0].trace(None),
    "order of nothing": ordered(lambda board, columns: None),
    "order of another shape": ordered(lambda board, columns: columns[:0]),
    "order of none": ordered(lambda board, columns: columns + 99),
    "LearnedOrder": lambda: LearnedOrder(weights="x"),
    "LearnedOrder.fit": lambda: LearnedOrder().fit(None, OPEN),
    "draw": lambda: Proof(FACTS[0], 0.0).draw(None),
    "draw, another kind": lambda: Proof(FACTS[0], 0.0).draw("why.png"),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_wrong_kinds_are_named(name):
    with pytest.raises(IsinglassError):
        CALLS[name]()


def test_an_order_that_chooses_what_is_decided_is_named():
    network = ConstraintNetwork(5, groups=[[0, 1], [2, 3, 4]])

    class First(GuessOrder):
        def choose(self, board, columns):
            return torch.zeros_like(columns)

    with pytest.raises(ParameterError, match=r"First.choose: a proposition that is decided"):
        PuzzleThinker(network, First()).think(torch.tensor([[1, 0, 0, 0, 0]]))


def test_a_rule_about_somebody_is_refused_where_it_would_stand_for_anyone():
    text = "mother(Ann,Y) -> grandmother(Ann,Y)"
    named = RuleMemory(Vocabulary(["mother", "grandmother"], named=["Ann"]))
    for rule in (text, Rule.parse(text)):
        with pytest.raises(
            ParameterError, match=r"Ann as a variable.*write X, Y, Z, and =Ann\(X\)"
        ):
            named.store(rule)
        memory = RuleMemory(WORDS, [rule])
        with pytest.raises(ParameterError, match="Ann in a rule, and among the facts"):
            Thinker(memory).think(MIND, ASKED)
        others = Mind.from_tuples([("mother", "Dora", "Eva")], WORDS)
        assert Thinker(memory).think(others, ("grandmother", "Dora", "?")).sure
    letters = Mind.from_tuples([("mother", "X", "Y"), ("mother", "Y", "Z")], WORDS)
    assert Thinker(MEMORY).think(letters, ("grandmother", "X", "?")).best == (
        "grandmother",
        "X",
        "Z",
    )


def test_arities_of_mind_and_rules_are_compared():
    mind = Mind.from_tuples([("a", "1")], Vocabulary({"a": 1, "b": 2}))
    with pytest.raises(ParameterError, match="vocabulary of the rules"):
        Thinker(RuleMemory(Vocabulary(["a", "b"]))).think(mind, ("b", "?", "?"))


def test_counts_say_that_infinity_is_certain():
    with pytest.raises(ParameterError, match=r"math\.inf for certain"):
        MEMORY.store(RULE, count=-math.inf)
    with pytest.raises(ParameterError, match=r"math\.inf for certain"):
        MEMORY.store(RULE, count=0)


def test_pictures_hold_names_of_any_characters(tmp_path):
    name = 'a\0\x1b"\\\n\ud800<&>\uffff'
    proof = Proof(("mother", name, "Bea"), 0.0)
    proof.draw(tmp_path / "why.SVG")
    (text,) = [e.text for e in ElementTree.parse(tmp_path / "why.SVG").iter() if "text" in e.tag]  # noqa: S314
    assert text == 'mother(a\ufffd\ufffd"\\\n\ufffd<&>\ufffd,Bea)'
    assert 'label="mother(a' in proof.to_dot()
    assert r"\"\\\n" in proof.to_dot()


def test_paths_of_a_wrong_kind_are_files_that_cannot_be(tmp_path):
    with pytest.raises(FileError):
        Mind.from_csv(5)
    with pytest.raises(FileError):
        MIND.to_csv("a\0b")


def test_questions_and_answers_of_several_minds_are_counted():
    minds = Mind.from_batches([FACTS, FACTS], WORDS)
    with pytest.raises(ShapeError, match="1 questions for 2 minds"):
        Thinker(MEMORY).think(minds, [ASKED])
    assert [reply.sure for reply in Thinker(MEMORY).think(minds, ASKED)] == [True, True]
    with pytest.raises(DomainError, match="stands for what is asked"):
        Mind.from_batches([FACTS, [("mother", "Ann", "?")]], WORDS)
