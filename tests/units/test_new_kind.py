"""A kind of unit that the package has never seen works wherever units do."""

import math
from dataclasses import dataclass

import pytest
import torch

import isinglass as ig
from isinglass.energies import DenseCouplings, GridCouplings
from isinglass.errors import IntractableError
from isinglass.learning import ExactGradient, PersistentCD, PseudoLikelihood, pseudo_log_likelihood
from isinglass.testing import check_stationary, check_unit
from tests.cases import double, randomized, seeded


@dataclass(frozen=True)
class SpinOne(ig.Unit):
    """Spins of three states, s ∈ {−1, 0, 1}, U(s) = D s²: those of Blume and Capel, D = 0.4."""

    def _weights(self, field, temperature):
        return torch.stack([-field - 0.4, 0 * field, field - 0.4], -1) / temperature

    def log_partition(self, field, temperature=1.0):
        if temperature == 0:
            return (field.abs() - 0.4).clamp_min(0).sum(-1)
        return temperature * torch.logsumexp(self._weights(field, temperature), -1).sum(-1)

    def mean(self, field, temperature=1.0):
        if temperature == 0:
            return torch.heaviside(field.abs() - 0.4, field.new_tensor(0.5)) * field.sign()
        probability = torch.softmax(self._weights(field, temperature), -1)
        return probability[..., 2] - probability[..., 0]

    def sample(self, field, temperature=1.0, generator=None):
        return self.sampler(field, temperature, generator)(field, torch.zeros_like(field))

    def argmax_state(self, field, current):
        best = (field.abs() > 0.4) * field.sign()
        ties = (field.abs() == 0.4) & self.contains(current) & (current * field >= 0)
        return torch.where(ties, current, best)

    def base_measure_energy(self, state, temperature=1.0):
        return 0.4 * state.square().sum(-1)

    @property
    def bounded(self):
        return True

    def contains(self, state):
        return (state == 0) | (state.abs() == 1)

    def enumerate_states(self, temperature=1.0):
        one = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)
        return torch.cartesian_prod(*[one] * self.size).reshape(-1, self.size)


@dataclass(frozen=True)
class Clock(ig.Unit):
    """Hands of a clock with three hours: unit vectors in the plane, two components a unit."""

    size: int = 2

    @property
    def components(self):
        return 2

    def _scores(self, field):
        return field.unflatten(-1, (-1, 2)) @ _hours(field).mT

    def log_partition(self, field, temperature=1.0):
        if temperature == 0:
            return self._scores(field).amax(-1).sum(-1)
        return temperature * torch.logsumexp(self._scores(field) / temperature, -1).sum(-1)

    def mean(self, field, temperature=1.0):
        if temperature == 0:
            scores = self._scores(field)
            best = (scores == scores.amax(-1, keepdim=True)).to(field)
            return ((best / best.sum(-1, keepdim=True)) @ _hours(field)).flatten(-2)
        return (torch.softmax(self._scores(field) / temperature, -1) @ _hours(field)).flatten(-2)

    def sample(self, field, temperature=1.0, generator=None):
        return self.sampler(field, temperature, generator)(field, torch.zeros_like(field))

    def argmax_state(self, field, current):
        scores = self._scores(field)
        best = _hours(field)[scores.argmax(-1)].flatten(-2)
        held = (self._split(current) * self._split(field)).sum(-1) >= scores.amax(-1)
        stays = held.repeat_interleave(2, -1) & self.contains(current)
        return torch.where(stays, current, best)

    def contains(self, state):
        near = (self._split(state).unsqueeze(-2) - _hours(state)).abs().amax(-1)
        return (near.amin(-1) < 1e-5).repeat_interleave(2, -1)

    def enumerate_states(self, temperature=1.0):
        hours = _hours(torch.zeros((), dtype=torch.float64))
        numbers = torch.cartesian_prod(*[torch.arange(3)] * self.count).reshape(-1, self.count)
        return hours[numbers].flatten(-2)

    def _split(self, values):
        return values.unflatten(-1, (-1, 2))


def _hours(like):
    angle = 2 * math.pi * torch.arange(3, dtype=torch.float64) / 3
    return torch.stack([angle.cos(), angle.sin()], -1).to(like)


KINDS = [SpinOne(3), Clock(6)]
kinds = pytest.mark.parametrize("unit", KINDS, ids=lambda unit: type(unit).__name__)


def coupled(unit, hidden=0):
    """A machine of these units, all joined."""
    weight, owner = double(unit.size, unit.size, seed=7, scale=0.5), unit.variable_ids()
    weight = (weight + weight.mT) * (owner[:, None] != owner)
    return ig.BoltzmannMachine(unit, weight, double(unit.size), hidden=hidden)


def layered(unit):
    return randomized(ig.RBM(unit, ig.Bernoulli(2)))


@kinds
@pytest.mark.parametrize("temperature", [0.3, 1.0])
def test_it_has_the_properties_of_units(unit, temperature, generator):
    check_unit(unit, double(5, unit.size), temperature, generator)


@kinds
@pytest.mark.parametrize("build", [coupled, layered])
@pytest.mark.parametrize("temperature", [0.7, 1.0])
def test_machines_of_it_are_exact(unit, build, temperature, generator):
    """log Z and block Gibbs, against every state there is."""
    energy = build(unit)
    states = ig.Mixed(energy.layers).enumerate_states()
    with torch.no_grad():
        weights = -energy.energy_at(states, temperature) / temperature
        torch.testing.assert_close(energy.exact_log_partition(temperature), weights.logsumexp(0))
    check_stationary(
        ig.BlockGibbs(), energy, states, weights, temperature, generator, samples=20_000
    )


@pytest.mark.slow
@kinds
def test_annealing_finds_log_z_of_it(unit, generator):
    """Up from its base, and down from exact draws."""
    energy, states = coupled(unit), unit.enumerate_states()
    with torch.no_grad():
        probability = torch.softmax(-energy(states), 0)
    drawn = states[torch.multinomial(probability, 50, replacement=True, generator=generator)]
    found = ig.log_partition(
        energy, "ais", chains=50, levels=100, samples=drawn, generator=generator
    )
    assert found.chains > 0
    assert abs(found.value - energy.exact_log_partition().item()) < 5 * found.standard_error


@pytest.mark.parametrize("kernel", [ig.SingleSite, ig.Asynchronous])
def test_kernels_that_visit_units_one_by_one(kernel, generator):
    energy, states = coupled(SpinOne(3)), SpinOne(3).enumerate_states()
    with torch.no_grad():
        weights = -energy(states)
    check_stationary(kernel(), energy, states, weights, 1.0, generator, samples=20_000)


@kinds
def test_it_lies_on_grids_and_beside_other_kinds(unit):
    grid = GridCouplings((3,), 0.8, components=unit.components)
    mixed = ig.Mixed([unit, ig.Spin(2), ig.Categorical(3)])
    for energy in (
        ig.BoltzmannMachine(unit, grid).double(),
        ig.BoltzmannMachine(mixed, DenseCouplings(mixed.count, mixed.widths)).double(),
        ig.HopfieldBoltzmann(unit, memories=3, scale=1.0).double(),
    ):
        states = ig.Mixed(energy.layers).enumerate_states(energy.temperature)
        with torch.no_grad():
            weights = -energy(states) / energy.temperature
        torch.testing.assert_close(energy.exact_log_partition().detach(), weights.logsumexp(0))


@kinds
@pytest.mark.parametrize("build", [coupled, layered])
def test_machines_of_it_are_saved(unit, build, tmp_path):
    energy = build(unit)
    ig.save(energy, tmp_path / "machine.safetensors")
    again = ig.load(tmp_path / "machine.safetensors")
    assert again.layers == energy.layers
    states = ig.Mixed(energy.layers).enumerate_states()
    assert torch.equal(again(states), energy(states))


@kinds
@pytest.mark.parametrize("build", [coupled, layered])
def test_pseudo_likelihood_of_it(unit, build):
    """Σ_i log p(v_i | others) from the enumerated distribution of visible states."""
    energy = build(unit)
    states = unit.enumerate_states()
    exact = torch.softmax(-energy.free_energy(states), 0)
    expected = torch.zeros(len(states), dtype=torch.float64)
    owner = unit.variable_ids()
    for number in range(unit.count):
        others = states[:, owner != number]
        same = (others[:, None] == others).all(-1)
        expected = expected + torch.log(exact / (same.double() @ exact))
    torch.testing.assert_close(pseudo_log_likelihood(energy, states), expected)


@pytest.mark.slow
@kinds
@pytest.mark.parametrize("build", [coupled, layered])
@pytest.mark.parametrize(
    "objective",
    [ExactGradient(), PseudoLikelihood(), PersistentCD(chains=200, steps=2)],
    ids=lambda one: type(one).__name__,
)
def test_machines_of_it_learn(unit, build, objective):
    """From draws of a tilted machine, the likelihood rises towards that of the truth."""
    truth, energy = build(unit), build(unit)
    for parameter in energy.parameters():
        parameter.data.mul_(0.05)
    states = unit.enumerate_states()
    with torch.no_grad():
        exact = torch.softmax(-truth.free_energy(states), 0)
    data = states[torch.multinomial(exact, 1000, replacement=True, generator=seeded())]

    def divergence():
        with torch.no_grad():
            return float(exact @ (exact.log() - torch.log_softmax(-energy.free_energy(states), 0)))

    before = divergence()
    ig.learning.fit(
        energy, data, objective=objective, epochs=25, batch_size=500, generator=seeded(),
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.05), progress=False,
    )  # fmt: skip
    assert divergence() < before / 3


def test_a_kind_of_endless_states_is_refused_by_name():
    @dataclass(frozen=True)
    class Poisson(ig.Unit):
        """Counts, whose states no list holds."""

        def log_partition(self, field, temperature=1.0):
            return field.exp().sum(-1)

        def mean(self, field, temperature=1.0):
            return field.exp()

        def sample(self, field, temperature=1.0, generator=None):
            return torch.poisson(field.exp(), generator=generator)

    assert math.isinf(Poisson(3).state_count())
    with pytest.raises(ig.errors.ParameterError, match=r"Poisson\(size=3\).*finitely many"):
        ig.BoltzmannMachine(Poisson(3))
    with pytest.raises(IntractableError, match="infinitely many"):
        Poisson(3).sampler(torch.zeros(3), 1.0)
