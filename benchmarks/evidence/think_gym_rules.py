"""Families of reasoning-gym (PyPI) that speak of facts and rules, translated and thought about.

A family only translates: the text of an instance into facts and a question, the rules that hold of
all its instances, and what was derived back into the text of an answer. One ``Thinker`` answers all
of them. Scores are reasoning-gym's own. What is answered by no derivation, and does not follow from
that either, is unsure. Needs ``pip install -c constraints.txt -e '.[peers]'``.

Tried, and not here: ``propositional_logic`` asks for anything that follows, and repeating a premise
scores full; ``knights_knaves`` asks to assume and to retract, which is what puzzles are for;
``aiw``, ``largest_island`` and ``rotten_oranges`` ask to count.
"""

from __future__ import annotations

import argparse
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import reasoning_gym  # pyright: ignore[reportMissingImports]
import torch
from reasoning_gym.graphs.family_relationships import (  # pyright: ignore[reportMissingImports]
    FamilyRelationshipsConfig,
    Relationship,
)
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.evidence.cache import Cache
from isinglass.thinking import Mind, Reply, RuleMemory, Thinker, Vocabulary
from isinglass.thinking.vocabulary import Proposition

TRAINING_SEED = 10_000  # other instances than those of the test
EXAMPLES = 2000
BATCH = 20


class Family(ABC):
    """A kind of question, told in facts and rules."""

    #: Relations with their numbers of arguments.
    relations: ClassVar[dict[str, int]]

    @abstractmethod
    def rules(self) -> list[str]:
        """What holds of every instance."""

    @abstractmethod
    def translate(self, entry: dict[str, Any]) -> tuple[list[Proposition], Proposition]:
        """Facts of an instance and the question."""

    @abstractmethod
    def answer(self, entry: dict[str, Any], reply: Reply) -> str | None:
        """The text of an answer; None is unsure."""


class Kinship(Family):
    """Relatives, from marriages and children; gender is told by the first names."""

    words = tuple(str(word.value) for word in Relationship)
    relations: ClassVar = {
        **dict.fromkeys(("male", "female"), 1),
        **dict.fromkeys(("spouse", "parent", "sibling", "grandparent", "pibling", "in-law"), 2),
        **dict.fromkeys(words, 2),
    }

    def rules(self) -> list[str]:
        """Returns sixteen words for eight relations, told apart by gender.

        A niece or an in-law is named by the gender of the second person, as reasoning-gym does.
        """
        found = [
            "spouse(Y,X) -> spouse(X,Y)",
            "parent(Z,X), parent(Z,Y) -> sibling(X,Y)",
            "parent(X,Z), parent(Z,Y) -> grandparent(X,Y)",
            "sibling(X,Z), parent(Z,Y) -> pibling(X,Y)",
            "spouse(X,Z), parent(Y,Z) -> in-law(X,Y)",
        ]
        for premise, gendered, female, male in (
            ("parent(X,Y)", "X", "mother", "father"),
            ("parent(Y,X)", "X", "daughter", "son"),
            ("spouse(X,Y)", "X", "wife", "husband"),
            ("sibling(X,Y)", "X", "sister", "brother"),
            ("grandparent(X,Y)", "X", "grandmother", "grandfather"),
            ("pibling(X,Y)", "X", "aunt", "uncle"),
            ("pibling(Y,X)", "Y", "niece", "nephew"),
            ("in-law(X,Y)", "Y", "mother-in-law", "father-in-law"),
        ):
            found.append(f"{premise}, female({gendered}) -> {female}(X,Y)")
            found.append(f"{premise}, male({gendered}) -> {male}(X,Y)")
        return found

    def translate(self, entry: dict[str, Any]) -> tuple[list[Proposition], Proposition]:
        """Reads who is married and whose child is whose."""
        story, question = entry["question"].split("\n\n")
        facts: list[Proposition] = []
        for first, second, children in re.findall(
            r"(\w+) is married to (\w+)\.(?: They have (?:a child|children) called ([^.]+)\.)?",
            story,
        ):
            facts.append(("spouse", first, second))
            for child in re.findall(r"\w+", children.replace(" and ", ", ")):
                facts += [("parent", first, child), ("parent", second, child)]
        women = set(FamilyRelationshipsConfig().female_names)
        for name in sorted({name for fact in facts for name in fact[1:]}):
            facts.append(("female" if name in women else "male", name))
        [(first, second)] = re.findall(r"(\w+) (?:related )?to (\w+)[?]", question)
        return facts, ("?", first, second)

    def answer(self, entry: dict[str, Any], reply: Reply) -> str | None:
        """Returns the best relation that has a word."""
        named = (answer.proposition[0] for answer in reply.answers)
        return next((word for word in named if word in self.words), None)


class Syllogism(Family):
    """Does it follow? The rules are those of solved examples that say yes."""

    relations: ClassVar = dict.fromkeys(("all", "no", "some", "some not"), 2)

    def rules(self) -> list[str]:
        """Returns what followed in the examples, from the premises that speak of its terms."""
        found = set()
        for entry in _entries("syllogism", {}, EXAMPLES, TRAINING_SEED):
            facts, (word, subject, predicate) = self.translate(entry)
            if entry["answer"] == "Yes":
                own = [fact for fact in facts if {subject, predicate} == set(fact[1:])]
                said = own or facts
                names = {subject: "X", predicate: "Y"}
                body = ", ".join(
                    f"{fact[0]}({','.join(names.get(term, 'Z') for term in fact[1:])})"
                    for fact in said
                )
                found.add(f"{body} -> {word}(X,Y)")
        return sorted(found)

    def translate(self, entry: dict[str, Any]) -> tuple[list[Proposition], Proposition]:
        """Reads two premises and what is asked."""
        said = [
            (f"{word.lower()}{' not' if negated else ''}", subject, predicate)
            for word, subject, negated, predicate in re.findall(
                r"(All|No|Some) (\w+) are (not )?(\w+)", entry["question"]
            )
        ]
        return said[:2], said[2]

    def answer(self, entry: dict[str, Any], reply: Reply) -> str | None:
        """Returns whether it was derived."""
        return "Yes" if reply.answers else "No"


class Courses(Family):
    """Can all courses be taken? Not if one comes before itself."""

    relations: ClassVar = {"needs": 2, "after": 2, "circular": 1}

    def rules(self) -> list[str]:
        """Returns the closure, and what is circular."""
        return [
            "needs(X,Y) -> after(X,Y)",
            "after(X,Z), needs(Z,Y) -> after(X,Y)",
            "after(X,Y), needs(Y,X) -> circular(X)",
        ]

    def translate(self, entry: dict[str, Any]) -> tuple[list[Proposition], Proposition]:
        """Reads the pairs."""
        pairs = re.findall(r"\((\d+), (\d+)\)", entry["question"])
        return [("needs", course, other) for course, other in pairs], ("circular", "?")

    def answer(self, entry: dict[str, Any], reply: Reply) -> str | None:
        """Returns whether nothing is circular."""
        return str(not reply.answers)


class Paths(Family):
    """Where one can be, a step after another; the best derivation is the shortest way."""

    steps: tuple[str, ...]

    def rules(self) -> list[str]:
        """Returns a rule for each kind of step, all of the same energy."""
        return ["start(X) -> at(X)", *(f"at(Z), {step}(Z,Y) -> at(Y)" for step in self.steps)]

    def way(self, reply: Reply) -> list[Proposition] | None:
        """The steps of the best derivation, first to last; None if there is none."""
        if not reply.answers:
            return None
        nodes = [node.proposition for _, node in reply.answers[0].proof.walk() if not node.premises]
        leaves = {step[1]: step for step in nodes if len(step) == 3}
        here = next(step[1] for step in nodes if step[0] == "start")
        way = []
        while here in leaves:
            way.append(leaves[here])
            here = way[-1][2]
        return way


class Grid(Paths):
    """The shortest way through a grid."""

    steps = ("right", "down", "left", "up")
    relations: ClassVar = {"start": 1, "at": 1, **dict.fromkeys(steps, 2)}

    def translate(self, entry: dict[str, Any]) -> tuple[list[Proposition], Proposition]:
        """Reads the open cells and which lie side by side."""
        grid = entry["question"].split("following grid:\n")[1].strip().split("\n")
        cells = {
            (r, c): mark
            for r, row in enumerate(grid)
            for c, mark in enumerate(row.split())
            if mark != "X"
        }
        names = {place: f"{place[0]},{place[1]}" for place in cells}
        facts: list[Proposition] = []
        for (r, c), mark in cells.items():
            if mark == "*":
                facts.append(("start", names[r, c]))
            for step, near in zip(
                self.steps, ((r, c + 1), (r + 1, c), (r, c - 1), (r - 1, c)), strict=True
            ):
                if near in cells:
                    facts.append((step, names[r, c], names[near]))
        goal = next(names[place] for place, mark in cells.items() if mark == "#")
        # A cell that nothing leads to is spoken of all the same.
        return [*facts, ("left", goal, goal)], ("at", goal)

    def answer(self, entry: dict[str, Any], reply: Reply) -> str | None:
        """Returns the directions."""
        way = self.way(reply)
        return "infeasible" if way is None else " ".join(step[0] for step in way)


class Star(Paths):
    """The way from the middle of a star to the end of a ray."""

    steps = ("edge",)
    relations: ClassVar = {"start": 1, "at": 1, "edge": 2}

    def translate(self, entry: dict[str, Any]) -> tuple[list[Proposition], Proposition]:
        """Reads the edges, start and goal."""
        task = entry["question"].split("following task:\n")[1]
        edges, ends = task.rsplit("/", 1)
        start, goal = re.findall(r"\d+", ends)
        facts: list[Proposition] = [("edge", a, b) for a, b in re.findall(r"(\d+) (\d+)", edges)]
        return [*facts, ("start", start)], ("at", goal)

    def answer(self, entry: dict[str, Any], reply: Reply) -> str | None:
        """Returns the nodes."""
        way = self.way(reply)
        return None if way is None else " ".join([way[0][1], *(step[2] for step in way)])


#: Families with settings of reasoning-gym: its own, and harder ones.
FAMILIES: dict[str, tuple[Family, dict[str, Any]]] = {
    "family_relationships": (Kinship(), {}),
    "family_relationships, 12 people": (
        Kinship(), {"min_family_size": 12, "max_family_size": 15}
    ),
    "syllogism": (Syllogism(), {}),
    "course_schedule": (Courses(), {}),
    "course_schedule, 25 courses": (
        Courses(), {"min_num_courses": 20, "max_num_courses": 25, "max_num_prerequisites": 3}
    ),
    "shortest_path": (Grid(), {}),
    "shortest_path, 15 by 15": (
        Grid(), {"min_rows": 15, "max_rows": 15, "min_cols": 15, "max_cols": 15, "p_blocked": 0.3}
    ),
    "path_star": (Star(), {}),
    "path_star, 5 rays of 7": (
        Star(), {"degree": 5, "min_path_length": 7, "max_path_length": 7}
    ),
}  # fmt: skip


def measure(name: str, size: int, seed: int) -> dict[str, Any]:
    """Answers instances of a family; right is a full score."""
    family, settings = FAMILIES[name]
    vocabulary = Vocabulary(family.relations)
    thinker = Thinker(RuleMemory(vocabulary, family.rules()))
    counts = {"right": 0, "unsure": 0, "wrong": 0}
    begin = time.perf_counter()
    for entry, reply in _replies(family, thinker, vocabulary, name, settings, size, seed):
        text = family.answer(entry, reply)
        dataset = entry["dataset"]
        right = text is not None and dataset.score_answer(text, entry) == 1
        counts["unsure" if text is None else "right" if right else "wrong"] += 1
    return counts | {"seconds": time.perf_counter() - begin, "rules": len(thinker.rules)}


def _replies(
    family: Family,
    thinker: Thinker,
    vocabulary: Vocabulary,
    name: str,
    settings: dict[str, Any],
    size: int,
    seed: int,
) -> Iterator[tuple[dict[str, Any], Reply]]:
    entries = _entries(name.split(", ")[0], settings, size, seed)
    for begin in range(0, size, BATCH):
        part = entries[begin : begin + BATCH]
        facts, queries = zip(*(family.translate(entry) for entry in part), strict=True)
        mind = Mind.from_batches(facts, vocabulary)
        replies = thinker.think(mind, list(queries))
        yield from zip(part, replies if isinstance(replies, list) else [replies], strict=True)


def _entries(name: str, settings: dict[str, Any], size: int, seed: int) -> list[dict[str, Any]]:
    dataset = reasoning_gym.create_dataset(name, size=size, seed=seed * TRAINING_SEED, **settings)
    return [entry | {"dataset": dataset} for entry in dataset]


def main() -> None:
    """Parse the command line, compute what is missing, print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.evidence.think_gym_rules",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=Path("evidence"), help="folder for the JSON")
    parser.add_argument("--size", type=int, default=200, help="instances a family and seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds, from 0")
    parser.add_argument("--quick", action="store_true", help="20 instances")
    given = parser.parse_args()
    size = 20 if given.quick else given.size
    torch.set_num_threads(1)
    cache = Cache(given.out / "think_gym_rules.json")
    table = Table(title=f"reasoning-gym, {size} instances, {given.seeds} seeds")
    for column in ("family", "rules", "right", "unsure", "wrong", "ms a question"):
        table.add_column(column, justify="left" if column == "family" else "right")
    with Progress() as progress:
        task = progress.add_task("", total=len(FAMILIES) * given.seeds)
        for name in FAMILIES:
            runs = []
            for seed in range(given.seeds):
                progress.update(task, description=f"{name}, seed {seed}")
                key = f"{name}, {size}, {seed}"
                runs.append(cache.get(key, partial(measure, name, size, seed)))
                progress.advance(task)
            sums = [sum(run[what] for run in runs) for what in ("right", "unsure", "wrong")]
            pace = 1000 * sum(run["seconds"] for run in runs) / (size * given.seeds)
            table.add_row(name, str(runs[0]["rules"]), *map(str, sums), f"{pace:.1f}")
    Console().print(table)
    print(f"written to {cache.path}")


if __name__ == "__main__":
    main()
