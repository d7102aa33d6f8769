"""One image with a mask of its known pixels, decoded from a file no larger than it is wanted."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from isinglass._support.optional import require_extra
from isinglass._support.typing import Bool, Float
from isinglass.errors import DomainError, FileError

with require_extra("cli"):
    from PIL import ExifTags, Image

__all__ = ["Picture", "Size", "check_range", "decode", "scale"]

#: Height and width in pixels.
Size: TypeAlias = tuple[int, int]

#: Whole steps of reduction stop at so many times the size that is wanted, the rest is resampled.
GAP = 2
SIXTEEN_BITS = 2**16 - 1
#: How an image lies in its file, by EXIF orientation, and what brings it upright.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}  # fmt: skip


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

    def resized(self, size: Size) -> Picture:
        """Resamples the picture; unknown pixels take the mean of the known ones, or black.

        So what a PNG hides under its transparent pixels does not show.

        Examples:
            >>> known = torch.tensor([[True, True, False]])
            >>> gray = Picture("gray", torch.tensor([[[0.25], [0.75], [1.0]]]), known)
            >>> gray.resized((1, 3)).pixels[..., 0]
            tensor([[0.2500, 0.7500, 0.5000]])
        """
        if bool(self.known.all()):
            known = self.known.new_ones(()).expand(size)
            return Picture(self.name, _resample(self.pixels, size), known)
        shown = self.known.unsqueeze(-1)
        seen = torch.where(shown, self.pixels, 0.0)
        mean = seen.double().sum((0, 1)) / shown.sum().clamp_min(1)
        pixels = _resample(torch.where(shown, seen, mean.to(seen)), size)
        return Picture(self.name, pixels, _resample(shown.to(seen), size)[..., 0] >= 0.5)


def _resample(pixels: Tensor, size: Size) -> Tensor:
    if tuple(pixels.shape[:2]) == size:
        return pixels
    moved = pixels.movedim(-1, 0).unsqueeze(0)
    resized = torch.nn.functional.interpolate(moved, size, mode="bilinear", antialias=True)
    return resized[0].movedim(0, -1).clamp(0, 1)


def decode(path: Path, wanted: Callable[[int, int], Size]) -> Picture:
    """Reads an image file at the size that is wanted, upright as its EXIF says.

    A JPEG is decoded, and any image of 8 bits reduced, in whole steps to no less than twice
    that size before it is resampled, so that a photo is never held as floats. EXIF that cannot be
    read turns nothing.

    Args:
        path: PNG, JPEG, or what else Pillow reads.
        wanted: Gives the height and width to bring it to for those it has.

    Raises:
        FileError: If the file is missing, is not an image, is truncated, or has more pixels than
            Pillow reads.
        DomainError: If a gray level of floats lies outside 0 to 1.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large images and damaged notes in them
            with Image.open(path) as image:
                image.verify()  # finds damage that decoding forgives, but uses the image up
            with Image.open(path) as image:
                return _upright(str(path), image, wanted)
    except FileNotFoundError as error:
        found, remedy, cause = "there is no such file", "Check the path", error
    except IsADirectoryError as error:
        found, remedy, cause = "a folder", "Give a file", error
    except Image.DecompressionBombError as error:
        found = f"an image of more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels"
        remedy, cause = "Save it smaller", error
    except (DomainError, MemoryError):
        raise
    except Exception as error:  # decoders raise anything on damaged bytes
        found, remedy = f"not a whole image ({error})", "Give a PNG or JPEG that opens elsewhere"
        cause = error
    raise FileError(found, remedy, operation=f"reading {path}") from cause


def _upright(name: str, image: Image.Image, wanted: Callable[[int, int], Size]) -> Picture:
    orientation = _orientation(image)
    turn = TURNS.get(orientation)
    swap = -1 if orientation >= 5 else 1  # height and width change places
    size = wanted(*image.size[::-swap])
    height, width = size[::swap]
    if image.mode[0] in "IF":  # converting these would clip them at 255
        return _deep(name, image if turn is None else image.transpose(turn)).resized(size)
    full = image.size
    _, box = image.draft(None, (GAP * width, GAP * height)) or ("", None)
    gray, clear = image.mode in {"1", "L", "LA"}, image.has_transparency_data
    flat = image.convert("RGBA" if clear else "L" if gray else "RGB")
    if flat.size != full or min(flat.width // width, flat.height // height) > GAP:
        # The box, as the last pixels of a draft may be whole ones in part only.
        flat = flat.resize((width, height), Image.Resampling.BILINEAR, box, reducing_gap=GAP)
    flat = flat if turn is None else flat.transpose(turn)
    values = np.asarray(flat, dtype=np.float32).reshape(flat.height, flat.width, -1) / 255
    pixels = torch.from_numpy(values[..., : 1 if gray else 3]).contiguous()
    known = torch.from_numpy(values[..., 3] >= 0.5) if clear else torch.ones(values.shape[:2]) > 0
    return Picture(name, pixels, known).resized(size)


def _orientation(image: Image.Image) -> int:
    try:
        found = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # notes of a camera may hold anything; the pixels are whole all the same
        return 1
    return found if found in TURNS else 1


def _deep(name: str, image: Image.Image) -> Picture:
    """Takes a gray image of 16 bits, which Pillow may hold as 32, or of floats."""
    values = np.asarray(image)
    top = check_range(name, values, None if image.mode == "F" else SIXTEEN_BITS)
    clear = image.info.get("transparency")
    known = np.ones(values.shape, bool) if clear is None else values != clear
    return Picture(name, scale(values, top).unsqueeze(-1), torch.from_numpy(known))


def check_range(name: str, array: np.ndarray, top: int | None = None) -> int:
    """Returns the number that is white, which None takes from the type, once all lie below it.

    Raises:
        DomainError: If a number lies outside 0 to that, or is NaN.
    """
    if top is None:
        sixteen_bits = array.dtype.kind == "u" and array.dtype.itemsize == 2
        top = 1 if array.dtype.kind in "fb" else SIXTEEN_BITS if sixteen_bits else 255
    least, most = array.min(), array.max()
    if not (least >= 0 and most <= top):  # so that NaN is refused too
        raise DomainError(
            f"{array.dtype} values from {least:g} to {most:g}, read as 0 to {top}",
            "Give uint8 from 0 to 255, uint16 from 0 to 65535, or floats from 0 to 1",
            operation=f"reading {name}",
        )
    return top


def scale(array: np.ndarray, top: int) -> Tensor:
    """Returns numbers from 0 to ``top`` as float32 from 0 to 1."""
    return torch.from_numpy(array.astype(np.float32) / np.float32(top))
