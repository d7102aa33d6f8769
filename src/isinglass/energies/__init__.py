"""The families of energies."""

from isinglass.energies.harmonium import RBM, Harmonium, Marginal
from isinglass.energies.hopfield_boltzmann import HopfieldBoltzmann
from isinglass.energies.memories import ClassicalHopfield, DenseMemory, Memory, ModernHopfield
from isinglass.energies.mixture import PatternMixture

__all__ = [
    "RBM",
    "ClassicalHopfield",
    "DenseMemory",
    "Harmonium",
    "HopfieldBoltzmann",
    "Marginal",
    "Memory",
    "ModernHopfield",
    "PatternMixture",
]
