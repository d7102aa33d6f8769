"""Noughts and crosses for the peers: the set of propositions as the board that it describes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import DictReplayBuffer
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor

from isinglass.envs.tictactoe.augmentation import random_dihedral_augmentation

__all__ = ["AugmentedReplay", "BoardFeatures"]

SIZES = (3, 3, 2)  # of the parts of an action


class AugmentedReplay(DictReplayBuffer):
    """Replay for listed actions, each transition on a board turned or mirrored at random.

    Args:
        *args: Of SB3's ``DictReplayBuffer``.
        **kwargs: As ``*args``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.draw = np.random.default_rng(int(torch.randint(2**63 - 1, ())))

    def sample(self, *args: Any, **kwargs: Any) -> Any:
        """Transitions as SB3's buffer draws them, turned."""
        found = super().sample(*args, **kwargs)
        parts = torch.stack(torch.unravel_index(found.actions[:, 0], SIZES), -1)
        new = random_dihedral_augmentation(found._replace(actions=parts), self.draw)
        x, y, player = new.actions.unbind(-1)
        listed = (SIZES[1] * x + y) * SIZES[2] + player
        return new._replace(actions=listed.unsqueeze(-1))


class BoardFeatures(BaseFeaturesExtractor):
    """Eighteen bits: which cells are mine, which the opponent's. Spares a network the order.

    Args:
        observation_space: Of ``TicTacToe``.
    """

    def __init__(self, observation_space: spaces.Dict) -> None:
        super().__init__(observation_space, features_dim=18)

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """Features, (batch, 18)."""
        x, y, owner = observations["propositions"].long().unbind(-1)
        filled = observations["mask"]
        board = filled.new_zeros(len(filled), 18)
        return board.scatter_add(1, 9 * owner + 3 * y + x, filled)
