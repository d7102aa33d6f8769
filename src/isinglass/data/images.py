"""A user's own images: files, folders and arrays, read as gray or color numbers from 0 to 1."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from isinglass._support.optional import require_extra
from isinglass._support.typing import Bool, Float
from isinglass.errors import DomainError, FileError, ShapeError

with require_extra("cli"):
    from PIL import Image, ImageOps, UnidentifiedImageError

__all__ = ["Picture", "holds_images", "read_pictures", "save_png", "stack_pictures"]

PICTURES = {".png", ".jpg", ".jpeg"}
ARRAYS = {".npy", ".npz"}


@dataclass(frozen=True)
class Picture:
    """An image with a mask of its known pixels.

    Attributes:
        name: Where it came from.
        pixels: 0 to 1, ``(height, width, channels)`` with one channel (gray) or three.
        known: Which pixels are given; False where a PNG is transparent.
    """

    name: str
    pixels: Float[Tensor, "height width channels"]
    known: Bool[Tensor, "height width"]


def read_pictures(paths: Sequence[Path]) -> list[Picture]:
    """Reads PNG and JPEG files, folders of them (not their subfolders), and .npy/.npz arrays.

    Arrays hold one image ``(h, w)`` or ``(h, w, 3)``, or several ``(n, h, w)`` or
    ``(n, h, w, 3)``. Unsigned 16-bit numbers count as 0 to 65,535, other whole numbers as 0 to
    255, the rest as 0 to 1. Arrays of one dimension beside others in an .npz, such as labels, are
    passed over. Images are turned as their EXIF orientation says.

    Args:
        paths: What to read, in this order; a folder's files by name.

    Raises:
        FileError: If a file is missing, is not an image, or is truncated, or if a folder has no
            image in it.
        ShapeError: If an array has another shape.
        DomainError: If a value lies outside the range that its type stands for.

    Examples:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "two.npy"
        >>> np.save(path, np.zeros((2, 5, 4)))
        >>> [tuple(picture.pixels.shape) for picture in read_pictures([path])]
        [(5, 4, 1), (5, 4, 1)]
    """
    found: list[Picture] = []
    for path in paths:
        if path.is_dir():
            files = sorted(p for p in path.iterdir() if p.suffix.lower() in PICTURES | ARRAYS)
            if not files:
                raise FileError(
                    "no image in this folder",
                    "It needs .png, .jpg, .npy or .npz",
                    operation=f"reading {path}",
                )
        else:
            files = [path]
        for file in files:
            found += _read_array(file) if file.suffix.lower() in ARRAYS else [_read_image(file)]
    return found


def _read_image(path: Path) -> Picture:
    try:
        with Image.open(path) as image:
            image.verify()  # finds damage that decoding forgives, but uses the image up
        with Image.open(path) as stored:
            image = ImageOps.exif_transpose(stored)
    except FileNotFoundError as error:
        raise FileError(
            "there is no such file", "Check the path", operation=f"reading {path}"
        ) from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise FileError(
            f"not a whole image ({error})",
            "Give a PNG or JPEG that opens elsewhere",
            operation=f"reading {path}",
        ) from error
    if image.mode[0] in "IF":  # converting these would clip them at 255
        return _deep_image(str(path), image)
    rgba = np.asarray(image.convert("RGBA"), dtype=np.float32) / 255
    pixels = torch.from_numpy(rgba[..., :1] if image.mode in {"1", "L", "LA"} else rgba[..., :3])
    return Picture(str(path), pixels.contiguous(), torch.from_numpy(rgba[..., 3] >= 0.5))


def _deep_image(name: str, image: Image.Image) -> Picture:
    """Reads a gray image of 16 bits, which Pillow may hold as 32, or of floats."""
    values = np.asarray(image)
    pixels = _unit_range(name, values, top=None if image.mode == "F" else 2**16 - 1)
    clear = image.info.get("transparency")
    known = np.ones(values.shape, bool) if clear is None else values != clear
    return Picture(name, pixels.unsqueeze(-1), torch.from_numpy(known))


def _unit_range(name: str, array: np.ndarray, top: int | None = None) -> Tensor:
    """Scales numbers to 0 to 1 by ``top``, which None takes from their type."""
    if top is None:
        sixteen_bits = array.dtype.kind == "u" and array.dtype.itemsize == 2
        top = 1 if array.dtype.kind in "fb" else 2**16 - 1 if sixteen_bits else 255
    with np.errstate(over="ignore"):
        values = array.astype(np.float32) / np.float32(top)
    if not (values.min() >= 0 and values.max() <= 1):  # so that NaN is refused too
        raise DomainError(
            f"{array.dtype} values from {array.min():g} to {array.max():g}, read as 0 to {top}",
            "Give uint8 from 0 to 255, uint16 from 0 to 65535, or floats from 0 to 1",
            operation=f"reading {name}",
        )
    return torch.from_numpy(values)


def _read_array(path: Path) -> list[Picture]:
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            arrays = {"": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    except FileNotFoundError as error:
        raise FileError(
            "there is no such file", "Check the path", operation=f"reading {path}"
        ) from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise FileError(
            f"not a whole array file ({error})",
            "Save it again with numpy.save",
            operation=f"reading {path}",
        ) from error
    if len(arrays) > 1:  # labels and the like lie beside the images
        arrays = {key: a for key, a in arrays.items() if a.ndim >= 2} or arrays
    pictures = []
    for key, array in arrays.items():
        name = f"{path}:{key}" if key else str(path)
        images = _as_batch(name, array)
        several = len(images) > 1
        pictures += [
            Picture(f"{name}[{i}]" if several else name, image, torch.ones(image.shape[:2]) > 0)
            for i, image in enumerate(images)
        ]
    return pictures


def _as_batch(name: str, array: np.ndarray) -> Tensor:
    color = array.ndim in {3, 4} and array.shape[-1] == 3
    if array.dtype.kind not in "uifb" or array.size == 0 or array.ndim - color not in {2, 3}:
        raise ShapeError(
            f"an array of shape {array.shape} and type {array.dtype}",
            "Give images as numbers: (h, w), (h, w, 3), (n, h, w) or (n, h, w, 3)",
            operation=f"reading {name}",
        )
    values = _unit_range(name, array)
    values = values if color else values.unsqueeze(-1)
    return values if values.ndim == 4 else values.unsqueeze(0)


def holds_images(path: Path) -> bool:
    """Returns whether a file holds arrays of more dimensions than a table has."""
    if path.suffix.lower() not in ARRAYS or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            arrays = [loaded] if isinstance(loaded, np.ndarray) else list(dict(loaded).values())
    except (OSError, ValueError, EOFError):
        return False  # to be named by whoever reads it
    return any(array.ndim >= 3 for array in arrays)


def stack_pictures(
    pictures: Sequence[Picture], size: tuple[int, int] | None = None, color: bool | None = None
) -> tuple[Float[Tensor, "n height width channels"], Bool[Tensor, "n height width"]]:
    """Brings pictures to one size and one number of channels.

    Unknown pixels take the mean of the picture's known ones, so that what a PNG hides under its
    transparent pixels does not show; a picture with none becomes black.

    Args:
        pictures: At least one.
        size: (height, width); None is that of the first picture.
        color: Whether to keep color; None keeps it if any picture has it.

    Returns:
        Pixels, and which of them are known.

    Raises:
        ShapeError: If there is no picture.

    Examples:
        >>> known = torch.tensor([[True, False]])
        >>> gray = Picture("gray", torch.tensor([[[0.25], [1.0]]]), known)
        >>> red = Picture("red", torch.tensor([[[1.0, 0.0, 0.0]]]), torch.ones(1, 1) > 0)
        >>> pixels, known = stack_pictures([gray, red])
        >>> pixels[..., 0]
        tensor([[[0.2500, 0.2500]],
                [[1.0000, 1.0000]]])
        >>> known
        tensor([[[ True, False]],
                [[ True,  True]]])
    """
    if not pictures:
        raise ShapeError("no pictures", "Give at least one image")
    height, width = pictures[0].pixels.shape[:2] if size is None else size
    color = any(p.pixels.shape[-1] == 3 for p in pictures) if color is None else color
    stacked, known = [], []
    for picture in pictures:
        pixels = _fill_unknown(picture)
        if color and pixels.shape[-1] == 1:
            pixels = pixels.expand(-1, -1, 3)
        elif not color and pixels.shape[-1] == 3:
            pixels = pixels @ pixels.new_tensor([[0.299], [0.587], [0.114]])
        stacked.append(_resize(pixels, (height, width)))
        known.append(
            _resize(picture.known.to(pixels).unsqueeze(-1), (height, width))[..., 0] >= 0.5
        )
    return torch.stack(stacked), torch.stack(known)


def _fill_unknown(picture: Picture) -> Tensor:
    known = picture.known.unsqueeze(-1)
    seen = torch.where(known, picture.pixels, 0.0)
    mean = seen.double().sum((0, 1)) / known.sum().clamp_min(1)
    return torch.where(known, seen, mean.to(seen))


def _resize(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(pixels.shape[:2]) == size:
        return pixels
    moved = pixels.movedim(-1, 0).unsqueeze(0)
    resized = torch.nn.functional.interpolate(moved, size, mode="bilinear", antialias=True)
    return resized[0].movedim(0, -1).clamp(0, 1)


def save_png(path: Path, pixels: Float[Tensor, "height width channels"], note: str) -> None:
    """Writes pixels from 0 to 1 as a PNG with a note in its text chunk.

    Args:
        path: A path given by :func:`isinglass.io.atomic.atomic_write`.
        pixels: Gray (one channel) or color (three).
        note: Text for the chunk named ``isinglass``.

    Examples:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "gray.png"
        >>> save_png(path, torch.full((2, 3, 1), 0.5), "half gray")
        >>> with Image.open(path) as image:
        ...     image.size, image.info["isinglass"]
        ((3, 2), 'half gray')
    """
    from PIL.PngImagePlugin import PngInfo

    values = (pixels.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    chunk = PngInfo()
    chunk.add_text("isinglass", note)
    Image.fromarray(values[..., 0] if values.shape[-1] == 1 else values).save(
        path, format="PNG", pnginfo=chunk
    )
