"""Action masks: which actions an environment allows, from its infos to arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from isinglass._support.typing import Bool, Float, Int
from isinglass._support.validation import check_count
from isinglass.agents.actions.action_structure import ActionStructure, leaves_of, origin_of
from isinglass.errors import DomainError, ParameterError, ShapeError

__all__ = ["MASK_KEY", "MaskLayout", "find_mask"]

MASK_KEY = "action_mask"


@dataclass(frozen=True)
class MaskLayout:
    r"""How the masks of an action space are laid out: True is allowed, False forbidden.

    An action has ``parts``, each with its own number of values: n of ``Discrete(n)``, nvec of
    ``MultiDiscrete(nvec)``, 2 a bit of ``MultiBinary(d)``. A mask is one of two things:

        flat     (Σ_i n_i,)        value by value, part after part: a bit has "0 allowed",
                                   "1 allowed"; any choice of allowed values is allowed
        joint    (n_1, ..., n_k)   action by action: allows any set of actions

    Flat masks are those of sb3-contrib's ``MaskablePPO``. Joint masks are flattened row-major,
    to Π_i n_i values. Where both would have equally many, (2, 2) for one, flat masks become joint
    ones, so that the width of an array of masks says what they are. ``Box`` has no parts and
    takes no masks. Parts of ``Dict`` and ``Tuple`` are those of their leaves, in their order; where
    some are real, these have no flags, and masks are flat. There a mask may also have the
    structure that ``space.sample(mask=...)`` takes.

    Reference: Huang & Ontañón 2022, "A closer look at invalid action masking in policy gradient
    algorithms", arXiv:2006.14171.

    Args:
        space: Action space.
        parts: Number of values of each part; :meth:`of` finds them.
        real: Whether an action has real parts beside these.

    Examples:
        >>> layout = MaskLayout.of(spaces.MultiDiscrete([2, 3]))
        >>> layout.parts, layout.flat_size, layout.joint_size
        ((2, 3), 5, 6)
        >>> layout.read([{"action_mask": np.array([1, 0, 1, 1, 0], bool)}, {}])
        array([[ True, False,  True,  True, False],
               [ True,  True,  True,  True,  True]])
    """

    space: spaces.Space
    parts: tuple[int, ...]
    real: bool = False

    @classmethod
    def of(cls, space: spaces.Space) -> MaskLayout:
        """Builds the layout of an action space.

        Raises:
            ParameterError: If it is none of ``Discrete``, ``MultiDiscrete``, ``MultiBinary``,
                ``Box``, and ``Dict`` and ``Tuple`` of these.
        """
        space = origin_of(space)
        if isinstance(space, spaces.Dict | spaces.Tuple):
            leaves = [cls.of(leaf) for _, leaf in leaves_of(space)]
            real = any(not layout.parts for layout in leaves)
            return cls(space, tuple(n for layout in leaves for n in layout.parts), real)
        if isinstance(space, spaces.Discrete):
            return cls(space, (int(space.n),))
        if isinstance(space, spaces.MultiDiscrete):
            return cls(space, tuple(int(n) for n in space.nvec.flat))
        if isinstance(space, spaces.MultiBinary):
            return cls(space, (2,) * math.prod(space.shape))
        if isinstance(space, spaces.Box):
            return cls(space, ())
        raise ParameterError(
            f"the action space {space}",
            "Give a Discrete, MultiDiscrete, MultiBinary or Box space, or a Dict or Tuple of them",
        )

    @property
    def flat_size(self) -> int:
        """Width of a flat mask, Σ_i n_i."""
        return sum(self.parts)

    @property
    def joint_size(self) -> int:
        """Width of a flattened joint mask, Π_i n_i: the number of actions; 0 beside real parts."""
        return 0 if self.real else math.prod(self.parts)

    def is_joint(self, masks: Bool[np.ndarray, "*rows width"]) -> bool:
        """Tells whether masks, ``(rows, width)``, are joint; those of a single part are both."""
        return masks.shape[-1] == self.joint_size

    def read(
        self,
        infos: Sequence[Mapping[str, Any]],
        ended: Bool[np.ndarray, "rows"] | None = None,
    ) -> Bool[np.ndarray, "rows width"] | None:
        """Reads the masks that infos hold under ``"action_mask"``, as bools of ``(rows, width)``.

        An info without one allows everything; None if there is none at all.

        Args:
            infos: One info a row.
            ended: Rows whose episode is over, ``(rows,)``: nothing is chosen there, so that
                everything counts as allowed, whatever their masks say.

        Raises:
            ShapeError: If a mask is neither flat nor joint, or some are flat and some joint.
            DomainError: If a mask is not made of bools or of 0 and 1, or forbids every value of
                a part, and with that every action.
            ParameterError: If the actions are a ``Box``.
        """
        found = [find_mask(info) for info in infos]
        rows = {i: self._one(mask) for i, mask in enumerate(found) if mask is not None}
        if not rows:
            return None
        widths = sorted({row.size for row in rows.values()})
        if len(widths) > 1:
            raise ShapeError(
                f"masks of {widths[0]} and of {widths[1]} values side by side",
                "Let all environments give flat masks, or all joint ones",
                operation="reading action masks",
            )
        masks = np.ones((len(found), widths[0]), dtype=bool)
        masks[list(rows)] = list(rows.values())
        if ended is not None:
            masks[ended] = True
        return self._check(masks)

    def rows(
        self, masks: object, count: int, ended: Bool[np.ndarray, "count"] | None = None
    ) -> Bool[np.ndarray, "count width"]:
        """Reads masks of a user, one for all rows or one for each, as ``(count, width)`` bools.

        Args:
            masks: The masks.
            count: How many rows.
            ended: As of :meth:`read`.

        Raises:
            ShapeError: As :meth:`read`.
            DomainError: As :meth:`read`.
            ParameterError: As :meth:`read`.
        """
        count = check_count("count", count, least=0)
        if self._is_structured(masks):
            masks = self.structure.flat_mask(masks)
        elif isinstance(masks, list) and masks and all(map(self._is_structured, masks)):
            masks = [self.structure.flat_mask(mask) for mask in masks]
        given = _truths(masks)
        one = given.shape in (self.parts, (self.flat_size,), (self.joint_size,))
        flat = self._flatten(given, () if one else (count,))
        rows = np.tile(flat, (count, 1)) if one else flat
        return self._check(rows if ended is None else rows | ended[:, None])

    def observed(self, masks: np.ndarray) -> Bool[np.ndarray, "count width"]:
        """Reads masks of observations; all is allowed where nothing is, as in last states.

        Raises:
            ShapeError: As :meth:`read`.
            DomainError: If a mask is not made of bools or of 0 and 1.
        """
        rows = self._flatten(_truths(masks), (len(masks),))
        return rows | ~self._possible(rows).all(-1, keepdims=True)

    def check_allowed(
        self,
        values: Float[Tensor, "count parts"],
        masks: Bool[Tensor, "count flat"],
        starts: Int[np.ndarray, " parts"],
    ) -> None:
        """Refuses values of parts that a flat mask forbids.

        Args:
            values: One row an action, NaN where free.
            masks: Flat masks.
            starts: From which number each part counts.

        Raises:
            DomainError: If any is forbidden.
        """
        places = np.cumsum((0, *self.parts[:-1])) - starts
        flags = values.nan_to_num() + torch.as_tensor(places, device=values.device)
        allowed = masks.gather(-1, flags.long().clamp_min(0)) | values.isnan()
        if not bool(allowed.all()):
            raise DomainError(
                f"{int((~allowed).sum())} values that are fixed and that the mask forbids",
                "Leave them free (NaN), or allow them",
            )

    def joint(self, masks: Bool[np.ndarray, "*rows flat"]) -> Bool[np.ndarray, "*rows joint"]:
        """Turns flat masks into joint ones, ``(..., joint_size)``: allowed where all parts are.

        Raises:
            ShapeError: If they are no flat ones.
            DomainError: If they are not made of bools or of 0 and 1.
        """
        masks = _truths(masks)
        if masks.shape[-1:] != (self.flat_size,):
            raise ShapeError(
                f"flat masks of shape {masks.shape}",
                f"Give {self.flat_size} flags, value by value and part after part",
            )
        pieces = np.split(masks, np.cumsum(self.parts)[:-1], axis=-1)
        return reduce(_every_pair, pieces)

    def by_parts(self, masks: Bool[np.ndarray, "rows width"]) -> np.ndarray:
        """Turns joint masks into ``(rows, *parts)``, so that :meth:`rows` takes none for flat.

        Where as many actions as values are there, as of two bits, their widths are the same.
        """
        return masks.reshape(len(masks), *self.parts) if self.is_joint(masks) else masks

    def all_actions(self) -> Int[np.ndarray, "joint parts"]:
        """Returns all actions as rows of numbers, one a part, in the order of joint masks.

        Examples:
            >>> MaskLayout.of(spaces.MultiDiscrete([2, 2], start=[0, 5])).all_actions().tolist()
            [[0, 5], [0, 6], [1, 5], [1, 6]]
        """
        return np.indices(self.parts).reshape(len(self.parts), -1).T + self.structure.starts

    def draw_allowed(self, masks: Bool[np.ndarray, "rows width"], rng: np.random.Generator) -> Any:
        """Draws one action a row, uniform among the allowed, in the form that the space samples.

        Nested ones come in a list.

        Args:
            masks: ``(rows, width)`` bools, as :meth:`read` gives them.
            rng: Random stream, ``space.np_random`` for one.

        Examples:
            >>> layout = MaskLayout.of(spaces.MultiBinary(3))
            >>> masks = np.array([[1, 0, 0, 1, 1, 1]], bool)  # 0, 1, either
            >>> layout.draw_allowed(masks, np.random.default_rng(0))[:, :2]
            array([[0, 1]], dtype=int8)
        """
        sizes = self._sizes(masks)
        starts = np.cumsum((0, *sizes[:-1]))
        counts = np.add.reduceat(masks, starts, axis=-1, dtype=np.int64)
        # The k-th allowed value of each part, k uniform: found by its rank in the whole row.
        wanted = counts.cumsum(-1) - counts + rng.integers(counts) + 1
        chosen = masks & (masks.cumsum(-1) == np.repeat(wanted, sizes, axis=-1))
        values = chosen.nonzero()[1].reshape(counts.shape) - starts
        if sizes != self.parts:
            values = np.stack(np.unravel_index(values[:, 0], self.parts), axis=-1)
        if self.structure.nested:
            return self.structure.fill(values, rng)
        actions = values.reshape(len(masks), *(self.space.shape or ()))
        return (actions + getattr(self.space, "start", 0)).astype(self.space.dtype)

    @property
    def structure(self) -> ActionStructure:
        """How the parts make up an action."""
        return ActionStructure.of(self.space)

    def _is_structured(self, mask: object) -> bool:
        return isinstance(self.space, spaces.Dict | spaces.Tuple) and isinstance(
            mask, Mapping | tuple
        )

    def _one(self, mask: object) -> np.ndarray:
        """Reads the mask of one row."""
        if self._is_structured(mask):
            mask = self.structure.flat_mask(mask)
        return self._flatten(_truths(mask))

    def _sizes(self, masks: np.ndarray) -> tuple[int, ...]:
        """Widths of the pieces of which each must allow something."""
        return (self.joint_size,) if self.is_joint(masks) else self.parts

    def _flatten(self, mask: np.ndarray, lead: tuple[int, ...] = ()) -> np.ndarray:
        if not self.parts:
            raise ParameterError(
                f"a mask of actions in {self.space}",
                "Leave masks out: a Box bounds its actions by low and high",
                operation="reading action masks",
            )
        if self.real:
            if mask.shape == (*lead, self.flat_size):
                return mask
            raise ShapeError(
                f"masks of shape {mask.shape} for actions in {self.space}",
                f"Give them as {(*lead, self.flat_size)}, value by value and part after part; real "
                "parts have no flags, and whole actions cannot be listed",
                operation="reading action masks",
            )
        if mask.shape == (*lead, *self.parts):
            return mask.reshape(*lead, self.joint_size)
        if mask.shape == (*lead, self.joint_size) and self.joint_size != self.flat_size:
            return mask
        if mask.shape == (*lead, self.flat_size):
            return self.joint(mask) if self.flat_size == self.joint_size else mask
        raise ShapeError(
            f"masks of shape {mask.shape} for actions in {self.space}",
            f"Give them as {(*lead, self.flat_size)}, value by value and part after part, or as "
            f"{(*lead, *self.parts)}, action by action, or that flat",
            operation="reading action masks",
        )

    def _possible(self, masks: np.ndarray) -> np.ndarray:
        """Whether each piece allows something, ``(rows, pieces)``."""
        starts = np.cumsum((0, *self._sizes(masks)[:-1]))
        return np.logical_or.reduceat(masks, starts, axis=-1)

    def _check(self, masks: np.ndarray) -> np.ndarray:
        possible = self._possible(masks)
        if not possible.all():
            row, part = np.argwhere(~possible)[0]
            raise DomainError(
                f"masks that forbid every action: in row {row}, all values of part {part}"
                if possible.shape[-1] > 1
                else f"masks that forbid every action, in row {row}",
                "Allow at least one value of every part, or end the episode",
                operation="reading action masks",
            )
        return masks


def find_mask(told: Mapping[str, Any]) -> Any | None:
    """Returns the mask in an info or an observation, by either of its names; None if none is there.

    Examples:
        >>> find_mask({"action_masks": [True, False]})
        [True, False]
    """
    if not isinstance(told, Mapping):
        raise DomainError(
            f"an info of type {type(told).__name__}",
            "Let reset and step of the environment return a dictionary as info",
            operation="reading action masks",
        )
    mask = told.get(MASK_KEY)
    return told.get(f"{MASK_KEY}s") if mask is None else mask


def _truths(mask: object) -> np.ndarray:
    try:
        array = np.asarray(mask)
    except ValueError as error:
        raise ShapeError(
            f"a mask that is no array ({error})",
            "Give rows of one length",
            operation="reading action masks",
        ) from error
    if array.dtype == bool:
        return array
    if array.dtype.kind in "iuf" and ((array == 0) | (array == 1)).all():
        return array.astype(bool)
    raise DomainError(
        f"masks of {array.dtype} that are not all 0 or 1",
        "Give bools: True where a value is allowed",
        operation="reading action masks",
    )


def _every_pair(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(..., m) and (..., n) to (..., m·n), row-major: what both allow."""
    both = left[..., :, None] & right[..., None, :]
    return both.reshape(*both.shape[:-2], both.shape[-2] * both.shape[-1])
