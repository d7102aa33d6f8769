"""The skeletons of docs/extend keep the properties that whoever copies them is held to."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

import isinglass as ig
from isinglass.testing import (
    check_gradient,
    check_monotone,
    check_path,
    check_round_trip,
    check_stationary,
    check_unit,
)
from tests.cases import double, spins

FOLDER = Path(__file__).parents[2] / "docs" / "extend"


def skeleton(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"skeleton_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_unit(temperature, generator):
    field = torch.cat([double(4, 2), 3 * double(2, 2, seed=1)])
    check_unit(skeleton("unit").Ternary(2), field, temperature, generator)


def test_unit_makes_a_machine(generator):
    machine = ig.RBM(skeleton("unit").Ternary(2), ig.Bernoulli(2), scale=1.0).double()
    states = machine.enumerate_states()
    weights = -machine(states).detach()
    check_stationary(ig.BlockGibbs(), machine, states, weights, 1.0, generator, samples=10_000)
    torch.testing.assert_close(machine.exact_log_partition().detach(), weights.logsumexp(0))


def test_energy_with_its_own_path(generator):
    energy, states = skeleton("energy").CurieWeiss(4), ig.Spin(4).enumerate_states()
    check_gradient(energy, double(5, 4))
    check_round_trip(energy, spins(5, 4))
    check_monotone(ig.BlockGibbs(), energy, spins(16, 4))
    weights = -energy(states).detach() / 0.7
    torch.testing.assert_close(energy.exact_log_partition(0.7).detach(), weights.logsumexp(0))
    check_stationary(ig.BlockGibbs(), energy, states, weights, 0.7, generator, samples=10_000)
    check_path(energy.path(0.7), energy, states, 0.7, generator, lambdas=(0.5,))
    assert float(ig.log_partition(energy).value) == float(energy.exact_log_partition().detach())


def test_kernel(generator):
    machine, states = (
        ig.BoltzmannMachine(ig.Spin(3), scale=0.5).double(),
        ig.Spin(3).enumerate_states(),
    )
    kernel, weights = skeleton("kernel").MetropolisFlip(), -machine(states).detach()
    check_stationary(kernel, machine, states, weights, 1.0, generator, samples=10_000, steps=3)
    check_monotone(kernel, machine, spins(16, 3))


def test_path(generator):
    memory, states = ig.ClassicalHopfield(spins(2, 4, seed=3)), ig.Spin(4).enumerate_states()
    path = skeleton("path").ScaledEnergyPath(memory, 4, 3.0)
    check_path(path, memory, states, 3.0, generator, lambdas=(0.5,))
