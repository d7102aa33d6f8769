"""The large-action task: a 2^40-action problem whose best action is known."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from isinglass._support.validation import check_count
from isinglass.envs.bandits.base import BinaryBandit

__all__ = ["LargeAction"]


class LargeAction(BinaryBandit):
    r"""Match the action that belongs to the key state nearest to the observed one.

        μ(s)    = arg-min_μ Hamming(s, key_state_μ)          ties to the lowest μ
        r(s, a) = number of bits in which a equals key_action_μ(s)

    Every episode is one step: a state is drawn uniformly, an action is taken, the episode ends.
    A uniformly random action earns ``action_bits / 2`` on average, the best one ``action_bits``.

    The key pairs are the problem: they depend on ``key_seed`` and the sizes alone and stay the
    same for the life of the environment. The states are the data: they come from
    ``reset(seed=...)``. Registered as ``isinglass/LargeAction-v0``.

    Reference: Sallans & Hinton 2004, "Reinforcement learning with factored states and actions",
    JMLR 5:1063-1088.

    Args:
        state_bits: Number of bits of the observation, in {0, 1}.
        action_bits: Number of bits of the action, in {0, 1}.
        keys: Number of (key state, key action) pairs.
        key_seed: Seed of the key pairs.
        render_mode: None, ``"rgb_array"``, rows of squares, or
            ``"ansi"``, the last state and the action taken in it as text.

    Attributes:
        key_states: ``(keys, state_bits)``.
        key_actions: ``(keys, action_bits)``.

    Raises:
        ParameterError: If a size is not a whole number of at least one, or ``key_seed`` of zero.

    Examples:
        >>> env = LargeAction()
        >>> state, _ = env.reset(seed=0)
        >>> _, reward, terminated, _, _ = env.step(env.optimal_action(state))
        >>> reward, terminated
        (40.0, True)
    """

    def __init__(
        self,
        state_bits: int = 12,
        action_bits: int = 40,
        keys: int = 13,
        key_seed: int = 0,
        render_mode: str | None = None,
    ) -> None:
        state_bits = check_count("state_bits", state_bits)
        action_bits = check_count("action_bits", action_bits)
        keys = check_count("keys", keys)
        check_count("key_seed", key_seed, least=0)
        super().__init__(spaces.MultiBinary(state_bits), action_bits, render_mode)
        draw = np.random.default_rng(key_seed)
        self.key_states = draw.integers(0, 2, (keys, state_bits), dtype=np.int8)
        self.key_actions = draw.integers(0, 2, (keys, action_bits), dtype=np.int8)
        # Hamming(s, k) = Σ k + Σ s(1 − 2k): one product, and Σ k is known beforehand.
        self._slopes = 1 - 2 * self.key_states.astype(np.int64)
        self._offsets = self.key_states.sum(1, dtype=np.int64)

    def _draw(self) -> np.ndarray:
        return self.np_random.integers(0, 2, self._observation.shape, dtype=np.int8)

    def _reward(self, observation: np.ndarray, bits: np.ndarray) -> np.ndarray | np.generic:
        return (bits == self._optimal(observation)).sum(-1)

    def _optimal(self, observation: np.ndarray) -> np.ndarray:
        distances = observation.astype(np.int64) @ self._slopes.T + self._offsets
        return self.key_actions[distances.argmin(-1)]
