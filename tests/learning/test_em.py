"""EM raises the likelihood, finds known mixtures, and refuses what it cannot do."""

import pytest
import torch

import isinglass as ig
from isinglass.errors import DomainError, IntractableError, ParameterError, ShapeError
from isinglass.learning import contrastive_loss, em_step, expectation_maximization, seed_memories
from tests import cases
from tests.cases import double, hopfield_boltzmann, spins
from tests.seeds import seeded


def has_inverse(unit: ig.Unit) -> bool:
    try:
        unit.natural_parameter(unit.mean(torch.zeros(1, unit.size).double(), 1.0), 1.0)
    except IntractableError:
        return False
    return True


UNITS = [unit for unit in cases.UNITS if has_inverse(unit)]


def parts_of(unit: ig.Unit) -> list[ig.Unit]:
    """What each component is."""
    return [part for part in unit.parts for _ in range(part.size)]


def data_for(unit: ig.Unit, count: int = 80) -> torch.Tensor:
    return unit.sample(2 * double(4, unit.size)[torch.arange(count) % 4], 1.0)


@pytest.mark.parametrize("pseudo_count", [0.0, 3.0])
@pytest.mark.parametrize("unit", UNITS, ids=str)
def test_each_memory_moves_to_the_mean_of_its_data(unit, pseudo_count, generator):
    machine = ig.HopfieldBoltzmann(unit, 3, beta=1.3).double()
    data = data_for(unit)
    seed_memories(machine, data, generator)
    reads = machine.mixture().responsibilities(data).detach()
    expected = (reads.T @ data) / reads.sum(0)[:, None]
    given, center = torch.full_like(expected, pseudo_count), data.mean(0)
    if gaussian := [n for n, part in enumerate(parts_of(unit)) if part.is_gaussian]:
        # At the median, and the fewer the farther the memory's rows are from there.
        first, third = (data.quantile(q, 0, interpolation=i)
                        for q, i in ((0.25, "lower"), (0.75, "higher")))  # fmt: skip
        median = data.quantile(0.5, 0, interpolation="midpoint")
        away = (expected - median) / ((third - first) / 1.349)
        center[gaussian] = median[gaussian]
        given[:, gaussian] /= (1 + away.square() / 4)[:, gaussian]
    expected = (reads.T @ data + given * center) / (reads.sum(0)[:, None] + given)
    mass = reads.sum(0) + pseudo_count
    em_step(machine, data, pseudo_count=pseudo_count)
    mixture = machine.mixture()
    means = unit.mean(mixture.fields, machine.temperature).detach()
    torch.testing.assert_close(means, expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(mixture.log_weights().exp().detach(), mass / mass.sum())


@pytest.mark.parametrize("seed", range(20))
def test_seeds_are_spread_over_far_clusters(seed):
    """k-means++ misses one of four clusters 10⁴ deviations apart once in 10⁷ times."""
    centers = 1e4 * torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64)
    data = centers[torch.arange(80) % 4] + double(80, 2)
    machine = ig.HopfieldBoltzmann(ig.Gaussian(2), 4).double()
    seed_memories(machine, data, seeded(seed))
    halfway = (centers + data.mean(0)) / 2
    assert (torch.cdist(halfway, machine.patterns.detach()).min(-1).values < 5).all()


@pytest.mark.parametrize("unit", UNITS, ids=str)
def test_likelihood_never_falls(unit, generator):
    machine = ig.HopfieldBoltzmann(unit, 3, beta=1.3).double()
    data = data_for(unit)
    seed_memories(machine, data, generator)
    report = expectation_maximization(machine, data, steps=40, tolerance=0.0)
    rises = torch.tensor(report.log_likelihood, dtype=torch.float64).diff()
    assert len(rises) == 40 or report.converged
    assert (rises >= -1e-9).all()
    assert rises[0] > 1e-4


def test_fixed_point_is_a_stationary_point_of_the_likelihood(generator):
    machine = ig.HopfieldBoltzmann(ig.Spin(4), 2).double()
    data = data_for(ig.Spin(4))
    seed_memories(machine, data, generator)
    expectation_maximization(machine, data, steps=5000, tolerance=1e-15, pseudo_count=0.0)
    machine.log_prob(data).mean().backward()
    for parameter in machine.parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().max() < 1e-5


def test_known_mixture_is_found(generator):
    centers = torch.tensor([[4.0, 0], [-4, 0], [0, 4]], dtype=torch.float64)
    data = centers[torch.arange(3000) % 3] + 0.5 * double(3000, 2)
    machine = ig.HopfieldBoltzmann(ig.Gaussian(2), 3).double()
    seed_memories(machine, data, generator)
    report = expectation_maximization(machine, data, learn_beta=True, steps=200, tolerance=1e-9)
    assert report.converged
    distance = torch.cdist(centers, machine.patterns.detach()).min(-1).values
    # The mean of 1,000 examples with deviation ½ in two dimensions: 5 σ.
    assert (distance < 5 * 0.5 * (2 / 1000) ** 0.5).all()
    # The variance ¼ is known to ±¼·√(2/6000): 5 σ.
    assert abs(1 / machine.beta - 0.25) < 5 * 0.25 * (2 / 6000) ** 0.5
    weights = machine.mixture().log_weights().exp().detach()
    torch.testing.assert_close(weights, torch.full((3,), 1 / 3).double(), atol=1e-4, rtol=0)


def test_agrees_with_scikit_learn_step_by_step():
    mixture = pytest.importorskip("sklearn.mixture", reason="needs scikit-learn")
    data, start = double(60, 2), double(3, 2, seed=1)
    variance = 0.8
    peer = mixture.GaussianMixture(
        3, covariance_type="tied", means_init=start, weights_init=[1 / 3] * 3,
        precisions_init=torch.eye(2).double() / variance, max_iter=1, reg_covar=0.0, tol=0.0,
    )  # fmt: skip
    with pytest.warns(UserWarning, match="not converge"):
        peer.fit(data.numpy())
    machine = ig.HopfieldBoltzmann.from_patterns(ig.Gaussian(2), start, beta=1 / variance)
    machine.memory_bias.data = -(start**2).sum(-1) / 2
    em_step(machine, data)
    torch.testing.assert_close(machine.patterns.detach(), torch.from_numpy(peer.means_))
    torch.testing.assert_close(
        machine.mixture().log_weights().exp().detach(), torch.from_numpy(peer.weights_)
    )


def test_a_memory_without_data_stays(generator):
    machine = hopfield_boltzmann(ig.Gaussian(2), memories=2, beta=1.0)
    machine.visible_bias.data.zero_()
    machine.patterns.data = torch.tensor([[0.0, 0.0], [1e4, 1e4]], dtype=torch.float64)
    machine.memory_bias.data = -(machine.patterns.data**2).sum(-1) / 2
    em_step(machine, double(20, 2))
    assert machine.patterns.isfinite().all()
    torch.testing.assert_close(machine.patterns[1].detach(), torch.full((2,), 1e4).double())


def test_certain_bits_stay_finite(generator):
    data = torch.tensor([[1.0, 0, 0], [1, 0, 1]], dtype=torch.float64)
    machine = ig.HopfieldBoltzmann(ig.Bernoulli(3), 2).double()
    seed_memories(machine, data, generator)
    expectation_maximization(machine, data, steps=50, tolerance=0.0)
    assert all(parameter.isfinite().all() for parameter in machine.parameters())
    assert float(machine.log_prob(data).detach().mean()) > -0.6932  # log ½, one memory each


def test_progress_is_reported():
    seen = []
    machine = hopfield_boltzmann(ig.Gaussian(2))
    report = expectation_maximization(
        machine, double(30, 2), steps=4, tolerance=0.0, on_step=lambda *step: seen.append(step)
    )
    assert [step for step, _ in seen] == [0, 1, 2, 3]
    assert [value for _, value in seen] == report.log_likelihood[:4]


def test_rest_is_a_rise_below_the_tolerance(generator):
    machine = ig.HopfieldBoltzmann(ig.Spin(6), 3).double()
    data = data_for(ig.Spin(6))
    seed_memories(machine, data, generator)
    report = expectation_maximization(machine, data, tolerance=1e-5, steps=1000)
    rises = torch.tensor(report.log_likelihood).diff()
    assert report.converged
    assert (rises[:-2] >= 1e-5).all()
    assert rises[-1] < 1e-5


def test_variance_is_found_far_from_zero(generator):
    """Two clusters of deviation 0.1 around 100, in float32: squares of 10⁴ must not cancel."""
    data = 100 + torch.tensor([[1.0], [-1.0]])[torch.arange(2000) % 2] + 0.1 * double(2000, 1)
    machine = ig.HopfieldBoltzmann(ig.Gaussian(1), 2)
    seed_memories(machine, data.float(), generator)
    expectation_maximization(machine, data.float(), learn_beta=True, steps=30)
    # The variance 0.01 of 2,000 numbers is known to √(2/2000); 5 σ.
    assert abs(1 / machine.beta / 0.01 - 1) < 5 * (2 / 2000) ** 0.5


def test_variance_is_the_formula(generator):
    """1/β = Σ_nμ r_nμ |v_n − x_μ|²/(nd), at the new memories."""
    machine = ig.HopfieldBoltzmann(ig.Gaussian(2), 3, beta=2.0).double()
    data = double(40, 2)
    seed_memories(machine, data, generator)
    reads = machine.mixture().responsibilities(data).detach()
    means = (reads.T @ data) / reads.sum(0)[:, None]
    expected = float((reads * torch.cdist(data, means).square()).sum() / 80)
    em_step(machine, data, learn_beta=True)
    assert 1 / machine.beta == pytest.approx(expected, rel=1e-9)


def test_means_near_an_edge_are_reached_by_averages_of_many_draws(generator):
    unit = ig.Multinomial(3, draws=60)
    data = torch.tensor([[57.0, 3, 0], [58, 2, 0]], dtype=torch.float64) / 60
    machine = ig.HopfieldBoltzmann(unit, 1).double()
    seed_memories(machine, data, generator)
    em_step(machine, data)
    means = unit.mean(machine.mixture().fields, machine.temperature)[0].detach()
    torch.testing.assert_close(means, data.mean(0), rtol=0, atol=1e-9)


def test_data_on_the_memories_have_no_variance(generator):
    for data, memories in ((double(5, 3), 5), (torch.ones(9, 3).double(), 1)):
        machine = ig.HopfieldBoltzmann(ig.Gaussian(3), memories, beta=50.0).double()
        seed_memories(machine, data, generator)
        expectation_maximization(machine, data, steps=50, tolerance=0.0)
        with pytest.raises(DomainError, match=r"lie on them.*fewer memories"):
            expectation_maximization(machine, data, learn_beta=True, steps=500, tolerance=0.0)
        assert machine.beta >= 50.0
        assert all(parameter.isfinite().all() for parameter in machine.parameters())


def test_fantasies_are_not_differentiated():
    fantasies = torch.ones(3, 4).double().requires_grad_()
    machine = cases.randomized(ig.RBM(ig.Bernoulli(4), ig.Bernoulli(2)))
    contrastive_loss(machine.marginal(), torch.zeros(3, 4).double(), fantasies).backward()
    assert fantasies.grad is None


def test_contrast_refuses_bad_input():
    energy = ig.RBM(ig.Bernoulli(4), ig.Bernoulli(2)).marginal()
    good = torch.ones(3, 4)
    for data, fantasies in ((good[:0], good), (good, -good), (good, torch.full((3, 4), torch.nan))):
        with pytest.raises(ig.IsinglassError):
            contrastive_loss(energy, data, fantasies)


def test_bad_input():
    machine = ig.HopfieldBoltzmann(ig.Spin(3), 4)
    with pytest.raises(ShapeError, match="2 examples for 4 memories"):
        seed_memories(machine, spins(2, 3).float())
    with pytest.raises(DomainError, match="Spin"):
        em_step(machine, torch.zeros(5, 3))
    with pytest.raises(ParameterError, match="rescales"):
        em_step(machine, spins(5, 3).float(), learn_beta=True)
    with pytest.raises(ParameterError, match="pseudo_count"):
        em_step(machine, spins(5, 3).float(), pseudo_count=-1.0)
    for value in (float("nan"), float("inf")):
        with pytest.raises(ParameterError, match="pseudo_count"):
            em_step(machine, spins(5, 3).float(), pseudo_count=value)
    with pytest.raises(ParameterError, match="tolerance"):
        expectation_maximization(machine, spins(5, 3).float(), tolerance=-1.0)
    with pytest.raises(DomainError, match=r"float64.*float32"):
        em_step(machine, spins(5, 3))
    with pytest.raises(ParameterError, match="steps"):
        expectation_maximization(machine, spins(5, 3).float(), steps=0)
    with pytest.raises(IntractableError):
        em_step(ig.HopfieldBoltzmann(ig.Spin(3), 2, groups=2), spins(5, 3).float())


def test_a_pseudo_count_beyond_floats(unannotated):
    machine = ig.HopfieldBoltzmann(ig.Bernoulli(3), 2)
    with pytest.raises(ParameterError, match="pseudo_count ="):
        ig.learning.expectation_maximization(machine, torch.ones(4, 3), pseudo_count=1e40)
