"""Grids: neighbors, colors, the torus in bytes, partition functions."""

import math

import pytest
import torch

import isinglass as ig
from isinglass.energies import GridCouplings
from isinglass.energies.pairwise._checkerboard import Checkerboard
from isinglass.energies.pairwise._ising_torus import ising_log_partition
from tests.cases import double, spins
from tests.seeds import seeded

CRITICAL = 2 / math.log(1 + math.sqrt(2))
ALIKE = {"shape": (4, 6), "states": (-1.0, 1.0), "device": torch.device("cpu")}


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("shape", [(4, 5), (2, 3), (1, 4), (5,), (2, 3, 4)])
def test_the_field_is_the_sum_over_bonds(shape, periodic):
    coupling = double(len(shape), *shape)
    couplings = GridCouplings(shape, coupling, periodic=periodic)
    weight = torch.zeros(couplings.units, couplings.units).double()
    numbers = torch.arange(couplings.units).reshape(shape)
    for axis, side in enumerate(shape):
        for place in torch.ones(shape).nonzero().tolist():
            ahead = list(place)
            ahead[axis] = (place[axis] + 1) % side
            if side > 1 and (periodic or ahead[axis] > 0):
                one, other = numbers[tuple(place)], numbers[tuple(ahead)]
                weight[one, other] += coupling[(axis, *place)]
                weight[other, one] += coupling[(axis, *place)]
    torch.testing.assert_close(couplings.matrix().detach(), weight)
    near = [row.nonzero()[:, 0].tolist() for row in weight]
    assert couplings.neighbors() == near


@pytest.mark.parametrize(
    ("shape", "periodic", "colors"),
    [((4, 6), True, 2), ((3, 4), True, 3), ((5, 5), True, 3), ((5, 5), False, 2), ((1, 1), True, 1),
     ((2, 2, 2), True, 2), ((7,), True, 3), ((1, 5), False, 2), ((2, 3), True, 3)],
)  # fmt: skip
def test_colors_are_proper_and_few(shape, periodic, colors):
    couplings = GridCouplings(shape, periodic=periodic)
    classes = couplings.colors()
    assert len(classes) == colors
    assert sorted(torch.cat(classes).tolist()) == list(range(couplings.units))
    near = couplings.neighbors()
    for units in map(set, (units.tolist() for units in classes)):
        assert not any(units.intersection(near[unit]) for unit in units)


@pytest.mark.parametrize("shape", [(2, 2), (3, 4), (4, 3), (5, 5), (2, 7), (8, 6)])
@pytest.mark.parametrize("coupling", [1.0, [0.5, 0.9], [1.3, 0.2]])
def test_kaufmans_formula_is_the_product_of_transfer_matrices(shape, coupling, monkeypatch):
    ising = ig.BoltzmannMachine.ising(*shape, coupling=coupling).double()
    temperatures = (0.3, CRITICAL, 6.0)
    closed = [ising.exact_log_partition(t) for t in temperatures]
    monkeypatch.setattr(GridCouplings, "_closed_form", lambda *_: None)
    for temperature, found in zip(temperatures, closed, strict=True):
        torch.testing.assert_close(found, ising.exact_log_partition(temperature))


def test_kaufmans_formula_knows_its_bounds(monkeypatch):
    """Signs of J on even sides are free; fields, odd frustrated rings and one row are not its."""
    frustrated = [
        ig.BoltzmannMachine.ising(4, 6, coupling=[-0.5, 0.9]),
        ig.BoltzmannMachine.ising(3, 5, coupling=-0.5),
        ig.BoltzmannMachine.ising(4, 4, field=0.3),
        ig.BoltzmannMachine.ising(1, 6),
        ig.BoltzmannMachine.potts(4, 4, states=2),
    ]
    found = [machine.double().exact_log_partition(1.5) for machine in frustrated]
    monkeypatch.setattr(GridCouplings, "_closed_form", lambda *_: None)
    for machine, value in zip(frustrated, found, strict=True):
        torch.testing.assert_close(value, machine.exact_log_partition(1.5))


def test_kaufmans_formula_tends_to_onsagers():
    """Without end at T_c: log Z / N = ½ log 2 + 2 G / π, G Catalan's constant."""
    critical = 1 / CRITICAL
    catalan = 0.915965594177219015
    found = float(ising_log_partition(2000, 2000, critical, critical)) / 2000**2
    assert abs(found - math.log(2) / 2 - 2 * catalan / math.pi) < 1e-6
    assert math.isfinite(float(ising_log_partition(100, 100, 1e3, 1e3)))


@pytest.mark.parametrize("shape", [(4, 6), (2, 2), (8,), (2, 4, 6)])
@pytest.mark.parametrize("unit", [ig.Spin(1), ig.Bernoulli(1)])
def test_packed_and_unpacked_is_the_state(shape, unit):
    board = Checkerboard(shape, unit.two_states, 1.0, 0.0, 1.0, torch.device("cpu"))
    size = math.prod(shape)
    state = unit.sample(double(5, size), 1.0, seeded())
    halves = board.pack(state)
    assert torch.equal(board.unpack(halves, state.dtype), state)
    colors = GridCouplings(shape).colors()
    for half, units in zip(halves, colors, strict=True):
        assert torch.equal(half.flatten(1).sum(-1), (state[:, units] == unit.high).sum(-1))


@pytest.mark.parametrize("coupling", [1.0, -0.6])
@pytest.mark.parametrize("temperature", [0.8, CRITICAL, 1e3])
def test_bytes_keep_the_exact_distribution(coupling, temperature):
    """P(n ≥ c) = P(high | n) to 5 σ of 2²⁰ draws, where whole bytes would be out by up to 25 σ."""
    board = Checkerboard(**ALIKE, coupling=coupling, field=0.07, temperature=temperature)
    many = 2**20 // 12
    cuts = board._cuts(torch.empty(many, 4, 3, dtype=torch.int8), seeded())
    for high in range(5):
        near = 4 - high if coupling < 0 else high
        probability = torch.sigmoid(
            torch.tensor(2 * (coupling * (2 * high - 4) + 0.07) / temperature)
        )
        found = (near >= cuts).double().mean()
        spread = math.sqrt(float(probability * (1 - probability)) / cuts.numel())
        assert abs(float(found - probability)) < 5 * spread + 1e-9


@pytest.mark.parametrize("temperature", [0.02, 1.3, CRITICAL, 4.0])
def test_log_z_of_a_torus_has_the_slope_of_finite_differences(temperature, monkeypatch):
    """Kaufman's formula, at its kink too, and transfer matrices whose weights underflow."""
    found = []
    for formula in (True, False):
        if not formula:
            monkeypatch.setattr(GridCouplings, "_closed_form", lambda *_: None)
        ising = ig.BoltzmannMachine.ising(4, 3).double()
        (coupling,) = ising.couplings.parameters()
        (slope,) = torch.autograd.grad(ising.exact_log_partition(temperature), coupling)
        step = torch.tensor([1e-5, 0.0]).double()
        with torch.no_grad():
            coupling += step
            high = ising.exact_log_partition(temperature)
            coupling -= 2 * step
            low = ising.exact_log_partition(temperature)
        assert abs((high - low).item() / 2e-5 - slope[0].item()) < 1e-5 / temperature
        found.append(slope)
    torch.testing.assert_close(*found)


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [1.8, CRITICAL, 4.0])
def test_sampled_energies_are_the_slope_of_log_z(temperature, monkeypatch):
    """⟨E⟩ = T² ∂ log Z/∂T, of chains in bytes and of those drawn by colors."""
    ising = ig.BoltzmannMachine.ising(6, 4).double()
    step = 1e-4
    above, below = (ising.exact_log_partition(temperature + s).item() for s in (step, -step))
    exact = temperature**2 * (above - below) / (2 * step)
    start = torch.ones(2000, 24).double()
    fast = ising.sweep(start, temperature, seeded(), sweeps=200)
    monkeypatch.setattr(GridCouplings, "_common", lambda *_: None)
    plain = ising.sweep(start, temperature, seeded(), sweeps=200)
    for state in (fast, plain):
        energies = ising(state).detach()
        error = float(energies.std()) / math.sqrt(2000)
        assert abs(float(energies.mean()) - exact) < 5 * error


def test_the_same_generator_draws_the_same():
    ising = ig.BoltzmannMachine.ising(8, 8)
    start = spins(3, 64).float()
    once = ising.sweep(start, 2.0, seeded(), sweeps=3)
    assert torch.equal(once, ising.sweep(start, 2.0, seeded(), sweeps=3))
    generator = seeded()
    for _ in range(3):
        start = ising.sweep(start, 2.0, generator)
    assert torch.equal(once, start)


def test_bonds_are_learned():
    """Samples of a grid of unequal couplings tell them by pseudo-likelihood."""
    true = torch.tensor([0.3, -0.4])
    ising = ig.BoltzmannMachine.ising(8, 8, coupling=true)
    data = ising.sweep(torch.ones(500, 64), 1.0, seeded(), sweeps=50)
    fit = ig.BoltzmannMachine.ising(8, 8, coupling=[0.0, 0.0])
    optimizer = torch.optim.LBFGS(fit.couplings.parameters(), max_iter=20)

    def loss():
        optimizer.zero_grad()
        odds = torch.nn.functional.softplus(-2 * data * fit.local_field(data)).mean()
        odds.backward()
        return odds

    optimizer.step(loss)
    torch.testing.assert_close(fit.couplings.coupling.detach(), true, atol=0.03, rtol=0)


def test_every_bond_may_have_its_own(tmp_path):
    couplings = GridCouplings((3, 4), 0.5, per_bond=True, periodic=False)
    assert couplings.coupling.shape == (2, 3, 4)
    machine = ig.BoltzmannMachine(ig.Spin(12), couplings)
    state = spins(5, 12).float()
    torch.testing.assert_close(
        machine(state), ig.BoltzmannMachine.ising(3, 4, coupling=0.5, periodic=False)(state)
    )
    ig.save(machine, tmp_path / "grid.safetensors")
    assert torch.equal(ig.load(tmp_path / "grid.safetensors")(state), machine(state))
