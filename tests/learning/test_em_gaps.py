"""EM on what was observed: exact, monotone, and right where filling in is wrong."""

import pytest
import torch

import isinglass as ig
from isinglass.errors import DomainError, IntractableError, ParameterError, ShapeError
from isinglass.learning import (
    SufficientStatistics,
    e_step,
    expectation_maximization,
    m_step,
    seed_cluster_means,
)
from tests.cases import double, hopfield_boltzmann

MIXED = ig.Mixed([ig.Gaussian(2), ig.Bernoulli(2), ig.Categorical(6, groups=2), ig.Spin(1)])
UNITS = [ig.Gaussian(4), ig.Bernoulli(4), ig.Spin(4), ig.Categorical(6, groups=2), MIXED]


def torn(unit: ig.Unit, count: int = 60, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """States of a mixture, and a mask that leaves three of four units."""
    data = unit.sample(2 * double(3, unit.size, seed=seed)[torch.arange(count) % 3], 1.0)
    variable_ids = unit.variable_ids()
    seen = double(count, int(variable_ids.max()) + 1, seed=seed + 1) > -0.67
    return data, seen[:, variable_ids]


@pytest.mark.parametrize("unit", UNITS, ids=str)
@pytest.mark.parametrize("beta", [1.0, 0.7])
def test_value_is_the_conditional_of_the_machine(unit, beta):
    """log p(x_O) is a difference of two log Z, and p(μ | x_O) that of the conditional mixture."""
    machine = hopfield_boltzmann(unit, beta=beta)
    data, observed = torn(unit)
    responsibilities, log_prob = e_step(machine, data, observed, torch.ones(unit.size).double())
    mixture = machine.conditional(data, observed)
    expected = (mixture.value() - machine.mixture().value()) / machine.temperature
    torch.testing.assert_close(log_prob, expected.detach(), rtol=0, atol=1e-10)
    torch.testing.assert_close(
        responsibilities, mixture.log_weights().exp().detach(), rtol=0, atol=1e-10
    )
    whole = e_step(machine, data, torch.ones_like(observed), torch.ones_like(data[0]))
    torch.testing.assert_close(whole[1], machine.log_prob(data).detach(), rtol=0, atol=1e-10)


def test_a_scale_makes_it_a_density_of_the_data():
    machine, scale = hopfield_boltzmann(ig.Gaussian(1)), torch.tensor([2.5]).double()
    grid = torch.linspace(-60, 60, 4001).double().unsqueeze(-1)
    _, log_prob = e_step(machine, grid, grid.isfinite(), scale)
    assert float(torch.trapezoid(log_prob.exp(), grid[:, 0])) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("pseudo_count", [0.0, 2.0])
@pytest.mark.parametrize("unit", UNITS, ids=str)
def test_a_mask_that_hides_nothing_changes_nothing(unit, pseudo_count):
    """Every sum but Σ o_i r_μ is the same: to rounding."""
    data, _ = torn(unit)
    settings = {"steps": 5, "tolerance": 0.0, "pseudo_count": pseudo_count}
    settings["learn_beta"] = unit.parts[0] == ig.Gaussian(unit.parts[0].size)
    machine, other = (hopfield_boltzmann(unit, beta=1.3) for _ in range(2))
    whole = expectation_maximization(machine, data, **settings)
    masked = expectation_maximization(other, data, torch.ones_like(data) > 0, **settings)
    assert masked.log_likelihood == pytest.approx(whole.log_likelihood, abs=1e-9)
    assert machine.beta == pytest.approx(other.beta, rel=1e-9)
    means = (m.visible.mean(m.mixture().fields, m.temperature).detach() for m in (machine, other))
    torch.testing.assert_close(*means, rtol=0, atol=1e-9)


def test_one_variance_for_all_is_fitted_to_what_is_there(generator):
    """One memory: 1/β is Σ o (x − mean)²/Σ o, whatever the gaps; EM is there in one step."""
    data, observed = torn(ig.Gaussian(4))
    machine = hopfield_boltzmann(ig.Gaussian(4), memories=1)
    expectation_maximization(machine, data, observed, learn_beta=True, steps=1)
    seen = torch.where(observed, data, 0.0)
    mean = seen.sum(0) / observed.sum(0)
    squares = torch.where(observed, data - mean, 0.0).square()
    assert 1 / machine.beta == pytest.approx(float(squares.sum() / observed.sum()), rel=1e-9)


def test_statistics_do_not_depend_on_their_origin():
    data, observed = torn(ig.Gaussian(4))
    responsibilities = torch.softmax(double(len(data), 3), -1)
    there = double(4, seed=2)
    moved = SufficientStatistics.of(responsibilities, data, observed, there)
    plain = SufficientStatistics.of(responsibilities, data, observed)
    halfway = plain.toward(moved, 0.5)
    for name, value in vars(plain).items():
        torch.testing.assert_close(getattr(halfway, name), value, rtol=0, atol=1e-12)
    torch.testing.assert_close(moved.center() + there, plain.center(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("unit", UNITS, ids=str)
def test_likelihood_of_what_was_observed_never_falls(unit, generator):
    data, observed = torn(unit)
    data = torch.where(observed, data, torch.nan)  # never looked at
    machine = ig.HopfieldBoltzmann(unit, 3).double()
    gaussian = torch.arange(unit.size) < sum(p.size for p in unit.parts if type(p) is ig.Gaussian)
    scale = seed_cluster_means(machine, data, observed, gaussian, generator)
    report = expectation_maximization(
        machine, data, observed, scale=scale, learn_scale=gaussian, steps=40, tolerance=0.0
    )
    rises = torch.tensor(report.log_likelihood, dtype=torch.float64).diff()
    assert len(rises) == 40 or report.converged
    assert bool((rises >= -1e-9).all())
    assert rises[:5].sum() > 1e-3
    assert bool((report.scale[~gaussian] == 1).all())


def test_the_fixed_point_is_stationary(generator):
    """Where EM rests, the gradient of log p(x_O) is zero, that of the scale too."""
    unit = ig.Mixed([ig.Gaussian(2), ig.Bernoulli(2)])
    data, observed = torn(unit, 200)
    machine = ig.HopfieldBoltzmann(unit, 2).double()
    gaussian = torch.tensor([True, True, False, False])
    scale = seed_cluster_means(machine, data, observed, gaussian, generator)
    report = expectation_maximization(
        machine, data, observed, scale=scale, learn_scale=gaussian, steps=3000, tolerance=1e-14
    )
    leaf = report.scale.clone().requires_grad_()
    states = torch.where(observed, data, 0.0) / leaf
    conditional = machine.mixture().condition(states, observed)
    total = (
        conditional.value() - machine.mixture().value() - observed[:, :2].double() @ leaf[:2].log()
    )
    total.mean().backward()
    for gradient in (leaf.grad[:2], *(p.grad for p in machine.parameters())):
        assert gradient.abs().max() < 1e-5


def test_missing_at_random_is_not_biased_as_filling_in_is(generator):
    """y = x + noise is missing wherever x > 0: the mean of the ys that are there is −0.56 too low.

    A memory for each half would not know the missing one; two columns that both depend on the
    memory do. With 20,000 rows the standard error of the mean of y is about 0.012.
    """
    count = 20_000
    kind = torch.arange(count) % 2
    x = 2.0 * kind.double() - 1 + 0.1 * double(count, seed=1)
    y = 4.0 * kind.double() - 2 + 0.1 * double(count, seed=2)
    observed = torch.ones(count, 2) > 0
    observed[:, 1] = (kind == 0) | (double(count, seed=3) > 1.0)  # few of the upper ys are there
    data = torch.stack([x, y], -1)
    machine = ig.HopfieldBoltzmann(ig.Gaussian(2), 2).double()
    both = torch.tensor([True, True])
    scale = seed_cluster_means(machine, data, observed, both, generator)
    report = expectation_maximization(machine, data, observed, scale=scale, learn_scale=both)
    mean = machine.mixture().mean().detach() * report.scale
    assert data[observed[:, 1], 1].mean() < -1.0
    assert abs(float(mean[1])) < 0.06
    assert report.scale.tolist() == pytest.approx([0.1, 0.1], abs=0.01)


def test_pseudo_counts_pull_memories_to_the_mean_of_what_is_there():
    unit = ig.Mixed([ig.Gaussian(1), ig.Bernoulli(1)])
    data, observed = torn(unit, 40)
    machine = hopfield_boltzmann(unit)
    seen = torch.where(observed, data, 0.0)
    center = seen.sum(0) / observed.sum(0)
    responsibilities, _ = e_step(machine, data, observed, torch.ones(2).double())
    none = torch.zeros(2) > 0
    m_step(
        machine, SufficientStatistics.of(responsibilities, data, observed),
        torch.ones(2).double(), none, pseudo_count=5 / 40,
    )  # fmt: skip
    mass = responsibilities.mT @ observed.double() + 5
    expected = (responsibilities.mT @ seen + 5 * center) / mass
    means = unit.mean(machine.mixture().fields, machine.temperature).detach()
    torch.testing.assert_close(means, expected, rtol=0, atol=1e-9)


def test_what_nothing_is_known_of_stays_harmless(generator):
    """A column without a single cell, and a row without one."""
    data, observed = torn(ig.Gaussian(3), 30)
    observed[:, 2], observed[4] = False, False
    machine = ig.HopfieldBoltzmann(ig.Gaussian(3), 2).double()
    everywhere = torch.ones(3) > 0
    scale = seed_cluster_means(machine, data, observed, everywhere, generator)
    report = expectation_maximization(machine, data, observed, scale=scale, learn_scale=everywhere)
    _, log_prob = e_step(machine, data, observed, report.scale)
    assert abs(float(log_prob[4])) < 1e-12
    assert float(report.scale[2]) == 1.0
    assert all(bool(parameter.isfinite().all()) for parameter in machine.parameters())


def test_wrong_input_is_named():
    data, observed = torn(ig.Bernoulli(4))
    machine, one = hopfield_boltzmann(ig.Bernoulli(4)), torch.ones(4).double()
    with pytest.raises(ShapeError, match="mask of shape"):
        expectation_maximization(machine, data, observed[:, :2])
    with pytest.raises(DomainError, match="not states"):
        e_step(machine, data + 0.5, observed, one)
    with pytest.raises(DomainError, match=r"torch\.float32"):
        e_step(machine, data.float(), observed, one.float())
    with pytest.raises(ShapeError, match="rows for 3 memories"):
        seed_cluster_means(machine, data[:2], observed[:2])
    with pytest.raises(ParameterError, match="Only Gaussian units"):
        expectation_maximization(machine, data, observed, learn_scale=torch.ones(4) > 0)
    with pytest.raises(ParameterError, match="Only Gaussian units"):
        expectation_maximization(machine, data, observed, learn_scale=True)
    with pytest.raises(ParameterError, match="learn_beta and learn_scale"):
        expectation_maximization(
            hopfield_boltzmann(ig.Gaussian(4)), data, learn_scale=True, learn_beta=True
        )
    with pytest.raises(IntractableError):
        e_step(hopfield_boltzmann(ig.Bernoulli(4), groups=2), data, observed, one)
    with pytest.raises(ParameterError, match="pseudo_count"):
        expectation_maximization(machine, data, observed, pseudo_count=-1.0)
