"""Dense memories: recall beside the energy differences written out, learning beside an MLP."""

from __future__ import annotations

import warnings

import torch
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from torch import Tensor

import isinglass as ig
from benchmarks.speed.harness import Line, compare
from isinglass.integrations.sklearn import DenseMemoryClassifier

WRITTEN_OUT = "the formula in plain torch"


def lines() -> list[Line]:
    """Fields and recall of spins; an epoch of learning."""
    generator = torch.Generator().manual_seed(0)
    patterns = torch.randn(2000, 200, generator=generator).sign()
    cues = torch.where(
        torch.rand(64, 200, generator=generator) < 0.05, -patterns[:64], patterns[:64]
    )
    memory = ig.DenseMemory(patterns, 3)
    return [
        compare(
            "dense memory, one update of all spins",
            lambda: memory.local_field(cues).sign(),
            lambda: _differences(patterns, cues).sign(),
            peer=WRITTEN_OUT, shapes="64 × 2,000 × 200, float32, n = 3", rounds=5,
            note="No peer has dense memories: E at v_i = ±1 for every spin, by its definition.",
        ),
        compare(
            "dense memory, asynchronous recall",
            lambda: memory.recall(cues[:8]),
            lambda: _recall(patterns, cues[:8]),
            peer=WRITTEN_OUT, shapes="8 × 2,000 × 200, float32, n = 3, 5 % wrong", rounds=3,
        ),
        *(_epochs(degree) for degree in (2, 3)),
    ]  # fmt: skip


def _epochs(degree: int) -> Line:
    images, digits = load_digits(return_X_y=True)
    images = images.astype("float32") / 16
    own = DenseMemoryClassifier(200, degree=degree, max_iter=5, batch_size=100, random_state=0)
    theirs = MLPClassifier((200,), max_iter=5, batch_size=100, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return compare(
            f"Krotov–Hopfield classifier, 5 epochs, n = {degree}",
            lambda: own.fit(images, digits),
            lambda: theirs.fit(images, digits),
            peer="sklearn MLPClassifier",
            shapes="1,797 × 64, 200 memories or hidden units, 10 labels, batches of 100, float32",
            rounds=3,
            note="F is evaluated once a memory and label, an MLP's activation once a unit.",
        )


def _differences(patterns: Tensor, state: Tensor) -> Tensor:
    """½ (E(v_i = −1) − E(v_i = +1)), by blocks of spins: every overlap anew."""
    rest = (state @ patterns.mT).unsqueeze(-2)
    fields = []
    for spins in torch.arange(patterns.shape[-1]).split(10):
        own = patterns[:, spins].mT
        others = rest - state[:, spins].unsqueeze(-1) * own
        above, below = (others + own).clamp_min(0) ** 3, (others - own).clamp_min(0) ** 3
        fields.append((above - below).sum(-1) / 2)
    return torch.cat(fields, -1)


def _recall(patterns: Tensor, cues: Tensor) -> Tensor:
    """Spin after spin, each to the sign of its energy difference, until none turns."""
    state, moved = cues.clone(), True
    while moved:
        moved = False
        for i in range(patterns.shape[-1]):
            own = patterns[:, i]
            others = state @ patterns.mT - state[:, i : i + 1] * own
            field = ((others + own).clamp_min(0) ** 3 - (others - own).clamp_min(0) ** 3).sum(-1)
            new = torch.where(field == 0, state[:, i], field.sign())
            moved = moved or not torch.equal(new, state[:, i])
            state[:, i] = new
    return state
