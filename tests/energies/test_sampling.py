"""machine.sample(n) draws from p(v) ∝ exp(−F(v)/T), listed or by replica exchange."""

import pytest
import torch

import isinglass as ig
from isinglass.energies import sampling
from isinglass.errors import ParameterError
from isinglass.testing.property import require_chi_square
from tests.cases import Bumps, deep_boltzmann, double, hopfield_boltzmann, randomized, seeded
from tests.cases import symmetric as couplings

MACHINES = {
    "RBM": lambda: randomized(ig.RBM(ig.Bernoulli(5), ig.Bernoulli(3)), scale=1.0),
    "RBM of one-hot and real units": lambda: randomized(
        ig.RBM(ig.Categorical(6, groups=2), ig.Gaussian(2))
    ),
    "DeepBoltzmann": deep_boltzmann,
    "Boltzmann machine": lambda: ig.BoltzmannMachine(ig.Spin(5), couplings(5), double(5)),
    "Boltzmann machine, two hidden": lambda: ig.BoltzmannMachine(
        ig.Bernoulli(6), couplings(6), double(6), hidden=2
    ),
    "HopfieldBoltzmann of two groups": lambda: hopfield_boltzmann(ig.Spin(4), groups=2),
    "HopfieldBoltzmann of three draws": lambda: hopfield_boltzmann(ig.Spin(4), draws=3),
}


@pytest.mark.slow
@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("name", MACHINES)
def test_samples_follow_the_exact_distribution(name, listed, monkeypatch):
    machine = MACHINES[name]()
    if not listed:
        monkeypatch.setattr(sampling, "LISTED", 1)
    count = 20_000 if listed else 2_000
    found = machine.sample(count, generator=seeded())
    states = machine.layers[0].enumerate_states(machine.temperature)
    with torch.no_grad():
        exact = torch.softmax(-machine.free_energy(states) / machine.temperature, 0)
    assert machine.layers[0].contains(found).all()
    seen = torch.cdist(found, states).argmin(-1).bincount(minlength=len(states))
    spread = (count * exact * (1 - exact)).sqrt()
    # Draws are independent, chain by chain; one more for rare states, whose counts are not normal.
    assert ((seen - count * exact).abs() < 5 * spread + 1).all()
    require_chi_square("draws", seen, exact)


@pytest.mark.slow
def test_samples_of_a_deep_energy():
    """One real unit: mean and variance by quadrature."""
    energy = Bumps(1)
    grid = torch.linspace(-12, 12, 20_001, dtype=torch.float64)[:, None]
    with torch.no_grad():
        weight = torch.softmax(-energy(grid), 0)
    mean = float(weight @ grid[:, 0])
    variance = float(weight @ (grid[:, 0] - mean).square())
    found = energy.sample(2000, steps=30, generator=seeded())
    assert found.shape == (2000, 1)
    assert abs(float(found.mean()) - mean) < 5 * (variance / 2000) ** 0.5


@pytest.mark.slow
def test_the_same_generator_draws_the_same(monkeypatch):
    machine = MACHINES["RBM"]()
    assert torch.equal(
        machine.sample(9, generator=seeded(3)), machine.sample(9, generator=seeded(3))
    )
    monkeypatch.setattr(sampling, "LISTED", 1)
    one, other = (machine.sample(9, steps=5, generator=seeded(3)) for _ in range(2))
    assert torch.equal(one, other)
    assert not machine.sample(2, steps=2).requires_grad


def test_bad_counts():
    machine = MACHINES["RBM"]()
    with pytest.raises(ParameterError, match="count"):
        machine.sample(0)
    with pytest.raises(ParameterError, match="steps"):
        machine.sample(1, steps=0)
