"""The past of episodes: carried by the state of ``predict``, and joined to observations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import Tensor

from isinglass._support.typing import Bool
from isinglass.errors import ShapeError

__all__ = ["State", "each", "find_known", "join_past", "named_parts", "part_past", "take_past"]

NOW, PAST, HELD = "now", "past/", "past/held"
#: Observations in slots, ``(envs, length, …)``, an array an entry; then how many were stored.
State: TypeAlias = tuple[np.ndarray, ...]
Rows: TypeAlias = Mapping[str, np.ndarray]


def each(part: Any, change: Callable[[Any], Any]) -> Any:
    """Returns an observation changed, entry by entry where it is a dictionary."""
    if isinstance(part, Mapping):
        return {key: change(one) for key, one in part.items()}
    return change(part)


def named_parts(part: Any) -> Mapping[str, Any]:
    """Returns the entries of an observation, under a name of its own where it is none.

    Examples:
        >>> named_parts(3.0)
        {'now': 3.0}
    """
    return part if isinstance(part, Mapping) else {NOW: part}


def join_past(now: PyTorchObs, past: PyTorchObs, held: Tensor) -> dict[str, Tensor]:
    """Returns observations and their past as one dictionary, rows of which can be taken.

    Args:
        now: The present observations, ``(batch, …)``, or a dictionary of such.
        past: Past ones, ``(batch, slots, …)``.
        held: Which slots are filled, ``(batch, slots)``.

    Examples:
        >>> both = join_past(torch.zeros(2, 3), torch.ones(2, 5, 3), torch.ones(2, 5).bool())
        >>> {name: tuple(part.shape) for name, part in both.items()}
        {'now': (2, 3), 'past/now': (2, 5, 3), 'past/held': (2, 5)}
    """
    before = {PAST + key: part for key, part in named_parts(past).items()}
    return {**named_parts(now), **before, HELD: held}


def part_past(obs: PyTorchObs, named: bool) -> tuple[PyTorchObs, PyTorchObs | None, Tensor | None]:
    """Returns observations, their past, and which slots of it are filled.

    Args:
        obs: What :func:`join_past` gave, or observations without a past, which is None then.
        named: Whether an observation is a dictionary.

    Examples:
        >>> both = join_past(torch.zeros(2, 3), torch.ones(2, 5, 3), torch.ones(2, 5).bool())
        >>> now, past, held = part_past(both, named=False)
        >>> now.shape, past.shape, held.shape
        (torch.Size([2, 3]), torch.Size([2, 5, 3]), torch.Size([2, 5]))
    """
    if not isinstance(obs, Mapping) or HELD not in obs:
        return obs, None, None
    now = {key: part for key, part in obs.items() if not key.startswith(PAST)}
    past = {key: obs[PAST + key] for key in now}
    return (now, past, obs[HELD]) if named else (now[NOW], past[NOW], obs[HELD])


def find_known(
    rows: Rows, past: Rows, held: Bool[np.ndarray, "batch slots"]
) -> Bool[np.ndarray, "batch"]:
    """Tells which observations are in their own past already, number by number the same.

    Examples:
        >>> rows, past = np.array([[1, 2], [1, 3]]), np.array([[[1, 2]], [[1, 2]]])
        >>> find_known({"now": rows}, {"now": past}, np.ones((2, 1), bool))
        array([ True, False])
    """
    found = held.copy()
    for key, row in rows.items():
        same = past[key] == row[:, None]
        found &= same.reshape(*held.shape, -1).all(-1)
    return np.asarray(found.any(-1))


def take_past(
    obs: PyTorchObs, state: State | None, episode_start: object, length: int
) -> tuple[dict[str, Tensor], State]:
    """Returns observations with their past, and the state in which they have become past.

    Args:
        obs: One observation an environment.
        state: What this has given back before; None where nothing was observed.
        episode_start: Which observations are the first of an episode, ``(envs,)``; None is none.
        length: Slots.

    Raises:
        ShapeError: If the state or the starts are of another number or kind of observations.

    Examples:
        >>> first, state = take_past(torch.zeros(1, 2), None, None, length=4)
        >>> second, state = take_past(torch.ones(1, 2), state, [False], length=4)
        >>> first["past/held"].tolist(), second["past/held"].tolist()
        ([[False]], [[True]])
        >>> second["past/now"].tolist()
        [[[0.0, 0.0]]]
    """
    seen = {key: _array(part) for key, part in named_parts(obs).items()}
    stored, counts = _read(state, seen, length)
    starts = np.zeros(len(counts), bool) if episode_start is None else np.asarray(episode_start)
    if starts.shape != counts.shape:
        raise ShapeError(
            f"episode_start of shape {starts.shape} for {len(counts)} observations",
            "Give one truth value an environment, or None",
        )
    counts = np.where(starts.astype(bool), 0, counts)
    slots = max(1, min(int(counts.max()), length))
    held = np.arange(slots) < counts[:, None]
    past = {
        key: np.where(_spread(held, part), part[:, :slots], seen[key][:, None])  # one of the space
        for key, part in stored.items()
    }
    device = next(iter(named_parts(obs).values())).device
    tensors = {key: torch.as_tensor(part, device=device) for key, part in past.items()}
    together = join_past(
        obs, tensors if isinstance(obs, Mapping) else tensors[NOW], torch.as_tensor(held).to(device)
    )
    new = np.flatnonzero(~find_known(seen, past, held))
    for key, part in stored.items():
        stored[key] = part = part.copy()  # the state before may be asked again
        part[new, counts[new] % length] = seen[key][new]
    counts[new] += 1
    return together, (*stored.values(), counts)


def _array(part: Tensor) -> np.ndarray:
    found = part.cpu().numpy()
    return found.astype(np.float32) if found.dtype == np.float64 else found  # as replay has it


def _spread(held: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Returns flags of slots with as many axes as what stands in them."""
    return held.reshape(*held.shape, *[1] * (part.ndim - 2))


def _read(state: State | None, seen: Rows, length: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Returns what is stored, and how much, of the state or of none."""
    envs = len(next(iter(seen.values())))
    wanted = [(envs, length, *row.shape[1:]) for row in seen.values()] + [(envs,)]
    if state is None:
        empty = zip(wanted, seen.values(), strict=False)
        blank = [np.zeros(shape, row.dtype) for shape, row in empty]
        return dict(zip(seen, blank, strict=True)), np.zeros(envs, np.int64)
    parts = list(state) if isinstance(state, Sequence) else [state]
    found = [np.shape(part) for part in parts]
    if found != wanted:
        raise ShapeError(
            f"a state of shapes {found}, where {wanted} are needed",
            "Give the state that predict gave back for as many environments, or None",
        )
    *stored, counts = map(np.asarray, parts)
    return dict(zip(seen, stored, strict=True)), counts.astype(np.int64)
