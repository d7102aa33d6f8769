"""Malformed calls of ``thinking`` and of its environments: a named error, or a right answer.

Beside what any argument may be replaced by, words in propositions and rules are: by other words,
by none, by what is no word. What is answered all the same is held to what makes it right: an answer
rests on what was given, a solution has energy 0, what is observed lies in its space. A share runs
each time, more with the slow tests. A case that fails is made again by its seed and its number.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.error import Error as GymError

from isinglass import thinking
from isinglass.cli.app import run
from isinglass.envs import FactChains, Thoughts
from isinglass.errors import DomainError, IsinglassError
from isinglass.thinking import (
    ConstraintNetwork,
    DerivationGraph,
    LearnedOrder,
    LinkPredictor,
    Mind,
    PuzzleThinker,
    Rule,
    RuleLearner,
    RuleMemory,
    Thinker,
    Vocabulary,
)
from tests.fuzz.harness import NOTHING, Call, fault, spoiled

FEW, MANY = 600, 6000

pytestmark = [
    pytest.mark.usefixtures("unannotated"),
    pytest.mark.filterwarnings("ignore"),  # odd numbers are warned of
]

NAMES = ["mother", "father", "grandmother", "female"]
ARITIES = {"mother": 2, "father": 2, "grandmother": 2, "female": 1}
WORDS = Vocabulary(ARITIES, named=["Rome"], exclusive=[["mother", "father"]])
FACTS = [("mother", "Ann", "Bea"), ("mother", "Bea", "Cleo"), ("father", "Dan", "Bea")]
RULES = ["mother(X,Z), mother(Z,Y) -> grandmother(X,Y)", "mother(X,Y) -> female(X)"]
QUERY = ("grandmother", "Ann", "?")
ANSWERS = [("grandmother", "Ann", "Cleo")]
GENERATOR = torch.Generator().manual_seed(0)
#: What may stand in the place of a word, or of several.
ODD = (
    "", " ", "?", "=Rome", "=", "Ann", "mother", "X", "a(b)", "a,b", "\0", "\ud800", "é", "->",
    "x" * 99, *NOTHING, -1, 0.5, math.nan, ("mother",), ("mother", "Ann"),
    ("mother", "Ann", "Bea", "Cleo"),
    ["mother", "Ann", "Bea"], {"mother": 2}, {"relation": "mother", "subject": "Ann"},
    torch.tensor([1, 2]), np.array(["mother", "Ann", "Bea"]), iter(FACTS),
    "mother(X,Y) -> female(Y)",
)  # fmt: skip


def _odd(whole: Any, rng: np.random.Generator) -> Any:
    """Returns a list or a text with something wrong inside; anything else as all others are."""
    if isinstance(whole, str) and "(" in whole:
        at = int(rng.integers(len(whole)))
        put = ("", "(", ")", ",", "->", "Ann", "\0", " ", "X")[rng.integers(9)]
        return whole[:at] + put + whole[at + int(rng.integers(3)) :]
    if isinstance(whole, str):
        return ODD[rng.integers(len(ODD))]
    if isinstance(whole, dict) and whole and rng.random() < 0.7:
        key = list(whole)[rng.integers(len(whole))]
        kept = dict(whole)
        value = kept.pop(key)
        return kept if rng.random() < 0.3 else kept | {key: _odd(value, rng)}
    if isinstance(whole, list | tuple) and whole and rng.random() < 0.8:
        at, members = int(rng.integers(len(whole))), list(whole)
        kind = rng.integers(5)
        members[at : at + 1] = [
            [_odd(whole[at], rng)], [_odd(whole[at], rng)], [ODD[rng.integers(len(ODD))]], [],
            [whole[at], whole[at]],
        ][kind]  # fmt: skip
        return type(whole)(members)
    return spoiled(whole, rng)


def malformed(calls: list[Call], seed: int, count: int) -> Iterator[tuple[Call, dict[str, Any]]]:
    """Yields calls in turn, each with one argument of its own made odd, or two of them."""
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        call = calls[number % len(calls)]
        chosen = rng.permutation(list(call.arguments))[: 1 + (rng.random() < 0.2)]
        changed = {str(name): _odd(call.arguments[name], rng) for name in chosen}
        yield call, {**call.arguments, **changed}


def _memory() -> RuleMemory:
    return RuleMemory(WORDS, RULES)


MIND = Mind.from_tuples(FACTS, WORDS)


def _held(reply: Any) -> Any:
    """Holds answers to what was given, and to their question."""
    for one in reply if isinstance(reply, list) else [reply]:
        for answer in one.answers:
            assert answer.sure <= (answer.energy < math.inf)
            assert all(
                asked in ("?", said)
                for asked, said in zip(one.query, answer.proposition, strict=False)
            )
            given = answer.proof.given()
            assert all(fact in FACTS or fact[0].startswith("=") for fact in given)
        str(one)
    return reply


def _think(**settings: Any) -> Any:
    mind, query = settings.pop("mind"), settings.pop("query")
    thinker = Thinker(_memory(), confidence=settings.pop("confidence"))
    return _held(thinker.think(mind, query, **settings))


def _asked(facts: Any, rules: Any, query: Any) -> Any:
    mind = Mind.from_tuples(facts, WORDS)
    reply = Thinker(RuleMemory(WORDS, rules)).think(mind, query)
    (given,) = mind.to_tuples()
    replies = reply if isinstance(reply, list) else [reply]
    answers = [answer for one in replies for answer in one.answers]
    for answer in answers:
        assert {fact for fact in answer.proof.given() if fact[0][0] != "="} <= set(given)
        answer.proof.to_svg().encode()
        answer.proof.to_dot()
    return [answer.energy for answer in answers]


def _stored(rules: Any, count: Any) -> Any:
    memory = RuleMemory(WORDS)
    memory.store(rules, count)
    assert all(0 < stored.probability <= 1 for stored in memory.rules())
    return [stored.probability for stored in memory.rules()]


def _rewarded(returned: Any) -> Any:
    minds, asked = Mind.from_batches([FACTS] * 2, WORDS), [("?", "Ann", "Cleo")] * 2
    memory = RuleLearner(rounds=2).fit_from_reward(minds, asked, lambda said: returned)
    return memory.counts


def _predicted(facts: Any, relation: Any, subject: Any, least: Any, **settings: Any) -> Any:
    predictor = LinkPredictor(steps=2, **settings).fit(facts)
    ranked = predictor.rank(relation, subject)
    assert sum(value for _, value in ranked) < 1 + 1e-5
    predictor.predict(relation, subject, least=least)
    return [value for _, value in ranked]


NETWORK = ConstraintNetwork(4, groups=[[0, 1], [2, 3]])


def _solved(network: Any, givens: Any, **settings: Any) -> Any:
    answers = PuzzleThinker(network).think(givens, **settings)
    sure = answers.solutions[answers.sure]
    assert bool((network.energy(sure) == 0).all())
    assert not bool((sure[:, : givens.shape[1]] < (givens > 0)[answers.sure]).any())
    str(answers)
    return answers.found


def _played(env: Any, actions: Any, **reset: Any) -> Any:
    seen, _ = env.reset(**reset)
    assert env.observation_space.contains(seen)
    for action in actions:
        seen, reward, over, cut, _ = env.step(action)
        assert env.observation_space.contains(seen)
        assert math.isfinite(reward)
        if over or cut:
            break
    return seen["propositions"]


def calls() -> list[Call]:
    """Returns calls of everything public in thinking, and of the environments of propositions."""
    mothers = [("mother", f"m{i}", f"c{i}") for i in range(6)]
    graph = mothers + [("child", f"c{i}", f"m{i}") for i in range(5)]
    settings = {
        "mind": MIND, "query": QUERY, "budget": 3, "temperature": 0.5, "chains": 2,
        "consuming": False, "generator": GENERATOR, "confidence": 0.95,
    }  # fmt: skip
    learner = {"rounds": 2, "prior": 1e-3, "twins": 0.3, "contrast": 1, "least_share": 0.1,
               "least_count": 0.25, "shown": False}  # fmt: skip
    gym = (IsinglassError, GymError)
    return [
        Call("Vocabulary", Vocabulary,
             {"relations": NAMES, "named": ["Rome"], "exclusive": [["mother", "father"]]}),
        Call("Vocabulary", Vocabulary, {"relations": ARITIES}),
        Call("Vocabulary.of", Vocabulary.of, {"propositions": FACTS}),
        Call("Vocabulary.check", WORDS.check, {"proposition": FACTS[0]}),
        Call("Mind.from_tuples", Mind.from_tuples,
             {"facts": FACTS, "vocabulary": WORDS, "asked": [("mother", "Cleo", "Eve")]}),
        Call("Mind.from_batches", Mind.from_batches, {"facts": [FACTS, FACTS[:1]]}),
        Call("Mind.from_dicts", Mind.from_dicts, {"facts": MIND.to_dicts()[0]}),
        Call("Mind.from_csv", Mind.from_csv, {"path": "absent.csv"}),
        Call("Mind.to_tuples", MIND.to_tuples, {"mark": thinking.Mark.GIVEN}),
        Call("Mind.number", lambda entity: MIND.number(0, entity), {"entity": "Ann"}),
        Call("Mind.to", MIND.to, {"device": "cpu"}),
        Call("Rule", Rule, {"premises": [("a", "X", "Z"), ("b", "Z", "Y")],
                            "conclusion": ("c", "X", "Y")}),
        Call("Rule.parse", Rule.parse, {"text": RULES[0]}),
        Call("Rule.compose", Rule.compose, {"first": "a", "second": "b", "conclusion": "c"}),
        Call("RuleMemory", RuleMemory,
             {"vocabulary": WORDS, "rules": RULES, "sharpness": 12.0, "doubt": 0.5}),
        *[Call("RuleMemory.store", _stored, {"rules": RULES, "count": 2.0})] * 2,
        Call("RuleMemory.forget", lambda rules: _memory().forget(rules), {"rules": RULES}),
        Call("RuleMemory.conclude", _memory().conclude, {"premises": [RULES[0][:24]]}),
        Call("RuleMemory.log_prob", _memory().log_prob,
             {"premises": [[("mother", "X", "Z"), ("mother", "Z", "Y")]]}),
        Call("RuleMemory.sample", _memory().sample,
             {"premises": [RULES[0][:24]], "generator": GENERATOR}),
        Call("RuleMemory.rule", _memory().rule, {"row": 0}),
        Call("RuleMemory.support", _memory().support, {"mind": MIND}),
        Call("Thinker", Thinker,
             {"rules": _memory(), "guide": thinking.BestFirst(), "confidence": 0.9}),
        *[Call("Thinker.think", _think, settings)] * 4,
        Call("Thinker.think", _think,
             {"mind": MIND, "query": QUERY, "temperature": 0.0, "confidence": 1.0}),
        *[Call("Thinker.think", _asked, {"facts": FACTS, "rules": RULES, "query": QUERY})] * 6,
        Call("Thinker.settle", Thinker(_memory()).settle, {"mind": MIND, "depth": 2}),
        Call("Thinker.contradictions", Thinker(_memory()).contradictions, {"mind": MIND}),
        Call("TowardQuery", thinking.TowardQuery, {"subject": 0.6, "energy": 390.0}),
        Call("DerivationGraph.of", DerivationGraph.of,
             {"mind": MIND, "table": _memory().table(), "depth": 2}),
        Call("RuleLearner", RuleLearner, learner),
        Call("RuleLearner.fit",
             lambda mind, answers, generator, **settings: RuleLearner(**settings).fit(
                 mind, answers, generator=generator).counts,
             {"mind": MIND, "answers": ANSWERS, "generator": GENERATOR, **learner}),
        *[Call("RuleLearner.fit_from_reward", _rewarded, {"returned": [1.0, 1.0]})] * 2,
        *[Call("LinkPredictor", _predicted,
               {"facts": graph, "relation": "child",
 "subject": "c5", "least": 0.5,
                "deviations": [0.1, 0.4], "least_support": 2, "held_out": 0.1})] * 3,
        *[Call("ConstraintNetwork",
               lambda **given: ConstraintNetwork(**given)(torch.zeros(given["size"])),
               {"size": 4, "exclusions": [(0, 2), (1, 1)], "groups": [[0, 1], [2, 3]]})] * 2,
        Call("ConstraintNetwork.fit",
             lambda examples: ConstraintNetwork(4).fit(examples).pairs.float(),
             {"examples": torch.tensor([[1.0, 0, 0, 1], [0, 1, 1, 0]])}),
        Call("ConstraintNetwork.settle", NETWORK.settle, {"givens": torch.zeros(2, 4)}),
        Call("ConstraintNetwork.energy", NETWORK.energy, {"states": torch.zeros(2, 4)},
             looks=False),
        Call("ConstraintNetwork.to_boltzmann_machine", NETWORK.to_boltzmann_machine,
             {"penalty": 1.0}),
        *[Call("PuzzleThinker.think", _solved,
               {"network": NETWORK, "givens": torch.zeros(2, 4), "budget": 9, "solutions": 2,
                "exclusions": [[(0, 2)], [(1, 3), (0, 3)]]})] * 4,
        Call("PuzzleThinker.beliefs", lambda **given: PuzzleThinker(NETWORK).beliefs(**given) > 0,
             {"givens": torch.zeros(2, 4), "budget": 9}),
        Call("LearnedOrder",
             lambda groups, weights: LearnedOrder(groups, weights).weights,
             {"groups": 4, "weights": torch.zeros(11)}),
        Call("LearnedOrder.fit", lambda **given: LearnedOrder(4).fit(**given).weights,
             {"network": NETWORK, "givens": torch.zeros(2, 4), "generator": GENERATOR}),
        *[Call("FactChains",
               lambda **given: _played(FactChains(**given), [0], seed=0),
               {"lengths": [1, 2], "longest": 4, "kind": "rules", "doors": 2})] * 2,
        Call("FactChains.reset",
             lambda options: _played(FactChains(), [0], seed=0, options=options),
             {"options": {"length": 2}}, gym),
        *[Call("FactChains.step",
               lambda first, second: _played(FactChains(), [first, second], seed=0),
               {"first": 0, "second": 0}, gym)] * 2,
        Call("Thoughts", lambda **given: _played(Thoughts(**given), [2, 0], seed=0),
             {"env": FactChains(), "vocabulary": Vocabulary({"reached": 1}), "budget": 2,
              "cost": 0.01}),
        *[Call("Thoughts.step",
               lambda first, second: _played(
                   Thoughts(FactChains(), Vocabulary({"reached": 1})), [first, second], seed=0),
               {"first": 3, "second": 0}, gym)] * 2,
    ]  # fmt: skip


def _faults(seed: int, count: int) -> list[str]:
    found = (fault(call, arguments) for call, arguments in malformed(calls(), seed, count))
    return [text for text in found if text is not None]


def test_malformed_calls():
    whole = calls()
    assert [fault(call, call.arguments) for call in whole] == [None] * len(whole)
    assert not _faults(0, FEW)


@pytest.mark.slow
def test_many_malformed_calls():
    """None ends in a raw error: what another seed finds is to be mended."""
    assert not _faults(1, MANY)


FILES = {
    "facts.csv": "relation,subject,object\nmother,Cleo,Bea\nmother,Bea,Ann\nfather,Dan,Bea\n",
    "rules.txt": "mother(X,Z), mother(Z,Y) -> grandmother(X,Y)\nmother(X,Y) -> female(X)\n",
    "rules.csv": 'rule,count\n"mother(X,Y) -> parent(X,Y)",3\n',
    "learn.csv": "question,role,relation,subject,object\n1,fact,mother,a,b\n1,fact,mother,b,c\n"
    "1,answer,grandmother,a,c\n",
    "puzzle.txt": "1...\n...4\n..2.\n.3..\n",
    "solved.txt": "1234341221434321\n1234341223414123\n1243342121344312\n",
}
LINES = [
    "facts.csv --rules rules.txt --query grandmother,?,Ann --draw why.svg --force",
    "facts.csv --rules rules.csv --query ?(Cleo,?) --budget 3 --confidence 0.9 --json",
    "facts.csv --rules rules.txt --exclusive mother,father --quiet",
    "--learn learn.csv --save-rules learned.csv --seed 1 --force",
    "facts.csv --learn learn.csv --query grandmother,Cleo,?",
    "--puzzle puzzle.txt --learn solved.txt --budget 5 --draw board.svg --force --json",
]
ENDS = [
    "",
    "?",
    ",,,",
    "mother",
    "nan",
    "-1",
    "1e999",
    "x.svg",
    "facts.csv",
    "\0",
    "é\udce9",
    "--",
    "(",
]


def _command(folder: Path, number: int, capsys: pytest.CaptureFixture[str]) -> str | None:
    """Runs a command with a word or a file that is wrong; returns what is wrong with its end."""
    rng = np.random.default_rng((0, number))
    words = ["think", *LINES[number % len(LINES)].split()]
    for name, text in FILES.items():
        if rng.random() < 0.2:
            text = _odd(text, rng)
        (folder / name).write_text(text if isinstance(text, str) else "", errors="replace")
    if rng.random() < 0.6:
        words[int(rng.integers(1, len(words)))] = ENDS[rng.integers(len(ENDS))]
    status = run(words)
    said = capsys.readouterr().err
    raw = "Traceback" in said or "isinglass: unexpected" in said
    return f"{words}: {status}, {said[-300:]}" if raw or status not in (0, 1, 2) else None


@pytest.mark.parametrize(
    "numbers", [range(12), pytest.param(range(12, 200), marks=pytest.mark.slow)]
)
def test_malformed_commands(tmp_path, monkeypatch, capsys, numbers):
    monkeypatch.chdir(tmp_path)
    found = [_command(tmp_path, number, capsys) for number in numbers]
    assert not [fault for fault in found if fault is not None]


def test_faults_are_found():
    """The judge tells answers that rest on nothing given from those that do."""

    def made_up(facts):
        return _held(Thinker(_memory()).think(Mind.from_tuples(facts, WORDS), ("mother", "?", "?")))

    call = Call("think", made_up, {"facts": FACTS})
    assert fault(call, call.arguments) is None
    assert "AssertionError" in str(fault(call, {"facts": [("mother", "Eve", "Fay")]}))

    def named(facts):
        raise DomainError("x", "Give y")

    assert fault(Call("named", named, {}), {"facts": FACTS}) is None
