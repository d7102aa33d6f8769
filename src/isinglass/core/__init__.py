"""The contracts: an energy and its capabilities, a kernel that moves it, a path to anneal along."""

from isinglass.core.capabilities import (
    Annealable,
    Clampable,
    ConcaveConvex,
    Gibbs,
    Serializable,
    Tractable,
    Trainable,
    as_trainable,
    require,
)
from isinglass.core.energy import Energy
from isinglass.core.kernel import ChainState, FieldEnergy, Kernel, KernelState, Memoryless, run
from isinglass.core.path import AnnealingPath

__all__ = [
    "Annealable",
    "AnnealingPath",
    "ChainState",
    "Clampable",
    "ConcaveConvex",
    "Energy",
    "FieldEnergy",
    "Gibbs",
    "Kernel",
    "KernelState",
    "Memoryless",
    "Serializable",
    "Tractable",
    "Trainable",
    "as_trainable",
    "require",
    "run",
]
