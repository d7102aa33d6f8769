"""The families of energies."""

from isinglass.energies.attend import Attend
from isinglass.energies.classical import ClassicalHopfield
from isinglass.energies.continuous import ContinuousHopfield
from isinglass.energies.dense import DenseMemory
from isinglass.energies.dense_classifier import DenseClassifier, FeedForwardTwin
from isinglass.energies.harmonium import RBM, Harmonium, Marginal
from isinglass.energies.hetero import HeteroMemory, Reading
from isinglass.energies.hopfield_boltzmann import HopfieldBoltzmann
from isinglass.energies.interactions import Exponential, Interaction, Power
from isinglass.energies.memory import Memory
from isinglass.energies.mixture import PatternMixture
from isinglass.energies.modern import ModernHopfield
from isinglass.energies.rules import (
    ConvergenceWarning,
    Hebb,
    Perceptron,
    PseudoInverse,
    Rule,
    Storkey,
)
from isinglass.energies.sparse import SparseHopfield, SubsetHopfield

__all__ = [
    "RBM",
    "Attend",
    "ClassicalHopfield",
    "ContinuousHopfield",
    "ConvergenceWarning",
    "DenseClassifier",
    "DenseMemory",
    "Exponential",
    "FeedForwardTwin",
    "Harmonium",
    "Hebb",
    "HeteroMemory",
    "HopfieldBoltzmann",
    "Interaction",
    "Marginal",
    "Memory",
    "ModernHopfield",
    "PatternMixture",
    "Perceptron",
    "Power",
    "PseudoInverse",
    "Reading",
    "Rule",
    "SparseHopfield",
    "Storkey",
    "SubsetHopfield",
]
