"""Energy discrepancy against closed forms, where many neighbors are all of them."""

import math

import pytest
import torch
from torch import nn

import isinglass as ig
from isinglass.errors import DomainError, IntractableError, ParameterError, ShapeError
from isinglass.learning import EnergyDiscrepancy, ExactGradient, fit
from tests.cases import double, randomized
from tests.seeds import seeded

RUNS = 60


class Bowl(ig.Energy):
    """½ p |v|²."""

    def __init__(self, precision: float) -> None:
        super().__init__()
        self.precision = nn.Parameter(torch.tensor(precision).double())

    def forward(self, state):
        return self.precision * state.square().sum(-1) / 2


def mean_and_error(objective, energy, data, generator) -> tuple[float, float]:
    """The mean over runs, and five of its standard errors."""
    with torch.no_grad():
        losses = torch.stack([objective.loss(energy, data, {}, generator)[0] for _ in range(RUNS)])
    return float(losses.mean()), 5 * float(losses.std()) / RUNS**0.5


def test_of_a_bowl_it_is_the_closed_form(generator):
    """⟨pv²/2 − pṽ²/2(1 + pσ²)⟩ − ½ log(1 + pσ²), and (1/M) of the variance of what is averaged."""
    data, sigma, many = double(5, 1), 0.7, 2000
    for p in (0.5, 1.0, 3.0):
        noised = (data.square() + sigma**2) / (1 + p * sigma**2)
        wanted = float((p * data.square() / 2 - p * noised / 2).mean())
        wanted -= math.log1p(p * sigma**2) / 2
        found, bound = mean_and_error(
            EnergyDiscrepancy(sigma, many, stabilizer=0.0), Bowl(p), data, generator
        )
        # log of a mean of M errs by Var/2M at first order; weights vary by at most e^(2pσ²) here
        assert abs(found - wanted) < bound + math.exp(2 * p * sigma**2) / many


MACHINES = {
    "bits": lambda: randomized(ig.RBM(ig.Bernoulli(4), ig.Bernoulli(3))),
    "one-hot": lambda: randomized(ig.RBM(ig.Categorical(6, groups=2), ig.Spin(2))),
    "spins in pairs": lambda: ig.BoltzmannMachine(ig.Spin(4), bias=double(4)).double(),
}


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("share", [0.3, 1.0])
def test_of_discrete_units_it_is_the_sum_over_all_states(name, share, generator):
    machine, many = MACHINES[name](), 1000
    unit = machine.layers[0]
    states = unit.enumerate_states()
    units, kinds = unit.count, len(unit.with_count(1).enumerate_states())
    with torch.no_grad():
        free = machine.free_energy(states) / machine.temperature
    apart = (
        (states[:, None] - states).abs().unflatten(-1, (units, -1)).sum(-1).gt(0).sum(-1).double()
    )
    stays = 1 - share + share / kinds
    kernel = stays ** (units - apart) * (share / kinds) ** apart
    torch.testing.assert_close(kernel.sum(-1), torch.ones(len(states)).double())
    left = -torch.log(kernel @ torch.exp(-free))
    rows = torch.randint(len(states), (6,), generator=seeded(2))
    wanted = float((free[rows] - kernel[rows] @ left).mean())
    found, bound = mean_and_error(
        EnergyDiscrepancy(share, many, stabilizer=0.0), machine, states[rows], generator
    )
    weight = torch.exp(-free)
    bias = float(((kernel @ weight.square()) / (kernel @ weight).square()).max()) / many
    assert abs(found - wanted) < bound + bias


def test_the_slope_is_zero_at_the_distribution_of_the_data(generator):
    """For noise of either size, where denoising score matching would learn smoothed data."""
    data = 0.5 * torch.randn(20_000, 1, generator=generator, dtype=torch.float64)
    data = (data - data.mean()) / data.std() * 0.5
    for sigma in (0.2, 0.3):
        slopes = []
        for p in (3.0, 4.0, 5.0):
            energy = Bowl(p)
            EnergyDiscrepancy(sigma, 64, stabilizer=0.0).loss(energy, data, {}, generator)[
                0
            ].backward()
            slopes.append(float(energy.precision.grad))  # pyright: ignore[reportArgumentType]
        assert slopes[0] < 0 < slopes[2]
        assert abs(slopes[1]) < 0.3 * min(-slopes[0], slopes[2])


def test_it_learns_bits_nearly_as_the_likelihood_does():
    generator = seeded()
    data = (torch.rand(400, 1, generator=generator) < 0.5).double().expand(-1, 6).clone()
    flipped = torch.rand(data.shape, generator=generator) < 0.1
    data = torch.where(flipped, 1 - data, data)

    def learned(objective) -> float:
        rbm = ig.RBM(ig.Bernoulli(6), ig.Bernoulli(3), scale=0.1, generator=seeded(1)).double()
        fit(
            rbm, data, objective, epochs=20, batch_size=100, generator=seeded(2),
            optimizer=lambda p: torch.optim.Adam(p, lr=0.1),
        )  # fmt: skip
        with torch.no_grad():
            return float(-rbm.free_energy(data).mean() - rbm.exact_log_partition())

    best, found = learned(ExactGradient()), learned(EnergyDiscrepancy(0.5))
    assert found > best - 0.1
    assert best > -3.2  # independent bits reach −4.16


def test_the_stabilizer_bounds_it_from_below():
    """However deep the example lies below its neighbors, log w/M is left."""
    energy = Bowl(1e6)
    data = torch.zeros(3, 2).double()
    objective = EnergyDiscrepancy(1.0, 4, stabilizer=2.0)
    loss, memory = objective.loss(energy, data, {}, seeded())
    assert math.isclose(float(loss.detach()), math.log(2 / 4), rel_tol=1e-9)
    assert memory == {}
    plain, _ = EnergyDiscrepancy(1.0, 4, stabilizer=0.0).loss(energy, data, {}, seeded())
    assert plain < -1e3


def test_mixed_layers_are_noised_each_in_its_way():
    unit = ig.Mixed([ig.Gaussian(2), ig.Bernoulli(3), ig.Categorical(3)])
    machine = ig.RBM(unit, ig.Bernoulli(2)).double()
    state = torch.tensor([[0.5, -0.5, 1.0, 0, 1, 0, 1, 0]]).double().expand(4000, -1)
    noised = EnergyDiscrepancy(0.6)._noised(machine, state, seeded())
    machine.check_visible(noised)
    assert abs(float((noised - state)[:, :2].std()) - 0.6) < 0.05
    changed = (noised != state)[:, 2:5].double().mean()
    assert abs(float(changed) - 0.3) < 0.05  # half of what is drawn anew is as before
    assert abs(float((noised != state)[:, 5:].any(-1).double().mean()) - 0.4) < 0.05


def test_bad_input(unannotated):
    rbm = ig.RBM(ig.Bernoulli(3), ig.Bernoulli(2))
    wrong = [
        (ParameterError, "noise", lambda: EnergyDiscrepancy(0.0)),
        (ParameterError, "neighbors", lambda: EnergyDiscrepancy(0.1, 0)),
        (ParameterError, "stabilizer", lambda: EnergyDiscrepancy(0.1, 4, -1.0)),
        (ParameterError, "share", lambda: EnergyDiscrepancy(1.5).loss(rbm, torch.ones(2, 3), {})),
        (DomainError, "Bernoulli", lambda: EnergyDiscrepancy(0.5).loss(rbm, torch.rand(2, 3), {})),
        (ShapeError, "rows", lambda: EnergyDiscrepancy(0.5).loss(rbm, torch.ones(3), {})),
        (IntractableError, "bounded",
         lambda: EnergyDiscrepancy(0.5).loss(
             ig.RBM(ig.RectifiedGaussian(3), ig.Bernoulli(2)), torch.ones(2, 3), {})),
    ]  # fmt: skip
    for error, match, call in wrong:
        with pytest.raises(error, match=match):
            call()
