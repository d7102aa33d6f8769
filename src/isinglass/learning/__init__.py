"""Rules that turn data into parameters."""

from isinglass.learning.covariance_em import (
    CovariancePrior,
    CovarianceStatistics,
    covariance_e_step,
    covariance_em,
    covariance_m_step,
    covariance_start,
)
from isinglass.learning.em import (
    EMReport,
    e_step,
    em_step,
    expectation_maximization,
    m_step,
)
from isinglass.learning.fit import fit
from isinglass.learning.initialization import seed_biases, seed_cluster_means, seed_memories
from isinglass.learning.objectives.base import Objective
from isinglass.learning.objectives.contrastive_divergence import (
    ContrastiveDivergence,
    PersistentCD,
    contrastive_loss,
)
from isinglass.learning.objectives.default import default_objective
from isinglass.learning.objectives.energy_discrepancy import EnergyDiscrepancy
from isinglass.learning.objectives.exact_likelihood import ExactGradient
from isinglass.learning.objectives.pseudo_likelihood import PseudoLikelihood, pseudo_log_likelihood
from isinglass.learning.objectives.score_matching import DenoisingScoreMatching, SlicedScoreMatching
from isinglass.learning.objectives.stepwise_em import ExpectationMaximization
from isinglass.learning.objectives.tempered_pcd import TemperedPCD
from isinglass.learning.pretraining import greedy_pretraining
from isinglass.learning.screen import Screen
from isinglass.learning.stacking import (
    Recipe,
    StackReport,
    StackSettings,
    fit_screened_stack,
    fit_stack,
)
from isinglass.learning.sufficient_statistics import PseudoCounts, SufficientStatistics
from isinglass.learning.trainer.centering import centered_step
from isinglass.learning.trainer.evaluation import Likelihood
from isinglass.learning.trainer.history import FitReport

__all__ = [
    "ContrastiveDivergence",
    "CovariancePrior",
    "CovarianceStatistics",
    "DenoisingScoreMatching",
    "EMReport",
    "EnergyDiscrepancy",
    "ExactGradient",
    "ExpectationMaximization",
    "FitReport",
    "Likelihood",
    "Objective",
    "PersistentCD",
    "PseudoCounts",
    "PseudoLikelihood",
    "Recipe",
    "Screen",
    "SlicedScoreMatching",
    "StackReport",
    "StackSettings",
    "SufficientStatistics",
    "TemperedPCD",
    "centered_step",
    "contrastive_loss",
    "covariance_e_step",
    "covariance_em",
    "covariance_m_step",
    "covariance_start",
    "default_objective",
    "e_step",
    "em_step",
    "expectation_maximization",
    "fit",
    "fit_screened_stack",
    "fit_stack",
    "greedy_pretraining",
    "m_step",
    "pseudo_log_likelihood",
    "seed_biases",
    "seed_cluster_means",
    "seed_memories",
]
