"""Each property catches an energy, a unit or a kernel that breaks it."""

import pytest
import torch

import isinglass as ig
from isinglass.testing import (
    PropertyViolation,
    check_batch_invariance,
    check_free_energy,
    check_gradient,
    check_mean_field,
    check_monotone,
    check_posterior_gradient,
    check_round_trip,
    check_stationary,
    check_stationary_density,
    check_unit,
)
from tests.cases import double, randomized, spins


class WrongGradient(ig.ModernHopfield):
    def grad(self, state):
        return 2 * super().grad(state)


class UphillStep(ig.ModernHopfield):
    def cccp_update(self, state):
        return 2 * state - super().cccp_update(state)


class ColdNoise(ig.ModernHopfield):
    """Forgets the thermal noise of the visible units."""

    def sweep(self, state, temperature, generator=None):
        lookup = self.hidden.sample(state @ self.patterns.mT, temperature, generator)
        return lookup @ self.patterns + 0.1 * torch.randn_like(state)


class WrongFreeEnergy(ig.RBM):
    def energy_at(self, state, temperature):
        return super().energy_at(state, temperature) + 0.1 * state[..., -1]


class LopsidedSweep(ig.RBM):
    """Draws at half the temperature it is told."""

    def sweep(self, state, temperature, generator=None):
        return super().sweep(state, temperature / 2, generator)


class OvershootingMean(ig.RBM):
    def mean_sweep(self, state, temperature):
        return 2 * super().mean_sweep(state, temperature) - state


class WrongDual(ig.RBM):
    """A mean-field free energy with the sign of its couplings turned."""

    def mean_field_energy(self, state, temperature):
        return -super().mean_field_energy(state, temperature)


class Forgetful(ig.ModernHopfield):
    def config(self):
        return super().config() | {"beta": self.beta + 1}


class MeanOfTheBatch(ig.ModernHopfield):
    def cccp_update(self, state):
        return super().cccp_update(state - 0.1 * state.mean(0))


def modern(kind: type[ig.ModernHopfield]) -> ig.ModernHopfield:
    return kind(double(4, 3, seed=1), beta=2.0)


def rbm(kind: type[ig.RBM]) -> ig.Harmonium:
    return randomized(kind(ig.Bernoulli(3), ig.Bernoulli(2)), scale=1.0)


BROKEN = {
    "gradient": lambda g: check_gradient(modern(WrongGradient), double(3, 3)),
    "monotone": lambda g: check_monotone(ig.CCCP(), modern(UphillStep), double(3, 3)),
    "batch": lambda g: check_batch_invariance(ig.CCCP(), modern(MeanOfTheBatch), double(3, 3)),
    "round trip": lambda g: check_round_trip(modern(Forgetful), double(3, 3)),
    "free energy": lambda g: check_free_energy(
        rbm(WrongFreeEnergy), ig.Bernoulli(3).enumerate_states(), 0.7
    ),
    "posterior": lambda g: check_posterior_gradient(
        rbm(WrongFreeEnergy), ig.Bernoulli(3).enumerate_states(), 0.7
    ),
    "stationary": lambda g: check_stationary(
        ig.BlockGibbs(),
        rbm(LopsidedSweep),
        ig.Bernoulli(5).enumerate_states(),
        -rbm(LopsidedSweep)(ig.Bernoulli(5).enumerate_states()).detach(),
        1.0,
        g,
    ),
    "density": lambda g: check_stationary_density(
        ig.BlockGibbs(), ColdNoise(double(3, 1), beta=1.5), -8.0, 8.0, 1 / 1.5, g
    ),
    "mean sweep": lambda g: check_mean_field(rbm(OvershootingMean), double(4, 5), 0.5),
    "mean field": lambda g: check_mean_field(rbm(WrongDual), double(4, 5), 0.5),
}


@pytest.mark.parametrize("property_name", BROKEN)
def test_broken_energies_are_caught(property_name, generator):
    with pytest.raises(PropertyViolation):
        BROKEN[property_name](generator)


class HotPartition(ig.Spin):
    def log_partition(self, field, temperature=1.0):
        return super().log_partition(field, 1.01 * temperature)


class HotMean(ig.Spin):
    def mean(self, field, temperature=1.0):
        return super().mean(field, 1.01 * temperature)


class HotSample(ig.Spin):
    def sample(self, field, temperature=1.0, generator=None):
        return super().sample(field, 1.2 * temperature, generator)


class SoftLimit(ig.Spin):
    def mean(self, field, temperature=1.0):
        return super().mean(field, temperature) if temperature else torch.tanh(field)


class NarrowSample(ig.Gaussian):
    """The right mean, half the noise."""

    def sample(self, field, temperature=1.0, generator=None):
        return super().sample(field, temperature / 2, generator)


class StraySample(ig.Bernoulli):
    def sample(self, field, temperature=1.0, generator=None):
        return super().mean(field, temperature)


class WrongInverse(ig.Spin):
    def natural_parameter(self, mean, temperature=1.0):
        return 1.01 * super().natural_parameter(mean, temperature)


class WrongConfig(ig.Spin):
    def config(self):
        return {"kind": "Spin", "size": 3}


BROKEN_UNITS = [
    HotPartition(2), HotMean(2), HotSample(2), SoftLimit(2), NarrowSample(1), StraySample(2),
    WrongInverse(2), WrongConfig(2),
]  # fmt: skip


@pytest.mark.parametrize("unit", BROKEN_UNITS, ids=lambda unit: type(unit).__name__)
def test_broken_units_are_caught(unit, generator):
    with pytest.raises(PropertyViolation):
        check_unit(unit, double(3, unit.size), 0.8, generator)


def test_undeclared_kernels_are_refused(generator):
    memory = ig.ClassicalHopfield(spins(2, 4))
    with pytest.raises(PropertyViolation, match="declare"):
        check_monotone(ig.Synchronous(), memory, spins(2, 4))
    with pytest.raises(PropertyViolation, match="declare"):
        check_stationary(
            ig.CCCP(), memory, ig.Spin(4).enumerate_states(), torch.zeros(16), 1.0, generator
        )
    with pytest.raises(PropertyViolation, match="declare"):
        check_stationary_density(ig.CCCP(), modern(ig.ModernHopfield), -1.0, 1.0, 1.0, generator)
