"""Patterns that stay in their file: pages are read when they are looked at."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from isinglass._shapes import Num
from isinglass.errors import FileError

__all__ = ["map_patterns"]

# safetensors' names of the dtypes that patterns may have; bf16 is unknown to numpy.
DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def map_patterns(path: str | Path, name: str | None = None) -> Num[Tensor, "..."]:
    """A tensor whose values stay in a ``.npy`` or ``.safetensors`` file, larger than memory or not.

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
        if path.suffix == ".npy":
            return torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False))
        if path.suffix == ".safetensors":
            return _map_safetensors(operation, path, name)
    except FileNotFoundError as error:
        raise FileError(operation, "there is no such file", "Check the path") from error
    except FileError:
        raise
    except (OSError, ValueError, TypeError, KeyError, EOFError) as error:
        raise FileError(
            operation, f"it cannot be mapped ({error})", "Write it again with numpy or safetensors"
        ) from error
    raise FileError(
        operation, f"its name ends in {path.suffix!r}", "Map a .npy or a .safetensors file"
    )


def _map_safetensors(operation: str, path: Path, name: str | None) -> Tensor:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > path.stat().st_size:
            raise FileError(operation, "it is truncated", "Copy it again")
        header = json.loads(file.read(size))
    header.pop("__metadata__", None)
    if name is None and len(header) == 1:
        (name,) = header
    if name not in header:
        raise FileError(
            operation, f"no tensor {name!r} among {sorted(header)}", "Name one of them: name=…"
        )
    entry = header[name]
    start, stop = entry["data_offsets"]
    data = np.memmap(path, np.uint8, "c", offset=8 + size + start, shape=(stop - start,))
    return torch.from_numpy(data).view(DTYPES[entry["dtype"]]).reshape(entry["shape"])
