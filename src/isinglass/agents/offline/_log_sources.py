"""Where logged transitions come from: dictionaries, replay buffers, data sets and HDF5 files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer, RolloutBuffer

from isinglass._support.optional import require_extra
from isinglass.agents.replay.replay_buffer import MaskedReplayBuffer
from isinglass.errors import FileError, ParameterError, ShapeError

__all__ = ["is_buffer", "is_path", "of_arrays", "of_buffer", "of_episodes", "of_file"]

#: What the same arrays are called in D4RL, Minari, Gymnasium and d3rlpy.
NAMES = {
    "observations": ("observations", "obs"),
    "actions": ("actions",),
    "rewards": ("rewards",),
    "next_observations": ("next_observations", "next_obs"),
    "terminated": ("terminated", "terminals", "terminations", "dones"),
    "truncated": ("truncated", "timeouts", "truncations"),
    "next_masks": ("next_masks",),
}
NEEDED = ("observations", "actions", "rewards", "terminated")
EPISODE = "episode_"  # what the groups of a file of Minari begin with


def is_buffer(data: Any) -> bool:
    """Tells whether it is a replay buffer; refuses one of rollouts.

    Raises:
        ParameterError: If it is one of rollouts, which has no next observations.
    """
    if isinstance(data, RolloutBuffer):
        raise ParameterError(
            "a RolloutBuffer, which holds no next observations",
            "Give the buffer of an off-policy algorithm (DQN, SAC, FreeEnergyQ), or arrays",
        )
    return isinstance(data, ReplayBuffer)


def is_path(data: Any) -> bool:
    """Tells whether it is a name of a file."""
    return isinstance(data, str | PathLike)


def of_arrays(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Returns arrays by our names; next observations are looked up in the next row if need be.

    Raises:
        ParameterError: If one is lacking, or there are names that nobody uses.
    """
    known = [name for names in NAMES.values() for name in names]
    for name in map(str, arrays):  # others may be there, as in D4RL's, but none that is misspelt
        likely = get_close_matches(name, known, 1, cutoff=0.85)
        if likely and name not in known:
            raise ParameterError(
                f"logged data with {name!r}, which nothing is known by",
                f"Name it {likely[0]!r}, or something else if it is not that",
            )
    found = {
        ours: arrays[name] for ours, names in NAMES.items() for name in names if name in arrays
    }
    if lacking := [name for name in NEEDED if name not in found]:
        raise ParameterError(
            f"logged data of {sorted(map(str, arrays))} without {lacking[0]}",
            f"Name it as one of {', '.join(NAMES[lacking[0]])}",
        )
    return found if "next_observations" in found else _followed(found)


def _followed(found: dict[str, Any]) -> dict[str, Any]:
    """Takes s' from the row that follows, and leaves out rows that none follows.

    Raises:
        ShapeError: If arrays have different numbers of rows.
    """
    seen = found["observations"]
    parts = {key: _array(part) for key, part in (
        seen.items() if isinstance(seen, Mapping) else [("", seen)])}  # fmt: skip
    over = np.asarray(found["terminated"]).reshape(-1).astype(bool)
    cut = np.asarray(found.get("truncated", np.zeros(len(over)))).reshape(-1).astype(bool)
    actions = found["actions"]
    rows = actions.values() if isinstance(actions, Mapping) else [actions]
    beside = [_array(part) for part in (*parts.values(), *rows, found["rewards"])]
    lengths = {len(part) for part in beside if part.ndim} | {len(over), len(cut)}
    if len(lengths) != 1:
        raise ShapeError(f"arrays of {sorted(lengths)} rows", "Give one row a transition")
    after = np.minimum(np.arange(len(over)) + 1, len(over) - 1)
    known = over | ~cut
    known[-1:] &= over[-1:]
    following = {key: part[after] for key, part in parts.items()}
    found = found | {"truncated": cut}
    found["next_observations"] = following if isinstance(seen, Mapping) else following[""]
    return kept(found, known)


def kept(found: dict[str, Any], keep: np.ndarray) -> dict[str, Any]:
    """Leaves out rows; the episode of a row before one that is left out is cut short there."""
    cut = np.array(found["truncated"], dtype=bool).reshape(-1)
    cut[:-1] |= ~keep[1:]
    rows = {name: _take(part, keep) for name, part in found.items()}
    return rows | {"truncated": cut[keep]}


def _take(part: Any, rows: np.ndarray) -> Any:
    if isinstance(part, Mapping):
        return {key: _array(inner)[rows] for key, inner in part.items()}
    return _array(part)[rows]


def _array(rows: Any) -> np.ndarray:
    """Returns rows as an array.

    Raises:
        ShapeError: If they are of different lengths.
    """
    try:
        return np.asarray(rows)
    except ValueError as error:
        raise ShapeError(
            f"rows of logged data of different lengths ({error})",
            "Give arrays with one row a transition; nested actions have to be flattened",
        ) from error


def of_buffer(buffer: ReplayBuffer) -> tuple[dict[str, Any], tuple[spaces.Space, spaces.Space]]:
    """Returns what a replay buffer holds, one environment after the other, oldest first.

    Stable-Baselines3 holds actions of a ``Box`` scaled to −1 to 1. Where some are beyond that, the
    buffer was filled by hand, and they are as the environment takes them.
    """
    size = buffer.size()
    order = np.arange(size) if not buffer.full else (buffer.pos + np.arange(size)) % size
    if buffer.optimize_memory_usage and buffer.full:
        order = order[1:]  # the observation of the oldest is the newest one's next
    if not order.size:
        raise ParameterError("an empty replay buffer", "Fill it first")
    after = (order + 1) % buffer.buffer_size
    seen, space = buffer.observations, buffer.action_space
    following = seen if buffer.optimize_memory_usage else buffer.next_observations
    rows = after if buffer.optimize_memory_usage else order
    cut = buffer.timeouts[order] > 0
    cut[-1] = True  # the next row is of another environment
    actions = _streams(buffer.actions, order).reshape(-1, *(space.shape or ()))
    if isinstance(space, spaces.Box) and np.all(np.abs(actions) <= 1 + 1e-6):
        actions = space.low + 0.5 * (actions + 1) * (space.high - space.low)
        actions = np.clip(actions, space.low, space.high)
    found = {
        "observations": _streams(seen, order, buffer.observation_space),
        "next_observations": _streams(following, rows, buffer.observation_space),
        "actions": actions,
        "rewards": _streams(buffer.rewards, order),
        "terminated": _streams(buffer.dones * (1 - buffer.timeouts), order),
        "truncated": _streams(cut, np.arange(len(order))),
    }
    if isinstance(buffer, MaskedReplayBuffer):
        masks = buffer.stored_masks(order, slice(None))
        if masks is not None:
            found["next_masks"] = _streams(masks, np.arange(len(order)))
        found = kept(found, _streams(buffer.valid, order))
    return found, (buffer.observation_space, space)


def _streams(stored: Any, order: np.ndarray, space: spaces.Space | None = None) -> Any:
    """Returns rows of all environments, ``(steps, envs, …)``, one environment after the other."""
    if isinstance(stored, Mapping):
        parts = space.spaces if isinstance(space, spaces.Dict) else {}
        return {key: _streams(part, order, parts.get(key)) for key, part in stored.items()}
    rows = stored[order].swapaxes(0, 1)
    shape = rows.shape[2:] if space is None or space.shape is None else space.shape
    return rows.reshape(-1, *shape)


def of_episodes(episodes: Iterable[Any]) -> dict[str, Any]:
    """Returns the transitions of episodes, each with one observation more than actions.

    Raises:
        ParameterError: If there is none.
    """
    found: dict[str, list[Any]] = {name: [] for name in [*NEEDED, "truncated", "next_observations"]}
    for episode in episodes:
        steps = len(episode.rewards)
        found["observations"].append(_slice(episode.observations, 0, steps))
        found["next_observations"].append(_slice(episode.observations, 1, steps + 1))
        found["actions"].append(np.asarray(episode.actions)[:steps])
        found["rewards"].append(np.asarray(episode.rewards))
        found["terminated"].append(np.asarray(episode.terminations))
        found["truncated"].append(np.asarray(episode.truncations))
    if not found["rewards"]:
        raise ParameterError("a data set without episodes", "Give one with some")
    return {name: _join(parts) for name, parts in found.items()}


def _slice(part: Any, start: int, stop: int) -> Any:
    if isinstance(part, Mapping):
        return {key: _slice(inner, start, stop) for key, inner in part.items()}
    return np.asarray(part)[start:stop]


def _join(parts: list[Any]) -> Any:
    if isinstance(parts[0], Mapping):
        return {key: _join([part[key] for part in parts]) for key in parts[0]}
    try:
        return np.concatenate(parts)
    except ValueError as error:
        raise ShapeError(
            f"episodes that do not fit together ({error})", "Give episodes of one environment"
        ) from error


class _Episode:
    """An episode as a file of Minari has it, with the names that its library gives."""

    def __init__(self, group: Any) -> None:
        self.observations = _read(group["observations"])
        self.actions, self.rewards = group["actions"][()], group["rewards"][()]
        self.terminations = group["terminations"][()]
        self.truncations = group["truncations"][()]


def _read(part: Any) -> Any:
    """Reads an array, or the dictionary of arrays of a group."""
    return {key: _read(part[key]) for key in part} if hasattr(part, "keys") else part[()]


def of_file(path: Any) -> dict[str, Any]:
    """Reads an HDF5 file: arrays as in D4RL, or a group an episode as in Minari.

    Raises:
        FileError: If there is none, it is no HDF5 file or damaged, or it lacks an array.
        MissingExtraError: If h5py is not installed.
    """
    with require_extra("offline"):
        import h5py
    operation = f"reading {path}"
    if not Path(path).is_file():
        raise FileError(
            "there is no such file",
            "Give the path of an HDF5 file; of Minari give minari.load_dataset(name)",
            operation=operation,
        )
    try:
        with h5py.File(path, "r") as file:
            every = list(map(str, file))
            names = [name for name in every if name.startswith(EPISODE)]
            if names:
                names.sort(key=lambda name: int(name.removeprefix(EPISODE)))
                return of_episodes(_Episode(file[name]) for name in names)
            known = {name for ours in NAMES.values() for name in ours}
            return of_arrays({name: _read(file[name]) for name in every if name in known})
    except (KeyError, OSError, ValueError) as error:
        if isinstance(error, FileError):
            raise
        said = getattr(error, "found", error)
        raise FileError(
            f"it holds no logged transitions ({said})",
            "Give an HDF5 file with observations, actions, rewards and terminals, as of D4RL, or "
            "one of Minari",
            operation=operation,
        ) from error
