"""scikit-learn's own behaviors, asked of the estimators that take its places.

One test a behavior, for ``BernoulliRBM``, ``GaussianMixture`` and the imputers. Where ours departs
on purpose the test is expected to fail, with the reason: ``pytest -v -rx
benchmarks/agreement/test_sklearn.py`` prints what passes, what fails and why.
"""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csc_array, csr_array, csr_matrix, lil_array
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris, make_blobs
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import BernoulliRBM
from sklearn.pipeline import make_pipeline

from isinglass.integrations.sklearn import (
    HopfieldBoltzmannImputer,
    HopfieldBoltzmannMachine,
    RBMTransformer,
)

pd = pytest.importorskip("pandas")

DIGITS = load_digits().data / 16
BLOBS, LABELS = make_blobs(300, 2, centers=[[0, 0], [8, 0], [0, 8]], random_state=0)


def departs(reason: str) -> pytest.MarkDecorator:
    return pytest.mark.xfail(reason=reason, strict=True)


def torn(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(80, 3))
    rows[:, 1] = rows[:, 0] + 0.1 * rng.normal(size=80)
    rows[rng.random(rows.shape) < 0.2] = np.nan
    return rows


# BernoulliRBM


def rbm(**given: Any) -> RBMTransformer:
    return RBMTransformer(**({"n_components": 16, "n_iter": 2, "random_state": 0} | given))


class TestBernoulliRBM:
    def test_parameters_have_its_names(self):
        assert set(BernoulliRBM().get_params()) <= set(RBMTransformer().get_params())

    @departs("the default rate is 0.05: centered gradients with momentum ½ go twice as far")
    def test_parameters_have_its_defaults(self):
        ours = RBMTransformer().get_params()
        assert {name: ours[name] for name in BernoulliRBM().get_params()} == BernoulliRBM(
            verbose=False
        ).get_params()

    def test_fitted_attributes_have_its_shapes(self):
        ours, theirs = (model.fit(DIGITS[:50]) for model in (rbm(), BernoulliRBM(16, n_iter=2)))
        names = ("components_", "intercept_hidden_", "intercept_visible_", "h_samples_")
        for name in names:
            assert getattr(ours, name).shape == getattr(theirs, name).shape
        assert ours.n_features_in_ == 64

    def test_features_are_probabilities_given_the_rows(self):
        model = rbm().fit(DIGITS)
        theirs = BernoulliRBM(16)
        theirs.components_ = model.components_
        theirs.intercept_hidden_ = model.intercept_hidden_
        theirs.n_features_in_ = 64
        np.testing.assert_allclose(model.transform(DIGITS), theirs.transform(DIGITS), rtol=1e-9)

    @pytest.mark.parametrize("form", [csr_matrix, csr_array, csc_array, lil_array])
    def test_sparse_rows_of_every_form(self, form):
        dense = rbm().fit(DIGITS[:60])
        sparse = rbm().fit(form(DIGITS[:60]))
        np.testing.assert_allclose(sparse.components_, dense.components_, rtol=1e-9)
        for method in ("transform", "score_samples"):
            found = getattr(sparse, method)(form(DIGITS[:60]))
            np.testing.assert_allclose(found, getattr(dense, method)(DIGITS[:60]))

    @pytest.mark.parametrize("form", [np.asarray, csr_array])
    def test_partial_fit_of_batches(self, form):
        model = rbm(batch_size=20)
        for start in range(0, 100, 20):
            model.partial_fit(form(DIGITS[start : start + 20]))
        assert np.isfinite(model.components_).all()

    def test_a_single_component_and_a_single_row(self):
        model = rbm(n_components=1, batch_size=10).fit(DIGITS[:1])
        assert model.transform(DIGITS[:1]).shape == (1, 1)

    def test_gibbs_gives_bits_and_goes_back_to_what_was_learned(self):
        rows = np.array([[0.0] * 5 + [1.0] * 5, [1.0] * 5 + [0.0] * 5] * 100)
        model = rbm(n_components=4, n_iter=60, batch_size=20).fit(rows)
        moved = model.gibbs(rows[:2])
        assert set(np.unique(moved)) <= {0, 1}
        kept = np.mean([np.abs(model.gibbs(rows) - rows).mean() for _ in range(5)])
        assert kept < 0.1

    @departs("gibbs gives numbers 0 and 1 of the machine's precision, which transform takes")
    def test_gibbs_gives_booleans(self):
        assert rbm().fit(DIGITS[:20]).gibbs(DIGITS[:20]).dtype == bool

    def test_learned_rows_score_higher_than_others(self):
        rows = (DIGITS > 0.5).astype(float)
        model = rbm(n_components=32, n_iter=10).fit(rows)
        assert model.score_samples(rows).mean() > model.score_samples(1 - rows).mean() + 10

    @departs("scores are exact or a sum over all units; scikit-learn draws one unit a row")
    def test_scores_are_drawn(self):
        model = rbm(n_components=32, random_state=None).fit(DIGITS[:50])
        assert not np.array_equal(
            model.score_samples(DIGITS[:50]), model.score_samples(DIGITS[:50])
        )

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_precision_is_kept(self, dtype):
        model = rbm().fit(DIGITS[:50].astype(dtype))
        assert model.components_.dtype == model.transform(DIGITS[:5].astype(dtype)).dtype == dtype

    def test_precisions_learn_the_same(self):
        single, double = (
            rbm(n_iter=5).fit(DIGITS[:300].astype(dtype)).components_
            for dtype in (np.float32, np.float64)
        )
        np.testing.assert_allclose(single, double, rtol=1e-2, atol=1e-3)

    def test_whole_numbers_and_truths(self):
        bits = DIGITS[:50] > 0.5
        for rows in (bits, bits.astype(int)):
            assert rbm().fit(rows).transform(rows).dtype == np.float64

    def test_names_seeds_clones_pickles_grids(self):
        model = rbm().fit(DIGITS[:50])
        assert model.get_feature_names_out()[0] == "rbmtransformer0"
        np.testing.assert_array_equal(clone(model).fit(DIGITS[:50]).components_, model.components_)
        copy = pickle.loads(pickle.dumps(model))  # noqa: S301
        np.testing.assert_array_equal(copy.components_, model.components_)
        GridSearchCV(rbm(), {"learning_rate": [0.01, 0.1]}, cv=2).fit(DIGITS[:40])

    def test_verbose_says_how_it_goes(self, capsys):
        rbm(verbose=True).fit(DIGITS[:50])
        assert "learning" in capsys.readouterr().out


# GaussianMixture


def machine(memories: int = 3, **given: Any) -> HopfieldBoltzmannMachine:
    return HopfieldBoltzmannMachine(memories, **({"random_state": 0} | given))


class TestGaussianMixture:
    def test_groups_are_found(self):
        assert adjusted_rand_score(LABELS, machine().fit(BLOBS).predict(BLOBS)) == 1
        assert adjusted_rand_score(LABELS, machine().fit_predict(BLOBS)) == 1

    def test_labels_are_the_likeliest_and_proba_sums_to_one(self):
        model = machine().fit(BLOBS)
        chances = model.predict_proba(BLOBS)
        np.testing.assert_array_equal(model.predict(BLOBS), chances.argmax(1))
        np.testing.assert_allclose(chances.sum(1), 1)
        np.testing.assert_array_equal(machine().fit_predict(BLOBS), model.predict(BLOBS))

    def test_parameters_are_those_of_the_groups(self):
        model = machine(pseudo_count=0.0).fit(BLOBS)
        order = np.argsort(
            [np.bincount(LABELS[model.predict(BLOBS) == n]).argmax() for n in range(3)]
        )
        np.testing.assert_allclose(model.weights_.sum(), 1)
        np.testing.assert_allclose(model.weights_[order], 1 / 3, atol=0.01)
        means = np.array([BLOBS[n == LABELS].mean(0) for n in range(3)])
        np.testing.assert_allclose(model.means_[order], means, atol=0.1)
        assert model.covariances_.shape == (3, 2)
        within = (BLOBS - means[LABELS]).var(0)
        np.testing.assert_allclose(model.covariances_, np.tile(within, (3, 1)), rtol=0.05)

    def test_densities_are_those_of_its_parameters(self):
        model = machine().fit(BLOBS)
        theirs = GaussianMixture(3, covariance_type="diag")
        theirs.weights_, theirs.means_ = model.weights_, model.means_
        theirs.covariances_ = model.covariances_
        theirs.precisions_cholesky_ = model.covariances_**-0.5
        np.testing.assert_allclose(model.score_samples(BLOBS), theirs.score_samples(BLOBS))

    def test_criteria_choose_the_number_of_groups(self):
        for criterion in ("aic", "bic"):
            found = [getattr(machine(n).fit(BLOBS), criterion)(BLOBS) for n in (1, 2, 3)]
            assert np.argmin(found) == 2
        model = machine().fit(BLOBS)
        free = 2 + 3 * 2 + 2  # weights, means, one spread a column
        total = model.score_samples(BLOBS).sum()
        np.testing.assert_allclose(model.aic(BLOBS), -2 * total + 2 * free)
        np.testing.assert_allclose(model.bic(BLOBS), -2 * total + free * np.log(300))

    def test_samples_come_with_labels(self):
        model = machine().fit(BLOBS)
        rows, labels = model.sample(500, return_labels=True)
        assert rows.shape == (500, 2)
        assert labels.shape == (500,)
        assert (model.predict(rows) == labels).mean() > 0.98
        shares = np.bincount(labels, minlength=3) / 500
        assert np.abs(shares - model.weights_).max() < 5 * 0.5 / np.sqrt(500)

    @departs("sample gives rows alone, in the form of the fit, unless return_labels=True")
    def test_samples_are_a_pair(self):
        assert len(machine().fit(BLOBS).sample(5)) == 2

    @departs("one spread a column for all memories: the machine has one temperature")
    def test_groups_have_covariances_of_their_own(self):
        rng = np.random.default_rng(0)
        rows = np.concatenate([rng.normal(size=(200, 1)), 50 + 9 * rng.normal(size=(200, 1))])
        found = machine(2).fit(rows).covariances_
        assert found.max() > 20 * found.min()

    def test_convergence_and_warm_start(self):
        model = machine(warm_start=True).fit(BLOBS)
        assert model.converged_
        assert model.n_iter_ >= 1
        assert model.lower_bound_ == pytest.approx(model.score(BLOBS))
        assert model.fit(BLOBS).lower_bound_ >= model.lower_bound_ - 1e-9

    def test_more_starts_are_no_worse(self):
        rows = load_iris().data
        one, five = (machine(6, n_init=n).fit(rows).lower_bound_ for n in (1, 5))
        assert five >= one - 1e-9

    def test_not_fitted_and_wrong_width(self):
        from sklearn.exceptions import NotFittedError

        with pytest.raises(NotFittedError):
            machine().predict(BLOBS)
        with pytest.raises(ValueError, match="features"):
            machine().fit(BLOBS).predict(BLOBS[:, :1])

    def test_too_few_rows(self):
        with pytest.raises(ValueError, match="n_samples"):
            machine(3).fit(BLOBS[:2])


# Imputers


def imputer(**given: Any) -> HopfieldBoltzmannImputer:
    given = {"estimator": HopfieldBoltzmannMachine(4, tol=1e-2), "random_state": 0} | given
    return HopfieldBoltzmannImputer(**given)


class TestImputers:
    def test_parameters_have_their_names(self):
        shared = {"missing_values", "add_indicator", "keep_empty_features"}
        assert shared <= set(HopfieldBoltzmannImputer().get_params())

    def test_shapes_and_nothing_missing_after(self):
        found = imputer().fit_transform(torn())
        assert found.shape == (80, 3)
        assert not np.isnan(found).any()

    def test_nothing_missing_in_the_fit_then_something(self):
        whole = imputer().fit_transform(torn())
        np.testing.assert_array_equal(imputer().fit_transform(whole), whole)
        assert np.isfinite(imputer().fit(whole).transform(torn())).all()

    def test_every_cell_of_a_row_missing(self):
        found = imputer().fit(torn()).transform([[np.nan] * 3])
        assert np.isfinite(found).all()

    @pytest.mark.parametrize("marker", [-1, 0, 99])
    def test_marked_by_a_number(self, marker):
        rows = np.where(np.isnan(torn()), marker, np.round(10 * torn()) + 500)
        found = imputer(missing_values=marker).fit_transform(rows)
        np.testing.assert_array_equal(found[rows != marker], rows[rows != marker])
        assert (found > 400).all()

    @pytest.mark.parametrize("marker", ["NAN", None])
    def test_marked_by_an_object(self, marker):
        rows = np.array([["a", marker], ["a", "x"], ["b", "y"]] * 10, object)
        found = imputer(missing_values=marker, estimator=HopfieldBoltzmannMachine(2)).fit_transform(
            rows
        )
        assert found[0, 1] == "x"

    def test_nan_where_another_marker_stands_is_refused(self):
        for model in (imputer(missing_values=-1), SimpleImputer(missing_values=-1)):
            with pytest.raises(ValueError, match="NaN"):
                model.fit(torn())

    def test_indicators_are_those_of_missing_indicator(self):
        ours, theirs = (
            model.fit_transform(torn())
            for model in (imputer(add_indicator=True), KNNImputer(add_indicator=True))
        )
        np.testing.assert_array_equal(ours[:, 3:], theirs[:, 3:])

    @pytest.mark.filterwarnings("ignore:Columns without a value")
    @pytest.mark.parametrize("keep", [True, False])
    def test_empty_columns(self, keep):
        rows = torn()
        rows[:, 1] = np.nan
        ours, theirs = (
            model.fit(rows)
            for model in (imputer(keep_empty_features=keep), KNNImputer(keep_empty_features=keep))
        )
        assert ours.transform(rows).shape == theirs.transform(rows).shape
        names = SimpleImputer(keep_empty_features=keep).fit(rows).get_feature_names_out()
        np.testing.assert_array_equal(ours.get_feature_names_out(), names)
        if keep:
            np.testing.assert_array_equal(ours.transform(rows)[:, 1], theirs.transform(rows)[:, 1])

    def test_names(self):
        frame = pd.DataFrame(torn(), columns=["a", "b", "c"])
        ours, theirs = (
            model.set_output(transform="pandas").fit_transform(frame)
            for model in (imputer(add_indicator=True), KNNImputer(add_indicator=True))
        )
        assert list(ours.columns) == list(theirs.columns)
        assert ours.index.equals(frame.index)
        with pytest.raises(ValueError, match="feature names"):
            imputer().fit(frame).transform(frame[["b", "a", "c"]])

    def test_limits(self):
        found = imputer(min_value=-0.1, max_value=0.1).fit_transform(torn())
        assert np.abs(found[np.isnan(torn())]).max() <= 0.1
        with pytest.raises(ValueError, match="min_value"):
            imputer(min_value=1, max_value=0).fit(torn())
        with pytest.raises(ValueError, match="min_value"):
            imputer(min_value=[0, 0]).fit(torn())

    def test_draws(self):
        model = imputer(sample_posterior=True).fit(torn())
        hidden = np.isnan(torn())
        first, second = model.transform(torn()), model.transform(torn())
        assert not np.array_equal(first[hidden], second[hidden])
        np.testing.assert_array_equal(first[~hidden], second[~hidden])

    def test_single_precision_is_kept(self):
        assert imputer().fit_transform(torn().astype(np.float32)).dtype == np.float32

    def test_pandas_integers(self):
        frame = pd.DataFrame({"a": pd.array([1, None, 3] * 5, "Int64"), "b": [1.0, 2.0, 3.0] * 5})
        for marker in (np.nan, pd.NA):
            found = imputer(missing_values=marker).fit_transform(frame)
            assert found.dtype == np.float64
            assert np.isfinite(found).all()

    def test_pipelines_grids_clones_pickles(self):
        y = np.arange(80.0)
        pipe = make_pipeline(imputer(), LinearRegression())
        grid = GridSearchCV(pipe, {"hopfieldboltzmannimputer__estimator__n_memories": [1, 4]}, cv=2)
        assert np.isfinite(grid.fit(torn(), y).predict(torn())).all()
        copy = pickle.loads(pickle.dumps(clone(imputer()).fit(torn())))  # noqa: S301
        np.testing.assert_array_equal(copy.transform(torn()), imputer().fit_transform(torn()))

    def test_infinity_is_refused(self):
        with pytest.raises(ValueError, match="inf"):
            imputer().fit([[1.0, np.inf], [2.0, 1.0]])

    def test_values_given_are_not_changed(self):
        rows = torn()
        imputer().fit_transform(rows)
        np.testing.assert_array_equal(rows, torn())

    @departs("sparse tables are refused by name, as KNNImputer and IterativeImputer refuse them")
    def test_sparse_tables(self):
        imputer(missing_values=-1).fit(csr_array(np.eye(5)))

    @departs("no inverse_transform: what was filled is told from the indicator instead")
    def test_inverse_transform(self):
        model = imputer(add_indicator=True).fit(torn())
        model.inverse_transform(model.transform(torn()))
