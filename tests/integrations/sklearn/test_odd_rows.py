"""One odd row or cell spoils nothing: what is filled in, the density, nor what is chosen."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score

from isinglass.errors import ShapeError
from isinglass.integrations.sklearn import HopfieldBoltzmannMachine
from tests.seeds import SEED, numpy_seeded

pd = pytest.importorskip("pandas")


def table(seed: int, rows: int = 300) -> np.ndarray:
    """Three columns, the second nearly the first."""
    rng = numpy_seeded(seed)
    found = rng.normal(size=(rows, 3))
    found[:, 1] = found[:, 0] + 0.1 * rng.normal(size=rows)
    return found


def odd_rows(clean: np.ndarray, count: int, size: float, together: bool) -> np.ndarray:
    """The same with the first rows replaced, by one place or each by its own, no cell nearer."""
    torn = clean.copy()
    away = np.zeros((count, 3)) if together else numpy_seeded(9).normal(size=(count, 3))
    torn[:count] = size * np.where(away < 0, away - 1, away + 1)
    return torn


def error(filled: np.ndarray, clean: np.ndarray) -> float:
    return float(np.sqrt(np.mean((filled[:, 1] - clean[:, 1]) ** 2)))


@pytest.mark.filterwarnings("ignore:.*not learned from")
@pytest.mark.parametrize("together", [True, False], ids=["together", "apart"])
@pytest.mark.parametrize("size", [30.0, 1e6])
@pytest.mark.parametrize("count", [1, 5])
def test_filled_cells_are_those_without_odd_rows(count, size, together):
    """On fresh rows: odd cells are unknown ones, and better are filled in than by the mean."""
    fresh = table(1, 500)
    cue = fresh.copy()
    cue[:, 1] = np.nan
    torn = odd_rows(table(0), count, size, together)
    blank = odd_rows(table(0), count, np.nan, together)
    model = HopfieldBoltzmannMachine(12, random_state=SEED).fit(torn)
    assert model.odd_cells_ == dict.fromkeys(("0", "1", "2"), count)
    ours = model.impute(cue)
    without = HopfieldBoltzmannMachine(12, random_state=SEED).fit(blank)
    np.testing.assert_allclose(ours, without.impute(cue), rtol=1e-9, atol=1e-9)
    assert error(ours, fresh) < 0.6 * np.std(fresh[:, 1])  # what the mean of the column leaves


@pytest.mark.filterwarnings("ignore:.*not learned from")
@pytest.mark.parametrize("memories", [1, 4, 12])
def test_the_density_of_the_bulk_does_not_move_with_one_row(memories):
    """How far out it lies is of no account, however few the memories."""
    clean = table(0)
    found = []
    for size in (30.0, 1e6, 1e12):
        torn = odd_rows(clean, 1, size, together=True)
        model = HopfieldBoltzmannMachine(memories, random_state=SEED).fit(torn)
        assert model.odd_cells_ == {"0": 1, "1": 1, "2": 1}
        found.append(model.score_samples(clean[1:]))
    np.testing.assert_allclose(found[1:], found[:1] * np.ones((2, 1)), rtol=1e-9)
    plain = HopfieldBoltzmannMachine(memories, random_state=SEED).fit(clean[1:])
    assert abs(plain.score(clean[1:]) - found[0].mean()) < (0.01 if memories == 1 else 0.2)


def test_odd_cells_are_said_and_unlikely():
    torn = table(0)
    torn[5, 1] = 1e4
    with pytest.warns(UserWarning, match=r"1 cell so far .* not learned from: '1' \(1\)"):
        model = HopfieldBoltzmannMachine(8, random_state=SEED).fit(torn)
    assert model.score_samples(torn).argmin() == 5
    with pytest.warns(UserWarning, match="not learned from"):
        model.partial_fit(torn[:50])
    assert model.impute([[1.0, np.nan, 0.0]])[0, 1] == pytest.approx(1, abs=0.5)


def test_a_group_far_away_is_learned_whatever_its_distance():
    """Of a twentieth of the rows in one place nothing is odd: they are a memory's."""
    rows = table(0)
    rows[:15] = 100 + 0.1 * numpy_seeded(2).normal(size=(15, 3))
    model = HopfieldBoltzmannMachine(8, random_state=SEED).fit(rows)
    assert model.odd_cells_ == {}
    assert np.abs(model.impute([[100.0, np.nan, 100.0]])[0, 1] - 100) < 1


def test_long_tails_are_no_odd_cells():
    """Ten thousand log-normal numbers: few jump by a factor of three."""
    rows = np.exp(numpy_seeded(0).normal(size=(10_000, 2)))
    model = HopfieldBoltzmannMachine(3, random_state=SEED, max_iter=5, tol=10.0).fit(rows)
    assert sum(model.odd_cells_.values()) <= 1


@pytest.mark.filterwarnings("ignore:.*not learned from")
def test_the_number_of_memories_does_not_hang_on_one_cell():
    clean = table(0)
    torn = clean.copy()
    torn[0, 0] = 20
    for rows in (clean, torn):
        model = HopfieldBoltzmannMachine(random_state=SEED).fit(rows)
        assert model.n_memories_ >= 5
        assert model.impute([[1.0, np.nan, 0.0]])[0, 1] == pytest.approx(1, abs=0.35)


def test_one_memory_is_said():
    with pytest.warns(UserWarning, match="no number better than 1"):
        HopfieldBoltzmannMachine(covariance="spherical", random_state=SEED).fit(
            numpy_seeded(0).normal(size=(40, 10))
        )


def test_no_spread_is_finer_than_the_numbers():
    """Two pixels of the digits are not zero in one row each: that is worth no ten thousand nats."""
    rows = load_digits().data
    assert ((rows > 0).sum(0) == 1).any()
    scores = cross_val_score(HopfieldBoltzmannMachine(8, random_state=SEED), rows, cv=5)
    assert scores.min() > -200
    model = HopfieldBoltzmannMachine(20, random_state=SEED).fit(rows)
    spreads = np.sqrt(model.covariances_[0])
    assert spreads[rows.std(0) > 0].min() >= 1 / np.sqrt(12) - 1e-9


def test_what_a_fold_holds_does_not_decide_the_kind():
    rows = numpy_seeded(0).normal(size=(50, 2))
    rows[:40, 0] = numpy_seeded(1).integers(0, 2, 40)
    whole = np.concatenate([numpy_seeded(2).integers(0, 2, (40, 1)), np.arange(40)[:, None]], 1)
    for fold in (rows[:40], pd.DataFrame(rows[:40]), whole):
        model = HopfieldBoltzmannMachine(2, random_state=SEED).fit(fold)
        assert np.isfinite(model.score([[0.5, 3.0]]))
    kinds = [
        ((rows[:40, :1] > 0).astype(int), None), (rows[:40, :1] > 0, None),
        (rows[:40, :1], "binary"), (pd.DataFrame({"a": [0, 1] * 9}), None),
        (pd.DataFrame({"a": [0, 1, None] * 9}), None),
    ]  # fmt: skip
    for fold, columns in kinds:
        model = HopfieldBoltzmannMachine(2, columns=columns, random_state=SEED).fit(fold)
        assert set(np.unique(np.asarray(model.sample(60), float))) == {0.0, 1.0}


def test_what_is_no_table_is_named():
    model = HopfieldBoltzmannMachine(2)
    with pytest.raises(ShapeError, match="to_frame"):
        model.fit(pd.Series([1.0, 2.0, 3.0]))
    from scipy.sparse import csr_array

    with pytest.raises(ShapeError, match=r"sparse csr_array.*toarray"):
        model.fit(csr_array(np.eye(3)))
