"""Sudokus whose rules were learned from solved grids alone: right, unsure and wrong answers.

Exclusions and groups are learned from 1,200 random grids that this script draws, for each seed
anew. Then: the 18 × 1,000 puzzles of Palm et al. 2018 by number of hints, the 10,000 of SATNet's
test and the 23 hard ones; the orders of guesses on the hard ones, propositions shuffled for each
seed; beside it toulbar2 (PyPI pytoulbar2) on the same constraints. Seeds that learned the same
network share its answers, since nothing else is random. What was measured is kept in
think_puzzles.json, and a second run goes on from there.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Generator, Tensor

import isinglass as ig
from benchmarks.evidence.cache import Cache
from benchmarks.evidence.sudoku_grids import full_grid, one_hot, rules
from isinglass.thinking import (
    ConstraintNetwork,
    ContradictionAhead,
    GuessOrder,
    LearnedOrder,
    PuzzleThinker,
    SmallestGroup,
)

GRIDS, HINTS, BOARDS = 1200, 25, 300  # solved grids; hints and number of boards to learn orders on
HARD = "top95_part"
PART, ALONE = 500, 20  # puzzles thought of together, and how many of them alone too
PEERS, PEER, PEER_PART = ("rrn_test_17", "satnet_test", HARD), 200, 50
ORDERS = ("smallest group", "one ahead", "learned")
#: What is counted and timed of ours and of the peer.
KINDS = {
    "answers": ("guesses", "ms together", "ms alone"),
    "toulbar2": ("nodes", "ms building", "ms solving"),
}


def grids_of(seed: int, count: int) -> Tensor:
    """Random solved grids."""
    draw = random.Random(seed)
    return torch.tensor([full_grid(draw) for _ in range(count)])


def puzzles_of(folder: Path, name: str) -> tuple[Tensor, Tensor | None]:
    """Puzzles and their solutions, 0 for empty cells; the hard ones have no solutions beside."""
    if name == HARD:
        lines = (folder / f"{name}.txt").read_text().split()
        return torch.tensor([[int(c) for c in row.replace(".", "0")] for row in lines]), None
    with gzip.open(folder / f"{name}.csv.gz", "rt") as text:
        rows = [[part.strip() for part in line.split(",")] for line in text if line.strip()]
    both = torch.tensor([[[int(c) for c in part] for part in row] for row in rows])
    return both[:, 0], both[:, 1]


def learn(seed: int, folder: Path) -> dict[str, Any]:
    """Learns a network from grids of this seed and keeps it; says how it differs from the rules."""
    start = time.process_time()
    examples = one_hot(grids_of(seed, GRIDS))
    drawn = time.process_time()
    network = ConstraintNetwork(examples.shape[1]).fit(examples)
    learned = time.process_time()
    true = ConstraintNetwork(network.size, groups=rules())
    pairs, groups = (
        [set(map(tuple, part)) for part in (n.pairs.tolist(), n.groups)] for n in (network, true)
    )
    digest = hashlib.sha256(repr((network.pairs.tolist(), network.groups)).encode()).hexdigest()[:8]
    ig.save(network, folder / f"network-{digest}.safetensors", overwrite=True)
    return {
        "network": digest, "drawing s": drawn - start, "learning s": learned - drawn,
        "exclusions": len(pairs[0]), "groups": len(pairs[1]),
        "rules lost": len(groups[0] - pairs[0]) + len(groups[1] - pairs[1]),
        "false rules": len(pairs[0] - groups[0]) + len(pairs[1] - groups[1]),
    }  # fmt: skip


def network_of(folder: Path, digest: str) -> ConstraintNetwork:
    """The network that was kept under this digest."""
    network = ig.load(folder / f"network-{digest}.safetensors")
    assert isinstance(network, ConstraintNetwork)  # noqa: S101
    return network


def is_right(solutions: Tensor, puzzles: Tensor, true: Tensor | None) -> Tensor:
    """Whether grids are the solutions; without these, whether all the rules of the game hold."""
    if true is not None:
        return (solutions == one_hot(true).bool()).all(1)
    held = solutions[:, torch.tensor(rules())].sum(-1) == 1
    return held.all(1) & (solutions | (one_hot(puzzles) == 0)).all(1)


def answers(network: ConstraintNetwork, puzzles: Tensor, true: Tensor | None) -> dict[str, Any]:
    """Right, unsure and wrong answers, guesses, and milliseconds a puzzle, together and alone."""
    thinker = PuzzleThinker(network)
    begun = time.process_time()
    found = thinker.think(one_hot(puzzles))
    together = (time.process_time() - begun) / len(puzzles) * 1e3
    right = is_right(found.solutions, puzzles, true)
    alone = []
    for puzzle in puzzles[:ALONE, None]:
        begun = time.process_time()
        thinker.think(one_hot(puzzle))
        alone.append((time.process_time() - begun) * 1e3)
    return {
        "right": int((found.sure & right).sum()), "wrong": int((found.sure & ~right).sum()),
        "unsure": int((~found.sure).sum()), "guesses": found.guesses.tolist(),
        "ms together": together, "ms alone": alone,
    }  # fmt: skip


def shuffled(network: ConstraintNetwork, seed: int) -> tuple[ConstraintNetwork, Tensor, Generator]:
    """The network with its propositions in another order, which decides between equals."""
    generator = Generator().manual_seed(seed)
    order = torch.randperm(network.size, generator=generator)
    place = order.argsort()
    groups = sorted(tuple(sorted(place[list(group)].tolist())) for group in network.groups)
    return ConstraintNetwork(network.size, place[network.pairs], groups), order, generator


def learn_order(network: ConstraintNetwork, seed: int) -> dict[str, Any]:
    """The weights of a learned order, from boards of random hints of own grids."""
    other, order, generator = shuffled(network, seed)
    begun = time.process_time()
    hidden = torch.rand(BOARDS, 81, generator=generator).argsort(1)[:, HINTS:]
    boards = one_hot(grids_of(seed, BOARDS).scatter(1, hidden, 0))[:, order]
    learned = LearnedOrder().fit(other, boards, generator)
    assert learned.weights is not None  # noqa: S101
    return {"weights": learned.weights.tolist(), "s": time.process_time() - begun}


def settled_states(
    network: ConstraintNetwork, seed: int, order: GuessOrder, given: Tensor, solutions: int
) -> dict[str, Any]:
    """How many settled states are visited until so many solutions are found, or none is left."""
    other, places, _ = shuffled(network, seed)
    begun = time.process_time()
    thought = PuzzleThinker(other, order).think(one_hot(given)[:, places], solutions=solutions)
    nodes = (1 + thought.guesses + thought.retractions).tolist()
    solved = (thought.found == 1) & (thought.complete | (solutions == 1))
    return {"nodes": nodes, "s": time.process_time() - begun, "solved": int(solved.sum())}


def toulbar2(network: ConstraintNetwork, puzzles: Tensor, true: Tensor | None) -> dict[str, Any]:
    """The same constraints in toulbar2, a variable a cell: groups that cover all once."""
    from pytoulbar2 import CFN  # pyright: ignore[reportMissingImports]

    covered, variables = set(), []
    for group in network.groups:
        if not covered & set(group):
            covered |= set(group)
            variables.append(group)
    where = {unit: (v, k) for v, group in enumerate(variables) for k, unit in enumerate(group)}
    costs: dict[tuple[int, int], list[int]] = defaultdict(lambda: [0] * 81)
    for one, other in network.pairs.tolist():
        (v, a), (w, b) = sorted((where[one], where[other]))
        if v != w:
            costs[v, w][a * 9 + b] = 1
    counts, times, nodes = defaultdict(int), [], []
    for row, given in enumerate(one_hot(puzzles)):
        begun = time.process_time()
        model = CFN(1, verbose=-1)
        for v, group in enumerate(variables):
            model.AddVariable(f"v{v}", [f"a{k}" for k in range(len(group))])
        for pair, table in costs.items():
            model.AddFunction(list(pair), table)
        for unit in given.nonzero().flatten().tolist():
            v, chosen = where[unit]
            model.AddFunction([v], [int(k != chosen) for k in range(9)])
        built = time.process_time()
        solved = model.Solve()
        times.append([(built - begun) * 1e3, (time.process_time() - built) * 1e3])
        nodes.append(model.GetNbNodes())
        found = torch.zeros(1, network.size, dtype=torch.bool)
        if solved:
            found[0, [variables[v][k] for v, k in enumerate(solved[0])]] = True
        right = is_right(
            found, puzzles[row : row + 1], None if true is None else true[row : row + 1]
        )
        counts["right" if right else "wrong" if solved else "unsure"] += 1
    building, solving = (list(part) for part in zip(*times, strict=True))
    kinds = {kind: counts[kind] for kind in ("right", "unsure", "wrong")}
    return kinds | {"nodes": nodes, "ms building": building, "ms solving": solving}


def measure(cache: Cache, folder: Path, given: argparse.Namespace) -> dict[str, int]:
    """Measures what is not known yet; returns the networks learned, and a seed of each."""
    sets = [f"rrn_test_{hints}" for hints in range(17, 35)] + ["satnet_test", HARD]
    networks: dict[str, int] = {}
    with Progress(disable=not Console().is_terminal) as bar:
        task = bar.add_task("puzzles", total=3 * given.seeds + len(sets))
        for seed in range(given.seeds):
            learned = cache.get(f"learn {seed}", lambda seed=seed: learn(seed, given.out))
            networks.setdefault(learned["network"], seed)
            bar.advance(task)
        for digest in networks:
            network = network_of(given.out, digest)
            for name in sets:
                answer_all(cache, network, folder, (digest, name), PART if given.quick else None)
                bar.advance(task)
        hard = puzzles_of(folder, HARD)[0]
        for seed in range(given.seeds):
            digest = cache.found[f"learn {seed}"]["network"]
            network = network_of(given.out, digest)
            fitted = cache.get(f"order {seed}", lambda n=network, s=seed: learn_order(n, s))
            bar.advance(task)
            weights = torch.tensor(fitted["weights"], dtype=torch.float64)
            learned = LearnedOrder(weights=weights)
            orders = dict(
                zip(ORDERS, (SmallestGroup(), ContradictionAhead(), learned), strict=True)
            )
            for name, order in orders.items():
                for solutions in (1, 2):
                    cache.get(
                        f"states {seed} {solutions} {name}",
                        lambda n=network, s=seed, o=order, k=solutions: settled_states(
                            n, s, o, hard, k
                        ),
                    )
            bar.advance(task)
    return networks


def answer_all(
    cache: Cache,
    network: ConstraintNetwork,
    folder: Path,
    about: tuple[str, str],
    most: int | None,
) -> None:
    """Measures a set in parts, and the peer on the first of it."""
    puzzles, true = puzzles_of(folder, about[1])
    for start in range(0, len(puzzles[:most]), PART):
        part = slice(start, start + PART)
        key = f"answers {' '.join(about)} {start}"
        some = None if true is None else true[part]
        cache.get(key, lambda p=part, t=some: answers(network, puzzles[p], t))
    if about[1] in PEERS and most is None:
        for start in range(0, min(PEER, len(puzzles)), PEER_PART):
            part = slice(start, start + PEER_PART)
            some = None if true is None else true[part]
            key = f"toulbar2 {' '.join(about)} {start}"
            cache.get(key, lambda p=part, t=some: toulbar2(network, puzzles[p], t))


def tables(found: dict[str, dict[str, Any]], networks: dict[str, int], seeds: int) -> list[Table]:
    """The tables: what was learned, answers, orders, the peer."""
    rows = [found[f"learn {seed}"] for seed in range(seeds)]
    learning = table_of(
        f"Learned from {GRIDS:,} own grids, {seeds} seeds",
        (
            "networks",
            "exclusions",
            "groups",
            "rules lost",
            "false rules",
            "drawing s",
            "learning s",
        ),
    )
    names = ("exclusions", "groups", "rules lost", "false rules")
    spans = [span(row[name] for row in rows) for name in names]
    times = [f"{max(row[name] for row in rows):.1f}" for name in ("drawing s", "learning s")]
    learning.add_row(str(len(networks)), *spans, *times)
    return [learning, *(answer_table(found, kind) for kind in KINDS), order_table(found, seeds)]


def span(values: Iterable[int]) -> str:
    """The least and the most, once where they are the same."""
    some = list(values)
    return f"{min(some)}" if min(some) == max(some) else f"{min(some)}–{max(some)}"


def table_of(title: str, columns: Sequence[str]) -> Table:
    """A table of numbers."""
    table = Table(title=title)
    for column in columns:
        table.add_column(column, justify="right", overflow="fold")
    return table


def answer_table(found: dict[str, dict[str, Any]], kind: str) -> Table:
    """Right, unsure and wrong, a row a set, summed over its parts."""
    steps, *times = KINDS[kind]
    table = table_of(
        kind, ("set", "right", "unsure", "wrong", f"{steps}, median", f"{steps}, most", *times)
    )
    parts: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for key, row in found.items():
        if key.startswith(f"{kind} "):
            parts[key.split()[2]].append(row)
    for name, rows in parts.items():
        counts = [sum(row[what] for row in rows) for what in ("right", "unsure", "wrong")]
        many = [step for row in rows for step in row[steps]]
        medians = []
        for column in times:
            each = [row[column] for row in rows]
            flat = [t for value in each for t in (value if isinstance(value, list) else [value])]
            medians.append(f"{statistics.median(flat):.1f}")
        table.add_row(
            name, *map(str, counts), f"{statistics.median(many):.0f}", str(max(many)), *medians
        )
    return table


def order_table(found: dict[str, dict[str, Any]], seeds: int) -> Table:
    """Settled states of each order: medians and means over boards, averaged over seeds."""
    columns = ("first: median", "mean", "whole tree: median", "mean", "solved", "s")
    table = table_of(f"Settled states, {HARD}, {seeds} seeds", ("order", *columns))
    for name in ORDERS:
        cells, solved, spent = [], 0, []
        for solutions in (1, 2):
            runs = [found[f"states {seed} {solutions} {name}"] for seed in range(seeds)]
            for center in (statistics.median, statistics.mean):
                values = [center(run["nodes"]) for run in runs]
                error = statistics.stdev(values) / seeds**0.5 if seeds > 1 else 0.0
                cells.append(f"{statistics.mean(values):.1f} ± {error:.1f}")
            solved += sum(run["solved"] for run in runs)
            spent.append(statistics.mean(run["s"] for run in runs))
        table.add_row(name, *cells, str(solved), f"{spent[0]:.1f}")
    return table


def main() -> None:
    """Measures, prints the tables."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.evidence.think_puzzles", description=__doc__
    )
    parser.add_argument("--out", type=Path, default=Path("evidence"), help="folder of the results")
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("ISINGLASS_DATA", "data")),
        help="folder of data sets, sudoku/ in it",
    )  # fmt: skip
    parser.add_argument("--seeds", type=int, default=10, help="how many seeds, from 0")
    parser.add_argument("--quick", action="store_true", help="500 of each set, no peer")
    given = parser.parse_args()
    if given.seeds < 1:
        parser.error(f"--seeds {given.seeds}: give one or more")
    if not (given.data / "sudoku").is_dir():
        parser.error(f"no folder sudoku in {given.data}: say where the data are with --data")
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    cache = Cache(given.out / "think_puzzles.json")
    networks = measure(cache, given.data / "sudoku", given)
    for table in tables(cache.found, networks, given.seeds):
        Console().print(table)


if __name__ == "__main__":
    main()
