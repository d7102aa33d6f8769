"""Arrays of numbers in .npy and .npz files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from isinglass.errors import DomainError, FileError, ShapeError

SAVE_AGAIN = "Save it again with numpy.save"

__all__ = ["load_arrays", "read_array", "save_array"]


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Reads the arrays of a .npy, which has no name, or of an .npz, by their names.

    Raises:
        FileError: If the file is missing or is no whole file of arrays.
    """
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            arrays = {"": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
            return {name: array for name, array in arrays.items() if isinstance(array, np.ndarray)}
    except FileNotFoundError as error:
        found, remedy, cause = "there is no such file", "Check the path", error
    except MemoryError as error:
        found, remedy, cause = f"more than memory holds ({error})", "Give fewer rows", error
    except Exception as error:  # headers are parsed as Python, archives by zipfile and zlib
        found, remedy, cause = f"not a whole array file ({error})", SAVE_AGAIN, error
    raise FileError(found, remedy, operation=f"reading {path}") from cause


def read_array(path: Path) -> np.ndarray:
    r"""Reads a table of numbers, ``(rows, columns)`` in float64, NaN where unknown.

    Raises:
        FileError: If the file is missing or is no array.
        ShapeError: If an .npz holds several arrays, or the array is no table of numbers.
        DomainError: If a number is infinite.

    Examples:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "table.npy"
        >>> save_array(path, np.array([[1.8, np.nan]]))
        >>> read_array(path)
        array([[1.8, nan]])
    """
    operation = f"reading {path}"
    arrays = list(load_arrays(path).values())
    if len(arrays) != 1:
        raise ShapeError(f"{len(arrays)} arrays", "Give an .npz of one array", operation=operation)
    array = arrays[0]
    if array.ndim != 2 or array.size == 0 or array.dtype.kind not in "uifb":
        raise ShapeError(
            f"an array of shape {array.shape} and type {array.dtype}",
            "Give a table of numbers, (rows, columns)",
            operation=operation,
        )
    array = array.astype(np.float64)
    if np.isinf(array).any():
        raise DomainError(
            "infinite values", "Leave unknown cells empty, or NaN", operation=operation
        )
    return array


def save_array(path: Path, array: np.ndarray) -> None:
    """Writes an array as .npy, else as .npz, to a path given by ``atomic_write``."""
    (np.save if path.suffix.lower() == ".npy" else np.savez)(path, array)
