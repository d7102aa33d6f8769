"""Every energy keeps the properties of energies."""

import pytest

import isinglass as ig
from isinglass.testing import (
    check_free_energy,
    check_gradient,
    check_posterior_gradient,
    check_round_trip,
)
from tests.cases import ENERGIES, deep, double, hopfield_boltzmann, randomized, spins


@pytest.mark.parametrize("case", ENERGIES, ids=str)
def test_gradient_is_the_finite_difference(case):
    check_gradient(case.build(), case.states())


@pytest.mark.parametrize(
    "case", [case for case in ENERGIES if "Marginal" not in case.name], ids=str
)
def test_save_then_load_is_the_identity(case):
    check_round_trip(case.build(), case.states())


MACHINES = {
    "bits to bits": (
        lambda: randomized(ig.RBM(ig.Bernoulli(4), ig.Bernoulli(3))),
        ig.Bernoulli(4),
        None,
    ),
    "spins to bits": (lambda: randomized(ig.RBM(ig.Spin(4), ig.Bernoulli(3))), ig.Spin(4), None),
    "Gaussian to spins": (lambda: randomized(ig.RBM(ig.Gaussian(2), ig.Spin(3))), None, None),
    "one group": (lambda: hopfield_boltzmann(ig.Spin(4)), ig.Spin(4), 1 / 0.7),
    "two groups": (lambda: hopfield_boltzmann(ig.Bernoulli(4), groups=2), ig.Bernoulli(4), 1 / 0.7),
    "three draws": (lambda: hopfield_boltzmann(ig.Spin(4), draws=3), ig.Spin(4), 1 / 2.1),
    "two groups, two draws": (
        lambda: hopfield_boltzmann(ig.Spin(3), groups=2, draws=2),
        ig.Spin(3),
        1 / 1.4,
    ),
}


@pytest.mark.parametrize("name", MACHINES)
def test_free_energy_is_the_enumeration(name):
    build, visible, temperature = MACHINES[name]
    states = double(6, 2) if visible is None else visible.enumerate_states()
    for t in [temperature] if temperature else [0.4, 1.0, 2.0]:
        check_free_energy(build(), states, t)
        check_posterior_gradient(build(), states, t)


def test_free_energy_of_a_line_of_layers_is_refused():
    with pytest.raises(ig.errors.IntractableError, match="joined to each other"):
        deep().free_energy(double(2, 3).gt(0).double())


def test_layers_side_by_side_have_a_free_energy():
    star = randomized(ig.Harmonium([ig.Spin(3), ig.Bernoulli(2), ig.Spin(2)], [(0, 1), (0, 2)]))
    check_free_energy(star, spins(6, 3), 0.7)
