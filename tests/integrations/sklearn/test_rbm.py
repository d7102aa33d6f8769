"""RBMTransformer stands in BernoulliRBM's place, and does better."""

import pickle

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import BernoulliRBM
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import isinglass as ig
from isinglass.errors import ParameterError
from isinglass.integrations.sklearn import RBMTransformer
from isinglass.learning import ExactGradient, pseudo_log_likelihood
from tests.seeds import SEED


@parametrize_with_checks([RBMTransformer(n_components=5, n_iter=2, random_state=SEED)])
def test_the_contract_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def digits():
    images, labels = load_digits(return_X_y=True)
    return train_test_split((images / 16).astype(np.float32), labels, random_state=SEED)


@pytest.mark.slow
def test_its_features_of_digits_are_no_worse_than_bernoulli_rbm_s(digits):
    """Both with 100 components and the same epochs, at rates of 0.1 and 0.2."""
    train, test, labels, expected = digits
    own = RBMTransformer(100, n_iter=5, learning_rate=0.1, random_state=SEED)
    theirs = BernoulliRBM(100, n_iter=5, learning_rate=0.2, random_state=SEED)
    scores = [
        make_pipeline(rbm, LogisticRegression(C=10, max_iter=1000))
        .fit(train, labels)
        .score(test, expected)
        for rbm in (own, theirs)
    ]
    assert scores[0] >= scores[1]
    assert scores[0] > 0.93


def test_attributes_and_features_are_those_of_the_machine(digits):
    train, test, *_ = digits
    model = RBMTransformer(8, n_iter=2, random_state=SEED).fit(train[:200])
    assert isinstance(model.machine_, ig.RBM)
    hidden = 1 / (1 + np.exp(-(test @ model.components_.T + model.intercept_hidden_)))
    features = model.transform(test)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, hidden, rtol=1e-4)
    assert model.intercept_visible_.shape == (64,)
    assert [row["epoch"] for row in model.history_] == [1, 2]
    again = RBMTransformer(8, n_iter=2, random_state=SEED).fit(train[:200])
    np.testing.assert_array_equal(again.components_, model.components_)
    sampled = model.gibbs(test[:20])
    assert set(np.unique(sampled)) <= {0.0, 1.0}
    assert not np.array_equal(sampled, model.gibbs(test[:20]))


def test_scores_are_exact_where_they_can_be(digits):
    bits = (digits[0][:100, 20:30] > 0.5).astype(np.float64)
    model = RBMTransformer(3, n_iter=3, random_state=SEED).fit(bits)
    with torch.no_grad():
        every = ig.Bernoulli(10).enumerate_states()
        log_z = torch.logsumexp(-model.machine_.free_energy(every), 0)
        expected = -model.machine_.free_energy(torch.from_numpy(bits)) - log_z
    np.testing.assert_allclose(model.score_samples(bits), expected, rtol=1e-9)
    gray = np.where(bits == 1, 0.9, 0.2)
    np.testing.assert_array_equal(model.score_samples(gray), model.score_samples(bits))
    rows = (digits[0][:50] > 0.5).astype(np.float64)
    large = RBMTransformer(20, n_iter=1, random_state=SEED).fit(rows)
    pseudo = pseudo_log_likelihood(large.machine_, torch.from_numpy(rows)).detach()
    np.testing.assert_allclose(large.score_samples(rows), pseudo, rtol=1e-9)


@pytest.mark.slow
def test_another_objective_learns(digits):
    bits = (digits[0][:300, 18:28] > 0.5).astype(np.float64)
    model = RBMTransformer(
        4,
        objective=ExactGradient(),
        n_iter=150,
        learning_rate=1.0,
        momentum=0.9,
        batch_size=300,
        random_state=SEED,
    ).fit(bits)
    share = bits.mean(0).clip(0.01, 0.99)
    alone = bits * np.log(share) + (1 - bits) * np.log(1 - share)
    assert model.score(bits) > alone.sum(1).mean() + 0.2


def test_partial_fit_keeps_its_chains(digits):
    train, *_ = digits
    model = RBMTransformer(16, learning_rate=0.1, random_state=SEED).partial_fit(train[:20])
    first = model.score(train)
    for start in range(20, 1000, 20):
        model.partial_fit(train[start : start + 20])
    assert model.score(train) > first + 5
    copy = pickle.loads(pickle.dumps(model))  # noqa: S301
    for one in (copy, model):
        one.partial_fit(train[:20])
    np.testing.assert_array_equal(copy.components_, model.components_)


def test_other_ranges_are_brought_to_bits(digits):
    train, *_ = digits
    unit = RBMTransformer(4, n_iter=1, random_state=SEED).fit(train)
    assert bool((unit.data_min_ == 0).all() and (unit.data_max_ == 1).all())
    wide = RBMTransformer(4, n_iter=1, random_state=SEED).fit(200 * train - 100)
    assert float(wide.data_min_.min()) == -100
    with pytest.warns(UserWarning, match="rows leave the range of the fit"):
        assert np.isfinite(wide.transform(1000 * train)).all()


def test_sparse_rows_are_taken_too(digits):
    rows = digits[0][:40]
    dense = RBMTransformer(4, n_iter=1, random_state=SEED).fit_transform(rows)
    sparse = RBMTransformer(4, n_iter=1, random_state=SEED).fit_transform(csr_matrix(rows))
    np.testing.assert_array_equal(sparse, dense)


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_components": 0}, {"learning_rate": 0.0}, {"batch_size": 0}, {"n_iter": 0},
        {"momentum": 1.0}, {"objective": "pcd"},
    ],
    ids=str,
)  # fmt: skip
def test_wrong_parameters_are_refused_at_fit(digits, wrong):
    with pytest.raises(ParameterError):
        RBMTransformer(**wrong).fit(digits[0][:20])
