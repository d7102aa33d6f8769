"""Families of puzzles of reasoning-gym (PyPI), translated into propositions and thought of.

A family gives three things: solved examples, from which a network learns; of an instance, what is
given and which pairs it excludes beside; and the text of an answer. Learning, guessing and what is
sure are the same classes for all. Scores are reasoning-gym's own. Needs
``pip install -c constraints.txt -e '.[peers]'``.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import reasoning_gym  # pyright: ignore[reportMissingImports]
import torch
from reasoning_gym.logic.contrib.logic_puzzle.literals import (  # pyright: ignore[reportMissingImports]
    Literal,
)
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor

from benchmarks.evidence.cache import Cache
from benchmarks.evidence.sudoku_grids import full_grid
from isinglass.thinking import ConstraintNetwork, PuzzleThinker

Pairs = list[tuple[int, int]]
EXAMPLES, TRAINING_SEED = 1200, 10_000  # solved examples; other instances than those of the test


class Family(ABC):
    """A kind of puzzle, told in propositions."""

    def kind(self, entry: dict[str, Any]) -> Any:
        """What tells networks apart, such as the size of a board."""
        return None

    @abstractmethod
    def examples(self, kind: Any, draw: random.Random) -> Tensor:
        """Solved examples, from which the network learns, ``(m, size)``."""

    @abstractmethod
    def translate(self, entry: dict[str, Any]) -> tuple[list[int], Pairs]:
        """True propositions of an instance, and pairs that it excludes."""

    @abstractmethod
    def answer(self, entry: dict[str, Any], truths: list[int]) -> str:
        """The text of an answer: ``truths`` are the true propositions, ascending."""


class Grid(Family):
    """Digits in a grid: Sudoku, Futoshiki."""

    def __init__(self, blocks: bool) -> None:
        self.blocks = blocks

    def kind(self, entry: dict[str, Any]) -> int:
        """The side of the board."""
        return len(entry["metadata"]["puzzle"])

    def examples(self, kind: int, draw: random.Random) -> Tensor:
        """Random full boards."""
        high = round(kind**0.5) if self.blocks else 1
        grids = torch.tensor([full_grid(draw, kind, (high, kind // high)) for _ in range(EXAMPLES)])
        return torch.nn.functional.one_hot(grids - 1, kind).flatten(1)

    def translate(self, entry: dict[str, Any]) -> tuple[list[int], Pairs]:
        """Known digits; inequalities exclude pairs of digits of two cells."""
        board = entry["metadata"]["puzzle"]
        side = len(board)
        cells = [digit for row in board for digit in row]
        known = [cell * side + digit - 1 for cell, digit in enumerate(cells) if digit]
        pairs = [
            ((r * side + c) * side + a, (p * side + q) * side + b)
            for r, c, p, q, sign in entry["metadata"].get("constraints", [])
            for a in range(side)
            for b in range(side)
            if not (a < b if sign == "<" else a > b)
        ]
        return known, pairs

    def answer(self, entry: dict[str, Any], truths: list[int]) -> str:
        """The full board, a row a line."""
        side = self.kind(entry)
        digits = [str(unit % side + 1) for unit in truths]
        return "\n".join(" ".join(digits[at : at + side]) for at in range(0, side**2, side))


class Queens(Family):
    """Queens that do not attack each other; learned from answers to other instances."""

    def kind(self, entry: dict[str, Any]) -> int:
        """The side of the board."""
        return len(entry["metadata"]["puzzle"])

    def examples(self, kind: int, draw: random.Random) -> Tensor:
        """All the boards named as answers to a few hundred other instances."""
        seed = TRAINING_SEED + draw.randrange(TRAINING_SEED)
        others = reasoning_gym.create_dataset("n_queens", n=kind, size=300, seed=seed)
        boards = sorted({board for other in others for board in other["metadata"]["valid_answers"]})
        return torch.tensor([[int(cell == "Q") for cell in board.split()] for board in boards])

    def translate(self, entry: dict[str, Any]) -> tuple[list[int], Pairs]:
        """Queens that stand."""
        cells = [cell for row in entry["metadata"]["puzzle"] for cell in row]
        return [at for at, cell in enumerate(cells) if cell == "Q"], []

    def answer(self, entry: dict[str, Any], truths: list[int]) -> str:
        """The board with all queens."""
        side = self.kind(entry)
        cells = ["Q" if at in truths else "_" for at in range(side**2)]
        return "\n".join(" ".join(cells[at : at + side]) for at in range(0, side**2, side))


class Colors(Family):
    """Colors of the vertices of a graph; the edges are the instance's own exclusions."""

    def kind(self, entry: dict[str, Any]) -> tuple[int, int]:
        """Vertices and colors."""
        puzzle = entry["metadata"]["puzzle"]
        return len(puzzle["vertices"]), len(puzzle["color_options"])

    def examples(self, kind: tuple[int, int], draw: random.Random) -> Tensor:
        """Random colorings of no edges."""
        vertices, colors = kind
        rows = [[draw.randrange(colors) for _ in range(vertices)] for _ in range(EXAMPLES)]
        return torch.nn.functional.one_hot(torch.tensor(rows), colors).flatten(1)

    def translate(self, entry: dict[str, Any]) -> tuple[list[int], Pairs]:
        """Ends of an edge exclude the same color."""
        colors = self.kind(entry)[1]
        edges = entry["metadata"]["puzzle"]["edges"]
        return [], [(u * colors + c, v * colors + c) for u, v in edges for c in range(colors)]

    def answer(self, entry: dict[str, Any], truths: list[int]) -> str:
        """Vertices and their colors."""
        colors = self.kind(entry)[1]
        options = entry["metadata"]["puzzle"]["color_options"]
        return json.dumps({str(unit // colors): options[unit % colors] for unit in truths})


#: What a clue says of the houses i and j of its two values.
CLUES: dict[str, Callable[[int, int], bool]] = {
    "{} is directly left of {}.": lambda i, j: j == i + 1,
    "{} and {} are next to each other.": lambda i, j: abs(i - j) == 1,
    "{} is somewhere to the left of {}.": lambda i, j: i < j,
    "{} is somewhere to the right of {}.": lambda i, j: i > j,
    "there is one house between {} and {}.": lambda i, j: abs(i - j) == 2,
    "there are two houses between {} and {}.": lambda i, j: abs(i - j) == 3,
    "{} is {}.": lambda i, j: i == j,
}
ORDINALS = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh"]


class Zebra(Family):
    """Who lives where: a value of each characteristic in each house; clues exclude pairs."""

    def kind(self, entry: dict[str, Any]) -> tuple[int, int]:
        """Characteristics and houses."""
        values = self._values(entry)
        return len(values), len(values[0])

    def _values(self, entry: dict[str, Any]) -> list[list[Literal]]:
        """The values of each characteristic, names first, in the order of the text."""
        found = []
        for line in re.findall(r"^ - (.*)$", entry["question"], re.MULTILINE):
            head, names = line.split(":")
            named = [name.strip().replace(" ", "_") for name in names.split(",")]
            kinds = [
                kind
                for kind in Literal.__subclasses__()
                if kind.description().startswith(head) and set(named) <= set(kind.__members__)
            ]
            found.append([kinds[0][name] for name in named])
        return found

    def examples(self, kind: tuple[int, int], draw: random.Random) -> Tensor:
        """Random arrangements."""
        many, houses = kind
        rows = [
            [house for _ in range(many) for house in draw.sample(range(houses), houses)]
            for _ in range(EXAMPLES)
        ]
        return torch.nn.functional.one_hot(torch.tensor(rows), houses).flatten(1)

    def translate(self, entry: dict[str, Any]) -> tuple[list[int], Pairs]:
        """What a clue forbids; a place that is told forbids all others."""
        values = [value for part in self._values(entry) for value in part]
        houses = self.kind(entry)[1]
        place = {value.value.lower(): at * houses for at, value in enumerate(values)}
        phrase = "(" + "|".join(re.escape(p) for p in sorted(place, key=len, reverse=True)) + ")"
        pairs: Pairs = []
        for clue in re.findall(r"^\d+\. (.*)$", entry["question"], re.MULTILINE):
            text = clue.lower()
            told = re.fullmatch(rf"{phrase} is (not )?in the (\w+) house\.", text)
            if told:
                at, negated, house = place[told[1]], told[2], ORDINALS.index(told[3])
                pairs += [(at + h, at + h) for h in range(houses) if (h == house) == bool(negated)]
                continue
            one, other, fits = next(
                (place[match[1]], place[match[2]], fits)
                for template, fits in CLUES.items()
                for match in [re.fullmatch(re.escape(template).replace(r"\{\}", phrase), text)]
                if match
            )
            pairs += [
                (one + i, other + j)
                for i in range(houses) for j in range(houses) if not fits(i, j)
            ]  # fmt: skip
        return [], pairs

    def answer(self, entry: dict[str, Any], truths: list[int]) -> str:
        """The name in the house that is asked for."""
        houses = self.kind(entry)[1]
        house = int(re.findall(r"lives in House (\d)", entry["question"])[0]) - 1
        names = self._values(entry)[0]
        return next(names[at // houses].name for at in truths[:houses] if at % houses == house)


#: Every family that was tried, with settings of reasoning-gym: its own, and harder ones.
TRIED: dict[str, tuple[Family, list[dict[str, Any]]]] = {
    "mini_sudoku": (Grid(blocks=True), [{}]),
    "sudoku": (Grid(blocks=True), [{}, {"min_empty": 50, "max_empty": 55}]),
    "futoshiki": (Grid(blocks=False), [{}, {"min_board_size": 9, "min_difficulty": 3}]),
    "n_queens": (Queens(), [{}]),
    "graph_color": (
        Colors(),
        [{}, {"min_num_vertices": 20, "max_num_vertices": 20, "edge_probability": 0.2}],
    ),
    "zebra_puzzles": (Zebra(), [{}, {"num_people": 6, "num_characteristics": 6}]),
}


def measure(name: str, settings: dict[str, Any], size: int, seed: int) -> dict[str, Any]:
    """Right, unsure and wrong answers to new instances of a family."""
    family = TRIED[name][0]
    entries = list(reasoning_gym.create_dataset(name, size=size, seed=seed, **settings))
    scorer = reasoning_gym.create_dataset(name, size=1, seed=seed, **settings)
    by_kind: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for entry in entries:
        by_kind[family.kind(entry)].append(entry)
    counts, guesses, learning, thinking = defaultdict(int), [], 0.0, 0.0
    for kind, some in by_kind.items():
        begun = time.process_time()
        examples = family.examples(kind, random.Random(TRAINING_SEED + seed))
        network = ConstraintNetwork(examples.shape[1]).fit(examples)
        learned = time.process_time()
        told = [family.translate(entry) for entry in some]
        given = torch.zeros(len(some), network.size, dtype=torch.int64)
        for row, (known, _) in zip(given, told, strict=True):
            row[known] = 1
        thinker = PuzzleThinker(network)
        found = thinker.think(given, exclusions=[pairs for _, pairs in told])
        learning += learned - begun
        thinking += time.process_time() - learned
        guesses += found.guesses.tolist()
        for row, entry in enumerate(some):
            sure = bool(found.sure[row])
            text = family.answer(entry, found.solutions[row].nonzero().flatten().tolist())
            right = sure and scorer.score_answer(text, entry) >= 0.9  # the digits, if not the frame
            counts["right" if right else "wrong" if sure else "unsure"] += 1
    return {kind: counts[kind] for kind in ("right", "unsure", "wrong")} | {
        "guesses": statistics.mean(guesses), "learning s": learning,
        "ms a puzzle": thinking / len(entries) * 1e3,
    }  # fmt: skip


def main() -> None:
    """Measures each family, prints one table."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.evidence.think_gym_puzzles", description=__doc__
    )
    parser.add_argument("--out", type=Path, default=Path("evidence"), help="folder of the results")
    parser.add_argument("--size", type=int, default=200, help="instances a family and seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds, from 0")
    parser.add_argument("--quick", action="store_true", help="20 instances")
    given = parser.parse_args()
    if min(given.seeds, given.size) < 1:
        parser.error("--seeds and --size: give one or more")
    torch.set_num_threads(1)
    cache = Cache(given.out / "think_gym_puzzles.json")
    size = 20 if given.quick else given.size
    jobs = [
        (name, settings, seed)
        for name, (_, some) in TRIED.items() for settings in some for seed in range(given.seeds)
    ]  # fmt: skip
    table = Table(title=f"reasoning-gym, {size} instances, {given.seeds} seeds")
    columns = ("right", "unsure", "wrong", "guesses", "learning s", "ms a puzzle")
    for column in ("family", "settings", "seed", *columns):
        table.add_column(column, justify="right", overflow="fold")
    with Progress(disable=not Console().is_terminal) as bar:
        for name, settings, seed in bar.track(jobs, description="families"):
            key = f"{name} {json.dumps(settings)} {size} {seed}"
            found = cache.get(key, partial(measure, name, settings, size, seed))
            shown = " ".join(f"{k}={v}" for k, v in settings.items()) or "its own"
            table.add_row(name, shown, str(seed), *(f"{found[c]:.4g}" for c in columns))
    Console().print(table)


if __name__ == "__main__":
    main()
