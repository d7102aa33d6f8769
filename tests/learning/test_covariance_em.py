"""EM of memories with covariances: the steps of plain loops, likelihoods that rise, gaps."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from isinglass.distributions.mixed_rows import MixedRows
from isinglass.errors import ParameterError
from isinglass.learning.covariance_em import (
    COVARIANCES,
    CovariancePrior,
    covariance_e_step,
    covariance_em,
    covariance_m_step,
    covariance_start,
)
from isinglass.learning.stacking import (
    Recipe,
    StackSettings,
    fit_stack,
    hide_cells,
    stack_weights,
)
from tests.distributions.test_covariance_mixture import (
    WIDTHS,
    mixture_of,
    plain_conditional,
    plain_joint,
    rows_of,
)
from tests.seeds import numpy_seeded, seeded


def plain_step(mixture, rows, kind, prior):
    """One step of EM as it is written, by loops over rows and memories."""
    joint = plain_joint(mixture, rows)
    weights = np.exp(joint - joint.max(1, keepdims=True))
    weights /= weights.sum(1, keepdims=True)
    count, memories, size = len(rows), mixture.memories, rows.numbers.shape[1]
    mean, variance = prior.mean.numpy(), prior.variance.numpy()
    mass = weights.sum(0)
    filled = [
        [plain_conditional(mixture, rows, n, k) for k in range(memories)] for n in range(count)
    ]
    means, scatter = np.zeros((memories, size)), np.zeros((memories, size, size))
    for k in range(memories):
        total = sum(weights[n, k] * filled[n][k][0] for n in range(count))
        means[k] = (total + prior.pull * mean) / (mass[k] + prior.pull)
        for n in range(count):
            away = filled[n][k][0] - means[k]
            scatter[k] += weights[n, k] * (np.outer(away, away) + filled[n][k][1])
        scatter[k] += prior.pull * np.outer(means[k] - mean, means[k] - mean)
    within = scatter.sum(0) / count
    within = (1 - prior.diagonal) * within + prior.diagonal * np.diag(within.diagonal())
    floor = prior.floor * np.diag(variance)
    imagined = size + 2
    covariances = [
        (scatter[k] + imagined * within) / (mass[k] + imagined) + floor for k in range(memories)
    ]
    if kind == "tied":
        covariances = [within + floor] * memories
    share = (mass + prior.counts) / (count + memories * prior.counts)
    log_names = np.zeros(mixture.names.shape)
    first = 0
    for width in WIDTHS:
        for k in range(memories):
            seen = sum(
                weights[n, k] * rows.names[n, first : first + width].numpy() for n in range(count)
            )
            rate = prior.names[first : first + width].numpy()
            shares = (seen + prior.counts * rate) / (seen.sum() + prior.counts)
            log_names[k, first : first + width] = np.log(shares)
        first += width
    return np.log(share), means, np.stack(covariances), log_names


@pytest.mark.parametrize("kind", ["full", "tied"])
def test_a_step_is_that_of_plain_loops(kind):
    mixture, rows = mixture_of(kind), rows_of()
    prior = CovariancePrior.of(rows, WIDTHS)
    statistics, log_prob = covariance_e_step(mixture, rows)
    joint = plain_joint(mixture, rows)
    np.testing.assert_allclose(log_prob, np.logaddexp.reduce(joint, 1), atol=1e-9)
    found = covariance_m_step(statistics, kind, prior, WIDTHS)
    share, means, covariances, names = plain_step(mixture, rows, kind, prior)
    np.testing.assert_allclose(found.log_weights, share, atol=1e-9)
    np.testing.assert_allclose(found.means, means, atol=1e-9)
    np.testing.assert_allclose(found.covariances.expand(3, 4, 4), covariances, atol=1e-9)
    np.testing.assert_allclose(found.names, names, atol=1e-9)


@pytest.mark.parametrize("kind", ["spherical", "diag"])
def test_spreads_are_those_of_known_cells(kind):
    """Unknown cells drop out of a step, which is that of the diagonal where there are none."""
    mixture, rows = mixture_of(kind), rows_of()
    prior = CovariancePrior.of(rows, WIDTHS, floor=0.0, counts=0.0)
    found = covariance_m_step(covariance_e_step(mixture, rows)[0], kind, prior, WIDTHS)
    joint = torch.tensor(plain_joint(mixture, rows)).softmax(1)
    seen = joint.T @ rows.known.double()
    means = (joint.T @ rows.numbers) / seen
    torch.testing.assert_close(found.means, means)
    scatter = torch.stack(
        [
            (joint[:, k : k + 1] * rows.known * (rows.numbers - means[k]).square()).sum(0)
            for k in range(3)
        ]
    )
    within = scatter.sum(0) / seen.sum(0)
    right = within.unsqueeze(0) if kind == "spherical" else (scatter + 3 * within) / (seen + 3)
    torch.testing.assert_close(found.covariances, right)


def penalized(mixture, rows, prior):
    """What EM climbs where W is fixed and f = 0."""
    log_prob = mixture.log_prob(rows).sum()
    counts = prior.counts * mixture.log_weights.sum()
    away = mixture.means - prior.mean
    inverse = mixture.precision
    if mixture.diagonal:
        inverse = inverse.diag_embed()
        within = prior.within.diag()
        log_det = mixture.covariances.log().sum(-1)
    else:
        within, log_det = prior.within, torch.logdet(mixture.covariances)
    pulled = (
        -prior.pull / 2 * torch.einsum("ki,kij,kj->", away, inverse.expand(len(away), -1, -1), away)
    )
    imagined = (3.0 if mixture.diagonal else len(prior.mean) + 2.0) if len(inverse) > 1 else 0.0
    drawn = -imagined / 2 * (log_det + (within * inverse).sum((1, 2))).sum()
    names = prior.counts * (prior.names * mixture.names).sum()
    return float(log_prob + counts + pulled + drawn + names)


@pytest.mark.parametrize("kind", ["full", "diag"])
def test_the_penalized_likelihood_never_falls(kind):
    rows = rows_of(80)
    base = CovariancePrior.of(rows, WIDTHS, floor=0.0)
    within = torch.eye(4).double() * base.variance
    within = within if kind == "full" else within.diagonal()
    prior = CovariancePrior(
        base.mean, base.variance, base.names, floor=0.0, within=within
    )  # fmt: skip
    mixture = covariance_start(rows, 3, kind, prior, WIDTHS, generator=seeded())
    last = -np.inf
    for _ in range(30):
        value = penalized(mixture, rows, prior)
        assert value >= last - 1e-9 * abs(value)
        last = value
        mixture = covariance_m_step(covariance_e_step(mixture, rows)[0], kind, prior, WIDTHS)


@pytest.mark.parametrize("kind", COVARIANCES)
def test_the_likelihood_rises_where_nothing_pulls(kind):
    rows = rows_of(200)
    base = CovariancePrior.of(rows, WIDTHS, counts=0.0, floor=0.0)
    nothing = dict.fromkeys(("pull", "rows", "diagonal", "floor", "counts"), 0.0)
    prior = CovariancePrior(base.mean, base.variance, base.names, **nothing)
    start = covariance_start(rows, 2, kind, prior, WIDTHS, generator=seeded())
    _, report = covariance_em(start, rows, kind, prior, steps=30, tolerance=0.0)
    assert (np.diff(report.log_likelihood) > -1e-9).all()


def test_gaps_do_not_bias_a_covariance():
    """One memory and a third of the cells gone: the covariance of the whole rows comes back."""
    rng = numpy_seeded(0)
    root = rng.normal(size=(3, 3))
    data = rng.normal(size=(4000, 3)) @ root.T + 5
    torn = np.where(rng.random(data.shape) < 0.3, np.nan, data)
    rows = MixedRows.of(torch.tensor(torn))
    prior = CovariancePrior.of(rows)
    start = covariance_start(rows, 1, "full", prior, generator=seeded())
    found, report = covariance_em(start, rows, "full", prior, tolerance=1e-7)
    assert report.converged
    scale = np.sqrt((root @ root.T).diagonal())
    away = np.abs(found.covariances[0].numpy() - root @ root.T) / np.outer(scale, scale)
    assert away.max() < 5 * np.sqrt(2 / (0.49 * 4000)) + 1e-3


def test_a_column_that_is_known_nowhere_and_rows_that_are_empty_do_no_harm():
    data = numpy_seeded(0).normal(size=(30, 3))
    data[:, 1], data[4] = np.nan, np.nan
    rows = MixedRows.of(torch.tensor(data))
    for kind in COVARIANCES:
        prior = CovariancePrior.of(rows)
        start = covariance_start(rows, 2, kind, prior, generator=seeded())
        found, _ = covariance_em(start, rows, kind, prior, steps=5)
        assert bool(found.log_prob(rows).isfinite().all())


def moons(count, seed=0):
    """A line that turns: two memories of full covariance trace it, one does not."""
    rng = numpy_seeded(seed)
    x = rng.uniform(-2, 2, count)
    return np.stack([x, np.abs(x) + 0.05 * rng.normal(size=count), rng.normal(size=count)], 1)


def test_a_stack_is_as_good_as_its_members_on_fresh_rows():
    rows = MixedRows.of(torch.tensor(moons(400)))
    test = MixedRows.of(torch.tensor(moons(2000, 1)))
    recipes = [Recipe("full", 1), Recipe("full", 5), Recipe("diag", 8)]
    stack, report = fit_stack(rows, recipes=recipes, generator=seeded())
    assert set(report.held_out) == set(recipes)
    single = [
        float(fit_stack(rows, recipes=[recipe], generator=seeded())[0].log_prob(test).mean())
        for recipe in recipes
    ]
    assert float(stack.log_prob(test).mean()) > max(single) - 0.02
    torn = MixedRows.of(torch.tensor([[1.0, np.nan, 0.0], [-1.5, np.nan, 0.0]]).double())
    np.testing.assert_allclose(stack.means(torn)[0][:, 1], [1.0, 1.5], atol=0.15)


def test_weights_climb_to_the_best_mix():
    generator = seeded()
    scores = torch.randn(500, 3, generator=generator).double()
    found = stack_weights(scores)
    assert float(found.sum()) == pytest.approx(1)

    def value(weights):
        return float((weights.log() + scores).logsumexp(1).sum())

    best = value(found)
    for _ in range(20):
        other = torch.rand(3, generator=generator).double()
        assert value(0.9 * found + 0.1 * other / other.sum()) <= best + 1e-6


def test_so_many_cells_are_hidden_of_numbers_and_names():
    rows = rows_of(4000)
    found = hide_cells(rows, 0.15, WIDTHS, generator=seeded())
    for before, after in ((rows.known, found.known), (rows.names > 0, found.names > 0)):
        share = 1 - float(after.sum()) / float(before.sum())
        assert abs(share - 0.15) < 5 * (0.15 * 0.85 / float(before.sum())) ** 0.5
        assert not bool((after & ~before).any())


def test_names_alone_and_one_row_are_tables():
    names = rows_of(60)
    bare = MixedRows(names.numbers[:, :0], names.known[:, :0], names.names)
    stack, _ = fit_stack(bare, WIDTHS, [Recipe("diag", 3)], generator=seeded())
    assert stack.sample(5, generator=seeded())[1].shape == (5, 5)
    one = MixedRows.of(torch.tensor([[1.0, np.nan]]).double())
    stack, report = fit_stack(one, generator=seeded())
    assert bool(stack.log_prob(one).isfinite().all())
    assert {recipe.memories for recipe in report.recipes} == {1}


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"tolerance": -1.0}, {"kind": "round"}], ids=str)
def test_wrong_arguments_are_refused(wrong):
    rows = rows_of()
    prior = CovariancePrior.of(rows, WIDTHS)
    given = {"kind": "full", "steps": 5, "tolerance": 0.0} | wrong
    with pytest.raises(ParameterError):
        covariance_em(mixture_of("full"), rows, prior=prior, **given)
    assert StackSettings().starts == 1


def test_a_first_step_down_is_not_the_end():
    """W is pooled anew in each step, and a start without its gaps' covariance is too narrow."""
    rng = numpy_seeded(0)
    data = rng.normal(size=(150, 3)) @ rng.normal(size=(3, 12)) + 0.1 * rng.normal(size=(150, 12))
    rows = MixedRows.of(torch.tensor(np.where(rng.random(data.shape) < 0.3, np.nan, data)))
    prior = CovariancePrior.of(rows)
    one = covariance_start(rows, 1, "full", prior, generator=seeded())
    one, _ = covariance_em(one, rows, "full", prior)
    narrow = replace(one, covariances=0.05 * one.covariances)
    found, report = covariance_em(narrow, rows, "full", prior, tolerance=1e-3)
    assert len(report.log_likelihood) > 3
    assert abs(float(found.log_prob(rows).mean() - one.log_prob(rows).mean())) < 0.2
    filled = one.expect(rows)
    start = covariance_start(rows, 3, "full", prior, filled=filled, generator=seeded())
    bare = covariance_start(rows, 3, "full", prior, generator=seeded())
    assert float(start.log_prob(rows).mean()) > float(bare.log_prob(rows).mean())


def test_a_stack_keeps_its_broadest_member():
    """A value that one row of a hundred has is unlikely elsewhere, but not by thousands of nats."""
    rng = numpy_seeded(0)
    data = rng.normal(size=(200, 3))
    data[:, 0] = 0.0
    data[:2, 0] = 1.0
    data[:, 1] += 8 * rng.integers(0, 4, 200)
    rows = MixedRows.of(torch.tensor(data))
    stack, report = fit_stack(rows, generator=seeded())
    assert min(recipe.memories for recipe in report.recipes) == 1
    odd = MixedRows.of(torch.tensor([[1.0, 16.0, 0.0]]).double())
    assert float(stack.log_prob(odd)) > -100
