"""Parallel steps end in rest or in a 2-cycle, and say which."""

import torch

import isinglass as ig
from tests.cases import spins


def test_every_row_converges_or_is_in_a_cycle_of_two():
    memory, cues = ig.ClassicalHopfield(spins(12, 40)), spins(200, 40, seed=1)
    found = memory.recall(cues, kernel=ig.Synchronous())
    assert 0 < found.cycle.sum() < 200
    assert torch.equal(found.cycle, ~found.converged)
    assert (found.residual[found.cycle] == 2).all()
    step = ig.Synchronous().step
    after = step(memory, ig.Synchronous().init(memory, found.state))[0].position
    again = step(memory, ig.Synchronous().init(memory, after))[0].position
    assert torch.equal(again, found.state)
    assert torch.equal((after != found.state).any(-1), found.cycle)
    assert f"{int(found.cycle.sum())} in a 2-cycle" in str(found)


def test_a_cycle_stops_at_once():
    memory = ig.ClassicalHopfield(torch.tensor([[1.0, -1.0]]))
    cues = torch.tensor([[[1.0, 1.0], [1.0, -1.0]]])
    found = memory.recall(cues, kernel=ig.Synchronous(), trace=True)
    assert found.cycle.tolist() == [[True, False]]
    assert found.info["cycle"].shape == (1, 2)
    assert found.steps.tolist() == [[2, 1]]
    assert found.energy_trace is not None
    assert found.energy_trace.shape == (3, 1, 2)


def test_other_kernels_have_no_cycles():
    memory, cues = ig.ClassicalHopfield(spins(12, 40)), spins(5, 40, seed=1)
    for kernel in (ig.CCCP(), ig.SingleSite()):
        found = memory.recall(cues, kernel=kernel)
        assert not found.cycle.any()
        assert "cycle" not in str(found)
    untouched = memory.recall(cues, kernel=ig.Synchronous(), max_steps=0)
    assert untouched.info == {}
    assert not untouched.cycle.any()
