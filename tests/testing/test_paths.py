"""Every path keeps the properties of annealing paths; one that breaks a property is caught."""

import pytest
import torch

import isinglass as ig
from isinglass.energies.pairwise.boltzmann_path import BoltzmannPath
from isinglass.testing import PropertyViolation, check_path
from tests.cases import PATHS, double, symmetric


@pytest.mark.slow
@pytest.mark.parametrize("case", PATHS, ids=str)
def test_every_path_keeps_its_properties(case, generator):
    path, energy = case.build()
    check_path(path, energy, case.states(), case.temperature, generator, weighed=case.weighed)


class WrongWeight(BoltzmannPath):
    """Weights of another model at λ = 1, with a ratio to match."""

    def log_weight(self, state, lambda_):
        return super().log_weight(state, lambda_) + 0.1 * lambda_ * state[:, 0]

    def log_ratio(self, state, start, end):
        return self.log_weight(state, end) - self.log_weight(state, start)


class BentWeight(BoltzmannPath):
    """Both ends are right, and what lies between is not what transitions leave unchanged."""

    def log_weight(self, state, lambda_):
        bend = 4 * lambda_ * (1 - lambda_)
        return super().log_weight(state, lambda_) + bend * state[:, 0]

    def log_ratio(self, state, start, end):
        return self.log_weight(state, end) - self.log_weight(state, start)


class WrongRatio(BoltzmannPath):
    def log_ratio(self, state, start, end):
        return 1.01 * super().log_ratio(state, start, end)


class WrongBase(BoltzmannPath):
    @property
    def base_log_partition(self):
        return super().base_log_partition + 0.01


class WrongBaseDraws(BoltzmannPath):
    def draw_base(self, count, generator=None):
        return self.unit.sample(0 * self.base.expand(count, -1), self.temperature, generator)


class WrongTransition(BoltzmannPath):
    """Moves one level further than it is told."""

    def transition(self, state, lambda_, generator=None):
        return super().transition(state, (lambda_ + 0.3).clamp_max(1.0), generator)


class Irreversible(BoltzmannPath):
    """Always sweeps forward: p_λ is left unchanged, detailed balance is not kept."""

    def transition(self, state, lambda_, generator=None):
        scale = lambda_.to(state).unsqueeze(-1)
        return self.couplings.sweep(
            state, self.unit, torch.lerp(self.base, self.bias, scale), self.temperature,
            generator, scale=scale,
        )  # fmt: skip


class WrongAdvance(BoltzmannPath):
    """Moves at the start instead of the end."""

    def advance(self, state, start, end, generator=None):
        return self.transition(state, start, generator), self.log_ratio(state, start, end)


class WrongPrepare(BoltzmannPath):
    def prepare(self, state, generator=None):
        return self.draw_base(len(state), generator)


def broken(kind: type[BoltzmannPath]) -> tuple[BoltzmannPath, ig.BoltzmannMachine]:
    """The path of a machine whose couplings are strong, so that an order of a sweep shows."""
    machine = ig.BoltzmannMachine(ig.Spin(3), 2 * symmetric(3), double(3))
    whole = machine.path(1.0)
    bias = machine.biases.detach()
    return kind(whole.unit, whole.couplings, bias, whole.base, 1.0, 3), machine


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (WrongWeight, "λ = 1"),
        (BentWeight, "transition leaves"),
        (WrongRatio, "log_ratio"),
        (WrongBase, "base_log_partition"),
        (WrongBaseDraws, "draw_base"),
        (WrongTransition, "transition leaves"),
        (Irreversible, "not reversible"),
        (WrongAdvance, "advance"),
        (WrongPrepare, "prepare"),
    ],
)
def test_broken_paths_are_caught(kind, what, generator):
    states = ig.Spin(3).enumerate_states()
    path, machine = broken(BoltzmannPath)
    check_path(path, machine, states, 1.0, generator)
    path, machine = broken(kind)
    with pytest.raises(PropertyViolation, match=what):
        check_path(path, machine, states, 1.0, generator)
