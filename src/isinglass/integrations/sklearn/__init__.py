"""Memories and machines as scikit-learn estimators (extra ``sklearn``)."""

from isinglass.integrations.sklearn.dense_classifier import DenseMemoryClassifier
from isinglass.integrations.sklearn.gaussian_mixture import (
    from_gaussian_mixture,
    to_gaussian_mixture,
)
from isinglass.integrations.sklearn.hopfield_boltzmann import HopfieldBoltzmannMachine
from isinglass.integrations.sklearn.hopfield_classifier import HopfieldClassifier
from isinglass.integrations.sklearn.imputer import HopfieldBoltzmannImputer
from isinglass.integrations.sklearn.pooling_classifier import HopfieldPoolingClassifier
from isinglass.integrations.sklearn.rbm import RBMTransformer

__all__ = [
    "DenseMemoryClassifier",
    "HopfieldBoltzmannImputer",
    "HopfieldBoltzmannMachine",
    "HopfieldClassifier",
    "HopfieldPoolingClassifier",
    "RBMTransformer",
    "from_gaussian_mixture",
    "to_gaussian_mixture",
]
