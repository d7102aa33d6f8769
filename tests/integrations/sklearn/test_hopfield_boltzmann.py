"""The table estimator keeps scikit-learn's contract, and all it says is exact."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import isinglass as ig
from isinglass.errors import DomainError, FileError, ParameterError, ShapeError
from isinglass.integrations.sklearn import HopfieldBoltzmannMachine
from tests.seeds import SEED, numpy_seeded, shifted

pd = pytest.importorskip("pandas")


@parametrize_with_checks([HopfieldBoltzmannMachine(4, random_state=SEED)])
def test_the_contract_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture
def frame():
    """Numbers, whole numbers, truths, names and categories, some of each unknown."""
    rng = numpy_seeded(0)
    kind = rng.integers(0, 3, 300)
    found = pd.DataFrame(
        {
            "size": np.round(3.0 * kind + rng.normal(size=300), 2),
            "count": pd.array(10 * kind + rng.integers(0, 4, 300), dtype="Int64"),
            "color": np.array(["red", "green", "blue"], object)[kind],
            "large": kind > 0,
            "grade": pd.Categorical(np.array(["a", "b", "c"])[kind]),
        },
        index=range(100, 400),
    )
    for name in ("size", "count", "color", "grade"):
        found.loc[rng.random(300) < 0.15, name] = pd.NA if name == "count" else None
    return found


def test_likelihoods_are_those_of_the_mixture_in_the_data_s_units():
    """One memory is independent normals; every scale of the data is worth its Jacobian."""
    rows = load_iris().data
    model = HopfieldBoltzmannMachine(1, pseudo_count=0.0).fit(rows)
    mean, std = rows.mean(0), rows.std(0)
    normal = -((rows - mean) ** 2) / (2 * std**2) - np.log(std * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(model.score_samples(rows), normal.sum(1), rtol=1e-9)
    model = HopfieldBoltzmannMachine(5, random_state=SEED).fit(rows)
    other = HopfieldBoltzmannMachine(5, random_state=SEED).fit(1000 * rows - 7)
    shift = 4 * np.log(1000)
    np.testing.assert_allclose(
        other.score_samples(1000 * rows - 7), model.score_samples(rows) - shift, atol=1e-6
    )
    assert model.log_likelihood_curve_[-1] == pytest.approx(model.score(rows), abs=1e-9)


def test_a_density_integrates_to_one_and_marginals_are_its_integrals():
    rows = load_iris().data[:, 2:]
    model = HopfieldBoltzmannMachine(4, random_state=SEED).fit(rows)
    x, y = np.linspace(-4, 12, 400), np.linspace(-3, 6, 400)
    grid = np.stack(np.meshgrid(x, y, indexing="ij"), -1).reshape(-1, 2)
    density = np.exp(model.score_samples(grid)).reshape(400, 400)
    marginal = np.trapezoid(density, y, axis=1)
    assert np.trapezoid(marginal, x) == pytest.approx(1, abs=1e-6)
    known = np.stack([x, np.full(400, np.nan)], -1)
    np.testing.assert_allclose(np.exp(model.score_samples(known)), marginal, atol=1e-8)
    assert model.score_samples([[np.nan, np.nan]]) == pytest.approx(0)


def test_imputation_is_the_exact_conditional():
    """The mean and the draws of y given x, against the integral over the joint density."""
    rows = load_iris().data[:, 2:]
    model = HopfieldBoltzmannMachine(4, random_state=SEED).fit(rows)
    y = np.linspace(-3, 6, 2000)
    density = np.exp(model.score_samples(np.stack([np.full(2000, 3.0), y], -1)))
    mean = np.trapezoid(y * density, y) / np.trapezoid(density, y)
    variance = np.trapezoid((y - mean) ** 2 * density, y) / np.trapezoid(density, y)
    torn = np.array([[3.0, np.nan]])
    assert model.impute(torn)[0, 1] == pytest.approx(mean, abs=1e-6)
    draws = model.impute(np.repeat(torn, 20_000, 0), "draw", random_state=shifted(1))[:, 1]
    assert abs(draws.mean() - mean) < 5 * np.sqrt(variance / 20_000) + 0.05 / np.sqrt(12)
    best = model.impute(torn, "mode")
    assert model.score(best) >= model.score([[3.0, mean]])
    mixture = model.conditional(torn)
    assert isinstance(mixture, ig.PatternMixture)
    cells = model.columns_.decode(mixture.mean() * model.scale_, rounded=False)
    assert cells[1][0] == pytest.approx(mean, abs=1e-6)


def test_data_frames_keep_names_types_and_index(frame):
    model = HopfieldBoltzmannMachine(3, random_state=SEED).fit(frame)
    assert list(model.feature_names_in_) == list(frame.columns)
    fresh = model.sample(500)
    assert list(fresh.columns) == list(frame.columns)
    assert list(map(str, fresh.dtypes)) == list(map(str, frame.dtypes))
    assert set(fresh["color"]) == {"red", "green", "blue"}
    agree = (fresh["color"] == "red") == ~fresh["large"]
    assert agree.mean() > 0.95
    whole = model.impute(frame)
    assert whole.index.equals(frame.index)
    assert not whole.isna().any().any()
    for name in frame:
        known = frame[name].notna()
        assert (whole.loc[known, name] == frame.loc[known, name]).all()
    assert str(whole["grade"].dtype) == "category"
    letters = {"a": "red", "b": "green", "c": "blue"}
    known = frame["color"].notna() & frame["grade"].isna()
    assert (whole.loc[known, "grade"].map(letters).astype(str) == frame.loc[known, "color"]).all()
    features = model.set_output(transform="pandas").transform(frame)
    assert list(features.columns) == [f"hopfieldboltzmannmachine{n}" for n in range(3)]
    assert features.index.equals(frame.index)
    np.testing.assert_allclose(features.to_numpy().sum(1), 1.0)


def test_categories_of_pandas_keep_their_order(tmp_path):
    rng = numpy_seeded(0)
    names, numbers = ["low", "high", "never"], [3, 1, 2]
    frame = pd.DataFrame(
        {
            "level": pd.Categorical(rng.choice(names[:2], 40), names, ordered=True),
            "grade": pd.Categorical(rng.choice(numbers, 40), numbers),
        }
    )
    frame.loc[::5] = None
    model = HopfieldBoltzmannMachine(2, random_state=SEED).fit(frame)
    model.save(tmp_path / "m.safetensors")
    loaded = HopfieldBoltzmannMachine.load(tmp_path / "m.safetensors")
    for found in (model.sample(9), model.impute(frame), loaded.sample(9)):
        pd.testing.assert_series_equal(found.dtypes, frame.dtypes)
        assert not found.isna().any().any()


@pytest.mark.parametrize("scale", [1e300, 1e-20, 1e-200])
def test_huge_and_tiny_numbers_are_numbers(scale):
    rows = numpy_seeded(0).random((30, 2))
    model = HopfieldBoltzmannMachine(2, random_state=SEED).fit(scale * rows)
    plain = HopfieldBoltzmannMachine(2, random_state=SEED).fit(rows)
    fresh = model.sample(5, random_state=shifted(1))
    np.testing.assert_allclose(fresh / scale, plain.sample(5, random_state=shifted(1)), rtol=1e-6)
    assert model.score(scale * rows) + 2 * np.log(scale) == pytest.approx(plain.score(rows))
    with pytest.raises(DomainError, match="among numbers near"):
        plain.score([[1e300, 0.0]])


def test_categories_only_held_out_count_as_unknown():
    """Names that are all different neither help nor harm a likelihood held out."""
    size = numpy_seeded(0).normal(size=60)
    names = np.array([f"id{n}" for n in range(60)], object)
    scores = []
    for table in ({"a": size}, {"a": size, "id": names}):
        model = HopfieldBoltzmannMachine(1, random_state=SEED).fit(table)
        scores.append(model.held_out_scores(table, [1])[1])
    assert scores[1] == pytest.approx(scores[0])


def test_columns_by_name_and_lists_are_tables_too(frame):
    table = {name: frame[name].astype(object).to_numpy() for name in frame}
    model = HopfieldBoltzmannMachine(3, random_state=SEED).fit(table)
    same = HopfieldBoltzmannMachine(3, random_state=SEED).fit(frame)
    np.testing.assert_array_equal(model.score_samples(table), same.score_samples(frame))
    assert list(model.sample(3)) == list(table)
    with pytest.raises(ShapeError, match="columns of the fit: size, count"):
        model.transform({"size": table["size"]})
    with pytest.raises(ShapeError, match="one length"):
        model.fit({"a": [1.0, 2.0], "b": [1.0]})
    rows = [["a", 1.0], ["b", 2.0], ["a", None], [None, 2.5]] * 5
    model = HopfieldBoltzmannMachine(2, random_state=SEED).fit(rows)
    assert model.sample(4).shape == (4, 2)
    assert set(model.sample(50)[:, 0]) == {"a", "b"}


def test_missing_cells_cost_little():
    """Fitted with a fifth of the cells gone, it finds whole rows nearly as likely."""
    train, test = train_test_split(load_iris().data, random_state=SEED)
    torn = np.where(numpy_seeded(0).random(train.shape) < 0.2, np.nan, train)
    whole, part = (HopfieldBoltzmannMachine(4, n_init=5, random_state=SEED) for _ in range(2))
    assert part.fit(torn).score(test) > whole.fit(train).score(test) - 0.6
    assert part.score(test) > GaussianMixture(1, covariance_type="diag").fit(train).score(test) + 1


def test_the_number_of_memories_is_chosen():
    """Of 100 columns, chance lets no memory too many seem of use.

    A memory too many halves the hundred rows that one learns its means from: a row of theirs loses
    100/2 (1/50 − 1/100) = ½ nat held out, give or take 1. Three such lose 0.3 ± 0.04 a row of all.
    k-means++ misses a center, so far apart, in one of 300 starts, and in all three in none.
    """
    centers = 100.0 * np.tile(np.eye(5), 20)
    rng = numpy_seeded(0)
    rows = centers[rng.integers(0, 5, 600)] + rng.normal(size=(600, 100))
    model = HopfieldBoltzmannMachine(covariance="spherical", random_state=SEED, n_init=3).fit(rows)
    assert model.n_memories_ == 5
    assert max(model.validation_scores_, key=model.validation_scores_.get) == 5


def test_partial_fit_follows_a_stream():
    """Stepwise EM over batches comes close to EM on all rows at once."""
    rng = numpy_seeded(0)
    rows = (4 * np.eye(3))[rng.integers(0, 3, 4000)] + rng.normal(size=(4000, 3))
    stream = HopfieldBoltzmannMachine(3, random_state=SEED)
    for batch in np.split(rows, 20):
        stream.partial_fit(batch)
    assert stream.n_samples_seen_ == 4000
    whole = HopfieldBoltzmannMachine(3, random_state=SEED).fit(rows)
    first = HopfieldBoltzmannMachine(3, random_state=SEED).fit(rows[:200])
    assert whole.score(rows) - stream.score(rows) < 0.5 * (whole.score(rows) - first.score(rows))
    with pytest.raises(ValueError, match="2 features"):
        stream.partial_fit(rows[:, :2])


def test_warm_start_goes_on(frame):
    model = HopfieldBoltzmannMachine(3, max_iter=2, tol=0.0, warm_start=True, random_state=SEED)
    with pytest.warns(ConvergenceWarning, match="max_iter = 2"):
        first = model.fit(frame).log_likelihood_curve_
    with pytest.warns(ConvergenceWarning):
        again = model.fit(frame).log_likelihood_curve_
    assert again[0] == pytest.approx(first[-1], abs=1e-9)


def test_pickles_files_grids_and_pipelines(frame, tmp_path):
    model = HopfieldBoltzmannMachine(3, random_state=SEED).fit(frame)
    copy = pickle.loads(pickle.dumps(model))  # noqa: S301
    np.testing.assert_array_equal(copy.score_samples(frame), model.score_samples(frame))
    model.save(tmp_path / "table.safetensors")
    loaded = HopfieldBoltzmannMachine.load(tmp_path / "table.safetensors")
    np.testing.assert_array_equal(loaded.score_samples(frame), model.score_samples(frame))
    pd.testing.assert_frame_equal(
        loaded.sample(5, random_state=shifted(1)), model.sample(5, random_state=shifted(1))
    )
    loaded.partial_fit(frame)
    with pytest.raises(FileError, match="exists already"):
        model.save(tmp_path / "table.safetensors")
    ig.save(model.machine_, tmp_path / "machine.safetensors")
    with pytest.raises(FileError, match="describes no columns"):
        HopfieldBoltzmannMachine.load(tmp_path / "machine.safetensors")
    rows, labels = load_iris(return_X_y=True)
    grid = GridSearchCV(HopfieldBoltzmannMachine(random_state=SEED), {"n_memories": [1, 5]}, cv=3)
    mixed = numpy_seeded(0).permutation(150)
    assert grid.fit(rows[mixed]).best_params_ == {"n_memories": 5}
    pipe = make_pipeline(HopfieldBoltzmannMachine(12, random_state=SEED), LogisticRegression(C=100))
    assert pipe.fit(rows, labels).score(rows, labels) > 0.93


def test_bad_tables_are_named(frame):
    model = HopfieldBoltzmannMachine(3, random_state=SEED)
    with pytest.raises(DomainError, match="column 'size': every cell is unknown"):
        model.fit(frame.assign(size=np.nan))
    with pytest.raises(DomainError, match="column '1': every cell is unknown"):
        model.fit([[1.0, np.nan], [2.0, np.nan]])
    with pytest.raises(ShapeError, match="two columns named 'size'"):
        model.fit(frame[["size", "size"]])
    with pytest.raises(DomainError, match="column '0': a number as large as"):
        model.fit([[1.7e308], [-1.7e308]])
    with pytest.raises(DomainError, match="dates"):
        model.fit(frame.assign(size=pd.Timestamp("2020-01-01")))
    with pytest.raises(ValueError, match="0 sample"):
        model.fit(frame.iloc[:0])
    model.fit(frame)
    new = frame.assign(color="purple")
    with pytest.raises(DomainError, match="'purple' in column 'color'"):
        model.score(new)
    model.handle_unknown = "missing"
    np.testing.assert_array_equal(
        model.score_samples(new), model.score_samples(frame.assign(color=None))
    )
    assert (model.impute(new)["color"] == "purple").all()
    with pytest.raises(ParameterError, match="how = 'median'"):
        model.impute(frame, "median")
    with pytest.raises(ParameterError, match="n_samples"):
        model.sample(0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_memories": 0}, {"n_memories": "many"}, {"n_memories": 301}, {"max_iter": 0},
        {"tol": -1.0}, {"pseudo_count": -1.0}, {"least_spread": 0.0}, {"n_init": 0},
        {"handle_unknown": "ignore"}, {"columns": {"size": "round"}}, {"columns": {"x": "numeric"}},
    ],
    ids=str,
)  # fmt: skip
def test_wrong_parameters_are_refused_at_fit(frame, wrong):
    with pytest.raises(ParameterError):
        HopfieldBoltzmannMachine(**wrong).fit(frame)


def test_constant_columns_and_repeated_rows_do_no_harm():
    rows = np.column_stack([np.full(20, 7.5), np.zeros(20), np.repeat([1.0, 2.0], 10)])
    model = HopfieldBoltzmannMachine(6, random_state=SEED).fit(rows)
    assert np.isfinite(model.score_samples(rows)).all()
    fresh = model.sample(10)
    assert np.abs(fresh[:, 0] - 7.5).max() < 0.1
    assert all(bool(parameter.isfinite().all()) for parameter in model.machine_.parameters())


def test_verbose_shows_progress(frame, capsys):
    HopfieldBoltzmannMachine(2, verbose=True, random_state=SEED).fit(frame)
    assert "100%" in capsys.readouterr().out
    assert torch.is_grad_enabled()


def test_polars_frames_come_back_as_such():
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"a": [1.0, 2.0, None, 4.0], "b": ["x", "y", "x", None]})
    model = HopfieldBoltzmannMachine(1, random_state=0).fit(frame)
    whole = model.impute(frame)
    assert whole.columns == ["a", "b"]
    assert whole["b"].to_list() == ["x", "y", "x", "x"]
    assert whole["a"].null_count() == 0
    assert model.sample(3).shape == (3, 2)


def test_a_series_is_refused_by_name():
    with pytest.raises(ShapeError, match=r"a Series, which is no table. Give a data frame"):
        HopfieldBoltzmannMachine(1).fit(pd.Series([1.0, 2.0]))
