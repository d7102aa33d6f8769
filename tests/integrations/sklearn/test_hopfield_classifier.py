"""Rows classified by those that they retrieve: the formula, what is held out, and odd tables."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_wine
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks

from isinglass.errors import DomainError, ParameterError
from isinglass.integrations.sklearn import HopfieldClassifier
from isinglass.integrations.sklearn._committee import (
    FLOOR,
    Committee,
    Setting,
    Stored,
    stratified_folds,
)
from isinglass.integrations.sklearn._epochs import learn_epoch
from tests.seeds import SEED, numpy_seeded, seeded

QUICK = {"blend": False, "max_iter": 20, "random_state": SEED}
PLAIN = Setting(
    beta=1.0, dropout=0.0, memory_dropout=0.0, weight_decay=0.0, hidden_size=5
)  # fmt: skip


@parametrize_with_checks([HopfieldClassifier(**QUICK)])
def test_the_contract_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks([HopfieldClassifier(random_state=SEED)])
def test_the_contract_of_scikit_learn_by_defaults(estimator, check):
    check(estimator)


def rings(count, seed):
    """Two classes that no plane divides: a disk, and a ring around it."""
    rng = numpy_seeded(seed)
    labels, angle = np.arange(count) % 2, rng.uniform(0, 2 * np.pi, count)
    radius = rng.uniform(0, 1, count) + 1.5 * labels
    return np.c_[radius * np.cos(angle), radius * np.sin(angle)], labels


@pytest.fixture(scope="module")
def learned():
    return HopfieldClassifier(**QUICK).fit(*rings(80, 1))


@pytest.fixture
def told():
    """A committee whose every parameter says something, and rows for it."""
    generator = seeded(2)
    committee = Committee(3, 4, 5, 2, 3, beta=0.7, generator=generator).double()
    for parameter in committee.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator).double()
    rows = torch.randn(11, 4, generator=generator).double()
    classes = torch.arange(11) % 3
    fold = stratified_folds(classes, 3, generator)
    return committee, Stored(rows, classes, torch.eye(3).double()[classes], fold)


def plain(committee, member, query, rows, labels):
    """Log p of the classes of one query under one member, row by row."""
    own = {name: value[member].detach().numpy() for name, value in committee.named_parameters()}

    def project(x):
        hidden = np.maximum(x @ own["inner"] + own["inner_bias"][0], 0)
        return x @ own["metric"] + hidden @ own["outer"]

    beta, heard, total = np.exp(own["log_beta"].item()), np.zeros(labels.shape[1]), 0.0
    for row, label in zip(rows, labels, strict=True):
        weight = np.exp(-beta / 2 * np.sum((project(query) - project(row)) ** 2))
        heard, total = heard + weight * label, total + weight
    retrieved = np.log((1 - FLOOR) * heard / total + FLOOR / len(heard))
    logits = own["trust"].item() * retrieved + query @ own["linear"] + own["bias"][0]
    return logits - np.log(np.exp(logits).sum())


def test_the_committee_is_the_formula(told):
    committee, stored = told
    queries = torch.randn(4, 4, generator=seeded(3)).double()
    found = committee(queries, stored).detach().numpy()
    rows, labels = stored.rows.numpy(), stored.labels.numpy()
    for member in range(3):
        for place, query in enumerate(queries.numpy()):
            expected = plain(committee, member, query, rows, labels)
            np.testing.assert_allclose(found[member, place], expected, atol=1e-9)


def test_the_loss_leaves_out_the_row_itself_and_the_fold_of_the_member(told):
    committee, stored = told
    loss, counted = committee.loss(torch.arange(11), stored, PLAIN, seeded(4))
    rows, labels, fold = (x.numpy() for x in (stored.rows, stored.labels, stored.fold))
    expected = 0.0
    for member in range(3):
        asked = np.flatnonzero(fold != member)
        for place in asked:
            others = asked[asked != place]
            log_prob = plain(committee, member, rows[place], rows[others], labels[others])
            expected -= labels[place] @ log_prob / len(asked)
    assert counted == 11
    np.testing.assert_allclose(loss.item(), expected, atol=1e-9)


def test_rows_held_out_see_all_others_through_the_member_that_did_not_learn_from_them(told):
    committee, stored = told
    rows, labels = stored.rows.numpy(), stored.labels.numpy()
    for most in (1, 10**6):
        found = committee.held_out(stored, most).numpy()
        for place in range(11):
            others = np.arange(11) != place
            member = int(stored.fold[place])
            expected = plain(committee, member, rows[place], rows[others], labels[others])
            np.testing.assert_allclose(found[place], expected, atol=1e-9)


def test_a_row_that_may_see_nothing_is_read_without_memory(told):
    committee, stored = told
    away = torch.ones(3, 1, 11, dtype=torch.bool)
    keys = committee.project(stored.rows)
    direct = committee.direct(stored.rows[:1])
    found = committee.read(direct, keys[:, :1], keys, stored.labels, away)
    torch.testing.assert_close(found, direct.log_softmax(-1))


def test_the_estimator_averages_its_committees():
    rows, labels = rings(40, 5)
    model = HopfieldClassifier(**QUICK | {"blend": True, "max_iter": 5}).fit(rows, labels)
    inputs, stored = model._rows(rows).double(), model._stored
    np.testing.assert_allclose(model.weights_.sum(), 1, atol=1e-9)
    parts = [c(inputs, stored).exp().mean(0) for c in model.committees_]
    expected = sum(w * part.numpy() for w, part in zip(model.weights_, parts, strict=True))
    np.testing.assert_allclose(model.predict_proba(rows), expected, atol=1e-6)
    seen = [
        c.association(c.project(inputs), c.project(stored.rows)).mean(0) for c in model.committees_
    ]
    expected = sum(w * part.numpy() for w, part in zip(model.weights_, seen, strict=True))
    np.testing.assert_allclose(model.attention(rows), expected, atol=1e-6)


def test_the_blend_finds_held_out_rows_likelier_than_equal_weights_do():
    """EM begins at equal weights and never goes down."""
    rows, labels = rings(60, 6)
    model = HopfieldClassifier(**QUICK | {"blend": True}).fit(rows, labels)
    parts = torch.stack([c.held_out(model._stored, 10**6) for c in model.committees_]).exp()
    equal = parts.mean(0)[torch.arange(60), torch.from_numpy(labels)].log().mean().item()
    assert len(model.held_out_scores_) == len(model.settings_) > 1
    assert np.log(model.held_out_proba_[np.arange(60), labels]).mean() >= equal - 1e-6
    np.testing.assert_allclose(model.held_out_proba_.sum(1), 1, atol=1e-5)


def test_without_the_blend_the_first_setting_stands_alone():
    rows, labels = rings(40, 20)
    blend = HopfieldClassifier(**QUICK | {"blend": True, "max_iter": 5}).fit(rows, labels)
    alone = HopfieldClassifier(**QUICK | {"max_iter": 5}).fit(rows, labels)
    first = blend.committees_[0](alone._rows(rows).double(), blend._stored).exp().mean(0)
    np.testing.assert_allclose(alone.predict_proba(rows), first, atol=1e-6)


def test_what_no_plane_divides_is_learned(learned):
    """On 400 new rows; five deviations of a share of 0.95 are 0.055."""
    rows, labels = rings(400, 7)
    assert learned.score(rows, labels) > 0.9
    assert LogisticRegression().fit(*rings(80, 1)).score(rows, labels) < 0.7
    assert learned.loss_curve_[-1] < 0.5 * learned.loss_curve_[0]


def test_rows_held_out_tell_how_new_ones_do(learned):
    """Both are shares of rings; of 80 and 400 rows, five deviations at 0.95 are 0.14."""
    held = (learned.held_out_proba_.argmax(1) == rings(80, 1)[1]).mean()
    assert abs(held - learned.score(*rings(400, 8))) < 0.14


def test_attention_is_a_distribution_over_stored_rows_and_finds_the_like(learned):
    rows, labels = rings(50, 9)
    weights = learned.attention(rows)
    assert weights.shape == (50, 80)
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-5)
    same = labels[:, None] == rings(80, 1)[1]
    assert (weights * same).sum(1).mean() > 0.8  # 0.5 by chance


def test_a_row_is_what_it_is_whatever_stands_beside_it(learned, monkeypatch):
    rows, _ = rings(30, 10)
    together = learned.predict_proba(rows)
    np.testing.assert_allclose(learned.predict_proba(rows[::-1])[::-1], together, atol=1e-6)
    name = "isinglass.integrations.sklearn.hopfield_classifier.MOST"
    monkeypatch.setattr(name, 1)  # one row at a time
    np.testing.assert_allclose(learned.predict_proba(rows), together, atol=1e-6)


def test_units_of_features_do_not_matter():
    rows, labels = rings(60, 11)
    first = HopfieldClassifier(**QUICK).fit(rows, labels).predict_proba(rows)
    scaled = rows * [1e8, 1e-8] + [5e8, 3]
    other = HopfieldClassifier(**QUICK).fit(scaled, labels).predict_proba(scaled)
    np.testing.assert_allclose(first, other, atol=1e-3)


def test_constant_features_and_far_rows_say_nothing_wrong():
    rows, labels = rings(60, 12)
    wide = np.c_[rows, np.full(60, 0.1), np.full(60, -7e20)]
    model = HopfieldClassifier(**QUICK).fit(wide, labels)
    assert model.scale_[2:].tolist() == [np.inf, np.inf]
    moved = wide[:1] + np.array([0, 0, 5.0, 1e20])
    np.testing.assert_array_equal(model.predict_proba(wide[:1]), model.predict_proba(moved))
    assert np.isfinite(model.predict_proba(np.full((1, 4), 1e300))).all()


@pytest.mark.parametrize("labels", [[0, 1], ["a", "b", "c"], [1, 1, 1, 0], list("abcdefghij")])
def test_few_rows_of_whatever_classes(labels):
    rows = numpy_seeded(13).normal(size=(len(labels), 3))
    model = HopfieldClassifier(max_iter=5, random_state=SEED).fit(rows, labels)
    proba = model.predict_proba(rows)
    assert proba.shape == (len(labels), len(set(labels)))
    assert np.isfinite(proba).all()
    assert set(model.predict(rows)) <= set(labels)


def test_rows_in_the_order_of_their_classes():
    rows, labels = rings(80, 1)
    order = np.argsort(labels, kind="stable")
    model = HopfieldClassifier(**QUICK).fit(rows[order], np.array(["in", "out"])[labels[order]])
    new, truth = rings(400, 14)
    assert (model.predict(new) == np.array(["in", "out"])[truth]).mean() > 0.9


@pytest.mark.slow
def test_defaults_on_a_real_table():
    """Wine, half of 178 rows; five deviations of a share of 0.97 are 0.09."""
    rows, labels = load_wine(return_X_y=True)
    model = HopfieldClassifier(random_state=SEED).fit(rows[::2], labels[::2])
    assert model.score(rows[1::2], labels[1::2]) > 0.88


def test_a_seed_is_a_run_and_leaves_the_streams_of_torch_alone():
    rows, labels = rings(30, 15)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    runs = [HopfieldClassifier(**QUICK).fit(rows, labels).predict_proba(rows) for _ in range(2)]
    np.testing.assert_array_equal(*runs)
    assert torch.equal(before, torch.get_rng_state())
    other = HopfieldClassifier(**QUICK | {"random_state": SEED + 1}).fit(rows, labels)
    assert not np.array_equal(runs[0], other.predict_proba(rows))


def test_grids_and_linear_projections():
    rows, labels = rings(40, 16)
    model = HopfieldClassifier(**QUICK)
    search = GridSearchCV(model, {"hidden_size": [0, 8]}, cv=2).fit(rows, labels)
    assert search.best_estimator_.predict(rows).shape == (40,)
    assert clone(model).get_params() == model.get_params()


def test_more_rows_than_are_stored_in_a_step(monkeypatch):
    monkeypatch.setattr("isinglass.integrations.sklearn._committee.MOST_STORED", 10)
    rows, labels = rings(80, 1)
    model = HopfieldClassifier(**QUICK).fit(rows, labels)
    assert model.attention(rows).shape == (80, 80)
    assert model.score(*rings(400, 17)) > 0.8


def test_one_that_was_not_fitted_says_so():
    with pytest.raises(NotFittedError):
        HopfieldClassifier().predict([[1.0]])


@pytest.mark.parametrize(
    ("rows", "labels", "error", "said"),
    [
        ([[1.0], [np.nan]], [0, 1], DomainError, "X has values that are NaN"),
        ([[1.0], [np.inf]], [0, 1], DomainError, "X has values that are NaN or infinite"),
        ([[1.0], [1e40]], [0, 1], DomainError, "X has numbers beyond"),
        ([[1.0], [2.0]], [1, 1], ParameterError, "y has one class only, .*1"),
        ([[1.0], [2.0]], [0.5, 1.7], ValueError, "Unknown label type"),
        ([[1.0], [2.0]], [0, 1, 1], ValueError, "inconsistent numbers"),
        ([["x"], ["y"]], [0, 1], ValueError, "could not convert"),
    ],
)
def test_odd_rows(rows, labels, error, said):
    with pytest.raises(error, match=said):
        HopfieldClassifier(**QUICK).fit(rows, labels)


def test_odd_rows_later(learned):
    with pytest.raises(DomainError, match="predict: X has values that are NaN"):
        learned.predict([[np.nan, 1.0]])
    with pytest.raises(ValueError, match="3 features, but HopfieldClassifier is expecting 2"):
        learned.attention([[1.0, 2.0, 3.0]])


@pytest.mark.parametrize(
    "settings",
    [
        {"blend": "yes"}, {"n_folds": 1}, {"hidden_size": -1}, {"projection_size": 0},
        {"beta": 0}, {"dropout": 1.0}, {"memory_dropout": 1.5}, {"learning_rate": 0},
        {"weight_decay": -1}, {"batch_size": 0}, {"max_iter": 0}, {"device": "nowhere"},
        {"random_state": "x"},
    ],
)  # fmt: skip
def test_odd_parameters(settings):
    with pytest.raises(ParameterError):
        HopfieldClassifier(**settings).fit(*rings(10, 18))


def test_folds_have_a_like_number_of_rows_of_each_class():
    classes = torch.tensor([0] * 11 + [1] * 7 + [2])
    folds = stratified_folds(classes, 4, seeded(19))
    for rows in (folds, folds[:11], folds[11:18]):
        sizes = rows.bincount(minlength=4)
        assert sizes.max() - sizes.min() <= 1


def test_an_epoch_takes_a_step_a_batch_and_adds_up():
    weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.double))
    values = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0]).double()
    parts, met = [], []

    def loss_of(batch):
        met.append(batch.tolist())
        return (weight * values[batch]).mean(), len(batch)

    def rate_at(part):
        parts.append(part)
        return 1.0 - part

    total = learn_epoch(
        torch.optim.SGD([weight], lr=7.0), torch.tensor([4, 0, 1, 2, 3]), loss_of,
        batch_size=2, rate_at=rate_at, after=lambda: weight.data.clamp_(min=-9),
    )  # fmt: skip
    assert met == [[4, 0], [1, 2], [3]]
    assert parts == [0.0, 0.4, 0.8]
    # −8.5, then −8.5 − 0.6 · 3 below −9, then −9 − 0.2 · 8 below −9
    assert weight.item() == -9
    assert float(total) == -8.5 * 3 * 2 - 9 * 8


def test_rows_far_away_have_a_class():
    rows = np.array([[0.0, 0.001], [1.0, 0.0], [0.2, 0.002], [0.9, 0.001]] * 5)
    model = HopfieldClassifier(max_iter=5, random_state=0).fit(rows, ["a", "b", "a", "b"] * 5)
    proba = model.predict_proba([[1.7e308, 0.0], [-1.7e308, 1e306]])
    assert np.isfinite(proba).all()
    np.testing.assert_allclose(proba.sum(1), 1)
