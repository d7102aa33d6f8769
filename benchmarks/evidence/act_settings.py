"""Settings of FreeEnergyQ in each task of ``benchmarks.evidence.act``: its keyword arguments.

What is not named is a default of the agent. ``n_envs`` is the number of environments it acts in,
``environment`` holds arguments of those it learns in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["OURS", "Falling"]


@dataclass(frozen=True)
class Falling:
    """A learning rate that falls linearly to zero; its text says all of it, as a lambda's does not.

    Args:
        start: The rate at the start.
    """

    start: float

    def __call__(self, remaining: float) -> float:
        """The rate when this share of the training remains."""
        return self.start * remaining


OURS: dict[str, dict[str, Any]] = {
    "large-action": {},
    "parity": {},
    "assignment6": {},
    "assignment8": {},
    "trap": {},
    "blockers5x4": {},
    "blockers4x7": {},
    "tictactoe": {},
    "cartpole": {},
    "pendulum": {},
}
