"""The three contracts: an energy, a kernel that moves its states, a path that anneals to it."""

from isinglass.core.energy import Energy
from isinglass.core.kernel import FieldEnergy, Kernel, KernelState, Memoryless, run
from isinglass.core.path import AnnealingPath

__all__ = ["AnnealingPath", "Energy", "FieldEnergy", "Kernel", "KernelState", "Memoryless", "run"]
