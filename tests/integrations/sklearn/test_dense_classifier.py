"""The scikit-learn estimator keeps scikit-learn's contract, and learns."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.utils.estimator_checks import parametrize_with_checks

import isinglass as ig
from isinglass.energies import Exponential, Power
from isinglass.errors import ParameterError
from isinglass.integrations.sklearn import DenseMemoryClassifier
from tests.seeds import SEED, shifted


@parametrize_with_checks([DenseMemoryClassifier(n_memories=20, max_iter=15, random_state=SEED)])
def test_the_contract_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def digits():
    images, labels = load_digits(return_X_y=True)
    return train_test_split(images.astype(np.float32), labels, test_size=500, random_state=SEED)


@pytest.mark.slow
@pytest.mark.parametrize("degree", [2, 3, 20])
def test_real_digits_are_learned_at_every_degree(digits, degree):
    """Nearest centroid has 10 % errors here; logistic regression 4 %."""
    train, test, labels, expected = digits
    model = DenseMemoryClassifier(100, degree=degree, max_iter=25, batch_size=50, random_state=SEED)
    model.fit(train, labels)
    assert model.score(test, expected) > 0.94
    assert model.loss_curve_[-1] < 0.2 * model.loss_curve_[0]
    assert model.n_iter_ == len(model.loss_curve_) == 25
    probability = model.predict_proba(test)
    assert probability.dtype == np.float32
    np.testing.assert_allclose(probability.sum(-1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(model.classes_[probability.argmax(-1)], model.predict(test))


def test_the_estimator_is_its_energy(digits):
    """Decisions are energy differences; probabilities those of states with one label on, T = ½."""
    train, test, labels, _ = digits
    model = DenseMemoryClassifier(20, max_iter=2, random_state=SEED).fit(train[:200], labels[:200])
    inputs = model.inputs(test[:50])
    assert -1 <= inputs.min() < inputs.max() <= 1
    with torch.no_grad():
        decision = 2 * model.energy_.label_field(inputs)
        on = torch.eye(10) * 2 - 1
        states = torch.cat([inputs.unsqueeze(1).expand(-1, 10, -1), on.expand(50, 10, 10)], -1)
        probability = torch.softmax(-model.energy_(states) / 0.5, -1)
    np.testing.assert_allclose(model.decision_function(test[:50]), decision, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.predict_proba(test[:50]), probability, rtol=1e-3, atol=1e-5)
    assert isinstance(model.energy_, ig.DenseClassifier)


def test_two_classes_have_one_decision(digits):
    train, _, labels, _ = digits
    pair = labels < 2
    model = DenseMemoryClassifier(10, max_iter=5, random_state=SEED).fit(
        train[pair], np.where(labels[pair], "one", "nought")
    )
    decision, probability = model.decision_function(train), model.predict_proba(train)
    assert decision.shape == (len(train),)
    np.testing.assert_allclose(probability[:, 1], 1 / (1 + np.exp(-2 * decision)), rtol=1e-4)
    np.testing.assert_array_equal(model.predict(train) == "one", decision > 0)
    assert model.score(train[pair], np.where(labels[pair], "one", "nought")) > 0.99


def test_early_stopping_keeps_the_best_memories(digits):
    train, _, labels, _ = digits
    model = DenseMemoryClassifier(
        30,
        max_iter=60,
        early_stopping=True,
        n_iter_no_change=3,
        learning_rate=0.02,
        random_state=shifted(1),
    ).fit(train, labels)
    scores = model.validation_scores_
    assert model.n_iter_ == len(scores) < 60
    assert max(scores[-3:]) <= max(scores[:-3]) + model.tol
    again = DenseMemoryClassifier(
        30,
        max_iter=60,
        early_stopping=True,
        n_iter_no_change=3,
        learning_rate=0.02,
        random_state=shifted(1),
    ).fit(train, labels)
    assert torch.equal(again.energy_.memories, model.energy_.memories)
    # The same split as inside: the first number drawn seeds the memories, the second the split.
    random = np.random.RandomState(shifted(1))
    random.randint(2**31 - 1)
    _, held, _, expected = train_test_split(
        train, labels, test_size=0.1, stratify=labels, random_state=random.randint(2**31 - 1)
    )
    assert model.score(held, expected) == pytest.approx(max(scores))


def test_partial_fit_learns_on(digits):
    train, test, labels, expected = digits
    model = DenseMemoryClassifier(50, random_state=SEED, batch_size=50)
    for epoch in range(1, 9):
        model.partial_fit(train, labels, classes=range(10))
        assert model.n_iter_ == epoch
    assert model.score(test, expected) > 0.9
    with pytest.raises(ParameterError, match="outside"):
        model.partial_fit(train[:1], [11])
    with pytest.raises(ParameterError, match="again"):
        model.partial_fit(train[:1], [1], classes=[0, 1])
    with pytest.raises(ParameterError, match="all classes at the first call"):
        DenseMemoryClassifier().partial_fit(train, labels)


def test_pickles_grids_and_files(digits, tmp_path):
    train, test, labels, _ = digits
    grid = GridSearchCV(
        DenseMemoryClassifier(20, max_iter=3, random_state=SEED),
        {"interaction": ["power", "exp", Exponential(0.1), Power(4, scale=5.0)]}, cv=2,
    ).fit(train[:200], labels[:200])  # fmt: skip
    model = grid.best_estimator_
    copy = pickle.loads(pickle.dumps(model))  # noqa: S301
    np.testing.assert_array_equal(copy.predict_proba(test), model.predict_proba(test))
    ig.save(model.energy_, tmp_path / "memories.safetensors")
    loaded = ig.load(tmp_path / "memories.safetensors")
    assert isinstance(loaded, ig.DenseClassifier)
    assert torch.equal(loaded.labels(model.inputs(test)), model.energy_.labels(model.inputs(test)))


def test_verbose_shows_progress(digits, capsys):
    train, _, labels, _ = digits
    DenseMemoryClassifier(5, max_iter=2, verbose=True).fit(train[:50], labels[:50])
    assert "100%" in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_memories": 0}, {"degree": 1}, {"learning_rate": 0.0}, {"batch_size": 0},
        {"max_iter": 0}, {"interaction": "log"}, {"interaction": "exp", "degree": 3},
        {"interaction": "exp", "scale": 1.0}, {"scale": -1.0}, {"loss_exponent": -2},
        {"early_stopping": True, "validation_fraction": 1.5}, {"tol": -1.0},
        {"n_iter_no_change": 0},
    ],
    ids=str,
)  # fmt: skip
def test_wrong_parameters_are_refused_at_fit(digits, wrong):
    train, _, labels, _ = digits
    with pytest.raises(ParameterError):
        DenseMemoryClassifier(**wrong).fit(train[:50], labels[:50])


def test_early_stopping_asks_of_rows_already_checked(digits, monkeypatch):
    """What is held out has lost the names of a data frame, which predict would warn of."""
    train, _, labels, _ = digits
    monkeypatch.setattr(DenseMemoryClassifier, "inputs", lambda *_: pytest.fail("checked anew"))
    model = DenseMemoryClassifier(5, max_iter=2, early_stopping=True, random_state=SEED)
    assert len(model.fit(train[:200], labels[:200]).validation_scores_) == 2


def test_a_first_part_with_unnamed_labels_leaves_nothing(digits):
    train, _, labels, _ = digits
    model = DenseMemoryClassifier(5, random_state=SEED)
    with pytest.raises(ParameterError, match=r"outside \[0 1\]"):
        model.partial_fit(train, labels, classes=[1, 0])
    assert not hasattr(model, "energy_")
    assert model.partial_fit(train, labels, classes=range(10)).n_iter_ == 1


def test_too_few_to_hold_out_are_named(digits):
    train, _, _, _ = digits
    with pytest.raises(ParameterError, match=r"early_stopping cannot hold out 0\.1 of 10"):
        DenseMemoryClassifier(5, early_stopping=True).fit(train[:10], np.arange(10))


@pytest.mark.parametrize("scale", [1e-300, 1e-40, 1e-15, 1e30, 1e300])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_scales_at_which_nothing_can_be_learned(scale, dtype):
    rows = np.random.default_rng(0).normal(size=(40, 5)).astype(dtype)
    if (scale, dtype) == (1e30, "float64"):  # 1e-90 is a number there
        DenseMemoryClassifier(4, scale=scale, max_iter=1).fit(rows, rows[:, 0] > 0)
        return
    with pytest.raises(ParameterError, match="scale = "):
        DenseMemoryClassifier(4, scale=scale, max_iter=1).fit(rows, rows[:, 0] > 0)


def test_no_such_device():
    rows = np.random.default_rng(0).normal(size=(40, 5))
    with pytest.raises(ParameterError, match="device = 'foo'"):
        DenseMemoryClassifier(4, device="foo").fit(rows, rows[:, 0] > 0)
