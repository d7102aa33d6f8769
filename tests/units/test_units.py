"""Every unit kind keeps the properties of units, and the closed forms of the table hold."""

import pytest
import torch

import isinglass as ig
from isinglass.errors import DomainError, IntractableError, ParameterError, ShapeError
from isinglass.testing import PropertyViolation, check_unit
from isinglass.units._multinomial import draw_counts, draw_indices
from tests.cases import UNITS, double
from tests.seeds import seeded


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("unit", UNITS, ids=str)
def test_properties(unit, temperature, generator):
    field = torch.cat([double(4, unit.size), 3 * double(2, unit.size, seed=1)])
    check_unit(unit, field, temperature, generator)


@pytest.mark.parametrize("draws", [1, 4])
def test_properties_with_beta_fixed(draws, generator):
    unit = ig.Multinomial(3, beta=1.7)
    field = double(4, 3)
    temperature = 1 / (draws * 1.7)
    samples = unit.sample(field.expand(20_000, 4, 3), temperature, generator)
    softmax = torch.softmax(1.7 * field, -1)
    deviation = (softmax * (1 - softmax) / draws / 20_000).sqrt()
    assert ((samples.mean(0) - softmax).abs() <= 5 * deviation).all()
    torch.testing.assert_close(unit.mean(field, temperature), softmax)
    torch.testing.assert_close(unit.sample(field, 0.0), softmax)  # infinitely many draws


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_table_of_kinds(temperature):
    """A_T and the mean of each kind, written out."""
    field, t = double(7, 5), temperature
    gaussian = (field**2).sum(-1) / 2
    volume = 5 * t / 2 * torch.log(torch.tensor(2 * torch.pi * t, dtype=torch.float64))
    z = field / t**0.5
    normal = torch.distributions.Normal(torch.zeros((), dtype=torch.float64), 1.0)
    table = [
        (ig.Spin(5), (t * torch.log(2 * torch.cosh(field / t))).sum(-1), torch.tanh(field / t)),
        (
            ig.Bernoulli(5),
            (t * torch.log1p(torch.exp(field / t))).sum(-1),
            torch.sigmoid(field / t),
        ),
        (ig.Gaussian(5), gaussian + volume, field),
        (ig.Categorical(5), t * torch.logsumexp(field / t, -1), torch.softmax(field / t, -1)),
        (
            ig.Multinomial(5, draws=4),
            4 * t * torch.logsumexp(field / (4 * t), -1),
            torch.softmax(field / (4 * t), -1),
        ),
        (
            ig.RectifiedGaussian(5),
            gaussian + volume + t * normal.cdf(z).log().sum(-1),
            field + t**0.5 * normal.log_prob(z).exp() / normal.cdf(z),
        ),
    ]
    for unit, partition, mean in table:
        torch.testing.assert_close(unit.log_partition(field, t), partition, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(unit.mean(field, t), mean, rtol=1e-9, atol=1e-9)


def test_exact_limits_at_zero_temperature():
    field = torch.tensor([2.0, -3.0, 0.5])
    assert ig.Spin(3).log_partition(field, 0.0) == 5.5
    assert ig.Bernoulli(3).log_partition(field, 0.0) == 2.5
    assert ig.RectifiedGaussian(3).log_partition(field, 0.0) == (4 + 0.25) / 2
    assert ig.Categorical(3).log_partition(field, 0.0) == 2.0
    assert ig.Spin(3).mean(field, 0.0).tolist() == [1, -1, 1]
    assert ig.Bernoulli(3).mean(field, 0.0).tolist() == [1, 0, 1]
    assert ig.RectifiedGaussian(3).mean(field, 0.0).tolist() == [2, 0, 0.5]
    assert ig.Gaussian(3).sample(field, 0.0).tolist() == [2, -3, 0.5]
    assert ig.Multinomial(3, draws=5).sample(field, 0.0).tolist() == [1, 0, 0]


def test_exact_limits_at_a_tie():
    """σ(0/T) is ½ at every T, and so is its limit; a draw is one of the two states."""
    tied = torch.zeros(1000)
    assert (ig.Spin(1000).mean(tied, 0.0) == 0).all()
    assert (ig.Bernoulli(1000).mean(tied, 0.0) == 0.5).all()
    assert ig.Categorical(4).mean(torch.tensor([1.0, 1.0, 0.0, 0.0]), 0.0).tolist() == [
        0.5,
        0.5,
        0,
        0,
    ]
    draws = ig.Bernoulli(1000).sample(tied, 0.0, seeded(0))
    assert abs(float(draws.mean()) - 0.5) < 5 * 0.5 / 1000**0.5
    assert ig.Bernoulli(1000).contains(draws).all()


def test_ties_keep_the_current_value():
    tied = torch.tensor([0.0, 1.0])
    assert ig.Spin(2).argmax_state(tied, torch.tensor([-1.0, -1.0])).tolist() == [-1, 1]
    assert ig.Bernoulli(2).argmax_state(tied, torch.tensor([1.0, 0.0])).tolist() == [1, 1]
    level = torch.tensor([3.0, 3.0, 1.0])
    for current in ([1.0, 0, 0], [0, 1.0, 0]):
        assert ig.Categorical(3).argmax_state(level, torch.tensor(current)).tolist() == current
    assert ig.Categorical(3).argmax_state(level, torch.tensor([0.0, 0, 1])).sum() == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "unit", [ig.Spin(1), ig.Bernoulli(1), ig.Gaussian(1), ig.RectifiedGaussian(1)], ids=str
)
def test_far_fields_stay_finite(unit, dtype, generator):
    field = torch.tensor([[-1e4], [-100.0], [-30.0], [30.0], [100.0], [1e4]], dtype=dtype)
    for temperature in (0.0, 0.01, 1.0):
        for value in (
            unit.log_partition(field, temperature),
            unit.mean(field, temperature),
            unit.sample(field, temperature, generator),
        ):
            assert value.isfinite().all()
            assert value.dtype == dtype


def test_truncated_normal_far_in_its_tail(generator):
    """At I = −12√T a draw is nearly exponential with rate |I|/T; the mean is the closed form."""
    field = torch.full((200_000, 1), -12.0, dtype=torch.float64)
    draws = ig.RectifiedGaussian(1).sample(field, 1.0, generator)
    mean = ig.RectifiedGaussian(1).mean(field[:1], 1.0)
    assert ((draws.mean(0) - mean).abs() <= 5 * draws.std(0) / 200_000**0.5).all()
    assert abs(float(mean) - 1 / 12) < 2 / 12**3


def test_mean_of_a_truncated_normal_at_both_sides_of_its_series():
    """Mean at I = −a is 1/(a + 2/(a + 3/(a + …))), Laplace's continued fraction."""
    places = torch.tensor([20.0, 49.9, 50.1, 60.0, 300.0], dtype=torch.float64)
    expected = torch.zeros_like(places)
    for depth in range(200, 0, -1):
        expected = depth / (places + expected)
    found = ig.RectifiedGaussian(1).mean(-places[:, None], 1.0)[:, 0]
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)
    assert (ig.RectifiedGaussian(1).mean(-places[:, None].float(), 1.0) > 0).all()


def test_relu_slopes_are_finite_everywhere():
    for dtype in (torch.float32, torch.float64):
        field = torch.tensor([-1e4, -60.0, -1, 0, 1, 9, 11, 20, 50, 1e4], dtype=dtype)
        field = field.unsqueeze(-1).requires_grad_()
        (slope,) = torch.autograd.grad(ig.RectifiedGaussian(1).mean(field, 1.0).sum(), field)
        assert ((slope >= 0) & (slope <= 1 + 1e-4)).all()


def test_relu_is_not_cut_off_at_the_far_end(monkeypatch):
    """The smallest uniform number is zero: once in 2²⁴ draws of float32."""
    from isinglass.units import gaussian

    monkeypatch.setattr(gaussian, "uniform_like", lambda field, _: torch.zeros_like(field))
    assert (ig.RectifiedGaussian(1).sample(torch.full((1, 1), 100.0), 1.0) > 90).all()


def test_many_draws_are_drawn_a_few_at_a_time(generator):
    unit = ig.Multinomial(3, draws=2**23)
    field = double(4, 3)
    share = unit.sample(field, 1.0, generator)
    assert unit.contains(share).all()
    mean = unit.mean(field, 1.0)
    assert ((share - mean).abs() <= 5 * (mean * (1 - mean) / 2**23).sqrt()).all()


def test_same_generator_same_sample():
    for unit in UNITS:
        field = double(3, unit.size)
        one, two = (unit.sample(field, 1.0, seeded(3)) for _ in range(2))
        assert torch.equal(one, two)


def test_bad_parameters():
    with pytest.raises(ParameterError, match="size"):
        ig.Spin(0)
    with pytest.raises(ParameterError, match="exactly one"):
        ig.Multinomial()
    with pytest.raises(ParameterError, match="exactly one"):
        ig.Multinomial(2, draws=3, beta=1.0)
    with pytest.raises(ParameterError, match="beta"):
        ig.Multinomial(3, beta=-1.0)
    with pytest.raises(ParameterError, match="groups divides"):
        ig.Categorical(5, groups=2)
    with pytest.raises(ParameterError, match=r"m = 2\.5"):
        ig.Multinomial(2, beta=1.0).sample(torch.zeros(1, 2), 0.4)
    with pytest.raises(IntractableError, match=r"2\^30"):
        ig.Bernoulli(30).enumerate_states()
    with pytest.raises(IntractableError):
        ig.RectifiedGaussian(1).natural_parameter(torch.ones(1))
    with pytest.raises(IntractableError):
        ig.Gaussian(1).enumerate_states()


def test_states_outside_a_kind():
    with pytest.raises(DomainError, match=r"0\.3.*threshold"):
        ig.Spin(2).check(torch.tensor([1.0, 0.3]))
    with pytest.raises(DomainError, match="NaN or infinite"):
        ig.Gaussian(2).check(torch.tensor([1.0, float("nan")]))
    with pytest.raises(DomainError, match="clamp"):
        ig.RectifiedGaussian(1).check(torch.tensor([-1.0]))
    with pytest.raises(DomainError, match="sum to 1"):
        ig.Categorical(2).check(torch.tensor([1.0, 1.0]))
    with pytest.raises(DomainError, match="sum to 1"):
        ig.Categorical(2).check(torch.tensor([0.0, 0.0]))
    with pytest.raises(DomainError, match="1/2"):
        ig.Multinomial(2, draws=2).check(torch.tensor([0.3, 0.7]))
    with pytest.raises(ShapeError, match=r"\(\*batch, 2\).*\(3,\)"):
        ig.Bernoulli(2).check(torch.zeros(3))
    with pytest.raises(DomainError, match="float"):
        ig.Bernoulli(2).check(torch.zeros(2, dtype=torch.int64))


@pytest.mark.parametrize("draws", [1, 3, 40, 100_000])
def test_counts_are_multinomial(draws, generator):
    """Mean m p and covariance m (diag p − p pᵀ), whichever way the counts are drawn."""
    number = 20_000
    weights = torch.tensor([3.0, 0.0, 1.0, 2.0, 0.5]).double()
    p = weights / weights.sum()
    counts = draw_counts(weights.expand(number, 5), draws, generator)
    assert (counts.sum(-1) == draws).all()
    assert (counts == counts.round()).all()
    assert (counts[:, 1] == 0).all()
    covariance = draws * (torch.diag(p) - p.outer(p))
    sigma = (covariance.diagonal() / number).sqrt()
    assert ((counts.mean(0) - draws * p).abs() <= 5 * sigma).all()
    spread = (covariance.diagonal().outer(covariance.diagonal()) * 4 / number).sqrt() + draws / 1000
    assert ((torch.cov(counts.T) - covariance).abs() <= 5 * spread).all()


def test_draws_of_odd_rows():
    rows = torch.tensor([[torch.nan, 1.0], [0.0, 0.0], [0.0, 2.0]])
    for draws in (2, 50):
        counts = draw_counts(rows, draws)
        assert counts[:2].isnan().any(-1).all()
        assert counts[2].tolist() == [0, draws]
    halves = draw_counts(torch.ones(3, 400).bfloat16(), 700)
    assert halves.dtype == torch.float32
    assert (halves.sum(-1) == 700).all()


@pytest.mark.parametrize(
    ("uniform", "row"),
    [(0.0, [0.0, 2.0, 0.0]), (1 - 2**-24, [0.0, 2.0, 0.0]), (1 - 2**-24, [0.0, 1e-45, 0.0])],
)
def test_the_ends_of_the_uniform_numbers_draw_no_weight_of_zero(uniform, row, monkeypatch):
    """Of the smallest weight that float32 knows, 1 − 2⁻²⁴ rounds up to the whole."""
    monkeypatch.setattr(
        torch, "rand", lambda *shape, **as_: torch.full(shape, uniform, dtype=as_["dtype"])
    )
    assert draw_indices(torch.tensor(row), 3).tolist() == [1, 1, 1]


def test_counts_under_vmap(generator):
    weights = double(3, 5).exp()
    for draws in (4, 100):
        counts = torch.vmap(
            lambda row, draws=draws: draw_counts(row, draws, generator), randomness="different"
        )(weights)
        assert (counts.sum(-1) == draws).all()
    with pytest.raises(IntractableError, match='randomness="same"'):
        torch.vmap(lambda row: draw_counts(row, 100), randomness="same")(weights)


def test_a_beta_that_is_a_tensor_is_written_as_a_number():
    log_beta = torch.zeros((), requires_grad=True)
    unit = ig.Multinomial(3, beta=log_beta.exp())
    assert unit.config()["beta"] == 1.0
    assert isinstance(unit.config()["beta"], float)


class Heavy(ig.Spin):
    """Claims to have no energy of its own, and has."""

    has_base_measure_energy = False

    def base_measure_energy(self, state, temperature=1.0):
        return state.square().sum(-1) / 9


def test_a_base_energy_that_is_denied_is_found(generator):
    with pytest.raises(PropertyViolation, match="it says that U = 0, and U is as large as"):
        check_unit(Heavy(2), double(4, 2), 1.0, generator)


def test_which_kinds_have_a_base_energy():
    plain = [
        ig.Spin(2),
        ig.Bernoulli(2),
        ig.Categorical(2),
        ig.Mixed([ig.Bernoulli(1), ig.Categorical(2)]),
    ]
    assert not any(unit.has_base_measure_energy for unit in plain)
    others = [
        ig.Gaussian(2),
        ig.RectifiedGaussian(2),
        ig.Multinomial(2, draws=4),
        ig.Mixed([ig.Bernoulli(1), ig.RectifiedGaussian(1)]),
    ]
    assert all(unit.has_base_measure_energy for unit in others)
