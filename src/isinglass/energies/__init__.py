"""The families of energies."""

from isinglass.energies.attend import Attend
from isinglass.energies.boltzmann import BoltzmannMachine
from isinglass.energies.classical import ClassicalHopfield
from isinglass.energies.continuous import ContinuousHopfield
from isinglass.energies.converters import (
    to_classical,
    to_gaussian_rbm,
    to_hopfield_boltzmann,
    to_modern,
)
from isinglass.energies.couplings import Couplings
from isinglass.energies.couplings_dense import DenseCouplings
from isinglass.energies.couplings_edges import EdgeCouplings
from isinglass.energies.deep_boltzmann import DeepBoltzmann, MeanField
from isinglass.energies.deep_energy import DeepEnergy
from isinglass.energies.dense import DenseMemory
from isinglass.energies.dense_classifier import DenseClassifier, FeedForwardTwin
from isinglass.energies.draws_path import DrawsPath
from isinglass.energies.driven import DrivenHarmonium, ExpectedHarmonium
from isinglass.energies.driven_deep import DrivenDeep
from isinglass.energies.driven_law import Annealing, DrivenLaw
from isinglass.energies.driven_pairs import DrivenPairs
from isinglass.energies.grids import GridCouplings
from isinglass.energies.harmonium import Harmonium, Marginal
from isinglass.energies.harmonium_path import HarmoniumPath
from isinglass.energies.hetero import HeteroMemory, Reading
from isinglass.energies.hopfield_boltzmann import HopfieldBoltzmann
from isinglass.energies.interactions import Exponential, Interaction, Power
from isinglass.energies.memory import Memory
from isinglass.energies.mixture import PatternMixture
from isinglass.energies.modern import ModernHopfield
from isinglass.energies.rbm import RBM
from isinglass.energies.rules import (
    ConvergenceWarning,
    Hebb,
    Perceptron,
    PseudoInverse,
    Rule,
    Storkey,
)
from isinglass.energies.sparse import SparseHopfield, SubsetHopfield
from isinglass.energies.stretched import Stretched

__all__ = [
    "RBM",
    "Annealing",
    "Attend",
    "BoltzmannMachine",
    "ClassicalHopfield",
    "ContinuousHopfield",
    "ConvergenceWarning",
    "Couplings",
    "DeepBoltzmann",
    "DeepEnergy",
    "DenseClassifier",
    "DenseCouplings",
    "DenseMemory",
    "DrawsPath",
    "DrivenDeep",
    "DrivenHarmonium",
    "DrivenLaw",
    "DrivenPairs",
    "EdgeCouplings",
    "ExpectedHarmonium",
    "Exponential",
    "FeedForwardTwin",
    "GridCouplings",
    "Harmonium",
    "HarmoniumPath",
    "Hebb",
    "HeteroMemory",
    "HopfieldBoltzmann",
    "Interaction",
    "Marginal",
    "MeanField",
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
    "Stretched",
    "SubsetHopfield",
    "to_classical",
    "to_gaussian_rbm",
    "to_hopfield_boltzmann",
    "to_modern",
]
