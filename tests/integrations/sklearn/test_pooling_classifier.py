"""Bags classified by Hopfield pooling: what decides is found, and odd bags are refused."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score

from isinglass.errors import DomainError, ParameterError, ShapeError
from isinglass.integrations.sklearn import HopfieldPoolingClassifier, pooling_classifier
from isinglass.integrations.sklearn._bags import Bags
from isinglass.integrations.sklearn.pooling_classifier import _BagNetwork
from tests.seeds import SEED, numpy_seeded

QUICK = {"n_estimators": 1, "max_iter": 20, "random_state": SEED}


def needles(count, seed, most=12, width=6):
    """Bags of noise; in every second one, one instance is far off along the first feature."""
    rng = numpy_seeded(seed)
    labels = np.arange(count) % 2
    bags = [rng.normal(size=(rng.integers(2, most), width)) for _ in range(count)]
    places = [int(rng.integers(len(bag))) for bag in bags]
    for bag, label, place in zip(bags, labels, places, strict=True):
        bag[place, 0] += 8 * label
    return bags, labels, np.array(places)


@pytest.fixture(scope="module")
def learned():
    bags, labels, _ = needles(60, 1)
    return HopfieldPoolingClassifier(**QUICK | {"max_iter": 40}).fit(bags, labels)


def test_the_instance_that_decides_is_looked_at(learned):
    bags, labels, places = needles(200, 2)
    assert roc_auc_score(labels, learned.decision_function(bags)) > 0.95
    looked = [int(weights.argmax()) for weights in learned.attention(bags)]
    right = (np.array(looked) == places)[labels == 1].mean()
    assert right > 0.9  # by chance it is one in six and a half


def test_attention_is_a_distribution_over_the_bag(learned):
    bags, *_ = needles(10, 3)
    weights = learned.attention(bags)
    assert [len(each) for each in weights] == [len(bag) for bag in bags]
    np.testing.assert_allclose([each.sum() for each in weights], 1, atol=1e-6)
    np.testing.assert_allclose(learned.attention(bags[4]), weights[4], atol=1e-6)


def test_a_bag_is_what_it_is_whatever_stands_beside_it(learned):
    """Padding counts for nothing, and neither does the order of the instances."""
    bags, *_ = needles(8, 4, most=40)
    together = learned.predict_proba(bags)
    apart = np.concatenate([learned.predict_proba([bag]) for bag in bags])
    np.testing.assert_allclose(together, apart, atol=1e-6)
    turned = learned.predict_proba([bag[::-1] for bag in bags])
    np.testing.assert_allclose(together, turned, atol=1e-6)


def test_large_bags_are_looked_at_in_blocks_to_the_same_end(learned, monkeypatch):
    bags, labels, _ = needles(20, 8, most=90)
    still = QUICK | {"dropout": 0.0, "max_iter": 4}
    whole = HopfieldPoolingClassifier(**still).fit(bags, labels)
    proba, weights = learned.predict_proba(bags), learned.attention(bags)
    monkeypatch.setattr(pooling_classifier, "BLOCK", 7)
    np.testing.assert_allclose(learned.predict_proba(bags), proba, atol=1e-6)
    for one, other in zip(learned.attention(bags), weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    blocks = HopfieldPoolingClassifier(**still).fit(bags, labels)
    np.testing.assert_allclose(blocks.predict_proba(bags), whole.predict_proba(bags), atol=1e-4)


def test_one_array_with_labels_is_the_same_as_a_list(learned):
    bags, *_ = needles(9, 5)
    labels = np.repeat([f"bag {i}" for i in range(9)], [len(bag) for bag in bags])
    order = numpy_seeded(6).permutation(len(labels))
    rows, names = np.concatenate(bags)[order], labels[order]
    met = [int(name.split()[1]) for name in dict.fromkeys(names)]
    np.testing.assert_allclose(
        learned.predict_proba(rows, bags=names), learned.predict_proba(bags)[met], atol=1e-6
    )
    weights = learned.attention(rows, bags=names)
    back = [weights[names == f"bag {i}"].sum() for i in range(9)]
    np.testing.assert_allclose(back, 1, atol=1e-6)
    straight = np.concatenate(learned.attention(bags))
    np.testing.assert_allclose(weights, straight[order], atol=1e-6)


def test_bags_come_in_the_order_in_which_they_first_appear():
    """Not in that of their labels, by which patient10 stands before patient2."""
    bags, labels, _ = needles(40, 12)
    names = np.repeat([f"patient{i}" for i in range(40)][::-1], [len(bag) for bag in bags])
    rows, by_row = np.concatenate(bags), np.repeat(labels, [len(bag) for bag in bags])
    listed = HopfieldPoolingClassifier(**QUICK).fit(bags, labels)
    for y in (labels, by_row):
        model = HopfieldPoolingClassifier(**QUICK).fit(rows, y, bags=names)
        np.testing.assert_array_equal(model.predict_proba(bags), listed.predict_proba(bags))
        assert model.score(rows, y, bags=names) == listed.score(bags, labels)
    mixed = by_row.copy()
    mixed[:2] = 0, 1
    with pytest.raises(ShapeError, match="rows of one bag with several labels"):
        listed.fit(rows, mixed, bags=names)


def test_one_that_was_not_fitted_says_so():
    with pytest.raises(NotFittedError):
        HopfieldPoolingClassifier().predict([[[1.0]]])


def test_the_network_is_the_formula():
    torch.manual_seed(SEED)
    network = _BagNetwork(5, 8, 2, 3, 4, None, 0.0).double().eval()
    bag = torch.randn(1, 7, 5, dtype=torch.double)
    found = network(bag, torch.zeros(1, 7, dtype=torch.bool))
    instances = torch.relu(bag @ network.embed.weight.T + network.embed.bias)
    weights = network.pool.association(instances)[0]  # heads, states, instances
    values = network.pool.get_projected_pattern_matrix(instances)[0]
    retrieved = torch.einsum("hqn,hne->qhe", weights, values).flatten(1)
    pooled = network.pool.project_out(retrieved)
    expected = pooled.flatten() @ network.read.weight.T + network.read.bias
    torch.testing.assert_close(found[0], expected)


def test_scikit_learn_splits_lists_of_bags():
    bags, labels, _ = needles(40, 7)
    model = HopfieldPoolingClassifier(**QUICK)
    split = StratifiedKFold(2, shuffle=True, random_state=SEED)
    assert cross_val_score(model, bags, labels, cv=split, scoring="roc_auc").shape == (2,)
    search = GridSearchCV(model, {"dropout": [0.0, 0.5]}, cv=split).fit(bags, labels)
    assert search.best_estimator_.predict(bags).shape == (40,)
    assert clone(model).get_params() == model.get_params()


def test_a_seed_is_a_run_and_leaves_the_streams_of_torch_alone():
    bags, labels, _ = needles(20, 8)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    runs = [
        HopfieldPoolingClassifier(**QUICK).fit(bags, labels).predict_proba(bags) for _ in range(2)
    ]
    np.testing.assert_array_equal(*runs)
    assert torch.equal(before, torch.get_rng_state())
    other = HopfieldPoolingClassifier(**QUICK | {"random_state": SEED + 1}).fit(bags, labels)
    assert not np.array_equal(runs[0], other.predict_proba(bags))


def test_many_classes_with_names():
    rng, kinds = numpy_seeded(9), np.array(["a", "b", "c"])[np.arange(60) % 3]
    bags = [rng.normal(size=(4, 3)) for _ in range(60)]
    for bag, kind in zip(bags, kinds, strict=True):
        bag[0, "abc".index(kind)] += 8
    model = HopfieldPoolingClassifier(**QUICK | {"max_iter": 60}).fit(bags, kinds)
    assert model.decision_function(bags).shape == (60, 3)
    assert model.score(bags, kinds) > 0.9


def test_constant_and_huge_features_do_no_harm():
    bags, labels, _ = needles(30, 10)
    wide = [np.c_[bag, np.full(len(bag), 7.0), 1e9 * bag[:, 1:2]] for bag in bags]
    assert np.isfinite(HopfieldPoolingClassifier(**QUICK).fit(wide, labels).loss_curve_).all()


@pytest.mark.parametrize("block", [2, 8192])
@pytest.mark.parametrize("size", [1e10, 1e20, 1e37, 1.7e308])
def test_instances_far_away_have_a_class(learned, size, block, monkeypatch):
    monkeypatch.setattr(pooling_classifier, "BLOCK", block)
    far = numpy_seeded(13).choice([-size, size], size=(5, 6))
    bags = [np.full((3, 6), size), np.full((3, 6), -size), far, np.r_[far[:1], np.zeros((4, 6))]]
    proba = learned.predict_proba(bags)
    assert np.isfinite(proba).all()
    np.testing.assert_allclose(proba.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose([each.sum() for each in learned.attention(bags)], 1, atol=1e-6)
    assert learned.score(bags, learned.predict(bags)) == 1


@pytest.mark.parametrize(
    ("bags", "labels", "error", "said"),
    [
        ([], [], ShapeError, "Give a list with an array a bag"),
        ([[[1.0, 2.0]], [[1.0]]], [0, 1], ShapeError, "bag 1 has 1 features, bag 0 has 2"),
        ([[[1.0]], np.empty((0, 1))], [0, 1], ShapeError, "bag 1 of shape .*one instance"),
        ([[[1.0]], [[np.nan]]], [0, 1], DomainError, "bag 1 has values that are NaN"),
        ([[["x"]], [[1.0]]], [0, 1], DomainError, "bag 0 = .*Give numbers"),
        ([[[1.0]], [[2.0]]], [0], ShapeError, "labels of shape .* for 2 bags"),
        ([[[1.0]], [[2.0]]], [1, 1], ParameterError, "all labels are 1"),
        (np.zeros((4, 2)), [0, 1], ShapeError, "without bags"),
        ([[[1e300]], [[2.0]]], [0, 1], DomainError, "bag 0 has numbers beyond"),
    ],
)
def test_odd_bags(bags, labels, error, said):
    with pytest.raises(error, match=said):
        HopfieldPoolingClassifier(**QUICK).fit(bags, labels)


@pytest.mark.parametrize(
    "settings",
    [
        {"hidden_size": 10, "num_heads": 4}, {"n_estimators": 0}, {"dropout": 1.0},
        {"learning_rate": 0}, {"batch_size": 0}, {"max_iter": 0}, {"device": "nowhere"},
    ],
)  # fmt: skip
def test_odd_parameters(settings):
    bags, labels, _ = needles(4, 11)
    with pytest.raises(ParameterError):
        HopfieldPoolingClassifier(**settings).fit(bags, labels)


def test_bags_of_another_width_later(learned):
    with pytest.raises(ShapeError, match="instances of 2 features, learned from 6"):
        learned.predict([np.zeros((3, 2))])
    with pytest.raises(ShapeError, match="bag 0 of shape"):
        learned.attention(np.ones((0, 6)))
    with pytest.raises(DomainError, match="labels that are NaN"):
        learned.predict(np.zeros((3, 6)), bags=[0.0, np.nan, 1.0])
    with pytest.raises(ShapeError, match="Give the bag of each row"):
        learned.predict(np.zeros((3, 6)), bags=[1, 2])


def test_bags_side_by_side():
    bags = Bags.of([np.full((size, 2), size) for size in (1, 3, 2)])
    rows, empty = bags.padded(torch.from_numpy(bags.rows), np.array([2, 0]))
    assert rows[..., 0].tolist() == [[2, 2], [1, 0]]
    assert empty.tolist() == [[False, False], [False, True]]
