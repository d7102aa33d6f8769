"""Link prediction: counts and slopes against enumeration, planted rules, names, bad input."""

import itertools
import math

import pytest
import torch

from isinglass.errors import DomainError, IntractableError, ParameterError
from isinglass.testing import rounding
from isinglass.thinking.graphs.fact_graph import FactGraph
from isinglass.thinking.graphs.link_likelihood import Questions
from isinglass.thinking.graphs.link_predictor import LinkPredictor
from isinglass.thinking.rule import Rule
from tests.seeds import numpy_seeded, seeded


def random_facts(entities=6, relations=2, density=0.35, seed=0):
    """A small dense graph, facts about one entity alone among them."""
    rng = numpy_seeded(seed)
    drawn = rng.random((relations, entities, entities)) < density
    return [(f"r{r}", f"e{s}", f"e{o}") for r, s, o in zip(*drawn.nonzero(), strict=True)]


def planted(people=30, seed=0, lost=0.25):
    """``near`` is ``left`` then ``right``; three more relations are noise. Some of near is lost."""
    rng = numpy_seeded(seed)
    names = [f"p{i}" for i in range(people)]
    left, right = (rng.permutation(people) for _ in range(2))
    facts = [("left", names[i], names[left[i]]) for i in range(people) if left[i] != i]
    facts += [("right", names[i], names[right[i]]) for i in range(people) if right[i] != i]
    near = [("near", x, z) for (_, x, y) in facts[:] if _ == "left" for (w, s, z) in facts
            if w == "right" and s == y and z != x]  # fmt: skip
    for noise in ("noise0", "noise1", "noise2"):
        pairs = rng.integers(people, size=(people, 2))
        facts += sorted({(noise, names[i], names[j]) for i, j in pairs if i != j})
    hidden = rng.random(len(near)) < lost
    return (
        facts + [fact for fact, gone in zip(near, hidden, strict=True) if not gone],
        [fact for fact, gone in zip(near, hidden, strict=True) if gone],
    )


def enumerated(facts, legs, names):
    """log(1 + n) of one body at every pair, by loops over entities."""
    edges = {(r, s, o) for r, s, o in facts} | {("-" + r, o, s) for r, s, o in facts}
    found = torch.zeros(len(names), len(names))
    for (i, x), (j, y) in itertools.product(enumerate(names), repeat=2):
        if x == y:
            continue
        if legs[1] is None:
            found[i, j] = (legs[0], x, y) in edges
        else:
            middle = [z for z in names if z not in (x, y)]
            found[i, j] = sum((legs[0], x, z) in edges and (legs[1], z, y) in edges for z in middle)
    return found.log1p()


def energies(graph, facts, weights):
    """−E of every proposition, from the formula."""
    words = list(graph.vocabulary.relations)
    words += ["-" + word for word in words]
    table = torch.zeros_like(graph.known, dtype=weights.dtype)
    for body, (first, second) in enumerate(graph.counts.legs.tolist()):
        legs = (words[first], words[second] if second >= 0 else None)
        table += weights[body, :, None, None] * enumerated(facts, legs, graph.names)
    for r, word in enumerate(graph.vocabulary.relations):
        for i, name in enumerate(graph.names):
            objects = sum(f[0] == word and f[2] == name for f in facts)
            subjects = sum(f[0] == word and f[1] == name for f in facts)
            table[r, :, i] += weights[-3, r] * math.log1p(objects)
            table[r, i, :] += weights[-2, r] * math.log1p(subjects)
            table[r, i, i] += weights[-1, r]
    return table


def drawn(graph, seed=1):
    shape = len(graph.counts) + 3, len(graph.vocabulary)
    weights = torch.randn(*shape, generator=seeded(seed))
    weights.diagonal().zero_()
    return weights


def test_energies_are_those_of_the_formula():
    facts = random_facts()
    graph = FactGraph.of(facts, 1)
    weights = drawn(graph)
    torch.testing.assert_close(graph.table(weights), energies(graph, facts, weights))


def test_a_fact_is_asked_as_if_it_was_unknown():
    """The energies of the other answers, too, are those in the graph without it."""
    facts = sorted(random_facts())
    graph = FactGraph.of(facts, 1)
    weights = drawn(graph)
    for asked in Questions.both(graph, graph.facts, graph.known):
        logits = asked.logits(graph.table(weights), weights)
        for row in range(0, len(facts), 3):
            r, s, o = graph.facts[row].tolist()
            without = energies(graph, facts[:row] + facts[row + 1 :], weights)[r]
            known = graph.known[r].index_put(
                (torch.tensor(s), torch.tensor(o)), torch.tensor(False)
            )
            place = s if asked.side == 2 else (slice(None), o)
            # What is the same of all answers says nothing.
            shift = (logits[row] - without[place])[~known[place]]
            torch.testing.assert_close(shift, shift[:1].expand_as(shift), atol=1e-4, rtol=0)
            assert logits[row][known[place]].eq(-torch.inf).all()


def test_slopes_are_uses_free_minus_clamped():
    """The Boltzmann rule is the derivative of −log p, by automatic differentiation."""
    graph = FactGraph.of(random_facts(seed=2), 1)
    weights = drawn(graph).requires_grad_()
    table = graph.table(weights)
    sides = Questions.both(graph, graph.facts, graph.known)
    parts = [side.contrast(table, weights) for side in sides]
    (expected,) = torch.autograd.grad(parts[0][0] + parts[1][0], weights)
    found = graph.slopes(parts[0][1] + parts[1][1]) + parts[0][2] + parts[1][2]
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-4)


def test_planted_rule_is_found_and_answers():
    facts, lost = planted()
    predictor = LinkPredictor().fit(facts)
    assert predictor.rules("near", most=1)[0].rule == Rule.compose("left", "right", "near")
    assert predictor.score(lost) == 1.0
    assert [predictor.predict("near", x) for _, x, _ in lost] == [y for *_, y in lost]
    assert [predictor.predict("near", other=y) for *_, y in lost] == [x for _, x, _ in lost]


def test_what_excludes_speaks_against():
    """Every pair is friend or foe, so who is known as a foe is no friend."""
    rng = numpy_seeded(5)
    people = [f"p{i}" for i in range(14)]
    facts = [
        ("friend" if rng.random() < 0.5 else "foe", x, y)
        for x, y in itertools.permutations(people, 2)
        if rng.random() < 0.8
    ]
    foe = Rule([("foe", "X", "Y")], ("friend", "X", "Y"))
    (weight,) = (rule.weight for rule in LinkPredictor().fit(facts).rules("friend", most=1000)
                 if rule.rule == foe)  # fmt: skip
    assert weight < -1


def test_one_relation_that_is_symmetric():
    rng = numpy_seeded(3)
    pairs = {tuple(sorted(map(str, pair))) for pair in rng.integers(40, size=(60, 2))}
    facts = [("kin", x, y) for x, y in pairs if x != y]
    lost = [("kin", y, x) for _, x, y in facts[:10]]
    predictor = LinkPredictor().fit(facts + [("kin", y, x) for _, x, y in facts[10:]])
    assert str(predictor.rules(most=1)[0].rule) == "kin(Y,X) -> kin(X,Y)"
    assert predictor.score(lost) > 0.95


def test_names_and_order_of_facts_say_nothing():
    facts, lost = planted(seed=4)
    names = sorted({name for _, *pair in facts for name in pair})
    order = numpy_seeded(9).permutation(len(names))
    other = {name: names[i] for name, i in zip(names, order, strict=True)}
    renamed = [(r, other[s], other[o]) for r, s, o in reversed(facts)]
    given = [(r, other[s], other[o]) for r, s, o in lost]
    mine = LinkPredictor().fit(facts, lost)
    its = LinkPredictor().fit(renamed + renamed[:5], given)  # what stands twice counts once
    expected = mine.energy(lost)
    torch.testing.assert_close(its.energy(given), expected, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(its.ranks(given), mine.ranks(lost))


def test_nothing_follows_from_itself():
    predictor = LinkPredictor().fit(planted()[0])
    assert not predictor._weights.diagonal().any()


def test_ranks_are_filtered():
    facts, lost = planted(seed=6)
    predictor = LinkPredictor(steps=3).fit(facts)
    ranks = predictor.ranks(lost, known=facts)
    truth = {*facts, *lost}
    names = sorted({name for _, *pair in facts for name in pair})
    for row, (r, s, o) in zip(ranks.tolist(), lost, strict=True):
        for rank, own, asked in (
            (row[0], o, [(r, s, name) for name in names]),
            (row[1], s, [(r, name, o) for name in names]),
        ):
            rivals = [fact for fact in asked if fact not in truth]
            energy = predictor.energy(rivals)
            mine = predictor.energy([(r, s, o)])
            assert own in names
            assert rank == 1 + int((energy < mine).sum()) + int((energy == mine).sum()) / 2


def test_explanation_adds_up_and_names_facts_that_are_there():
    facts, lost = planted(seed=7)
    predictor = LinkPredictor().fit(facts)
    for triple in (lost[0], facts[0]):
        said = predictor.explain(triple, most=10_000)
        parts = torch.tensor([said.bias, *(reason.share for reason in said.reasons)])
        bound = rounding(parts.abs().sum(), len(parts))
        assert abs(float(parts.sum()) + said.energy) <= bound
        assert said.energy == pytest.approx(float(predictor.energy([triple])[0]))
        assert said.known == (triple in facts)
        for reason in said.reasons:
            assert reason.bindings == len(reason.facts)
            assert {fact for binding in reason.facts for fact in binding} <= set(facts) - {triple}
    first = predictor.explain(lost[0], most=1)
    assert str(first.reasons[0].rule.rule) == "left(X,Z), right(Z,Y) -> near(X,Y)"
    assert f"near({lost[0][1]}, {lost[0][2]})" in str(first)


def test_probabilities_are_of_what_is_open():
    facts, _ = planted(seed=8)
    predictor = LinkPredictor(steps=10).fit(facts)
    names, values = zip(*predictor.rank("near", "p3"), strict=True)
    assert 0.9 < sum(values) < 1  # the rest is somebody else's
    assert sorted(values, reverse=True) == list(values)
    assert not {o for r, s, o in facts if (r, s) == ("near", "p3")} & set(names)
    assert predictor.predict("near", "p3", least=1.0) is None


@pytest.mark.parametrize("asked", [("a", "x"), ("a", None, "y")])
def test_somebody_else_competes_with_what_is_common_to_all_answers(asked):
    """An entity of which nothing is known, put into the graph, has as much as somebody else."""
    facts = [("a", "x", "y"), ("a", "x", "z"), ("a", "w", "y"), ("b", "x", "w")]
    predictor = LinkPredictor().fit([*facts, ("c", "lone", "alone")])
    ranked = dict(predictor.rank(*asked))
    assert 1 - sum(ranked.values()) == pytest.approx(ranked["lone"], abs=1e-6)


def test_the_only_candidate_is_not_certain_for_that():
    """Of what no rule speaks for it is unsure, whoever is left."""
    predictor = LinkPredictor().fit([("likes", "Ann", "Bob"), ("likes", "Bob", "Ann")])
    ((name, probability),) = predictor.rank("likes", "Ann")
    assert name == "Ann"
    assert probability <= 0.5
    assert predictor.predict("likes", "Ann") is None


@pytest.mark.parametrize("least", [-1, 2, math.nan, 1.1])
def test_a_least_probability_is_a_fraction(least):
    predictor = LinkPredictor(steps=2).fit(planted()[0])
    with pytest.raises(ParameterError, match="least"):
        predictor.predict("near", "p1", least=least)


def test_log_odds_are_counted():
    facts = [("a", f"x{i}", f"y{i}") for i in range(7)] + [
        ("b", f"x{i}", f"y{i}") for i in range(5)
    ]
    rules = LinkPredictor().fit(facts).rules("b", most=100)
    (rule,) = (found for found in rules if str(found.rule) == "a(X,Y) -> b(X,Y)")
    assert (rule.support, rule.bound) == (5, 7)
    assert rule.log_odds == pytest.approx(math.log(5.5 / 2.5))
    assert "a(X,Y) -> b(X,Y)" in str(rule)


def test_a_graph_of_one_fact():
    predictor = LinkPredictor().fit([("likes", "Ann", "Bob")])
    assert predictor.predict("likes", "Bob") is None  # nothing speaks for anyone
    assert [name for name, _ in predictor.rank("likes", "Ann")] == ["Ann"]


@pytest.mark.parametrize(
    "facts",
    [[], [("red", "ball")], [("r", "a", "")], ["rab"], [("r", "a", "b", "c")]],
)
def test_what_is_no_graph_is_refused(facts):
    with pytest.raises(DomainError):
        LinkPredictor().fit(facts)


def test_unknown_words_are_refused():
    predictor = LinkPredictor(steps=2).fit(planted()[0])
    for ask in (
        lambda: predictor.rank("far", "p1"),
        lambda: predictor.rank("near", "Ann"),
        lambda: predictor.rank("near", other="Ann"),
        lambda: predictor.energy([("near", "p1", "Ann")]),
        lambda: predictor.explain(("far", "p1", "p2")),
        lambda: predictor.rules("far"),
        lambda: predictor.score([]),
        lambda: LinkPredictor().fit(planted()[0], [("near", "p1", "Ann")]),
    ):
        with pytest.raises(DomainError):
            ask()


def test_wrong_arguments_are_refused():
    with pytest.raises(ParameterError, match="learned nothing"):
        LinkPredictor().rank("near", "p1")
    predictor = LinkPredictor(steps=2).fit(planted()[0])
    for ask in (
        lambda: predictor.rank("near"),
        lambda: predictor.rank("near", "p1", "p2"),
        lambda: LinkPredictor(deviations=[0.0]),
        lambda: LinkPredictor(deviations=()),
        lambda: LinkPredictor(deviations=[1e-320]),
        lambda: LinkPredictor(deviations=[1e300]),
        lambda: LinkPredictor(held_out=1.5),
        lambda: predictor.rules(most=0),
    ):
        with pytest.raises(ParameterError):
            ask()


def test_too_large_a_graph_is_refused(monkeypatch):
    monkeypatch.setattr("isinglass.thinking.graphs.fact_graph.MOST_FACTS", 100)
    with pytest.raises(IntractableError, match="entities"):
        LinkPredictor().fit(planted()[0])
    monkeypatch.undo()
    monkeypatch.setattr("isinglass.thinking._codes.MOST_MATCHES", 10)
    with pytest.raises(IntractableError, match="chains"):
        LinkPredictor().fit(planted()[0])
