"""Files and questions of ``isinglass think``: facts, rules, examples, each error with its line."""

from __future__ import annotations

import csv
import difflib
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from isinglass.errors import FileError, ParameterError
from isinglass.thinking import Mind, Rule, Vocabulary
from isinglass.thinking._csv import read_lines, read_text
from isinglass.thinking.mind import COLUMNS, read_propositions
from isinglass.thinking.rule_memory import MOST_USES
from isinglass.thinking.vocabulary import ANYTHING, Proposition

__all__ = [
    "Example",
    "Relations",
    "WeighedRule",
    "read_examples",
    "read_facts",
    "read_groups",
    "read_question",
    "read_rules",
]

WORDED, COMPOSED = ("rule",), ("first", "second", "conclusion")
#: Of rules that were learned: the count alone is read back, the others follow from it.
WEIGHTS = ("count", "probability", "log_odds")
FACT, ANSWER = "fact", "answer"
_CALLED = re.compile(r'\s*([^(),"]+?)\s*\((.*)\)\s*$', re.DOTALL)


@dataclass(frozen=True)
class WeighedRule:
    """A rule with what it counts for, infinity for certain, and its variables as written."""

    rule: Rule
    count: float
    names: frozenset[str]


@dataclass(frozen=True)
class Example:
    """A question with its answer: what is given, and what follows."""

    facts: tuple[Proposition, ...]
    answer: Proposition


@dataclass
class Relations:
    """The relations that files speak of, with their numbers of arguments and where each was met."""

    arities: dict[str, int] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)

    def add(self, path: Path, propositions: Iterable[Sequence[str]]) -> None:
        """Adds those of some propositions.

        Raises:
            FileError: If one has another number of arguments than before.
        """
        for relation, *arguments in propositions:
            known = self.arities.setdefault(relation, len(arguments))
            place = self.places.setdefault(relation, str(path))
            if known != len(arguments):
                raise FileError(
                    f"{relation!r} of {len(arguments)} arguments, of {known} in {place}",
                    "Fill the gap, or give each relation one number of arguments",
                    f"reading {path}",
                )

    def vocabulary(self, exclusive: Sequence[Sequence[str]] = ()) -> Vocabulary:
        """Returns them in alphabetical order; ``=Rome`` stands for the entity Rome."""
        named = sorted(name[1:] for name in self.arities if name.startswith("="))
        plain = {name: n for name, n in sorted(self.arities.items()) if not name.startswith("=")}
        for name in (name for group in exclusive for name in group):
            if name not in plain:
                raise ParameterError(f"--exclusive {name}, an unknown relation", _near(name, plain))
        return Vocabulary(plain, named, exclusive)


def read_facts(path: Path) -> list[Proposition]:
    """Reads what is given.

    Raises:
        FileError: If the file cannot be read, has a gap or no fact.
    """
    facts = read_propositions(path)
    if not facts:
        raise FileError("no fact in it", "Give one or more, a line each", f"reading {path}")
    return facts


def read_rules(path: Path) -> list[WeighedRule]:
    """Reads rules, one a line, from a text or a table.

    Raises:
        ParameterError: If the file is neither .txt nor .csv by its name.
        FileError: If it cannot be read, has no rule or a line that is none; the line is named.
    """
    suffix = path.suffix.lower()
    if suffix not in (".txt", ".csv"):
        raise ParameterError(f"--rules {path}", "Give a .txt with a rule a line, or a .csv")
    text = read_text(path).splitlines()
    filled = [line.strip() for line in text if line.strip()]
    if suffix == ".csv" and not (filled and filled[0].strip('"').lower() == "rule"):
        found = [
            (number, line.get("rule"), line)
            for number, line in read_lines(path, [WORDED, COMPOSED], WEIGHTS)
        ]
    else:  # a column of rules alone, whose commas need no quotes
        lines = [(number, line.strip().strip('"')) for number, line in enumerate(text, 1)]
        lines = [(n, line) for n, line in lines if line and not line.startswith("#")]
        found = [(n, line, {}) for n, line in lines[suffix == ".csv" :]]
    rules = [_rule(path, number, words, line) for number, words, line in found]
    if not rules:
        raise FileError("no rule in it", "Give one or more, a line each", f"reading {path}")
    return rules


def _rule(path: Path, number: int, words: str | None, line: dict[str, str]) -> WeighedRule:
    what = f"reading {path}"
    if words is None and not all(line[name] for name in COMPOSED):
        missing = next(name for name in COMPOSED if not line[name])
        raise FileError(f"line {number}: a rule without {missing}", "Fill the gap", what)
    try:
        composed = words is None
        rule = Rule.compose(*(line[c] for c in COMPOSED)) if composed else Rule.parse(words)
    except ParameterError as error:
        raise FileError(f"line {number}: {error.found}", error.remedy, what) from error
    cell = line.get("count", "inf")
    if not cell:
        said = f"line {number}: a rule without count"
        raise FileError(said, "Fill the gap, with inf where it is certain", what)
    try:
        count = float(cell)
    except ValueError:
        count = math.nan
    if not (0 < count <= MOST_USES or count == math.inf):
        remedy = f"Give a number above zero, of at most {MOST_USES:.0e}, or inf"
        raise FileError(f"line {number}: the count {cell!r}", remedy, what)
    sides = (words or "").replace("→", "->").split("->")
    names = {name for side in sides for atom in Rule.atoms(side) for name in atom[1:]}
    return WeighedRule(rule, count, frozenset(names))


def read_examples(path: Path, relations: Relations) -> list[Example]:
    """Reads questions with answers, one example for each answer.

    Args:
        path: A table with the columns question, role, relation, subject, object.
        relations: Where the relations are added.

    Raises:
        FileError: If the file cannot be read, has a gap, or a question lacks facts or an answer.
    """
    what, head = f"reading {path}", ("question", "role")
    facts: dict[str, list[Proposition]] = {}
    answers: dict[str, list[tuple[int, Proposition]]] = {}
    for number, line in read_lines(path, [(*head, *COLUMNS), (*head, *COLUMNS[:2])]):
        question, role = line["question"], line["role"].lower()
        proposition = tuple(line.get(name, "") for name in COLUMNS)
        if not question or role not in (FACT, ANSWER) or not all(proposition[:2]):
            raise FileError(
                f"line {number}: question {question!r}, role {role!r}, {','.join(proposition)}",
                "Give each line a question, the role fact or answer, a relation and a subject",
                what,
            )
        proposition = proposition if proposition[2] else proposition[:2]
        try:
            relations.add(path, [proposition])
        except FileError as error:
            raise FileError(f"line {number}: {error.found}", error.remedy, what) from error
        facts.setdefault(question, [])
        answers.setdefault(question, [])
        if role == FACT:
            facts[question].append(proposition)
        else:
            answers[question].append((number, proposition))
    if not facts:
        raise FileError("no question in it", "Give some, each with facts and an answer", what)
    for question, found in answers.items():
        if not found or not facts[question]:
            missing = "an answer" if facts[question] else "facts"
            raise FileError(
                f"the question {question!r} without {missing}", "Give it, or leave it out", what
            )
        spoken = {name for fact in facts[question] for name in fact[1:]}
        for number, answer in found:
            if not spoken.issuperset(answer[1:]):
                raise FileError(
                    f"line {number}: an answer about {', '.join(set(answer[1:]) - spoken)}",
                    "Answer about what the facts of the question speak of",
                    what,
                )
    return [Example(tuple(facts[name]), answer) for name in facts for _, answer in answers[name]]


def read_groups(texts: Sequence[str]) -> list[tuple[str, ...]]:
    """Reads relations that exclude each other, as ``mother,father``.

    Raises:
        ParameterError: If a group has no two names.
    """
    groups = [tuple(_cells(text)) for text in texts]
    for text, group in zip(texts, groups, strict=True):
        if len(set(group)) < 2 or not all(group):
            raise ParameterError(f"--exclusive {text}", "Name two relations or more: mother,father")
    return groups


def read_question(text: str, mind: Mind) -> Proposition:
    """Reads a question, as ``grandmother,?,Ann`` or ``grandmother(?,Ann)``.

    Raises:
        ParameterError: If it is none, or asks for a relation or of an entity that is unknown.
    """
    called = _CALLED.match(
        text
    )  # a name in front of parentheses, none of which is a cell by itself
    question = (called[1], *_cells(called[2])) if called else tuple(_cells(text))
    if len(question) not in (2, 3) or not all(question):
        raise ParameterError(
            f"--query {text}",
            'Ask a relation and one thing or two: "grandmother,?,Ann"; quote a name with commas: '
            "'grandmother,?,\"Ann, Jr\"'",
        )
    relation, *things = question
    plain = [name for name in mind.vocabulary.relations if not name.startswith("=")]
    if relation != ANYTHING:
        if relation not in plain:
            found = f"--query {text}: no fact and no rule speaks of {relation!r}"
            raise ParameterError(found, _near(relation, plain))
        arity = mind.vocabulary.arity(relation)
        if arity != len(things):
            raise ParameterError(
                f"--query {text}: {relation!r} of {len(things)} arguments", f"It takes {arity}"
            )
    for thing in things:
        if thing not in (ANYTHING, *mind.names[0]):
            raise ParameterError(
                f"--query {text}: no fact speaks of {thing!r}", _near(thing, mind.names[0])
            )
    return question


def _cells(text: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([text], skipinitialspace=True), [])]


def _near(name: str, known: Iterable[str]) -> str:
    known = list(known)
    shown = difflib.get_close_matches(name, known, 8) or known[:8]
    return f"Known are {', '.join(shown)}{', …' if len(shown) < len(known) else ''}"
