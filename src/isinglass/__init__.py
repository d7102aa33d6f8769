"""One energy: descend it to remember, differentiate it to attend, sample it to imagine, act on it.

remember   memory = ModernHopfield(patterns, beta=8.0);  memory.recall(cues).state
attend     isinglass.nn.stochastic_attention(query, key, value, draws=16)
imagine    machine = HopfieldBoltzmann(Bernoulli(64), memories=50);  machine.sample(10)
act        isinglass.agents.FreeEnergyQ("MlpPolicy", env).learn(12_000)       extra: rl
"""

from isinglass import dynamics, energies, errors, learning, nn, units
from isinglass.core.energy import Energy
from isinglass.dynamics import (
    CCCP,
    HMC,
    MALA,
    Asynchronous,
    BlockGibbs,
    ClampedGibbs,
    Langevin,
    Recall,
    ReplicaExchange,
    SingleSite,
    Synchronous,
    impute,
    log_partition,
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

__version__ = "0.1.0"

__all__ = [
    "CCCP",
    "HMC",
    "MALA",
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
    "Synchronous",
    "dynamics",
    "energies",
    "errors",
    "impute",
    "learning",
    "load",
    "log_partition",
    "nn",
    "recall",
    "run",
    "save",
    "units",
]
__all__ += units.__all__
