"""General Boltzmann machines of every kind, by name."""

import pytest
import torch

import isinglass as ig
from isinglass.energies import Couplings, DenseCouplings, GridCouplings, SparseCouplings
from tests.cases import double, symmetric

TRIANGLE = [(0, 1), (1, 2), (2, 0), (3, 2)]


class Ring(Couplings):
    """A form of a user's own: the one required method."""

    def forward(self, state):
        return 0.4 * (state.roll(1, -1) + state.roll(-1, -1))


MIXED = ig.Mixed([ig.Spin(2), ig.Categorical(3), ig.Bernoulli(1), ig.Multinomial(3, draws=2)])


def mixed_couplings() -> torch.Tensor:
    """Random couplings of all units of MIXED to all others."""
    unit = MIXED.variable_ids()
    return symmetric(MIXED.size) * (unit[:, None] != unit)


MACHINES = {
    "spins, all joined": lambda: ig.BoltzmannMachine(ig.Spin(6), symmetric(6), double(6)),
    "bits, all joined": lambda: ig.BoltzmannMachine(
        ig.Bernoulli(6), symmetric(6, scale=1.0), double(6)
    ),
    "one-hot, all joined": lambda: ig.BoltzmannMachine(
        ig.Categorical(12, groups=4), symmetric(4, 3), double(3)
    ),
    "spins, a mask": lambda: ig.BoltzmannMachine(
        ig.Spin(5), DenseCouplings.of(symmetric(5)).masked(torch.eye(5).roll(1, 0).bool())
    ),
    "edges": lambda: ig.BoltzmannMachine(ig.Spin(5), SparseCouplings(5, TRIANGLE, double(4))),
    "one-hot edges": lambda: ig.BoltzmannMachine(
        ig.Categorical(8, groups=4), SparseCouplings(4, TRIANGLE, double(4), 2), double(8)
    ),
    "odd torus": lambda: ig.BoltzmannMachine.ising(3, 3, coupling=[0.4, -0.3], field=0.2),
    "even torus": lambda: ig.BoltzmannMachine.ising(2, 4, coupling=0.3, field=0.1),
    "antiferromagnet": lambda: ig.BoltzmannMachine.ising(2, 4, coupling=-0.4, field=0.3),
    "even torus of bits": lambda: ig.BoltzmannMachine(
        ig.Bernoulli(8), GridCouplings((2, 4), 0.7), torch.tensor([-0.9])
    ),
    "cube": lambda: ig.BoltzmannMachine.ising(2, 2, 2, coupling=0.3),
    "ring": lambda: ig.BoltzmannMachine.ising(8, coupling=0.8),
    "open grid": lambda: ig.BoltzmannMachine.ising(3, 3, coupling=double(2, 3, 3), periodic=False),
    "Potts": lambda: ig.BoltzmannMachine.potts(2, 3, states=2, field=[0.1, 0.4]),
    "averages, all joined": lambda: ig.BoltzmannMachine(
        ig.Multinomial(9, draws=2, groups=3), symmetric(3, 3), double(9)
    ),
    "a grid of averages": lambda: ig.BoltzmannMachine(
        ig.Multinomial(8, draws=3, groups=4), GridCouplings((2, 2), 0.9, components=2), double(2)
    ),
    "mixed, all joined": lambda: ig.BoltzmannMachine(MIXED, mixed_couplings(), double(9)),
    "mixed, a mask": lambda: ig.BoltzmannMachine(
        MIXED,
        DenseCouplings.of(mixed_couplings(), MIXED.widths).masked(torch.eye(5).roll(1, 0).bool()),
        double(9),
    ),
    "a grid of spins and bits": lambda: ig.BoltzmannMachine(
        ig.Mixed([ig.Spin(3), ig.Bernoulli(3)]), GridCouplings((2, 3), 0.6), double(6)
    ),
    "a user's own": lambda: ig.BoltzmannMachine(ig.Spin(6), Ring(6)),
}
machines = pytest.mark.parametrize("name", MACHINES)


def machine(name: str) -> ig.BoltzmannMachine:
    return MACHINES[name]().double()


def touching(couplings: Couplings) -> torch.Tensor:
    """Which units are joined, from W itself."""
    belongs = torch.nn.functional.one_hot(couplings.variable_ids).to(couplings.matrix())
    return belongs.mT @ couplings.matrix().detach().abs() @ belongs > 0
