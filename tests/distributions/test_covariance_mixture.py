"""Memories with covariances: densities, conditionals and draws against plain loops and scipy."""

import math

import numpy as np
import pytest
import torch

from isinglass.distributions.covariance_mixture import CovarianceMixture
from isinglass.distributions.mixed_rows import MixedRows, gaps_of
from isinglass.distributions.mixture_stack import MixtureStack, StackMember
from isinglass.distributions.yeo_johnson import YeoJohnson
from isinglass.errors import ParameterError, ShapeError
from isinglass.testing import sampling_error
from tests.seeds import numpy_seeded, seeded

stats = pytest.importorskip("scipy.stats")

WIDTHS = (2, 3)
SHAPES = {"full": (3, 4, 4), "tied": (1, 4, 4), "diag": (3, 4), "spherical": (1, 4)}


def mixture_of(kind, seed=0):
    """Three memories of four numbers and two columns of names."""
    rng = numpy_seeded(seed)
    shape = SHAPES[kind]
    if len(shape) == 3:
        root = rng.normal(size=shape)
        covariances = root @ root.transpose(0, 2, 1) + 0.1 * np.eye(4)
    else:
        covariances = rng.random(shape) + 0.2
    shares = [rng.dirichlet(np.ones(width), 3) for width in WIDTHS]
    return CovarianceMixture(
        torch.tensor(np.log(rng.dirichlet(np.ones(3)))), torch.tensor(rng.normal(size=(3, 4))),
        torch.tensor(covariances), torch.tensor(np.log(np.concatenate(shares, 1))), WIDTHS,
    )  # fmt: skip


def rows_of(count=40, seed=1):
    """Rows with gaps of every kind, one whole, one empty."""
    rng = numpy_seeded(seed)
    numbers = rng.normal(size=(count, 4))
    numbers[rng.random(numbers.shape) < 0.4] = np.nan
    numbers[0], numbers[1] = 1.0, np.nan
    names = []
    for width in WIDTHS:
        hot = np.eye(width)[rng.integers(0, width, count)]
        hot[rng.random(count) < 0.3] = 0
        hot[1] = 0
        names.append(hot)
    return MixedRows.of(torch.tensor(numbers), torch.tensor(np.concatenate(names, 1)))


def covariance_of(mixture, memory):
    """The covariance of a memory as a matrix."""
    own = mixture.covariances[memory % len(mixture.covariances)].numpy()
    return np.diag(own) if own.ndim == 1 else own


def plain_joint(mixture, rows):
    """Log π_k p(z_o, c_o | k), by loops over rows and memories."""
    found = np.zeros((len(rows), mixture.memories))
    names = mixture.names.numpy()
    for n in range(len(rows)):
        seen = rows.known[n].numpy()
        for k in range(mixture.memories):
            value = float(mixture.log_weights[k]) + float(rows.names[n].numpy() @ names[k])
            if seen.any():
                value += stats.multivariate_normal.logpdf(
                    rows.numbers[n].numpy()[seen], mixture.means[k].numpy()[seen],
                    covariance_of(mixture, k)[np.ix_(seen, seen)],
                )  # fmt: skip
            found[n, k] = value
    return found


def plain_conditional(mixture, rows, n, k):
    """ẑ and C of one row and memory, by the observed block."""
    seen = rows.known[n].numpy()
    covariance, mean = covariance_of(mixture, k), mixture.means[k].numpy()
    slope = covariance[np.ix_(~seen, seen)] @ np.linalg.inv(covariance[np.ix_(seen, seen)])
    numbers = rows.numbers[n].numpy().copy()
    numbers[~seen] = mean[~seen] + slope @ (numbers[seen] - mean[seen])
    spread = np.zeros((4, 4))
    spread[np.ix_(~seen, ~seen)] = (
        covariance[np.ix_(~seen, ~seen)] - slope @ covariance[np.ix_(seen, ~seen)]
    )
    return numbers, spread


@pytest.mark.parametrize("kind", SHAPES)
def test_densities_and_conditionals_are_those_of_plain_loops(kind):
    mixture, rows = mixture_of(kind), rows_of()
    found = mixture.expect(rows)
    expected = plain_joint(mixture, rows)
    np.testing.assert_allclose(found.log_joint, expected, atol=1e-9)
    np.testing.assert_allclose(mixture.log_joint(rows), expected, atol=1e-9)
    assert float(mixture.log_prob(rows)[1]) == pytest.approx(0, abs=1e-12)
    variances = found.variances()
    for n in range(len(rows)):
        for k in range(mixture.memories):
            numbers, spread = plain_conditional(mixture, rows, n, k)
            np.testing.assert_allclose(found.numbers[k, n], numbers, atol=1e-9)
            np.testing.assert_allclose(variances[k, n], spread.diagonal(), atol=1e-9)
    for gap, covariance in found.covariances:
        for place, n in enumerate(gap.rows.tolist()):
            unknown = gap.unknown[place].numpy()
            own = covariance.expand(mixture.memories, *covariance.shape[1:])
            for k in range(mixture.memories):
                spread = plain_conditional(mixture, rows, n, k)[1][np.ix_(unknown, unknown)]
                np.testing.assert_allclose(own[k, gap.pattern[place]], spread, atol=1e-9)


def test_rows_of_one_pattern_are_handled_together():
    known = torch.tensor([[True, False], [True, True], [True, False], [False, False]])
    one, both = gaps_of(known)
    assert one.rows.tolist() == [0, 2]
    assert one.cells.tolist() == [[1]]
    assert both.rows.tolist() == [3]
    assert not gaps_of(known[1:2])


@pytest.mark.parametrize("kind", SHAPES)
def test_draws_have_the_moments_of_the_conditional(kind):
    count = 20_000
    mixture, rows = mixture_of(kind), rows_of()
    row = rows.take(torch.tensor([int((rows.known.sum(1) == 2).nonzero()[0])]))
    many = MixedRows(*(value.expand(count, -1) for value in vars(row).values()))
    for memory in range(3):
        chosen = torch.full((count,), memory)
        drawn_numbers, names = mixture.draw(many, chosen, generator=seeded(memory))
        numbers = drawn_numbers.numpy()
        mean, spread = plain_conditional(mixture, row, 0, memory)
        scale = np.sqrt(np.maximum(spread.diagonal(), 1e-12))
        assert (np.abs(numbers.mean(0) - mean) < 5 * scale / math.sqrt(count)).all()
        # A sample covariance has an error of at most √2 σ_i σ_j/√n.
        bound = 5 * math.sqrt(2 / count) * np.outer(scale, scale)
        assert (np.abs(np.cov(numbers.T, bias=True) - spread) < bound + 1e-12).all()
        share = mixture.names[memory].exp()
        seen = row.names[0]
        for own, rate, drawn in zip(
            *(t.split(WIDTHS, -1) for t in (seen, share, names)), strict=True
        ):
            rate = own if bool(own.any()) else rate
            assert bool(
                (
                    (drawn.mean(0) - rate).abs()
                    <= sampling_error(rate * (1 - rate), torch.ones_like(rate), count)
                ).all()
            )


def test_fresh_rows_come_from_the_memories():
    mixture = mixture_of("full")
    numbers, names, memory = mixture.sample(20_000, generator=seeded(0))
    share = memory.bincount(minlength=3) / len(memory)
    assert bool(((share - mixture.log_weights.exp()).abs() < 5 / (2 * 20_000**0.5)).all())
    own = numbers[memory == 0]
    scale = mixture.covariances[0].diagonal().sqrt()
    assert bool(((own.mean(0) - mixture.means[0]).abs() < 5 * scale / len(own) ** 0.5).all())
    assert bool((names.sum(1) == len(WIDTHS)).all())


def transform_of(seed=3):
    rng = numpy_seeded(seed)
    return YeoJohnson(
        torch.tensor([0.0, 0.6, 1.0, 2.0]).double(), torch.tensor(rng.normal(size=4)),
        torch.tensor(rng.random(4) + 0.5),
    )  # fmt: skip


def test_yeo_johnson_is_that_of_scipy_and_is_onto():
    transform = transform_of()
    x = torch.linspace(-30, 30, 101).double().unsqueeze(1).expand(-1, 4)
    z = transform(x)
    for column, power in enumerate(transform.power.tolist()):
        away = (x[:, column] - transform.center[column]) / transform.spread[column]
        np.testing.assert_allclose(z[:, column], stats.yeojohnson(away.numpy(), power), atol=1e-9)
    np.testing.assert_allclose(transform.inverse(z), x, rtol=1e-9, atol=1e-9)
    far = torch.tensor([[-1e100] * 4, [1e100] * 4], dtype=torch.float64)
    assert bool(transform(far).square().isfinite().all())
    step = 1e-5
    slope = (transform(x + step) - transform(x - step)) / (2 * step)
    np.testing.assert_allclose(transform.log_slope(x), slope.log(), atol=1e-5)


def test_a_skewed_column_is_made_normal_and_a_normal_one_is_left():
    rng = numpy_seeded(0)
    skewed = np.exp(rng.normal(size=2000))
    data = torch.tensor(np.stack([skewed, rng.normal(size=2000)], 1))
    center = data.median(0).values
    found = YeoJohnson.of(data, torch.ones_like(data).bool(), center, torch.ones(2).double())
    assert float(found.power[0]) < 0.5
    assert float(found.power[1]) == 1.0
    z = found(data)
    assert abs(stats.skew(z[:, 0].numpy())) < 1 < 3 < stats.skew(skewed)


def stack_of():
    first, second = mixture_of("full", 4), mixture_of("diag", 5)
    plain = YeoJohnson.identity(torch.zeros(4).double(), torch.ones(4).double())
    members = (StackMember(transform_of(), first), StackMember(plain, second))
    return MixtureStack(torch.tensor([0.3, 0.7]).double().log(), members)


def test_a_stack_is_one_density():
    """Its integral over one number is the marginal, the mean of it that of the density."""
    stack, rows = stack_of(), rows_of()
    row = rows.take(torch.tensor([int((rows.known.sum(1) == 3).nonzero()[0])]))
    column = int((~row.known[0]).nonzero()[0])
    axis = torch.linspace(-400, 400, 400_001).double()
    numbers = row.numbers.expand(len(axis), -1).clone()
    numbers[:, column] = axis
    whole = MixedRows(numbers, torch.ones_like(numbers).bool(), row.names.expand(len(axis), -1))
    density = stack.log_prob(whole).exp()
    total = float(torch.trapezoid(density, axis))
    assert total == pytest.approx(float(stack.log_prob(row).exp()), rel=1e-4)
    mean = float(torch.trapezoid(axis * density, axis)) / total
    assert float(stack.means(row)[0][0, column]) == pytest.approx(mean, abs=0.02)
    many = MixedRows(*(value.expand(20_000, -1) for value in vars(row).values()))
    drawn = stack.draw(many, generator=seeded(0))[0][:, column]
    median = float(axis[(density.cumsum(0) < density.sum() / 2).sum()])
    assert abs(float((drawn < median).double().mean()) - 0.5) < 5 * 0.5 / 20_000**0.5


def test_a_stack_says_the_share_of_names_and_its_memories():
    stack, rows = stack_of(), rows_of()
    joint = stack.log_joint(rows)
    assert joint.shape == (len(rows), 6)
    shares = joint.softmax(1)
    names = stack.means(rows)[1]
    expected = shares @ torch.cat([member.mixture.names.exp() for member in stack.members])
    for seen, found, right in zip(
        *(t.split(WIDTHS, 1) for t in (rows.names, names, expected)), strict=True
    ):
        known = seen.any(1)
        torch.testing.assert_close(found[known], seen[known])
        torch.testing.assert_close(found[~known], right[~known])
    weights, mean, variance, _ = stack.moments()
    assert float(weights.sum()) == pytest.approx(1)
    torch.testing.assert_close(mean[3:], stack.members[1].mixture.means)
    torch.testing.assert_close(variance[3:], stack.members[1].mixture.covariances)
    middle, _ = stack.middles(rows)
    torch.testing.assert_close(middle[rows.known], rows.numbers[rows.known])
    fresh, _, memory = stack.sample(500, generator=seeded(1))
    assert set(memory.tolist()) == set(range(6))
    assert bool(fresh.isfinite().all())


def test_what_does_not_fit_is_named():
    one = torch.zeros(1).double()
    with pytest.raises(ShapeError, match="covariances of shape"):
        CovarianceMixture(one, torch.zeros(1, 2).double(), torch.ones(1, 3).double())
    with pytest.raises(ShapeError, match="names of shape"):
        CovarianceMixture(one, torch.zeros(1, 2).double(), torch.ones(1, 2).double(), widths=(2,))
    with pytest.raises(ParameterError, match="positive definite"):
        CovarianceMixture(one, torch.zeros(1, 2).double(), torch.ones(1, 2, 2).double())
    with pytest.raises(ParameterError, match="positive definite"):
        CovarianceMixture(one, torch.zeros(1, 2).double(), torch.zeros(1, 2).double())
