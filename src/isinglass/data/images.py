"""A user's own images: files, folders and arrays, read as grey or colour numbers from 0 to 1."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from isinglass._shapes import Bool, Float
from isinglass.errors import FileError, ShapeError
from isinglass.extras import needs

with needs("cli"):
    from PIL import Image, UnidentifiedImageError

__all__ = ["Picture", "read_pictures", "save_png", "stack_pictures"]

PICTURES = {".png", ".jpg", ".jpeg"}
ARRAYS = {".npy", ".npz"}


@dataclass(frozen=True)
class Picture:
    """One image.

    Attributes:
        name: Where it came from.
        pixels: 0 to 1, ``(height, width, channels)`` with one channel (grey) or three.
        known: Which pixels are given; False where a PNG is transparent.
    """

    name: str
    pixels: Float[Tensor, "height width channels"]
    known: Bool[Tensor, "height width"]


def read_pictures(paths: Sequence[Path]) -> list[Picture]:
    """Read PNG and JPEG files, folders of them (not their subfolders), and .npy/.npz arrays.

    Arrays hold one image ``(h, w)`` or ``(h, w, 3)``, or several ``(n, h, w)`` or
    ``(n, h, w, 3)``; whole numbers count as 0 to 255, others as 0 to 1. Arrays of one dimension
    beside others in an .npz, such as labels, are passed over.

    Args:
        paths: What to read, in this order; a folder's files by name.

    Raises:
        FileError: If a file is missing, is not an image, or is truncated, or if a folder has no
            image in it.
        ShapeError: If an array has another shape.

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
                    f"reading {path}",
                    "no image in this folder",
                    "It needs .png, .jpg, .npy or .npz",
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
        with Image.open(path) as image:
            image.load()
            grey = image.mode in {"1", "L", "LA", "I", "I;16", "F"}
            rgba = np.asarray(image.convert("RGBA"), dtype=np.float32) / 255
    except FileNotFoundError as error:
        raise FileError(f"reading {path}", "there is no such file", "Check the path") from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise FileError(
            f"reading {path}",
            f"not a whole image ({error})",
            "Give a PNG or JPEG that opens elsewhere",
        ) from error
    pixels = torch.from_numpy(rgba[..., :1] if grey else rgba[..., :3])
    return Picture(str(path), pixels.contiguous(), torch.from_numpy(rgba[..., 3] >= 0.5))


def _read_array(path: Path) -> list[Picture]:
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            arrays = {"": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    except FileNotFoundError as error:
        raise FileError(f"reading {path}", "there is no such file", "Check the path") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise FileError(
            f"reading {path}", f"not a whole array file ({error})", "Save it again with numpy.save"
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
    colour = array.ndim in {3, 4} and array.shape[-1] == 3
    if array.dtype.kind not in "uifb" or array.size == 0 or array.ndim - colour not in {2, 3}:
        raise ShapeError(
            f"reading {name}",
            f"an array of shape {array.shape} and type {array.dtype}",
            "Give images as numbers: (h, w), (h, w, 3), (n, h, w) or (n, h, w, 3)",
        )
    values = torch.from_numpy(array.astype(np.float32))
    if array.dtype.kind in "ui":
        values = values / 255
    if not bool(torch.isfinite(values).all()) or float(values.min()) < 0 or float(values.max()) > 1:
        raise ShapeError(
            f"reading {name}",
            f"values from {float(values.min()):g} to {float(values.max()):g}",
            "Give whole numbers from 0 to 255, or others from 0 to 1",
        )
    values = values if colour else values.unsqueeze(-1)
    return values if values.ndim == 4 else values.unsqueeze(0)


def stack_pictures(
    pictures: Sequence[Picture], size: tuple[int, int] | None = None, colour: bool | None = None
) -> tuple[Float[Tensor, "n height width channels"], Bool[Tensor, "n height width"]]:
    """Bring pictures to one size and one number of channels.

    Args:
        pictures: At least one.
        size: (height, width); None is that of the first picture.
        colour: Whether to keep colour; None keeps it if any picture has it.

    Returns:
        Pixels, and which of them are known.

    Raises:
        ShapeError: If there is no picture.
    """
    if not pictures:
        raise ShapeError("stack_pictures", "no pictures", "Give at least one image")
    height, width = pictures[0].pixels.shape[:2] if size is None else size
    colour = any(p.pixels.shape[-1] == 3 for p in pictures) if colour is None else colour
    stacked, known = [], []
    for picture in pictures:
        pixels = picture.pixels
        if colour and pixels.shape[-1] == 1:
            pixels = pixels.expand(-1, -1, 3)
        elif not colour and pixels.shape[-1] == 3:
            pixels = pixels @ pixels.new_tensor([[0.299], [0.587], [0.114]])
        stacked.append(_resize(pixels, (height, width)))
        known.append(
            _resize(picture.known.to(pixels).unsqueeze(-1), (height, width))[..., 0] >= 0.5
        )
    return torch.stack(stacked), torch.stack(known)


def _resize(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(pixels.shape[:2]) == size:
        return pixels
    moved = pixels.movedim(-1, 0).unsqueeze(0)
    resized = torch.nn.functional.interpolate(moved, size, mode="bilinear", antialias=True)
    return resized[0].movedim(0, -1).clamp(0, 1)


def save_png(path: Path, pixels: Float[Tensor, "height width channels"], note: str) -> None:
    """Write pixels from 0 to 1 as a PNG with a note in its text chunk.

    Args:
        path: A path given by :func:`isinglass.files.writing`.
        pixels: Grey (one channel) or colour (three).
        note: Text for the chunk named ``isinglass``.
    """
    from PIL.PngImagePlugin import PngInfo

    values = (pixels.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    chunk = PngInfo()
    chunk.add_text("isinglass", note)
    Image.fromarray(values[..., 0] if values.shape[-1] == 1 else values).save(
        path, format="PNG", pnginfo=chunk
    )
