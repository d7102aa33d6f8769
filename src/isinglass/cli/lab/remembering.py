"""The first room, in Python: a modern Hopfield net, stepped for one visitor."""

from __future__ import annotations

import time
from functools import cache

import numpy as np
import torch
from torch import Tensor

from isinglass import dynamics
from isinglass._support.typing import Float
from isinglass.cli.lab.asking import array, number, whole
from isinglass.cli.lab.digits import LARGE, MOST, enlarged, lab_digits, standardize
from isinglass.dynamics import Langevin
from isinglass.energies import ModernHopfield
from isinglass.errors import ParameterError

__all__ = ["Remembering"]

STEP = 0.5  # h of the Langevin step: a fall of about 40 steps can be watched
TOP = 5  # memories named in an answer
OWN = 50  # drawings a visitor may store
MOST_STEPS = 100  # in one answer


@cache
def _patterns(count: int) -> Float[Tensor, "n 784"]:
    return standardize(enlarged(lab_digits().images[:count])).patterns.float()


class Remembering:
    """A net of digits and its state, those of one visitor.

    Args:
        seed: Of the noise.

    Raises:
        ParameterError: From its methods, if what is asked is out of bounds.
    """

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._kernel = Langevin(step_size=STEP)
        self._patterns = torch.empty(0, LARGE * LARGE)
        self._stored = 0
        self._state = torch.zeros(LARGE * LARGE)

    def open(self, asked: dict[str, object]) -> dict[str, object]:
        """Stores ``count`` digits, and forgets what was there."""
        self._patterns = _patterns(whole(asked, "count", 1, MOST))
        self._stored = 0
        return {"memories": len(self._patterns), "units": self._patterns.shape[1]}

    def set(self, asked: dict[str, object]) -> dict[str, object]:
        """Replaces the state by ``state``, which is what was drawn or broken."""
        self._state = torch.from_numpy(array(asked, "state", LARGE * LARGE))
        return {}

    def store(self, asked: dict[str, object]) -> dict[str, object]:
        """Stores the state as one memory more, brought to length 1."""
        if self._stored >= OWN:
            raise ParameterError(f"{OWN} drawings are stored", "Choose the memory anew")
        length = self._state.norm()
        if not length > 0:
            raise ParameterError("an empty state", "Draw something first")
        self._patterns = torch.cat([self._patterns, (self._state / length)[None]])
        self._stored += 1
        return {"memories": len(self._patterns)}

    def advance(self, asked: dict[str, object]) -> np.ndarray:
        """Takes ``steps`` Langevin steps at ``temperature`` and ``beta``; returns what is shown.

        Returns:
            Energy, milliseconds, memories blended, the places and weights of the largest five,
            then the state and one attention step from it.
        """
        steps = whole(asked, "steps", 0, MOST_STEPS)
        temperature = number(asked, "temperature", 0.0, 1.0)
        beta = number(asked, "beta", 1.0, 1000.0)
        if len(self._patterns) < TOP:
            raise ParameterError("no memories yet", "Ask for open first")
        start = time.perf_counter()
        memory = ModernHopfield(self._patterns, beta, copy=False)
        if steps:
            self._state = dynamics.run(
                self._kernel, memory, self._state, steps=steps, temperature=temperature,
                generator=self._generator,
            )  # fmt: skip
        weights = memory.association(self._state)
        reading = weights @ self._patterns
        top = weights.topk(TOP)
        blended = torch.special.entr(weights).sum().exp()
        took = 1000 * (time.perf_counter() - start)
        head = [float(memory(self._state)), took, float(blended)]
        pairs = torch.stack([top.indices.float(), top.values], 1).flatten()
        return torch.cat([torch.tensor(head), pairs, self._state, reading]).numpy()
