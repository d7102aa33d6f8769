"""What ``imagine`` learns from: a .csv of mixed columns, an array, or images."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch

from isinglass.data.arrays import check_table_name, read_table, save_table
from isinglass.data.columns import Binary, Cells, Column, Columns, Numeric, is_unknown
from isinglass.data.csv import CsvTable, read_csv
from isinglass.data.images import PICTURES, holds_images, read_pictures, stack_pictures
from isinglass.errors import DomainError, ParameterError, ShapeError

__all__ = ["Shape", "Source", "read_source"]

#: Height, width and channels of an image.
Shape: TypeAlias = tuple[int, int, int]

HELD_OUT = 0.2


@dataclass(frozen=True)
class Source(ABC):
    """Rows to learn from, and how rows like them are written.

    Attributes:
        path: Where they came from.
        shape: What each row is as an image; None if it is none.
        kinds: Columns that are not as they look.
    """

    path: Path
    shape: Shape | None
    kinds: dict[str, str]

    noun = "row"
    suffixes = (".npy", ".npz")

    @property
    def notes(self) -> list[str]:
        """Notes for the user on how they were read."""
        return []

    def count_in_words(self, count: int) -> str:
        """Returns so many rows or images, in words."""
        return f"{count} {self.noun}" + "s" * (count != 1)

    @property
    @abstractmethod
    def rows(self) -> Any:
        """The rows as the estimator takes them."""

    @property
    @abstractmethod
    def count(self) -> int:
        """The number of rows."""

    @property
    @abstractmethod
    def unknown(self) -> int:
        """The number of unknown cells."""

    @abstractmethod
    def take(self, index: np.ndarray) -> Any:
        """Selects rows by their numbers."""

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
        if out.suffix.lower() not in self.suffixes:
            raise ParameterError(
                f"a file named {out.name}",
                f"Name it {' or '.join(self.suffixes)}",
                operation=f"writing {out}",
            )


@dataclass(frozen=True)
class CsvSource(Source):
    """A .csv; fresh rows have its names, order and decimals, filled ones all that was written."""

    table: CsvTable = field(repr=False)

    suffixes = (".csv",)

    @property
    def rows(self) -> dict[str, Cells]:
        """The cells of each column by its name."""
        return self.table.columns

    @property
    def notes(self) -> list[str]:
        """Notes on the table, such as columns left out."""
        return self.table.notes

    @property
    def count(self) -> int:
        """The number of lines of the file, without names."""
        return len(self.table.texts)

    @property
    def unknown(self) -> int:
        """The number of empty cells, and of those with a word for unknown."""
        return self.table.unknown

    def take(self, index: np.ndarray) -> dict[str, Cells]:
        """Selects lines by their numbers."""
        return {name: cells[index] for name, cells in self.rows.items()}

    def write(self, path: Path, rows: Any, columns: Columns, filled: bool) -> None:
        """Writes text, with as many decimals as the data have."""
        texts = {
            column.name: _texts(column, cells)
            for column, cells in zip(columns.columns, rows.values(), strict=True)
        }
        self.table.write(
            path, self.table.filled_rows(texts) if filled else self.table.fresh_rows(texts)
        )


@dataclass(frozen=True)
class ArraySource(Source):
    """An array, one row a line of it."""

    array: np.ndarray = field(repr=False)

    @property
    def rows(self) -> np.ndarray:
        """The array as it was read."""
        return self.array

    @property
    def count(self) -> int:
        """The number of rows of the array."""
        return len(self.array)

    @property
    def unknown(self) -> int:
        """The number of cells that are NaN."""
        return int(np.isnan(self.array).sum())

    def take(self, index: np.ndarray) -> np.ndarray:
        """Selects rows by their numbers."""
        return self.array[index]

    def write(self, path: Path, rows: Any, columns: Columns, filled: bool) -> None:
        """Writes an array of the same columns."""
        save_table(path, torch.from_numpy(rows))


@dataclass(frozen=True)
class ImageSource(ArraySource):
    """Images, one a row, pixels from 0 to 1."""

    noun = "image"
    suffixes = (".npz", ".npy")

    def write(self, path: Path, rows: Any, columns: Columns, filled: bool) -> None:
        """Writes an array of images, ``(n, h, w)`` or ``(n, h, w, 3)``."""
        height, width, channels = self.shape or (1, -1, 1)
        images = np.clip(rows, 0, 1).astype(np.float32).reshape(-1, height, width, channels)
        save_table(path, torch.from_numpy(images.squeeze(-1) if channels == 1 else images))


def read_source(
    paths: list[Path],
    *,
    image: str | None,
    size: int | None,
    kinds: dict[str, str],
    drop: list[str],
    unknown: list[str],
    fitted: list[str] | None,
) -> Source:
    """Reads a table or images, whichever the paths hold.

    Args:
        paths: One table, or any number of images, folders and arrays of images.
        image: What each row of the table is as an image, such as "28x28" or "32x32x3".
        size: Height in pixels to bring images to.
        kinds: Columns that are not as they look.
        drop: Columns to leave out.
        unknown: What stands for an unknown cell, beside what usually does.
        fitted: The columns of the machine that is to be used; None if one is to be fitted.

    Raises:
        DomainError: If nothing is known of a column.
        FileError: If a file is missing or is neither.
        ShapeError: If a table has no rows, or rows that are no such images.
        ParameterError: If an option is of no use with what the paths hold.
    """
    first = paths[0]
    if first.is_dir() or first.suffix.lower() in PICTURES or holds_images(first):
        if image or (kinds and fitted is None) or drop or unknown:
            raise ParameterError(
                "images, with an option for the columns of a table",
                "Leave out --image, --categorical, --numeric, --drop and --na",
                operation=f"reading {first}",
            )  # fmt: skip
        return _images(paths, size)
    if len(paths) > 1 or size is not None:
        raise ParameterError(
            "a table, with another file or --size", "Give one table", operation=f"reading {first}"
        )
    if first.suffix.lower() == ".csv":
        table = read_csv(first, kinds=kinds, drop=drop, unknown=unknown, fitted=fitted)
        for name, cells in table.columns.items():
            if fitted is None and is_unknown(cells).all():
                raise DomainError(
                    f"column {name!r}: every cell is unknown",
                    f"Leave it out: --drop {name}", operation=f"reading {first}",
                )  # fmt: skip
        shape = _shape(image, table.columns)
        return CsvSource(first, shape, kinds or _kinds(shape, table.columns), table)
    check_table_name(f"reading {first}", first)
    if drop or unknown:
        raise ParameterError(
            "an array with --drop or --na", "Give a .csv", operation=f"reading {first}"
        )
    array = read_table(first).numpy()
    columns = {str(number): cells for number, cells in enumerate(array.T)}
    shape = _shape(image, columns)
    return ArraySource(first, shape, kinds or _kinds(shape, columns), array)


def _images(paths: list[Path], size: int | None) -> ImageSource:
    pictures = read_pictures(paths)
    height, width = pictures[0].pixels.shape[:2]
    shape = (size, max(1, round(width * size / height))) if size else (height, width)
    pixels, known = stack_pictures(pictures, shape)
    if bool((pixels == pixels[..., :1]).all()):  # gray, whatever it was saved as
        pixels = pixels[..., :1]
    array = torch.where(known.unsqueeze(-1), pixels, torch.nan).flatten(1).double().numpy()
    kinds = _pixel_kinds({str(number): cells for number, cells in enumerate(array.T)})
    return ImageSource(paths[0], (*shape, pixels.shape[-1]), kinds, array)


def _pixel_kinds(columns: dict[str, np.ndarray]) -> dict[str, str]:
    """Returns one kind for all pixels, also where one is black in every image."""
    values = np.concatenate(list(columns.values()))
    binary = np.isin(values[~np.isnan(values)], (0, 1)).all()
    return dict.fromkeys(columns, "binary" if binary else "numeric")


def _kinds(shape: Shape | None, columns: dict[str, Cells]) -> dict[str, str]:
    return {} if shape is None else _pixel_kinds(columns)


def _shape(image: str | None, columns: dict[str, Cells]) -> Shape | None:
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


def _texts(column: Column, cells: Cells) -> list[str]:
    """Formats cells as Python writes them in this column."""
    if isinstance(column, Numeric):
        if column.decimals is not None:
            return [f"{cell:.{column.decimals}f}" for cell in cells]
        # Six digits of what differs between cells.
        digits = 6 + math.log10(1 + abs(column.center) / column.spread)
        return [f"{cell + 0.0:.{min(round(digits), 17)}g}" for cell in cells]
    if isinstance(column, Binary):
        return [str(cell if column.boolean else int(cell)) for cell in cells]
    return [f"{cell:g}" if isinstance(cell, float) else str(cell) for cell in cells.tolist()]
