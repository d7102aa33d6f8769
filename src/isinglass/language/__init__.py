"""Language models as energies of whole sequences, learned by Bellman's equation."""

from isinglass.language.language_model import (
    CallableModel,
    LanguageModel,
    TransformersModel,
    as_language_model,
)
from isinglass.language.language_q import LanguageQ
from isinglass.language.options import LearningOptions
from isinglass.language.replay import Rollouts, SequenceReplay
from isinglass.language.report import Evaluation, LanguageReport, optimum
from isinglass.language.residuals import Scores
from isinglass.language.sequences import Sequences
from isinglass.language.tabular_language import TabularLanguage

__all__ = [
    "CallableModel",
    "Evaluation",
    "LanguageModel",
    "LanguageQ",
    "LanguageReport",
    "LearningOptions",
    "Rollouts",
    "Scores",
    "SequenceReplay",
    "Sequences",
    "TabularLanguage",
    "TransformersModel",
    "as_language_model",
    "optimum",
]
