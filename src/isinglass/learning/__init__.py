"""Rules that turn data into parameters."""

from isinglass.learning.centring import centred_step, seed_biases
from isinglass.learning.contrastive import ContrastiveDivergence, PersistentCD, contrastive_loss
from isinglass.learning.default import default_objective
from isinglass.learning.exact import ExactGradient
from isinglass.learning.exchange import PersistentExchange
from isinglass.learning.fit import fit
from isinglass.learning.greedy import greedy_pretraining
from isinglass.learning.likelihood import (
    EMReport,
    em_step,
    expectation_maximization,
    seed_memories,
)
from isinglass.learning.missing import (
    ObservedReport,
    Reading,
    fit_observed,
    read_observed,
    seed_observed,
    write_observed,
)
from isinglass.learning.objective import Objective
from isinglass.learning.pseudo_likelihood import PseudoLikelihood, pseudo_log_likelihood
from isinglass.learning.score import Likelihood
from isinglass.learning.score_matching import DenoisingScoreMatching, SlicedScoreMatching
from isinglass.learning.stepwise_em import ExpectationMaximization
from isinglass.learning.track import Fit

__all__ = [
    "ContrastiveDivergence",
    "DenoisingScoreMatching",
    "EMReport",
    "ExactGradient",
    "ExpectationMaximization",
    "Fit",
    "Likelihood",
    "Objective",
    "ObservedReport",
    "PersistentCD",
    "PersistentExchange",
    "PseudoLikelihood",
    "Reading",
    "SlicedScoreMatching",
    "centred_step",
    "contrastive_loss",
    "default_objective",
    "em_step",
    "expectation_maximization",
    "fit",
    "fit_observed",
    "greedy_pretraining",
    "pseudo_log_likelihood",
    "read_observed",
    "seed_biases",
    "seed_memories",
    "seed_observed",
    "write_observed",
]
