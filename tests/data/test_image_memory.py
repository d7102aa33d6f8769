"""A gallery completes its images from parts of them."""

import numpy as np
import pytest
import torch

import isinglass as ig
from isinglass.data.image_memory import ImageMemory
from tests.cases import double
from tests.seeds import seeded


def test_stored_images_are_completed_from_half():
    images = torch.rand(20, 100, generator=seeded(0))
    half = torch.arange(100) < 50
    done = ImageMemory(images).complete(torch.where(half, images, 0.7), half)
    assert torch.equal(done.nearest, torch.arange(20))
    assert (done.images - images).abs().max() < 1e-3
    assert torch.equal(done.images[:, half], images[:, half])
    assert (done.resemblance.similarity > 0.999).all()
    assert not done.resemblance.unfamiliar().any()
    torch.testing.assert_close(done.weights.sum(-1), torch.ones(20))


def test_unknown_pixels_say_nothing():
    images = double(5, 12)
    half = torch.arange(12) < 6
    memory = ImageMemory(images)
    one = memory.complete(images, half)
    two = memory.complete(torch.where(half, images, torch.nan), half)
    assert torch.equal(one.images, two.images)


def test_chosen_beta_gives_a_whole_image_its_attention():
    memory = ImageMemory(double(30, 40))
    squared = torch.cdist(memory.memory.patterns, memory.memory.patterns).square()
    attention = torch.softmax(-memory.beta / 2 * squared, -1).diagonal()
    assert (attention >= 0.999).all()


def test_images_hardly_different_count_as_one():
    """Else β would have to tell them apart, and no cue would be near enough to any."""
    images = double(5, 20)
    apart = ImageMemory(images).beta
    twins = torch.cat([images, images[:1] + 1e-8 * double(1, 20, seed=3)])
    assert ImageMemory(twins).beta < 10 * apart < 1e3


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
    with pytest.raises(ig.errors.DomainError, match="known cells"):
        memory.complete(torch.full((1, 4), torch.nan).double(), torch.ones(4, dtype=torch.bool))


@pytest.mark.parametrize(
    ("known", "error", "says"),
    [
        (None, "DomainError", "mask of NoneType.*torch.ones"),
        ([True] * 4, "DomainError", "mask of list"),
        (torch.ones(4), "DomainError", r"mask of dtype torch.float32.*boolean"),
        (torch.ones(4, dtype=torch.int64), "DomainError", "mask of dtype torch.int64"),
        (torch.ones(3, dtype=torch.bool), "ShapeError", r"\(3,\) for cues of shape \(2, 4\)"),
        (torch.ones(1, dtype=torch.bool), "ShapeError", r"mask of shape \(1,\)"),
        (torch.ones(3, 4, dtype=torch.bool), "ShapeError", r"mask of shape \(3, 4\)"),
        (torch.tensor(True), "ShapeError", r"mask of shape \(\)"),
        (torch.tensor([[True] * 4, [False] * 4]), "ParameterError", "nothing is known of cue 1"),
    ],
)
def test_masks_that_do_not_fit_are_refused(unannotated, known, error, says):
    with pytest.raises(getattr(ig.errors, error), match=says):
        ImageMemory(double(2, 4)).complete(double(2, 4), known)


@pytest.mark.parametrize("images", [[[0.0, 1.0]], np.eye(2), None])
def test_what_is_no_tensor_is_refused(unannotated, images):
    with pytest.raises(ig.errors.DomainError, match=r"torch\.as_tensor"):
        ImageMemory(images)
    with pytest.raises(ig.errors.DomainError, match=r"torch\.as_tensor"):
        ImageMemory(torch.eye(2)).complete(images, torch.ones(2, dtype=torch.bool))


def test_large_values_are_scaled_or_refused():
    images = torch.rand(5, 12, generator=seeded(0))
    every = torch.ones(12, dtype=torch.bool)
    assert torch.equal(ImageMemory(images * 1e30).complete(images * 1e30, every).nearest,
                       torch.arange(5))  # fmt: skip
    top = torch.finfo(torch.float32).max
    with pytest.raises(ig.errors.DomainError, match="the images less their mean"):
        ImageMemory(torch.tensor([[top, 0.0], [top, 1.0]]))
    with pytest.raises(ig.errors.DomainError, match="the cues less the mean image"):
        ImageMemory(torch.tensor([[-top, 0.0]])).complete(torch.tensor([[top, top]]), every[:2])
    with pytest.raises(ig.errors.DomainError, match="Bring them together"):
        ImageMemory(images).complete(images.double(), every)
