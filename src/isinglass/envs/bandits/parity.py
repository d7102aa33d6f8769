"""The parity task: thousands of best actions, and no bit that says anything by itself."""

from __future__ import annotations

import numpy as np

from isinglass.envs.bandits.base import BlockBandit

__all__ = ["Parity"]


class Parity(BlockBandit):
    r"""Make the parity of every block of bits even.

        r(a) = Σ_b [Σ_{i in block b} a_i is even]

    Every episode is one step and the observation is the constant 1. Of 2^20 actions 2^15 earn all
    there is, 5, and a uniformly random one earns 2.5 on average. Any three bits of a block say
    nothing about its reward, so a policy that draws its bits independently can be optimal only by
    giving up all choice; one that lets bits depend on each other can be optimal and draw every
    optimum alike. Registered as ``isinglass/Parity-v0``.

    Reference: Shalev-Shwartz, Shamir & Shammah 2017, arXiv:1703.07950 (why parities are hard to
    learn from gradients).

    Args:
        blocks: Number of blocks.
        block_bits: Number of bits of a block.
        permute_seed: Seed by which bits are dealt to blocks; None leaves a block's bits side by
            side. Other seeds are other instances of the same difficulty, to choose settings on.
        render_mode: None, ``"rgb_array"``, rows of squares, or
            ``"ansi"``, the last action block by block and what it earned.

    Attributes:
        members: ``(blocks, block_bits)``, which bits of the action each block has.

    Raises:
        ParameterError: If a size is not a whole number of at least one, or ``permute_seed`` of
            zero.

    Examples:
        >>> env = Parity()
        >>> observation, _ = env.reset(seed=0)
        >>> action = np.array([1, 1, 0, 0,  0, 1, 1, 1,  1, 1, 1, 1,  0, 0, 0, 0,  1, 0, 1, 0])
        >>> env.step(action)[1]
        4.0
        >>> env.best_reward(observation)
        np.float64(5.0)
    """

    def __init__(
        self,
        blocks: int = 5,
        block_bits: int = 4,
        permute_seed: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(blocks, block_bits, permute_seed, render_mode)

    def _scores(self, bits: np.ndarray) -> np.ndarray:
        return 1 - bits[..., self.members].sum(-1) % 2

    def _optimal(self, observation: np.ndarray) -> np.ndarray:
        return np.zeros((*observation.shape[:-1], self.action_bits), dtype=np.int8)
