"""Certain rules: each proves its conclusion, whatever else follows from the same premises."""

import math
from xml.etree import ElementTree

import pytest
import torch

from isinglass.errors import FileError
from isinglass.thinking import Mind, Proof, Rule, RuleMemory, Thinker, Vocabulary

WORDS = Vocabulary({"mother": 2, "parent": 2, "kin": 2, "female": 1}, exclusive=[["parent", "kin"]])
FACTS = [("mother", "Ann", "Bea")]


def test_certain_rules_change_no_bit_of_others_and_have_no_energy():
    memory = RuleMemory(WORDS)
    memory.store(["mother(X,Y) -> kin(X,Y)", "mother(X,Y) -> kin(Y,X)"], 1.0)
    before = memory.log_weights()
    memory.store(["mother(X,Y) -> parent(X,Y)", "mother(X,Y) -> female(X)"])
    weights = {str(stored.rule): stored for stored in memory.rules()}
    for rule in ("mother(X,Y) -> parent(X,Y)", "mother(X,Y) -> female(X)"):
        assert (weights[rule].probability, weights[rule].log_odds) == (1.0, math.inf)
    others = memory.log_weights()[memory.counts.isfinite()]
    assert torch.equal(others.sort().values, before.sort().values)
    concluded = memory.conclude(["mother(X,Y)"])
    torch.testing.assert_close(concluded.sum(-1), torch.ones(1, dtype=torch.float64))


def test_what_is_proved_competes_only_with_what_it_excludes():
    memory = RuleMemory(WORDS)
    memory.store("mother(X,Y) -> parent(X,Y)")
    mind = Mind.from_tuples(FACTS, WORDS)
    said = {a.proposition[0]: a for a in Thinker(memory).think(mind, ("?", "Ann", "Bea")).answers}
    assert {name: (a.sure, a.energy, a.share) for name, a in said.items()} == {
        "mother": (True, 0.0, 1.0), "parent": (True, 0.0, 1.0),
    }  # fmt: skip
    assert not math.copysign(1, said["parent"].energy) < 0
    memory.store("mother(X,Y) -> kin(X,Y)")
    said = {a.proposition[0]: a for a in Thinker(memory).think(mind, ("?", "Ann", "Bea")).answers}
    assert {name: (a.sure, a.share) for name, a in said.items()} == {
        "mother": (False, 1.0), "parent": (False, 0.5), "kin": (False, 0.5),
    }  # fmt: skip
    assert all(answer.contradicted for answer in said.values())  # it all rests on the one fact
    assert len(Thinker(memory).contradictions(mind)[0]) == 1


def test_lines_are_counted_as_editors_do(tmp_path):
    path = tmp_path / "facts.csv"
    path.write_text('relation,subject,object\n\nmother,"An\nn",Bea\n\nmother,,Cleo\n')
    with pytest.raises(FileError, match="line 6"):
        Mind.from_csv(path)
    path.write_text("relation,subject,object\nmother,Ann,Bea\nmother,Ann,\n")
    with pytest.raises(FileError, match="line 3: 'mother' of 1 arguments, of 2 in line 2"):
        Mind.from_csv(path)


def test_deep_derivations_are_printed_and_drawn():
    rule, proof, depth = Rule.parse("a(X,Y) -> a(Y,X)"), Proof(("a", "1", "2"), 0.0), 3000
    for _ in range(depth):
        proof = Proof(proof.proposition, 0.0, rule, (proof,))
    assert len(str(proof).splitlines()) == depth + 1
    assert len(ElementTree.fromstring(proof.to_svg())) == 1 + depth + depth + 1  # noqa: S314
