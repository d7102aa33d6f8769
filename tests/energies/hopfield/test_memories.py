"""Memories remember, on made-up patterns and on real digits."""

import copy

import numpy as np
import pytest
import torch

import isinglass as ig
from isinglass.errors import DomainError, IntractableError, ParameterError, ShapeError
from tests.cases import double, spins
from tests.seeds import seeded


def test_patterns_below_capacity_are_fixed_points():
    patterns = spins(5, 200)
    found = ig.ClassicalHopfield(patterns).recall(patterns)
    assert torch.equal(found.state, patterns)
    assert found.converged.all()
    assert (found.steps == 1).all()  # the one step that found them at rest


@pytest.mark.parametrize("kernel", [ig.SingleSite(), ig.Synchronous(), ig.CCCP()])
def test_noisy_cues_are_cleaned(kernel):
    """N = 5 patterns of 400 spins, a fifth of each cue flipped: far inside the basins."""
    patterns = spins(5, 400)
    cues = torch.where(double(5, 400, seed=9) > 0.84, -patterns, patterns)
    assert 0.1 < (cues != patterns).double().mean() < 0.3
    found = ig.ClassicalHopfield(patterns).recall(cues, kernel=kernel)
    assert torch.equal(found.state, patterns)


def test_many_more_patterns_than_units_are_told_apart():
    """The modern net holds 2,000 patterns of 64 units; Hebb's rule would hold about 9."""
    patterns = spins(2000, 64).float()
    cues = patterns[:50].clone()
    cues[:, :16] = 0.0
    found = ig.ModernHopfield(patterns, beta=1.0).recall(cues, max_steps=2)
    assert (found.state - patterns[:50]).abs().max() < 0.01


def test_higher_degrees_store_more():
    """150 patterns of 60 spins: beyond 0.138·60 = 8, within reach of degree 4."""
    patterns = spins(150, 60)
    cues = patterns.clone()
    cues[:, :4] *= -1
    recalled = {
        degree: (ig.DenseMemory(patterns, degree).recall(cues).state == patterns).all(-1).double()
        for degree in (2, 4)
    }
    assert recalled[2].mean() < 0.1
    assert recalled[4].mean() > 0.9


def test_real_digits_are_recalled_from_their_upper_half(data_folder):
    with np.load(data_folder / "mnist" / "mnist.npz", allow_pickle=False) as file:
        images = torch.from_numpy(file["x_train"][:1000]).float().flatten(1) / 255
    centered = images - images.mean()
    patterns = centered / centered.norm(dim=-1, keepdim=True)
    cues = patterns.clone()
    cues[:, 392:] = 0.0
    found = ig.ModernHopfield(patterns, beta=200.0).recall(cues)
    nearest = (found.state @ patterns.T).argmax(-1)
    assert (nearest == torch.arange(1000)).float().mean() > 0.95
    assert found.converged.all()


def test_report_per_row():
    patterns = torch.eye(3, dtype=torch.float64)
    memory = ig.ModernHopfield(patterns, beta=30.0)
    cues = torch.tensor([[1.0, 0, 0], [0.52, 0.48, 0], [0.4, 0.6, 0.1]], dtype=torch.float64)
    found = memory.recall(cues, trace=True)
    assert found.converged.all()
    assert found.steps[1] > found.steps[0]
    assert found.energy_trace is not None
    assert found.energy_trace.shape == (int(found.steps.max()) + 1, 3)
    assert (found.energy_trace.diff(dim=0) <= 1e-12).all()
    torch.testing.assert_close(found.energy_trace[-1], found.energy)
    torch.testing.assert_close(found.energy, memory(found.state))
    assert (found.residual < 1e-12).all()
    assert "3 of 3 converged" in str(found)


def test_rows_stop_at_max_steps_and_say_so():
    memory = ig.ModernHopfield(torch.eye(3), beta=2.0)
    found = memory.recall(torch.tensor([[0.9, 0.1, 0.0]]), max_steps=1)
    assert not found.converged
    assert found.steps == 1
    assert found.residual > 0
    untouched = memory.recall(torch.tensor([[0.9, 0.1, 0.0]]), max_steps=0)
    assert torch.equal(untouched.state, torch.tensor([[0.9, 0.1, 0.0]]))
    assert untouched.residual.isinf().all()


def test_batch_shapes():
    memory = ig.ModernHopfield(double(4, 3), beta=2.0)
    cues = double(2, 5, 3)
    found = memory.recall(cues, trace=True)
    assert found.state.shape == (2, 5, 3)
    assert found.energy.shape == found.steps.shape == found.converged.shape == (2, 5)
    assert found.energy_trace is not None
    assert found.energy_trace.shape[1:] == (2, 5)
    torch.testing.assert_close(memory.recall(cues[0, 0]).state, found.state[0, 0])
    assert torch.equal(cues, double(2, 5, 3))  # the cues are not written on


def test_random_order_needs_only_its_generator():
    patterns, cues = spins(10, 40), spins(8, 40, seed=1)
    memory = ig.ClassicalHopfield(patterns)
    one, two = (memory.recall(cues, kernel=ig.SingleSite(seeded(4))).state for _ in range(2))
    assert torch.equal(one, two)
    in_order = memory.recall(cues).state
    assert not torch.equal(one, in_order)  # other orders, other minima


def test_beta_can_be_set_and_patterns_are_a_copy():
    patterns = torch.eye(3)
    memory = ig.ModernHopfield(patterns, beta=1.0)
    memory.beta = 20.0
    assert torch.equal(memory(patterns), ig.ModernHopfield(patterns, beta=20.0)(patterns))
    with pytest.raises(ParameterError, match="beta"):
        memory.beta = -1.0
    patterns.zero_()
    assert torch.equal(memory.patterns, torch.eye(3))
    assert repr(memory) == "ModernHopfield(3 patterns of 3, beta=20.0)"


def test_learned_patterns_are_parameters():
    patterns = torch.nn.Parameter(double(4, 3))
    memory = ig.ModernHopfield(patterns, beta=2.0)
    assert [name for name, _ in memory.named_parameters()] == ["patterns"]
    memory(double(2, 3)).sum().backward()
    assert patterns.grad is not None
    assert not list(ig.ModernHopfield(double(4, 3)).parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_dtypes_are_kept(dtype):
    memory = ig.ModernHopfield(torch.eye(3, dtype=dtype), beta=8.0)
    assert memory.recall(torch.eye(3, dtype=dtype)).state.dtype == dtype


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_cuda():
    memory = ig.ModernHopfield(double(4, 3), beta=2.0).cuda()
    cues = double(5, 3)
    torch.testing.assert_close(
        memory.recall(cues.cuda()).state.cpu(), memory.cpu().recall(cues).state
    )


def test_weights_follow_loaded_patterns():
    memory, other = ig.ClassicalHopfield(spins(3, 6)), ig.ClassicalHopfield(spins(3, 6, seed=1))
    net = torch.nn.Sequential(copy.deepcopy(memory))
    net.load_state_dict(torch.nn.Sequential(other).state_dict())
    assert torch.equal(net[0].weight, other.weight)
    assert not torch.equal(memory.weight, other.weight)


def test_bad_input():
    with pytest.raises(ShapeError, match=r"\(0, 5\).*at least one pattern"):
        ig.ModernHopfield(torch.zeros(0, 5))
    with pytest.raises(ShapeError, match=r"\(5,\)"):
        ig.ClassicalHopfield(torch.ones(5))
    with pytest.raises(DomainError, match="NaN"):
        ig.ModernHopfield(torch.tensor([[1.0, float("nan")]]))
    with pytest.raises(DomainError, match="dtype"):
        ig.ModernHopfield(torch.ones(2, 3, dtype=torch.int64))
    for beta in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ParameterError, match="beta"):
            ig.ModernHopfield(torch.eye(2), beta=beta)
    with pytest.raises(DomainError, match=r"0\.5.*Spin"):
        ig.ClassicalHopfield(torch.tensor([[1.0, 0.5]]))
    with pytest.raises(ParameterError, match="degree"):
        ig.DenseMemory(torch.ones(1, 2), degree=1)
    with pytest.raises(IntractableError, match="not convex"):
        ig.DenseMemory(torch.ones(1, 2), 3, rectified=False).cccp_update(torch.ones(1, 2))
    modern, classical = ig.ModernHopfield(torch.eye(2)), ig.ClassicalHopfield(torch.ones(1, 2))
    with pytest.raises(ShapeError, match=r"ModernHopfield.recall.*\(\*batch, 2\).*\(1, 3\)"):
        modern.recall(torch.zeros(1, 3))
    with pytest.raises(DomainError, match=r"float64.*float32.*x\.to"):
        modern.recall(torch.zeros(1, 2).double())
    with pytest.raises(ShapeError):
        modern(torch.zeros(1, 3))
    with pytest.raises(DomainError, match="infinite"):
        modern.recall(torch.tensor([[1.0, float("inf")]]))
    with pytest.raises(DomainError, match="threshold"):
        classical.recall(torch.tensor([[1.0, 0.0]]))
    with pytest.raises(ParameterError, match="max_steps"):
        modern.recall(torch.zeros(1, 2), max_steps=-1)
    with pytest.raises(ParameterError, match="tolerance"):
        modern.recall(torch.zeros(1, 2), tolerance=-1.0)
    with pytest.raises(IntractableError, match="local_field"):
        modern.recall(torch.zeros(1, 2), kernel=ig.SingleSite())
    with pytest.raises(IntractableError, match="exact conditionals"):
        ig.BlockGibbs().step(classical, ig.dynamics.KernelState(torch.ones(1, 2)), 1.0)
    with pytest.raises(ParameterError, match="only descends"):
        ig.CCCP().step(modern, ig.dynamics.KernelState(torch.ones(1, 2)), 1.0)
