"""Cells that the rest of their row contradicts: their scores by plain loops, and who is flagged."""

import numpy as np
import pytest
import torch

from isinglass.distributions.covariance_mixture import CovarianceMixture
from isinglass.distributions.mixed_rows import MixedRows
from isinglass.distributions.yeo_johnson import YeoJohnson
from isinglass.learning.screen import Screen, left_out_scores
from isinglass.learning.stacking import Recipe, fit_screened_stack
from tests.seeds import numpy_seeded, seeded

RECIPES = (Recipe("full", 1), Recipe("full", 2))


def plain_scores(mean, covariance, row):
    """(x_j − E[x_j | the other known])/√Var, one cell at a time."""
    found = np.zeros(len(row))
    known = np.nonzero(~np.isnan(row))[0]
    for j in known:
        others = known[known != j]
        inverse = np.linalg.inv(covariance[np.ix_(others, others)])
        slope = covariance[np.ix_([j], others)] @ inverse
        expected = mean[j] + slope @ (row[others] - mean[others])
        variance = covariance[j, j] - slope @ covariance[np.ix_(others, [j])]
        found[j] = float(((row[j] - expected) / np.sqrt(variance)).item())
    return found


def test_scores_are_those_of_plain_loops():
    rng = numpy_seeded(0)
    root = rng.normal(size=(4, 4))
    mean, covariance = rng.normal(size=4), root @ root.T + 0.1 * np.eye(4)
    rows = rng.normal(size=(30, 4))
    rows[rng.random(rows.shape) < 0.3] = np.nan
    mixture = CovarianceMixture(
        torch.zeros(1).double(), torch.tensor(mean)[None], torch.tensor(covariance)[None]
    )
    found = left_out_scores(mixture, MixedRows.of(torch.tensor(rows)))
    expected = np.stack([plain_scores(mean, covariance, row) for row in rows])
    np.testing.assert_allclose(found, expected, atol=1e-9)


def line(count=600, size=6, seed=0):
    rng = numpy_seeded(seed)
    factors = rng.normal(size=(count, 2)) @ rng.normal(size=(2, size))
    return factors + 0.2 * rng.normal(size=(count, size)), rng


def plain(size):
    return YeoJohnson.identity(torch.zeros(size).double(), torch.ones(size).double())


def test_the_cell_is_flagged_and_not_its_row():
    data, rng = line()
    rows = rng.permutation(600)[:30]
    columns = rng.integers(0, 6, 30)
    torn = data.copy()
    torn[rows, columns] += 10
    screen = Screen.of(MixedRows.of(torch.tensor(torn)), plain(6), generator=seeded())
    flags = screen.flags(MixedRows.of(torch.tensor(torn))).numpy()
    assert flags[rows, columns].all()
    assert flags.sum() <= 35
    # Beyond 4.5 deviations of a normal distribution there are 7 in a million.
    assert screen.flags(MixedRows.of(torch.tensor(data))).sum() <= 5


def test_at_most_half_of_a_row_is_flagged():
    data, _ = line()
    screen = Screen.of(MixedRows.of(torch.tensor(data)), plain(6), generator=seeded())
    strange = torch.tensor([[30.0, -30, 30, -30, 30, -30]]).double()
    assert int(screen.flags(MixedRows.of(strange)).sum()) == 3
    empty = MixedRows.of(torch.full((2, 6), torch.nan).double())
    assert not bool(screen.flags(empty).any())


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_screen_is_used_where_it_helps(noise):
    data, rng = line()
    torn = np.where(rng.random(data.shape) < noise, 5 * rng.normal(size=data.shape), data)
    rows = MixedRows.of(torch.tensor(torn))
    _, screen, _ = fit_screened_stack(rows, recipes=RECIPES, generator=seeded())
    assert (screen is not None) == (noise > 0)
