"""Patterns that stay in their file: pages are read when they are looked at."""

from __future__ import annotations

import json
import math
import mmap
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from isinglass._support.typing import Num
from isinglass.errors import FileError

__all__ = ["map_patterns"]

# The dtypes that patterns may have, as safetensors names them.
DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}

# Without it Linux refuses to map a file larger than memory, lest all its pages be changed.
NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)


def map_patterns(path: str | Path, name: str | None = None) -> Num[Tensor, "..."]:
    """Maps a ``.npy`` or ``.safetensors`` file as a tensor, larger than memory or not.

    The mapping is private: the file is never written, changes of the tensor stay in memory.

    Args:
        path: The file.
        name: Which tensor of a safetensors file; None if it holds a single one.

    Raises:
        FileError: If the file is missing, truncated, of another format, or has no such tensor.

    Examples:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "patterns.npy"
        >>> np.save(path, np.eye(3, dtype=np.float32))
        >>> map_patterns(path)
        tensor([[1., 0., 0.],
                [0., 1., 0.],
                [0., 0., 1.]])
    """
    path = Path(path)
    operation = f"mapping {path}"
    try:
        with path.open("rb") as file:
            if path.suffix == ".npy":
                return _map_npy(file)
            if path.suffix == ".safetensors":
                return _map_safetensors(operation, file, name)
    except FileNotFoundError as error:
        raise FileError("there is no such file", "Check the path", operation=operation) from error
    except FileError:
        raise
    except (OSError, ValueError, TypeError, KeyError, EOFError, RuntimeError) as error:
        raise FileError(
            f"it cannot be mapped ({error})",
            "Write it again with numpy or safetensors",
            operation=operation,
        ) from error
    raise FileError(
        f"its name ends in {path.suffix!r}",
        "Map a .npy or a .safetensors file",
        operation=operation,
    )


def _map_npy(file: BinaryIO) -> Tensor:
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0
    shape, by_columns, kind = (
        read_header(file) if version == (1, 0) else np.lib.format.read_array_header_2_0(file)
    )
    dtype = torch.from_numpy(np.empty(0, kind)).dtype
    if by_columns:
        return _map(file, file.tell(), dtype, shape[::-1]).permute(*reversed(range(len(shape))))
    return _map(file, file.tell(), dtype, shape)


def _map_safetensors(operation: str, file: BinaryIO, name: str | None) -> Tensor:
    size = int.from_bytes(file.read(8), "little")
    if size > os.fstat(file.fileno()).st_size:
        raise FileError("it is truncated", "Copy it again", operation=operation)
    header = json.loads(file.read(size))
    header.pop("__metadata__", None)
    if name is None and len(header) == 1:
        (name,) = header
    if name not in header:
        raise FileError(
            f"of {sorted(header)} none is {'named' if name is None else repr(name)}",
            "Name one of them: name=…",
            operation=operation,
        )
    entry = header[name]
    start = 8 + size + entry["data_offsets"][0]
    return _map(file, start, DTYPES[entry["dtype"]], entry["shape"])


def _map(file: BinaryIO, start: int, dtype: torch.dtype, shape: Sequence[int]) -> Tensor:
    if os.name == "posix":  # a private copy for which no memory is set aside
        private = mmap.MAP_PRIVATE | NORESERVE
        pages = mmap.mmap(file.fileno(), 0, private, mmap.PROT_READ | mmap.PROT_WRITE)
    else:
        pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    values = torch.frombuffer(pages, dtype=dtype, count=math.prod(shape), offset=start)
    return values.reshape(tuple(shape))
