"""The names of ``import isinglass``, loaded by it when the first of them is asked for."""

import isinglass.dynamics as dynamics
import isinglass.energies as energies
import isinglass.errors as errors
import isinglass.learning as learning
import isinglass.nn as nn
import isinglass.thinking as thinking
import isinglass.units as units
import isinglass.world as world
from isinglass.core.energy import Energy
from isinglass.dynamics import (
    CCCP,
    HMC,
    MALA,
    NUTS,
    Asynchronous,
    BlockGibbs,
    ClampedGibbs,
    Langevin,
    Recall,
    ReplicaExchange,
    SingleSite,
    SwendsenWang,
    Synchronous,
    impute,
    log_partition,
    minimize,
    recall,
    run,
)
from isinglass.energies import (
    RBM,
    Annealing,
    BoltzmannMachine,
    ClassicalHopfield,
    ConditionalDBM,
    ConditionalRBM,
    DeepBoltzmann,
    DeepEnergy,
    DenseClassifier,
    DenseMemory,
    ExpectedEnergyRBM,
    Harmonium,
    HeteroMemory,
    HopfieldBoltzmann,
    Marginal,
    ModernHopfield,
    PatternMixture,
    ScaledTruncatedMixture,
    SparseHopfield,
    SubsetHopfield,
)
from isinglass.errors import IsinglassError
from isinglass.io.archive import load, save
from isinglass.units import *  # noqa: F403 - every kind that units exports, without a second list

__all__ = [
    "CCCP",
    "HMC",
    "MALA",
    "NUTS",
    "RBM",
    "Annealing",
    "Asynchronous",
    "BlockGibbs",
    "BoltzmannMachine",
    "ClampedGibbs",
    "ClassicalHopfield",
    "ConditionalDBM",
    "ConditionalRBM",
    "DeepBoltzmann",
    "DeepEnergy",
    "DenseClassifier",
    "DenseMemory",
    "Energy",
    "ExpectedEnergyRBM",
    "Harmonium",
    "HeteroMemory",
    "HopfieldBoltzmann",
    "IsinglassError",
    "Langevin",
    "Marginal",
    "ModernHopfield",
    "PatternMixture",
    "Recall",
    "ReplicaExchange",
    "ScaledTruncatedMixture",
    "SingleSite",
    "SparseHopfield",
    "SubsetHopfield",
    "SwendsenWang",
    "Synchronous",
    "dynamics",
    "energies",
    "errors",
    "impute",
    "learning",
    "load",
    "log_partition",
    "minimize",
    "nn",
    "recall",
    "run",
    "save",
    "thinking",
    "units",
    "world",
]
__all__ += units.__all__
