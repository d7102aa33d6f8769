"""One energy: descend it to remember, differentiate it to attend, sample it to imagine, act on it.

remember   memory = ModernHopfield(patterns, beta=8.0);  memory.recall(cues).state
attend     isinglass.nn.stochastic_attention(query, key, value, draws=16)
imagine    machine = HopfieldBoltzmann(Bit(64), memories=50);  machine.sample(10)
act        isinglass.agents.FreeEnergyQ("MlpPolicy", env).learn(12_000)       extra: rl
"""

from isinglass import dynamics, energies, errors, learning, nn, units
from isinglass.dynamics import (
    CCCP,
    Asynchronous,
    BlockGibbs,
    Recall,
    SingleSite,
    Synchronous,
    recall,
    run,
)
from isinglass.energies import (
    RBM,
    ClassicalHopfield,
    DenseClassifier,
    DenseMemory,
    Harmonium,
    HeteroMemory,
    HopfieldBoltzmann,
    Marginal,
    ModernHopfield,
    PatternMixture,
    SparseHopfield,
    SubsetHopfield,
)
from isinglass.energy import Energy
from isinglass.errors import IsinglassError
from isinglass.store import load, save
from isinglass.units import *  # noqa: F403 - every kind that units exports, without a second list

__version__ = "0.1.0"

__all__ = [
    "CCCP",
    "RBM",
    "Asynchronous",
    "BlockGibbs",
    "ClassicalHopfield",
    "DenseClassifier",
    "DenseMemory",
    "Energy",
    "Harmonium",
    "HeteroMemory",
    "HopfieldBoltzmann",
    "IsinglassError",
    "Marginal",
    "ModernHopfield",
    "PatternMixture",
    "Recall",
    "SingleSite",
    "SparseHopfield",
    "SubsetHopfield",
    "Synchronous",
    "dynamics",
    "energies",
    "errors",
    "learning",
    "load",
    "nn",
    "recall",
    "run",
    "save",
    "units",
]
__all__ += units.__all__
