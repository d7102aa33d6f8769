"""All experiments: how each is asked whether it runs, for how long, and where its figures lie."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.evidence.cache import read_json

__all__ = ["EXPERIMENTS", "Experiment", "Figure"]


@dataclass(frozen=True)
class Figure:
    """A number in the JSON files of an experiment.

    Args:
        what: The same words as in ``summary.json``.
        files: Names of files, with * and ?.
        keys: The way down into them; each may have * and ?, and what they match is averaged.
        scale: What the number is multiplied by, as the page has it.
    """

    what: str
    files: str
    keys: tuple[str, ...]
    scale: float = 1.0

    def read(self, folder: Path) -> float | None:
        """Returns the mean of all numbers that are there, or None."""
        found = [
            value
            for path in sorted(folder.rglob(self.files))
            for value in _numbers(read_json(path), self.keys)
        ]
        return self.scale * fmean(found) if found else None


def _numbers(node: Any, keys: tuple[str, ...]) -> Iterator[float]:
    """Yields what lies at the end of the way; a number in keys is a place in a list."""
    if not keys:
        if isinstance(node, int | float) and not isinstance(node, bool):
            yield float(node)
        return
    key, *rest = keys
    if isinstance(node, dict):
        below = [value for name, value in node.items() if fnmatchcase(name, key)]
    elif isinstance(node, list):
        below = node if key == "*" else node[int(key) : int(key) + 1]
    else:
        return
    for value in below:
        yield from _numbers(value, tuple(rest))


@dataclass(frozen=True)
class Experiment:
    """One module of ``benchmarks.evidence``.

    Args:
        name: Of the module; its results go to a folder of this name.
        quick: Arguments with which it says whether it runs.
        seconds: After which a quick run is cut.
        figures: What is shown of its results.
        whole: Arguments of the run that the pages are of.
        data: What it needs below the folder that ISINGLASS_DATA names.
        packages: What it needs to import besides.
        page: Below ``docs``, of one that has no figure in ``summary.json``.
    """

    name: str
    quick: tuple[str, ...] = ("--quick",)
    seconds: int = 30
    figures: tuple[Figure, ...] = ()
    whole: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    page: str = ""


def _runs(what: str, start: str, key: str = "mean", scale: float = 1.0) -> Figure:
    """The mean over runs of ``benchmarks.evidence.grid``, a file each."""
    return Figure(what, f"*{start}-*.json", ("run", key), scale)


#: One after another in this order. A new one is a module that takes ``--out`` and ``--quick`` and
#: stores JSON there, a line here, and its figures in ``summary.json``.
EXPERIMENTS = (
    Experiment(
        "bags", ("--quick", "--tasks", "tiger", "fox",
                 "--methods", "Hopfield, default", "mean and max, SVM"), 30,
        (_runs("Tiger, area under the ROC curve", "tiger-Hopfield,_default"),
         _runs("Fox, area under the ROC curve", "fox-Hopfield,_default")),
        whole=("--seeds", "0", "--methods", "Hopfield, default", "mean and max, SVM", "MILES"),
        data=("mil",),
    ),
    Experiment(
        "uci", ("--quick", "--tasks", "iris", "wine", "zoo",
                "--methods", "Hopfield", "SVM", "forest"), 20,
        (Figure("accuracy, mean of 62 tables", "*-Hopfield-0.json", ("run", "mean")),),
        data=("uci121",),
    ),
    Experiment(
        "drugs", ("--quick", "--tasks", "bace random",
                  "--methods", "one setting", "forest", "k-NN"), 30,
        (_runs("BACE, random split, area under the ROC curve", "bace_random-one_setting"),),
        data=("moleculenet",), packages=("rdkit",),
    ),
    Experiment(
        "dense_classifier", seconds=35, data=("mnist",),
        figures=(
            Figure("MNIST, test error in %, degree 2", "*dense_classifier-*.json",
                   ("degree 2", "test error"), 100),
            Figure("the same, degree 3", "*dense_classifier-*.json",
                   ("degree 3", "test error"), 100),
        ),
    ),
    Experiment(
        "repertoires", ("--quick", "--parts", "ladder", "--rungs", "10 %"), 20,
        whole=("--parts", "ladder"),
        figures=(Figure("10 % witnesses, area under the ROC curve", "*repertoires.json",
                        ("ladder/10 %/Hopfield/0", "auc")),),
        data=("immune",),
    ),
    Experiment(
        "box_cut", ("--quick", "--objects", "head"), 10,
        (Figure("objects cut out by a box, mean intersection over union", "*box_cut-*.json",
                ("*/bags, default", "cleaned")),),
        packages=("skimage", "cv2"),
    ),
    Experiment("classical_nets", seconds=20, data=("mnist", "olivetti")),
    Experiment(
        "capacity", seconds=20,
        figures=(Figure("Hebb, patterns recalled at a load of 0.19, 250 units",
                        "capacity-*.json", ("a 250 0.19", "mean")),),
    ),
    Experiment(
        "stored_digits", seconds=20, data=("mnist",),
        figures=(
            Figure("60,000 digits by their upper halves, recalled, in %", "*stored_digits-*.json",
                   ("ModernHopfield()/lower half hidden", "exact"), 100),
            Figure("60,000 digits, 30 % of the pixels flipped, recalled, in %",
                   "*stored_digits-*.json", ("ModernHopfield()/30 % flipped", "exact"), 100),
        ),
    ),
    Experiment(
        "few_shot", seconds=40, data=("omniglot_small",),
        figures=(
            Figure("Omniglot, 5-way 1-shot, named, in %", "*few_shot.json",
                   ("trained by memory/*", "5-way 1-shot", "memory", "0"), 100),
            Figure("Omniglot, 20-way 1-shot", "*few_shot.json",
                   ("trained by memory/*", "20-way 1-shot", "memory", "0"), 100),
        ),
        whole=("--embeddings", "pixels", "random network", "trained by memory"),
    ),
    Experiment(
        "tables", ("--quick", "--sets", "iris", "diabetes"), 20, data=("uci121",),
        figures=(
            Figure("hidden numbers, 10 % of the cells, error", "*.json",
                   ("impute 0.1 ours", "rmse")),
            Figure("the same, 30 %", "*.json", ("impute 0.3 ours", "rmse")),
            Figure("log-likelihood of test rows, nats a row", "*.json", ("density ours", "nats")),
            Figure("anomalies, area under the ROC curve", "*.json", ("anomaly ours", "auroc")),
        ),
    ),
    Experiment("imputation", seconds=20, data=("uci121",)),
    Experiment(
        "likelihood", seconds=25,
        figures=(Figure("bars and stripes, worst of 10 seeds, nats in all", "likelihood.json",
                        ("bars", "*")),),
    ),
    Experiment(
        "partition", seconds=25,
        figures=(Figure("effective sample size of 100", "partition.json", ("ours *", "size")),),
        whole=("--rivals", "1"),
    ),
    Experiment("ising", seconds=10),
    Experiment("deep_boltzmann", seconds=20, page="energies/deep-boltzmann.md"),
    Experiment(
        "ground_states",
        ("--quick", "--methods", "population", "annealing", "exchange", "--tasks",
         "EA 10×10 ±J torus", "EA 14×14 Gaussian open", "SK 20"), 25,
    ),
    Experiment(
        "clusters", seconds=15,
        figures=(Figure("Ising 8×8 at T_c, steps worth a draw", "clusters.json",
                        ("Ising 8 clusters *", "time")),),
    ),
    Experiment("coverage", ("--quick", "--tasks", "EA ±J torus 4×4, T = 1"), 15),
    Experiment(
        "round_trips", seconds=20,
        figures=(Figure("replicas that arrive a round, 8 levels", "round_trips.json",
                        ("two modes, 10 spins 8 ReplicaExchange *", "rate")),),
    ),
    Experiment(
        "toy_densities", ("--quick", "--tasks", "two moons"), 20,
        (_runs("two moons, nats a test point", "two_moons-energy_discrepancy"),),
        whole=("--tasks", "two moons", "--seeds", "0"),
    ),
    Experiment(
        "stochastic_attention", seconds=20, data=("text",), whole=("--steps", "700"),
        figures=(Figure("made-up heads, error at 64 draws", "stochastic_attention.json",
                        ("made-up heads", "64", "measured")),),
    ),
    Experiment("attention_families", seconds=15, packages=("transformers",)),
    Experiment(
        "findings", seconds=20, data=("stories260K",), packages=("transformers",),
        page="findings.md",
    ),
    Experiment("heat", seconds=20, data=("stories260K",), packages=("transformers",)),
    Experiment("replaced_heads", seconds=20, data=("stories260K",), packages=("transformers",)),
    Experiment("energy_transformer", seconds=20, data=("text",), page="heat.md"),
    Experiment(
        "act_defaults",
        ("--quick", "--tasks", "FrozenLake", "CartPole", "Parity", "--methods", "FreeEnergyQ"), 25,
    ),
    Experiment(
        "act", ("large-action", "--agents", "ours", "--seeds", "1", "--steps", "300"), 15,
        whole=("large-action", "parity", "assignment6", "assignment8", "trap"),
        packages=("sb3_contrib",),
    ),
    Experiment("retrace", seconds=20),
    Experiment("hybrid_actions", ("--quick", "--tasks", "aim", "--methods", "FreeEnergyQ"), 15),
    Experiment("offline", ("--quick", "--tasks", "LargeAction"), 20),
    Experiment(
        "world", seconds=25,
        figures=(
            Figure("Two-Room 11×11", "world.json", ("Two-Room 11×11, *", "transitions")),
            Figure("CliffWalking", "world.json", ("CliffWalking, *", "transitions")),
        ),
    ),
    Experiment("world_games", ("--quick", "--tasks", "minimax", "--methods", "turned"), 15),
    Experiment(
        "episodic", ("--quick", "--tasks", "T-maze 5", "--methods", "EpisodicMemory"), 15
    ),
    Experiment("self_play", ("--quick", "--tasks", "4x5"), 30),
    Experiment("language", ("--quick", "--tasks", "toy"), 15),
    Experiment("think", seconds=25, data=("clutrr",)),
    Experiment("think_puzzles", seconds=40, data=("sudoku",)),
    Experiment(
        "think_gym_puzzles", seconds=15, packages=("reasoning_gym",), page="think-puzzles.md"
    ),
    Experiment("think_gym_rules", seconds=15, packages=("reasoning_gym",)),
    Experiment("think_graphs", seconds=20, data=("kg",)),
    Experiment("think_worlds", ("--quick", "--methods", "thoughts"), 15),
)  # fmt: skip
