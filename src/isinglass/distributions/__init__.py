"""Distributions of one layer of units, with parameters row by row from a table or a network."""

from isinglass.distributions.annealed_conditional import AnnealedConditional, Annealing
from isinglass.distributions.base import Distribution
from isinglass.distributions.conditional_boltzmann_machine import ConditionalBoltzmannMachine
from isinglass.distributions.conditional_dbm import ConditionalDBM
from isinglass.distributions.conditional_rbm import ConditionalRBM, ExpectedEnergyRBM
from isinglass.distributions.covariance_mixture import CovarianceMixture
from isinglass.distributions.enumerated import FEW_STATES, Enumerated, has_few_states
from isinglass.distributions.hybrid_mixture import HybridMixture
from isinglass.distributions.mixed_rows import MixedRows
from isinglass.distributions.mixture_stack import MixtureStack, StackMember
from isinglass.distributions.pattern_mixture import PatternMixture
from isinglass.distributions.scaled_truncated_mixture import ScaledTruncatedMixture
from isinglass.distributions.yeo_johnson import YeoJohnson

__all__ = [
    "FEW_STATES",
    "AnnealedConditional",
    "Annealing",
    "ConditionalBoltzmannMachine",
    "ConditionalDBM",
    "ConditionalRBM",
    "CovarianceMixture",
    "Distribution",
    "Enumerated",
    "ExpectedEnergyRBM",
    "HybridMixture",
    "MixedRows",
    "MixtureStack",
    "PatternMixture",
    "ScaledTruncatedMixture",
    "StackMember",
    "YeoJohnson",
    "has_few_states",
]
