"""The path of the general Boltzmann machine, from units alone to the machine."""

import math

import pytest
import torch

import isinglass as ig
from isinglass.testing import check_stationary
from tests.cases import double
from tests.energies.pairwise.machines import machine, machines
from tests.seeds import seeded


@machines
def test_the_path_leads_from_units_alone_to_the_machine(name):
    energy = machine(name)
    states = energy.unit.enumerate_states()
    path = energy.path(0.8)
    zero, one, half = (torch.full((len(states),), level).double() for level in (0.0, 1.0, 0.5))
    with torch.no_grad():
        felt = energy.local_field(energy.unit.mean(0 * energy.biases, 0.8))
        torch.testing.assert_close(path.base, felt)
        alone = (states @ felt - energy.unit.base_measure_energy(states, 0.8)) / 0.8
        torch.testing.assert_close(path.log_weight(states, zero), alone)
        torch.testing.assert_close(
            path.log_weight(states, one), -energy.energy_at(states, 0.8) / 0.8
        )
    torch.testing.assert_close(path.base_log_partition, alone.logsumexp(0).detach())
    between = (path.log_weight(states, zero) + path.log_weight(states, one)) / 2
    torch.testing.assert_close(path.log_weight(states, half), between)
    torch.testing.assert_close(path.log_ratio(states, zero, half), between - alone.detach())


class Along(ig.dynamics.Kernel):
    """The path's own steps at one level, as a kernel."""

    leaves_invariant = True

    def __init__(self, path, level):
        self.path, self.level = path, level

    def init(self, energy, state):
        return ig.dynamics.KernelState(state)

    def step(self, energy, kernel_state, temperature=0.0, generator=None):
        levels = torch.full((len(kernel_state.position),), self.level, dtype=torch.float64)
        return type(kernel_state)(
            self.path.transition(kernel_state.position, levels, generator)
        ), {}


@pytest.mark.parametrize(
    "name", ["spins, all joined", "even torus", "one-hot edges", "mixed, a mask"]
)
def test_steps_along_the_path_keep_each_level(name, generator):
    energy = machine(name)
    states = energy.unit.enumerate_states()
    data = energy.unit.sample(double(30, energy.unit.size), 1.0, seeded())
    path = energy.path(0.9, data)
    levels = torch.full((len(states),), 0.4, dtype=torch.float64)
    weights = path.log_weight(states, levels)
    check_stationary(Along(path, 0.4), energy, states, weights, 0.9, generator, samples=20_000)
    drawn = path.draw_base(20_000, generator)
    mean = (30 * data.mean(0) + energy.unit.mean(0 * data[0])) / 31
    assert (drawn.mean(0) - mean).abs().max() < 5 / math.sqrt(20_000)


@pytest.mark.parametrize("name", ["spins, all joined", "odd torus"])
def test_steps_along_the_path_are_in_detailed_balance(name, generator):
    """Drawn from p, a step from one state to another is as frequent as back: by energies, 5 σ."""
    energy = machine(name)
    states = energy.unit.enumerate_states()
    path = energy.path(1.0)
    assert path.reversible
    level = torch.full((len(states),), 0.7, dtype=torch.float64)
    probability = torch.softmax(path.log_weight(states, level), 0)
    chosen = torch.multinomial(probability, 200_000, replacement=True, generator=generator)
    start = states[chosen]
    steps = [
        path.transition(rows, level[:1].expand(len(rows)), generator) for rows in start.chunk(200)
    ]
    before, after = _mark(start), _mark(torch.cat(steps))  # chunks, as each has a coin of its own
    skew = before * after**2 - after * before**2
    assert abs(float(skew.mean())) < 5 * float(skew.std()) / math.sqrt(len(skew))


def _mark(state):
    return state[:, 0] + state[:, 1] * state[:, 2] + 2 * state[:, 3]


@pytest.mark.parametrize("name", ["ring", "even torus of bits", "Potts"])
def test_the_easy_end_leans_to_no_side_of_a_symmetric_machine(name):
    """Bits that repay company as much as they cost are spins in disguise."""
    energy = machine(name)
    with torch.no_grad():
        half = energy.unit.mean(0 * energy.biases)
        energy.bias.zero_()
        if isinstance(energy.unit, ig.Bernoulli):
            energy.bias.copy_(-energy.local_field(half)[: len(energy.bias)])
    base = energy.path().base.unflatten(-1, (-1, energy.couplings.components))
    torch.testing.assert_close(base - base.mean(-1, keepdim=True) * (base.shape[-1] > 1), 0 * base)


@machines
def test_log_z_has_the_gradient_of_finite_differences(name):
    """Of enumeration, transfer matrices and Kaufman's formula."""
    energy = machine(name)

    def log_z(number, entry=None, step=0.0):
        parameter = list(energy.parameters())[number]
        if entry is not None:
            parameter.data.view(-1)[entry] += step
        found = energy.exact_log_partition(1.3)
        if entry is not None:
            parameter.data.view(-1)[entry] -= step
        return found

    parameters = list(energy.parameters())
    slopes = torch.autograd.grad(log_z(0), parameters, allow_unused=True)
    for number, slope in enumerate(slopes):
        if slope is None:  # Kaufman's has no field, and none by symmetry
            assert not parameters[number].any()
            continue
        for entry in range(min(slope.numel(), 4)):
            rise = log_z(number, entry, 1e-5) - log_z(number, entry, -1e-5)
            assert abs(rise.item() / 2e-5 - slope.view(-1)[entry].item()) < 1e-6


def test_rows_may_stand_at_different_levels(generator):
    energy = machine("spins, all joined")
    path = energy.path()
    ends, states = (0.0, 1.0), ig.Spin(6).enumerate_states()
    chances = [path.log_weight(states, torch.full((64,), e).double()).softmax(0) for e in ends]
    drawn = [torch.multinomial(p, 10_000, True, generator=generator) for p in chances]
    level = torch.tensor(ends).double().repeat_interleave(10_000)
    state = states[
        torch.cat(drawn)
    ]  # exact at each level, so that it stays whatever mixes how fast
    for _ in range(3):
        state = path.transition(state, level, generator)
    for rows, probability in zip(state.split(10_000), chances, strict=True):
        assert (rows.mean(0) - probability @ states).abs().max() < 5 / math.sqrt(10_000)


def test_annealing_finds_the_partition_function(generator):
    energy = machine("odd torus")
    path = energy.path(1.0)
    state, weight = path.draw_base(500, generator), torch.zeros(500).double()
    for start, end in torch.linspace(0, 1, 50).double().unfold(0, 2, 1):
        weight += path.log_ratio(state, start.expand(500), end.expand(500))
        state = path.transition(state, end.expand(500), generator)
    found = path.base_log_partition + weight.logsumexp(0) - math.log(500)
    spread = weight.sub(weight.amax()).exp()
    error = float(spread.std() / spread.mean()) / math.sqrt(500)
    assert abs((found - energy.exact_log_partition(1.0)).item()) < 5 * error
