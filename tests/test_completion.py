"""A gallery completes its images from parts of them."""

import pytest
import torch

import isinglass as ig
from isinglass.completion import ImageMemory
from tests.cases import double


def test_stored_images_are_completed_from_half():
    images = torch.rand(20, 100, generator=torch.Generator().manual_seed(0))
    half = torch.arange(100) < 50
    done = ImageMemory(images).complete(torch.where(half, images, 0.7), half)
    assert torch.equal(done.nearest, torch.arange(20))
    assert (done.images - images).abs().max() < 1e-3
    assert done.recall.converged.all()
    assert (done.recall.energy <= done.start_energy).all()
    assert (done.similarity > 0.999).all()
    torch.testing.assert_close(done.weights.sum(-1), torch.ones(20))


def test_unknown_pixels_say_nothing():
    images = double(5, 12)
    half = torch.arange(12) < 6
    memory = ImageMemory(images)
    one = memory.complete(images, half)
    two = memory.complete(torch.where(half, images, 99.0), half)
    assert torch.equal(one.images, two.images)


def test_chosen_beta_gives_a_whole_image_its_attention():
    memory = ImageMemory(double(30, 40))
    overlap = memory.memory.patterns @ memory.memory.patterns.T
    attention = torch.softmax(memory.beta * overlap, -1).diagonal()
    assert (attention >= 0.999).all()


def test_one_image_and_equal_images():
    one = double(1, 6)
    done = ImageMemory(one).complete(one, torch.ones(6, dtype=torch.bool))
    torch.testing.assert_close(done.images, one)
    same = one.expand(3, 6)
    done = ImageMemory(same).complete(one, torch.ones(6, dtype=torch.bool))
    torch.testing.assert_close(done.images, one)


def test_bad_input():
    with pytest.raises(ig.errors.ShapeError, match="at least one pattern"):
        ImageMemory(torch.zeros(0, 4))
    with pytest.raises(ig.errors.ParameterError, match="beta"):
        ImageMemory(double(2, 4), beta=0.0)
    memory = ImageMemory(double(2, 4))
    with pytest.raises(ig.errors.ShapeError, match=r"\(1, 3\)"):
        memory.complete(double(1, 3), torch.ones(3, dtype=torch.bool))
    with pytest.raises(ig.errors.DomainError, match="cues"):
        memory.complete(torch.full((1, 4), torch.nan).double(), torch.ones(4, dtype=torch.bool))
