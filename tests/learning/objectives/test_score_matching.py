"""Score matching against its closed forms and against the plain objective it stands for."""

import math

import pytest
import torch
from torch import nn

import isinglass as ig
from isinglass.core import as_trainable
from isinglass.errors import DomainError, IntractableError, ParameterError, ShapeError
from isinglass.learning import DenoisingScoreMatching, SlicedScoreMatching
from tests.cases import Bumps, double, hopfield_boltzmann, randomized
from tests.seeds import seeded


class Normal(ig.Energy):
    """½ (v − m)ᵀP(v − m)."""

    def __init__(self, precision: torch.Tensor, mean: torch.Tensor) -> None:
        super().__init__()
        self.precision, self.mean = nn.Parameter(precision), nn.Parameter(mean)

    def forward(self, state):
        away = state - self.mean
        return (away @ self.precision * away).sum(-1) / 2


def implicit(energy, data):
    """Hyvärinen's objective, row by row: ½|ψ|² + tr ∂ψ/∂v."""
    total = 0.0
    for row in data:
        visible = row.clone().requires_grad_()
        free = as_trainable(energy).free_energy(visible) / energy.temperature
        (slope,) = torch.autograd.grad(free, visible, create_graph=True)
        for i in range(len(row)):
            (second,) = torch.autograd.grad(slope[i], visible, create_graph=True)
            total = total + slope[i] ** 2 / 2 - second[i]
    return total / len(data)


def gradients(loss, energy):
    return torch.autograd.grad(loss, [p for p in energy.parameters() if p.requires_grad])


def in_nats(objective, energy, data, generator=None):
    return objective.loss(energy, data, {}, generator)[0]


ONE_UNIT = {
    "RBM": lambda: randomized(ig.RBM(ig.Gaussian(1), ig.Bernoulli(3))),
    "machine": lambda: hopfield_boltzmann(ig.Gaussian(1), groups=2, draws=3),
    "rectified hidden units": lambda: randomized(ig.RBM(ig.Gaussian(1), ig.RectifiedGaussian(3))),
    "network": lambda: Bumps(1),
}


@pytest.mark.parametrize("name", ONE_UNIT)
def test_on_one_unit_slices_are_the_whole(name):
    """With one unit a random sign squared is one: sliced is Hyvärinen's, and so its gradient."""
    energy, data = ONE_UNIT[name](), double(6, 1)
    found, expected = in_nats(SlicedScoreMatching(2), energy, data), implicit(energy, data)
    torch.testing.assert_close(found, expected)
    names = [n for n, _ in energy.named_parameters() if n != "module.2.bias"]
    parameters = [energy.get_parameter(n) for n in names]  # a constant has no score
    for one, other in zip(
        torch.autograd.grad(found, parameters),
        torch.autograd.grad(expected, parameters),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_slices_are_the_whole_on_average(generator):
    energy, data, many = randomized(ig.RBM(ig.Gaussian(3), ig.Bernoulli(4))), double(4, 3), 400
    expected = [implicit(energy, data), *gradients(implicit(energy, data), energy)]
    runs = []
    for _ in range(20):
        loss = in_nats(SlicedScoreMatching(many), energy, data, generator)
        runs.append([loss, *gradients(loss, energy)])
    for found, wanted in zip(zip(*runs, strict=True), expected, strict=True):
        found = torch.stack(found).detach()
        error = found.std(0) / math.sqrt(20)
        assert ((found.mean(0) - wanted).abs() <= 6 * error + 1e-12).all()


def test_a_gaussian_is_learned_whole(generator):
    """At the data's own mean and precision the gradient is zero, and nowhere else."""
    mix = torch.tensor([[1.0, 0.4], [0.0, 0.7]]).double()
    data = double(500, 2) @ mix + 1
    precision = torch.linalg.inv(torch.cov(data.mT, correction=0))
    energy = Normal(precision, data.mean(0))
    for slope in gradients(implicit(energy, data), energy):
        torch.testing.assert_close(slope, torch.zeros_like(slope), atol=1e-12, rtol=0)
    many = 200
    for slope in gradients(in_nats(SlicedScoreMatching(many), energy, data, generator), energy):
        # Of the mean of uuᵀ over all signs drawn, only what is off the diagonal is random.
        assert (slope.abs() < 5 / math.sqrt(many * 500)).all()
    wrong = Normal(precision * 1.3, data.mean(0))
    steep = gradients(in_nats(SlicedScoreMatching(many), wrong, data, generator), wrong)[0]
    assert steep.abs().max() > 0.05


def test_denoising_learns_the_smoothed_variance(generator):
    spread, sigma, count = 0.8, 0.5, 200_000
    data = spread * torch.randn(count, 1, dtype=torch.float64, generator=generator)
    best = torch.tensor([[1 / (spread**2 + sigma**2)]]).double()
    objective = DenoisingScoreMatching(sigma)
    slope = gradients(
        in_nats(objective, (energy := Normal(best, torch.zeros(1).double())), data, generator),
        energy,
    )[0]
    # A row's gradient is (p ṽ − ε/σ)ṽ, whose variance at the best p is below s²/σ⁴.
    assert slope.abs() < 5 * (spread**2 + sigma**2) / sigma**2 / math.sqrt(count)
    sharp = Normal(torch.tensor([[1 / spread**2]]).double(), torch.zeros(1).double())
    steep = gradients(in_nats(objective, sharp, data, generator), sharp)[0]
    assert steep > 0.1  # the data's own precision is too large


def test_denoising_follows_the_score_of_the_smoothed_density(generator):
    """Its gradient is that of ½ ∫ q_σ |ψ − ∂log q_σ|², by quadrature."""
    energy, sigma = randomized(ig.RBM(ig.Gaussian(1), ig.Bernoulli(2))), 0.6
    data = torch.tensor([-1.2, -0.9, 0.3, 1.1, 1.4]).double()
    line = torch.linspace(-6, 6, 4001, dtype=torch.float64, requires_grad=True)
    shares = torch.distributions.Normal(data, sigma).log_prob(line[:, None])
    log_density = torch.logsumexp(shares, -1) - math.log(5)
    (target,) = torch.autograd.grad(log_density.sum(), line)
    free = as_trainable(energy).free_energy(line[:, None])
    (slope,) = torch.autograd.grad(free.sum(), line, create_graph=True)
    weight = log_density.exp().detach() * 12 / 4000
    expected = gradients((weight * (-slope - target) ** 2).sum() / 2, energy)
    runs = [
        gradients(
            in_nats(DenoisingScoreMatching(sigma), energy, data.repeat(4000)[:, None], generator),
            energy,
        )
        for _ in range(20)
    ]
    for found, wanted in zip(zip(*runs, strict=True), expected, strict=True):
        found = torch.stack(found)
        error = found.std(0) / math.sqrt(20)
        assert ((found.mean(0) - wanted).abs() <= 6 * error).all()
        assert (wanted.abs() > 10 * error).any()


@pytest.mark.parametrize("draws", [1, 3])
def test_the_score_is_that_of_the_machine_at_its_temperature(draws):
    """ψ = −∂F/∂v/T, for every m."""
    machine, data, sigma = hopfield_boltzmann(ig.Gaussian(2), draws=draws), double(7, 2), 0.4
    loss = in_nats(DenoisingScoreMatching(sigma), machine, data, seeded(3))
    noise = torch.randn(7, 2, dtype=torch.float64, generator=seeded(3))
    noisy = data + sigma * noise
    pull = torch.softmax(0.7 * (noisy @ machine.patterns.mT + machine.memory_bias), -1)
    step = pull @ machine.patterns + machine.visible_bias
    score = (step - noisy) / machine.temperature
    torch.testing.assert_close(loss, (score + noise / sigma).square().sum(-1).mean() / 2)


@pytest.mark.parametrize("objective", [DenoisingScoreMatching(0.3), SlicedScoreMatching()])
def test_losses_under_no_grad_for_validation(objective):
    energy, data = Bumps(2), double(5, 2)
    with torch.no_grad():
        watched, memory = objective.loss(energy, data, {}, seeded(1))
    learned, _ = objective.loss(energy, data, {}, seeded(1))
    torch.testing.assert_close(watched, learned)
    assert memory == {}
    assert objective.init(energy, data) == {}


def test_an_energy_without_curvature_has_no_trace():
    energy = ig.DeepEnergy(nn.Linear(2, 1), 2, width=None).double()
    loss = in_nats(SlicedScoreMatching(), energy, double(4, 2))
    weight = energy.module.weight
    torch.testing.assert_close(loss, weight.square().sum() / 2)
    frozen = in_nats(SlicedScoreMatching(), energy.requires_grad_(False), double(4, 2))
    torch.testing.assert_close(frozen, loss.detach())


@pytest.mark.parametrize("objective", [DenoisingScoreMatching(0.3), SlicedScoreMatching()])
def test_bad_input(objective):
    for visible in (ig.Bernoulli(2), ig.Spin(2), ig.Categorical(2), ig.RectifiedGaussian(2)):
        with pytest.raises(IntractableError, match="reals of any sign"):
            in_nats(objective, ig.RBM(visible, ig.Bernoulli(1)), torch.ones(3, 2))
    rbm = ig.RBM(ig.Gaussian(2), ig.Bernoulli(1))
    with pytest.raises(ShapeError, match="rows"):
        in_nats(objective, rbm, torch.ones(0, 2))
    with pytest.raises(ShapeError, match="expected"):
        in_nats(objective, rbm, torch.ones(3, 4))
    with pytest.raises(DomainError, match="NaN"):
        in_nats(objective, rbm, torch.full((3, 2), math.nan))
    deep = ig.Harmonium([ig.Gaussian(2), ig.Bernoulli(1), ig.Bernoulli(1)], [(0, 1), (1, 2)])
    with pytest.raises(IntractableError, match="joined to each other"):
        in_nats(objective, deep, torch.ones(3, 2))


def test_bad_settings():
    for sigma in (0.0, -1.0, math.nan):
        with pytest.raises(ParameterError, match="sigma"):
            DenoisingScoreMatching(sigma)
    with pytest.raises(ParameterError, match="projections"):
        SlicedScoreMatching(0)
