"""Calls of the scikit-learn estimators, with arguments that do."""

from functools import partial
from typing import Any

import numpy as np

from isinglass.errors import IsinglassError
from isinglass.integrations.sklearn import (
    DenseMemoryClassifier,
    HopfieldBoltzmannImputer,
    HopfieldBoltzmannMachine,
    RBMTransformer,
)
from tests.fuzz.harness import Call

#: What scikit-learn raises itself, and asks of estimators.
CONVENTION = (IsinglassError, ValueError, TypeError)

RNG = np.random.default_rng(0)
NUMBERS = RNG.normal(size=(20, 3))
BITS = (RNG.random((20, 4)) < 0.5).astype(float)
LABELS = RNG.integers(0, 2, 20).astype(float)


def _ask(fitted: Any, name: str, X: Any) -> Any:  # noqa: N803 - scikit-learn's name
    return getattr(fitted, name)(X)


def calls() -> list[Call]:
    """Returns constructors with a fit, and what is asked of a fitted estimator."""
    machine = HopfieldBoltzmannMachine(2, max_iter=3).fit(NUMBERS)
    rbm = RBMTransformer(3, n_iter=1).fit(BITS)
    imputer = HopfieldBoltzmannImputer(HopfieldBoltzmannMachine(2, max_iter=3)).fit(NUMBERS)
    classifier = DenseMemoryClassifier(5, max_iter=1, random_state=0).fit(NUMBERS, LABELS)

    def fit(make: Any) -> Any:
        def fitted(X: Any, **settings: Any) -> Any:  # noqa: N803 - scikit-learn's name
            y = settings.pop("y", None)
            fitted = make(**settings).fit(X, y)
            return fitted.predict(X) if make is DenseMemoryClassifier else fitted.transform(X)

        return fitted

    made = [
        (
            HopfieldBoltzmannMachine, NUMBERS,
            {"n_memories": 2, "max_iter": 2, "tol": 1e-3, "pseudo_count": 1.0, "least_spread": 0.01,
             "n_init": 1, "warm_start": False, "random_state": 0, "handle_unknown": "error"},
        ),
        (HopfieldBoltzmannMachine, NUMBERS, {"n_memories": 2, "max_iter": 2,
        "columns": {0: "numeric"}}),
        (
            RBMTransformer, BITS,
            {"n_components": 3, "learning_rate": 0.05, "batch_size": 5, "n_iter": 1,
            "momentum": 0.5,
             "centered": True, "random_state": 0},
        ),
        (
            DenseMemoryClassifier, NUMBERS,
            {"n_memories": 5, "degree": 2, "learning_rate": 0.003, "batch_size": 5, "max_iter": 1,
             "random_state": 0, "y": LABELS},
        ),
        (
            HopfieldBoltzmannImputer, np.where(RNG.random((20, 3)) < 0.1, np.nan, NUMBERS),
            {"missing_values": np.nan, "sample_posterior": False, "min_value": -9.0,
            "max_value": 9.0,
             "add_indicator": False, "keep_empty_features": False,
             "estimator": HopfieldBoltzmannMachine(2, max_iter=2)},
        ),
    ]  # fmt: skip
    fits = [
        Call(kind.__name__, fit(kind), {"X": data, **settings}, CONVENTION)
        for kind, data, settings in made
    ]
    asked = [
        *((machine, name) for name in ("score_samples", "score", "predict", "predict_proba",
        "impute", "transform")),
        *((rbm, name) for name in ("transform", "score_samples", "gibbs", "partial_fit")),
        (imputer, "transform"), (classifier, "predict"), (classifier, "predict_proba"),
    ]  # fmt: skip
    questions = [
        Call(
            f"{type(fitted).__name__}.{name}", partial(_ask, fitted, name),
            {"X": BITS[:5] if fitted is rbm else NUMBERS[:5]}, CONVENTION,
        )
        for fitted, name in asked if hasattr(fitted, name)
    ]  # fmt: skip
    return [
        *fits, *fits, *questions,
        Call(
            "HopfieldBoltzmannMachine.sample", machine.sample,
            {"n_samples": 2, "random_state": 0}, CONVENTION,
        ),
        Call(
            "HopfieldBoltzmannMachine.impute", machine.impute,
            {"X": NUMBERS, "how": "mean", "random_state": 0}, CONVENTION,
        ),
    ]  # fmt: skip
