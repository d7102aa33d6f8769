"""``isinglass think``: answers with derivations, learned rules, puzzles; never a made-up answer."""

import json
import math
from xml.etree import ElementTree

import pytest
import torch

from isinglass.cli import run
from isinglass.cli.think.boards import block_of, make_boards, propositions, read_boards
from isinglass.cli.think.puzzle import MADE
from isinglass.errors import FileError, ParameterError
from isinglass.thinking import ConstraintNetwork
from tests.seeds import seeded
from tests.thinking.puzzles.boards import every_solution, small_sudoku

FACTS = """relation,subject,object
mother,Cleo,Bea
mother,Bea,Ann
father,Dan,Bea
brother,Ann,Eli
"""
RULES = """# a family
mother(X,Z), mother(Z,Y) -> grandmother(X,Y)
father(X,Z), mother(Z,Y) -> grandfather(X,Y)

mother(X,Y) -> parent(X,Y)
mother(X,Y) -> female(X)
"""
EXAMPLES = "question,role,relation,subject,object\n" + "".join(
    f"{n},fact,{first},a{n},b{n}\n{n},fact,{second},b{n},c{n}\n{n},answer,{last},a{n},c{n}\n"
    for n, (first, second, last) in enumerate(
        [("mother", "mother", "grandmother"), ("father", "mother", "grandfather")] * 3
    )
)
LATIN = ["1234341221434321", "1234341223414123", "1243342121344312"]


@pytest.fixture
def family(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in (("facts.csv", FACTS), ("rules.txt", RULES), ("examples.csv", EXAMPLES)):
        (tmp_path / name).write_text(text)
    return tmp_path


def asked(capsys, *arguments: str) -> dict:
    assert run(["think", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys, status: int, *arguments: str) -> str:
    assert run(["think", *arguments]) == status, capsys.readouterr()
    said = capsys.readouterr().err
    assert "isinglass: unexpected" not in said
    return " ".join(said.split())


def test_an_answer_has_energy_and_derivation(family, capsys):
    question = ["facts.csv", "--rules", "rules.txt", "--query", "grandmother,?,Ann"]
    assert run(["think", *question, "--draw", "why.svg"]) == 0
    said = capsys.readouterr().out
    assert "grandmother(?,Ann)  sure" in said
    assert "grandmother(Cleo,Ann)  sure, energy 0.000, share 1.000" in said
    assert "by mother(X,Z), mother(Z,Y) -> grandmother(X,Y)" in said
    assert said.count("given") == 2
    drawn = ElementTree.parse(family / "why.svg").getroot()  # noqa: S314
    texts = [element.text for element in drawn.iter() if element.tag.endswith("}text")]
    assert sorted(texts) == ["grandmother(Cleo,Ann)", "mother(Bea,Ann)", "mother(Cleo,Bea)"]
    assert "exists already" in refused(capsys, 1, *question, "--draw", "why.svg")
    (found,) = asked(capsys, *question, "--draw", "why.svg", "--force")["questions"]
    assert found["sure"] is True
    assert found["answers"][0]["derivation"][-1]["premises"] == [
        ["mother", "Cleo", "Bea"], ["mother", "Bea", "Ann"],
    ]  # fmt: skip


def test_without_a_question_all_that_follows_is_listed(family, capsys):
    found = asked(capsys, "facts.csv", "--rules", "rules.txt")
    follows = {tuple(each["proposition"]) for each in found["follows"]}
    assert follows == {
        ("grandmother", "Cleo", "Ann"), ("grandfather", "Dan", "Ann"), ("parent", "Cleo", "Bea"),
        ("parent", "Bea", "Ann"), ("female", "Cleo"), ("female", "Bea"),
    }  # fmt: skip
    assert all(each["sure"] and each["energy"] == 0 for each in found["follows"])
    assert run(["think", "facts.csv"]) == 0
    assert "Nothing follows" in capsys.readouterr().out


def test_two_conclusions_of_the_same_premises_are_both_sure(family, capsys):
    found = asked(capsys, "facts.csv", "--rules", "rules.txt", "--query", "?,Cleo,Bea")
    answers = {a["proposition"][0]: a["sure"] for a in found["questions"][0]["answers"]}
    assert answers == {"mother": True, "parent": True}


def test_unsure_is_said_and_is_no_failure(family, capsys):
    for question in ("grandmother,?,Eli", "grandmother(Dan,Ann)"):
        assert run(["think", "facts.csv", "--rules", "rules.txt", "--query", question]) == 0
        assert "unsure: nothing follows" in capsys.readouterr().out
    arguments = ["facts.csv", "--rules", "rules.txt", "--query", "grandmother,?,Ann"]
    (found,) = asked(capsys, *arguments, "--budget", "0", "--draw", "why.svg")["questions"]
    assert (found["sure"], found["answers"], found["thoughts"]) == (False, [], 0)
    assert not (family / "why.svg").exists()
    (found,) = asked(capsys, *arguments, "--budget", "3")["questions"]
    assert found["sure"] is True


def test_a_spent_budget_is_not_nothing(family, capsys):
    arguments = ["facts.csv", "--rules", "rules.txt", "--query", "grandmother,Cleo,?"]
    assert run(["think", *arguments, "--budget", "0"]) == 0
    assert "unsure: the budget is spent" in capsys.readouterr().out
    assert run(["think", *arguments, "--budget", "1"]) == 0
    assert "  sure" in capsys.readouterr().out


def test_rules_have_three_forms(family, capsys):
    forms = {
        "raw.csv": "rule\nmother(X,Z), mother(Z,Y) -> grandmother(X,Y)\n",
        "quoted.csv": 'rule,count\n"mother(X,Z), mother(Z,Y) -> grandmother(X,Y)",inf\n',
        "three.csv": "first,second,conclusion\nmother,mother,grandmother\n",
    }
    for name, text in forms.items():
        (family / name).write_text(text)
        found = asked(capsys, "facts.csv", "--rules", name, "--query", "grandmother,Cleo,?")
        assert found["questions"][0]["answers"][0]["proposition"][2] == "Ann"
        assert found["questions"][0]["answers"][0]["energy"] == 0
    (family / "weighed.csv").write_text(
        'rule,count\n"mother(X,Z), mother(Z,Y) -> grandmother(X,Y)",3\n'
        '"mother(X,Z), mother(Z,Y) -> aunt(X,Y)",1\n'
    )
    found = asked(capsys, "facts.csv", "--rules", "weighed.csv", "--query", "?,Cleo,Ann")
    first, second = found["questions"][0]["answers"]
    assert math.isclose(first["energy"], -math.log(3 / 4.5))
    assert math.isclose(first["share"], 0.75)
    assert not first["sure"]
    assert not second["sure"]


def test_rules_are_learned_saved_and_read_again(family, capsys):
    found = asked(capsys, "--learn", "examples.csv", "--save-rules", "learned.csv")
    assert [rule["rule"] for rule in found["learned"]] == [
        "father(X,Z), mother(Z,Y) -> grandfather(X,Y)",
        "mother(X,Z), mother(Z,Y) -> grandmother(X,Y)",
    ]
    assert found["examples"] == {"right": 6, "unsure": 0, "wrong": 0}
    question = ["--query", "grandmother,?,Ann"]
    learned = asked(capsys, "facts.csv", "--learn", "examples.csv", *question)
    again = asked(capsys, "facts.csv", "--rules", "learned.csv", *question)
    assert again["questions"] == learned["questions"]
    assert again["questions"][0]["sure"] is True
    (family / "more.txt").write_text("grandmother(X,Y) -> old(X)\n")
    both = asked(capsys, "facts.csv", "--learn", "examples.csv", "--rules", "more.txt",
                 "--query", "old,?")  # fmt: skip
    assert both["questions"][0]["answers"][0]["proposition"] == ["old", "Cleo"]


def test_contradictory_facts_are_shown_and_answers_that_rest_on_them_unsure(family, capsys):
    (family / "odd.csv").write_text(FACTS + "father,Cleo,Bea\nparent,Dan,Ann\n")
    arguments = ["odd.csv", "--rules", "rules.txt", "--exclusive", "mother,father"]
    found = asked(capsys, *arguments, "--query", "grandmother,?,Ann", "--query", "parent,Dan,?")
    (clash,) = found["contradictions"]
    assert sorted(clash["given"]) == [["father", "Cleo", "Bea"], ["mother", "Cleo", "Bea"]]
    assert [question["sure"] for question in found["questions"]] == [False, True]
    assert run(["think", *arguments]) == 0
    said = capsys.readouterr().out
    assert "contradict each other, the fewest that do: father(Cleo,Bea), mother(Cleo,Bea)" in said
    assert "rests on facts that contradict" in said


def test_names_with_commas_are_asked_in_quotes(family, capsys):
    (family / "facts.csv").write_text(FACTS + 'mother,Ann,"Fay, Jr (1)"\n')
    for question in (
        'mother,?,"Fay, Jr (1)"',
        'mother(?,"Fay, Jr (1)")',
        'grandmother( Bea, "Fay, Jr (1)" )',
        "mother,Ann,?",
    ):
        (found,) = asked(capsys, "facts.csv", "--rules", "rules.txt", "--query", question)[
            "questions"
        ]
        assert found["answers"][0]["proposition"][2] == "Fay, Jr (1)"
    said = refused(capsys, 2, "facts.csv", "--query", "mother,Ann,Fay, Jr (1)")
    assert "quote a name with commas" in said


def test_no_file_that_is_read_is_written(family, capsys):
    (family / "rules.csv").write_text("rule\nmother(X,Y) -> parent(X,Y)\n")
    before = {path.name: path.read_text() for path in family.iterdir()}
    for arguments in (
        ["--learn", "examples.csv", "--save-rules", "examples.csv"],
        ["facts.csv", "--learn", "examples.csv", "--save-rules", "./facts.csv"],
        [
            "facts.csv",
            "--rules",
            "rules.csv",
            "--learn",
            "examples.csv",
            "--save-rules",
            "rules.csv",
        ],
    ):
        assert "too. Choose another path" in refused(capsys, 2, *arguments, "--force")
    assert {path.name: path.read_text() for path in family.iterdir()} == before


def test_confidence_is_obeyed(family, capsys):
    (family / "once.csv").write_text('rule,count\n"mother(X,Y) -> parent(X,Y)",1\n')
    arguments = ["facts.csv", "--rules", "once.csv", "--query", "parent,Cleo,?"]
    sure = {
        confidence: asked(capsys, *arguments, "--confidence", confidence)["questions"][0]["sure"]
        for confidence in ("0.5", "0.95", "0.99", "1")
    }
    assert sure == {"0.5": True, "0.95": True, "0.99": False, "1": False}


def test_contradictions_within_a_budget_are_those_of_python(family, capsys):
    (family / "odd.csv").write_text(FACTS + "father,Cleo,Bea\n")
    arguments = ["odd.csv", "--rules", "rules.txt", "--exclusive", "mother,father"]
    for budget in ([], ["--budget", "9"]):
        found = asked(capsys, *arguments, "--query", "mother,Cleo,?", *budget)
        assert found["questions"][0]["sure"] is False
        assert len(found["contradictions"]) == 1


def test_rules_that_lead_in_circles_end(family, capsys):
    (family / "circle.txt").write_text(
        "mother(X,Y) -> kin(X,Y)\nkin(X,Y) -> kin(Y,X)\nkin(X,Z), kin(Z,Y) -> kin(X,Y)\n"
    )
    found = asked(capsys, "facts.csv", "--rules", "circle.txt", "--query", "kin,Ann,?")
    kin = {answer["proposition"][2] for answer in found["questions"][0]["answers"]}
    assert kin == {"Bea", "Cleo"}
    (family / "idle.txt").write_text("mothr(X,Y) -> kin(X,Y)\nkin(X,Y) -> mothr(X,Y)\n")
    found = asked(capsys, "facts.csv", "--rules", "idle.txt", "--query", "kin,?,?")
    assert found["questions"][0]["answers"] == []


def test_a_premise_that_nothing_gives_is_named(family, capsys):
    (family / "slip.txt").write_text("mothr(X,Y) -> kin(X,Y)\n")
    (note,) = asked(capsys, "facts.csv", "--rules", "slip.txt")["notes"]
    assert "gives what rules ask for: mothr" in note


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("facts.csv", "", "no fact in it"),
        ("facts.csv", "relation,subject,object\n", "no fact in it"),
        ("facts.csv", "relation,subject,object\n\nmother,,Ann\n", "line 3: a proposition without"),
        ("facts.csv", FACTS + "mother,Ann,\n", "line 6: 'mother' of 1 arguments, of 2 in line 2"),
        ("facts.csv", "who,whom\na,b\n", "line 1: the columns who, whom"),
        ("facts.csv", FACTS + "mother,a,b,c\n", "line 6: 4 cells for 3 columns"),
        ("facts.csv", FACTS + 'mother,"a,b\n', "line 6: "),
        ("facts.csv", FACTS + "mother,?,Ann\n", "line 6: the fact mother,?,Ann, where ?"),
        ("rules.txt", "# none\n", "no rule in it"),
        ("rules.txt", "mother(X,Y) -> parent(X,Y)\nmother parent\n", "line 2: the rule 'mother"),
        ("rules.txt", "a(X,Y), b(Y,Z), c(Z,W) -> d(X,W)\n", "line 1"),
        ("rules.txt", "mother(X) -> parent(X)\n", "'mother' of 1 arguments, of 2 in facts.csv"),
        ("rules.csv", "first,second,conclusion\nmother,,son\n", "line 2: a rule without second"),
        ("rules.csv", 'rule,count\n"a(X,Y) -> b(X,Y)",0\n', "line 2: the count '0'"),
        ("rules.csv", "rule,count\na(X,Y), b(X,Y) -> c(X,Y),1\n", "in quotes"),
        ("rules.csv", 'rule,count\n"a(X,Y) -> b(X,Y)",\n', "line 2: a rule without count"),
        ("rules.csv", 'rule,count\n"a(X,Y) -> b(X,Y)",1e308\n', "line 2: the count '1e308'"),
        ("rules.txt", "mother(Ann,Y) -> kin(Ann,Y)\n", "Ann in a rule for kin, and among"),
        ("examples.csv", "", "no question in it"),
        ("examples.csv", EXAMPLES + "9,maybe,mother,a,b\n", "line 20: question '9', role 'maybe'"),
        ("examples.csv", EXAMPLES + "9,fact,mother,a,b\n", "question '9' without an answer"),
        ("examples.csv", EXAMPLES + "9,answer,mother,a,b\n", "question '9' without facts"),
        ("examples.csv", EXAMPLES + "0,answer,mother,a0,z\n", "line 20: an answer about z"),
        ("examples.csv", EXAMPLES + "0,fact,mother,a0,\n", "line 20: 'mother' of 1 arguments"),
    ],
)  # fmt: skip
def test_bad_files_are_named_with_their_line(family, capsys, name, text, said):
    (family / name).write_text(text)
    option = {"rules": ["--rules", name], "examples": ["--learn", name]}.get(name.split(".")[0], [])
    assert said in refused(capsys, 1, "facts.csv", *option)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to think about"),
        (["facts.csv", "--query", "grandmother,?,Ann"], "no fact and no rule speaks of 'grandm"),
        (["facts.csv", "--query", "mother,?,Anne"], "no fact speaks of 'Anne'. Known are Ann"),
        (["facts.csv", "--query", "mother,?"], "'mother' of 1 arguments. It takes 2"),
        (["facts.csv", "--query", "mother"], "Ask a relation and one thing or two"),
        (["facts.csv", "--query", "mother,,Ann"], "Ask a relation and one thing or two"),
        (["facts.csv", "--exclusive", "mother"], "Name two relations or more"),
        (["facts.csv", "--exclusive", "mother,uncle"], "--exclusive uncle, an unknown relation"),
        (["facts.csv", "--confidence", "2", "--query", "mother,?,?"], "--confidence 2"),
        (["facts.csv", "--budget", "9"], "--budget with no --query"),
        (["facts.csv", "--draw", "a.svg"], "--draw with no --query"),
        (["facts.csv", "--query", "mother,?,?", "--draw", "a.png"], "Name it a.svg"),
        (["facts.csv", "--query", "mother,?,?", "--query", "father,?,?", "--draw", "a.svg"],
         "--draw with 2 questions"),
        (["facts.csv", "--save-rules", "a.csv"], "--save-rules with no --learn"),
        (["facts.csv", "--seed", "1"], "--seed with no --learn"),
        (["--learn", "examples.csv", "--query", "mother,?,?"], "--query with no facts"),
        (["facts.csv", "--rules", "facts.dat"], "Give a .txt with a rule a line, or a .csv"),
        (["--puzzle", "p.txt", "--query", "a,b,c", "--rules", "r.txt"],
         "--rules, --query with --puzzle"),
        (["facts.csv", "--puzzle", "p.txt"], "facts with --puzzle"),
        (["--puzzle", "p.txt", "--learn", "s.txt", "--seed", "1"], "--seed with --puzzle and"),
    ],
)  # fmt: skip
def test_wrong_usage_is_refused_by_name(family, capsys, arguments, said):
    assert said in refused(capsys, 2, *arguments)
    assert {path.name for path in family.iterdir()} == {"facts.csv", "rules.txt", "examples.csv"}


def test_made_boards_are_sudokus_and_teach_all_the_rules():
    boards = make_boards(9, MADE, seeded(0))
    digits = torch.arange(1, 10)
    blocks = boards.view(-1, 3, 3, 3, 3).transpose(2, 3).reshape(-1, 9, 9)
    for lines in (boards, boards.mT, blocks):
        assert torch.equal(lines.sort(-1).values, digits.expand_as(lines))
    network = ConstraintNetwork(729).fit(propositions(boards))
    # Each of 729 propositions excludes 8 digits of its cell and 20 cells for its digit.
    assert (len(network.pairs), len(network.groups)) == (729 * 28 // 2, 4 * 81)
    assert [block_of(side) for side in (4, 6, 8, 9)] == [(2, 2), (2, 3), (2, 4), (3, 3)]
    with pytest.raises(ParameterError, match="side 7"):
        block_of(7)


def test_small_puzzles_are_solved(family, capsys):
    (family / "four.txt").write_text("1 . | . .\n. . | . 4\n----+----\n. . | 2 .\n. 3 | . .\n")
    found = asked(capsys, "--puzzle", "four.txt", "--draw", "board.svg")
    (puzzle,) = found["puzzles"]
    assert (puzzle["status"], puzzle["solution"]) == ("sure", solved_four())
    assert (puzzle["energy"], puzzle["the only one"]) == (0, True)
    assert (found["exclusions"], found["groups"], found["seed"]) == (64 * 10 // 2, 64, 0)
    assert (family / "board.svg").read_text().startswith("<?xml")
    (family / "many.txt").write_text("1..............4\n1............1..\n11..............\n")
    assert run(["think", "--puzzle", "many.txt"]) == 0
    said = capsys.readouterr().out
    assert "sure, but not the only solution" in said
    assert "contradictory: row 1 column 1 is 1, row 1 column 2 is 1" in said
    (puzzle, *_) = asked(capsys, "--puzzle", "many.txt", "--budget", "0")["puzzles"]
    assert (puzzle["status"], puzzle["solution"]) == ("unsure", None)


def solved_four() -> str:
    """The only completion, by trying all boards."""
    boards = every_solution(small_sudoku(), 4).view(-1, 16, 4).int().argmax(-1) + 1
    given = torch.tensor([1, 0, 0, 0, 0, 0, 0, 4, 0, 0, 2, 0, 0, 3, 0, 0])
    (board,) = boards[((boards == given) | (given == 0)).all(1)].tolist()
    return "".join(map(str, board))


def test_too_few_solved_boards_are_said_and_contradict_nothing(family, capsys):
    (family / "solved.txt").write_text("\n".join(LATIN))
    (family / "four.txt").write_text("2..............3\n" + LATIN[0][:12] + "....\n")
    found = asked(capsys, "--puzzle", "four.txt", "--learn", "solved.txt")
    first, second = found["puzzles"]
    assert (first["status"], first["solution"], first["clash"]) == ("unsure", None, [])
    assert (second["solution"], second["the only one"]) == (LATIN[0], None)
    assert "true together in one board only" in found["notes"][0]


@pytest.mark.parametrize(
    ("text", "solved", "said"),
    [
        ("", False, "no board in it"),
        ("12345678901\n", False, "line 1: 11 cells"),
        ("1234\n12x4\n", False, "line 2: 'x' in a board of side 4"),
        ("1234341221434325", False, "'5' in a board of side 4"),
        ("1234\n3412\n", False, "a last board of 2 rows of 4"),
        ("1234\n12345\n", False, "line 2: a board of 1 rows of 4 before"),
        ("1234341221434321\n" + "." * 81, False, "boards of sides 4 and 9"),
        ("123434122143432.", True, "'.' in a solved board of side 4"),
        ("1234341221434320", True, "'0' in a solved board of side 4"),
    ],
)
def test_bad_boards_are_named_with_their_line(tmp_path, text, solved, said):
    (tmp_path / "boards.txt").write_text(text)
    with pytest.raises(FileError, match=said):
        read_boards(tmp_path / "boards.txt", solved=solved)


def test_boards_of_other_sides_need_solved_ones(family, capsys):
    (family / "five.txt").write_text("." * 25)
    assert "--learn solved.txt" in refused(capsys, 2, "--puzzle", "five.txt")
    (family / "solved.txt").write_text("\n".join(LATIN))
    said = refused(capsys, 1, "--puzzle", "five.txt", "--learn", "solved.txt")
    assert "solved boards of side 4, puzzles of side 5" in said
