"""The digits that the lab remembers, enlarged and standardized."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from isinglass._support.typing import Float
from isinglass.cli.lab.page import pack
from isinglass.data.digits import LEVELS, SIDE, Digits, load_digits

__all__ = ["LARGE", "MOST", "Standardized", "digits_data", "enlarged", "lab_digits", "standardize"]

MOST = 1_000  # digits that the page has
LARGE = 28  # pixels a side, once enlarged


@dataclass(frozen=True)
class Standardized:
    """Images less their mean, each of length 1.

    Attributes:
        mean: Their mean, ``(d,)``.
        scale: Their mean distance from it.
        patterns: What is stored, ``(n, d)``.
    """

    mean: Float[Tensor, " d"]
    scale: float
    patterns: Float[Tensor, "n d"]


def lab_digits() -> Digits:
    """Returns the first thousand training digits of the library's split."""
    train, _, _ = load_digits(0)
    return Digits(train.images[:MOST], train.labels[:MOST])


def enlarged(images: Float[Tensor, "n 64"]) -> Float[Tensor, "n 784"]:
    """Enlarges images of 8 × 8 to 28 × 28, bilinearly, and gray levels to 0 … 1."""
    square = (images / (LEVELS - 1)).reshape(-1, 1, SIDE, SIDE)
    larger = torch.nn.functional.interpolate(
        square, size=(LARGE, LARGE), mode="bilinear", align_corners=False
    )
    return larger.flatten(1)


def standardize(images: Float[Tensor, "n d"]) -> Standardized:
    """Takes the mean off and brings each image to length 1, so that no memory is the deeper."""
    mean = images.mean(0)
    lengths = (images - mean).norm(dim=-1, keepdim=True)
    return Standardized(mean, float(lengths.mean()), (images - mean) / lengths)


def digits_data() -> dict[str, Any]:
    """Returns the digits for the page: a byte a pixel, a byte a label."""
    digits = lab_digits()
    return {
        "images": pack(digits.images.byte().numpy().ravel()),
        "labels": pack(digits.labels.byte().numpy()),
    }
