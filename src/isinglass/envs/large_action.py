"""The large-action task: a 2^40-action problem whose best action is known."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from isinglass.checks import check_count
from isinglass.errors import DomainError, ShapeError

__all__ = ["LargeAction"]


class LargeAction(gym.Env[np.ndarray, np.ndarray]):
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
        render_mode: None or ``"ansi"``, the last state, action and best action as text.

    Raises:
        ParameterError: If a size is not a whole number of at least one, or ``key_seed`` of zero.

    Examples:
        >>> env = LargeAction()
        >>> state, _ = env.reset(seed=0)
        >>> _, reward, terminated, _, _ = env.step(env.optimal_action(state))
        >>> reward, terminated
        (40.0, True)
    """

    metadata: ClassVar[dict[str, Any]] = {  # pyright: ignore[reportIncompatibleVariableOverride]
        "render_modes": ["ansi"],
        "render_fps": 4,
    }

    def __init__(
        self,
        state_bits: int = 12,
        action_bits: int = 40,
        keys: int = 13,
        key_seed: int = 0,
        render_mode: str | None = None,
    ) -> None:
        check_count("LargeAction", "state_bits", state_bits)
        check_count("LargeAction", "action_bits", action_bits)
        check_count("LargeAction", "keys", keys)
        check_count("LargeAction", "key_seed", key_seed, least=0)
        self.observation_space = spaces.MultiBinary(state_bits)
        self.action_space = spaces.MultiBinary(action_bits)
        self.render_mode = render_mode
        draw = np.random.default_rng(key_seed)
        self.key_states = draw.integers(0, 2, (keys, state_bits), dtype=np.int8)
        self.key_actions = draw.integers(0, 2, (keys, action_bits), dtype=np.int8)
        # Hamming(s, k) = Σ k + Σ s(1 − 2k): one product, and Σ k is known beforehand.
        self._slopes = 1 - 2 * self.key_states.astype(np.int64)
        self._offsets = self.key_states.sum(1, dtype=np.int64)
        self._state = np.zeros(state_bits, dtype=np.int8)
        self._action: np.ndarray | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Draw a state; a ``seed`` restarts the stream of states, never the key pairs."""
        super().reset(seed=seed, options=options)
        self._action = None
        self._draw_state()
        return self._state.copy(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Reward the bits that match, end the episode and draw the state observed next.

        Raises:
            ShapeError: If the action does not have ``action_bits`` bits.
            DomainError: If a bit is neither 0 nor 1.
        """
        action = np.asarray(action)
        if action.shape != self.action_space.shape:
            raise ShapeError(
                "LargeAction.step",
                f"an action of shape {action.shape}",
                f"Give an array of {self.key_actions.shape[1]} bits",
            )
        bits = (action == 0) | (action == 1)
        if not np.all(bits):
            raise DomainError(
                "LargeAction.step",
                f"{np.count_nonzero(~bits)} of {action.size} bits that are neither 0 nor 1, such "
                f"as {action[~bits][0]}",
                "Give 0 or 1 for each: of spins s = ±1, (s + 1) / 2",
            )
        reward = float(np.count_nonzero(action == self.optimal_action(self._state)))
        self._action = action
        self._draw_state()
        return self._state.copy(), reward, True, False, {}

    def optimal_action(self, observation: np.ndarray) -> np.ndarray:
        """The action that earns ``action_bits`` in each given state, ``(*batch, action_bits)``."""
        distances = np.asarray(observation, dtype=np.int64) @ self._slopes.T + self._offsets
        return self.key_actions[distances.argmin(-1)]

    def render(self) -> str | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The observed state and the last action as text, in mode ``"ansi"``."""
        if self.render_mode is None:
            return None
        taken = "none yet" if self._action is None else "".join(str(int(b)) for b in self._action)
        return f"state  {''.join(map(str, self._state))}\naction {taken}"

    def _draw_state(self) -> None:
        bits = self._state.shape
        self._state = self.np_random.integers(0, 2, bits, dtype=np.int8)
