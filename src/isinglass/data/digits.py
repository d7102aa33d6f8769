"""Real handwritten digits, bundled with scikit-learn: 1,797 images of 8 × 8 pixels, 17 levels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from isinglass._support.optional import require_extra
from isinglass._support.typing import Float, Int

__all__ = ["LEVELS", "SIDE", "Digits", "load_digits"]

SIDE = 8
LEVELS = 17


@dataclass(frozen=True)
class Digits:
    """Images of digits with their labels: a training, validation or test set.

    Attributes:
        images: Gray levels 0 to 16, ``(n, 64)``, float64, row by row.
        labels: The digit, ``(n,)``.

    Examples:
        >>> digits = Digits(torch.tensor([[0.0, 16.0] * 32]).double(), torch.tensor([1]))
        >>> digits.spins()[0, :4]
        tensor([-1.,  1., -1.,  1.], dtype=torch.float64)
        >>> digits.one_hot().shape
        torch.Size([1, 1088])
    """

    images: Float[Tensor, "n 64"]
    labels: Int[Tensor, " n"]

    def spins(self) -> Float[Tensor, "n 64"]:
        """Returns spins, +1 for ink and −1 for paper, divided at half the darkest level."""
        return torch.where(self.images >= LEVELS // 2, 1.0, -1.0).to(self.images)

    def bits(self) -> Float[Tensor, "n 64"]:
        """Returns bits, 1 for ink and 0 for paper, divided at half the darkest level."""
        return (self.images >= LEVELS // 2).to(self.images)

    def one_hot(self) -> Float[Tensor, "n 1088"]:
        """Returns each pixel one-hot, as one of 17 gray levels."""
        return torch.nn.functional.one_hot(self.images.long(), LEVELS).flatten(1).to(self.images)


def load_digits(seed: int = 0) -> tuple[Digits, Digits, Digits]:
    """Loads training, validation and test digits: 1,097, 300 and 400, shuffled by ``seed``.

    Reference: Alpaydin & Kaynak 1998, UCI Optical Recognition of Handwritten Digits.

    Raises:
        MissingExtraError: If scikit-learn is not installed.

    Examples:
        >>> train, valid, test = load_digits()
        >>> len(train.images), len(valid.images), len(test.images)
        (1097, 300, 400)
    """
    with require_extra("sklearn"):
        from sklearn import datasets
    pixels, digits = datasets.load_digits(return_X_y=True)
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(seed))
    images = torch.from_numpy(pixels)[order]
    labels = torch.from_numpy(digits)[order]
    parts = [slice(0, 1097), slice(1097, 1397), slice(1397, None)]
    train, valid, test = (Digits(images[part], labels[part]) for part in parts)
    return train, valid, test
