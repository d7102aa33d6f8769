"""The classical network beside hopfieldkit: storing, and recalling by asynchronous sweeps.

hopfieldkit stores one pattern after another and recalls one cue after another, one unit after
another, in float64; it is given the same patterns, the cues in a loop, and its own fixed order,
which draws no random numbers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from hopfieldkit import HopfieldNetwork, PerceptronHopfieldNetwork
from torch import Tensor

from benchmarks.speed.harness import Line, compare
from isinglass import Asynchronous, ClassicalHopfield
from isinglass.energies import Hebb, Perceptron, PseudoInverse, Storkey

__all__ = ["lines"]

PEER = "hopfieldkit"


def lines() -> list[Line]:
    """Storing and recalling on 2,500 and 10,000 units; perceptron on 500."""
    return [*_group(2500, 100, rounds=5), *_group(10_000, 20, rounds=3), _perceptron()]


def _random(count: int, size: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.where(torch.rand(count, size, generator=generator) < 0.5, -1.0, 1.0)


def _group(size: int, count: int, rounds: int) -> list[Line]:
    patterns = _random(count, size)
    arrays = patterns.double().numpy()
    cues = torch.cat([-patterns[:, : size // 10], patterns[:, size // 10 :]], -1)
    peer = HopfieldNetwork(size).fit(arrays)
    memory = ClassicalHopfield(patterns)

    def theirs(many: int) -> Callable[[], np.ndarray]:
        starts = cues[:many].double().numpy()
        return lambda: np.stack([peer.recall(start, order="sequential") for start in starts])

    def own(many: int) -> Callable[[], Tensor]:
        return lambda: memory.recall(cues[:many], kernel=Asynchronous()).state

    if not np.array_equal(theirs(2)(), own(2)().double().numpy()):
        raise RuntimeError("the two do not recall the same")
    shapes = f"{count} × {size:,}, float32"
    stored = [
        compare(
            f"store, {type(rule).__name__}", lambda rule=rule: ClassicalHopfield(patterns, rule),
            lambda: HopfieldNetwork(size).fit(arrays), peer=PEER, shapes=shapes, rounds=rounds,
            target=1.0 if isinstance(rule, Hebb) else None,
            note="" if isinstance(rule, Hebb) else f"{PEER} has no such rule: its Hebb's beside it",
        )
        for rule in (Hebb(), Storkey(), PseudoInverse())
    ]  # fmt: skip
    recalled = [
        compare(
            f"recall, {many} cues, a tenth flipped", own(many), theirs(many), peer=PEER,
            shapes=shapes, rounds=rounds, target=1.0,
        )
        for many in (1, count)
    ]  # fmt: skip
    return stored + recalled


def _perceptron() -> Line:
    """The same margin in each one's own units: any above zero."""
    patterns = _random(100, 500)
    arrays = patterns.double().numpy()
    return compare(
        "store, Perceptron", lambda: ClassicalHopfield(patterns, Perceptron()),
        lambda: PerceptronHopfieldNetwork(500).fit(arrays, seed=0), peer=PEER,
        shapes="100 × 500, float32", rounds=3, target=1.0,
    )  # fmt: skip
