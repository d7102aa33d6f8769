"""A user's own images: files, folders and arrays, read as gray or color numbers from 0 to 1."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from isinglass._support.optional import require_extra
from isinglass._support.typing import Bool, Float
from isinglass.data.arrays import load_arrays
from isinglass.data.picture import Picture, Size, check_range, decode, scale
from isinglass.errors import FileError, IsinglassError, ShapeError

with require_extra("cli"):
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

__all__ = ["Images", "are_images", "holds_images", "read_images", "save_png"]

PICTURES = {".png", ".jpg", ".jpeg"}
ARRAYS = {".npy", ".npz"}
#: Files left out of which each has a line of its own.
MOST_NAMED = 10
LUMA = ((0.299,), (0.587,), (0.114,))


@dataclass(frozen=True)
class Images:
    """Images of one size with masks of their known pixels, and what was not read.

    Attributes:
        pixels: 0 to 1, ``(n, height, width, channels)`` with one channel (gray) or three.
        known: Which pixels are given, ``(n, height, width)``; False where a PNG is transparent.
        names: Where each came from.
        notes: A line for each file that is left out, and one for those that are passed over.
    """

    pixels: Float[Tensor, "n height width channels"]
    known: Bool[Tensor, "n height width"]
    names: list[str]
    notes: list[str]


def read_images(
    paths: Sequence[Path],
    size: int | Size | None = None,
    *,
    color: bool | None = None,
    tallest: int | None = None,
) -> Images:
    """Reads PNG and JPEG files, folders of them (not their subfolders), and .npy/.npz arrays.

    Arrays hold one image ``(h, w)`` or ``(h, w, 3)``, or several ``(n, h, w)`` or
    ``(n, h, w, 3)``. Unsigned 16-bit numbers count as 0 to 65,535, other whole numbers as 0 to
    255, the rest as 0 to 1. Arrays of one dimension beside others in an .npz, such as labels, are
    passed over. Images are turned as their EXIF orientation says, and brought to one size one
    at a time, so that one alone is in memory as large as it came. Unknown pixels take the mean of
    the image's known ones; an image with none becomes black. A file that cannot be read is left
    out, and ``notes`` say so.

    Args:
        paths: What to read, in this order; a folder's files by name.
        size: Height, or height and width; None is that of the first image.
        color: Whether to keep color; None keeps it if any image has it.
        tallest: Greatest height of images from files where no size is given.

    Raises:
        FileError: If a path is missing, or nothing can be read.
        ShapeError: If the one file is an array of another shape.
        DomainError: If a value of the one file lies outside the range that its type stands for.

    Examples:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "two.npy"
        >>> np.save(path, np.zeros((2, 5, 4)))
        >>> read_images([path]).pixels.shape
        torch.Size([2, 5, 4, 1])
    """
    files, faults, passed_over = _find_files(paths)
    frame = _Frame(size, tallest)
    found: list[Picture] = []
    for file in files:
        try:
            for picture in _pictures(file, frame):
                found.append(picture)
                frame.size = (picture.pixels.shape[0], picture.pixels.shape[1])
        except IsinglassError as fault:
            faults.append(fault)
    notes = [
        f"{fault.operation.removeprefix('reading ')} is left out: {fault.found}"
        for fault in faults[:MOST_NAMED]
    ]
    if len(faults) > MOST_NAMED:
        notes.append(f"{len(faults) - MOST_NAMED} more files are left out")
    notes += passed_over
    if not found and len(faults) == 1:
        raise faults[0]
    if not found:
        raise FileError(
            f"no image ({'; '.join(notes) or 'nothing there'})",
            "It needs .png, .jpg, .npy or .npz",
            operation=f"reading {', '.join(map(str, paths)) or 'images'}",
        )
    if color is None:
        color = any(picture.pixels.shape[-1] == 3 for picture in found)
    return Images(
        torch.stack([_in_channels(picture.pixels, color) for picture in found]),
        torch.stack([picture.known for picture in found]),
        [picture.name for picture in found],
        notes + frame.notes,
    )


class _Frame:
    """The size that images are brought to: the one asked for, or that of the first read."""

    def __init__(self, size: int | Size | None, tallest: int | None) -> None:
        self.size = size if isinstance(size, tuple) else None
        self.height = size if isinstance(size, int) else None
        self.tallest = tallest
        self.notes: list[str] = []

    def wanted(self, height: int, width: int, tallest: int | None = None) -> Size:
        """Returns what an image of a height and a width is brought to."""
        tall = self.height or min(height, tallest or height)
        return self.size or (tall, max(1, round(width * tall / height)))

    def wanted_of_file(self, height: int, width: int) -> Size:
        """Returns what an image in a file is brought to, no taller than is allowed."""
        wanted = self.wanted(height, width, self.tallest)
        if self.size is None and self.height is None and wanted[0] < height:
            self.notes = [
                f"Images are brought to {wanted[0]} x {wanted[1]} pixels, the first has {height} x "
                f"{width}: --size says another height"
            ]
        return wanted


def _find_files(paths: Sequence[Path]) -> tuple[list[Path], list[IsinglassError], list[str]]:
    """Returns the files to read, those of folders that are none, and what is passed over there."""
    files: list[Path] = []
    faults: list[IsinglassError] = []
    passed_over: Counter[str] = Counter()
    for path in paths:
        try:
            inside = sorted(path.iterdir()) if path.is_dir() else None
            there = path.exists()
        except OSError as error:
            raise _fault(path, f"it cannot be read ({error.strerror})", "Allow it") from error
        if not there:
            raise _fault(path, "there is no such file", "Check the path")
        for file in [path] if inside is None else inside:
            if inside is not None and file.suffix.lower() not in PICTURES | ARRAYS:
                passed_over["folder" if file.is_dir() else file.suffix.lower() or "no suffix"] += 1
            elif file.name.startswith("._"):
                faults.append(_fault(file, "notes of macOS on another file, no image", "Delete it"))
            elif not file.is_file():
                kind = "a folder" if file.is_dir() else "no file"
                faults.append(_fault(file, kind, "Give files"))
            else:
                files.append(file)
    counts = ", ".join(f"{count} {suffix}" for suffix, count in sorted(passed_over.items()))
    return files, faults, [f"Passed over, being no PNG, JPEG or array: {counts}"] if counts else []


def _fault(path: Path, found: str, remedy: str) -> FileError:
    return FileError(found, remedy, operation=f"reading {path}")


def _pictures(path: Path, frame: _Frame) -> Iterator[Picture]:
    """Yields the images of a file one at a time, each at the size of the frame."""
    if path.suffix.lower() not in ARRAYS:
        yield decode(path, frame.wanted_of_file)
        return
    arrays = load_arrays(path)
    if len(arrays) > 1:  # labels and the like lie beside the images
        arrays = {key: a for key, a in arrays.items() if a.ndim >= 2} or arrays
    named = {f"{path}:{key}" if key else str(path): array for key, array in arrays.items()}
    tops = {name: _check_images(name, array) for name, array in named.items()}
    for name, array in named.items():
        images = array if array.shape[-1] == 3 and array.ndim > 2 else array[..., np.newaxis]
        images = images if images.ndim == 4 else images[np.newaxis]
        for number, image in enumerate(images):
            pixels = scale(image, tops[name])
            picture = Picture(
                f"{name}[{number}]" if len(images) > 1 else name,
                pixels,
                torch.ones(pixels.shape[:2]) > 0,
            )
            yield picture.resized(frame.wanted(*pixels.shape[:2]))


def _check_images(name: str, array: np.ndarray) -> int:
    """Returns the number that is white in an array of images."""
    color = array.ndim in {3, 4} and array.shape[-1] == 3
    if array.dtype.kind not in "uifb" or array.size == 0 or array.ndim - color not in {2, 3}:
        raise ShapeError(
            f"an array of shape {array.shape} and type {array.dtype}",
            "Give images as numbers: (h, w), (h, w, 3), (n, h, w) or (n, h, w, 3)",
            operation=f"reading {name}",
        )
    return check_range(name, array)


def _in_channels(pixels: Tensor, color: bool) -> Tensor:
    if color:
        return pixels.expand(-1, -1, 3)
    return pixels if pixels.shape[-1] == 1 else pixels @ pixels.new_tensor(LUMA)


def are_images(paths: Sequence[Path]) -> bool:
    """Returns whether what is named is images rather than a table: a folder, a picture, arrays."""
    return any(
        path.is_dir() or path.suffix.lower() in PICTURES or holds_images(path) for path in paths
    )


def holds_images(path: Path) -> bool:
    """Returns whether a file holds arrays of more dimensions than a table has."""
    if path.suffix.lower() not in ARRAYS or not path.is_file():
        return False
    try:
        arrays = load_arrays(path)
    except FileError:
        return False  # to be named by whoever reads it
    return any(array.ndim >= 3 for array in arrays.values())


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
    values = (pixels.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    chunk = PngInfo()
    chunk.add_text("isinglass", note)
    Image.fromarray(values[..., 0] if values.shape[-1] == 1 else values).save(
        path, format="PNG", pnginfo=chunk
    )
