"""Memories and machines as scikit-learn estimators (extra ``sklearn``)."""

from isinglass.estimators.dense_memory import DenseMemoryClassifier
from isinglass.estimators.gaussian_mixture import from_gaussian_mixture, to_gaussian_mixture
from isinglass.estimators.hopfield_boltzmann import HopfieldBoltzmannMachine
from isinglass.estimators.rbm import RBMTransformer

__all__ = [
    "DenseMemoryClassifier",
    "HopfieldBoltzmannMachine",
    "RBMTransformer",
    "from_gaussian_mixture",
    "to_gaussian_mixture",
]
