"""A run of ``isinglass act`` in a folder: what was asked for, and checkpoints that are whole."""

from __future__ import annotations

import json
import math
import re
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, NamedTuple, get_args, get_origin, get_type_hints

import numpy as np

from isinglass.errors import FileError
from isinglass.io.atomic import atomic_write

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.buffers import ReplayBuffer

__all__ = [
    "Chance",
    "History",
    "Request",
    "Result",
    "checkpoints",
    "free_folder",
    "new_folder",
    "plus_minus",
    "read_checkpoint",
    "read_request",
    "write_checkpoint",
    "write_json",
]

REQUEST = "run.json"
TRACK = "track.json"
REPLAY = "replay/"
KEPT = 2  # checkpoints of one agent, the last ones
BINS = 200  # of the curve of rewards while learning


@dataclass(frozen=True)
class Request:
    """What was asked for; values of settings are Python literals as they were typed."""

    env: str
    env_settings: dict[str, str]
    steps: int
    every: int
    episodes: int
    energy: str
    settings: dict[str, str]
    peers: list[str]
    seed: int
    envs: int
    device: str
    threads: int
    start: str | None = None
    rule: str = "q"

    @property
    def bin_width(self) -> int:
        """Steps that one point of the curve of rewards while learning stands for."""
        return math.ceil(self.steps / BINS)


@dataclass
class History:
    """How one agent got on: all that is known of its run but for the agent itself.

    Attributes:
        steps: Environment steps taken.
        seconds: Seconds of learning, evaluations and checkpoints not counted.
        evaluations: Steps, seconds, mean greedy return and its standard error, one row each.
        totals: Sum of the returns of the episodes that ended in each bin of steps.
        counts: How many did.
        best: The best mean greedy return.
    """

    steps: int = 0
    seconds: float = 0.0
    evaluations: list[list[float]] = field(default_factory=list)
    totals: list[float] = field(default_factory=lambda: [0.0] * BINS)
    counts: list[int] = field(default_factory=lambda: [0] * BINS)
    best: float | None = None

    def add(self, step: int, episode_return: float, width: int) -> None:
        """Count an episode that has ended."""
        place = (step - 1) // width
        beyond = place + 1 - len(self.counts)  # agents that take whole rollouts go there
        self.totals += [0.0] * beyond
        self.counts += [0] * beyond
        self.totals[place] += episode_return
        self.counts[place] += 1


@dataclass(frozen=True)
class Result:
    """What an agent earns in the end, each a mean return and its standard error."""

    name: str
    history: History
    last: tuple[float, float]
    sampled: tuple[float, float]
    best: tuple[float, float]


class Chance(NamedTuple):
    """Mean return of uniformly random actions, its standard error, and if masks were obeyed."""

    mean: float
    error: float
    masked: bool


def free_folder(env: str) -> Path:
    """``runs/ENV-date-number``, the first number that is not taken."""
    name = re.sub(r"[^\w.-]", "-", re.split("[/:]", env)[-1])
    number = 1
    while (folder := Path("runs", f"{name}-{time.strftime('%Y-%m-%d')}-{number}")).exists():
        number += 1
    return folder


def plus_minus(mean: float, error: float) -> str:
    """``37.7 ± 1.2``: the standard error with two digits, the mean with as many decimals."""
    if math.isnan(error):  # of a single episode
        return f"{mean:,.2f}"
    places = min(max(1 - math.floor(math.log10(error)), 0), 4) if error else 2
    return f"{mean:,.{places}f} ± {error:,.{places}f}"


@contextmanager
def new_folder(folder: Path, request: Request) -> Iterator[None]:
    """Say there what was asked for; after an error before anything is learnt, undo it."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        write_json(folder / REQUEST, asdict(request))
        yield
    except Exception:
        if not any(folder.glob("*/*.zip")):
            with suppress(OSError):  # whatever else is there is not ours
                (folder / REQUEST).unlink(missing_ok=True)
                for log in folder.glob("*/events.out.*"):
                    log.unlink()
                for path in (*folder.glob("*"), *made):
                    path.rmdir()
        raise


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write what may be written again when a run goes on.

    Raises:
        FileError: If the disk refuses it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(
            f"{error.strerror}",
            "Name a folder that can be made: --out",
            operation=f"making {path.parent}",
        ) from error
    with atomic_write(path, overwrite=True) as aside:
        aside.write_text(json.dumps(content, indent=2), encoding="utf-8")


def read_request(folder: Path) -> Request:
    """What was asked for when the run in this folder was started.

    Raises:
        FileError: If there is no run in it, or not one as it was written.
    """
    try:
        request = Request(**json.loads((folder / REQUEST).read_text(encoding="utf-8")))
        _check_types(request)
    except (OSError, ValueError, TypeError) as error:
        raise FileError(
            f"no run there that can be read ({error})",
            "Give the folder that isinglass act said it writes to", operation=f"resuming {folder}",
        ) from error  # fmt: skip
    return request


def _check_types(request: Request) -> None:
    """Raise a TypeError if a field is not of the type that it is declared with."""
    for name, kind in get_type_hints(Request).items():
        value = getattr(request, name)
        if not _is_of(value, kind):
            raise TypeError(f"{name} = {value!r} in {REQUEST}")


def _is_of(value: object, kind: Any) -> bool:
    """Whether a value that JSON can hold is of a type, and all in it of those that it names."""
    if isinstance(kind, UnionType):
        return any(_is_of(value, one) for one in get_args(kind))
    if isinstance(value, dict | list) and type(value) is get_origin(kind):
        inside = value.values() if isinstance(value, dict) else value
        return all(_is_of(one, get_args(kind)[-1]) for one in inside)
    return type(value) is kind  # True is no number here


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of an agent, the newest first."""
    return sorted(folder.glob("checkpoint-*.zip"), reverse=True)


def write_checkpoint(folder: Path, agent: BaseAlgorithm, history: History) -> None:
    """Write agent, replay buffer and track as one file, and drop all but the last ones.

    The file is one that Stable-Baselines3 loads, with members added that it passes over.

    Raises:
        FileError: If the disk refuses it; the checkpoints before are then whole.
    """
    with atomic_write(folder / f"checkpoint-{history.steps:012}.zip", overwrite=True) as aside:
        agent.save(aside)
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
            archive.writestr(TRACK, json.dumps(content))
    for old in checkpoints(folder)[KEPT:]:
        old.unlink()


def read_checkpoint(
    path: Path, kind: type[BaseAlgorithm], **where: Any
) -> tuple[BaseAlgorithm, History]:
    """The agent with its replay buffer, and its track.

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
            content = json.loads(archive.read(TRACK))
            numbers = content.pop("replay", None)
            buffer: ReplayBuffer | None = getattr(agent, "replay_buffer", None)
            if buffer is not None:
                vars(buffer).update(numbers)
                for name in archive.namelist():
                    if name.startswith(REPLAY):
                        with archive.open(name) as file:
                            rows = np.lib.format.read_array(file, allow_pickle=False)
                        _fill(buffer, name.removeprefix(REPLAY).removesuffix(".npy"), rows)
    except Exception as error:  # torch, zipfile, json and SB3 each have their own
        raise FileError(
            f"it is damaged or no checkpoint of {kind.__name__} ({error})",
            "The one before it is used, if there is one that is whole", operation=f"reading {path}",
        ) from error  # fmt: skip
    return agent, History(**content)


def _arrays(buffer: ReplayBuffer) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of a replay buffer with one row a transition, whatever its class calls them."""
    for name, value in vars(buffer).items():
        parts = value.items() if isinstance(value, dict) else [("", value)]
        for key, array in parts:
            if isinstance(array, np.ndarray) and array.shape[:1] == (buffer.buffer_size,):
                yield f"{name}.{key}".rstrip("."), array


def _fill(buffer: ReplayBuffer, name: str, rows: np.ndarray) -> None:
    """Put rows back; an array that is made when it is needed was needed."""
    attribute, _, key = name.partition(".")
    array = getattr(buffer, attribute)
    if array is None:
        array = np.zeros((buffer.buffer_size, *rows.shape[1:]), rows.dtype)
        setattr(buffer, attribute, array)
    (array[key] if key else array)[: len(rows)] = rows
