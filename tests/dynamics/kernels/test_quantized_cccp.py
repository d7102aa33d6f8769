"""Recall by an 8-bit index: what the memory's own step finds, with a certificate."""

import numpy as np
import pytest
import torch

import isinglass as ig
from isinglass.dynamics import QuantizedCCCP
from isinglass.errors import IntractableError, ParameterError
from isinglass.io import map_patterns
from tests.cases import double


def gallery(count: int = 20_000, size: int = 48) -> torch.Tensor:
    return torch.nn.functional.normalize(double(count, size), dim=-1)


def test_it_recalls_what_the_whole_sum_recalls():
    patterns = gallery()
    memory = ig.ModernHopfield(patterns, beta=60.0, constants=True)
    cues = torch.nn.functional.normalize(patterns[:6] + 0.07 * double(6, 48, seed=1), dim=-1)
    cues = torch.cat([cues, 0.1 * cues]).reshape(3, 4, 48)  # the short ones are summed in full
    whole, indexed = memory.recall(cues), memory.recall(cues, kernel=memory.build_index())
    assert indexed.converged.all()
    omitted_mass_bound = indexed.info["omitted_mass_bound"]
    assert omitted_mass_bound.shape == (3, 4)
    assert (omitted_mass_bound <= 1e-4).all()
    off = (indexed.state - whole.state).norm(dim=-1)
    assert (off <= 1e-4).all()
    # The log-sum of an index is too small by at most −log(1 − bound)/β.
    assert ((indexed.energy - whole.energy).abs() <= 1e-5).all()


def test_memory_streams_where_patterns_are_many():
    """Beyond a block of patterns, energy, step and read-out are those of the dense formulas."""
    memory = ig.ModernHopfield(gallery(), beta=20.0, constants=True)
    state, values = double(2, 3, 48), double(20_000, 2)
    dense = memory.association(state)
    torch.testing.assert_close(memory.cccp_update(state), dense @ memory.patterns)
    torch.testing.assert_close(memory.read(state, values), dense @ values)
    wanted = memory(state.clone().requires_grad_())  # differentiated, hence dense
    assert wanted.requires_grad
    torch.testing.assert_close(memory(state), wanted.detach())


def test_a_learned_beta():
    memory = ig.ModernHopfield(gallery(), beta=60.0, learn_beta=True)
    cues = memory.patterns[:2] + 0.01
    indexed = memory.recall(cues, kernel=memory.build_index())
    torch.testing.assert_close(indexed.state, memory.recall(cues).state, atol=1e-5, rtol=0)


def test_patterns_in_a_file(tmp_path):
    patterns = gallery(9000)
    np.save(tmp_path / "patterns.npy", patterns.numpy())
    mapped = map_patterns(tmp_path / "patterns.npy")
    memory = ig.ModernHopfield(mapped, beta=80.0, copy=False)
    assert memory.patterns.data_ptr() == mapped.data_ptr()
    found = memory.recall(patterns[:3] + 0.02, kernel=QuantizedCCCP(memory))
    assert (found.state @ patterns.mT).argmax(-1).tolist() == [0, 1, 2]
    in_memory = ig.ModernHopfield(patterns, beta=80.0)
    again = in_memory.recall(patterns[:3] + 0.02, kernel=in_memory.build_index())
    assert torch.equal(found.state, again.state)


def test_stale_copies_are_refused():
    memory = ig.ModernHopfield(gallery(300), beta=50.0)
    kernel = QuantizedCCCP(memory)
    memory.recall(memory.patterns[:2], kernel=kernel)
    with pytest.raises(ParameterError, match="anew"):
        ig.ModernHopfield(-gallery(300)).recall(memory.patterns[:2], kernel=kernel)
    part = ig.ModernHopfield(memory.patterns[:100], beta=50.0, copy=False)  # the same place
    with pytest.raises(ParameterError, match="anew"):
        part.recall(memory.patterns[:2], kernel=kernel)
    memory.patterns[0, 0] += 1
    with pytest.raises(ParameterError, match="anew"):
        memory.recall(memory.patterns[:2], kernel=kernel)


def test_in_inference_mode():
    with torch.inference_mode():
        memory = ig.ModernHopfield(gallery(300), beta=50.0)
        found = memory.recall(memory.patterns[:2], kernel=QuantizedCCCP(memory))
    assert (found.info["omitted_mass_bound"] < 1e-4).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_converges_only_where_it_stays(dtype):
    """Converged means a step moves no unit by more than two roundings, not by half a state."""
    patterns = double(30, 10).to(dtype)
    memory = ig.ModernHopfield(patterns, beta=0.7)
    found = memory.recall(double(7, 10, seed=1).to(dtype), max_steps=200)
    moved = (memory.cccp_update(found.state) - found.state).abs().amax(-1)
    scale = found.state.abs().amax(-1).clamp_min(1.0)
    assert found.converged.any()
    assert (moved <= 4 * torch.finfo(dtype).eps * scale)[found.converged].all()


def test_bad_input():
    memory = ig.ModernHopfield(gallery(300), beta=50.0)
    with pytest.raises(IntractableError, match="ClassicalHopfield"):
        QuantizedCCCP(ig.ClassicalHopfield(double(3, 8).sign()))
    with pytest.raises(IntractableError, match="SubsetHopfield"):  # no softmax
        QuantizedCCCP(ig.SubsetHopfield(gallery(300), 2.0, subset=2))
    with pytest.raises(ParameterError, match="tolerance"):
        memory.build_index(tolerance=-1.0)
    with pytest.raises(ParameterError, match="cells"):
        memory.build_index(cells=0)
    with pytest.raises(ParameterError, match="only descends"):
        ig.run(QuantizedCCCP(memory), memory, memory.patterns[:1], steps=1, temperature=1.0)
