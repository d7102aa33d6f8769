"""Numbers of any size and kind in place of any parameter of any estimator."""

from inspect import signature

import numpy as np
import pytest

from isinglass.errors import IsinglassError, ParameterError
from isinglass.integrations.sklearn import (
    DenseMemoryClassifier,
    HopfieldBoltzmannImputer,
    HopfieldBoltzmannMachine,
    RBMTransformer,
)
from tests.seeds import SEED

RNG = np.random.default_rng(SEED)
BITS = (RNG.random((20, 4)) < 0.5).astype(float)
REALS = RNG.normal(size=(20, 3))
LABELS = np.arange(20) % 2
QUICK = {
    RBMTransformer: {"n_iter": 1},
    HopfieldBoltzmannMachine: {"max_iter": 1},
    HopfieldBoltzmannImputer: {"estimator": HopfieldBoltzmannMachine(2, max_iter=1)},
    DenseMemoryClassifier: {"max_iter": 1},
}
PARAMETERS = [(kind, name) for kind in QUICK for name in signature(kind).parameters]


def used(kind, **settings):
    """Fits one, and asks it something."""
    rows = BITS if kind is RBMTransformer else REALS
    fitted = kind(**{**QUICK[kind], **settings}).fit(rows, LABELS)
    if kind is RBMTransformer:
        fitted.partial_fit(rows)
    return fitted.predict(rows) if kind is DenseMemoryClassifier else fitted.transform(rows)


@pytest.mark.usefixtures("unannotated")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "name"), PARAMETERS, ids=lambda value: getattr(value, "__name__", value)
)
def test_any_integer_is_used_or_refused_by_name(kind, name):
    for huge in (2**63, 2**70, -(2**70), 10**18, 10**400, -(10**400), 10**5000, True):
        said = ""
        try:
            assert np.isfinite(used(kind, **{name: huge})).all()
        except IsinglassError as error:
            said = str(error)
        assert not said or name.split("_")[-1] in said or "weights" in said, said  # that ran away
        assert len(said) < 300


@pytest.mark.parametrize("name", ["n_components", "learning_rate", "batch_size", "n_iter"])
def test_integers_beyond_floats_are_named(name):
    for huge in (10**400, 10**5000, -(10**5000)):
        with pytest.raises(ParameterError, match=rf"RBMTransformer.fit: {name} = an int of \d+"):
            used(RBMTransformer, **{name: huge})


@pytest.mark.usefixtures("unannotated")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "name"), PARAMETERS, ids=lambda value: getattr(value, "__name__", value)
)
def test_integers_of_numpy_are_those_of_python(kind, name):
    """As a grid from ``numpy.arange`` gives them."""
    default = signature(kind).parameters[name].default
    whole = type(default) is int or (default is None and name.startswith("n_"))
    if not whole and type(default) is not float:
        pytest.skip("no number")
    seed = {} if name == "random_state" else {"random_state": 0}
    for number in (np.int64(3), np.int32(3), np.uint8(3)) if whole else (np.float32(0.5),):
        found, expected = (used(kind, **{name: n}, **seed) for n in (number, number.item()))
        np.testing.assert_array_equal(found, expected)


def test_a_whole_learning_rate_is_that_number():
    for whole in (True, 1):
        found, expected = (
            used(RBMTransformer, learning_rate=rate, random_state=0) for rate in (whole, 1.0)
        )
        np.testing.assert_array_equal(found, expected)
