"""What ``imagine`` learns from: a table, or images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch

from isinglass.data.arrays import save_array
from isinglass.data.columns import Cells, Columns, is_unknown
from isinglass.data.images import are_images, read_images
from isinglass.data.table import ARRAYS, TEXTS, Reading, Table, check_table_name, read_table
from isinglass.errors import DomainError, ParameterError, ShapeError

__all__ = ["Shape", "Source", "read_source"]

#: Height, width and channels of an image.
Shape: TypeAlias = tuple[int, int, int]

HELD_OUT = 0.2
#: Height that images of files are brought to if they are taller and no size is named.
TALLEST = 64


@dataclass(frozen=True)
class Source(ABC):
    """Rows to learn from, and how rows like them are written.

    Attributes:
        path: Where they came from.
        shape: What each row is as an image; None if it is none.
        kinds: Columns that are not as they look.
        rows: The rows as the estimator takes them: an array, or columns by name.
        words: What stands for unknown cells, and how often.
        decided: How the file was read, in a line.
        notes: What the user should know of it.
    """

    path: Path
    shape: Shape | None
    kinds: dict[str, str]
    rows: Any = field(repr=False)
    words: Counter[str]
    decided: str = ""
    notes: Sequence[str] = ()

    noun = "row"
    suffixes = ARRAYS

    @property
    def count(self) -> int:
        """The number of rows."""
        return len(next(iter(self.rows.values())) if isinstance(self.rows, dict) else self.rows)

    @property
    def unknown(self) -> int:
        """The number of unknown cells."""
        return self.words.total()

    def count_in_words(self, count: int) -> str:
        """Returns so many rows or images, in words."""
        return f"{count} {self.noun}" + "s" * (count != 1)

    def take(self, index: np.ndarray) -> Any:
        """Selects rows by their numbers."""
        if isinstance(self.rows, dict):
            return {name: cells[index] for name, cells in self.rows.items()}
        return self.rows[index]

    @abstractmethod
    def write(self, path: Path, rows: Any, columns: Columns, filled: bool) -> None:
        """Writes fresh rows, or these rows filled, to a path given by ``atomic_write``."""

    def split(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Splits the rows at random into numbers to fit and numbers held out."""
        order = np.random.default_rng(seed).permutation(self.count)
        held = round(HELD_OUT * self.count)
        return order[held:], order[:held]

    def default_name(self, verb: str) -> Path:
        """Returns the file that rows go to unless another is named, in the present folder."""
        name = self.path.resolve()
        return Path(f"{name.name if name.is_dir() else name.stem}-{verb}{self.suffixes[0]}")

    def check_name(self, out: Path) -> None:
        """Refuses a name of another kind of file.

        Raises:
            ParameterError: If it is one.
        """
        check_table_name(f"writing {out}", out, self.suffixes)


@dataclass(frozen=True)
class TableSource(Source):
    """A table; fresh rows have its names, order and decimals, filled ones all that was written."""

    table: Table | None = field(default=None, repr=False)

    @classmethod
    def of(cls, path: Path, table: Table, image: str | None, kinds: dict[str, str]) -> TableSource:
        """Takes the columns of a table, of which each row may be an image."""
        shape = _shape(image, table.columns)
        rows = table.columns if table.text else np.column_stack(list(table.columns.values()))
        kinds = kinds or ({} if shape is None else _pixel_kinds(table.columns))
        words = sum(table.words.values(), Counter[str]())
        return cls(path, shape, kinds, rows, words, table.decided, table.notes, table)

    @property
    def suffixes(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """What a file of such rows may be called, the first by default."""
        text = self.table and self.table.text
        return tuple(dict.fromkeys([self.path.suffix.lower(), *(TEXTS if text else ARRAYS)]))

    def write(self, path: Path, rows: Any, columns: Columns, filled: bool) -> None:
        """Writes rows as the table was written."""
        table = self.table
        cells = list(rows.values()) if isinstance(rows, dict) else list(rows.T)
        if table is not None:
            table.write(path, (table.filled if filled else table.fresh)(columns, cells))


@dataclass(frozen=True)
class ImageSource(Source):
    """Images, one a row, pixels from 0 to 1."""

    noun = "image"
    suffixes = (".npz", ".npy")

    def write(self, path: Path, rows: Any, columns: Columns, filled: bool) -> None:
        """Writes an array of images, ``(n, h, w)`` or ``(n, h, w, 3)``."""
        height, width, channels = self.shape or (1, -1, 1)
        images = np.clip(rows, 0, 1).astype(np.float32).reshape(-1, height, width, channels)
        save_array(path, images.squeeze(-1) if channels == 1 else images)


def read_source(
    paths: list[Path],
    *,
    image: str | None,
    size: int | None,
    kinds: dict[str, str],
    drop: list[str],
    reading: Reading,
    fitted: Mapping[str, str] | None,
) -> Source:
    """Reads a table or images, whichever the paths hold.

    Args:
        paths: One table, or any number of images, folders and arrays of images.
        image: What each row of the table is as an image, such as "28x28" or "32x32x3".
        size: Height in pixels to bring images to.
        kinds: Columns that are not as they look.
        drop: Columns to leave out.
        reading: What is told of how a .csv is read.
        fitted: Columns and kinds of the machine that is to be used; None if one is to be fitted.

    Raises:
        DomainError: If nothing is known of a column.
        FileError: If a file is missing or is neither.
        ShapeError: If a table has no rows, or rows that are no such images.
        ParameterError: If an option is of no use with what the paths hold.
    """
    first = paths[0]
    if are_images(paths):
        if image or kinds or drop or reading != Reading():
            raise ParameterError(
                "images, with an option for tables",
                "Leave out --image, --categorical, --numeric, --drop and how a .csv is read",
                operation=f"reading {first}",
            )
        return _images(paths, size)
    if len(paths) > 1 or size is not None:
        raise ParameterError(
            "a table, with another file or --size", "Give one table", operation=f"reading {first}"
        )
    table = read_table(
        first, reading, kinds=kinds, drop=drop, names=list(fitted or ()), fitted=fitted
    )
    for name, cells in table.columns.items():
        if fitted is None and is_unknown(cells).all():
            raise DomainError(
                f"column {name!r}: every cell is unknown",
                f"Leave it out: --drop {name}", operation=f"reading {first}",
            )  # fmt: skip
    return TableSource.of(first, table, image, kinds)


def _images(paths: list[Path], size: int | None) -> ImageSource:
    images = read_images(paths, size, tallest=TALLEST)
    pixels = images.pixels
    if bool((pixels == pixels[..., :1]).all()):  # gray, whatever it was saved as
        pixels = pixels[..., :1]
    array = torch.where(images.known.unsqueeze(-1), pixels, torch.nan).flatten(1).double().numpy()
    kinds = _pixel_kinds({str(number): cells for number, cells in enumerate(array.T)})
    words = Counter({"": int(np.isnan(array).sum())})
    shape = (pixels.shape[1], pixels.shape[2], pixels.shape[3])
    return ImageSource(paths[0], shape, kinds, array, words, notes=images.notes)


def _pixel_kinds(columns: Mapping[str, Cells]) -> dict[str, str]:
    """Returns one kind for all pixels, also where one is black in every image."""
    values = np.concatenate(list(columns.values()))
    binary = np.isin(values[~np.isnan(values)], (0, 1)).all()
    return dict.fromkeys(columns, "binary" if binary else "numeric")


def _shape(image: str | None, columns: Mapping[str, Cells]) -> Shape | None:
    """Parses the shape of the rows as images."""
    if image is None:
        return None
    if any(cells.dtype == object for cells in columns.values()):
        raise ParameterError("columns of names", "Leave them out: --drop COLUMN")
    try:
        height, width, *rest = (int(number) for number in image.lower().split("x"))
        (channels,) = rest or [1]
    except ValueError as error:
        raise ParameterError(f"{image!r}", "Say HxW or HxWx3, such as 28x28") from error
    if (
        min(height, width) < 1
        or channels not in {1, 3}
        or height * width * channels != len(columns)
    ):
        raise ShapeError(f"{image} for rows of {len(columns)} columns", "Give their product")
    return height, width, channels
