"""The families of energies."""

from isinglass.distributions.annealed_conditional import AnnealedConditional, Annealing
from isinglass.distributions.conditional_boltzmann_machine import ConditionalBoltzmannMachine
from isinglass.distributions.conditional_dbm import ConditionalDBM
from isinglass.distributions.conditional_rbm import ConditionalRBM, ExpectedEnergyRBM
from isinglass.distributions.pattern_mixture import PatternMixture
from isinglass.distributions.scaled_truncated_mixture import ScaledTruncatedMixture
from isinglass.energies.converters import (
    to_classical,
    to_gaussian_rbm,
    to_hopfield_boltzmann,
    to_modern,
)
from isinglass.energies.deep_energy import DeepEnergy
from isinglass.energies.hopfield.base import Memory
from isinglass.energies.hopfield.classical import ClassicalHopfield
from isinglass.energies.hopfield.continuous import ContinuousHopfield
from isinglass.energies.hopfield.dense import DenseMemory
from isinglass.energies.hopfield.dense_classifier import DenseClassifier, FeedForwardTwin
from isinglass.energies.hopfield.hetero_associative import HeteroMemory, HeteroRecall
from isinglass.energies.hopfield.interactions import Exponential, Interaction, Power
from isinglass.energies.hopfield.modern import ModernHopfield
from isinglass.energies.hopfield.resemblance import Resemblance
from isinglass.energies.hopfield.retrieval_layer import RetrievalLayer
from isinglass.energies.hopfield.sparse import SparseHopfield, SubsetHopfield
from isinglass.energies.hopfield.storage_rules import (
    ConvergenceWarning,
    Dreaming,
    Hebb,
    Perceptron,
    PseudoInverse,
    Rule,
    Storkey,
)
from isinglass.energies.layered.deep_boltzmann import DeepBoltzmann, MeanField
from isinglass.energies.layered.draw_count_path import DrawCountPath
from isinglass.energies.layered.harmonium import Harmonium, Marginal
from isinglass.energies.layered.harmonium_path import HarmoniumPath
from isinglass.energies.layered.hopfield_boltzmann import HopfieldBoltzmann
from isinglass.energies.layered.rbm import RBM
from isinglass.energies.pairwise.boltzmann_machine import BoltzmannMachine
from isinglass.energies.pairwise.couplings import Couplings
from isinglass.energies.pairwise.dense_couplings import DenseCouplings
from isinglass.energies.pairwise.grid_couplings import GridCouplings
from isinglass.energies.pairwise.qubo import (
    from_ising,
    from_qubo,
    max_cut,
    read_gset,
    read_qubo,
    to_ising,
    to_qubo,
)
from isinglass.energies.pairwise.sparse_couplings import SparseCouplings

__all__ = [
    "RBM",
    "AnnealedConditional",
    "Annealing",
    "BoltzmannMachine",
    "ClassicalHopfield",
    "ConditionalBoltzmannMachine",
    "ConditionalDBM",
    "ConditionalRBM",
    "ContinuousHopfield",
    "ConvergenceWarning",
    "Couplings",
    "DeepBoltzmann",
    "DeepEnergy",
    "DenseClassifier",
    "DenseCouplings",
    "DenseMemory",
    "DrawCountPath",
    "Dreaming",
    "ExpectedEnergyRBM",
    "Exponential",
    "FeedForwardTwin",
    "GridCouplings",
    "Harmonium",
    "HarmoniumPath",
    "Hebb",
    "HeteroMemory",
    "HeteroRecall",
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
    "Resemblance",
    "RetrievalLayer",
    "Rule",
    "ScaledTruncatedMixture",
    "SparseCouplings",
    "SparseHopfield",
    "Storkey",
    "SubsetHopfield",
    "from_ising",
    "from_qubo",
    "max_cut",
    "read_gset",
    "read_qubo",
    "to_classical",
    "to_gaussian_rbm",
    "to_hopfield_boltzmann",
    "to_ising",
    "to_modern",
    "to_qubo",
]
