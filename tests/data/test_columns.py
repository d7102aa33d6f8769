"""Columns of mixed kinds become states of visible units, and come back as they were."""

import datetime
import json

import numpy as np
import pytest

import isinglass as ig
from isinglass.data.columns import Binary, CategoricalColumn, Columns, Numeric, is_unknown
from isinglass.errors import DomainError, ParameterError, ShapeError

TABLE = {
    "age": np.array([20.0, 35.0, np.nan, 50.0]),
    "eyes": np.array(["blue", None, "green", "blue"], object),
    "new": np.array([0.0, 1.0, 1.0, np.nan]),
    "price": np.array([1.25, np.nan, 2.5, 3.75]),
    "grade": np.array([1.0, 3.0, 2.0, 2.0]),
    "shape": np.array(["a", "b", "a", None], object),
}


@pytest.fixture
def columns():
    return Columns.of(list(TABLE), list(TABLE.values()), {"grade": "categorical"})


def test_kinds_are_seen_in_the_cells(columns):
    kinds = [Numeric, CategoricalColumn, Binary, Numeric, CategoricalColumn, CategoricalColumn]
    assert [type(column) for column in columns.columns] == kinds
    assert columns.unit == ig.Mixed(
        [ig.Gaussian(2), ig.Bernoulli(1), ig.Categorical(4, groups=2), ig.Categorical(3)]
    )
    age, *_, grade, _ = columns.columns
    assert age == Numeric("age", 35.0, np.sqrt(150.0), 0)
    assert grade == CategoricalColumn("grade", (1, 2, 3))
    assert columns.columns[3].decimals == 2
    truths = Columns.of(["a"], [np.array([True, False])]).columns[0]
    assert truths == Binary("a", boolean=True)
    assert truths.decode(np.array([[0.2], [0.9]])).tolist() == [False, True]


def test_one_value_alone_is_a_number():
    """A pixel that is 0 in all rows seen so far may be 0.5 in the next."""
    for value in (0.0, 1.0, 7.0):
        (column,) = Columns.of(["a"], [np.full(5, value)]).columns
        assert column == Numeric("a", value, 1.0, 0)


def test_states_come_back_as_cells(columns):
    state, observed = columns.encode("test", list(TABLE.values()))
    assert state.shape == observed.shape == (4, 10)
    columns.unit.check(state, observed)
    assert bool((state[~observed] == 0).all())
    for name, cells in zip(TABLE, columns.decode(state), strict=True):
        known = ~is_unknown(TABLE[name])
        np.testing.assert_array_equal(cells[known], TABLE[name][known])
    assert columns.numeric.tolist() == [True] * 2 + [False] * 8
    for place, column in zip(columns.places, columns.columns, strict=True):
        spread = column.spread if isinstance(column, Numeric) else 1.0
        assert bool((columns.spreads[place] == spread).all())


def test_a_description_is_json_and_reads_back(columns):
    config = json.loads(json.dumps(columns.config()))
    assert Columns.from_config(config) == columns


def test_decimals_are_those_of_the_data():
    decimals = {
        (1.0, 20.0): 0, (0.1, 2.25): 2, (1e-6,): 6, (1e-7, 1.0): None, (1 / 3,): None,
        (1e16,): 0, (1e19,): None, (1234567.5,): 1,
    }  # fmt: skip
    for values, places in decimals.items():
        assert Numeric.of("a", np.array(values)).decimals == places
    assert Numeric("a", 0.0, 1.0, 1).decode(np.array([[-0.01]])).tolist() == [0.0]
    assert not np.signbit(Numeric("a", 0.0, 1.0, 1).decode(np.array([[-0.01]]))).any()


@pytest.mark.parametrize(
    ("cells", "kinds", "found"),
    [
        ([np.nan, np.nan], {}, "column 'a': every cell is unknown"),
        ([None, None], {}, "every cell is unknown"),
        ([1.0, np.inf], {}, "infinity"),
        (["x", "1"], {"a": "numeric"}, "no number"),
        ([1.0, 2.0], {"a": "binary"}, "none of 0, 1"),
        ([1.0, 2.0], {"a": "round"}, "'a': 'round'"),
        ([1.0, 2.0], {"b": "numeric"}, "Name a column of a"),
        ([(1, 2), (3, 4)], {"a": "categorical"}, "a cell of type tuple"),
        (np.array(["2020-01-01", "2020-01-02"], "M8[D]"), {}, "dates"),
    ],
    ids=str,
)
def test_cells_that_are_not_of_their_kind_are_refused(cells, kinds, found):
    array = np.empty(2, object)
    array[:] = list(cells)
    array = cells if isinstance(cells, np.ndarray) else array
    with pytest.raises((DomainError, ParameterError), match=found):
        Columns.of(["a"], [array], kinds)


def test_new_cells_are_refused_or_unknown(columns):
    new = [cells.copy() for cells in TABLE.values()]
    new[1][0] = "red"
    with pytest.raises(
        DomainError, match="'red' in column 'eyes', which is none of 'blue', 'green'"
    ):
        columns.encode("test", new)
    new[2][1] = 2.0
    _, observed = columns.encode("test", new, handle_unknown="missing")
    assert not observed[0, columns.places[1]].any()
    assert not observed[1, columns.places[2]].any()
    with pytest.raises(ShapeError, match="5 columns, fitted on 6"):
        columns.encode("test", new[1:])


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        ([0, "0", 1], "0 and '0' are two categories"),
        ([1.0, "1.0", "a"], "1 and '1.0' are two categories"),
        ([True, "True", "a"], "True and 'True' are two categories"),
        ([True, 1, "a"], "True and 1, False and 0 are one category"),
    ],
)
def test_categories_that_look_or_are_alike_are_said(cells, found):
    with pytest.warns(UserWarning, match=found):
        CategoricalColumn.of("a", np.array(cells, object))


def test_dates_are_refused_by_name():
    days = np.array([datetime.date(2020, 1, 1), None, datetime.date(2020, 1, 2)], object)
    with pytest.raises(DomainError, match="column 'a': dates or times"):
        Columns.of(["a"], [days])


def test_more_categories_than_fit_in_memory_are_refused_with_their_column():
    cells = [np.array([f"w{n % size}" for n in range(20_000)], object) for size in (6_000, 3_000)]
    columns = Columns.of(["many", "fewer"], cells)
    with pytest.raises(DomainError, match="20000 rows of 9000 categories, 6000 of them in column"):
        columns.encode("fit", cells)
