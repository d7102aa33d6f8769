"""Mirrored boards of Connect Four, for agents that learn from what they have played."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import torch

from isinglass.errors import ParameterError

__all__ = ["random_mirror_augmentation"]

Batch = TypeVar("Batch", bound=Any)


def random_mirror_augmentation(transitions: Batch, generator: np.random.Generator) -> Batch:
    """Mirrors each transition of :class:`ConnectFour` left to right, or leaves it, by chance.

    The value of a position is that of its mirror image, so what was played once teaches two
    positions. Given to an agent as
    ``replay_buffer_kwargs={"augment": random_mirror_augmentation}``.

    Args:
        transitions: A named tuple with ``observations`` and ``next_observations``, ``(batch, 2,
            rows, columns)``, ``actions``, ``(batch, 1)``, and, if masks are kept, ``next_masks``,
            ``(batch, columns)``, as
            :class:`~isinglass.agents.replay.replay_buffer.MaskedReplayBuffer` draws them.
        generator: Stream that chooses which are mirrored.

    Raises:
        ParameterError: If the observations are no boards.

    Examples:
        >>> from collections import namedtuple
        >>> Batch = namedtuple("Batch", "observations actions next_observations")
        >>> board = torch.eye(5)[:1].expand(500, 2, 4, 5)
        >>> found = random_mirror_augmentation(
        ...     Batch(board, torch.zeros(500, 1).long(), board), np.random.default_rng(0)
        ... )
        >>> found.actions.unique().tolist()
        [0, 4]
    """
    boards, actions = transitions.observations, transitions.actions
    if not isinstance(boards, torch.Tensor) or boards.ndim != 4 or boards.shape[1] != 2:
        raise ParameterError(
            "observations that are no boards of ConnectFour",
            "Replay what ConnectFour gave, of shape (2, rows, columns) each",
        )
    mirrored = torch.as_tensor(generator.random(len(actions)) < 0.5, device=actions.device)
    rows = mirrored[:, None, None, None]
    after = transitions.next_observations
    found = {
        "observations": torch.where(rows, boards.flip(-1), boards),
        "next_observations": torch.where(rows, after.flip(-1), after),
        "actions": torch.where(mirrored[:, None], boards.shape[-1] - 1 - actions, actions),
    }
    masks = getattr(transitions, "next_masks", None)
    if masks is not None:
        found["next_masks"] = torch.where(mirrored[:, None], masks.flip(-1), masks)
    return transitions._replace(**found)
