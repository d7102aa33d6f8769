"""Checkpoints that are whole: agent, replay buffer and history in one file."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from isinglass.agents.seats.self_play import pools_of
from isinglass.cli._wording import lacks_memory
from isinglass.cli.act.run import History
from isinglass.errors import FileError
from isinglass.io.atomic import atomic_write

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.buffers import ReplayBuffer

__all__ = ["checkpoints", "read_checkpoint", "save_agent", "write_checkpoint"]

HISTORY = "history.json"
REPLAY = "replay/"
POOL = "pool.safetensors"
KEPT = 2  # checkpoints of one agent, the last ones


def checkpoints(folder: Path) -> list[Path]:
    """Lists the checkpoints of an agent, the newest first."""
    return sorted(folder.glob("checkpoint-*.zip"), reverse=True)


def save_agent(agent: BaseAlgorithm, path: Path) -> None:
    """Writes the agent alone; the file is closed also where the disk refuses it."""
    with path.open("wb") as file:
        agent.save(file)  # pyright: ignore[reportArgumentType]


def write_checkpoint(folder: Path, agent: BaseAlgorithm, history: History) -> None:
    """Writes agent, replay buffer and history as one file, and drops all but the last ones.

    The file is one that Stable-Baselines3 loads, with members added that it passes over.

    Raises:
        FileError: If the disk refuses it; the checkpoints before are then whole.
    """
    with atomic_write(folder / f"checkpoint-{history.steps:012}.zip", overwrite=True) as aside:
        save_agent(agent, aside)
        with zipfile.ZipFile(aside, "a") as archive:
            content = asdict(history)
            buffer: ReplayBuffer | None = getattr(agent, "replay_buffer", None)
            if buffer is not None:
                numbers = {k: v for k, v in vars(buffer).items() if isinstance(v, int)}
                content["replay"] = numbers
                for name, array in _arrays(buffer):
                    with archive.open(f"{REPLAY}{name}.npy", "w", force_zip64=True) as file:
                        rows = array[: buffer.size()]
                        np.lib.format.write_array(file, rows, allow_pickle=False)
            _write_pool(archive, agent)
            archive.writestr(HISTORY, json.dumps(content))
    for old in checkpoints(folder)[KEPT:]:
        with suppress(OSError):  # one more of them does no harm
            old.unlink()


def read_checkpoint(
    path: Path, kind: type[BaseAlgorithm], **where: Any
) -> tuple[BaseAlgorithm, History]:
    """Reads the agent with its replay buffer, and its history.

    Args:
        path: The checkpoint.
        kind: The agent's class.
        **where: Environment and device.

    Raises:
        FileError: If the file is damaged or is none of this agent's checkpoints.
    """
    try:
        agent = kind.load(path, **where)
        with zipfile.ZipFile(path) as archive:
            content = json.loads(archive.read(HISTORY))
            numbers = content.pop("replay", None)
            _read_pool(archive, agent)
            buffer: ReplayBuffer | None = getattr(agent, "replay_buffer", None)
            if buffer is not None:
                vars(buffer).update(numbers)
                for name in archive.namelist():
                    if name.startswith(REPLAY):
                        with archive.open(name) as file:
                            rows = np.lib.format.read_array(file, allow_pickle=False)
                        _fill(buffer, name.removeprefix(REPLAY).removesuffix(".npy"), rows)
    except Exception as error:  # torch, zipfile, json and SB3 each have their own
        if lacks_memory(error):  # the checkpoint may be whole
            raise
        raise FileError(
            f"it is damaged or no checkpoint of {kind.__name__} ({error})",
            "The one before it is used, if there is one that is whole", operation=f"reading {path}",
        ) from error  # fmt: skip
    return agent, History(**content)


def _write_pool(archive: zipfile.ZipFile, agent: BaseAlgorithm) -> None:
    """Add what the agent was before, where it learns against that."""
    pools = pools_of(agent.env) if agent.env is not None else []
    if pools and pools[0].steps:  # all have the same copies
        with TemporaryDirectory() as folder:
            pools[0].save(Path(folder) / POOL)
            archive.write(Path(folder) / POOL, POOL)


def _read_pool(archive: zipfile.ZipFile, agent: BaseAlgorithm) -> None:
    if POOL not in archive.namelist() or agent.env is None:
        return
    with TemporaryDirectory() as folder:
        for pool in pools_of(agent.env):
            pool.load(archive.extract(POOL, folder), agent)


def _arrays(buffer: ReplayBuffer) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the arrays of a replay buffer with one row a transition, whatever they are called."""
    for name, value in vars(buffer).items():
        parts = value.items() if isinstance(value, dict) else [("", value)]
        for key, array in parts:
            if isinstance(array, np.ndarray) and array.shape[:1] == (buffer.buffer_size,):
                yield f"{name}.{key}".rstrip("."), array


def _fill(buffer: ReplayBuffer, name: str, rows: np.ndarray) -> None:
    """Put rows back into an array, which may be one that is made when it is first needed."""
    attribute, _, key = name.partition(".")
    array = getattr(buffer, attribute)
    if array is None:
        array = np.zeros((buffer.buffer_size, *rows.shape[1:]), rows.dtype)
        setattr(buffer, attribute, array)
    (array[key] if key else array)[: len(rows)] = rows
