"""Replayed transitions, and what is done to whole batches of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from stable_baselines3.common.type_aliases import TensorDict
from torch import Tensor

from isinglass.errors import ParameterError, ShapeError

__all__ = [
    "Augmentation",
    "Following",
    "Transitions",
    "check_augmented",
    "split_rows",
    "take_rows",
]


class Following(NamedTuple):
    """What was done after the first steps of a batch: k − 1 further ones each.

    Attributes:
        actions: ``(batch, k − 1, action_dim)``.
        next_observations: Where they led, ``(batch, k − 1, ...)``, or a dictionary of such.
        rewards: ``(batch, k − 1)``.
        discounts: γ, 0 where the episode terminated, ``(batch, k − 1)``.
        log_behavior: log μ(a|s) of whoever acted then, NaN where it is not known,
            ``(batch, k − 1)``.
        counted: Which of them there are: none beyond the end of an episode, ``(batch, k − 1)``.
        next_masks: What is allowed where they led, ``(batch, k − 1, width)`` bools; or None.
    """

    actions: Tensor
    next_observations: Tensor | TensorDict
    rewards: Tensor
    discounts: Tensor
    log_behavior: Tensor
    counted: Tensor
    next_masks: Tensor | None = None


class Transitions(NamedTuple):
    """Replayed transitions (s, a, R, s'): SB3's samples, and what is allowed in s'.

    Attributes:
        observations: s, ``(batch, ...)``, or a dictionary of such.
        actions: a, ``(batch, action_dim)``.
        next_observations: s', after n steps or as many as there are.
        dones: 1 where the episode terminated, ``(batch, 1)``; 0 where it was only cut short.
        rewards: Σ_k γ^k r_k of those steps, ``(batch, 1)``.
        discounts: γ to the number of those steps, ``(batch, 1)``; None for single steps.
        next_masks: What is allowed in s', ``(batch, width)`` bools as of
            :class:`~isinglass.agents.actions.action_masks.MaskLayout`; None if there never was one.
        valid: Which rows are transitions at all, ``(batch,)``; None if every one is.
        visits: How often (s, a) was met until now, ``(batch,)``; None if it is not counted.
        goals: How many episodes had met a goal until now, ``(batch,)``; None where visits are not
            counted.
        pairs: How many different pairs (s, a) were met until now, ``(batch,)``; None likewise.
        following: The steps after these, of a buffer of sequences; else None.
    """

    observations: Tensor | TensorDict
    actions: Tensor
    next_observations: Tensor | TensorDict
    dones: Tensor
    rewards: Tensor
    discounts: Tensor | None = None
    next_masks: Tensor | None = None
    valid: Tensor | None = None
    visits: Tensor | None = None
    goals: Tensor | None = None
    pairs: Tensor | None = None
    following: Following | None = None


Augmentation: TypeAlias = Callable[[Transitions, np.random.Generator], Transitions]


def take_rows(part: Tensor | TensorDict, rows: Tensor) -> Tensor | TensorDict:
    """Returns some rows of a batch.

    Examples:
        >>> import torch
        >>> take_rows({"speed": torch.tensor([3.0, 4.0])}, torch.tensor([1]))
        {'speed': tensor([4.])}
    """
    if isinstance(part, Tensor):
        return part[rows]
    return {key: tensor[rows] for key, tensor in part.items()}


def split_rows(part: Tensor | TensorDict, size: int) -> Sequence[Tensor | TensorDict]:
    """Splits a batch into batches of ``size`` rows.

    Examples:
        >>> import torch
        >>> [len(rows["speed"]) for rows in split_rows({"speed": torch.zeros(6, 2)}, 3)]
        [3, 3]
    """
    if isinstance(part, Tensor):
        return part.split(size)
    pieces = zip(*(tensor.split(size) for tensor in part.values()), strict=True)
    return [dict(zip(part, piece, strict=True)) for piece in pieces]


def check_augmented(found: Transitions, new: object) -> Transitions:
    """Returns what an augmentation gave, if these are transitions of the same shapes.

    Raises:
        ParameterError: If they are no transitions.
        ShapeError: If they have other shapes.
    """
    if not isinstance(new, Transitions):
        raise ParameterError(
            f"an augmentation that gives {type(new).__name__}",
            "Let it give the transitions back, changed by their _replace(…)",
        )
    # Sequences are never augmented: the last field, what followed, is None.
    for name, before, after in zip(Transitions._fields[:-1], found[:-1], new[:-1], strict=True):
        if _shapes(before) != _shapes(after):
            raise ShapeError(
                f"{name} of shape {_shapes(after)} from the augmentation, given {_shapes(before)}",
                "Let it keep all shapes",
            )
    return new


def _shapes(part: Tensor | TensorDict | None) -> object:
    """Returns the shape of a tensor, those in a dictionary, or None."""
    if isinstance(part, Mapping):
        return {name: tuple(tensor.shape) for name, tensor in part.items()}
    return None if part is None else tuple(part.shape)
