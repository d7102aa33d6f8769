"""Saving and loading: safetensors with a JSON header, a format version and a checksum."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from isinglass._support.registry import name_of, subclasses_by_name
from isinglass._support.validation import check_device
from isinglass.core.capabilities import Serializable, require
from isinglass.core.energy import Energy
from isinglass.core.numbers import beside_tensors
from isinglass.errors import FileError, ParameterError
from isinglass.io._format1 import rename
from isinglass.io.atomic import atomic_write

__all__ = ["load", "read_note", "save"]

FORMAT = 2
#: Formats that are read; in format 1 some classes had other names.
READABLE = (1, 2)


def save(
    energy: Energy, path: str | Path, *, overwrite: bool = False, note: dict[str, Any] | None = None
) -> None:
    """Writes an energy E to one safetensors file: its tensors, its configuration, a checksum.

    Args:
        energy: The energy to save.
        path: The file, by custom ``*.safetensors``.
        overwrite: Whether a file already there may be replaced.
        note: JSON values to keep with it, such as what its units stand for; :func:`read_note`
            reads them.

    Raises:
        FileError: If the file exists and ``overwrite`` is false, or cannot be written.
        ParameterError: If ``energy`` is not an energy.

    Examples:
        >>> import isinglass as ig, tempfile
        >>> memory = ig.ModernHopfield(torch.eye(3), beta=8.0)
        >>> path = Path(tempfile.mkdtemp()) / "memory.safetensors"
        >>> ig.save(memory, path)
        >>> torch.equal(ig.load(path).patterns, memory.patterns)
        True
    """
    if not isinstance(energy, Energy):
        raise ParameterError(f"a {type(energy).__name__}", "Give an energy")
    header = {
        "class": name_of(type(energy)),
        "config": require(energy, Serializable).config(),
        "learned": sorted(name for name, p in energy.named_parameters() if p.requires_grad),
    }
    if note is not None:
        header["note"] = note
    held = beside_tensors(energy)  # which the configuration has already
    tensors = {name: value for name, value in energy.state_dict().items() if name not in held}
    write_tensors(path, header, tensors, overwrite=overwrite)


def write_tensors(
    path: str | Path, header: dict[str, Any], tensors: dict[str, Tensor], *, overwrite: bool = False
) -> None:
    """Writes tensors and a header of JSON values to one file, with a format and a checksum.

    Args:
        path: The file.
        header: JSON values.
        tensors: By name.
        overwrite: Whether a file already there may be replaced.

    Raises:
        FileError: If the file exists and ``overwrite`` is false, or cannot be written.
    """
    tensors = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    header = {"format": FORMAT} | header
    header["sha256"] = _digest(header, tensors)
    with atomic_write(path, overwrite=overwrite) as aside:
        try:
            save_file(tensors, aside, metadata={"isinglass": json.dumps(header)})
        except SafetensorError as error:
            raise OSError(str(error)) from error


def load(path: str | Path, *, device: torch.device | str = "cpu") -> Serializable:
    """Reads an energy back, refusing a file that is truncated, altered or of another format.

    The class is looked for among the energies already imported, so that a file can name no code.

    Args:
        path: The file written by :func:`save`.
        device: Where the tensors go.

    Raises:
        FileError: If the file is missing, truncated, altered, of a newer format, or holds a
            class that is not imported, or that was another in the version that wrote it.
        ParameterError: If there is no such device.

    Examples:
        >>> import isinglass as ig, tempfile
        >>> path = Path(tempfile.mkdtemp()) / "rbm.safetensors"
        >>> ig.save(ig.RBM(ig.Bernoulli(4), ig.Spin(2)), path)
        >>> ig.load(path).layers
        (Bernoulli(size=4), Spin(size=2))
    """
    operation = f"loading {path}"
    check_device(device)
    header, tensors = read_tensors(path)
    if "reader" in header:
        raise FileError(
            "it holds mixtures of a table, no energy",
            f"Read it with {header['reader']}", operation=operation,
        )  # fmt: skip
    if "class" not in header:
        raise FileError(
            "it holds no energy but a checkpoint of learning",
            "Go on with it: isinglass.learning.fit(…, checkpoint=path, resume=True)",
            operation=operation,
        )
    kind = subclasses_by_name(Serializable).get(header["class"])
    if kind is None:
        raise FileError(
            f"it holds a {header['class']}, which is not imported",
            "Import the module that defines it first", operation=operation,
        )  # fmt: skip
    try:
        energy = _restore(kind, header, tensors)
    except FileError:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())  # PyTorch's has several lines
        raise FileError(
            f"its {header['class']} does not fit the one of this version ({why})",
            "Save it again with this version of isinglass, or load it with the one that wrote it",
            operation=operation,
        ) from error
    return energy.to(device)


def read_note(path: str | Path) -> dict[str, Any] | None:
    """Reads what :func:`save` was told to keep with the energy; None if nothing.

    Args:
        path: The file written by :func:`save`.

    Raises:
        FileError: If the file is missing, truncated, altered or of another format.

    Examples:
        >>> import isinglass as ig, tempfile
        >>> path = Path(tempfile.mkdtemp()) / "memory.safetensors"
        >>> ig.save(ig.ModernHopfield(torch.eye(2)), path, note={"rows": ["left", "right"]})
        >>> read_note(path)
        {'rows': ['left', 'right']}
    """
    return read_tensors(path)[0].get("note")


def read_tensors(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Reads header and tensors of a file of :func:`write_tensors`.

    Raises:
        FileError: If the file is missing, truncated, altered or of another format.

    Examples:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "three.safetensors"
        >>> write_tensors(path, {"name": "three"}, {"x": torch.tensor([3])})
        >>> read_tensors(path)
        ({'format': 2, 'name': 'three'}, {'x': tensor([3])})
    """
    operation = f"loading {path}"
    try:
        with safe_open(str(path), framework="pt") as file:
            header = json.loads((file.metadata() or {})["isinglass"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise FileError("there is no such file", "Check the path", operation=operation) from error
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise FileError(
            f"not a whole isinglass file ({error})",
            "Use a file written by isinglass.save; if it was copied, copy it again",
            operation=operation,
        ) from error
    _check_header(operation, header, tensors)
    return (rename(header) if header["format"] == 1 else header), tensors


def _restore(
    kind: type[Serializable], header: dict[str, Any], tensors: dict[str, Tensor]
) -> Serializable:
    """The energy that the header describes, with these tensors."""
    energy = kind.from_config(header["config"])
    floating = [tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()]
    if floating:  # the twin is built in the default dtype; the file's is the one that counts
        energy = energy.to(floating[0])
    energy.load_state_dict(tensors | beside_tensors(energy))
    for name in header["learned"]:
        _make_parameter(energy, name)
    for name, parameter in energy.named_parameters():
        parameter.requires_grad_(name in header["learned"])
    return energy


def _make_parameter(energy: Energy, name: str) -> None:
    """Turn a buffer into the parameter it was: patterns may be either."""
    path, _, leaf = name.rpartition(".")
    owner = energy.get_submodule(path)
    if leaf in owner._buffers:
        value = owner._buffers.pop(leaf)
        owner.register_parameter(leaf, None if value is None else nn.Parameter(value))


def _check_header(operation: str, header: Any, tensors: dict[str, Tensor]) -> None:
    if not isinstance(header, dict):
        raise FileError(
            "its header is no table", "Use a file of isinglass.save", operation=operation
        )
    if header.get("format") not in READABLE:
        raise FileError(
            f"format {header.get('format')}, this version reads {' and '.join(map(str, READABLE))}",
            "Upgrade isinglass, or save the file again with this version", operation=operation,
        )  # fmt: skip
    stated = header.pop("sha256", None)
    if stated != _digest(header, tensors):
        raise FileError(
            "the checksum does not match: the file was altered or damaged",
            "Restore it from a good copy", operation=operation,
        )  # fmt: skip


def _digest(header: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
