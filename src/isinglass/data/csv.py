"""A user's own tables of numbers: read from .npy, .npz and .csv, written as they were named."""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from isinglass._support.typing import Float
from isinglass.errors import DomainError, FileError, ParameterError, ShapeError

__all__ = ["check_table_name", "read_table", "save_table"]

TABLES = (".npy", ".npz", ".csv")


def read_table(path: Path) -> Float[Tensor, "rows columns"]:
    r"""Read a table, one row a pattern; an empty cell of a .csv, and NaN, are unknown: NaN.

    A .csv may have a first line of names. An .npz must hold one array.

    Raises:
        FileError: If the file is missing or is no table.
        ParameterError: If it has another suffix.
        ShapeError: If rows differ in length, or the array is no table.
        DomainError: If a cell is no number, or is infinite.

    Examples:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "table.csv"
        >>> _ = path.write_text("height,weight\n1.8,\n1.6,55\n")
        >>> read_table(path)
        tensor([[ 1.8000,     nan],
                [ 1.6000, 55.0000]], dtype=torch.float64)
    """
    operation = f"reading {path}"
    check_table_name(operation, path)
    try:
        array = _from_csv(path) if path.suffix.lower() == ".csv" else _from_numpy(path)
    except FileNotFoundError as error:
        raise FileError("there is no such file", "Check the path", operation=operation) from error
    except (FileError, ShapeError, DomainError):
        raise
    except (OSError, ValueError, EOFError, csv.Error, zipfile.BadZipFile) as error:
        raise FileError(
            f"not a whole table ({error})", "Save it again", operation=operation
        ) from error
    if array.ndim != 2 or array.size == 0 or array.dtype.kind not in "uifb":
        raise ShapeError(
            f"an array of shape {array.shape} and type {array.dtype}",
            "Give a table of numbers, (rows, columns)",
            operation=operation,
        )
    values = torch.from_numpy(array.astype(np.float64))
    if bool(values.isinf().any()):
        raise DomainError(
            "infinite values", "Leave unknown cells empty, or NaN", operation=operation
        )
    return values


def save_table(path: Path, table: Float[Tensor, "*rows columns"]) -> None:
    r"""Write a table as .npy, .npz or .csv, by the suffix.

    Args:
        path: A path given by :func:`isinglass.io.atomic.atomic_write`.
        table: What to write; as .npy or .npz it may have more dimensions than two.

    Raises:
        ParameterError: If it has another suffix.

    Examples:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "table.csv"
        >>> save_table(path, torch.tensor([[1.0, 0.5]]))
        >>> path.read_text()
        '1,0.5\n'
    """
    check_table_name(f"writing {path}", path)
    array = table.numpy()
    if path.suffix.lower() == ".csv":
        np.savetxt(path, array, delimiter=",", fmt="%.10g")
    elif path.suffix.lower() == ".npy":
        np.save(path, array)
    else:
        np.savez(path, array)


def check_table_name(operation: str, path: Path) -> None:
    """Refuse a name that is no table's.

    Raises:
        ParameterError: If it ends in anything but .npy, .npz or .csv.
    """
    if path.suffix.lower() not in TABLES:
        raise ParameterError(
            f"a file named {path.name}", f"Name it {', '.join(TABLES)}", operation=operation
        )


def _from_numpy(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        if len(loaded.files) != 1:
            raise ShapeError(
                f"{len(loaded.files)} arrays",
                "Give an .npz of one array",
                operation=f"reading {path}",
            )
        return loaded[loaded.files[0]]


def _from_csv(path: Path) -> np.ndarray:
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = list(csv.reader(file))
    if all(len(line) < 2 for line in lines) and any(lines):
        lines = [line or [""] for line in lines]  # of one column an empty line is an empty cell
    lines = [line for line in lines if line]
    first = lines[0] if lines else []
    if any(map(str.strip, first)) and not any(map(_is_number, first)):
        lines = lines[1:]  # names
    if not lines:
        raise ShapeError(
            "no rows", "Give at least one line of numbers", operation=f"reading {path}"
        )
    for number, line in enumerate(lines, 1):
        if len(line) != len(lines[0]):
            raise ShapeError(
                f"row {number} has {len(line)} cells, the first has {len(lines[0])}",
                "Give every row the same number, empty where unknown",
                operation=f"reading {path}",
            )
        for cell in line:
            if cell.strip() and not _is_number(cell):
                raise DomainError(
                    f"{cell!r} in row {number}",
                    "Give numbers, or nothing",
                    operation=f"reading {path}",
                )
    return np.array([[float(cell) if cell.strip() else np.nan for cell in row] for row in lines])


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
