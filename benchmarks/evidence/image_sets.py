"""Images that memories store: handwritten digits, faces, photographs, characters of alphabets."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from isinglass.errors import FileError

__all__ = ["Characters", "data_file", "faces", "mnist", "omniglot", "photographs", "spins"]


def data_file(*parts: str) -> Path:
    """Returns the path of a file under ISINGLASS_DATA.

    Raises:
        FileError: If it is not there.
    """
    path = Path(os.environ.get("ISINGLASS_DATA", ""), *parts)
    if not path.exists():
        name = "/".join(parts)
        raise FileError(f"{path} is missing", f"Let ISINGLASS_DATA name the folder with {name}")
    return path


def mnist() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Returns training and test images, (n, 28, 28) in [0, 1], float32, and their labels."""
    with np.load(data_file("mnist", "mnist.npz")) as file:
        train, test = (
            (
                torch.from_numpy(file[f"x_{part}"]).float() / 255,
                torch.from_numpy(file[f"y_{part}"]).long(),
            )
            for part in ("train", "test")
        )
    return train, test


def faces() -> Tensor:
    """Returns the 400 Olivetti faces, (400, 64, 64) in [0, 1], ten a person."""
    with np.load(data_file("olivetti", "olivetti.npz")) as file:
        return torch.from_numpy(file["images"]).float() / 255


def photographs(side: int) -> Tensor:
    """Returns tiles of the two photographs that scikit-learn brings, (n, side, side), gray."""
    from sklearn.datasets import load_sample_images  # needs Pillow

    tiles = []
    for picture in load_sample_images().images:
        gray = torch.tensor(picture).float().mean(-1) / 255
        down, across = (size // side for size in gray.shape)
        cut = gray[: down * side, : across * side].reshape(down, side, across, side)
        tiles.append(cut.transpose(1, 2).reshape(-1, side, side))
    return torch.cat(tiles)


def spins(images: Tensor, side: int, level: float | None = None) -> Tensor:
    """Scales images to side × side and divides them at a level, or each at its own median.

    Args:
        images: ``(n, height, width)``.
        side: Of the result.
        level: Above it is +1; None is the median of each image, so that half of it is.

    Returns:
        ``(n, side²)`` of ±1.
    """
    scaled = torch.nn.functional.interpolate(
        images[:, None], size=(side, side), mode="bilinear", antialias=True
    ).flatten(1)
    bound = scaled.median(-1, keepdim=True).values if level is None else level
    return torch.where(scaled > bound, 1.0, -1.0)


@dataclass(frozen=True)
class Characters:
    """Handwritten characters of alphabets, each drawn by the same twenty people.

    Attributes:
        images: ``(characters, 20, side, side)``, ink 1 and paper 0.
        alphabets: The alphabet of each character.
    """

    images: Tensor
    alphabets: list[str]

    def of(self, *names: str) -> Tensor:
        """Returns the images of some alphabets, (characters, 20, side, side)."""
        return self.images[torch.tensor([alphabet in names for alphabet in self.alphabets])]


def omniglot(side: int = 28) -> Characters:
    """Returns the 242 characters of Omniglot's two small background sets, 105 × 105 scaled down."""
    with np.load(data_file("omniglot_small", "omniglot_small.npz")) as file:
        ink = np.unpackbits(file["images_packed"], axis=-1, count=105 * 105)
        order = np.lexsort((file["drawer"], file["char"]))
        names = [str(name).partition("/")[0] for name in file["char_names"]]
    images = torch.from_numpy(ink[order]).float().reshape(-1, 1, 105, 105)
    scaled = torch.nn.functional.interpolate(
        images, size=(side, side), mode="bilinear", antialias=True
    )
    return Characters(scaled.reshape(len(names), 20, side, side), names)
