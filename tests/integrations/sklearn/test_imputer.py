"""HopfieldBoltzmannImputer stands where scikit-learn's imputers do."""

from contextlib import nullcontext

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from isinglass.errors import DomainError, ParameterError, ShapeError
from isinglass.integrations.sklearn import HopfieldBoltzmannImputer, HopfieldBoltzmannMachine
from tests.seeds import SEED, numpy_seeded

pd = pytest.importorskip("pandas")


def imputer(**given) -> HopfieldBoltzmannImputer:
    given = {"estimator": HopfieldBoltzmannMachine(6, tol=1e-2), "random_state": SEED} | given
    return HopfieldBoltzmannImputer(**given)


@parametrize_with_checks([imputer(estimator=HopfieldBoltzmannMachine(2))])
def test_the_contract_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture
def torn():
    """Three columns of which the second is twice the first, a fifth of its cells missing."""
    rng = numpy_seeded(0)
    rows = rng.normal(size=(200, 3))
    rows[:, 1] = 2 * rows[:, 0]
    rows[rng.random(200) < 0.2, 1] = np.nan
    return rows


def test_what_is_missing_is_filled_and_what_is_known_stays(torn):
    filled = imputer().fit_transform(torn)
    known = ~np.isnan(torn)
    np.testing.assert_array_equal(filled[known], torn[known])
    hidden = ~known[:, 1]
    error = filled[hidden, 1] - 2 * torn[hidden, 0]
    assert np.sqrt(np.mean(error**2)) < 0.5 * 2  # the mean of the column leaves 2
    machine = HopfieldBoltzmannMachine(6, tol=1e-2, random_state=SEED).fit(torn)
    same = imputer(estimator=HopfieldBoltzmannMachine(6, tol=1e-2, random_state=SEED)).fit(torn)
    np.testing.assert_allclose(same.transform(torn), machine.impute(torn))
    assert imputer().fit(torn.astype(np.float32)).transform(torn.astype(np.float32)).dtype == "f4"
    pipe = make_pipeline(imputer(), LinearRegression()).fit(torn, np.arange(200.0))
    assert np.isfinite(pipe.predict(torn)).all()


@pytest.mark.parametrize("stands", [-1, 0, "gone", None])
def test_what_stands_for_missing(torn, stands):
    rows = np.where(np.isnan(torn), np.nan, np.round(10 * torn) + 1000)
    expected = imputer().fit_transform(rows)
    if isinstance(stands, int):
        marked = np.where(np.isnan(rows), stands, rows).astype(int)
    else:
        marked = rows.astype(object)
        marked[np.isnan(rows)] = stands
    found = imputer(missing_values=stands).fit_transform(marked)
    np.testing.assert_allclose(found.astype(float), expected)
    if stands is not None:
        with pytest.raises(ValueError, match="NaN"):
            imputer(missing_values=stands).fit(torn)


def test_indicators_and_names(torn):
    frame = pd.DataFrame(torn, columns=list("abc"))
    found = imputer(add_indicator=True).set_output(transform="pandas").fit_transform(frame)
    assert list(found.columns) == ["a", "b", "c", "missingindicator_b"]
    np.testing.assert_array_equal(found["missingindicator_b"], np.isnan(torn[:, 1]))
    plain = imputer(add_indicator=True).fit(torn)
    assert list(plain.get_feature_names_out()) == ["x0", "x1", "x2", "missingindicator_x1"]
    assert plain.transform(torn).shape == (200, 4)


@pytest.mark.parametrize("keep", [False, True])
def test_columns_of_which_nothing_is_known(torn, keep):
    torn[:, 2] = np.nan
    told = nullcontext() if keep else pytest.warns(UserWarning, match="left out .*: x2")
    with told:
        model = imputer(keep_empty_features=keep, add_indicator=True).fit(torn)
    found = model.transform(torn)
    assert found.shape == (200, 5 if keep else 4)
    assert list(model.get_feature_names_out()[: 2 + keep]) == ["x0", "x1", "x2"][: 2 + keep]
    if keep:
        assert (found[:, 2] == 0).all()


def test_limits_hold_for_what_is_filled_alone(torn):
    found = imputer(min_value=-0.5, max_value=[9, 0.5, 9]).fit_transform(torn)
    hidden = np.isnan(torn[:, 1])
    assert np.abs(found[hidden, 1]).max() == 0.5
    np.testing.assert_array_equal(found[~hidden], torn[~hidden])
    for wrong in ({"min_value": 1, "max_value": 0}, {"estimator": LinearRegression()}):
        with pytest.raises(ParameterError):
            imputer(**wrong).fit(torn)
    with pytest.raises(ShapeError, match="min_value"):
        imputer(min_value=[0, 0]).fit(torn)


def test_draws_differ_and_have_the_distribution(torn):
    model = imputer(sample_posterior=True).fit(torn)
    cue = np.repeat([[1.0, np.nan, 0.0]], 4000, 0)
    first, second = model.transform(cue)[:, 1], model.transform(cue)[:, 1]
    assert not np.array_equal(first, second)
    mean = imputer().fit(torn).transform(cue[:1])[0, 1]
    assert abs(first.mean() - mean) < 5 * first.std() / np.sqrt(4000)
    again = imputer(sample_posterior=True).fit(torn).transform(cue)[:, 1]
    np.testing.assert_array_equal(first, again)


def test_words_are_filled_too(torn):
    frame = pd.DataFrame({"a": torn[:, 0], "sign": np.where(torn[:, 0] > 0, "up", "down")})
    frame.loc[::4, "sign"] = None
    found = imputer().fit_transform(frame)
    right = found[:, 1] == np.where(torn[:, 0] > 0, "up", "down")
    assert right.mean() > 0.9
    whole = pd.DataFrame({"n": pd.array([1, 2, None, 4] * 9, "Int64"), "m": [1.0, 2, 3, 4] * 9})
    found = imputer(missing_values=pd.NA).fit_transform(whole)
    assert found.dtype == np.float64
    assert abs(found[2, 0] - 3) < 1.01
    kinds = HopfieldBoltzmannMachine(4, columns={"n": "categorical"})
    assert imputer(estimator=kinds).fit(whole).transform(whole)[2, 0] in {1, 2, 4}


def test_dates_are_refused_by_name():
    pandas = pytest.importorskip("pandas")
    days = pandas.date_range("2024-01-01", periods=6)
    for table in (pandas.DataFrame({"day": days, "n": range(6)}), days.to_numpy().reshape(3, 2)):
        with pytest.raises(DomainError, match=r"dates or times. Turn them into numbers first"):
            HopfieldBoltzmannImputer().fit(table)
