"""Kinship questions (CLUTRR) answered by rules that were learned from shorter ones.

Trained on the 10,094 questions of set 089907f8 with two and three facts, tested on its 1,146 with
two to ten; also on fewer rows, with wrong labels, and from reward alone. Every table has columns
right, unsure and wrong: an answer counts as right or wrong only where the thinker is sure of it.
``best`` is how often its best answer is the file's, sure or not, ``among`` how often that is among
its answers. Further parts: one rule stored; one
of 1,000 rules recalled and unknown premises refused; thoughts needed by guide; the time of a
closure. Nothing was chosen on test rows: counts that a rule needs and the doubt of the memory were
chosen on training rows held out, weights of the guide on chains made from the learned rules.
Parts already in the JSON file are not computed again.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.evidence.cache import Cache
from isinglass.thinking import (
    BestFirst,
    BreadthFirst,
    DerivationGraph,
    Mind,
    Reply,
    Rule,
    RuleLearner,
    RuleMemory,
    Thinker,
    TowardQuery,
    Vocabulary,
)

NAME = "089907f8"
LENGTHS = range(2, 11)
Question = tuple[list[tuple[str, ...]], tuple[str, ...]]  # facts, and what follows
Result = dict[str, Any]


def main() -> None:
    """Parse the command line, compute what is missing, print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.evidence.think",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root = os.environ.get("ISINGLASS_DATA")
    folder = Path(root) / "clutrr" if root else None
    parser.add_argument("--data", type=Path, default=folder, help="folder with NAME_train.csv.gz")
    parser.add_argument("--name", default=NAME, help="of the set")
    parser.add_argument("--seeds", type=int, default=10, help="how many")
    parser.add_argument("--quick", action="store_true", help="one seed")
    parser.add_argument("--out", type=Path, default=Path("evidence"), help="folder for the JSON")
    given = parser.parse_args()
    if given.data is None:
        parser.error("say where the data are: --data, or the variable ISINGLASS_DATA")
    torch.set_num_threads(1)
    train, test = (load(given.data / f"{given.name}_{part}.csv.gz") for part in ("train", "test"))
    words = Vocabulary(sorted({fact[0] for facts, end in train + test for fact in [*facts, end]}))
    cache = Cache(given.out / f"think_{given.name}.json")
    seeds = range(1 if given.quick else given.seeds)
    jobs = {f"{part}, {seed}": partial(run, seed) for part, run in PARTS.items() for seed in seeds}
    jobs |= ONCE
    with Progress() as progress:
        task = progress.add_task("", total=len(jobs))
        for key, run in jobs.items():
            progress.update(task, description=key)
            cache.get(key, partial(run, words, train, test))
            progress.advance(task)
    for part in PARTS:
        Console().print(_table(part, [cache.found[f"{part}, {seed}"] for seed in seeds]))
    for part in ONCE:
        print(part, json.dumps(cache.found[part]))
    print(f"written to {cache.path}")


def load(path: Path) -> list[Question]:
    """Read the questions of a file, entities by number."""
    with gzip.open(path, "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    questions = []
    for row in rows:
        pairs = [edge.split("-") for edge in row["edges"].split()]
        relations = row["relations"].split()
        facts = [(word, *pair) for word, pair in zip(relations, pairs, strict=True)]
        questions.append((facts, (row["answer"], *row["query"].split("-"))))
    return questions


def minds(words: Vocabulary, questions: Sequence[Question]) -> Mind:
    """Return a mind for each question."""
    return Mind.from_batches([facts for facts, _ in questions], words)


def asked(questions: Sequence[Question]) -> list[tuple[str, ...]]:
    """Return the questions with the relation left open."""
    return [("?", *end[1:]) for _, end in questions]


def examine(memory: RuleMemory, questions: Sequence[Question]) -> Result:
    """Answer test questions: shares of each length that are best, right, unsure, wrong; seconds."""
    start = time.perf_counter()
    replies = Thinker(memory).think(minds(memory.vocabulary, questions), asked(questions))
    seconds = time.perf_counter() - start
    shares: Result = {"seconds": seconds, "rules": len(memory)}
    for length in LENGTHS:
        picked = [
            (reply, end)
            for reply, (facts, end) in zip(replies, questions, strict=True)
            if len(facts) == length
        ]
        if picked:
            shares[str(length)] = _verdicts(picked)
    return shares


def _verdicts(picked: list[tuple[Reply, tuple[str, ...]]]) -> dict[str, float]:
    count = len(picked)
    return {
        "best": sum(reply.best == end for reply, end in picked) / count,
        "right": sum(reply.sure and reply.best == end for reply, end in picked) / count,
        "unsure": sum(not reply.sure for reply, _ in picked) / count,
        "wrong": sum(reply.sure and reply.best != end for reply, end in picked) / count,
        "among": sum(end in [a.proposition for a in reply.answers] for reply, end in picked)
        / count,
    }


def _learn(
    words: Vocabulary, questions: Sequence[Question], seed: int, **settings: Any
) -> RuleMemory:
    generator = torch.Generator().manual_seed(seed)
    ends = [end for _, end in questions]
    return RuleLearner(**settings).fit(minds(words, questions), ends, generator=generator)


def _rows(
    count: int | None,
    seed: int,
    words: Vocabulary,
    train: list[Question],
    test: list[Question],
    *,
    doubt: float | None = None,
    **settings: float,
) -> Result:
    rows = train if count is None else random.Random(seed).sample(train, count)
    start = time.perf_counter()
    memory = _learn(words, rows, seed, **settings)
    memory.doubt = memory.doubt if doubt is None else doubt
    return {"training": time.perf_counter() - start, **examine(memory, test)}


def _noisy(seed: int, words: Vocabulary, train: list[Question], test: list[Question]) -> Result:
    rng = random.Random(seed)
    answers = sorted({end[0] for _, end in train})
    rows = [
        (facts, (rng.choice(answers), *end[1:]) if rng.random() < 0.05 else end)
        for facts, end in train
    ]
    start = time.perf_counter()
    memory = _learn(words, rows, seed)
    return {"training": time.perf_counter() - start, **examine(memory, test)}


def _reward(seed: int, words: Vocabulary, train: list[Question], test: list[Question]) -> Result:
    ends = [end for _, end in train]

    def reward(said: list[str | None]) -> Iterable[float]:
        return [float(word == end[0]) for word, end in zip(said, ends, strict=True)]

    start = time.perf_counter()
    memory = RuleLearner().fit_from_reward(
        minds(words, train), asked(train), reward, generator=torch.Generator().manual_seed(seed)
    )
    return {"training": time.perf_counter() - start, **examine(memory, test)}


def _one_rule(words: Vocabulary, train: list[Question], test: list[Question]) -> Result:
    """Forget a rule that some question cannot do without, the most used such; store it again."""
    batch, questions = minds(words, test), asked(test)
    memory = _learn(words, train, 0)
    full = Thinker(memory).think(batch, questions)
    counts = {str(stored.rule): stored.count for stored in memory.rules()}
    proofs = [reply.answers[0].proof for reply in full]
    used = Counter(str(node.rule) for proof in proofs for _, node in proof.walk() if node.rule)
    for text, _ in used.most_common():
        memory.forget(text)
        without = Thinker(memory).think(batch, questions)
        memory.store(text, counts[text])
        needing = [i for i, reply in enumerate(full) if reply.best != without[i].best]
        if needing:
            break
    again = Thinker(memory).think(batch, questions)

    def said(replies: Any, i: int) -> list[tuple[Any, float]]:
        return [(answer.proposition, answer.energy) for answer in replies[i].answers]

    # What has no use of the rule in any derivation must not change.
    same = [i for i in range(len(test)) if said(full, i) == said(without, i)]
    return {
        "rule": text,
        "questions that need it": len(needing),
        "right without": fmean([float(without[i].best == test[i][1]) for i in needing]),
        "right when stored": fmean([float(again[i].best == test[i][1]) for i in needing]),
        "others unchanged": len(same),
        "all as before to the bit": all(said(full, i) == said(again, i) for i in range(len(test))),
    }


def _recall(*_: object) -> Result:
    """Store 1,000 random rules; recall each from its premises; tell known premises from others."""
    rng = random.Random(0)
    names = [f"r{i}" for i in range(60)]
    pairs = rng.sample([(a, b) for a in names for b in names], 2000)
    memory = RuleMemory(Vocabulary(names))
    ends = [rng.choice(names) for _ in pairs[:1000]]
    memory.store(Rule.compose(a, b, c) for (a, b), c in zip(pairs, ends, strict=False))
    texts = [f"{a}(X,Z), {b}(Z,Y)" for a, b in pairs]
    best = memory.conclude(texts[:1000]).argmax(-1).tolist()
    scores = memory.log_prob(texts)
    known, unknown = scores[:1000], scores[1000:]
    above = (known.unsqueeze(1) > unknown).double().mean()
    ties = (known.unsqueeze(1) == unknown).double().mean()
    return {
        "recalled": fmean([float(names[i] == end) for i, end in zip(best, ends, strict=True)]),
        "AUROC": float(above + ties / 2),
        "lowest known": float(known.min()),
        "highest unknown": float(unknown.max()),
    }


def _guided(words: Vocabulary, train: list[Question], test: list[Question]) -> Result:
    """Count thoughts until an answer of certain steps, with ten facts; at most 45."""
    memory = _learn(words, train, 0)
    ten = [question for question in test if len(question[0]) == 10]
    result: Result = {}
    for name, guide in (
        ("queue", BreadthFirst()),
        ("best first", BestFirst()),
        ("toward the query", TowardQuery()),
    ):
        replies = Thinker(memory, guide).think(minds(words, ten), asked(ten), budget=45)
        result[name] = {
            "thoughts": fmean([reply.thoughts for reply in replies]),
            "best is right": fmean(
                [float(r.best == end) for r, (_, end) in zip(replies, ten, strict=True)]
            ),
        }
    return result


def _closure(words: Vocabulary, train: list[Question], test: list[Question]) -> Result:
    """Time all derivations and their best energies in all test questions, the best of five."""
    memory = _learn(words, train, 0)
    batch, table, weights = minds(words, test), memory.table(), memory.log_weights()
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        graph = DerivationGraph.of(batch, table)
        graph.values(weights)
        seconds.append(time.perf_counter() - start)
    return {
        "questions": len(test), "seconds": min(seconds), "uses of rules": len(graph.rules),
    }  # fmt: skip


PARTS: dict[str, Callable[..., Result]] = {
    "all rows": partial(_rows, None),
    "1,000 rows": partial(_rows, 1000),
    "300 rows": partial(_rows, 300),
    "100 rows": partial(_rows, 100),
    "5 % wrong labels": _noisy,
    "reward alone": _reward,
    "all rows, no doubt": partial(_rows, None, doubt=0.0),
    "100 rows, no twins": partial(_rows, 100, twins=0.0),
}
ONCE: dict[str, Callable[..., Result]] = {
    "one rule stored": _one_rule,
    "1,000 rules": _recall,
    "guides": _guided,
    "closure": _closure,
}


def _table(part: str, runs: list[Result]) -> Table:
    seconds = fmean([run["training"] for run in runs]), fmean([run["seconds"] for run in runs])
    spent = f"{seconds[0]:.1f} s of training, {seconds[1]:.1f} s of test"
    table = Table(title=f"{part}: {len(runs)} seeds, {spent}")
    for column in ("facts", "best %", "lowest seed", "right %", "unsure %", "wrong %", "among %"):
        table.add_column(column, justify="right")
    for length in map(str, LENGTHS):
        rows = [run[length] for run in runs if length in run]
        if rows:
            best = [100 * row["best"] for row in rows]
            table.add_row(
                length,
                f"{fmean(best):.1f} ± {pstdev(best):.1f}",
                f"{min(best):.1f}",
                *(
                    f"{100 * fmean([row[name] for row in rows]):.1f}"
                    for name in ("right", "unsure", "wrong", "among")
                ),
            )
    return table


if __name__ == "__main__":
    main()
