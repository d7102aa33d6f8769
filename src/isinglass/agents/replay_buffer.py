"""Replay that knows masks, resets and returns of n steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from stable_baselines3.common.buffers import DictReplayBuffer, ReplayBuffer
from stable_baselines3.common.type_aliases import TensorDict
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from isinglass._support.functions import check_takes
from isinglass._support.validation import check_count, check_fraction
from isinglass.agents.action_masks import MaskLayout
from isinglass.errors import ParameterError, ShapeError

__all__ = ["MaskedDictReplayBuffer", "MaskedReplayBuffer", "Transitions", "split_rows", "take_rows"]


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
            :class:`~isinglass.agents.action_masks.MaskLayout`; None if there never was a mask.
        valid: Which rows are transitions at all, ``(batch,)``; None if every one is.
    """

    observations: Tensor | TensorDict
    actions: Tensor
    next_observations: Tensor | TensorDict
    dones: Tensor
    rewards: Tensor
    discounts: Tensor | None = None
    next_masks: Tensor | None = None
    valid: Tensor | None = None


Augmentation: TypeAlias = Callable[[Transitions, np.random.Generator], Transitions]


class MaskedReplayBuffer(ReplayBuffer):
    r"""SB3's replay buffer with the action masks of next states, and returns of n steps.

        R = Σ_{k<m} γ^k r_{t+k},   bootstrapped from s_{t+m} with γ^m

    m = ``n_steps``, or fewer: a return stops where its episode ends, is cut short or is not known
    further. ``info["action_mask"]`` of a step is the mask of the state it leads to; nothing is
    stored before the first one comes, and then a bit a value. A step whose info says
    ``"reset_transition"``, as in the NEXT_STEP mode of Gymnasium's vector environments, leads from
    one episode to the next: it is stored but never sampled, and no return goes over it.

    Transitions are drawn uniformly, with replacement. The stream of the draws belongs to the
    buffer: seeded from torch's global one, restarted by :meth:`seed`, saved with the rest.

    Reference: Sutton & Barto 2018, "Reinforcement Learning", 2nd ed., §7.1 (n-step returns).

    Args:
        *args: As of SB3's ``ReplayBuffer``: ``buffer_size``, ``observation_space``,
            ``action_space``, ``device``, ``n_envs``, ``optimize_memory_usage``,
            ``handle_timeout_termination``.
        n_steps: n, at least 1.
        gamma: γ from 0 to 1, used if n is above 1: give the agent's.
        augment: From :class:`Transitions`, normalized if they are, and the stream of the buffer
            to others of the same shapes that are as good, such as mirror images; every batch
            goes through it. To be saved with the buffer it has to be a function of a module. See
            :func:`isinglass.envs.tictactoe.augmentation.random_dihedral_augmentation`.
        **kwargs: As ``*args``.

    Raises:
        ParameterError: If ``n_steps`` or ``gamma`` is out of range, ``augment`` cannot be called
            or gives something else, or the actions are in no space that
            :class:`~isinglass.agents.action_masks.MaskLayout` knows.

    Examples:
        >>> from gymnasium import spaces
        >>> sight, choice = spaces.Box(0, 9, (1,)), spaces.Discrete(3)
        >>> buffer = MaskedReplayBuffer(100, sight, choice, device="cpu", n_steps=2, gamma=0.5)
        >>> for t in range(3):
        ...     seen, done = np.array([[t]]), np.array([t == 2])
        ...     info = {"action_mask": np.array([True, t < 1, True])}
        ...     buffer.add(seen, seen + 1, np.array([t]), np.array([1.0]), done, [info])
        >>> batch = buffer.sample(64)
        >>> [batch.rewards[batch.observations == t].unique().item() for t in (0, 1, 2)]
        [1.5, 1.5, 1.0]
        >>> batch.next_masks[batch.observations.flatten() == 0][0]
        tensor([ True, False,  True])
    """

    def __init__(
        self,
        *args: Any,
        n_steps: int = 1,
        gamma: float = 0.99,
        augment: Augmentation | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.n_steps = check_count("n_steps", n_steps)
        self.gamma = check_fraction("gamma", gamma)
        if augment is not None:
            check_takes("augment", augment, "transitions", "a numpy.random.Generator")
        self.augment = augment
        self.layout = MaskLayout.of(self.action_space)
        self.valid = np.zeros((self.buffer_size, self.n_envs), dtype=bool)
        self._masks: np.ndarray | None = None  # eight values a byte
        self._width = 0
        self.seed(int(torch.randint(2**63 - 1, ())))

    def seed(self, seed: int) -> None:
        """Restarts the stream that transitions are drawn from."""
        self._rng = np.random.default_rng(seed)

    def add(
        self,
        obs: np.ndarray | dict[str, np.ndarray],
        next_obs: np.ndarray | dict[str, np.ndarray],
        action: np.ndarray,
        reward: np.ndarray,
        done: np.ndarray,
        infos: Sequence[dict[str, Any]],
    ) -> None:
        """Stores one step of every environment.

        Raises:
            ShapeError: If a mask does not fit the actions, or masks become joint that were flat,
                or the other way round. Nothing is stored then, nor below.
            DomainError: If a mask is not made of truth values, or forbids every action.
            ParameterError: If the actions are a ``Box``, which takes no masks.
        """
        cut_short = [info.get("TimeLimit.truncated", False) for info in infos]
        ended = np.asarray(done, dtype=bool) & ~np.asarray(cut_short, dtype=bool)
        masks = self.layout.read(infos, ended)
        self._make_room(masks)
        at = self.pos
        super().add(obs, next_obs, action, reward, done, infos)  # pyright: ignore[reportArgumentType]
        self.valid[at] = [not info.get("reset_transition", False) for info in infos]
        if self.optimize_memory_usage:  # the observation there is the newest one's next
            self.valid[self.pos] = False
        if self._masks is not None:
            self._masks[at] = 0xFF if masks is None else np.packbits(masks, axis=-1)

    def cut(self) -> None:
        """Lets no return go on from what is stored: the environment was reset by hand."""
        if self.size() and not self.optimize_memory_usage:
            newest = self.pos - 1
            self.timeouts[newest] = np.maximum(self.timeouts[newest], 1 - self.dones[newest])

    def reset(self) -> None:
        """Forgets every transition that is stored."""
        super().reset()
        self.valid[:] = False

    def sample(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, batch_size: int, env: VecNormalize | None = None
    ) -> Transitions:
        """Draws transitions, normalized by ``env`` if there is one.

        Raises:
            ParameterError: If there is none.
        """
        valid = self.valid[: self.size()].reshape(-1)
        if not valid.any():
            raise ParameterError("no transition stored", "Step the environment first")
        drawn = self._rng.integers(valid.size, size=batch_size)
        while (wrong := np.flatnonzero(~valid[drawn])).size:
            drawn[wrong] = self._rng.integers(valid.size, size=wrong.size)
        found = self._gather(*np.divmod(drawn, self.n_envs), self.n_steps, env)
        if self.augment is None:
            return found
        return _check_augmented(found, self.augment(found, self._rng))

    def last(self, back: int = 0, env: VecNormalize | None = None) -> Transitions:
        """Returns the newest step of every environment, or the one ``back`` steps earlier.

        Raises:
            ParameterError: If so many steps are not stored.
        """
        if back >= self.size():
            raise ParameterError(
                f"{self.size()} steps stored, asked for the one {back} before the newest",
                "Step the environment first",
            )
        at = np.full(self.n_envs, (self.pos - 1 - back) % self.buffer_size)
        newest = self._gather(at, np.arange(self.n_envs), 1, env)
        return newest._replace(valid=self._tensor(self.valid[at[0]]))

    def last_pair(self, env: VecNormalize | None = None) -> tuple[Transitions, Tensor]:
        """Returns the newest (s, a, r, s') whose next action a' is known, and a': for SARSA.

        Called after every step, it gives each transition once. Rows whose episode was cut short
        are not valid, since nothing was done in s'; where an episode terminated, a' is of the next
        one and of no use.

        Raises:
            ParameterError: If there are fewer than two steps.
        """
        at, before = (self.pos - 2) % self.buffer_size, self.last(1, env)
        valid = self._tensor(self.valid[at] & (self.timeouts[at] == 0))
        return before._replace(valid=valid), self._tensor(self.actions[self.pos - 1])

    def _make_room(self, masks: np.ndarray | None) -> None:
        if masks is None:
            return
        width = masks.shape[-1]
        if self._masks is None:  # everything was allowed so far
            shape = (self.buffer_size, self.n_envs, -(-width // 8))
            self._masks, self._width = np.full(shape, 0xFF, dtype=np.uint8), width
        elif width != self._width:
            raise ShapeError(
                f"masks of {width} values after masks of {self._width}",
                "Let the environment give flat masks always, or joint ones always",
            )

    def _gather(
        self, at: np.ndarray, envs: np.ndarray, n_steps: int, env: VecNormalize | None
    ) -> Transitions:
        """Returns transitions from step ``at`` of environments ``envs`` on, of up to n steps."""
        if n_steps > 1:
            end, rewards, discounts = self._returns(at, envs, n_steps, env)
        else:
            end, discounts = at, None
            rewards = self._normalize_reward(self.rewards[at, envs], env)
        dones = self.dones[end, envs] * (1 - self.timeouts[end, envs])
        masks = None
        if self._masks is not None:
            masks = np.unpackbits(self._masks[end, envs], axis=-1, count=self._width).view(bool)
        return Transitions(
            observations=self._look_up_now(at, envs, env),
            actions=self._tensor(self.actions[at, envs]),
            next_observations=self._look_up_next(end, envs, env),
            dones=self._tensor(dones[:, None]),
            rewards=self._tensor(rewards[:, None]),
            discounts=None if discounts is None else self._tensor(discounts[:, None]),
            next_masks=None if masks is None else self._tensor(masks),
        )

    def _returns(
        self, at: np.ndarray, envs: np.ndarray, n_steps: int, env: VecNormalize | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the last step, Σ_k γ^k r_k and γ^m of the m ≤ n steps from ``at`` on."""
        steps = (at[:, None] + np.arange(n_steps)) % self.buffer_size, envs[:, None]
        newest = (self.pos - 1) % self.buffer_size
        over = (self.dones[steps] > 0) | (self.timeouts[steps] > 0) | (steps[0] == newest)
        counted = np.ones_like(over)
        goes_on = ~over[:, :-1] & self.valid[steps][:, 1:]
        np.logical_and.accumulate(goes_on, axis=1, out=counted[:, 1:])
        weights = self.gamma ** np.arange(n_steps, dtype=np.float32) * counted
        rewards = self._normalize_reward(self.rewards[steps], env)
        count = counted.sum(1)
        end = (at + count - 1) % self.buffer_size
        return end, (rewards * weights).sum(1), np.float32(self.gamma) ** count.astype(np.float32)

    def _look_up_now(
        self, at: np.ndarray, envs: np.ndarray, env: VecNormalize | None
    ) -> Tensor | TensorDict:
        return self._look_up(self.observations, at, envs, env)

    def _look_up_next(
        self, at: np.ndarray, envs: np.ndarray, env: VecNormalize | None
    ) -> Tensor | TensorDict:
        if self.optimize_memory_usage:
            return self._look_up(self.observations, (at + 1) % self.buffer_size, envs, env)
        return self._look_up(self.next_observations, at, envs, env)

    def _look_up(
        self,
        stored: np.ndarray | dict[str, np.ndarray],
        at: np.ndarray,
        envs: np.ndarray,
        env: VecNormalize | None,
    ) -> Tensor | TensorDict:
        if not isinstance(stored, dict):
            return self._tensor(self._normalize_obs(stored[at, envs], env))
        picked = {key: part[at, envs] for key, part in stored.items()}
        seen: Any = self._normalize_obs(picked, env)
        return {key: self._tensor(part) for key, part in seen.items()}

    def _tensor(self, array: Any) -> Tensor:
        return self.to_torch(array, copy=False)  # what was picked out is a copy already


class MaskedDictReplayBuffer(  # pyright: ignore[reportIncompatibleMethodOverride]
    MaskedReplayBuffer, DictReplayBuffer
):
    """:class:`MaskedReplayBuffer` for dictionaries of observations; n steps included.

    Reference: Sutton & Barto 2018, "Reinforcement Learning", 2nd ed., §7.1 (n-step returns).

    Examples:
        >>> from gymnasium import spaces
        >>> sights = spaces.Dict({"speed": spaces.Box(-1, 1, (2,))})
        >>> buffer = MaskedDictReplayBuffer(9, sights, spaces.MultiBinary(3), device="cpu")
        >>> seen = {"speed": np.zeros((1, 2))}
        >>> buffer.add(seen, seen, np.ones((1, 3)), np.ones(1), np.array([False]), [{}])
        >>> buffer.sample(5).observations["speed"].shape
        torch.Size([5, 2])
    """


def take_rows(part: Tensor | TensorDict, rows: Tensor) -> Tensor | TensorDict:
    """Returns some rows of a batch.

    Examples:
        >>> take_rows({"speed": torch.tensor([3.0, 4.0])}, torch.tensor([1]))
        {'speed': tensor([4.])}
    """
    if isinstance(part, Tensor):
        return part[rows]
    return {key: tensor[rows] for key, tensor in part.items()}


def split_rows(part: Tensor | TensorDict, size: int) -> Sequence[Tensor | TensorDict]:
    """Splits a batch into batches of ``size`` rows.

    Examples:
        >>> [len(rows["speed"]) for rows in split_rows({"speed": torch.zeros(6, 2)}, 3)]
        [3, 3]
    """
    if isinstance(part, Tensor):
        return part.split(size)
    pieces = zip(*(tensor.split(size) for tensor in part.values()), strict=True)
    return [dict(zip(part, piece, strict=True)) for piece in pieces]


def _check_augmented(found: Transitions, new: object) -> Transitions:
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
    for name, before, after in zip(Transitions._fields, found, new, strict=True):
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
