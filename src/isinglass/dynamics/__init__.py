"""Kernels: how a state moves. At T = 0 a kernel descends, above it samples."""

from isinglass.dynamics.annealing import Annealed, Schedule, anneal, even_schedule
from isinglass.dynamics.asynchronous import Asynchronous, PairwiseEnergy
from isinglass.dynamics.cccp import CCCP
from isinglass.dynamics.clamped import ClampedGibbs, impute
from isinglass.dynamics.diagnostics import Diagnosis, diagnose, record
from isinglass.dynamics.exchange import ReplicaExchange, Replicas
from isinglass.dynamics.gaussian_path import GaussianPath
from isinglass.dynamics.gibbs import BlockGibbs
from isinglass.dynamics.hmc import HMC
from isinglass.dynamics.kernel import FieldEnergy, Kernel, Memoryless, Position, run
from isinglass.dynamics.langevin import MALA, Langevin
from isinglass.dynamics.partition import LogPartition, PartitionStatus, log_partition
from isinglass.dynamics.recall import Recall, recall
from isinglass.dynamics.screened import Screened
from isinglass.dynamics.single_site import SingleSite
from isinglass.dynamics.synchronous import Synchronous
from isinglass.path import Path

__all__ = [
    "CCCP",
    "HMC",
    "MALA",
    "Annealed",
    "Asynchronous",
    "BlockGibbs",
    "ClampedGibbs",
    "Diagnosis",
    "FieldEnergy",
    "GaussianPath",
    "Kernel",
    "Langevin",
    "LogPartition",
    "Memoryless",
    "PairwiseEnergy",
    "PartitionStatus",
    "Path",
    "Position",
    "Recall",
    "ReplicaExchange",
    "Replicas",
    "Schedule",
    "Screened",
    "SingleSite",
    "Synchronous",
    "anneal",
    "diagnose",
    "even_schedule",
    "impute",
    "log_partition",
    "recall",
    "record",
    "run",
]
