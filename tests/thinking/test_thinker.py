"""Thinking: derivations against enumeration, answers, budgets, chains, contradictions."""

import math
import time

import pytest
import torch

from isinglass.errors import DomainError, IntractableError, ParameterError, ShapeError
from isinglass.testing import PropertyViolation, check_exchangeable
from isinglass.thinking import (
    BestFirst,
    BreadthFirst,
    DerivationGraph,
    Mind,
    Proof,
    Rule,
    RuleMemory,
    Thinker,
    Vocabulary,
)
from isinglass.thinking._estimate import Estimate, _chains
from tests.seeds import numpy_seeded, seeded
from tests.thinking.references import FACTS, KIN, NAMES, RULES, best_energies, summed


@pytest.fixture(scope="module")
def memory():
    memory = RuleMemory(KIN)
    for number, rule in enumerate(RULES):
        memory.store(rule, 1.0 + number)
    return memory


def weighed(memory):
    return [(s.rule, math.log(s.probability)) for s in memory.rules()]


def values(graph, mind, found):
    rows = torch.stack(graph.rows(), -1).tolist()
    return {
        mind.proposition(b, relation, x, y): float(value)
        for (b, x, y, relation), value in zip(rows, found, strict=True)
    }


def test_best_derivations_are_those_of_a_plain_loop(memory):
    mind = Mind.from_tuples(FACTS, KIN)
    graph = DerivationGraph.of(mind, memory.table())
    found = values(graph, mind, graph.values(memory.log_weights()))
    expected = best_energies(FACTS, weighed(memory), NAMES)
    assert found.keys() == expected.keys()
    for proposition, energy in expected.items():
        assert -found[proposition] == pytest.approx(energy, abs=1e-12)


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_sums_over_derivations_are_those_of_a_plain_loop(memory, depth):
    mind = Mind.from_tuples(FACTS, KIN)
    graph = DerivationGraph.of(mind, memory.table())
    found = values(graph, mind, graph.values(memory.log_weights(), 1.0, depth))
    expected = summed(FACTS, weighed(memory), NAMES, depth)
    reached = {p: v for p, v in found.items() if v > -math.inf}
    assert reached.keys() == expected.keys()
    for proposition, total in expected.items():
        assert reached[proposition] == pytest.approx(math.log(total), abs=1e-10)


def test_the_free_energy_tends_to_the_best_derivation_as_t_falls():
    words = Vocabulary(["a", "b"])
    memory = RuleMemory(words)
    memory.store(["a(X,Z), a(Z,Y) -> b(X,Y)", "a(X,Z), a(Z,Y) -> a(X,Y)"], 1.0)
    mind = Mind.from_tuples([("a", str(i), str(i + 1)) for i in range(5)], words)
    graph = DerivationGraph.of(mind, memory.table())
    weights = memory.log_weights()
    best = graph.values(weights)
    for temperature in (0.1, 0.01):
        gap = graph.values(weights, temperature) - best
        # At most 14 derivations, the bracketings of five, are summed.
        assert (gap >= -1e-12).all()
        assert (gap <= temperature * math.log(14) + 1e-12).all()
    assert graph.values(weights, 1.0).exp().max() <= 1 + 1e-12  # a chance is no more than 1


def test_the_gradient_of_log_v_counts_uses():
    words = Vocabulary(["a", "b", "c"])
    memory = RuleMemory(words, ["a(X,Z), a(Z,Y) -> b(X,Y)", "b(X,Z), a(Z,Y) -> c(X,Y)"])
    mind = Mind.from_tuples([("a", "1", "2"), ("a", "2", "3"), ("a", "3", "4")], words)
    graph = DerivationGraph.of(mind, memory.table())
    weights = memory.log_weights().requires_grad_()
    code = torch.tensor([(0 * 4 + 3) * 3 + 2])  # c(1,4)
    place = graph.locate(code)
    graph.values(weights, 1.0)[place].sum().backward()
    assert weights.grad.tolist() == [1.0, 1.0]  # each rule is used once, in the only derivation


def test_two_variables_are_never_the_same_entity():
    words = Vocabulary(["sister"])
    memory = RuleMemory(words, ["sister(X,Z), sister(Z,Y) -> sister(X,Y)"])
    mind = Mind.from_tuples([("sister", "Ann", "Bea"), ("sister", "Bea", "Ann")], words)
    reply = Thinker(memory).think(mind, ("sister", "?", "?"))
    assert {a.proposition for a in reply.answers} == set(mind.to_tuples()[0])


def test_every_proof_is_a_derivation_of_the_energy_it_states(memory):
    reply = Thinker(memory).think(Mind.from_tuples(FACTS, KIN), ("?", "?", "?"))
    weights = dict(weighed(memory))
    assert len(reply.answers) > len(FACTS) - 3
    for answer in reply.answers:
        proof = answer.proof
        used = [node.rule for _, node in proof.walk() if node.rule is not None]
        assert answer.energy == pytest.approx(-sum(weights[rule] for rule in used), abs=1e-12)
        assert all(given in FACTS for given in proof.given())
        for _, node in proof.walk():
            if node.rule is not None:
                bound = [node.proposition, *(premise.proposition for premise in node.premises)]
                assert fits(node.rule, bound)


def fits(rule, bound):
    """Whether entities can stand for the variables, conclusion first, premises in any order."""
    orders = [bound, [bound[0], *bound[:0:-1]]]
    for propositions in orders:
        at = {}
        atoms = [rule.conclusion, *rule.premises]
        if all(
            atom[0] == proposition[0]
            and all(
                at.setdefault(v, e) == e for v, e in zip(atom[1:], proposition[1:], strict=True)
            )
            for atom, proposition in zip(atoms, propositions, strict=True)
        ):
            return True
    return False


def test_rules_that_lead_in_circles_end():
    words = Vocabulary(["a", "b"])
    memory = RuleMemory(words, ["a(X,Y) -> b(X,Y)", "b(X,Y) -> a(X,Y)"], doubt=0.0)
    mind = Mind.from_tuples([("a", "1", "2")], words)
    reply = Thinker(memory).think(mind, ("b", "?", "?"))
    assert reply.answers[0].energy == 0.0
    with pytest.raises(IntractableError, match="circles"):
        Thinker(memory).think(mind, ("b", "?", "?"), temperature=1.0)  # 1 + 1 + 1 ...


def test_answers_of_several_entities_do_not_compete(memory):
    reply = Thinker(memory).think(Mind.from_tuples(FACTS, KIN), ("parent", "Bea", "?"))
    assert [a.proposition[2] for a in reply.answers] == ["Dora", "Eli"]
    assert all(a.sure for a in reply.answers)


def test_relations_of_the_same_entities_compete():
    words = Vocabulary(["a", "b", "c"])
    memory = RuleMemory(words)
    memory.store(["a(X,Z), a(Z,Y) -> b(X,Y)", "a(X,Z), a(Z,Y) -> c(X,Y)"], 1.0)
    mind = Mind.from_tuples([("a", "1", "2"), ("a", "2", "3")], words)
    reply = Thinker(memory).think(mind, ("?", "1", "3"))
    assert not reply.sure
    assert [a.share for a in reply.answers] == pytest.approx([0.5, 0.5], abs=1e-12)


def test_settle_asserts_what_is_forced_and_nothing_else():
    words = Vocabulary(["a", "b", "c"])
    memory = RuleMemory(words)
    memory.store(Rule.compose("a", "a", "b"), 100.0)
    memory.store(Rule.compose("b", "a", "c"), 0.5)  # seldom seen: more doubt than certainty
    mind = Mind.from_batches([[("a", "1", "2"), ("a", "2", "3"), ("a", "3", "4")], []], words)
    settled = Thinker(memory).settle(mind)
    assert settled.to_tuples()[0] == sorted(
        [*mind.to_tuples()[0], ("b", "1", "3"), ("b", "2", "4")]
    )
    assert settled.to_tuples()[1] == []
    assert Thinker(memory).settle(settled).to_tuples() == settled.to_tuples()


def chain(length, words):
    memory = RuleMemory(words, ["a(X,Z), a(Z,Y) -> a(X,Y)"], doubt=0.0)
    return memory, Mind.from_tuples([("a", str(i), str(i + 1)) for i in range(length)], words)


@pytest.mark.parametrize("guide", [BreadthFirst(), BestFirst()])
def test_a_large_budget_finds_what_all_derivations_hold(memory, guide):
    mind = Mind.from_tuples(FACTS, KIN)
    whole = Thinker(memory).think(mind, ("grandparent", "?", "?"))
    found = Thinker(memory, guide).think(mind, ("grandparent", "?", "?"), budget=200)
    assert {a.proposition for a in found.answers} == {a.proposition for a in whole.answers}
    if isinstance(guide, BestFirst):  # Knuth: the first derivation is the best one
        assert [a.energy for a in found.answers] == pytest.approx([a.energy for a in whole.answers])


def test_a_guide_needs_no_more_thoughts_than_a_chain_has_steps():
    memory, mind = chain(10, Vocabulary(["a"]))
    query = ("a", "0", "10")
    assert Thinker(memory).think(mind, query, budget=60).thoughts == 9
    assert Thinker(memory, BreadthFirst()).think(mind, query, budget=60).thoughts > 9
    unsure = Thinker(memory).think(mind, query, budget=8)
    assert unsure.best is None
    assert not unsure.sure
    assert Thinker(memory).think(mind, query, budget=0).best is None


def test_consuming_thoughts_spend_their_premises():
    words = Vocabulary(["a", "b", "c"])
    memory = RuleMemory(words, ["a(X,Z), a(Z,Y) -> b(X,Y)", "b(X,Z), a(Z,Y) -> c(X,Y)"])
    mind = Mind.from_tuples([("a", "1", "2"), ("a", "2", "3"), ("a", "3", "4")], words)
    query = ("c", "1", "4")
    # b(2,4) first is a dead end: it spends the two facts that c needs.
    replies = Thinker(memory).think(
        mind, query, budget=5, temperature=1.0, chains=32, consuming=True, generator=seeded(0)
    )
    assert replies.best == query
    assert replies.thoughts <= 2
    assert len(replies.answers[0].proof.given()) == 3


@pytest.mark.parametrize("chains", [1, 2, 16])
def test_chains_that_spend_their_premises_think_side_by_side(chains):
    words = Vocabulary(["a", "b", "c"])
    memory = RuleMemory(words, ["a(X,Z), a(Z,Y) -> b(X,Y)", "a(X,Y) -> c(X,Y)", "c(X,Y) -> a(Y,X)"])
    minds = Mind.from_batches([[("a", "1", "2"), ("a", "2", "3")]] * 3, words)
    replies = Thinker(memory).think(
        minds, ("b", "1", "3"), budget=4, temperature=1.0, chains=chains, consuming=True,
        generator=seeded(1),
    )  # fmt: skip
    assert {reply.best for reply in replies} <= {("b", "1", "3"), None}
    assert replies[0].thoughts > 0


def test_many_minds_are_answered_as_each_alone(memory):
    facts = [FACTS, FACTS[:4], FACTS[3:], [("parent", "Ann", "Bea")]]
    queries = [
        ("grandparent", "Ann", "?"),
        ("sibling", "Bea", "?"),
        ("?", "Bea", "Eli"),
        ("?", "Bea", "Ann"),
    ]
    together = Thinker(memory).think(Mind.from_batches(facts, KIN), queries)
    for mind, query, reply in zip(facts, queries, together, strict=True):
        alone = Thinker(memory).think(Mind.from_tuples(mind, KIN), query)
        assert str(alone) == str(reply)
        budget = Thinker(memory, BestFirst()).think(Mind.from_tuples(mind, KIN), query, budget=99)
        assert budget.best == reply.best
    assert together[3].best is None
    assert "unsure" in str(together[3])


def test_entities_are_exchangeable(memory):
    for seed in range(5):
        check_exchangeable(Thinker(memory), FACTS, ("?", "?", "?"), seeded(seed))


def test_a_thinker_that_looks_at_names_is_found(memory):
    class Alphabetical(Thinker):
        def think(self, mind, query, **settings):
            kept = [fact for fact in mind.to_tuples()[0] if not fact[1].endswith("1")]
            return super().think(Mind.from_tuples(kept, KIN), query, **settings)

    def ask_five_times():
        for seed in range(5):
            check_exchangeable(Alphabetical(memory), FACTS, ("?", "?", "?"), seeded(seed))

    with pytest.raises(PropertyViolation, match="exchangeable"):
        ask_five_times()


def test_contradictory_givens_are_flagged_the_smallest_first():
    words = Vocabulary(
        ["mother", "father", "sister", "aunt"], exclusive=[["mother", "father", "aunt"]]
    )
    memory = RuleMemory(words)
    memory.store("mother(X,Z), sister(Z,Y) -> aunt(X,Y)", 100.0)
    facts = [
        ("mother", "1", "2"), ("sister", "2", "3"), ("mother", "1", "3"), ("father", "1", "2"),
    ]  # fmt: skip
    minds = Mind.from_batches([facts, facts[:2]], words)
    found = Thinker(memory).contradictions(minds)
    assert [len(c.given()) for c in found[0]] == [2, 3]
    assert set(found[0][0].given()) == {("mother", "1", "2"), ("father", "1", "2")}
    assert found[1] == []


CLASH = [("mother", "1", "2"), ("father", "1", "2"), ("sister", "2", "3"), ("sister", "4", "5")]


@pytest.mark.parametrize("budget", [None, 0, 5])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_rests_on_a_contradiction_is_unsure_and_says_so(budget, temperature):
    words = Vocabulary(["mother", "father", "sister", "aunt"], exclusive=[["mother", "father"]])
    memory = RuleMemory(words, ["mother(X,Z), sister(Z,Y) -> aunt(X,Y)"])
    thinker = Thinker(memory)
    minds = Mind.from_batches([CLASH, [CLASH[0], *CLASH[2:]]], words)
    settings = {"budget": budget, "temperature": temperature, "generator": seeded(0)}
    for query in (("mother", "1", "?"), ("aunt", "1", "?")):
        clashing, whole = thinker.think(minds, [query] * 2, **settings)
        assert not clashing.sure
        assert [set(c.given()) for c in clashing.contradictions] == [set(CLASH[:2])]
        assert not whole.contradictions
        if whole.answers:
            assert whole.sure
            assert clashing.answers[0].contradicted
            assert "contradict each other, the fewest that do: mother(1,2), father" in str(clashing)
    beside, _ = thinker.think(minds, [("sister", "4", "?")] * 2, **settings)
    assert beside.sure
    assert beside.contradictions


def test_contradictions_too_many_to_derive_are_looked_for_among_the_thoughts(monkeypatch):
    words = Vocabulary(["a", "b"], exclusive=[["a", "b"]])
    memory = RuleMemory(words, ["a(X,Z), a(Z,Y) -> a(X,Y)"])
    facts = [("a", str(i), str(i + 1)) for i in range(9)] + [("b", "0", "2"), ("b", "0", "1")]
    mind = Mind.from_tuples(facts, words)
    assert len(Thinker(memory).think(mind, ("a", "1", "?"), budget=0).contradictions) == 2
    monkeypatch.setattr("isinglass.thinking.derivation_graph.MOST_USES", 3)
    reply = Thinker(memory).think(mind, ("a", "0", "1"), budget=0)
    assert len(reply.contradictions) == 1
    assert not reply.sure


def test_exclusive_relations_of_mind_or_rules_count():
    plain, strict = Vocabulary(["a", "b"]), Vocabulary(["a", "b"], exclusive=[["a", "b"]])
    facts = [("a", "1", "2"), ("b", "1", "2")]
    for of_rules, of_mind in ((plain, strict), (strict, plain)):
        mind = Mind.from_tuples(facts, of_mind)
        assert not Thinker(RuleMemory(of_rules)).think(mind, ("a", "1", "?")).sure
        assert len(Thinker(RuleMemory(of_rules)).contradictions(mind)[0]) == 1


def test_confidence_is_obeyed():
    words = Vocabulary(["a", "b"])
    mind = Mind.from_tuples([("a", "1", "2")], words)

    def sure(count, confidence):
        memory = RuleMemory(words)
        memory.store("a(X,Y) -> b(X,Y)", count)
        return Thinker(memory, confidence=confidence).think(mind, ("b", "1", "?")).sure

    # p = count/(count + ½); its odds 2·count must exceed those of the confidence, over 19.
    assert [c for c in (0.3, 0.5, 0.95, 0.97, 0.98, 0.99, 1.0) if sure(1, c)] == [
        0.3, 0.5, 0.95, 0.97,
    ]  # fmt: skip
    assert [n for n in (0.4, 0.6, 2, 3, 1000, math.inf) if sure(n, 0.99)] == [3, 1000, math.inf]
    assert [n for n in (3, 1000, 1e12, math.inf) if sure(n, 1.0)] == [math.inf]


def test_at_confidence_1_certain_rules_are_forced_and_facts_contradict():
    words = Vocabulary(["a", "b"], exclusive=[["a", "b"]])
    memory = RuleMemory(words, ["a(X,Y) -> b(Y,X)"])
    thinker = Thinker(memory, confidence=1.0)
    mind = Mind.from_tuples([("a", "1", "2")], words)
    assert thinker.settle(mind).to_tuples() == [[("a", "1", "2"), ("b", "2", "1")]]
    both = Mind.from_tuples([("a", "1", "2"), ("b", "1", "2")], words)
    assert len(thinker.contradictions(both)[0]) == 1


def test_derivations_that_share_branches_are_read_once():
    """As trees they would have 2^60 leaves."""
    words = Vocabulary(["a", "b"], exclusive=[["a", "b"]])
    memory = RuleMemory(words, ["a(X,Y) -> b(X,Y)", "b(X,Z), a(Z,Y) -> a(X,Y)"])
    proof = Proof(("a", "0", "1"), 0.0)
    for _ in range(60):
        proof = Proof(("a", "0", "1"), 0.0, memory.rule(0), (proof, proof))
    assert proof.given() == [("a", "0", "1")]


@pytest.mark.parametrize(
    "rules",
    [
        ["a(X,Z), a(Z,Y) -> a(X,Y)"],
        ["a(X,Z), b(Z,Y) -> a(Y,X)", "a(X,Z), a(Y,Z) -> b(X,Y)", "b(Z,X), a(Z,Y) -> b(X,Y)"],
        ["a(X,Z), a(Z,Y) -> b(X,Z)", "a(X,Y) -> b(Y,X)", "a(X,Z), b(Z,X) -> a(Z,X)"],
    ],
)
def test_uses_are_estimated_and_never_too_many(rules):
    words = Vocabulary(["a", "b"])
    table = RuleMemory(words, rules).table()
    rng = numpy_seeded(0)
    for _ in range(10):
        pairs = rng.integers(8, size=(2, 6, 2))
        facts = [("ab"[r], str(x), str(y)) for r in range(2) for x, y in pairs[r].tolist()]
        mind = Mind.from_batches([facts, facts[:5]], words)
        for depth in (None, 1, 2, 3):
            graph = DerivationGraph.of(mind, table, depth)
            estimate = Estimate(table.relations, table.forms, graph.shape, 10**9)
            given = graph.codes[graph.given]
            found = estimate(given, depth, 0)
            assert found <= len(graph.rules)
            if "Z)" not in rules[0].partition("->")[2]:  # each use is of a chain
                assert found == len(graph.rules)
            assert estimate._at_once(given, _chains(table.relations, table.forms)) <= found


def test_too_many_uses_are_refused_before_they_are_listed():
    """800 facts in a chain have 85 million uses of the rule; listing them takes a minute."""
    memory, mind = chain(800, Vocabulary(["a"]))
    started = time.process_time()
    with pytest.raises(IntractableError, match=r"uses of rules or more.*within a budget"):
        Thinker(memory).think(mind, ("a", "0", "?"))
    assert time.process_time() - started < 20
    assert Thinker(memory).think(mind, ("a", "0", "3"), budget=5).sure


@pytest.mark.parametrize(
    ("query", "error"),
    [
        (("aunt", "Ann", "?"), DomainError),
        (("parent", "Zoe", "?"), DomainError),
        (("parent", "?"), ShapeError),
        (("?",), ShapeError),
        (("?", "Ann", "Bea", "Cal"), ShapeError),
        ((), DomainError),
    ],
)
def test_questions_that_cannot_be_are_named(memory, query, error):
    with pytest.raises(error):
        Thinker(memory).think(Mind.from_tuples(FACTS, KIN), query)


def test_settings_that_cannot_be_are_named(memory):
    mind, query = Mind.from_tuples(FACTS, KIN), ("parent", "?", "?")
    for settings in (
        {"temperature": -1.0}, {"temperature": math.nan}, {"budget": -1},
        {"chains": 0, "budget": 3}, {"chains": 2}, {"consuming": True},
    ):  # fmt: skip
        with pytest.raises(ParameterError):
            Thinker(memory).think(mind, query, **settings)
    with pytest.raises(ParameterError, match="vocabulary"):
        Thinker(memory).think(Mind.from_tuples([("x", "1", "2")]), ("x", "?", "?"))
    with pytest.raises(ShapeError, match="one for each"):
        Thinker(memory).think(mind, [query, query])
    with pytest.raises(ParameterError, match="confidence"):
        Thinker(memory, confidence=1.5)
    with pytest.raises(ParameterError, match="confidence = 0"):
        Thinker(memory, confidence=0)
    with pytest.raises(ParameterError, match=r"a count of 1e\+308"):
        memory.store("mother(X,Y) -> parent(X,Y)", count=1e308)


def test_empty_minds_and_empty_memories_are_unsure(memory):
    empty = Mind.from_batches([[]], KIN)
    assert not Thinker(memory).think(empty, ("parent", "?", "?")).sure
    assert not Thinker(memory).think(empty, ("parent", "?", "?"), budget=3).sure
    assert Thinker(memory).settle(empty).to_tuples() == [[]]
    mind = Mind.from_tuples(FACTS, KIN)
    nothing = Thinker(RuleMemory(KIN))
    assert nothing.think(mind, ("grandparent", "?", "?")).best is None
    assert nothing.think(mind, ("female", "Ann")).best == ("female", "Ann")
    assert nothing.think(mind, ("grandparent", "?", "?"), budget=3).best is None


def test_a_proof_is_printed_drawn_and_exported(memory, tmp_path):
    reply = Thinker(memory).think(Mind.from_tuples(FACTS, KIN), ("grandparent", "Ann", "Dora"))
    proof = reply.answers[0].proof
    assert str(proof).splitlines()[0].startswith("grandparent(Ann,Dora)   by parent(X,Z)")
    assert proof.to_dict()["premises"][0]["proposition"][0] == "parent"
    assert proof.to_dot().count("->") == len(list(proof.walk())) - 1
    assert proof.to_svg().count("<rect") == len(list(proof.walk())) + 1
    proof.draw(tmp_path / "proof.svg")
    assert (tmp_path / "proof.svg").read_text() == proof.to_svg()
    assert proof.thoughts()[-1] == ("grandparent", "Ann", "Dora")
