"""Actions of any structure: rows to store and back, masks, fixed parts, and what does not fit."""

import pickle

import numpy as np
import pytest
import torch
from gymnasium import spaces

from isinglass.agents.actions.action_codec import ActionCode
from isinglass.agents.actions.action_masks import MaskLayout
from isinglass.agents.actions.action_structure import ActionStructure, StoredActions, stored_space
from isinglass.errors import DomainError, ParameterError, ShapeError
from tests.agents.small import STRUCTURED
from tests.seeds import SEED, numpy_seeded

every_space = pytest.mark.parametrize("space", STRUCTURED.values(), ids=STRUCTURED)


def samples(space, count=50):
    space.seed(SEED)
    return [space.sample() for _ in range(count)]


def same(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return np.allclose(one, other, atol=1e-5) and np.shape(one) == np.shape(other)


@every_space
def test_rows_of_numbers_and_back(space):
    structure, actions = ActionStructure.of(space), samples(space)
    given = actions if structure.nested else np.stack(actions)
    rows = structure.store(given)
    assert rows.shape == (50, structure.size)
    assert (np.abs(rows[:, ~structure.listed]) <= 1).all()
    back = structure.restore(rows)
    assert all(space.contains(action) for action in back)
    assert all(map(same, actions, back))
    together = structure.batch(rows)
    first = together
    for key in structure.leaves[0][0]:
        first = first[key]
    assert first.shape == (50, *(structure.leaves[0][1].shape or ()))


@every_space
def test_states_of_units_and_back(space):
    code, structure = ActionCode.of(space), ActionStructure.of(space)
    actions = samples(space)
    rows = structure.store(actions if structure.nested else np.stack(actions))
    values = torch.as_tensor(rows).float()
    states = code.encode(values)
    assert states.shape == (50, code.unit.size)
    code.unit.check(states)
    torch.testing.assert_close(code.decode(states).reshape(50, -1).float(), values)
    assert code.parts == structure.size == code.unit.count
    assert code.real_size == (~structure.listed).sum()
    fixed, which = code.fixed_units(values.double())
    assert which.all()
    torch.testing.assert_close(fixed, states)


@every_space
def test_the_space_that_buffers_see(space):
    stored = stored_space(space)
    again = pickle.loads(pickle.dumps(stored))  # noqa: S301 - made here
    for seen in (stored, again, stored_space(stored)):
        assert ActionStructure.of(seen) == ActionStructure.of(space)
        assert MaskLayout.of(seen) == MaskLayout.of(space)
        assert ActionCode.of(seen) == ActionCode.of(space)
    if not isinstance(stored, StoredActions):
        assert stored is space


def test_whole_numbers_stay_whole_numbers():
    space = spaces.Dict(a=spaces.Discrete(3, start=2**40), b=spaces.Discrete(2))
    assert stored_space(space).dtype == np.int64
    rows = ActionStructure.of(space).store([{"a": 2**40 + 2, "b": 1}])
    assert ActionStructure.of(space).restore(rows)[0]["a"] == 2**40 + 2
    beside = spaces.Dict(a=spaces.Discrete(3, start=2**40), b=spaces.Box(0, 1, (1,)))
    with pytest.raises(ParameterError, match="choices beyond"):
        ActionCode.of(beside)


NESTED = spaces.Dict(
    bits=spaces.MultiBinary((2,)),
    kind=spaces.Discrete(3, start=5),
    pair=spaces.Tuple([spaces.MultiDiscrete([2, 2]), spaces.Box(0, 10, (2,))]),
)


def test_masks_of_the_structure_that_sample_takes():
    """What Gymnasium samples by a mask is allowed by ours, and all of it is met."""
    layout = MaskLayout.of(NESTED)
    assert layout.parts == (2, 2, 3, 2, 2)
    pair = (np.array([1, 0], np.int8), np.array([1, 1], np.int8)), None
    mask = {
        "bits": np.array([2, 1], np.int8), "kind": np.array([0, 1, 1], np.int8), "pair": pair,
    }  # fmt: skip
    flags = layout.rows(mask, 2)
    assert flags.astype(int).tolist() == [[1, 1, 0, 1, 0, 1, 1, 1, 0, 1, 1]] * 2
    assert layout.read([{"action_mask": mask}, {}])[1].all()
    NESTED.seed(SEED)
    theirs = [NESTED.sample(mask=mask) for _ in range(200)]
    ours = layout.draw_allowed(np.repeat(flags[:1], 200, 0), numpy_seeded(0))
    found = [
        {(*a["bits"], a["kind"], *a["pair"][0]) for a in drawn} for drawn in (theirs, ours)
    ]  # fmt: skip
    assert found[0] == found[1]
    assert all(NESTED.contains(action) for action in ours)
    left_out = layout.rows({"kind": np.array([1, 0, 0])}, 1)
    assert left_out.astype(int).tolist() == [[1, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1]]
    each = layout.rows([mask, {}], 2)
    assert (each[0] == flags[0]).all()
    assert each[1].all()


WRONG_MASKS = [
    ({"kind": np.ones(2)}, ShapeError, "shape"),
    ({"bits": np.ones(3)}, ShapeError, "shape"),
    ({"kind": np.array([0, 2, 1])}, DomainError, "among"),
    ({"pair": (None, np.ones(2))}, ParameterError, "real numbers"),
    ({"pair": ((np.ones(2),), None)}, ShapeError, "choices"),
    ({"pair": 3}, ShapeError, "looked for"),
    ({"kind": np.zeros(3)}, DomainError, "forbid every"),
    (np.ones(10), ShapeError, "no flags"),
    (np.ones((2, 2, 3, 2, 2)), ShapeError, "no flags"),
]


@pytest.mark.parametrize(("mask", "kind", "said"), WRONG_MASKS)
def test_masks_that_do_not_fit(mask, kind, said):
    with pytest.raises(kind, match=said):
        MaskLayout.of(NESTED).rows(mask, 1)


def test_fixed_parts():
    structure, nan = ActionStructure.of(NESTED), np.nan
    free = structure.read_fixed({"pair": ([nan, 1], [5, nan])}, 2)
    wanted = [[nan, nan, nan, nan, 1, 0, nan]] * 2
    np.testing.assert_array_equal(free, wanted)
    flat = structure.read_fixed([nan, nan, nan, nan, 1, 5, nan], 2)
    np.testing.assert_array_equal(flat, wanted)
    each = structure.read_fixed([{"kind": 6}, {"bits": [0, 1]}], 2)
    assert each[0, 2] == 6
    np.testing.assert_array_equal(each[1, :2], [0, 1])


WRONG_FIXED = [
    [1, 2],
    {"kind": [1, 2]},
    {"bits": 1},
    {"kind": "no"},
    {"pair": 3},
    [{"kind": 5}] * 3,
    "no",
]


@pytest.mark.usefixtures("plain_annotations")
@pytest.mark.parametrize("fixed", WRONG_FIXED, ids=str)
def test_fixed_parts_that_do_not_fit(fixed):
    with pytest.raises(ShapeError):
        ActionStructure.of(NESTED).read_fixed(fixed, 2)
