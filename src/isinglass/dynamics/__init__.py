"""Kernels: how a state moves. At T = 0 a kernel descends, above it samples."""

from isinglass.core.kernel import FieldEnergy, Kernel, KernelState, Memoryless, SamplingWarning, run
from isinglass.core.path import AnnealingPath
from isinglass.dynamics.annealing import Annealed, Schedule, anneal, even_schedule
from isinglass.dynamics.diagnostics import Diagnosis, diagnose, record
from isinglass.dynamics.gaussian_path import GaussianPath
from isinglass.dynamics.kernels.asynchronous import Asynchronous, CoupledEnergy
from isinglass.dynamics.kernels.block_gibbs import BlockGibbs
from isinglass.dynamics.kernels.cccp import CCCP
from isinglass.dynamics.kernels.clamped_gibbs import ClampedGibbs, impute
from isinglass.dynamics.kernels.hmc import HMC
from isinglass.dynamics.kernels.langevin import MALA, Langevin
from isinglass.dynamics.kernels.nuts import NUTS
from isinglass.dynamics.kernels.quantized_cccp import QuantizedCCCP
from isinglass.dynamics.kernels.replica_exchange import ReplicaExchange, Replicas
from isinglass.dynamics.kernels.single_site import SingleSite
from isinglass.dynamics.kernels.swendsen_wang import SwendsenWang
from isinglass.dynamics.kernels.synchronous import Synchronous
from isinglass.dynamics.minimize import Minimum, minimize
from isinglass.dynamics.partition import LogPartition, PartitionStatus, log_partition
from isinglass.dynamics.recall import Recall, recall

__all__ = [
    "CCCP",
    "HMC",
    "MALA",
    "NUTS",
    "Annealed",
    "AnnealingPath",
    "Asynchronous",
    "BlockGibbs",
    "ClampedGibbs",
    "CoupledEnergy",
    "Diagnosis",
    "FieldEnergy",
    "GaussianPath",
    "Kernel",
    "KernelState",
    "Langevin",
    "LogPartition",
    "Memoryless",
    "Minimum",
    "PartitionStatus",
    "QuantizedCCCP",
    "Recall",
    "ReplicaExchange",
    "Replicas",
    "SamplingWarning",
    "Schedule",
    "SingleSite",
    "SwendsenWang",
    "Synchronous",
    "anneal",
    "diagnose",
    "even_schedule",
    "impute",
    "log_partition",
    "minimize",
    "recall",
    "record",
    "run",
]
