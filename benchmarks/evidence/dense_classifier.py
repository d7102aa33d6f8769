"""Handwritten digits by memories: the Krotov–Hopfield classifier beside a net of equal size.

Test error on MNIST of ``DenseMemoryClassifier`` at several degrees, of each one's feed-forward
twin, and of scikit-learn's ``MLPClassifier`` with as many hidden units as memories. The learning
rate (and the MLP's weight decay) is chosen on the last 10,000 training images, with half the
epochs on the first 20,000; then each learns on all 60,000 and is tested once. Rows already in
the JSON file are not computed again. ``--rate`` leaves the choice out and learns with that rate.

``likeness`` says how near the memories are to examples: the largest |cosine| of a memory with a
training image, both without their part along the mean image, averaged over memories by their pull,
mean F′ over training images times the size of the label weights. ``resting on`` is how many
memories an answer rests on, (Σ|c|)²/Σc² of what each gives to the chosen label, averaged over
images. A picture shows the memories that pull most.

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

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from torch import Tensor

from isinglass.integrations.sklearn import DenseMemoryClassifier
from isinglass.io.atomic import atomic_write

Images = tuple[np.ndarray, np.ndarray]
SHOWN = 8  # memories of each degree in the picture


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
    parser.add_argument("--rate", type=float, help="learning rate; chosen unless given")
    parser.add_argument("--quick", action="store_true", help="2,000 images: does it run?")
    parser.add_argument("--seed", type=int, default=0, help="seed of all that is drawn")
    parser.add_argument("--out", type=Path, default=Path("evidence"), help="folder for the JSON")
    given = parser.parse_args()
    if given.data is None:
        parser.error("say where the data are: --data, or the variable ISINGLASS_DATA")
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    name = f"dense_classifier-{given.memories}-{given.epochs}-{given.seed}"
    path = given.out / f"{'quick-' * given.quick}{name}.json"
    rows: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    train, test = _mnist(given.data / "mnist" / "mnist.npz")
    if given.quick:
        train, test = ((images[:2000], digits[:2000]) for images, digits in (train, test))
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
    Console(width=140).print(_table({name: rows[name] for name in names}, given))
    if all("memories" in rows[name] for name in names[:-1]):
        mpl.use("svg")
        mpl.rcParams |= {"svg.hashsalt": "isinglass", "svg.fonttype": "none", "font.size": 8}
        with atomic_write(given.out / "dense-mnist.svg", overwrite=True) as aside:
            figure = _picture({name: rows[name] for name in names[:-1]})
            figure.savefig(aside, format="svg", metadata={"Date": None})
    print(f"written to {path}")


def _row(name: str, given: argparse.Namespace, train: Images, test: Images) -> dict[str, Any]:
    """Choose the settings on held-out training images, learn with them, test once."""
    build = _mlp if name == "MLP" else _memory(int(name.split()[1]))
    held: dict[str, float] = {}
    count = len(train[0])
    if given.rate is None:
        for settings in _grid(name):
            model = build(given, max(1, given.epochs // 2), **settings)
            model.fit(*(part[: count // 3] for part in train))
            held[json.dumps(settings)] = model.score(*(part[5 * count // 6 :] for part in train))
        chosen = max(held, key=lambda settings: held[settings])
    else:
        chosen = json.dumps(
            {"learning_rate_init" if name == "MLP" else "learning_rate": given.rate}
        )
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
        row |= described(model, train[0], test[0])
    return row


@torch.no_grad()
def described(model: DenseMemoryClassifier, train: np.ndarray, test: np.ndarray) -> dict[str, Any]:
    """Returns how near memories are to examples, how many decide, and those that pull most."""
    images, pixels = model.inputs(train), train.shape[1]
    kept = model.energy_.memories.detach()
    overlap = images[:5000] @ kept[:, :pixels].mT - kept[:, pixels:].sum(-1)
    pull = model.energy_.interaction.slope(overlap).mean(0) * kept[:, pixels:].abs().sum(-1)
    mean = torch.nn.functional.normalize(images.mean(0), dim=-1)
    likeness = _likeness(kept[:, :pixels], images, mean)
    shown = pull.argsort(descending=True)[:SHOWN]
    # For comparison: an image of the test set, which is like none of them more than by its kind.
    other = _likeness(model.inputs(test[:500]), images, mean)
    # How many memories an answer rests on: (Σ|c|)²/Σc² of what each gives to the chosen label.
    silent = overlap[:500]
    chosen = kept[:, pixels:].mT[model.energy_.label_field(images[:500]).argmax(-1)]
    given = (model.energy_.interaction(silent + 2 * chosen)
             - model.energy_.interaction(silent)).abs()  # fmt: skip
    resting = given.sum(-1).square() / given.square().sum(-1)
    return {
        "likeness": float((pull * likeness).sum() / pull.sum()),
        "memories an answer rests on": float(resting.nanmean()),  # nan: on none
        "likeness of test images": float(other.mean()),
        "memories": [[round(value, 3) for value in row] for row in kept[shown].tolist()],
    }


def _likeness(vectors: Tensor, images: Tensor, mean: Tensor) -> Tensor:
    """Largest |cosine| of each vector with an image, both without their part along the mean."""

    def apart(rows: Tensor) -> Tensor:
        return torch.nn.functional.normalize(rows - (rows @ mean)[:, None] * mean, dim=-1)

    found = [(apart(vectors) @ apart(block).mT).abs().amax(-1) for block in images.split(2000)]
    return torch.stack(found).amax(0)


def _picture(rows: dict[str, Any]) -> Figure:
    """The memories that pull most, and the label each votes for and against."""
    figure = Figure(figsize=(7.2, 1.05 * len(rows)), layout="constrained")
    for row, (name, record) in zip(
        figure.subplots(len(rows), SHOWN, squeeze=False), rows.items(), strict=True
    ):
        for axes, memory in zip(row, record["memories"], strict=True):
            pixels, labels = np.split(np.array(memory), [784])
            bound = float(np.abs(pixels).max()) or 1.0
            axes.imshow(pixels.reshape(28, 28), "RdBu_r", vmin=-bound, vmax=bound)
            axes.set_title(f"+{labels.argmax()} −{labels.argmin()}", fontsize=7, pad=2)
            axes.set(xticks=[], yticks=[])
        error = f"{record['test error']:.2%} wrong"
        row[0].set_ylabel(f"{name}\n{error}", rotation=0, ha="right", va="center")
    return figure


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
    for column in (
        "",
        "settings",
        "train",
        "test",
        "its twin",
        "same answers",
        "likeness",
        "resting on",
        "time",
    ):
        table.add_column(column, justify="right" if column else "left")
    for name, row in rows.items():
        twin, same = row.get("twin's test error"), row.get("answers of twin as of memory")
        table.add_row(
            name, ", ".join(f"{key} {value:g}" for key, value in row["settings"].items()),
            f"{row['train error']:.2%}", f"{row['test error']:.2%}",
            "–" if twin is None else f"{twin:.2%}", "–" if same is None else f"{same:.1%}",
            *_words(row), f"{row['seconds']:.0f} s",
        )  # fmt: skip
    return table


def _words(row: dict[str, Any]) -> tuple[str, str]:
    if "likeness" not in row:
        return "–", "–"
    return f"{row['likeness']:.2f}", f"{row['memories an answer rests on']:.1f}"


if __name__ == "__main__":
    main()
