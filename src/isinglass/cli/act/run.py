"""A run of ``isinglass act`` in a folder: what was asked for, and what came of it."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from types import UnionType
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

from isinglass.errors import FileError
from isinglass.io.atomic import atomic_write, sweep
from isinglass.io.lock import claim

__all__ = [
    "LOCK",
    "RESULT",
    "History",
    "RandomBaseline",
    "Request",
    "Result",
    "cannot_make",
    "holds_an_agent",
    "make_folder",
    "new_folder",
    "plus_minus",
    "read_request",
    "read_result",
    "write_json",
]  # fmt: skip

REQUEST, RESULT, LOCK = "run.json", "result.json", ".lock"
BINS = 200  # of the curve of returns while learning


@dataclass(frozen=True)
class Request:
    """All that was asked for; values of settings are literals as they were typed."""

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
        """Width in steps of a bin of the curve of returns while learning."""
        return math.ceil(self.steps / BINS)


@dataclass
class History:
    """Evaluations and returns of one agent: all of its run but for the agent itself.

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
        """Counts an episode that has ended."""
        place = (step - 1) // width
        beyond = place + 1 - len(self.counts)  # agents that take whole rollouts go there
        self.totals += [0.0] * beyond
        self.counts += [0] * beyond
        self.totals[place] += episode_return
        self.counts[place] += 1


@dataclass(frozen=True)
class Result:
    """Mean return and standard error of an agent after its last step, greedy, drawn and at best."""

    name: str
    history: History
    last: tuple[float, float]
    sampled: tuple[float, float]
    best: tuple[float, float]


class RandomBaseline(NamedTuple):
    """Mean return of uniformly random actions, its standard error, and who told masks, if any."""

    mean: float
    error: float
    mask_source: str | None = None

    @property
    def masked(self) -> bool:
        """Whether masks were obeyed."""
        return self.mask_source is not None


def make_folder(out: Path | None, env: str) -> tuple[Path, list[Path]]:
    """Makes the folder of a run, ``runs/ENV-date-number`` where none is named.

    Making it is claiming it: of several runs at once each gets a number of its own.

    Returns:
        The folder, and all that had to be made for it.

    Raises:
        FileError: If it cannot be made.
    """
    name = re.sub(r"[^\w.-]", "-", re.split("[/:]", env)[-1])
    stem = f"{name}-{time.strftime('%Y-%m-%d')}"
    folder = out or Path("runs", stem)
    try:
        made = [path for path in folder.parents if not path.exists()]
        folder.parent.mkdir(parents=True, exist_ok=True)
        if out is not None:
            made = made if out.exists() else [out, *made]
            out.mkdir(exist_ok=True)
            return out, made
        for number in count(1):
            with suppress(FileExistsError):
                folder = Path("runs", f"{stem}-{number}")
                folder.mkdir()
                break
    except OSError as error:
        raise cannot_make(folder, error) from error
    return folder, [folder, *made]


def cannot_make(folder: Path, error: OSError) -> FileError:
    """Returns the error of a folder that the disk refuses."""
    said = f"{error.strerror or error}"
    return FileError(said, "Name a folder that can be made: --out", operation=f"making {folder}")


def holds_an_agent(folder: Path) -> bool:
    """Tells whether there is something learned in the folder of a run."""
    return any(folder.glob("*/*.zip"))


def plus_minus(mean: float, error: float) -> str:
    """Formats as ``37.7 ± 1.2``: the error with two digits, the mean with as many decimals."""
    if math.isnan(error):  # of a single episode
        return f"{mean:,.2f}"
    places = min(max(1 - math.floor(math.log10(error)), 0), 4) if error else 2
    return f"{mean:,.{places}f} ± {error:,.{places}f}"


def read_result(folder: Path) -> Result | None:
    """Reads the result of an agent that has finished; None if it has not."""
    try:
        content: dict[str, Any] = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        content["history"] = History(**content["history"])
        for name in ("last", "sampled", "best"):
            content[name] = tuple(content[name])
        return Result(**content)
    except (OSError, ValueError, TypeError, KeyError):
        return None


@contextmanager
def new_folder(folder: Path, made: list[Path], request: Request) -> Iterator[None]:
    """Writes there what was asked for; after an error before anything is learned, undoes it.

    Raises:
        FileError: If something is there already, or another process writes there.
    """
    with claim(folder / LOCK, f"writing {folder}"):
        sweep(folder)  # a run that was killed before it had begun is none
        if any(path.name != LOCK for path in folder.iterdir()):
            raise FileError(
                "something is there already",
                f"Choose another --out, or go on with what is there: --resume {folder}",
                operation=f"writing {folder}",
            )
        try:
            write_json(folder / REQUEST, asdict(request))
            yield
        except Exception:
            if not holds_an_agent(folder):
                _undo(folder, made)
            raise


def _undo(folder: Path, made: list[Path]) -> None:
    """Removes what a run has written before it learned anything; all else is the user's."""
    with suppress(OSError):
        for written in (folder / REQUEST, folder / LOCK, *folder.glob("*/events.out.*")):
            written.unlink(missing_ok=True)
        for path in (*folder.glob("*"), *made):
            with suppress(FileNotFoundError):
                path.rmdir()


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes JSON, over what is there: it may be written again when a run goes on.

    Raises:
        FileError: If the disk refuses it.
    """
    with atomic_write(path, overwrite=True) as aside:
        aside.write_text(json.dumps(content, indent=2), encoding="utf-8")


def read_request(folder: Path) -> Request:
    """Reads what was asked for when the run in this folder was started.

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
            raise TypeError(f"{name} is {value!r} in {REQUEST}")


def _is_of(value: object, kind: Any) -> bool:
    """Whether a value that JSON can hold is of a type, and all in it of those that it names."""
    if isinstance(kind, UnionType):
        return any(_is_of(value, one) for one in get_args(kind))
    if isinstance(value, dict | list) and type(value) is get_origin(kind):
        inside = value.values() if isinstance(value, dict) else value
        return all(_is_of(one, get_args(kind)[-1]) for one in inside)
    return type(value) is kind  # True is no number here
