"""No cues, no rows, no chains: empty in, empty out, as everywhere in torch."""

import pytest
import torch

import isinglass as ig
from isinglass.errors import ShapeError
from tests.cases import ENERGIES, EnergyCase, double, spins

PATTERNS = double(5, 6)
MEMORIES = [
    lambda: ig.ModernHopfield(PATTERNS),
    lambda: ig.SparseHopfield(PATTERNS),
    lambda: ig.SubsetHopfield(PATTERNS),
    lambda: ig.HeteroMemory(ig.ModernHopfield(PATTERNS), double(5, 2)),
    lambda: ig.ClassicalHopfield(spins(5, 6)),
    lambda: ig.DenseMemory(spins(5, 6), 3),
]


@pytest.mark.parametrize("make", MEMORIES)
@pytest.mark.parametrize("batch", [(0,), (2, 0)])
def test_no_cues_recall_nothing(make, batch):
    memory, cues = make(), PATTERNS.new_zeros(*batch, 6)
    found = memory.recall(cues, trace=True)
    found = found.recall if isinstance(memory, ig.HeteroMemory) else found
    assert found.state.shape == cues.shape
    assert found.energy.shape == found.steps.shape == found.converged.shape == batch
    assert found.energy_trace.shape == (1, *batch)
    if isinstance(memory, ig.ModernHopfield):
        known = torch.ones(*batch, 6, dtype=torch.bool)
        assert memory.complete(cues, known).shape == cues.shape
        assert memory.resemblance(cues, known).novelty.shape == batch
        assert memory.recall(cues, kernel=memory.build_index()).state.shape == cues.shape


def test_cues_without_units_are_refused():
    with pytest.raises(ShapeError, match="expected"):
        ig.ModernHopfield(PATTERNS).recall(PATTERNS.new_zeros(3, 0))


@pytest.mark.parametrize("case", ENERGIES, ids=str)
def test_no_chains_stay_none(case: EnergyCase):
    energy, states = case.build(), case.legal()[:0]
    assert energy(states).shape == (0,)
    for kernel in case.kernels:
        temperature = 0.0 if kernel is ig.CCCP else 1 / float(getattr(energy, "beta", 1.0))
        moved = ig.run(kernel(), energy, states, steps=2, temperature=temperature)
        assert moved.shape == states.shape
