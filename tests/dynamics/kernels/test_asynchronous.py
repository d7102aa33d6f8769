"""A sweep in blocks is the sweep unit by unit."""

import pytest
import torch

import isinglass as ig
from isinglass.dynamics.kernels import asynchronous
from isinglass.errors import IntractableError
from isinglass.testing import check_batch_invariance, check_monotone, check_stationary
from tests.cases import double, spins
from tests.seeds import seeded


def unit_by_unit(memory, state, order):
    """One sweep of Hopfield's rule; ties keep the current value."""
    state = state.clone()
    for i in order.tolist():
        field = memory.weight[i] @ state
        if field != 0:
            state[i] = field.sign()
    return state


@pytest.mark.parametrize("block", [1, 7, 256])
@pytest.mark.parametrize("random_order", [False, True])
def test_every_sweep_is_the_one_unit_by_unit(block, random_order, monkeypatch):
    monkeypatch.setattr(asynchronous, "BLOCK", block)
    memory, cues = ig.ClassicalHopfield(spins(6, 40)), spins(12, 40, seed=1)
    generator = seeded(3) if random_order else None
    again = seeded(3)
    kernel = ig.Asynchronous(generator)
    kernel_state = kernel.init(memory, cues)
    for _ in range(4):
        order = torch.randperm(40, generator=again) if random_order else torch.arange(40)
        expected = torch.stack([unit_by_unit(memory, row, order) for row in kernel_state.position])
        before = kernel_state.position
        kernel_state, info = kernel.step(memory, kernel_state)
        assert torch.equal(kernel_state.position, expected)
        assert torch.equal(kernel_state.field, memory.local_field(expected))
        assert torch.equal(info["changed"], (before != expected).sum(-1))


def test_recall_ends_where_single_flips_do():
    memory, cues = ig.ClassicalHopfield(spins(6, 300)), spins(5, 300, seed=1)
    sweeps, flips = memory.recall(cues), memory.recall(cues, kernel=ig.SingleSite())
    assert torch.equal(sweeps.state, flips.state)
    assert sweeps.converged.all()
    assert (sweeps.steps < 20).all()
    assert (sweeps.info["changed"] == 0).all()  # of the last sweep


@pytest.mark.parametrize("random_order", [False, True])
def test_heat_bath_keeps_the_exact_distribution(random_order, generator):
    memory, states = ig.ClassicalHopfield(spins(2, 4, seed=3)), ig.Spin(4).enumerate_states()
    order = seeded(1) if random_order else None
    check_stationary(
        ig.Asynchronous(order), memory, states, -memory(states) / 3.0, 3.0, generator, steps=2
    )


def test_a_row_alone_sees_the_same_random_order():
    memory, cues = ig.ClassicalHopfield(spins(6, 40)), spins(8, 40, seed=1)

    class Again(ig.Asynchronous):
        """Starts its generator anew with every recall."""

        def init(self, energy, state):
            self.generator = seeded(5)
            return super().init(energy, state)

    check_batch_invariance(Again(), memory, cues)
    check_monotone(Again(), memory, cues)
    other = ig.Asynchronous(seeded(6))
    assert not torch.equal(memory.recall(cues, kernel=other).state, memory.recall(cues).state)


class Bits(ig.ClassicalHopfield):
    """The same couplings between bits."""

    def __init__(self, patterns):
        super().__init__(patterns)
        self.unit = ig.Bernoulli(patterns.shape[-1])


def test_bits_in_pairs(generator):
    memory, states = Bits(spins(2, 4, seed=3)), ig.Bernoulli(4).enumerate_states()
    check_stationary(
        ig.Asynchronous(), memory, states, -memory(states) / 1.5, 1.5, generator, steps=2
    )
    check_monotone(ig.Asynchronous(), memory, states)


def test_others_are_refused():
    for energy in (ig.DenseMemory(spins(2, 4)), ig.ModernHopfield(double(2, 4))):
        with pytest.raises(IntractableError, match=r"SingleSite|CCCP"):
            ig.Asynchronous().init(energy, spins(3, 4))
