"""Tables of numbers: read from .npy, .npz and .csv, written by their suffix."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from isinglass._support.typing import Float
from isinglass.data.csv import read_numbers
from isinglass.errors import DomainError, FileError, ParameterError, ShapeError

__all__ = ["check_table_name", "read_table", "save_table"]

TABLES = (".npy", ".npz", ".csv")


def read_table(path: Path) -> Float[Tensor, "rows columns"]:
    r"""Reads a table, one row a pattern; an empty cell of a .csv, and NaN, are unknown: NaN.

    A .csv is read as :func:`isinglass.data.csv.read_csv` reads it, its names passed over. An .npz
    must hold one array.

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
        array = read_numbers(path) if path.suffix.lower() == ".csv" else _from_numpy(path)
    except FileNotFoundError as error:
        raise FileError("there is no such file", "Check the path", operation=operation) from error
    except (FileError, ShapeError, DomainError):
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
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
    r"""Writes a table as .npy, .npz or .csv, by the suffix.

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
    """Refuses a name that is no table's.

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
