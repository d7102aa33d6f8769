"""Logged transitions: what somebody did in an environment, checked against its spaces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from gymnasium import spaces

from isinglass._support.wording import shown
from isinglass.agents.actions.action_codec import ActionCode
from isinglass.agents.actions.action_masks import MaskLayout
from isinglass.agents.offline import _log_sources as sources
from isinglass.errors import DomainError, ParameterError, ShapeError

__all__ = ["LoggedData", "spaces_of"]

Arrays: TypeAlias = "np.ndarray | dict[str, np.ndarray]"
ROWS_NAMED = 5  # in an error
ROUNDING = 1e-5  # of the width of a box: what 32 bits make of a bound


@dataclass(frozen=True, eq=False)
class LoggedData:
    r"""Transitions (s, a, r, s') that were logged, in the order in which they were made.

    All is checked when it is made: an instance fits its spaces, and holds no NaN. Actions are as
    the environment takes them, not scaled. Arrays are neither copied nor changed, where their
    numbers need not be converted.

    A return of several steps goes on from one row to the next as long as the episode does: not
    over a row that terminated or was cut short, nor where s' is not the s of the next row. Rows in
    any order will therefore do.

    Reference: Levine, Kumar, Tucker & Fu 2020, "Offline reinforcement learning", arXiv:2005.01643.

    Args:
        observations: s, ``(n, *shape)``, or a dictionary of such.
        actions: a, ``(n, *shape)``, in units of the environment.
        rewards: r, ``(n,)``.
        next_observations: s', like s.
        terminated: Whether the episode was over in s', ``(n,)`` bools or 0 and 1.
        spaces: ``(observation_space, action_space)``, or an environment that has them.
        truncated: Whether it was cut short there, ``(n,)``; None if nobody knows.
        next_masks: What was allowed in s', ``(n, flags)``, flat or joint as
            :class:`~isinglass.agents.MaskLayout` has it; None if everything was.

    Raises:
        ParameterError: If ``spaces`` are none, or actions of such a space are not supported.
        ShapeError: If arrays have other shapes than the spaces, or other numbers of rows.
        DomainError: If a value is NaN, infinite or not in its space; it says in which rows.

    Examples:
        >>> seen, action = spaces.Box(-1, 1, (2,)), spaces.Box(-2, 2, (1,))
        >>> data = LoggedData(
        ...     observations=np.zeros((3, 2)), actions=[[-2.0], [0.5], [2.0]], rewards=[0, 1, 2],
        ...     next_observations=np.zeros((3, 2)), terminated=[0, 0, 1], spaces=(seen, action),
        ... )
        >>> len(data), data.mean_return()
        (3, 3.0)
        >>> LoggedData(np.zeros((1, 2)), [[3.0]], [0], np.zeros((1, 2)), [True], (seen, action))
        Traceback (most recent call last):
            ...
        isinglass.errors.DomainError: LoggedData: actions outside Box(-2.0, 2.0, (1,), float32) ...
    """

    observations: Any
    actions: Any
    rewards: Any
    next_observations: Any
    terminated: Any
    spaces: Any
    truncated: Any = None
    next_masks: Any = None

    def __post_init__(self) -> None:
        seen, action = spaces_of(self.spaces)
        rewards = _numbers("rewards", self.rewards).astype(np.float32, copy=False)
        if rewards.ndim not in (1, 2) or rewards.size != len(rewards) or not len(rewards):
            raise ShapeError(
                f"rewards of shape {rewards.shape}", "Give one number a row, of one row or more"
            )
        rewards = rewards.reshape(-1)
        _refuse_rows(~np.isfinite(rewards), "rewards that are NaN or infinite in 32 bits")
        count = len(rewards)
        found: dict[str, Any] = {"rewards": rewards, "spaces": (seen, action)}
        for name in ("observations", "next_observations"):
            found[name] = _observed(name, getattr(self, name), seen, count)
        found["actions"] = _in_space("actions", self.actions, action, count)
        found["terminated"] = _flags("terminated", self.terminated, count)
        cut = np.zeros(count) if self.truncated is None else self.truncated
        found["truncated"] = _flags("truncated", cut, count) & ~found["terminated"]
        if self.next_masks is not None:
            masks = np.asarray(self.next_masks)
            layout = MaskLayout.of(action)
            found["next_masks"] = layout.rows(masks, count, found["terminated"])
        for name, values in found.items():
            object.__setattr__(self, name, values)

    @classmethod
    def of(cls, data: Any, spaces: Any = None) -> LoggedData:
        """Reads logged transitions from whatever holds them.

        Args:
            data: A dictionary of arrays as of :meth:`from_arrays`, a replay buffer, a data set of
                Minari, a path to an HDF5 file, or what this class has made.
            spaces: ``(observation_space, action_space)``, or an environment; None where the data
                have them: buffers and data sets do.

        Raises:
            ParameterError: If it is none of these, has other spaces, or has none and none are
                given.
            FileError: If there is no such file, or it cannot be read.

        Examples:
            >>> arrays = {"observations": [0, 1, 2], "actions": [0, 1, 1], "rewards": [0, 0, 1],
            ...           "terminals": [0, 0, 1]}
            >>> LoggedData.of(arrays, (spaces.Discrete(3), spaces.Discrete(2))).next_observations
            array([1, 2, 2])
        """
        if isinstance(data, cls):
            return data._with_spaces(spaces)
        if sources.is_buffer(data):
            arrays, own = sources.of_buffer(data)
        elif hasattr(data, "iterate_episodes"):
            arrays, own = sources.of_episodes(data.iterate_episodes()), data
        elif sources.is_path(data):
            arrays, own = sources.of_file(data), spaces
        elif isinstance(data, Mapping):
            arrays, own = sources.of_arrays(data), spaces
        else:
            raise ParameterError(
                f"data = {shown(data)}",
                "Give a dictionary of arrays, a replay buffer, a data set of Minari, a path to an "
                "HDF5 file, or LoggedData",
            )
        if own is None:
            raise ParameterError(
                "logged data without spaces",
                "Give spaces=(observation_space, action_space), or an environment that has them",
            )
        return cls(**arrays, spaces=spaces_of(own))._with_spaces(spaces)

    def __len__(self) -> int:
        """Counts the transitions."""
        return len(self.rewards)

    @property
    def ends(self) -> np.ndarray:
        """Which rows the next one does not go on from, ``(n,)`` bools."""
        over = self.terminated | self.truncated
        over[-1] = True
        for seen, after in zip(
            _parts(self.observations), _parts(self.next_observations), strict=True
        ):
            differs = after.reshape(len(over), -1)[:-1] != seen.reshape(len(over), -1)[1:]
            over[:-1] |= differs.any(1)
        return over

    def mean_return(self) -> float:
        """Returns the mean sum of rewards of an episode, those at the edges of the log included."""
        return float(self.rewards.sum(dtype=np.float64) / self.ends.sum())

    def _with_spaces(self, given: Any) -> LoggedData:
        """Returns the data, if spaces that are given are theirs.

        Raises:
            ParameterError: If they are others.
        """
        if given is None:
            return self
        for name, own, wanted in zip(
            ("observations", "actions"), self.spaces, spaces_of(given), strict=True
        ):
            if own != wanted:
                raise ParameterError(
                    f"data with {name} in {own}, given {wanted}",
                    "Give the spaces that the data were logged in",
                )
        return self


def _parts(values: Arrays) -> list[np.ndarray]:
    return list(values.values()) if isinstance(values, dict) else [values]


def spaces_of(given: Any) -> tuple[spaces.Space, spaces.Space]:
    """Returns the spaces of observations and actions: of a pair, or of what has them.

    Raises:
        ParameterError: If there are none, or such actions are not supported.

    Examples:
        >>> import gymnasium
        >>> spaces_of(gymnasium.make("CartPole-v1"))[1]
        Discrete(2)
    """
    if hasattr(given, "action_space") and hasattr(given, "observation_space"):
        given = given.observation_space, given.action_space
    pair = given if isinstance(given, tuple | list) else ()
    if len(pair) != 2 or not all(isinstance(space, spaces.Space) for space in pair):
        raise ParameterError(
            f"spaces = {shown(given)}",
            "Give (observation_space, action_space), or an environment that has them",
        )
    ActionCode.of(pair[1])
    return pair[0], pair[1]


def _observed(name: str, given: Any, space: spaces.Space, count: int) -> Arrays:
    """Returns observations as arrays of their space, entry by entry.

    Raises:
        ShapeError: If entries are lacking.
    """
    if not isinstance(space, spaces.Dict):
        return _in_space(name, given, space, count)
    if not isinstance(given, Mapping) or space.keys() - given.keys():
        held = sorted(given) if isinstance(given, Mapping) else type(given).__name__
        raise ShapeError(f"{name} with {held}, in {space}", f"Give a dictionary of {list(space)}")
    return {key: _in_space(f"{name}[{key!r}]", given[key], part, count)
            for key, part in space.items()}  # fmt: skip


def _in_space(name: str, given: Any, space: spaces.Space, count: int) -> np.ndarray:
    """Returns values, one a row, in the type and shape of their space.

    Real observations may lie beyond their bounds, as many environments do; all else may not.

    Raises:
        ShapeError: If they have another shape.
        DomainError: If one is NaN, infinite, or none of the space.
        ParameterError: If the space is none of arrays.
    """
    if not isinstance(
        space, spaces.Box | spaces.Discrete | spaces.MultiBinary | spaces.MultiDiscrete
    ):
        raise ParameterError(
            f"{name} in {space}",
            "Flatten them into one Box, Discrete, MultiDiscrete or MultiBinary",
        )
    values, shape = _numbers(name, given), space.shape or ()
    alone = values.ndim == 2 and not shape and values.shape[1] == 1  # (n, 1) for one number
    if values.shape != (count, *shape) and not alone:
        raise ShapeError(
            f"{name} of shape {values.shape}, {count} rewards, and {space}",
            f"Give an array of shape {(count, *shape)}: data of this space",
        )
    values = values.reshape(count, *shape)
    flat: Any = values.reshape(count, -1)
    with np.errstate(over="ignore", invalid="ignore"):
        lost = ~np.isfinite(flat.astype(np.float32)) if flat.dtype.kind == "f" else flat != flat
    _refuse_rows(lost.any(1), f"{name} that are NaN or infinite in 32 bits")
    low, high = _bounds(space, name)
    if low is not None and high is not None:
        slack = ROUNDING * (high - low) if isinstance(space, spaces.Box) else 0.0
        _refuse_rows(
            ((flat < low - slack) | (flat > high + slack)).any(1), f"{name} outside {space}"
        )
    if not isinstance(space, spaces.Box) or space.dtype.kind in "iu":
        _refuse_rows((flat != np.floor(flat)).any(1), f"{name} that are not whole, in {space}")
    elif low is not None and high is not None and not _within(flat, low, high):
        values = np.clip(values, space.low, space.high)
    return values.astype(space.dtype, copy=False)


def _within(flat: np.ndarray, low: np.ndarray, high: np.ndarray) -> bool:
    return bool(((flat >= low) & (flat <= high)).all())


def _bounds(space: Any, name: str) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Returns the least and the largest values that a row may have; None where any will do."""
    if isinstance(space, spaces.Box):
        if name == "actions" or space.dtype.kind in "iu":
            return space.low.reshape(-1).astype(float), space.high.reshape(-1).astype(float)
        return None, None
    if isinstance(space, spaces.MultiBinary):
        return np.zeros(1), np.ones(1)
    count = space.n if isinstance(space, spaces.Discrete) else space.nvec
    low = np.asarray(space.start).reshape(-1)
    return low, low + np.asarray(count).reshape(-1) - 1


def _flags(name: str, given: Any, count: int) -> np.ndarray:
    """Returns truths, one a row.

    Raises:
        ShapeError: If there are not as many as rewards.
        DomainError: If one is neither true nor false.
    """
    values = _numbers(name, given)
    if values.shape not in ((count,), (count, 1)):
        raise ShapeError(f"{name} of shape {values.shape}, {count} rewards", "Give one a row")
    values = values.reshape(-1)
    _refuse_rows((values != 0) & (values != 1), f"{name} that are neither 0 nor 1")
    return values.astype(bool)


def _numbers(name: str, given: Any) -> np.ndarray:
    """Returns an array of numbers.

    Raises:
        DomainError: If it is none.
    """
    try:
        values = np.asarray(given)
    except (TypeError, ValueError):  # rows of different lengths
        values = np.empty(0, dtype=object)
    if values.dtype.kind not in "biuf":
        raise DomainError(
            f"{name} of type {type(given).__name__} that are no array of numbers",
            "Give an array of numbers, with a row for each transition",
        )
    return values


def _refuse_rows(bad: np.ndarray, what: str) -> None:
    """Refuses data with such rows, and names the first of them.

    Raises:
        DomainError: If there is one.
    """
    rows = np.flatnonzero(bad)
    if rows.size:
        named = ", ".join(map(str, rows[:ROWS_NAMED])) + (", …" if rows.size > ROWS_NAMED else "")
        raise DomainError(
            f"{what} in {rows.size} of {len(bad)} rows ({named})",
            "Mend these rows or leave them out: nothing was taken in",
        )
