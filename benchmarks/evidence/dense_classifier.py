"""Handwritten digits by memories: the Krotov–Hopfield classifier beside a net of equal size.

Test error on MNIST of ``DenseMemoryClassifier`` at several degrees, of each one's feed-forward
twin, and of scikit-learn's ``MLPClassifier`` with as many hidden units as memories. The learning
rate (and the MLP's weight decay) is chosen on the last 10,000 training images, with half the
epochs on the first 20,000; then each learns on all 60,000 and is tested once. Rows already in
the JSON file are not computed again.

The paper (Krotov & Hopfield 2016, arXiv:1606.01164) reports errors of 1.44 % to 1.8 % after
3,000 epochs with 2,000 memories.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from isinglass.integrations.sklearn import DenseMemoryClassifier
from isinglass.io.atomic import atomic_write

Images = tuple[np.ndarray, np.ndarray]


def main() -> None:
    """Parse the command line, learn what is missing, print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.evidence.dense_classifier",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    folder = os.environ.get("ISINGLASS_DATA")
    parser.add_argument("--data", type=Path, default=folder, help="folder with mnist/mnist.npz")
    parser.add_argument("--degrees", type=int, nargs="+", default=[2, 3, 20], help="powers n")
    parser.add_argument("--memories", type=int, default=500, help="memories, and hidden units")
    parser.add_argument("--epochs", type=int, default=15, help="epochs on all images")
    parser.add_argument("--seed", type=int, default=0, help="seed of all that is drawn")
    parser.add_argument("--out", type=Path, default=Path("evidence"), help="folder for the JSON")
    given = parser.parse_args()
    if given.data is None:
        parser.error("say where the data are: --data, or the variable ISINGLASS_DATA")
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / f"dense_classifier-{given.memories}-{given.epochs}-{given.seed}.json"
    rows: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    train, test = _mnist(given.data / "mnist" / "mnist.npz")
    names = [f"degree {degree}" for degree in given.degrees] + ["MLP"]
    with Progress() as progress:
        task = progress.add_task("", total=len(names))
        for name in names:
            progress.update(task, description=name)
            if name not in rows:
                rows[name] = _row(name, given, train, test)
                with atomic_write(path, overwrite=True) as aside:
                    aside.write_text(json.dumps(rows, indent=2))
            progress.advance(task)
    Console().print(_table({name: rows[name] for name in names}, given))
    print(f"written to {path}")


def _row(name: str, given: argparse.Namespace, train: Images, test: Images) -> dict[str, Any]:
    """Choose the settings on held-out training images, learn with them, test once."""
    build = _mlp if name == "MLP" else _memory(int(name.split()[1]))
    held: dict[str, float] = {}
    for settings in _grid(name):
        model = build(given, max(1, given.epochs // 2), **settings)
        model.fit(train[0][:20_000], train[1][:20_000])
        held[json.dumps(settings)] = model.score(train[0][50_000:], train[1][50_000:])
    chosen = max(held, key=lambda settings: held[settings])
    start = time.perf_counter()
    model = build(given, given.epochs, **json.loads(chosen)).fit(*train)
    seconds = time.perf_counter() - start
    row: dict[str, Any] = {
        "settings": json.loads(chosen), "held out": held, "seconds": seconds,
        "train error": 1 - model.score(*train), "test error": 1 - model.score(*test),
    }  # fmt: skip
    if isinstance(model, DenseMemoryClassifier):
        with torch.no_grad():
            answers = model.energy_.twin()(model.inputs(test[0])).argmax(-1).numpy()
        row["twin's test error"] = float((answers != test[1]).mean())
        row["answers of twin as of memory"] = float((answers == model.predict(test[0])).mean())
    return row


def _grid(name: str) -> Iterator[dict[str, float]]:
    for rate in (0.001, 0.003):
        if name == "MLP":
            yield from ({"learning_rate_init": rate, "alpha": decay} for decay in (1e-4, 1e-2))
        else:
            yield {"learning_rate": rate}


def _memory(degree: int) -> Callable[..., DenseMemoryClassifier]:
    def build(given: argparse.Namespace, epochs: int, **settings: float) -> DenseMemoryClassifier:
        return DenseMemoryClassifier(
            given.memories, degree=degree, max_iter=epochs, random_state=given.seed, **settings
        )

    return build


def _mlp(given: argparse.Namespace, epochs: int, **settings: float) -> MLPClassifier:
    warnings.simplefilter("ignore", ConvergenceWarning)
    return MLPClassifier((given.memories,), max_iter=epochs, random_state=given.seed, **settings)


def _mnist(path: Path) -> tuple[Images, Images]:
    with np.load(path, allow_pickle=False) as file:
        train, test = (
            (file[f"x_{part}"].reshape(-1, 784).astype(np.float32) / 255, file[f"y_{part}"])
            for part in ("train", "test")
        )
    return train, test


def _table(rows: dict[str, Any], given: argparse.Namespace) -> Table:
    table = Table(title=f"MNIST, {given.memories} memories or hidden units, {given.epochs} epochs")
    for column in ("", "settings", "train", "test", "its twin", "same answers", "time"):
        table.add_column(column, justify="right" if column else "left")
    for name, row in rows.items():
        twin, same = row.get("twin's test error"), row.get("answers of twin as of memory")
        table.add_row(
            name, ", ".join(f"{key} {value:g}" for key, value in row["settings"].items()),
            f"{row['train error']:.2%}", f"{row['test error']:.2%}",
            "–" if twin is None else f"{twin:.2%}", "–" if same is None else f"{same:.1%}",
            f"{row['seconds']:.0f} s",
        )  # fmt: skip
    return table


if __name__ == "__main__":
    main()
