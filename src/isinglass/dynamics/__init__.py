"""Kernels: how a state moves. Each is ``init`` and ``step``; at T = 0 it descends, above it samples."""

from isinglass.dynamics.gibbs import BlockGibbs
from isinglass.dynamics.kernel import Kernel, Position, run
from isinglass.dynamics.recall import CCCP, Recall, Synchronous, recall
from isinglass.dynamics.single_site import SingleSite

__all__ = [
    "CCCP",
    "BlockGibbs",
    "Kernel",
    "Position",
    "Recall",
    "SingleSite",
    "Synchronous",
    "recall",
    "run",
]
