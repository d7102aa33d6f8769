"""Kernels: how a state moves. At T = 0 a kernel descends, above it samples."""

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
