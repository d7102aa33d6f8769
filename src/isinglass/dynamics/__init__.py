"""Kernels: how a state moves. At T = 0 a kernel descends, above it samples."""

from isinglass.dynamics.asynchronous import Asynchronous, PairwiseEnergy
from isinglass.dynamics.cccp import CCCP
from isinglass.dynamics.gibbs import BlockGibbs
from isinglass.dynamics.kernel import FieldEnergy, Kernel, Memoryless, Position, run
from isinglass.dynamics.recall import Recall, recall
from isinglass.dynamics.screened import Screened
from isinglass.dynamics.single_site import SingleSite
from isinglass.dynamics.synchronous import Synchronous
from isinglass.path import Path

__all__ = [
    "CCCP",
    "Asynchronous",
    "BlockGibbs",
    "FieldEnergy",
    "Kernel",
    "Memoryless",
    "PairwiseEnergy",
    "Path",
    "Position",
    "Recall",
    "Screened",
    "SingleSite",
    "Synchronous",
    "recall",
    "run",
]
