"""The eight symmetries of the board, for agents that learn from what they have played."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from isinglass.envs.tictactoe.game import CELLS
from isinglass.errors import ParameterError

__all__ = ["random_dihedral_augmentation"]

BOARD = np.arange(CELLS).reshape(3, 3)
TURNS = np.stack([
    np.rot90(side, turns).ravel() for side in (BOARD, BOARD.T) for turns in range(4)
])  # fmt: skip
BACK = TURNS.argsort(-1)

Batch = TypeVar("Batch", bound=Any)


def random_dihedral_augmentation(transitions: Batch, generator: np.random.Generator) -> Batch:
    """Turns and mirrors transitions of :class:`TicTacToe`, each in one of eight ways.

    The value of a position is that of its mirror image, so what was played once teaches eight
    positions. Given to an agent as
    ``replay_buffer_kwargs={"augment": random_dihedral_augmentation}``.

    Args:
        transitions: A named tuple with ``observations``, ``actions`` of shape (batch, 3),
            ``next_observations`` and, if masks are kept, ``next_masks``, (batch, 18), as
            :class:`~isinglass.agents.replay.replay_buffer.MaskedReplayBuffer` draws them.
        generator: Stream the symmetries are drawn from.

    Raises:
        ParameterError: If the observations are not those of :class:`TicTacToe`, or normalized.

    Examples:
        >>> from collections import namedtuple
        >>> Batch = namedtuple("Batch", "observations actions next_observations")
        >>> corner = {"propositions": torch.zeros(500, 9, 3).int(), "mask": torch.zeros(500, 9)}
        >>> batch = Batch(corner, torch.tensor([[0, 1, 0]]).expand(500, -1), corner)
        >>> eight = random_dihedral_augmentation(batch, np.random.default_rng(0))
        >>> eight.actions.unique(dim=0).tolist()
        [[0, 1, 0], [1, 0, 0], [1, 2, 0], [2, 1, 0]]
    """
    actions = transitions.actions
    drawn = generator.integers(len(TURNS), size=len(actions))
    to = torch.as_tensor(TURNS[drawn], device=actions.device)
    found = {
        "observations": _position(transitions.observations, to),
        "next_observations": _position(transitions.next_observations, to),
        "actions": _claims(actions, to),
    }
    masks = getattr(transitions, "next_masks", None)
    if masks is not None:
        back = torch.as_tensor(BACK[drawn], device=actions.device)
        by_cell = masks.unflatten(-1, (3, 3, 2)).transpose(1, 2).flatten(1, 2)
        by_cell = by_cell.gather(1, back.unsqueeze(-1).expand(-1, -1, 2))
        found["next_masks"] = by_cell.unflatten(1, (3, 3)).transpose(1, 2).flatten(1)
    return transitions._replace(**found)


def _position(observations: Any, to: Tensor) -> dict[str, Tensor]:
    known = isinstance(observations, dict) and {"propositions", "mask"} <= observations.keys()
    if not known or observations["propositions"].is_floating_point():
        raise ParameterError(
            "observations that are no boards of TicTacToe, or normalized ones",
            "Replay what TicTacToe gave, and leave 'propositions' out of VecNormalize's "
            "norm_obs_keys",
        )
    filled = observations["mask"].unsqueeze(-1)
    rows = _claims(observations["propositions"], to)
    return {**observations, "propositions": (rows * filled).to(rows.dtype)}  # padding stays zero


def _claims(rows: Tensor, to: Tensor) -> Tensor:
    """Rows (x, y, player), (batch, *, 3), on the other board."""
    x, y, player = rows.unbind(-1)
    cell = (3 * y + x).long().reshape(len(rows), -1)
    cell = to.gather(1, cell).reshape(x.shape)
    return torch.stack([(cell % 3).to(x.dtype), (cell // 3).to(x.dtype), player], -1)
