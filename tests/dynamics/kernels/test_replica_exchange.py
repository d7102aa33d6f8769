"""Replica exchange: the distribution it keeps, even swaps, and the way out of a mode."""

import math

import pytest
import torch

import isinglass as ig
from isinglass.dynamics import ReplicaExchange, Replicas
from isinglass.errors import IntractableError, ParameterError
from isinglass.testing import check_stationary
from isinglass.testing.property import require_chi_square
from tests.cases import deep, hopfield_boltzmann, randomized
from tests.seeds import seeded

STEPS = 100


class FromTheirDistributions(ReplicaExchange):
    """Starts every lower replica from an exact draw of its own distribution, by enumeration."""

    def init(self, energy, state):
        states = energy.enumerate_states(self.temperature)
        replicas = super().init(energy, state).replicas
        for place, level in enumerate(self.levels[:-1].tolist()):
            replicas[:, place] = draws_at(self.path, states, level, len(state), self.generator)
        replicas[:, -1] = state
        return Replicas(state, replicas)


def draws_at(path, states, level, count, generator):
    """Exact draws from p_λ: what is kept by enumeration, the rest by moves, which leave p_λ."""
    with torch.no_grad():
        probability = torch.softmax(path.log_weight(states, torch.full((len(states),), level)), 0)
        drawn = states[torch.multinomial(probability, count, replacement=True, generator=generator)]
        return path.transition(drawn, torch.full((count,), level), generator)


@pytest.mark.parametrize(
    ("build", "temperature"),
    [
        (lambda: randomized(ig.RBM(ig.Spin(2), ig.Categorical(3)), scale=1.5), 0.7),
        (lambda: randomized(ig.RBM(ig.Bernoulli(3), ig.Spin(1)), scale=1.5), 1.0),
        (deep, 1.3),
        (lambda: hopfield_boltzmann(ig.Spin(2), draws=3, beta=2.0), 1 / 6),
        (lambda: hopfield_boltzmann(ig.Spin(2), groups=2, draws=2, beta=2.0), 1 / 4),
    ],
    ids=["spins", "bits", "deep", "draws", "groups"],
)
def test_the_distribution_is_kept(build, temperature, generator):
    machine = build()
    levels = torch.tensor([0.0, 0.3, 0.5, 1.0], dtype=torch.float64)
    kernel = FromTheirDistributions(machine, levels, temperature=temperature, generator=generator)
    states = machine.enumerate_states(temperature)
    with torch.no_grad():
        weights = -machine.energy_at(states, temperature) / temperature
    check_stationary(kernel, machine, states, weights, temperature, generator, steps=3)


def test_every_level_keeps_its_distribution(generator):
    machine = randomized(ig.RBM(ig.Spin(3), ig.Spin(2)), scale=1.0)
    levels = torch.tensor([0.0, 0.2, 0.6, 1.0], dtype=torch.float64)
    kernel = FromTheirDistributions(machine, levels, generator=generator)
    states = machine.enumerate_states()
    with torch.no_grad():
        probability = torch.softmax(-machine(states), 0)
        start = states[
            torch.multinomial(probability, 30_000, replacement=True, generator=generator)
        ]
    kernel_state = kernel.init(machine, start)
    for _ in range(2):
        kernel_state, info = kernel.step(machine, kernel_state, 1.0, generator)
    assert info["acceptance"].shape == (30_000, 3)
    assert ((info["acceptance"] > 0) & (info["acceptance"] <= 1)).all()
    assert torch.equal(kernel_state.position, kernel_state.replicas[:, -1])
    hidden = ig.Spin(2).enumerate_states()  # spins of three are summed out of the weights
    kept = torch.cat([torch.ones(4, 3).double(), hidden], -1)
    for place, level in enumerate(levels.tolist()):
        with torch.no_grad():
            weights = kernel.path.log_weight(kept, torch.full((4,), level))
        which = torch.cdist(kernel_state.replicas[:, place, 3:], hidden).argmin(-1)
        counts = torch.bincount(which, minlength=4).double()
        require_chi_square(f"level {level}", counts, torch.softmax(weights, 0))


def two_modes() -> tuple[ig.RBM, float]:
    """Ten spins on one Gaussian unit: 32 nats deep on both sides, and a small field."""
    machine = ig.RBM(ig.Spin(10), ig.Gaussian(1)).double()
    machine.weights[0].data.fill_(0.8)
    machine.biases[0].data.fill_(0.03)
    states = ig.Spin(10).enumerate_states()
    probability = torch.softmax(-machine.free_energy(states).detach(), 0)
    up = (states.sum(-1).sign() + 1) / 2
    return machine, float(probability @ up)


@pytest.mark.slow
@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_chains_leave_the_mode_they_start_in(side, generator):
    machine, exact = two_modes()
    start = machine.extend(torch.full((1000, 10), side, dtype=torch.float64))
    kernel = ReplicaExchange.tune(machine, rounds=2, generator=generator)
    for sampler, moves in ((kernel, True), (ig.BlockGibbs(), False)):
        end = ig.run(
            sampler, machine, start, steps=STEPS, temperature=1.0, generator=generator
        )  # fmt: skip
        weight = float(((end[:, :10].sum(-1).sign() + 1) / 2).mean())
        if moves:
            assert abs(weight - exact) < 5 * math.sqrt(exact * (1 - exact) / 1000)
        else:
            assert weight == (side > 0)


def test_levels_are_tuned_to_trade_equally_often(generator):
    machine, _ = two_modes()
    kernel = ReplicaExchange.tune(machine, acceptance=0.6, generator=generator)
    kernel_state = kernel.init(machine, machine.extend(torch.ones(200, 10).double()))
    rates = []
    for _ in range(60):
        kernel_state, info = kernel.step(machine, kernel_state, 1.0, generator)
        rates.append(info["acceptance"].mean(0))
    mean = torch.stack(rates[20:]).mean(0)
    assert ((mean > 0.5) & (mean < 0.75)).all()
    fewer = ReplicaExchange.tune(machine, acceptance=0.3, generator=generator)
    assert len(fewer.levels) < len(kernel.levels)


def test_a_ladder_of_draws_starts_from_exact_mixtures(generator):
    """Two far memories, one heavier: all start at the lighter one; m = 1 … 6 finds the weights."""
    patterns = 2.0 * torch.ones(2, 8, dtype=torch.float64)
    patterns[1] = -2.0
    machine = ig.HopfieldBoltzmann.from_patterns(ig.Spin(8), patterns, draws=6)
    machine.memory_bias.data = torch.tensor([0.0, 0.1]).double()
    states = ig.Spin(8).enumerate_states()
    probability = torch.softmax(-machine.free_energy(states).detach() / machine.temperature, 0)
    exact = float(probability @ (states.sum(-1) < 0).double())
    kernel = ReplicaExchange(machine, 6, generator=generator)
    torch.testing.assert_close(kernel.levels, torch.linspace(0, 1, 6, dtype=torch.float64))
    start = machine.extend(torch.ones(1000, 8).double())
    end = ig.run(
        kernel, machine, start, steps=40, temperature=machine.temperature, generator=generator
    )
    machine.check_state(end)
    weight = float((end[:, :8].sum(-1) < 0).double().mean())
    assert abs(weight - exact) < 5 * math.sqrt(exact * (1 - exact) / 1000)


def test_the_same_generator_gives_the_same_chains():
    machine = deep()
    ends = []
    for _ in range(2):
        generator = seeded(5)
        kernel = ReplicaExchange(machine, 4, generator=generator)
        start = machine.extend(torch.zeros(6, 3).double())
        ends.append(ig.run(kernel, machine, start, steps=4, temperature=1.0, generator=generator))
    assert torch.equal(*ends)


def test_another_energy_or_temperature_is_refused():
    machine = deep()
    kernel = ReplicaExchange(machine, 4)
    start = machine.extend(torch.zeros(6, 3).double())
    with pytest.raises(ParameterError, match="not built for"):
        kernel.init(deep(), start)
    with pytest.raises(ParameterError, match="not built for"):
        kernel.step(deep(), kernel.init(machine, start), 1.0)
    with pytest.raises(ParameterError, match="temperature"):
        kernel.step(machine, kernel.init(machine, start), 0.5)
    for levels in ([0.0, 0.5], [0.0, 0.5, 0.5, 1.0], [0.2, 1.0], [1.0], [0.0, 0.7, 0.6, 1.0]):
        with pytest.raises(ParameterError, match="rise"):
            ReplicaExchange(machine, torch.tensor(levels))
    with pytest.raises(ParameterError, match="count"):
        ReplicaExchange(machine, 1)
    for acceptance in (0.0, 1.0, 2.0):
        with pytest.raises(ParameterError, match="acceptance"):
            ReplicaExchange.tune(machine, acceptance=acceptance)
    with pytest.raises(ParameterError, match="temperature"):
        ReplicaExchange(machine, temperature=-1.0)
    with pytest.raises(IntractableError, match="path"):
        ReplicaExchange(ig.ModernHopfield(torch.eye(3)))
