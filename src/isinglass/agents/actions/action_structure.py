"""Actions of any structure as rows of numbers, one a part: what replay buffers can hold."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from isinglass._support.typing import Bool
from isinglass.errors import DomainError, ParameterError, ShapeError

__all__ = [
    "ActionStructure",
    "StoredActions",
    "first_action",
    "leaves_of",
    "origin_of",
    "stored_space",
]


class StoredActions(spaces.Box):
    """The space of rows that stand for actions which Stable-Baselines3's buffers cannot hold.

    Attributes:
        origin: The space of the actions themselves.
    """

    def __init__(self, origin: spaces.Space) -> None:
        structure = ActionStructure.of(origin)
        self.origin = origin
        kinds = {leaf.dtype for _, leaf in structure.leaves}
        dtype: Any = np.result_type(*kinds) if structure.listed.all() else np.float32
        super().__init__(-np.inf, np.inf, (structure.size,), np.float32)
        self.dtype = np.dtype(dtype)

    def seed(self, seed: Any = None) -> Any:
        """Seeds the space of the actions: uniform ones are drawn there."""
        return self.origin.seed(seed)


def origin_of(space: Any) -> Any:
    """Returns the space of the actions themselves, where a space of rows stands for it.

    Examples:
        >>> origin_of(StoredActions(spaces.Tuple([spaces.Discrete(2)])))
        Tuple(Discrete(2))
    """
    return space.origin if isinstance(space, StoredActions) else space


def stored_space(space: Any) -> Any:
    """Returns a space that Stable-Baselines3's buffers hold: of rows, where they know no other.

    Examples:
        >>> stored_space(spaces.Discrete(2)), stored_space(spaces.MultiBinary((2, 3))).shape
        (Discrete(2), (6,))
    """
    if isinstance(space, spaces.Dict | spaces.Tuple):
        return StoredActions(space)
    if isinstance(space, spaces.MultiBinary | spaces.MultiDiscrete) and len(space.shape) != 1:
        return StoredActions(space)
    return space


def first_action(actions: Any) -> Any:
    """Returns the only action of an array or a list."""
    return actions[0] if isinstance(actions, list) else actions.squeeze(0)


def leaves_of(space: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yields the spaces that a nested one is made of, each with the keys that lead to it."""
    if isinstance(space, spaces.Dict):
        for key, part in space.spaces.items():
            yield from leaves_of(part, (*path, key))
    elif isinstance(space, spaces.Tuple):
        for number, part in enumerate(space.spaces):
            yield from leaves_of(part, (*path, number))
    else:
        yield path, space


@dataclass(frozen=True)
class ActionStructure:
    """How actions of a space are written as rows of numbers, one a part, and read back.

    Parts come in the order of the space, ``Dict`` by ``Dict``, arrays row by row. Choices and bits
    are stored as they are, real numbers from −1 at the lower bound to 1 at the upper, as
    Stable-Baselines3 stores a ``Box``.

    Args:
        space: The action space.
        leaves: The spaces that it is made of, with the keys that lead to each.

    Examples:
        >>> space = spaces.Dict(kind=spaces.Discrete(3), where=spaces.Box(0, 10, (2,)))
        >>> structure = ActionStructure.of(space)
        >>> action = {"kind": np.int64(2), "where": np.array([5, 10], np.float32)}
        >>> structure.store([action])
        array([[2., 0., 1.]])
        >>> structure.restore(np.array([[2.0, 0.0, 1.0]]))
        [{'kind': np.int64(2), 'where': array([ 5., 10.], dtype=float32)}]
    """

    space: Any
    leaves: tuple[tuple[tuple[Any, ...], Any], ...]

    @classmethod
    def of(cls, space: Any) -> ActionStructure:
        """Reads the structure of an action space."""
        space = origin_of(space)
        return cls(space, tuple(leaves_of(space)))

    @property
    def nested(self) -> bool:
        """Whether actions are dictionaries or tuples, and not arrays."""
        return isinstance(self.space, spaces.Dict | spaces.Tuple)

    @property
    def sizes(self) -> list[int]:
        """How many parts each leaf has."""
        return [math.prod(leaf.shape or ()) for _, leaf in self.leaves]

    @property
    def size(self) -> int:
        """How many parts an action has: bits, choices and axes."""
        return sum(self.sizes)

    @property
    def listed(self) -> Bool[np.ndarray, " parts"]:
        """Which parts have values to list: bits and choices."""
        kinds = [not isinstance(leaf, spaces.Box) for _, leaf in self.leaves]
        return np.repeat(kinds, self.sizes)

    @property
    def starts(self) -> np.ndarray:
        """The least value of each listed part, in their order."""
        listed = [leaf for _, leaf in self.leaves if not isinstance(leaf, spaces.Box)]
        least = [np.broadcast_to(getattr(leaf, "start", 0), leaf.shape or ()) for leaf in listed]
        return np.concatenate([np.zeros(0, dtype=np.int64), *map(np.ravel, least)])

    def store(self, actions: Any) -> np.ndarray:
        """Writes actions, an array of them or a list, as rows that a replay buffer takes."""
        if not self.nested:
            array = np.asarray(actions)
            return _store(array, self.space).reshape(len(array), -1)
        rows = np.empty((len(actions), self.size))
        for row, action in zip(rows, actions, strict=True):
            row[:] = self._write(action)
        return rows

    def restore(self, rows: np.ndarray) -> Any:
        """Reads actions from rows: an array of them, or a list where actions are nested."""
        if not self.nested:
            return _restore(rows, self.space)
        parts = self._parts(rows)
        each = range(len(rows))
        return [_assemble(self.space, {path: p[i] for path, p in parts.items()}) for i in each]

    def batch(self, rows: np.ndarray) -> Any:
        """Reads actions from rows all at once: each leaf is an array with a row an action."""
        if not self.nested:
            return _restore(rows, self.space)
        return _assemble(self.space, self._parts(rows))

    def fill(self, values: np.ndarray, rng: np.random.Generator) -> Any:
        """Builds actions from values of the listed parts, counted from 0; the others uniform.

        Args:
            values: ``(rows, listed parts)``.
            rng: Random stream.
        """
        listed = self.listed
        rows = np.empty((len(values), self.size))
        rows[:, listed] = values + self.starts
        rows[:, ~listed] = rng.uniform(-1, 1, (len(values), int((~listed).sum())))
        return self.restore(rows)

    def read_fixed(self, fixed: Any, count: int) -> np.ndarray:
        """Reads values of some parts as rows to store, NaN where free.

        Args:
            fixed: An array shaped like an action, or like the rows of a nested one; or a nested
                action, where keys may be left out; for all rows, or one for each.
            count: How many rows.

        Raises:
            ShapeError: If it is none of these.
        """
        if self.nested and _is_nested(fixed):
            values = np.tile(self._write(fixed, free=True), (count, 1))
        elif self.nested and isinstance(fixed, list) and fixed and all(map(_is_nested, fixed)):
            values = np.stack([self._write(one, free=True) for one in fixed])
        else:
            values = self._read_flat(fixed, count)
        if len(values) != count:
            raise ShapeError(
                f"{len(values)} fixed actions for {count} observations",
                "Give one for all, or one for each",
            )
        return values

    def flat_mask(self, mask: Any) -> np.ndarray:
        """Turns masks of the structure that ``space.sample(mask=...)`` takes into flat flags.

        A key that is left out, or None, allows everything.

        Raises:
            ShapeError: If a mask does not fit its leaf, or names what the actions do not have.
            ParameterError: If real numbers have one.
        """
        _check_known(mask, self.space)
        return np.concatenate(
            [_flags(leaf, _look_up(mask, path)) for path, leaf in self.leaves]
            or [np.zeros(0, bool)]
        )

    def _read_flat(self, fixed: Any, count: int) -> np.ndarray:
        shape = (self.size,) if self.nested else self.space.shape or ()
        try:
            values = np.asarray(fixed, dtype=np.float64, order="C")
        except (TypeError, ValueError) as error:
            raise ShapeError(
                f"fixed = {fixed!r}, which is no array of numbers",
                f"Give an array of shape {shape}, NaN where free",
            ) from error
        if values.shape not in (shape, (count, *shape)):
            raise ShapeError(
                f"fixed of shape {values.shape} for {count} actions of shape {shape}",
                "Give values shaped like an action, NaN where free, for one action or each",
            )
        rows = np.broadcast_to(values, (count, *shape)).reshape(count, -1)
        ends = np.cumsum([0, *self.sizes])
        pieces = zip(self.leaves, ends, ends[1:], strict=False)
        return np.concatenate(
            [_store(_shaped(rows[:, a:b], leaf), leaf).reshape(count, -1)
             for (_, leaf), a, b in pieces], -1,
        )  # fmt: skip

    def _write(self, action: Any, free: bool = False) -> np.ndarray:
        """Returns one nested action as a row to store; NaN for keys left out, where these may be.

        Raises:
            ShapeError: If it does not fit.
        """
        _check_known(action, self.space)
        row = []
        for path, leaf in self.leaves:
            value = _look_up(action, path)
            try:
                array = np.asarray(np.nan if value is None and free else value, dtype=np.float64)
                array = np.broadcast_to(array, leaf.shape or ()) if value is None else array
            except (TypeError, ValueError) as error:
                raise _misfit(path, value, leaf) from error
            if array.shape != (leaf.shape or ()):
                raise _misfit(path, value, leaf)
            row.append(_store(array, leaf).reshape(-1))
        return np.concatenate(row)

    def _parts(self, rows: np.ndarray) -> dict[tuple[Any, ...], np.ndarray]:
        pieces = np.split(rows, np.cumsum(self.sizes)[:-1], axis=-1)
        pairs = zip(self.leaves, pieces, strict=True)
        return {path: _restore(piece, leaf) for (path, leaf), piece in pairs}


def _assemble(space: Any, parts: Mapping[tuple[Any, ...], Any], path: tuple[Any, ...] = ()) -> Any:
    """Builds the dictionaries and tuples of a space around its leaves."""
    if isinstance(space, spaces.Dict):
        return {k: _assemble(part, parts, (*path, k)) for k, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        each = enumerate(space.spaces)
        return tuple(_assemble(part, parts, (*path, number)) for number, part in each)
    return parts[path]


def _shaped(rows: np.ndarray, space: Any) -> np.ndarray:
    return rows.reshape(len(rows), *(space.shape or ()))


def _store(values: np.ndarray, space: Any) -> np.ndarray:
    """Scales a box to −1 and 1, as Stable-Baselines3's policies do."""
    if not isinstance(space, spaces.Box):
        return values
    return 2.0 * ((values - space.low) / (space.high - space.low)) - 1.0


def _restore(rows: np.ndarray, space: Any) -> np.ndarray:
    """Scales back, as Stable-Baselines3's policies do; that may round beyond the box."""
    values = _shaped(rows, space)
    if not isinstance(space, spaces.Box):
        return np.rint(values).astype(space.dtype) if values.dtype.kind == "f" else values
    values = space.low + 0.5 * (values + 1.0) * (space.high - space.low)
    return np.clip(values.astype(space.dtype), space.low, space.high)


def _look_up(nested: Any, path: tuple[Any, ...]) -> Any:
    """Returns what a path leads to; None where there is nothing."""
    for key in path:
        if nested is None:
            return None
        try:
            nested = nested.get(key) if isinstance(nested, Mapping) else nested[key]
        except (IndexError, KeyError, TypeError) as error:
            raise ShapeError(
                f"{nested!r} where {key!r} is looked for",
                "Nest dictionaries and tuples as the action space does",
            ) from error
    return nested


def _check_known(given: Any, space: Any) -> None:
    """Refuses keys and places that a space does not have: what is misspelt would count for nothing.

    Raises:
        ShapeError: If there is one.
    """
    if isinstance(space, spaces.Dict) and isinstance(given, Mapping):
        parts: dict[Any, Any] = dict(space.spaces)
        names: list[Any] = list(given)
    elif isinstance(space, spaces.Tuple) and isinstance(given, tuple | list):
        parts, names = dict(enumerate(space.spaces)), list(range(len(given)))
    else:
        return
    unknown = [name for name in names if name not in parts]
    if unknown:
        raise ShapeError(f"a part {unknown[0]!r} of an action", f"Name them as {list(parts)}")
    for name in names:
        _check_known(given[name], parts[name])


def _is_nested(value: Any) -> bool:
    return isinstance(value, Mapping | tuple)


def _misfit(path: tuple[Any, ...], value: Any, leaf: Any) -> ShapeError:
    name = "".join(f"[{key!r}]" for key in path)
    return ShapeError(f"{value!r} at {name} of an action", f"Give one of {leaf}, NaN where free")


def _flags(leaf: Any, mask: Any) -> np.ndarray:
    """Returns the flags of one leaf, value by value; none for a box."""
    if isinstance(leaf, spaces.Box):
        if mask is not None:
            raise ParameterError(
                f"a mask of real numbers in {leaf}", "Give None there: low and high bound them"
            )
        return np.zeros(0, dtype=bool)
    shape = leaf.shape or ()
    if isinstance(leaf, spaces.MultiBinary):  # 0 and 1: no other value; 2: either
        given = np.full(shape, 2) if mask is None else np.asarray(mask)
        _check_flags(leaf, given, shape, (0, 1, 2))
        return np.stack([given != 1, given != 0], -1).ravel()
    counts = np.ravel(leaf.nvec) if isinstance(leaf, spaces.MultiDiscrete) else [leaf.n]
    if mask is None:
        return np.ones(int(np.sum(counts)), dtype=bool)
    pieces = list(_arrays(mask, len(shape)))
    if len(pieces) != len(counts):
        raise ShapeError(f"masks of {len(pieces)} choices in {leaf}", "Give one for each choice")
    for piece, count in zip(pieces, counts, strict=True):
        _check_flags(leaf, piece, (int(count),), (0, 1))
    return np.concatenate(pieces).astype(bool)


def _arrays(mask: Any, depth: int) -> Iterator[np.ndarray]:
    """Yields the masks of single choices, nested as deep as the array of choices has dimensions."""
    if depth == 0:
        yield np.asarray(mask)
        return
    for part in mask:
        yield from _arrays(part, depth - 1)


def _check_flags(
    leaf: Any, mask: np.ndarray, shape: tuple[int, ...], values: tuple[int, ...]
) -> None:
    if mask.shape != shape:
        raise ShapeError(f"a mask of shape {mask.shape} in {leaf}", f"Give one of shape {shape}")
    if mask.dtype.kind not in "biuf" or not np.isin(mask, values).all():
        raise DomainError(f"a mask of {mask.dtype} in {leaf}", f"Give values among {values}")
