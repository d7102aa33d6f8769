"""Environments of one step: bits are observed or given, bits are chosen, the episode ends."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from isinglass._support.validation import check_count
from isinglass.envs._rendering import check_render_mode
from isinglass.errors import DomainError, ShapeError

__all__ = ["BinaryBandit", "BlockBandit"]

NUMBERS = "Give an array of numbers, all rows of one length"


class BinaryBandit(gym.Env[np.ndarray, np.ndarray], ABC):
    r"""A contextual bandit over bits: an observation is drawn, an action rewarded, that is all.

    A task says how observations are drawn (``_draw``), what actions earn (``_reward``) and which
    earn most (``_optimal``), the last two for whole batches; the environment follows.

    Args:
        observation_space: One-dimensional.
        action_bits: Number of bits of the action, in {0, 1}.
        render_mode: None, ``"ansi"`` or ``"rgb_array"``.

    Attributes:
        action_bits: Number of bits of the action.

    Raises:
        ParameterError: If ``render_mode`` is anything else.
    """

    metadata: ClassVar[dict[str, Any]] = {  # pyright: ignore[reportIncompatibleVariableOverride]
        "render_modes": ["ansi", "rgb_array"],
        "render_fps": 4,
    }

    def __init__(
        self,
        observation_space: spaces.MultiBinary | spaces.Box,
        action_bits: int,
        render_mode: str | None = None,
    ) -> None:
        check_render_mode(render_mode, self.metadata["render_modes"])
        self.observation_space = observation_space
        self.action_bits = action_bits
        self.action_space = spaces.MultiBinary(action_bits)
        self.render_mode = render_mode
        self._observation = np.zeros(observation_space.shape, observation_space.dtype)
        self._last: tuple[np.ndarray, np.ndarray] | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Draws an observation; a ``seed`` restarts their stream and never changes the task."""
        super().reset(seed=seed, options=options)
        self._last = None
        self._observation = self._draw()
        return self._observation.copy(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Rewards the action, ends the episode and draws what is observed next.

        Raises:
            ShapeError: If the action does not have the shape of one action.
            DomainError: If a bit is neither 0 nor 1.
        """
        bits = self._bits("step", action)
        if bits.ndim != 1:
            raise self._misshapen("step", bits)
        reward = float(self._reward(self._observation, bits))
        self._last = self._observation, bits
        self._observation = self._draw()
        return self._observation.copy(), reward, True, False, {}

    def reward_of(
        self, actions: np.ndarray, observation: np.ndarray | None = None
    ) -> np.ndarray | np.float64:
        """Returns the reward of each action, without a step.

        Args:
            actions: ``(*batch, action_bits)``, in {0, 1}.
            observation: ``(*batch, size)``, broadcast against the actions; the present one if
                None.

        Returns:
            ``(*batch,)``, float64.

        Raises:
            ShapeError: If the last dimension of either is not that of its space, or the others do
                not broadcast.
            DomainError: If a bit of the actions is neither 0 nor 1, or an observation not finite.
        """
        bits = self._bits("reward_of", actions)
        seen = self._observation if observation is None else self._observe("reward_of", observation)
        try:
            batch = np.broadcast_shapes(bits.shape[:-1], seen.shape[:-1])
        except ValueError:
            raise ShapeError(
                f"actions of shape {bits.shape} for observations of shape {seen.shape}",
                "Give as many of one as of the other, or a single one",
            ) from None
        return np.broadcast_to(self._reward(seen, bits), batch).astype(np.float64)[()]

    def optimal_action(self, observation: np.ndarray) -> np.ndarray:
        """Returns an action that earns most, for each observation.

        Args:
            observation: ``(*batch, size)``.

        Returns:
            ``(*batch, action_bits)``, int8.

        Raises:
            ShapeError: If the last dimension is not that of the observation space.
            DomainError: If an observation is not finite.
        """
        return self._optimal(self._observe("optimal_action", observation))

    def best_reward(self, observation: np.ndarray) -> np.ndarray | np.float64:
        """Returns the most that any action earns, for each observation.

        Args:
            observation: ``(*batch, size)``.

        Returns:
            ``(*batch,)``, float64.

        Raises:
            ShapeError: If the last dimension is not that of the observation space.
            DomainError: If an observation is not finite.
        """
        seen = self._observe("best_reward", observation)
        return self.reward_of(self._optimal(seen), seen)

    def render(self) -> str | np.ndarray | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Shows what was observed and what was done about it: as text, or as a picture.

        In the picture, ``(64, 16·bits, 3)`` uint8, the upper row is the observation and the lower
        one the action, dark where a bit is 0 and light where it is 1.
        """
        seen, action = self._last or (self._observation, None)
        if self.render_mode == "rgb_array":
            return _pixels(seen, np.zeros(self.action_bits) if action is None else action)
        return None if self.render_mode is None else self._text(seen, action)

    @abstractmethod
    def _draw(self) -> np.ndarray:
        """An observation, drawn with ``np_random``."""

    @abstractmethod
    def _reward(self, observation: np.ndarray, bits: np.ndarray) -> np.ndarray | np.generic:
        """What actions ``(*batch, action_bits)`` earn, ``(*batch,)``; both arguments broadcast."""

    @abstractmethod
    def _optimal(self, observation: np.ndarray) -> np.ndarray:
        """Best actions ``(*batch, action_bits)`` for ``(*batch, size)`` observations."""

    def _text(self, observation: np.ndarray, action: np.ndarray | None) -> str:
        taken = "none yet" if action is None else as_text(action)
        return f"state  {as_text(observation)}\naction {taken}"

    def _bits(self, method: str, actions: np.ndarray) -> np.ndarray:
        actions = _numbers("actions", actions)
        if actions.shape[-1:] != self.action_space.shape:
            raise self._misshapen(method, actions)
        ones = actions == 1
        bad = ~(ones | (actions == 0))
        if bad.any():
            raise DomainError(
                f"{np.count_nonzero(bad)} of {actions.size} bits that are neither 0 nor 1, such "
                f"as {actions[bad][0]}",
                "Give 0 or 1 for each: of spins s = ±1, (s + 1) / 2",
            )
        return ones.astype(np.int8)

    def _observe(self, method: str, observation: np.ndarray) -> np.ndarray:
        observation = _numbers("observations", observation)
        if observation.shape[-1:] != self.observation_space.shape:
            raise ShapeError(
                f"observations of shape {observation.shape}",
                f"Give arrays of {self._observation.size} numbers in the last dimension",
            )
        bad = np.count_nonzero(~np.isfinite(observation))
        if bad:
            raise DomainError(
                f"{bad} of {observation.size} numbers observed are NaN or infinite",
                "Give what reset and step return",
            )
        return observation

    def _misshapen(self, method: str, actions: np.ndarray) -> ShapeError:
        return ShapeError(
            f"an action of shape {actions.shape}",
            f"Give an array of {self.action_bits} bits",
        )


class BlockBandit(BinaryBandit):
    r"""A bandit that observes nothing and rewards blocks of bits, each block by itself.

        r(a) = Σ_b score(a_block b)

    The observation is the constant 1.

    Args:
        blocks: Number of blocks.
        block_bits: Number of bits of a block.
        permute_seed: Seed by which bits are dealt to blocks; None leaves a block's bits side by
            side.
        render_mode: None or ``"ansi"``, the last action block by block and what it earned.

    Attributes:
        members: ``(blocks, block_bits)``, which bits of the action each block has.

    Raises:
        ParameterError: If a size is not a whole number of at least one, or a seed of zero.
    """

    def __init__(
        self,
        blocks: int,
        block_bits: int,
        permute_seed: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        blocks, block_bits = check_count("blocks", blocks), check_count("block_bits", block_bits)
        super().__init__(spaces.MultiBinary(1), blocks * block_bits, render_mode)
        members = np.arange(blocks * block_bits)
        if permute_seed is not None:
            check_count("permute_seed", permute_seed, least=0)
            members = np.random.default_rng(permute_seed).permutation(members)
        self.members = members.reshape(blocks, block_bits)

    def _draw(self) -> np.ndarray:
        return np.ones(1, dtype=np.int8)

    def _reward(self, observation: np.ndarray, bits: np.ndarray) -> np.ndarray | np.generic:
        return self._scores(bits).sum(-1)

    @abstractmethod
    def _scores(self, bits: np.ndarray) -> np.ndarray:
        """What each block of the actions ``(*batch, action_bits)`` earns, ``(*batch, blocks)``."""

    def _text(self, observation: np.ndarray, action: np.ndarray | None) -> str:
        if action is None:
            return "action none yet"
        earned = self._scores(action)
        lines = [
            f"{as_text(block)}  {int(score)}"
            for block, score in zip(action[self.members], earned, strict=True)
        ]
        return "\n".join([*lines, f"reward {int(earned.sum())}"])


def _numbers(name: str, values: object) -> np.ndarray:
    """Returns real numbers as an array, refusing what is none: words, dates, complex numbers."""
    try:
        array = np.asarray(values)
        if array.dtype == object:
            array = array.astype(np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DomainError(f"{name} that are no array of numbers ({error})", NUMBERS) from error
    if array.dtype.kind not in "biuf":
        raise DomainError(f"{name} of {array.dtype}", NUMBERS)
    return array


def as_text(bits: np.ndarray) -> str:
    """Writes bits without anything between them."""
    return "".join(str(int(bit)) for bit in bits)


def _pixels(*rows: np.ndarray) -> np.ndarray:
    """Rows of numbers from 0 to 1 as rows of gray squares with lines between them."""
    image = np.zeros((32 * len(rows), 16 * max(map(len, rows)), 3), dtype=np.uint8)
    for number, row in enumerate(rows):
        for place, value in enumerate(row):
            top, left = 32 * number, 16 * place
            image[top + 1 : top + 31, left + 1 : left + 15] = int(60 + 180 * float(value))
    return image
