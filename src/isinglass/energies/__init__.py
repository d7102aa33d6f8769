"""The families of energies."""

from isinglass.energies.classical import ClassicalHopfield
from isinglass.energies.dense import DenseMemory
from isinglass.energies.harmonium import RBM, Harmonium, Marginal
from isinglass.energies.hopfield_boltzmann import HopfieldBoltzmann
from isinglass.energies.memory import Memory
from isinglass.energies.mixture import PatternMixture
from isinglass.energies.modern import ModernHopfield

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
