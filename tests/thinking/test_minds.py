"""Vocabularies and minds: what can be said, and sets of it."""

import math

import pytest

from isinglass.errors import DomainError, FileError, ParameterError, ShapeError
from isinglass.thinking import Mark, Mind, Vocabulary

FAMILY = [("mother", "Ann", "Bea"), ("red", "Bea"), ("mother", "Bea", "Cleo")]


def test_a_mind_is_read_back_from_tuples_dictionaries_and_tables(tmp_path):
    mind = Mind.from_tuples(FAMILY)
    assert mind.to_tuples() == [sorted(FAMILY)]
    assert Mind.from_dicts(mind.to_dicts()[0]).to_tuples() == mind.to_tuples()
    mind.to_csv(tmp_path / "facts.csv")
    assert Mind.from_csv(tmp_path / "facts.csv").to_tuples() == mind.to_tuples()


def test_order_and_repetition_do_not_matter():
    one = Mind.from_tuples(FAMILY)
    other = Mind.from_tuples([*reversed(FAMILY), FAMILY[0]])
    assert one.to_tuples() == other.to_tuples()
    assert int(other.held.sum()) == 3


def test_minds_of_different_sizes_make_a_batch():
    minds = Mind.from_batches([FAMILY, FAMILY[:1], []], Mind.from_tuples(FAMILY).vocabulary)
    assert minds.to_tuples() == [sorted(FAMILY), FAMILY[:1], []]
    assert minds.held.sum(-1).tolist() == [3, 1, 0]
    assert minds[1].to_tuples() == [FAMILY[:1]]
    assert minds[-1].to_tuples() == [[]]


def test_marks_tell_given_asserted_and_open_apart():
    mind = Mind.from_tuples(FAMILY[:2], asked=[("mother", "Cleo", "Ann")])
    assert mind.to_tuples(Mark.OPEN) == [[("mother", "Cleo", "Ann")]]
    assert mind.to_tuples() == [sorted(FAMILY[:2])]
    more = mind.with_asserted(mind.rows[:, :1])
    assert more.to_tuples(Mark.ASSERTED) == [FAMILY[:1]]
    values = mind.values()
    assert (values == 0).sum() == 2  # what is open has no value


def test_named_entities_bring_a_proposition_of_their_own():
    words = Vocabulary(["enemy"], named=["Rome"])
    mind = Mind.from_tuples([("enemy", "Hannibal", "Rome")], words)
    assert int(mind.held.sum()) == 2
    assert mind.to_tuples() == [[("enemy", "Hannibal", "Rome")]]


@pytest.mark.parametrize(
    ("facts", "error", "said"),
    [
        ([("aunt", "Ann", "Bea")], DomainError, "unknown relation 'aunt'"),
        ([("mother", "Ann")], ShapeError, "takes 2"),
        ([("mother", "Ann", "Bea", "Cleo")], ShapeError, "with 3 arguments"),
        ([("mother", "Ann", "")], DomainError, "argument ''"),
        (["mother"], DomainError, "Write"),
        ([()], DomainError, "Write"),
    ],
)
def test_what_is_no_proposition_is_named(facts, error, said):
    with pytest.raises(error, match=said):
        Mind.from_tuples(facts, Vocabulary(["mother"]))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no proposition"),
        ("relation,subject\n", "no proposition"),
        ("a,b,c\nmother,Ann,Bea\n", "line 1"),
        ("relation,subject,object\nmother,Ann,Bea\n,Ann,Bea\n", "line 3: .*without relation"),
        ("relation,subject,object\nmother,,Bea\n", "line 2: .*without subject"),
        ("relation,subject,object\nmother,Ann,Bea,Cleo\n", "line 2"),
    ],
)
def test_gaps_in_a_table_are_named_with_their_line(tmp_path, text, said):
    path = tmp_path / "facts.csv"
    path.write_text(text)
    with pytest.raises((FileError, DomainError), match=said):
        Mind.from_csv(path)


def test_files_that_are_none_are_named(tmp_path):
    with pytest.raises(FileError, match="reading"):
        Mind.from_csv(tmp_path / "none.csv")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileError, match="UTF-8"):
        Mind.from_csv(tmp_path / "bytes.csv")


@pytest.mark.parametrize("given", [[], [""], ["a", "a"], {"a": 3}, "mother", {"a": 0}])
def test_vocabularies_that_cannot_be(given):
    with pytest.raises(ParameterError):
        Vocabulary(given)


def test_a_relation_has_one_number_of_arguments():
    with pytest.raises(ShapeError, match="one number of arguments"):
        Mind.from_tuples([("sad", "Ann"), ("sad", "Ann", "Bea")])
    with pytest.raises(DomainError, match="unknown relation"):
        Vocabulary(["a"], exclusive=[["a", "b"]])


def test_numbers_in_dictionaries_are_names_and_what_is_missing_is_none():
    facts = [{"relation": "age", "subject": 0, "object": 7}, {"relation": "old", "subject": "Ann",
             "object": math.nan}]  # fmt: skip
    assert Mind.from_dicts(facts).to_tuples() == [[("age", "0", "7"), ("old", "Ann")]]
