"""What a cue resembles is said of the cue: whether recall is right, and whether to ask at all."""

import math

import pytest
import torch
from torch import Tensor

import isinglass as ig
from tests.cases import double
from tests.seeds import seeded


def area_under_curve(score: Tensor, positive: Tensor) -> float:
    """The chance that a positive scores above a negative, ties half: Mann–Whitney's U."""
    difference = score[positive].unsqueeze(1) - score[~positive]
    return float(((difference > 0).double() + (difference == 0).double() / 2).mean())


def test_the_density_of_the_known_cells_integrates_to_one():
    memory = ig.ModernHopfield(double(5, 3), beta=4.0)
    line = torch.linspace(-12, 12, 20_001, dtype=torch.float64)
    cues = torch.full((len(line), 3), torch.nan, dtype=torch.float64)
    cues[:, 1] = line
    density = memory.resemblance(cues, ~cues.isnan()).log_density.exp()
    torch.testing.assert_close(torch.trapezoid(density, line), torch.ones(()).double())


def test_the_weight_is_the_posterior_of_the_nearest():
    patterns, cues = double(300, 4), double(20, 4, seed=1)
    known = torch.tensor([True, False, True, True])
    said = ig.ModernHopfield(patterns, beta=2.0).resemblance(cues, known)
    squared = (cues[:, None] - patterns).square()[..., known].sum(-1)
    expected = torch.softmax(-squared, -1).max(-1)
    torch.testing.assert_close(said.weight, expected.values)
    assert torch.equal(said.nearest, expected.indices)
    torch.testing.assert_close(said.distance, (squared.amin(-1) / 3).sqrt())


def test_held_out_cues_are_alarmed_at_as_often_as_allowed():
    """Novelty is the p-value of a test, so uniform for cues like the held-out ones: 5 σ."""
    rows = double(3000, 6)
    memory = ig.ModernHopfield(rows[:1000], beta=5.0)
    said = memory.resemblance(rows[2000:], held_out=rows[1000:2000])
    for level in (0.05, 0.2, 0.5):
        deviation = math.sqrt(2 * level * (1 - level) / 1000)  # of the threshold and of the count
        assert abs(float(said.unfamiliar(level).double().mean()) - level) < 5 * deviation


@pytest.mark.parametrize("known", [None, torch.arange(64) < 32])
def test_what_is_unrelated_is_told_from_what_is_stored(known):
    """After recall each cue is a pattern with weight 1; at the cue they are told apart."""
    datasets = pytest.importorskip("sklearn.datasets")
    digits = torch.as_tensor(datasets.load_digits().data[:1000]) / 16
    memory = ig.ModernHopfield(digits, beta=40.0)
    noisy = digits[:300] + 0.1 * double(300, 64)
    shuffled = digits[:300][:, torch.randperm(64, generator=seeded(1))]
    cues, related = torch.cat([noisy, shuffled]), torch.arange(600) < 300
    said = memory.resemblance(cues, known)
    for figure in (said.similarity, -said.distance, said.log_density, -said.novelty):
        assert area_under_curve(figure, related) > 0.99
    assert said.unfamiliar()[related].double().mean() < 0.05
    assert said.unfamiliar()[~related].double().mean() > 0.95


def test_the_weight_tells_whether_recall_is_right():
    datasets = pytest.importorskip("sklearn.datasets")
    digits = torch.as_tensor(datasets.load_digits().data[:1000]) / 16
    memory = ig.ModernHopfield(digits, beta=1 / 0.15**2)
    known = torch.arange(64) % 4 == 0  # a quarter, in noise: much of it is mistaken
    said = memory.resemblance(digits + 0.15 * double(1000, 64), known)
    right = said.nearest == torch.arange(1000)
    assert 0.2 < right.double().mean() < 0.9
    assert area_under_curve(said.weight, right) > 0.7


def test_one_pattern_and_copies():
    memory = ig.ModernHopfield(torch.ones(1, 4), beta=1.0)
    assert memory.resemblance(torch.tensor([[1.1] * 4, [9.0] * 4])).unfamiliar().tolist() == [
        False,
        True,
    ]
    twins = double(20, 4).repeat(2, 1)
    said = ig.ModernHopfield(twins, beta=50.0).resemblance(twins[:20] + 1e-3)
    assert not said.unfamiliar().any()
    assert (said.weight < 0.51).all()  # nobody can say which of the two


def test_bad_input(unannotated):
    memory = ig.ModernHopfield(double(4, 3))
    with pytest.raises(ig.errors.ShapeError, match="held-out"):
        memory.resemblance(double(2, 3), held_out=double(2, 4))
    with pytest.raises(ig.errors.ParameterError, match="level"):
        memory.resemblance(double(2, 3)).unfamiliar(2.0)
