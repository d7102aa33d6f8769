"""Distributions of one layer of units, with parameters row by row from a table or a network."""

from isinglass.distributions.annealed_conditional import AnnealedConditional, Annealing
from isinglass.distributions.base import Distribution
from isinglass.distributions.conditional_boltzmann_machine import ConditionalBoltzmannMachine
from isinglass.distributions.conditional_dbm import ConditionalDBM
from isinglass.distributions.conditional_rbm import ConditionalRBM, ExpectedEnergyRBM
from isinglass.distributions.enumerated import FEW_STATES, Enumerated, has_few_states
from isinglass.distributions.hybrid_mixture import HybridMixture
from isinglass.distributions.pattern_mixture import PatternMixture
from isinglass.distributions.scaled_truncated_mixture import ScaledTruncatedMixture

__all__ = [
    "FEW_STATES",
    "AnnealedConditional",
    "Annealing",
    "ConditionalBoltzmannMachine",
    "ConditionalDBM",
    "ConditionalRBM",
    "Distribution",
    "Enumerated",
    "ExpectedEnergyRBM",
    "HybridMixture",
    "PatternMixture",
    "ScaledTruncatedMixture",
    "has_few_states",
]
