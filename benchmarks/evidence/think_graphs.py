"""Links missing in a knowledge graph: rules with learned weights beside what could replace them.

Filtered mean reciprocal rank and Hits@1, 3, 10 of the test facts of UMLS and Alyawarra kinship,
each fact asked for its object and for its subject. Beside the rules stand the frequency of an
answer for the relation, the single best rule by its confidence (the maximum, as AnyBURL aggregates;
ties by the noisy-or of all), and ComplEx (Trouillon et al. 2016, arXiv:1606.06357; all answers at
once and the cubed norm of Lacroix et al. 2018, arXiv:1806.07297). Every method sees the training
facts alone; the dev facts tell when to stop and, of ComplEx, rank and norm. Rows already in the
JSON file are not computed again.
"""

from __future__ import annotations

import argparse
import gzip
import os
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor

from benchmarks.evidence.cache import Cache
from isinglass.thinking.graphs.fact_graph import FactGraph
from isinglass.thinking.graphs.link_predictor import LinkPredictor

PARTS = ("train", "dev", "test")
SURE = 0.5
#: Weight of pairs of entities without a fact, in the confidence of a rule.
PSEUDO_COUNT = 5
Facts = list[tuple[str, ...]]
Parts = dict[str, Facts]


def main() -> None:
    """Parse the command line, compute what is missing, print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.evidence.think_graphs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root = os.environ.get("ISINGLASS_DATA")
    folder = Path(root) / "kg" if root else None
    parser.add_argument(
        "--data", type=Path, default=folder, help="folder with NAME_train.tsv.gz, dev, test"
    )
    parser.add_argument("--graphs", nargs="+", default=None, help="names; all there are")
    parser.add_argument("--seeds", type=int, default=5, help="how many, of ComplEx")
    parser.add_argument("--quick", action="store_true", help="the rules alone, a few steps")
    parser.add_argument("--out", type=Path, default=Path("evidence"), help="folder for the JSON")
    given = parser.parse_args()
    if given.data is None:
        parser.error("say where the data are: --data, or the variable ISINGLASS_DATA")
    there = sorted(path.name.split("_")[0] for path in given.data.glob("*_train.tsv.gz"))
    names = given.graphs or there
    torch.set_num_threads(1)
    cache = Cache(given.out / f"think_graphs{'_quick' * given.quick}.json")
    found = cache.found
    with Progress() as progress:
        task = progress.add_task("", total=len(names) * _length(given.quick, given.seeds))
        for name in names:
            parts = _parts(given.data, name)
            for method, seed, compute in _runs(found, name, given.quick, given.seeds):
                progress.update(task, description=f"{name}, {method}, seed {seed}")
                key = f"{name}, {method}, {seed}"
                cache.get(key, partial(compute, parts, seed))
                progress.advance(task)
    for name in names:
        Console().print(_table(found, name))
        print(found[f"{name}, rules, 0"]["shown"])
    print(f"written to {cache.path}")


def _length(quick: bool, seeds: int) -> int:
    return 2 if quick else len(METHODS) + len(SETTINGS) + seeds - 1


def _runs(
    found: dict[str, Any], name: str, quick: bool, seeds: int
) -> Iterator[tuple[str, int, Callable[[Parts, int], dict[str, Any]]]]:
    """Yields what is to be computed; of ComplEx all settings, then further seeds of the best."""
    if quick:
        yield "frequency", 0, _frequency
        yield "rules", 0, partial(_rules, steps=5, deviations=[0.2])
        return
    for method, compute in METHODS.items():
        yield method, 0, compute
    for method, setting in SETTINGS.items():
        yield method, 0, partial(_complex, **setting)
    best = _best_complex(found, name)
    for seed in range(1, seeds):
        yield best, seed, partial(_complex, **SETTINGS[best])


def _best_complex(found: dict[str, Any], name: str) -> str:
    """The setting whose first seed is best on the dev facts."""
    return max(SETTINGS, key=lambda method: found[f"{name}, {method}, 0"]["dev"])


def _parts(folder: Path, name: str) -> Parts:
    """The facts of each part, relation first."""
    parts = {}
    for part in PARTS:
        with gzip.open(folder / f"{name}_{part}.tsv.gz", "rt", encoding="utf-8") as file:
            rows = [line.rstrip("\n").split("\t") for line in file]
        parts[part] = [(relation, subject, other) for subject, relation, other in rows]
    return parts


def _rules(parts: Parts, _seed: int, **settings: Any) -> dict[str, Any]:
    """Ours: nothing is drawn, so a single seed."""
    predictor = LinkPredictor(**settings).fit(parts["train"], parts["dev"])
    ranks = {part: predictor.ranks(parts[part], parts["dev"]) for part in ("dev", "test")}
    shown = [str(rule) for rule in predictor.rules(most=5)]
    shown += [str(predictor.explain(parts["dev"][0], most=3))]
    return _measures(ranks["test"]) | {
        "dev": float((1 / ranks["dev"]).mean()),
        "deviation": predictor.deviation,
        "answers": _answers(predictor, parts),
        "shown": "\n".join(shown),
    }


def _answers(predictor: LinkPredictor, parts: Parts) -> list[int]:
    """How many distinct questions are answered right, not, and wrong, by what is sure."""
    truth = set(parts["dev"]) | set(parts["test"])
    counted = [0, 0, 0]
    for relation, subject in sorted({fact[:2] for fact in parts["test"]}):
        answer = predictor.predict(relation, subject, least=SURE)
        right = (relation, subject, answer) in truth
        counted[1 if answer is None else 0 if right else 2] += 1
    for relation, other in sorted({fact[::2] for fact in parts["test"]}):
        answer = predictor.predict(relation, other=other, least=SURE)
        right = (relation, answer, other) in truth
        counted[1 if answer is None else 0 if right else 2] += 1
    return counted


def _frequency(parts: Parts, _seed: int) -> dict[str, float]:
    """How often the relation has the answer."""
    graph = FactGraph.of(parts["train"], len(parts["train"]))
    n = len(graph.names)
    objects, subjects = (side[:, None].expand(-1, n, n) for side in graph.frequencies)
    return _measures(_ranks(graph, parts, "test", objects, subjects.mT))


def _best_rule(parts: Parts, _seed: int) -> dict[str, float]:
    """The confidence of the best rule that applies; a tie is broken by the noisy-or of all."""
    graph = FactGraph.of(parts["train"], 2)
    counts = graph.counts
    confidence = counts.support / (counts.bound_places()[:, None] + PSEUDO_COUNT)
    confidence.diagonal().zero_()
    body, pair = counts.rows()
    scores = []
    for of_relation in confidence.T:
        said = of_relation[body]
        best = torch.zeros(len(graph.names) ** 2).scatter_reduce(0, pair, said, "amax")
        doubt = torch.zeros_like(best).index_add(0, pair, (-said.clamp(max=1 - 1e-6)).log1p())
        scores.append(best + 1e-3 * (1 - doubt.exp()))
    table = torch.stack(scores).view_as(graph.known)
    return _measures(_ranks(graph, parts, "test", table, table))


class _ComplEx(torch.nn.Module):
    """Re⟨e_s, w_r, ē_o⟩, with a second w for the question about the subject."""

    def __init__(self, entities: int, relations: int, rank: int) -> None:
        super().__init__()
        self.entity = torch.nn.Parameter(1e-2 * torch.randn(entities, rank, 2))
        self.relation = torch.nn.Parameter(1e-2 * torch.randn(2 * relations, rank, 2))

    def forward(self, relation: Tensor, given: Tensor) -> Tensor:
        entity = torch.view_as_complex(self.entity)
        asked = entity[given] * torch.view_as_complex(self.relation)[relation]
        return torch.view_as_real(asked).flatten(1) @ self.entity.flatten(1).T

    def cubes(self, relation: Tensor, *entities: Tensor) -> Tensor:
        factors = [self.relation[relation], *(self.entity[index] for index in entities)]
        return sum((f.norm(dim=-1).pow(3).sum() for f in factors), torch.zeros(())) / len(relation)


def _complex(parts: Parts, seed: int, *, rank: int, norm: float) -> dict[str, Any]:
    """ComplEx at the epoch that is best on the dev facts."""
    torch.manual_seed(seed)
    graph = FactGraph.of(parts["train"], len(parts["train"]))
    relations, n = len(graph.vocabulary), len(graph.names)
    model = _ComplEx(n, relations, rank)
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.1)
    relation, subject, other = graph.facts.T
    asked = torch.cat([relation, relation + relations])
    given, answer = torch.cat([subject, other]), torch.cat([other, subject])
    best: dict[str, Any] = {"dev": 0.0}
    for epoch in range(1, 61):
        for batch in torch.randperm(len(asked)).split(500):
            logits = model(asked[batch], given[batch])
            loss = torch.nn.functional.cross_entropy(logits, answer[batch])
            loss = loss + norm * model.cubes(asked[batch], given[batch], answer[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if epoch % 10 == 0:
            with torch.no_grad():
                every = torch.arange(n).repeat(2 * relations)
                kind = torch.arange(2 * relations).repeat_interleave(n)
                objects, subjects = model(kind, every).view(2, relations, n, n)
            dev = float((1 / _ranks(graph, parts, "dev", objects, subjects.mT)).mean())
            if dev > best["dev"]:
                ranks = _ranks(graph, parts, "test", objects, subjects.mT)
                best = _measures(ranks) | {"dev": dev, "epoch": epoch}
    return best


def _ranks(graph: FactGraph, parts: Parts, part: str, objects: Tensor, subjects: Tensor) -> Tensor:
    """Filtered ranks of objects and subjects from tables of scores ``(R, n, n)``.

    Who ranks the dev facts knows nothing of the test facts.
    """
    truth = graph.known.clone()
    truth[tuple(graph.number(parts["dev"] + parts[part]).T)] = True
    relation, subject, other = graph.number(parts[part]).T
    ranks = []
    for rows, true, answer in (
        (objects[relation, subject], truth[relation, subject], other),
        (subjects[relation, :, other], truth[relation, :, other], subject),
    ):
        rivals = rows.masked_fill(true, -torch.inf)
        own = rows.gather(1, answer[:, None])
        ranks.append(1.0 + (rivals > own).sum(-1) + (rivals == own).sum(-1) / 2)
    return torch.stack(ranks, -1)


def _measures(ranks: Tensor) -> dict[str, float]:
    hits = {f"Hits@{k}": float((ranks <= k).float().mean()) for k in (1, 3, 10)}
    return {"MRR": float((1 / ranks).mean())} | hits


def _table(found: dict[str, Any], name: str) -> Table:
    table = Table(title=name)
    for column in ("", "MRR", "Hits@1", "Hits@3", "Hits@10", "right / unsure / wrong"):
        table.add_column(column, justify="right" if column else "left")
    runs: dict[str, list[dict[str, Any]]] = {}
    for key, run in found.items():
        graph, method, _ = key.split(", ")
        if graph == name and (method not in SETTINGS or method == _best_complex(found, name)):
            runs.setdefault(method, []).append(run)
    for method, rows in runs.items():
        cells = []
        for measure in ("MRR", "Hits@1", "Hits@3", "Hits@10"):
            values = [row[measure] for row in rows]
            spread = f" ± {pstdev(values):.3f}" if len(values) > 1 else ""
            cells.append(f"{fmean(values):.3f}{spread}")
        sure = " / ".join(map(str, rows[0].get("answers", ())))
        table.add_row(method, *cells, sure)
    return table


METHODS: dict[str, Callable[[Parts, int], dict[str, Any]]] = {
    "frequency": _frequency,
    "best rule": _best_rule,
    "rules": _rules,
}
SETTINGS = {
    f"ComplEx rank {rank} norm {norm}": {"rank": rank, "norm": norm}
    for rank, norm in product((100,), (0.001, 0.01, 0.05))
}


if __name__ == "__main__":
    main()
