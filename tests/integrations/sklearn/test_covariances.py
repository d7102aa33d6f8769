"""Tables by memories with covariances of their own: what is filled, drawn, kept and refused."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.impute import SimpleImputer
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split
from sklearn.utils.estimator_checks import parametrize_with_checks

from isinglass.errors import FileError, ParameterError
from isinglass.integrations.sklearn import HopfieldBoltzmannImputer, HopfieldBoltzmannMachine
from tests.seeds import SEED, numpy_seeded, shifted

pd = pytest.importorskip("pandas")
pytestmark = pytest.mark.filterwarnings("ignore:.*not learned from")


def stack(**given):
    return HopfieldBoltzmannMachine(**{"random_state": SEED} | given)


@pytest.mark.slow
@parametrize_with_checks([stack(), stack(covariance="full", n_memories=2)])
def test_the_contract_of_scikit_learn(estimator, check):
    check(estimator)


def mixed(count=300, seed=0):
    """Counts, a share, a number that hangs on both, truths, a rating and names."""
    rng = numpy_seeded(seed)
    kind = rng.integers(0, 3, count)
    visits = rng.poisson(1 + 3 * kind)
    share = rng.beta(2 + kind, 4)
    return pd.DataFrame(
        {
            "visits": pd.array(visits, "Int64"),
            "share": share.round(3),
            "cost": visits * 20 + 100 * share + rng.normal(size=count),
            "late": rng.random(count) < 0.2 + 0.3 * kind,
            "stars": rng.integers(1, 6, count).astype(float),
            "color": np.array(["red", "green", "blue"], object)[kind],
        }
    )


def torn_of(frame, rate=0.2, seed=1):
    torn, rng = frame.copy(), numpy_seeded(seed)
    for name in ("visits", "share", "cost", "stars", "color"):
        torn.loc[rng.random(len(frame)) < rate, name] = pd.NA if name == "visits" else None
    return torn


def test_lines_are_filled_as_lines():
    """Where columns hang on each other linearly, what is left is the noise."""
    rng = numpy_seeded(0)
    rows = rng.normal(size=(400, 2)) @ rng.normal(size=(2, 8)) + 0.1 * rng.normal(size=(400, 8))
    train, test = rows[:300], rows[300:]
    torn = np.where(rng.random(train.shape) < 0.2, np.nan, train)
    hidden = rng.random(test.shape) < 0.2
    found = stack().fit(torn).impute(np.where(hidden, np.nan, test))
    spheres = stack(covariance="spherical").fit(torn).impute(np.where(hidden, np.nan, test))
    error, plain = (np.sqrt(np.mean((f - test)[hidden] ** 2)) for f in (found, spheres))
    assert error < 0.25
    assert error < 0.6 * plain
    np.testing.assert_array_equal(found[~hidden], test[~hidden])


def test_the_density_is_better_than_that_of_a_mixture():
    for load in (load_iris, load_wine):
        train, test = train_test_split(load().data, random_state=SEED)
        ours = stack().fit(train).score(test)
        assert ours > stack(covariance="spherical").fit(train).score(test)
        assert ours > GaussianMixture(3, random_state=SEED).fit(train).score(test)


def test_scores_are_in_the_units_of_the_data():
    rows = load_iris().data
    model, other = stack().fit(rows), stack().fit(1000 * rows - 7)
    np.testing.assert_allclose(
        other.score_samples(1000 * rows - 7),
        model.score_samples(rows) - 4 * np.log(1000), atol=1e-5,
    )  # fmt: skip
    assert model.log_likelihood_curve_[-1] == pytest.approx(model.score(rows), abs=1e-9)
    assert model.score_samples([[np.nan] * 4]) == pytest.approx(0)
    x = np.linspace(0, 20, 4001)
    grid = np.stack([x, *[np.full(4001, np.nan)] * 3], 1)
    assert np.trapezoid(np.exp(model.score_samples(grid)), x) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("covariance", ["auto", "diag", "tied", "full"])
def test_draws_are_what_columns_hold(covariance):
    frame = mixed()
    model = stack(covariance=covariance).fit(torn_of(frame))
    fresh = model.sample(1000)
    filled = model.impute(torn_of(frame), "draw")
    assert list(map(str, fresh.dtypes)) == list(map(str, frame.dtypes))
    for table in (fresh, filled):
        assert not table.isna().any().any()
        assert set(table["visits"]) <= set(frame["visits"])
        assert set(table["stars"]) <= {1.0, 2.0, 3.0, 4.0, 5.0}
        assert set(table["color"]) <= {"red", "green", "blue"}
        for name in ("share", "cost"):
            assert table[name].between(frame[name].min(), frame[name].max()).all()
    np.testing.assert_allclose(fresh["share"], fresh["share"].round(3))
    # Shares of three kinds in a fit to 240 known of 300 rows, and in 1000 draws.
    share = (fresh["color"] == "red").mean() - (frame["color"] == "red").mean()
    assert abs(share) < 5 * np.sqrt(0.25 / 240 + 0.25 / 1000)


def test_multiple_imputation_varies_with_the_seed():
    torn = torn_of(mixed())
    model = stack().fit(torn)
    draws = [model.impute(torn, "draw", random_state=shifted(seed)) for seed in (1, 2, 2)]
    hidden = torn["cost"].isna()
    assert (draws[0]["cost"][hidden] != draws[1]["cost"][hidden]).mean() > 0.9
    pd.testing.assert_frame_equal(draws[1], draws[2])
    known = ~torn.isna()
    for name in torn:
        assert (draws[0].loc[known[name], name] == torn.loc[known[name], name]).all()
    seeds = range(shifted(9), shifted(29))
    many = [model.impute(torn, "draw", random_state=seed)["cost"][hidden] for seed in seeds]
    average = np.stack([draw.to_numpy() for draw in many]).mean(0)
    mean = model.impute(torn)["cost"][hidden].to_numpy()
    assert np.corrcoef(average, mean)[0, 1] > 0.9


def test_conditional_and_memories_agree():
    frame = mixed()
    model = stack().fit(frame)
    torn = torn_of(frame)
    weights = model.predict_proba(torn)
    assert weights.shape == (300, model.n_memories_) == (300, len(model.weights_))
    np.testing.assert_allclose(weights.sum(1), 1)
    np.testing.assert_allclose(model.weights_.sum(), 1)
    assert model.means_.shape == model.covariances_.shape
    assert (model.covariances_ >= 0).all()
    found = model.conditional(torn)
    cells = model.columns_.decode(found.mean(), rounded=False)
    hidden = torn["cost"].isna()
    np.testing.assert_allclose(cells[2][hidden], model.impute(torn)["cost"][hidden])
    best = model.impute(torn, "mode")
    assert not best.isna().any().any()
    rows, labels = model.sample(500, return_labels=True)
    assert len(rows) == len(labels)
    assert labels.max() < model.n_memories_
    assert np.isfinite([model.aic(frame), model.bic(frame)]).all()


def test_files_give_the_same_table_back(tmp_path):
    frame = mixed()
    corrupt = frame.copy()
    corrupt.loc[::17, "cost"] *= -1
    for number, rows in enumerate((frame, corrupt)):
        model = stack().fit(rows)
        path = tmp_path / f"{number}.safetensors"
        model.save(path)
        loaded = HopfieldBoltzmannMachine.load(path)
        np.testing.assert_array_equal(loaded.score_samples(rows), model.score_samples(rows))
        torn = torn_of(rows)
        for how in ("mean", "mode", "draw"):
            pd.testing.assert_frame_equal(
                loaded.impute(torn, how, random_state=3), model.impute(torn, how, random_state=3)
            )
        assert loaded.n_memories_ == model.n_memories_
        loaded.partial_fit(rows)
        with pytest.raises(FileError, match="exists already"):
            model.save(path)


def test_one_absurd_cell_changes_next_to_nothing():
    rows = load_breast_cancer().data[:, :10]
    train, test = train_test_split(rows, random_state=SEED)
    rng = numpy_seeded(0)
    torn = np.where(rng.random(test.shape) < 0.1, np.nan, test)
    hidden, scale = np.isnan(torn), train.std(0)
    errors = []
    for absurd in (False, True):
        seen, cue = train.copy(), torn.copy()
        if absurd:
            seen[3, 2] = cue[5, 4] = 1e6
        found = stack().fit(seen).impute(cue)
        errors.append(np.sqrt(np.mean((((found - test) / scale)[hidden]) ** 2)))
    assert abs(errors[1] / errors[0] - 1) < 0.02


def test_an_absurd_cell_among_zeros_is_odd_and_rare_values_are_not():
    rng = numpy_seeded(0)
    rows = rng.normal(size=(200, 3))
    rows[:, 0] = np.where(rng.random(200) < 0.2, rng.random(200), 0)
    rows[:, 2] = rng.random(200) < 0.1
    rows[3, 0] = 1e6
    model = stack().fit(rows)
    assert model.odd_cells_ == {"0": 1}
    cue = np.array([[1e6, np.nan, np.nan], [0.0, np.nan, np.nan]])
    assert np.abs(model.impute(cue)[:, 1:]).max() < 2


def test_corrupted_cells_are_screened_and_clean_tables_are_not():
    rng = numpy_seeded(0)
    clean = rng.normal(size=(500, 2)) @ rng.normal(size=(2, 8)) + 0.2 * rng.normal(size=(500, 8))
    noise = rng.random(clean.shape) < 0.05
    torn = np.where(noise, 8 * rng.normal(size=clean.shape), clean)
    model = stack().fit(torn)
    assert stack().fit(clean).stack_.screen is None
    hidden = rng.random(clean.shape) < 0.1
    cue = np.where(hidden, np.nan, torn)
    found = model.impute(cue)
    np.testing.assert_array_equal(found[~hidden], torn[~hidden])
    good = hidden & ~noise
    error = np.sqrt(np.mean((found - clean)[good] ** 2)) / clean.std()
    mean = SimpleImputer().fit(torn).transform(cue)
    assert error < 0.5 * np.sqrt(np.mean((mean - clean)[good] ** 2)) / clean.std()


def test_odd_rows_are_unlikely():
    rng = numpy_seeded(0)
    rows = rng.normal(size=(300, 1)) @ rng.normal(size=(1, 6)) + 0.1 * rng.normal(size=(300, 6))
    odd = rng.permuted(rows[:20], axis=0) + 0.0  # each column as it was, the rows torn apart
    scores = stack().fit(rows).score_samples(np.concatenate([rows, odd]))
    assert np.median(scores[300:]) < np.quantile(scores[:300], 0.02)


def test_a_stream_is_followed():
    rng = numpy_seeded(0)
    rows = rng.normal(size=(3000, 2)) @ rng.normal(size=(2, 4)) + 0.3 * rng.normal(size=(3000, 4))
    stream = stack()
    for batch in np.split(rows, 15):
        stream.partial_fit(batch)
    assert stream.n_samples_seen_ == 3000
    fresh = rng.normal(size=(1000, 2)) @ np.zeros((2, 4)) + 0.3 * rng.normal(size=(1000, 4))
    whole, first = stack().fit(rows), stack().fit(rows[:200])
    assert np.isfinite(stream.score(fresh))
    assert whole.score(rows) - stream.score(rows) < 0.6 * (whole.score(rows) - first.score(rows))


def test_warm_start_goes_on():
    frame = mixed()
    model = stack(warm_start=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first = model.fit(frame).score(frame)
        weights = model.weights_
        assert model.fit(frame).score(frame) == pytest.approx(first, abs=0.05)
        assert len(model.weights_) == len(weights)
        assert model.set_params(covariance="spherical", n_memories=2).fit(frame).stack_ is None


def test_what_auto_is():
    rows = numpy_seeded(0).normal(size=(60, 3))
    assert stack().fit(rows).stack_ is not None
    assert stack(n_memories=3).fit(rows).stack_ is None
    wide = numpy_seeded(0).normal(size=(12, 301))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert stack().fit(wide).stack_ is None
    one = stack(covariance="full", n_memories=4).fit(rows)
    assert one.n_memories_ == 4
    assert one.stack_.stack.members[0].transform.plain
    names = {"a": np.array(["x", "y"] * 20, object), "b": np.array(["u", "v"] * 20, object)}
    model = stack().fit(names)
    assert model.impute({"a": ["x"], "b": np.array([None], object)})["b"].tolist() == ["u"]


def test_few_rows_constants_and_repeats_do_no_harm():
    for rows in (
        [[1.0, 2.0]], [[1.0, 2.0], [1.0, 2.0]],
        np.column_stack([np.full(20, 7.5), np.zeros(20), np.repeat([1.0, 2.0], 10)]),
        [[0.0, np.nan], [np.nan, 1.0], [2.0, 3.0]],
    ):  # fmt: skip
        model = stack().fit(rows)
        assert np.isfinite(model.score_samples(rows)).all()
        assert np.isfinite(model.sample(20)).all()
        assert np.isfinite(model.impute(np.full((2, np.shape(rows)[1]), np.nan))).all()


def test_bad_parameters_are_named():
    rows = numpy_seeded(0).normal(size=(20, 2))
    with pytest.raises(ParameterError, match="covariance = 'round'"):
        stack(covariance="round").fit(rows)
    with pytest.raises(ParameterError, match="n_memories = 21 for n_samples = 20"):
        stack(covariance="full", n_memories=21).fit(rows)


def test_the_imputer_takes_the_stack_by_default():
    torn = torn_of(mixed())
    found = HopfieldBoltzmannImputer(random_state=SEED).fit(torn)
    assert found.estimator_.stack_ is not None
    filled = found.transform(torn)
    assert filled.shape == torn.shape
    drawn = HopfieldBoltzmannImputer(sample_posterior=True, random_state=SEED).fit(torn)
    assert (drawn.transform(torn)[:, 2] != drawn.transform(torn)[:, 2]).any()


def test_verbose_shows_the_mixtures(capsys):
    stack(verbose=True).fit(mixed())
    assert "100%" in capsys.readouterr().out
