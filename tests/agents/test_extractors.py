"""Features extractors: a box centered, a set summed."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from isinglass.agents import CenteredExtractor, FreeEnergyPolicy, SetExtractor
from isinglass.errors import ParameterError
from tests.seeds import numpy_seeded

ROWS = spaces.Box(
    np.array([[-1, 1, 2], [0, 0, 3], [-1, 0, 2], [1, 1, 4]]),  # together from -1, 0 and 2
    np.array([[1, 1, 4], [1, 1, 5], [0, 1, 5], [1, 1, 5]]),  # to 1, 1 and 5
    dtype=np.int8,
)
SETS = spaces.Dict({"propositions": ROWS, "mask": spaces.MultiBinary(4)})


def box(low, high):
    return spaces.Box(np.array(low, np.float32), np.array(high, np.float32))


def test_bounds_are_seen_as_plus_and_minus_one():
    extractor = CenteredExtractor(box([-3, 0, 5], [1, 2, 5.5]))
    seen = torch.tensor([[-3, 0, 5], [1, 2, 5.5], [-1, 1, 5.25], [0, 1.5, 5.375]])
    expected = torch.tensor([[-1.0], [1], [0], [0.5]]).expand(4, 3)
    torch.testing.assert_close(extractor(seen), expected)


def test_a_table_is_seen_flat():
    extractor = CenteredExtractor(spaces.Box(0, 4, (2, 3), np.float32))
    assert extractor.features_dim == 6
    seen = torch.arange(6.0).reshape(1, 2, 3)
    torch.testing.assert_close(extractor(seen), (seen.flatten(1) - 2) / 2)


def test_what_never_varies_is_seen_as_zero():
    extractor = CenteredExtractor(box([0, 7], [2, 7]))
    assert extractor(torch.tensor([[1.0, 7], [2, 7]])).tolist() == [[0, 0], [1, 0]]


@pytest.mark.usefixtures("plain_annotations")
@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(-np.inf, np.inf, (2,)),
        box([0, 0], [1, np.inf]),
        box([0, -np.inf], [1, 1]),
        spaces.MultiBinary(3),
    ],
    ids=["free", "above", "below", "bits"],
)
def test_what_has_no_bounds_is_not_centered(space):
    with pytest.raises(ParameterError, match=r"CenteredExtractor.*Use FlattenExtractor"):
        CenteredExtractor(space)


def sets(batch=6, seed=0):
    """Sets of propositions as tensors, each row of the space; some rows are not filled."""
    rng = numpy_seeded(seed)
    rows = rng.integers(ROWS.low, ROWS.high + 1, (batch, 4, 3))
    mask = rng.random((batch, 4)) < 0.6
    return {"propositions": torch.tensor(rows), "mask": torch.tensor(mask).float()}


def test_every_proposition_has_a_vector_of_its_own():
    extractor = SetExtractor(SETS, features_dim=5)
    every = np.stack(np.meshgrid([-1, 0, 1], [0, 1], [2, 3, 4, 5], indexing="ij"), -1)
    rows = torch.zeros(24, 4, 3, dtype=torch.int64)
    rows[:, 0] = torch.tensor(every.reshape(24, 3))
    mask = torch.tensor([1.0, 0, 0, 0]).expand(24, 4)
    assert torch.equal(extractor({"propositions": rows, "mask": mask}), extractor.vectors.weight)


def test_the_order_of_the_rows_says_nothing():
    extractor, seen, order = SetExtractor(SETS), sets(), torch.tensor([2, 0, 3, 1])
    turned = {name: rows[:, order] for name, rows in seen.items()}
    torch.testing.assert_close(extractor(turned), extractor(seen))


def test_rows_that_are_not_filled_say_nothing_whatever_they_hold():
    extractor, seen = SetExtractor(SETS), sets()
    some = extractor(seen)
    held = seen["mask"].bool()
    for rubbish in (-99, 99):
        seen["propositions"][~held] = rubbish
        assert torch.equal(extractor(seen), some)
    one_more = seen["mask"].clone()
    one_more[0] = held[0].logical_not()
    assert not torch.equal(extractor(sets() | {"mask": one_more})[0], some[0])
    nothing = seen | {"mask": torch.zeros(6, 4)}
    assert extractor(nothing).abs().max() == 0


def test_numbers_of_any_kind_are_the_same_propositions():
    """A policy hands them on as floats."""
    extractor, seen = SetExtractor(SETS), sets()
    for dtype in (torch.int8, torch.float32, torch.float64):
        assert torch.equal(
            extractor({name: rows.to(dtype) for name, rows in seen.items()}), extractor(seen)
        )


def test_only_what_is_held_learns():
    extractor, seen = SetExtractor(SETS, features_dim=2), sets(batch=2)
    extractor(seen).sum().backward()
    held = seen["propositions"][seen["mask"].bool()] - torch.tensor([-1, 0, 2])
    counts = torch.zeros(3, 2, 4)
    for x, y, z in held.tolist():
        counts[x, y, z] += 1
    assert 0 < int((counts > 0).sum()) < 24
    expected = counts.reshape(24, 1).expand(24, 2)
    assert torch.equal(extractor.vectors.weight.grad, expected)


def test_a_policy_sees_sets():
    policy = FreeEnergyPolicy(
        SETS, spaces.Discrete(9), lambda _: 1e-3, net_arch=[],
        features_extractor_class=SetExtractor, features_extractor_kwargs={"features_dim": 3},
    )  # fmt: skip
    seen = {name: rows.numpy() for name, rows in sets().items()}
    turned = {name: rows[:, ::-1].copy() for name, rows in seen.items()}
    some, same = (policy.predict(given, deterministic=True)[0] for given in (seen, turned))
    np.testing.assert_array_equal(some, same)


def of(low, high, dtype=np.int64, mask=None):
    rows = spaces.Box(low, high, (2, 2), dtype)
    return spaces.Dict({"propositions": rows, "mask": mask or spaces.MultiBinary(2)})


@pytest.mark.usefixtures("plain_annotations")
@pytest.mark.parametrize(
    "space",
    [
        of(0, 256),
        of(-(2**62), 2**62),
        of(np.iinfo(np.int64).min, np.iinfo(np.int64).max),
        of(0, 1, mask=spaces.MultiBinary(3)),
        of(0, 1, mask=spaces.MultiBinary((2, 2))),
    ],
    ids=["too many", "far too many", "all numbers", "long mask", "wide mask"],
)
def test_sets_that_are_too_rich(space):
    with pytest.raises(ParameterError, match="different propositions with a mask of shape"):
        SetExtractor(space)


@pytest.mark.parametrize("dtype", [np.int64, np.uint8])
def test_as_many_propositions_as_may_be(dtype):
    assert SetExtractor(of(0, 255, dtype), 1).vectors.num_embeddings == 2**16


@pytest.mark.usefixtures("plain_annotations")
@pytest.mark.parametrize(
    "space",
    [
        ROWS,
        of(0, 1, np.float32),
        spaces.Dict({"propositions": ROWS}),
        spaces.Dict({"propositions": spaces.MultiBinary((4, 3)), "mask": spaces.MultiBinary(4)}),
        spaces.Dict({"propositions": spaces.Box(0, 1, (4,), int), "mask": spaces.MultiBinary(4)}),
    ],
    ids=["array", "real", "no mask", "bits", "flat"],
)
def test_what_is_no_set(space):
    with pytest.raises(ParameterError, match=r"(?s)SetExtractor.*Give a Dict of 'propositions'"):
        SetExtractor(space)
