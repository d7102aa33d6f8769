"""Every kernel keeps what it declares, on every energy it moves."""

import pytest
import torch

import isinglass as ig
from isinglass.testing import (
    check_batch_invariance,
    check_mean_field,
    check_monotone,
    check_stationary,
    check_stationary_density,
)
from tests.cases import ENERGIES, deep, double, hopfield_boltzmann, randomized, spins
from tests.seeds import seeded

MOVES = [
    pytest.param(case, build, id=f"{build.__name__} on {case.name}")
    for case in ENERGIES
    for build in case.kernels
]


@pytest.mark.parametrize(("case", "build"), MOVES)
def test_descent_never_raises_the_energy(case, build):
    check_monotone(build(), case.build(), case.legal())


# A random order is drawn for the whole batch at once, so a row alone has another order.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "build"),
    [
        m
        for m in MOVES
        if m.values[1]().converges and getattr(m.values[1](), "generator", None) is None
    ],
)
def test_a_row_does_not_depend_on_its_neighbors(case, build):
    check_batch_invariance(build(), case.build(), case.legal()[:7])


@pytest.mark.parametrize("temperature", [0.6, 1.0, 2.0])
@pytest.mark.parametrize(
    "build",
    [
        lambda: randomized(ig.RBM(ig.Bernoulli(3), ig.Spin(2))),
        lambda: randomized(ig.RBM(ig.Spin(2), ig.Categorical(3))),
        lambda: randomized(ig.RBM(ig.Categorical(3), ig.Bernoulli(2))),
        deep,
    ],
    ids=["RBM", "spins to one-hot", "one-hot to bits", "three layers"],
)
def test_block_gibbs_keeps_the_exact_distribution(build, temperature, generator):
    machine = build()
    states = machine.enumerate_states(temperature)
    with torch.no_grad():
        weights = -machine.energy_at(states, temperature) / temperature
    check_stationary(ig.BlockGibbs(), machine, states, weights, temperature, generator)


@pytest.mark.parametrize("draws", [1, 2, 4])
@pytest.mark.parametrize("groups", [1, 2])
def test_hopfield_boltzmann_at_every_number_of_draws(draws, groups, generator):
    """Joint states of spins and counts keep exp(−E/T) at T = 1/(mβ)."""
    machine = hopfield_boltzmann(ig.Spin(2), groups=groups, draws=draws)
    states = machine.enumerate_states()
    with torch.no_grad():
        weights = -machine(states) / machine.temperature
    check_stationary(ig.BlockGibbs(), machine, states, weights, machine.temperature, generator)


@pytest.mark.parametrize("draws", [1, 3, 10])
def test_modern_hopfield_at_every_number_of_draws(draws, generator):
    memory = ig.ModernHopfield(torch.tensor([[1.2], [-0.7], [0.1]]).double(), beta=1.5)
    check_stationary_density(ig.BlockGibbs(), memory, -8.0, 8.0, 1 / (draws * 1.5), generator)


@pytest.mark.parametrize("random_order", [False, True])
@pytest.mark.parametrize(
    ("build", "temperature"),
    [
        (lambda: ig.ClassicalHopfield(spins(2, 4, seed=3)), 3.0),
        (lambda: ig.DenseMemory(spins(3, 4, seed=3), degree=3), 15.0),
        (lambda: ig.DenseMemory(spins(3, 4, seed=3), degree=3, rectified=False), 15.0),
    ],
    ids=["classical", "dense", "dense, not rectified"],
)
def test_single_site_keeps_the_exact_distribution(build, temperature, random_order, generator):
    memory = build()
    states = ig.Spin(4).enumerate_states()
    order = seeded(1) if random_order else None
    weights = -memory(states) / temperature
    check_stationary(ig.SingleSite(order), memory, states, weights, temperature, generator, steps=6)


@pytest.mark.parametrize("temperature", [0.3, 1.0])
def test_mean_sweep_never_raises_the_mean_field_free_energy(temperature):
    check_mean_field(deep(), double(8, 7), temperature)
    check_mean_field(
        randomized(ig.RBM(ig.Gaussian(3), ig.Bernoulli(3)), scale=0.3), double(8, 6), 0.5
    )


def test_ties_keep_the_current_value():
    """Without weights no unit feels a field: at T = 0 every sweep leaves everything as it is."""
    machine = ig.Harmonium(
        [ig.Bernoulli(3), ig.Spin(2), ig.Categorical(3)], [(0, 1), (0, 2)], scale=0.0
    )
    state = torch.tensor([[1.0, 0, 1, -1, 1, 0, 1, 0], [0, 0, 1, 1, 1, 0, 0, 1]])
    with torch.no_grad():
        assert torch.equal(machine.sweep(state, 0.0), state)
        assert torch.equal(machine.mean_sweep(state, 0.0), state)


def test_mean_sweep_never_raises_the_energy_at_zero_temperature():
    machine, state = deep(), torch.cat([spins(8, 3).gt(0).double(), spins(8, 4)], -1)
    state[:, 5:] = state[:, 5:].gt(0).double()
    with torch.no_grad():
        for _ in range(10):
            after = machine.mean_sweep(state, 0.0)
            assert (machine(after) <= machine(state) + 1e-12).all()
            state = after
