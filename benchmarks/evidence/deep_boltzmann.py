"""Deep Boltzmann machines on binarized digits, beside a restricted one of as many parameters.

64 bits (scikit-learn's digits, ink or paper), hidden layers of 16 and 8 bits: small enough that
log Z and every likelihood are sums over all states, so that each figure is exact. Learned in
three ways:

* greedy: layer by layer, as two RBMs;
* joint: all layers at once, from small random weights;
* greedy, then joint: each half of the epochs.

The RBM has 18 hidden bits: 1,234 parameters, and the deep machine 1,240. All learn by PCD-5 with
centered gradients and momentum, for equally many epochs; the learning rate of each is the better of
two by the likelihood of 300 validation images, with the first seed. Tested once on 400 images. Rows
already in the JSON file are not computed again.

The variational bound of the deep machine is that of mean-field inference, with the exact log Z.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Generator, Tensor

import isinglass as ig
from isinglass.data.digits import load_digits
from isinglass.io.atomic import atomic_write
from isinglass.learning import Likelihood, PersistentCD, fit, greedy_pretraining

RATES = (0.01, 0.03)
MODELS = ("RBM", "greedy", "joint", "greedy, then joint")


def main() -> None:
    """Parse the command line, learn what is missing, print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.evidence.deep_boltzmann",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", type=int, default=5, help="how many machines of each kind")
    parser.add_argument("--epochs", type=int, default=200, help="epochs of each, in all")
    parser.add_argument("--out", type=Path, default=Path("evidence"), help="folder for the JSON")
    parser.add_argument("--quick", action="store_true", help="one seed, 20 epochs")
    given = parser.parse_args()
    if given.quick:
        given.seeds, given.epochs = 1, 20
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / f"deep_boltzmann-{given.epochs}.json"
    rows: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    runs = [(model, seed, rate) for model in MODELS for seed in range(given.seeds)
            for rate in (RATES if seed == 0 else (None,))]  # fmt: skip
    with Progress() as progress:
        task = progress.add_task("", total=len(runs))
        for model, seed, rate in runs:
            chosen = rate or _best(rows, model)
            key = f"{model}, seed {seed}, rate {chosen}"
            progress.update(task, description=key)
            if key not in rows:
                rows[key] = _row(model, seed, chosen, given.epochs)
                with atomic_write(path, overwrite=True) as aside:
                    aside.write_text(json.dumps(rows, indent=2))
            progress.advance(task)
    Console().print(_table(rows, given))
    print(f"written to {path}")


def _best(rows: dict[str, Any], model: str) -> float:
    return max(RATES, key=lambda rate: rows[f"{model}, seed 0, rate {rate}"]["valid"])


def _row(model: str, seed: int, rate: float, epochs: int) -> dict[str, float]:
    train, valid, test = (part.bits().float() for part in load_digits())
    start = time.perf_counter()
    machine = _learned(model, train, seed, rate, epochs)
    seconds = time.perf_counter() - start
    with torch.no_grad():
        log_z = machine.exact_log_partition()
        row = {
            name: float((-machine.free_energy(part) - log_z).mean())
            for name, part in (("train", train), ("valid", valid), ("test", test))
        }
        row["bound"] = float((-machine.positive_phase(test) - log_z).mean())
    parameters = sum(parameter.numel() for parameter in machine.parameters())
    return row | {"log Z": float(log_z), "seconds": seconds, "parameters": parameters}


def _learned(model: str, data: Tensor, seed: int, rate: float, epochs: int) -> ig.Harmonium:
    generator = Generator().manual_seed(seed)
    objective = PersistentCD(steps=5)
    settings: dict[str, Any] = {
        "optimizer": partial(torch.optim.SGD, lr=rate, momentum=0.9),
        "progress": False,
        "score": Likelihood(every=10**9),  # never
        "generator": generator,
    }
    if model == "RBM":
        rbm = ig.RBM(ig.Bernoulli(64), ig.Bernoulli(18), generator=generator)
        fit(rbm, data, objective, epochs=epochs, **settings)
        return rbm
    machine = ig.DeepBoltzmann(
        [ig.Bernoulli(64), ig.Bernoulli(16), ig.Bernoulli(8)], generator=generator
    )
    joint = {"greedy": 0, "joint": epochs}.get(model, epochs // 2)
    if joint < epochs:
        greedy_pretraining(machine, data, objective, epochs=(epochs - joint) // 2, **settings)
    if joint:
        fit(machine, data, objective, epochs=joint, **settings)
    return machine


def _table(rows: dict[str, Any], given: argparse.Namespace) -> Table:
    table = Table(title=f"Binarized digits, {given.epochs} epochs, {given.seeds} seeds, nats")
    for column in ("", "parameters", "rate", "train", "test", "bound", "log Z", "time"):
        table.add_column(column, justify="right" if column else "left")
    for model in MODELS:
        rate = _best(rows, model)
        found = [rows[f"{model}, seed {seed}, rate {rate}"] for seed in range(given.seeds)]
        shown = [_mean([row[name] for row in found]) for name in ("train", "test", "bound")]
        table.add_row(
            model, f"{found[0]['parameters']:,}", f"{rate:g}", *shown,
            f"{fmean(row['log Z'] for row in found):.1f}",
            f"{fmean(row['seconds'] for row in found):.0f} s",
        )  # fmt: skip
    return table


def _mean(values: list[float]) -> str:
    spread = f" ± {stdev(values):.2f}" if len(values) > 1 else ""
    return f"{fmean(values):.2f}{spread}"


if __name__ == "__main__":
    main()
