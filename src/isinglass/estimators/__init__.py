"""Memories as scikit-learn estimators (extra ``sklearn``)."""

from isinglass.estimators.dense_memory import DenseMemoryClassifier

__all__ = ["DenseMemoryClassifier"]
