"""Recall from a part of a cue: known cells are held, unknown ones integrated out, then descend."""

import math

import pytest
import torch
from torch import Tensor

import isinglass as ig
from isinglass.data.image_memory import ImageMemory
from isinglass.energies import HeteroMemory
from isinglass.retrieval import BLOCK
from isinglass.retrieval.chunked import without_denormals
from isinglass.testing import rounding
from tests.cases import double
from tests.seeds import seeded

MEMORIES = [
    lambda patterns: ig.ModernHopfield(patterns, beta=3.0),
    lambda patterns: ig.SparseHopfield(patterns, beta=2.0, alpha=2.0),
    lambda patterns: ig.SubsetHopfield(patterns, beta=2.0, subset=2),
]


def masks(rows: int, size: int, seed: int = 0) -> Tensor:
    """Half of the cells of each row, the first always."""
    known = torch.rand(rows, size, generator=seeded(seed)) < 0.5
    known[:, 0] = True
    return known


def by_hand(cue: Tensor, known: Tensor, patterns: Tensor, beta: float) -> Tensor:
    """The posterior mean of a mixture of Gaussians, one pattern after another."""
    log_weight = [
        -beta / 2 * sum((p - c) ** 2 for p, c, k in zip(pattern, cue, known, strict=True) if k)
        for pattern in patterns
    ]
    top = max(log_weight)
    weight = [math.exp(w - top) for w in log_weight]
    mean = sum(w * p for w, p in zip(weight, patterns, strict=True)) / sum(weight)
    return torch.where(known, cue, mean)


@pytest.mark.parametrize("count", [7, BLOCK + 5])
def test_completion_is_the_posterior_mean(count):
    patterns, cues, known = double(count, 5, seed=1), double(3, 5, seed=2), masks(3, 5)
    done = ig.ModernHopfield(patterns, beta=2.0).complete(cues, known)
    for row in range(3):
        expected = by_hand(cues[row], known[row], patterns, 2.0)
        torch.testing.assert_close(done[row], expected)


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("shared", [True, False])
def test_recall_holds_what_is_known_and_never_goes_uphill(memory, shared):
    energy = memory(double(30, 12, seed=3))
    cues = double(20, 12, seed=4)
    known = masks(20, 12)[0] if shared else masks(20, 12)
    found = energy.recall(cues, known=known, trace=True)
    assert torch.equal(found.state.where(known, 0.0), cues.where(known, 0.0))
    scale = found.energy_trace.abs().max()
    assert (found.energy_trace.diff(dim=0) <= 64 * torch.finfo(torch.float64).eps * scale).all()
    assert torch.equal(found.energy_trace[-1], found.energy)
    assert found.converged.all()
    spoiled = energy.recall(cues.where(known, torch.nan), known=known)
    torch.testing.assert_close(spoiled.state, found.state)


@pytest.mark.parametrize("memory", MEMORIES)
def test_of_patterns_of_one_length_the_energy_is_the_memorys_own(memory):
    energy = memory(torch.nn.functional.normalize(double(9, 6), dim=-1))
    states = double(5, 6, seed=1)
    difference = energy.energy_of_distance(states) - energy(states)
    torch.testing.assert_close(difference, torch.full_like(difference, 0.5))


@pytest.mark.parametrize("count", [40, BLOCK + 40])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_long_patterns_do_not_win_by_their_length(count, offset):
    """Nor do digits get lost where the numbers are far from zero, in float32."""
    patterns = double(count, 10).float() * torch.linspace(1, 30, count).unsqueeze(-1) + offset
    known = torch.arange(10) < 6
    memory = ig.ModernHopfield(patterns, beta=50.0)
    found = memory.recall(patterns[:40].where(known, torch.nan), known=known)
    assert torch.equal(memory.resemblance(patterns[:40], known).nearest, torch.arange(40))
    torch.testing.assert_close(found.state, patterns[:40])


def apart(rows: Tensor) -> Tensor:
    """|x_i − x_j|, zero where two rows are equal."""
    return torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")


@pytest.mark.parametrize("name", ["digits", "wine", "breast_cancer", "iris"])
def test_the_own_row_is_found_wherever_the_nearest_in_the_known_cells_is(name):
    datasets = pytest.importorskip("sklearn.datasets")
    rows = torch.as_tensor(getattr(datasets, f"load_{name}")().data[:1000])
    size = rows.shape[1]
    scaled = (rows - rows.mean(0)) / rows.std(0).clamp_min(1e-9)
    for stored in (rows, scaled):
        for seed in range(3):
            known = torch.zeros(size, dtype=torch.bool)
            known[torch.randperm(size, generator=seeded(seed))[: (size + 1) // 2]] = True
            alone = (apart(stored[:, known]) == 0).sum(-1) == 1  # none agrees in all that is known
            done = ImageMemory(stored).complete(stored.where(known, torch.nan), known)
            assert torch.equal(done.nearest[alone], torch.arange(len(stored))[alone])
            assert torch.equal(done.images.where(known, 0.0), stored.where(known, 0.0))


@pytest.mark.parametrize("name", ["digits", "wine", "breast_cancer", "iris"])
def test_what_is_sharp_in_the_known_cells_is_completed_by_its_own_row(name):
    """β gives the own row 99.9 % of the attention by the known cells alone.

    With differences k and u of another row in known and unknown cells, its weight at an error e is
    at most exp(−½β(|k|² + |u|² − 2|u|e)), so that the error of the next step is at most the sum of
    these times |u|. It is S at the start, where |u| has no part in the weight; a row where the sum
    at 2S is no more than 2S never errs by more.
    """
    datasets = pytest.importorskip("sklearn.datasets")
    stored = torch.as_tensor(getattr(datasets, f"load_{name}")().data[:500])
    count, size = stored.shape
    scale = ImageMemory(stored).scale
    for seed in range(3):
        known = torch.randperm(size, generator=seeded(seed)) < (size + 1) // 2
        shown, hidden = apart(stored[:, known]) / scale, apart(stored[:, ~known]) / scale
        beta = 2 * math.log(999 * (count - 1)) / float(shown[shown > 0].min()) ** 2
        alone = (shown == 0).sum(-1) == 1
        others = (-beta / 2 * shown**2).exp().fill_diagonal_(0.0)
        most = 2 * (others * hidden).sum(-1, keepdim=True)
        grown = others * (-beta / 2 * hidden * (hidden - 2 * most)).exp() * hidden
        held = alone & (grown.sum(-1) <= most.squeeze(-1))
        assert held.any()
        done = ImageMemory(stored, beta).complete(stored.where(known, torch.nan), known)
        error = (done.images - stored).norm(dim=-1)
        allowed = most.squeeze(-1) * scale + rounding(stored.abs().sum(-1).max(), count + size)
        assert (error <= allowed)[held].all()


def test_keys_are_found_by_a_part_of_them():
    """β leaves the other 19 keys a weight of 1/80 at most: values err by no more than 19/80."""
    keys, known = double(20, 6), torch.arange(6) < 3
    away = apart(keys[:, known])
    beta = 2 * math.log(19 * 80) / float(away[away > 0].min()) ** 2
    memory = HeteroMemory(ig.ModernHopfield(keys, beta), torch.arange(20.0).double()[:, None])
    found = memory.recall(keys.where(known, torch.nan), known=known)
    assert torch.equal(found.weights.argmax(-1), torch.arange(20))
    torch.testing.assert_close(found.values[:, 0].round(), torch.arange(20.0).double())


def test_bad_input(unannotated):
    memory, cues = ig.ModernHopfield(double(4, 3)), double(2, 3)
    every = torch.ones(3, dtype=torch.bool)
    with pytest.raises(ig.errors.ParameterError, match=r"together with kernel"):
        memory.recall(cues, known=every, kernel=ig.CCCP())
    with pytest.raises(ig.errors.ParameterError, match="nothing is known of cue 0"):
        memory.recall(cues, known=~every)
    with pytest.raises(ig.errors.DomainError, match=r"dtype torch\.int64"):
        memory.recall(cues, known=every.long())
    with pytest.raises(ig.errors.ShapeError, match=r"\(4,\) for cues"):
        memory.recall(cues, known=torch.ones(4, dtype=torch.bool))
    with pytest.raises(ig.errors.DomainError, match="known cells"):
        memory.recall(cues * torch.nan, known=every)
    with pytest.raises(ig.errors.DomainError, match="float32"):
        memory.recall(cues.float(), known=every)


def test_gradients_reach_patterns_and_cues():
    patterns, known = double(5, 4).requires_grad_(), torch.arange(4) < 2
    memory = ig.ModernHopfield(torch.nn.Parameter(patterns.detach()), beta=2.0)
    cue = double(2, 4, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda cue: memory.complete(cue, known), cue)
    memory.complete(cue, known).sum().backward()
    assert memory.patterns.grad is not None
    assert memory.patterns.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_weight_is_denormal(dtype):
    """A hundred times slower, and nothing is gained: the maximum adds one to every sum."""
    info = torch.finfo(dtype)
    scores = -torch.linspace(0, 1.5 * -math.log(info.tiny), 10_000, dtype=dtype)
    weights = without_denormals(scores).exp()
    assert not ((weights > 0) & (weights * info.eps < info.tiny * info.eps)).any()
    torch.testing.assert_close(weights.sum(), scores.exp().sum(), rtol=info.eps, atol=0)
