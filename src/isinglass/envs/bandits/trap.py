"""The trap task: every bit leads away from the one best action."""

from __future__ import annotations

import numpy as np

from isinglass._support.validation import check_count
from isinglass.envs.bandits.base import BlockBandit

__all__ = ["Trap"]


class Trap(BlockBandit):
    r"""Match a hidden key in blocks that pay all for a full match, else less the nearer they are.

        u_b(a) = number of bits of block b that equal the key's
        r(a)   = Σ_b (k if u_b = k else k − 1 − u_b)              k bits a block

    Every episode is one step and the observation is the constant 1. With ten blocks of four the key
    earns 40. Where a block matches less than three bits, one match fewer is worth one more, so
    climbing bit by bit ends at the complement of the key, which earns 30. A uniformly random action
    earns 13.125 on average. Registered as ``isinglass/Trap-v0``.

    Reference: Deb & Goldberg 1993, "Analyzing deception in trap functions", Foundations of Genetic
    Algorithms 2:93-108, doi:10.1016/B978-0-08-094832-4.50012-X.

    Args:
        blocks: Number of blocks.
        block_bits: Number of bits of a block.
        key_seed: Seed of the key.
        permute_seed: Seed by which bits are dealt to blocks; None leaves a block's bits side by
            side.
        render_mode: None, ``"rgb_array"``, rows of squares, or
            ``"ansi"``, the last action block by block and what it earned.

    Attributes:
        key: ``(blocks * block_bits,)``, the one best action.
        members: ``(blocks, block_bits)``, which bits of the action each block has.

    Raises:
        ParameterError: If a size is not a whole number of at least one, or a seed of zero.

    Examples:
        >>> env = Trap()
        >>> observation, _ = env.reset(seed=0)
        >>> env.reward_of(np.stack([env.key, 1 - env.key]), observation)
        array([40., 30.])
    """

    def __init__(
        self,
        blocks: int = 10,
        block_bits: int = 4,
        key_seed: int = 0,
        permute_seed: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(blocks, block_bits, permute_seed, render_mode)
        check_count("key_seed", key_seed, least=0)
        self.key = np.random.default_rng(key_seed).integers(0, 2, self.action_bits, dtype=np.int8)

    def _scores(self, bits: np.ndarray) -> np.ndarray:
        size = self.members.shape[1]
        matches = (bits == self.key)[..., self.members].sum(-1)
        return np.where(matches == size, size, size - 1 - matches)

    def _optimal(self, observation: np.ndarray) -> np.ndarray:
        return np.broadcast_to(self.key, (*observation.shape[:-1], self.key.size)).copy()
