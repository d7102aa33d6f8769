"""RBMTransformer stands in BernoulliRBM's place, and does better."""

import copy
import pickle
import resource
import time

import numpy as np
import pytest
import torch
from scipy import sparse
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
from isinglass.integrations.sklearn._bits import PersistentChains
from isinglass.learning import ExactGradient, centered_step, pseudo_log_likelihood
from tests.seeds import SEED, seeded


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
    np.testing.assert_allclose(sparse, dense, rtol=1e-6)


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


@pytest.mark.slow
def test_wide_sparse_rows_are_taken_a_batch_at_a_time():
    """What is dense at once is a block, not the table: 10,000 × 20,000 would be 800 MB."""
    wide = sparse.random_array((10_000, 20_000), density=1e-5, format="csr", rng=SEED)
    wide.data[:] = 1.0
    model = RBMTransformer(2, batch_size=100, n_iter=1, random_state=SEED)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    features = model.fit(wide).transform(wide)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 6e5  # KiB
    assert features.shape == (10_000, 2)


def test_single_and_double_precision_learn_the_same(digits):
    """But for rounding, as the random numbers are the same: scikit-learn's own to 1e-6."""
    rows = digits[0][:500]
    single, double = (
        RBMTransformer(20, n_iter=3, random_state=SEED).fit(rows.astype(dtype)).components_
        for dtype in (np.float32, np.float64)
    )
    assert single.dtype == np.float32
    assert np.linalg.norm(single - double) < 1e-3 * np.linalg.norm(double)


def test_the_closed_form_is_a_step_of_the_general_one():
    """The gradient of the same batch and the same fantasies, by automatic differentiation."""
    machine = ig.RBM(ig.Bernoulli(5), ig.Bernoulli(3), scale=0.5, generator=seeded()).double()
    data = torch.bernoulli(torch.full((7, 5), 0.4, dtype=torch.float64), generator=seeded(1))
    before = [parameter.detach().clone() for parameter in machine.parameters()]
    plain = PersistentChains(
        machine, 4, data.mean(0), learning_rate=0.1, momentum=0.0, centered=False,
        generator=seeded(2),
    )  # fmt: skip
    twin = copy.deepcopy(machine)
    uniform = torch.rand(4, 5, generator=seeded(2))
    fantasies = (uniform < torch.sigmoid(twin.biases[0])).double()  # hidden units start off
    (twin.free_energy(data).mean() - twin.free_energy(fantasies).mean()).backward()
    slopes = [parameter.grad for parameter in twin.parameters()]
    plain.run([data])
    for now, old, slope in zip(machine.parameters(), before, slopes, strict=True):
        torch.testing.assert_close(now.detach(), old - 0.1 * slope, rtol=0, atol=1e-12)
    centered = PersistentChains(
        twin, 4, data.mean(0), learning_rate=0.1, momentum=0.0, centered=True, generator=seeded(2)
    )
    reference = copy.deepcopy(twin)
    for parameter, slope in zip(reference.parameters(), slopes, strict=True):
        parameter.grad = slope.clone()
    centered.run([data])
    with centered_step(reference, list(centered.offsets)):
        torch.optim.SGD(reference.parameters(), lr=0.1).step()
    for now, expected in zip(twin.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(now.detach(), expected.detach(), rtol=0, atol=1e-12)


def test_small_batches_are_as_quick_as_bernoulli_rbm_s(digits):
    """Best of three in one process: at most three times as long, with room for a busy machine."""

    def seconds(model):
        times = []
        for _ in range(3):
            start = time.perf_counter()
            model.fit(digits[0])
            times.append(time.perf_counter() - start)
        return min(times)

    settings = {"n_components": 100, "batch_size": 10, "n_iter": 1, "random_state": SEED}
    assert seconds(RBMTransformer(**settings)) < 4 * seconds(BernoulliRBM(**settings))
