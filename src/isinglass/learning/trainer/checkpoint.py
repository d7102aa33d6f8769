"""The whole state of learning in one file: nested dictionaries of tensors and numbers."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from isinglass._support.registry import name_of
from isinglass.core.capabilities import Serializable
from isinglass.core.energy import Energy
from isinglass.errors import FileError, ParameterError
from isinglass.io.archive import read_tensors, write_tensors
from isinglass.learning.trainer.loop import TrainingLoop

__all__ = ["Checkpointer", "read_checkpoint", "write_checkpoint"]

KIND = "checkpoint"


def write_checkpoint(path: str | Path, identity: dict[str, str], state: dict[str, Any]) -> None:
    """Writes agent, replay buffer and history as one file, and drops all but the last ones.

    Args:
        path: The file; one that is there is replaced.
        identity: What the state belongs to, in words: whoever reads it must say the same.
        state: Dictionaries, lists and tuples of tensors, numbers, strings and None.

    Raises:
        FileError: If the disk refuses the file.
        ParameterError: If the state holds anything else.

    Examples:
        >>> import tempfile, torch
        >>> path = Path(tempfile.mkdtemp()) / "checkpoint.safetensors"
        >>> write_checkpoint(path, {"energy": "mine"}, {"step": 3, "weights": [torch.ones(2)]})
        >>> read_checkpoint(path, {"energy": "mine"})
        {'step': 3, 'weights': [tensor([1., 1.])]}
        >>> read_checkpoint(path, {"energy": "yours"})
        Traceback (most recent call last):
            ...
        isinglass.errors.FileError: ... written with energy = mine, this run has energy = yours. ...
    """
    tensors: dict[str, Tensor] = {}
    packed = _pack(state, "state", tensors)
    header = {"kind": KIND, "identity": identity, "state": packed}
    write_tensors(path, header, tensors, overwrite=True)


def read_checkpoint(path: str | Path, identity: dict[str, str]) -> dict[str, Any]:
    """Reads the state that :func:`write_checkpoint` wrote, of the same identity.

    Raises:
        FileError: If the file is missing, damaged, no checkpoint, or belongs to something else.
    """
    operation = f"resuming from {path}"
    header, tensors = read_tensors(path)
    if header.get("kind") != KIND:
        raise FileError("it holds no checkpoint", "Give a file that fit wrote", operation=operation)
    if header["format"] == 1:  # optimizers and chains go by names that are others now
        raise FileError(
            "it is a checkpoint of format 1, which this version cannot go on from",
            "Finish the run with the version that wrote it, save the energy and load that",
            operation=operation,
        )
    for name, this in identity.items():
        theirs = header["identity"].get(name)
        if theirs != this:
            raise FileError(
                f"it was written with {name} = {theirs}, this run has {name} = {this}",
                "Give what it was written with, or another path to begin anew",
                operation=operation,
            )
    return _unpack(header["state"], tensors)


def _pack(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """JSON values, with the tensors put aside under their names."""
    if isinstance(value, Tensor):
        tensors[name] = value.clone()  # tensors that share memory cannot be stored
        return {"tensor": name}
    if isinstance(value, dict):
        items = value.items()
        return {"dict": [[key, _pack(inner, f"{name}.{key}", tensors)] for key, inner in items]}
    if isinstance(value, list | tuple):
        inner = [_pack(item, f"{name}.{i}", tensors) for i, item in enumerate(value)]
        return {"list" if isinstance(value, list) else "tuple": inner}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ParameterError(
        f"{name} is a {type(value).__name__}",
        "Use optimizers and schedulers whose state is of tensors and numbers, or no checkpoint",
        operation="writing a checkpoint",
    )


def _unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items()
    if kind == "tensor":
        return tensors[inner]
    if kind == "dict":
        return {key: _unpack(item, tensors) for key, item in inner}
    items = [_unpack(item, tensors) for item in inner]
    return items if kind == "list" else tuple(items)


class Checkpointer:
    """Keeps a run in a file, and takes it up again from there.

    Args:
        path: The file.
        every: After how many epochs it is written.
        run: What is kept; where the file is there and ``resume`` is true, it goes on from it.
        settings: What else must be the same then, so that the track is of one thing.
        resume: Whether it may.

    Raises:
        FileError: If the file is there but ``resume`` is false, is a folder, or was written with
            something else.
    """

    def __init__(
        self,
        path: str | Path,
        every: int,
        run: TrainingLoop,
        settings: dict[str, object],
        *,
        resume: bool,
    ) -> None:
        self.path, self.every, self.run = Path(path), every, run
        groups = [group | {"params": len(group["params"])} for group in run.optimizer.param_groups]
        scheduler = run.scheduler
        schedule = "None" if scheduler is None else (
            f"{name_of(type(scheduler))} {scheduler.state_dict()}"
        )  # fmt: skip
        self.identity = {
            "energy": _identify(run.energy),
            "objective": _identify(run.loss.objective),
            "data": run.batches.fingerprint(),
            "batch_size": str(run.batches.size),
            "centered": str(bool(run.offsets)),
            "scheduler": schedule,  # before the optimizer, whose rates it sets
            "optimizer": f"{name_of(type(run.optimizer))} {groups}",
        } | {name: _identify(value) for name, value in settings.items()}
        if self.path.is_dir():
            raise FileError(
                "it is a folder",
                f"Give a file in it, such as {self.path / 'run.safetensors'}",
                operation=f"writing {self.path}",
            )
        if not self.path.exists():
            return
        if not resume:
            raise FileError(
                "the checkpoint is there already",
                "Go on from it with resume=True, or choose another path",
                operation=f"writing {self.path}",
            )
        run.load(read_checkpoint(self.path, self.identity))

    def after_epoch(self, *, last: bool) -> None:
        """Writes the file after every so many epochs."""
        if last or self.run.epoch % self.every == 0:
            self.write()

    def write(self) -> None:
        """Writes the file; only the first process of a group does.

        Raises:
            FileError: If the disk refuses it; the file before is then whole.
        """
        state = self.run.state()
        if state is not None:
            write_checkpoint(self.path, self.identity, state)


def _identify(thing: object) -> str:
    """The kind and its settings, in words that are the same in every run."""
    if isinstance(thing, Serializable):
        return f"{name_of(type(thing))} {json.dumps(thing.config())}"
    if isinstance(thing, Energy):  # a kind that is not saved by itself
        return f"{name_of(type(thing))} {[tuple(p.shape) for p in thing.parameters()]}"
    if isinstance(thing, type) or thing is None or isinstance(thing, bool | int | float | str):
        return str(thing)
    settings = fields(thing) if is_dataclass(thing) else ()
    inner = [f"{field.name}={_identify(getattr(thing, field.name))}" for field in settings]
    return f"{name_of(type(thing))}({', '.join(inner)})"
