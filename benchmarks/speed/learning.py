"""One epoch of persistent contrastive divergence beside scikit-learn's."""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
import torch
from sklearn.neural_network import BernoulliRBM

import isinglass as ig
from benchmarks.speed.harness import Line, compare
from isinglass.learning import Likelihood, PersistentCD, fit

ROWS, VISIBLE, HIDDEN, BATCH = 20_000, 784, 500, 100


def lines() -> list[Line]:
    """Both precisions of ours beside both of scikit-learn's, plain and centered."""
    generator = torch.Generator().manual_seed(0)
    probability = 0.6 * torch.rand(VISIBLE, generator=generator) ** 3  # dark edges, as in images
    data = (torch.rand(ROWS, VISIBLE, generator=generator) < probability).float()
    return [
        _line(data, np.float32, None, centered=False),
        _line(data, np.float32, torch.bfloat16, centered=False),
        _line(data, np.float64, None, centered=False),
        _line(data, np.float64, torch.bfloat16, centered=False, target=1 / 3),
        _line(data, np.float64, torch.bfloat16, centered=True, target=1 / 3),
    ]


def _line(
    data: torch.Tensor,
    theirs: type[np.floating],
    autocast: torch.dtype | None,
    *,
    centered: bool,
    target: float | None = None,
) -> Line:
    machine = ig.RBM(ig.Bernoulli(VISIBLE), ig.Bernoulli(HIDDEN))
    peer = BernoulliRBM(HIDDEN, learning_rate=0.01, batch_size=BATCH, n_iter=1, random_state=0)
    rows = data.numpy().astype(theirs)

    def own() -> None:
        fit(
            machine, data, PersistentCD(chains=BATCH), epochs=1, batch_size=BATCH,
            centered=centered,
            optimizer=partial(torch.optim.SGD, lr=0.01), autocast=autocast, progress=False,
            score=Likelihood("pseudo", every=1_000_000),
        )  # fmt: skip

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return compare(
            f"PCD-1, one epoch, products in {'bfloat16' if autocast else 'float32'}"
            + (", centered" if centered else ""),
            own,
            lambda: peer.fit(rows),
            peer=f"sklearn BernoulliRBM, {np.dtype(theirs)}" + (
                ", its default" if theirs is np.float64 else ""
            ),
            shapes=f"{ROWS:,} × {VISIBLE}, {HIDDEN} hidden, batches and chains of {BATCH}",
            target=target,
            rounds=3,
        )  # fmt: skip
