"""Immune repertoires: bags of sequences of which few carry the motif that decides.

``folds``: repertoires read from files, five stratified folds, all methods on the same: a
convolution and Hopfield pooling, the same with mean pooling, and logistic regression (L1) on the
frequencies of 3-mers or 4-mers, k and C chosen by three folds within each training set.
``ladder``: simulated repertoires of witness rates from 10 % to 0.01 %, bags of up to 300,000
sequences, each method learned on each rung; what was learned at 1 % is asked about the rungs below
too. ``cost``: memory and seconds by the number of sequences in a bag, each in its own process.
The method is DeepRC's (Widrich et al. 2020, arXiv:2007.13505). The data of ``folds`` are not part
of the project: --data names the folder, $ISINGLASS_DATA/immune where it is left out. Prints tables;
run it again to go on after a stop.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from benchmarks.evidence import repertoires_model as model
from benchmarks.evidence.cache import Cache
from benchmarks.evidence.repertoires_cost import MODES, SIZES, cost
from benchmarks.evidence.repertoires_data import (
    LADDER,
    LETTERS,
    MOTIF,
    NOTHING,
    SETS,
    Repertoires,
    Rung,
    read,
    simulated,
)
from benchmarks.evidence.repertoires_kmers import KmerRegression, kmers
from isinglass._support.palette import SERIES

Record = dict[str, Any]
Bags = list[np.ndarray]
METHODS = ("Hopfield", "k-mers", "mean")
FOLDS, SHOWN = 5, 4  # SHOWN: positive bags of each rung whose attention is read
TOP = 20  # sequences of a bag that are looked at most
STEPS = {"folds": 100, "10 %": 125, "1 %": 375, "0.1 %": 188, "0.01 %": 75}
SAMPLES = {"folds": 1_000, "10 %": 1_000, "1 %": 1_000, "0.1 %": 4_000, "0.01 %": 10_000}
CARRIED = "1 %"  # the rung whose models are asked about the rungs below
PUBLISHED = 0.832  # DeepRC, CMV status of the cohort of Emerson et al. 2017
FIRST_ASKED = 1_000_000  # index of the first bag that is not learned from


def drawn(rung: Rung, first: int, count: int, seed: int) -> list[np.ndarray]:
    """Draws bags of a rung, from one index on."""
    return [simulated(rung, first + index, seed) for index in range(count)]


def fitted(
    method: str, bags: Bags, labels: np.ndarray, seed: int, steps: int, sample: int
) -> tuple[Callable[[Bags], np.ndarray], Any]:
    """Learns from bags and returns what scores others, and the network or regression."""
    if method == "k-mers":
        regression = KmerRegression(seed).fit(bags, labels)
        return regression.decision_function, regression
    network = model.learned(bags, labels, method, seed, steps=steps, sample=sample)
    return partial(model.scores, network), network


def looked_at(network: model.RepertoireNetwork, bags: Bags, motif: str) -> Record:
    """Reads from the attention in positive bags which sequences and letters decide.

    Returns:
        ``motif``, the 4-mer whose share among the sequences looked at most exceeds that among all
        by most; ``area``, the area under the ROC curve of the weights of sequences with the true
        motif against others, the mean over bags; ``witnesses``, the share of the sequences looked
        at most that have it, and ``by chance``, the share of all.
    """
    areas, found, share = [], [], []
    near, far = Counter(), Counter()
    for bag in bags:
        told, has = model.weights(network, bag), holds(bag, motif)
        top = np.argsort(-told)[:TOP]
        areas.append(roc_auc_score(has, told))
        found.append(has[top].mean())
        share.append(has.mean())
        near.update(np.concatenate([np.unique(row) for row in kmers(bag[top], len(motif))]))
        rest = bag[: 50 * TOP]
        far.update(np.concatenate([np.unique(row) for row in kmers(rest, len(motif))]))
    near.pop(-1, None)
    lift = {code: count - far[code] / 50 for code, count in near.items()}
    return {
        "motif": spelled(max(lift, key=lambda code: lift[code]), len(motif)),
        "area": float(np.mean(areas)), "witnesses": float(np.mean(found)),
        "by chance": float(np.mean(share)),
    }  # fmt: skip


def spelled(code: int, length: int) -> str:
    """Writes the k-mer of a code."""
    places = [code // NOTHING ** (length - 1 - j) % NOTHING for j in range(length)]
    return "".join(LETTERS[place] for place in places)


def holds(bag: np.ndarray, motif: str) -> np.ndarray:
    """Tells which sequences of a bag have the motif."""
    wanted = sum(LETTERS.index(c) * NOTHING**j for j, c in enumerate(reversed(motif)))
    return (kmers(bag, len(motif)) == wanted).any(1)


@cache
def from_files(folder: Path, name: str) -> Repertoires:
    """Reads a set once."""
    return read(folder, name)


def one_fold(folder: Path, name: str, method: str, fold: int, quick: bool) -> Record:
    """Learns on four fifths of the repertoires and asks about the rest."""
    data = from_files(folder, name)
    split = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    train, test = list(split.split(data.labels, data.labels))[fold]
    begin = time.process_time()
    score, learned = fitted(
        method, [data.bags[i] for i in train], data.labels[train], fold,
        5 if quick else STEPS["folds"], SAMPLES["folds"],
    )  # fmt: skip
    found = score([data.bags[i] for i in test])
    record: Record = {
        "auc": float(roc_auc_score(data.labels[test], found)),
        "seconds": time.process_time() - begin,
    }
    if method == "Hopfield" and name == "immuneML":
        positive = [data.bags[i] for i in test if data.labels[i]]
        record["attention"] = looked_at(learned, positive, "VLEQ")
    return record


def one_rung(name: str, method: str, seed: int, quick: bool) -> Record:
    """Learns on one rung of the ladder and asks about it, and about those below from 1 %."""
    steps, rungs = STEPS[name], LADDER
    if quick:
        steps = 5
        rungs = {
            key: replace(rung, learned=24, asked=10, size=min(rung.size, 20_000))
            for key, rung in LADDER.items()
        }
    rung = rungs[name]
    begin = time.process_time()
    bags = drawn(rung, 0, rung.learned, seed)
    score, learned = fitted(method, bags, np.arange(rung.learned) % 2, seed, steps, SAMPLES[name])
    seconds = time.process_time() - begin
    asked = {name: rung}
    if name == CARRIED:
        names = list(rungs)
        asked |= {key: rungs[key] for key in names[names.index(name) + 1 :]}
    record: Record = {"seconds": seconds, "asked": {}}
    for key, other in asked.items():
        bags = drawn(other, FIRST_ASKED, other.asked, seed)
        labels = np.arange(other.asked) % 2
        found: Record = {"auc": float(roc_auc_score(labels, score(bags)))}
        if method == "Hopfield":
            counted = [int(holds(bag, MOTIF).sum()) for bag in bags]
            found["counted"] = float(roc_auc_score(labels, counted))
            positive = [bags[i] for i in range(1, min(other.asked, 2 * SHOWN), 2)]
            found["attention"] = looked_at(learned, positive, MOTIF)
        record["asked"][key] = found
    return record


def points(given: argparse.Namespace) -> Iterator[tuple[str, Callable[[], Record]]]:
    """Yields the key of each measurement, and what makes it."""
    quick, parts = given.quick, given.parts
    sizes = (SIZES[:2] if quick else SIZES) if "cost" in parts else ()
    for mode, size in product(MODES, sizes):
        yield f"cost/{mode}/{size}", partial(cost, mode, size)
    folds = range(1 if quick else FOLDS) if "folds" in parts else ()
    for name, method, fold in product(SETS, given.methods, folds):
        make = partial(one_fold, given.data, name, method, fold, quick)
        yield f"folds/{name}/{method}/{fold}", make
    seeds = given.seeds[: 1 if quick else None] if "ladder" in parts else ()
    for seed, name, method in product(seeds, given.rungs, given.methods):
        make = partial(one_rung, name, method, seed, quick)
        yield f"ladder/{name}/{method}/{seed}", make


def mean_of(values: Sequence[float]) -> str:
    """Writes the mean, and its standard error where there are several."""
    if not values:
        return ""
    error = np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return f"{np.mean(values):.3f}" + f" ± {error:.3f}" * (len(values) > 1)


def of(found: Record, *begin: str) -> list[Record]:
    """Returns what was measured under keys that begin so."""
    return [run for key, run in found.items() if tuple(key.split("/"))[: len(begin)] == begin]


def ladder_table(found: Record) -> Table:
    """Builds the table of the ladder: learned on the rung, and learned at 1 %."""
    heads = [f"{method}{where}" for where in ("", f", from {CARRIED}") for method in METHODS]
    table = Table("rate", "bag", "motif counted", *heads, title="area under the ROC curve")
    for name, rung in LADDER.items():
        cells = []
        for learned, method in product((name, CARRIED), METHODS):
            asked = [run["asked"].get(name) for run in of(found, "ladder", learned, method)]
            cells.append(mean_of([each["auc"] for each in asked if each]))
        if rung.rate >= LADDER[CARRIED].rate:
            cells[len(METHODS) :] = [""] * len(METHODS)
        counted = [run["asked"][name]["counted"] for run in of(found, "ladder", name, "Hopfield")]
        table.add_row(name, f"{rung.size:,}", mean_of(counted), *cells)
    return table


def attention_table(found: Record) -> Table:
    """Builds the table of what is read from the attention."""
    table = Table("asked", "learned", "motif read", "area of the weights", f"of {TOP}", "of all")
    for key, run in found.items():
        told = {"immuneML": run} if key.startswith("folds") else run.get("asked", {})
        for name, each in told.items():
            if "attention" in each:
                seen = each["attention"]
                shares = [f"{seen[which]:.4f}" for which in ("area", "witnesses", "by chance")]
                table.add_row(name, key.partition("/")[2], seen["motif"], *shares)
    return table


def as_tables(found: Record) -> Iterator[Table]:
    """Builds the tables."""
    table = Table("set", *METHODS, title="area under the ROC curve, five folds")
    for name in SETS:
        cells = [mean_of([run["auc"] for run in of(found, "folds", name, m)]) for m in METHODS]
        table.add_row(name, *cells)
    yield table
    yield ladder_table(found)
    yield attention_table(found)
    table = Table("pooling", "sequences", "input, MiB", "beyond it, MiB", "seconds")
    for mode, size in product(MODES, SIZES):
        for run in of(found, "cost", mode, str(size)):
            table.add_row(
                mode, f"{size:,}", f"{run['input']:.1f}", f"{run['memory']:.0f}",
                f"{run['seconds']:.3f}",
            )  # fmt: skip
    yield table


def picture(found: Record, path: Path) -> None:
    """Draws memory and seconds by the number of sequences in a bag."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    for mode, (color, marker, line) in zip(MODES, SERIES, strict=False):
        runs = [(size, run) for size in SIZES for run in of(found, "cost", mode, str(size))]
        sizes = [size for size, _ in runs]
        for axis, which in zip(axes, ("memory", "seconds"), strict=True):
            values = [run[which] for _, run in runs]
            axis.loglog(sizes, values, color=color, marker=marker, linestyle=line, label=mode)
    axes[0].set(xlabel="sequences in the bag", ylabel="MiB beyond the bag")
    axes[1].set(xlabel="sequences in the bag", ylabel="seconds a pass")
    axes[0].legend(fontsize=7)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Measure what is missing, print the tables."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.evidence.repertoires", description=__doc__
    )
    parts = ("folds", "cost", "ladder")
    usual = Path(os.environ.get("ISINGLASS_DATA", ""), "immune")
    parser.add_argument("--out", type=Path, default=Path("evidence"), help="where results go")
    parser.add_argument("--data", type=Path, default=usual, help="folder of the repertoires")
    parser.add_argument("--parts", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--rungs", nargs="+", choices=LADDER, default=list(LADDER))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the ladder")
    parser.add_argument("--picture", type=Path, help="where to draw memory and seconds")
    parser.add_argument("--quick", action="store_true", help="few steps: does it run?")
    given = parser.parse_args()
    torch.set_num_threads(1)
    store = Cache(given.out / f"{'quick-' * given.quick}repertoires.json")
    for key, measure in track(list(points(given)), description="repertoires"):
        store.get(key, measure)
    for table in as_tables(store.found):
        Console(width=150).print(table)
    if given.picture:
        picture(store.found, given.picture)


if __name__ == "__main__":
    main()
