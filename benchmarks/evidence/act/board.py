"""Noughts and crosses for the peers: the set of propositions as the board that it describes."""

from __future__ import annotations

from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor

__all__ = ["BoardFeatures"]


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
