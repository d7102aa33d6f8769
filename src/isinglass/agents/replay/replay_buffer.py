"""Replay that knows masks, resets and returns of n steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import DictReplayBuffer, ReplayBuffer
from stable_baselines3.common.type_aliases import TensorDict
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from isinglass._support.functions import check_takes
from isinglass._support.typing import Bool, Float, Int
from isinglass._support.validation import check_count, check_fraction
from isinglass.agents.actions.action_masks import MaskLayout
from isinglass.agents.actions.action_structure import stored_space
from isinglass.agents.replay.transitions import (
    Augmentation,
    Following,
    Transitions,
    check_augmented,
)
from isinglass.agents.replay.visit_counts import VisitCounts, told_apart
from isinglass.errors import ParameterError, ShapeError

BEHAVIOR_KEY = "log_behavior"
AT_ONCE = 512  # steps that are counted

__all__ = ["BEHAVIOR_KEY", "MaskedDictReplayBuffer", "MaskedReplayBuffer"]


class MaskedReplayBuffer(ReplayBuffer):
    r"""SB3's replay buffer with the action masks of next states, and returns of n steps.

        R = Σ_{k<m} γ^k r_{t+k},   bootstrapped from s_{t+m} with γ^m

    m = ``n_steps``, or fewer: a return stops where its episode ends, is cut short or is not known
    further. ``info["action_mask"]`` of a step is the mask of the state it leads to; nothing is
    stored before the first one comes, and then a bit a value. A step whose info says
    ``"reset_transition"``, as in the NEXT_STEP mode of Gymnasium's vector environments, leads from
    one episode to the next: it is stored but never sampled, and no return goes over it.

    With ``sequence_length`` k above 1 each transition comes with the k − 1 steps after it, and with
    log μ(a|s) of these, which ``info["log_behavior"]`` of a step tells.

    Transitions are drawn uniformly, with replacement. The stream of the draws belongs to the
    buffer: seeded from torch's global one, restarted by :meth:`seed`, saved with the rest.

    Reference: Sutton & Barto 2018, "Reinforcement Learning", 2nd ed., §7.1 (n-step returns).

    Args:
        buffer_size: How many steps it holds, of all environments together.
        observation_space: Observation space.
        action_space: Action space; actions in it are stored as rows of numbers, one a part.
        *args: As of SB3's ``ReplayBuffer``: ``device``, ``n_envs``, ``optimize_memory_usage``,
            ``handle_timeout_termination``.
        n_steps: n, at least 1.
        gamma: γ from 0 to 1, used if n is above 1: give the agent's.
        augment: From :class:`Transitions`, normalized if they are, and the stream of the buffer
            to others of the same shapes that are as good, such as mirror images; every batch
            goes through it. To be saved with the buffer it has to be a function of a module. See
            :func:`isinglass.envs.tictactoe.augmentation.random_dihedral_augmentation`.
        count_visits: Count how often pairs (s, a) were met, by
            :class:`~isinglass.agents.replay.visit_counts.VisitCounts`, which begin with the first
            draw.
        sequence_length: k, how many steps come together; 1 for transitions alone.
        **kwargs: As ``*args``.

    Raises:
        ParameterError: If ``n_steps``, ``gamma`` or ``sequence_length`` is out of range, sequences
            are asked for with returns of several steps or an augmentation, ``augment`` cannot be
            called or gives something else, or the actions are in no space that
            :class:`~isinglass.agents.actions.action_masks.MaskLayout` knows.

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

    goals: int = 0  # episodes that terminated by no less than goal_worth, ever
    goal_worth: float = -math.inf

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        *args: Any,
        n_steps: int = 1,
        gamma: float = 0.99,
        augment: Augmentation | None = None,
        count_visits: bool = False,
        sequence_length: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            buffer_size, observation_space, stored_space(action_space), *args, **kwargs
        )
        self.n_steps = check_count("n_steps", n_steps)
        self.gamma = check_fraction("gamma", gamma)
        if augment is not None:
            check_takes("augment", augment, "transitions", "a numpy.random.Generator")
        self.augment = augment
        self.sequence_length = check_count("sequence_length", sequence_length)
        if self.sequence_length > 1 and (self.n_steps > 1 or augment is not None):
            raise ParameterError(
                f"sequence_length = {sequence_length}, n_steps = {n_steps}, augment = {augment}",
                "Leave n_steps at 1 and augment out: steps of a sequence are single ones",
            )
        kept = self.buffer_size if self.sequence_length > 1 else 0
        self.log_behavior = np.full((kept, self.n_envs), np.nan, dtype=np.float32)
        self.layout = MaskLayout.of(self.action_space)
        self.valid = np.zeros((self.buffer_size, self.n_envs), dtype=bool)
        self.aside = np.zeros_like(self.valid)
        self._masks: np.ndarray | None = None  # eight values a byte
        self._width = 0
        self.counts: VisitCounts | None = None
        if count_visits:
            self.count_visits()
        self.seed(int(torch.randint(2**63 - 1, ())))

    def seed(self, seed: int) -> None:
        """Restarts the stream that transitions are drawn from."""
        self._rng = np.random.default_rng(seed)

    def count_visits(self, goal_worth: float = -math.inf) -> None:
        """Counts from now on how often pairs (s, a) were met, what is stored included.

        Args:
            goal_worth: The least reward of a last step by which an episode counts as ended.
        """
        self.counts = VisitCounts()
        self._codes = np.zeros((self.buffer_size, self.n_envs), np.int64)
        self.goal_worth = goal_worth
        self.goals = self._count_goals(*self.outcomes())

    def outcomes(self) -> tuple[Bool[np.ndarray, " steps"], Float[np.ndarray, " steps"]]:
        """Returns where an episode terminated, and the rewards, of all stored steps."""
        ended = (self.dones > 0) & (self.timeouts == 0)
        return ended[self.valid], self.rewards[self.valid]

    @property
    def tells_apart(self) -> bool:
        """Whether states are counted one by one, as whole numbers are."""
        seen = self.observations
        return all(map(told_apart, seen.values() if isinstance(seen, dict) else [seen]))

    def visits_of(
        self, obs: np.ndarray | dict[str, np.ndarray], actions: np.ndarray
    ) -> Int[np.ndarray, "envs actions"] | None:
        """Returns how often each action was met in a state of every environment; None uncounted.

        Args:
            obs: The states as they are stored, not normalized.
            actions: The actions as they are stored, one a row.
        """
        if self.counts is None or not self.counts.scaled:
            return None
        states = [obs[key] for key in self.observations] if isinstance(obs, dict) else [obs]
        rows = [np.asarray(part).reshape(self.n_envs, -1) for part in states]
        return self.counts.of(self.counts.codes_of_all(*rows, actions))

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
        self.goals += self._count_goals(ended, np.asarray(reward))
        if self.sequence_length > 1:
            self.log_behavior[at] = [info.get(BEHAVIOR_KEY, np.nan) for info in infos]
        self.valid[at] = [not info.get("reset_transition", False) for info in infos]
        self.aside[at] = False
        if self.optimize_memory_usage:  # the observation there is the newest one's next
            self.valid[self.pos] = False
        if self._masks is not None:
            self._masks[at] = 0xFF if masks is None else np.packbits(masks, axis=-1)
        if self.counts is not None and self.counts.scaled:
            self._count_visits(self.counts, np.array([at]))

    def extend(
        self, found: Mapping[str, Any], cut: np.ndarray, masks: np.ndarray | None = None
    ) -> None:
        """Stores many transitions at once, in order, side by side for several environments.

        Args:
            found: ``observations``, ``next_observations``, ``actions``, ``rewards`` and
                ``dones``, each with n rows as :meth:`add` takes them of one environment; dones are
                1 where the episode terminated.
            cut: Where an episode does not go on in the next row, ``(n,)`` bools.
            masks: What is allowed in next states, ``(n, width)``; None if there are none.

        Raises:
            ParameterError: If there is no room for so many, or observations are stored once.
            ShapeError: If masks are flat where those before were joint, or the other way round.
        """
        count = len(cut)
        steps = -(-count // self.n_envs)
        if self.optimize_memory_usage or steps > self.buffer_size:
            raise ParameterError(
                f"{count} transitions, in a buffer for {self.buffer_size * self.n_envs} with "
                f"optimize_memory_usage = {self.optimize_memory_usage}",
                "Give a larger buffer_size, and leave optimize_memory_usage out",
            )
        self._make_room(masks)
        numbers = np.arange(steps * self.n_envs).reshape(self.n_envs, steps).T
        rows, at = np.minimum(numbers, count - 1), (self.pos + np.arange(steps)) % self.buffer_size
        for name in ("observations", "next_observations", "actions", "rewards", "dones"):
            _put(getattr(self, name), at, found[name], rows)
        ended = np.asarray(found["dones"], dtype=bool)[rows]
        over = cut[rows] | (numbers >= count - 1)
        over[-1] = True  # what follows is of another environment
        self.timeouts[at] = over & ~ended
        self.dones[at] = over | ended  # as SB3 has it, where an episode is over in any way
        self.valid[at], self.aside[at] = numbers < count, False
        self.goals += self._count_goals(*map(np.asarray, (found["dones"], found["rewards"])))
        if self._masks is not None:
            self._masks[at] = 0xFF if masks is None else np.packbits(masks, axis=-1)[rows]
        self.full = self.full or self.pos + steps >= self.buffer_size
        self.pos = (self.pos + steps) % self.buffer_size

    def stored_masks(self, at: Any, envs: Any) -> np.ndarray | None:
        """Returns what is allowed in next states of stored steps; None if there never was a mask.

        Args:
            at: Places of the steps, or a slice.
            envs: Numbers of the environments, or a slice.
        """
        if self._masks is None:
            return None
        return np.unpackbits(self._masks[at, envs], axis=-1, count=self._width).view(bool)

    def cut(self) -> None:
        """Lets no return go on from what is stored: the environment was reset by hand."""
        if self.size() and not self.optimize_memory_usage:
            newest = self.pos - 1
            self.timeouts[newest] = np.maximum(self.timeouts[newest], 1 - self.dones[newest])

    def reset(self) -> None:
        """Forgets every transition that is stored."""
        super().reset()
        self.valid[:] = self.aside[:] = False

    def sample(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, batch_size: int, env: VecNormalize | None = None
    ) -> Transitions:
        """Draws transitions, normalized by ``env`` if there is one.

        Raises:
            ParameterError: If there is none.
        """
        valid = (self.valid & ~self.aside)[: self.size()].reshape(-1)
        if not valid.any():
            raise ParameterError("no transition stored", "Step the environment first")
        if self.counts is not None and not self.counts.scaled:
            self._count_stored(self.counts)
        drawn = self._rng.integers(valid.size, size=batch_size)
        while (wrong := np.flatnonzero(~valid[drawn])).size:
            drawn[wrong] = self._rng.integers(valid.size, size=wrong.size)
        at, envs = np.divmod(drawn, self.n_envs)
        found = self._gather(at, envs, self.n_steps, env)
        if self.sequence_length > 1:
            found = found._replace(following=self._following(at, envs, env))
        if self.augment is None:
            return found
        return check_augmented(found, self.augment(found, self._rng))

    def places(self, aside: bool) -> np.ndarray:
        """Lists where steps are that are kept aside, never drawn, or those that are drawn."""
        return np.flatnonzero((self.valid & (self.aside == aside))[: self.size()])

    def keep_aside(self, places: np.ndarray) -> None:
        """Keeps these steps, and no others, from being drawn: what is learned is held to them."""
        self.aside[:] = False
        self.aside[np.divmod(places, self.n_envs)] = True

    def take(self, places: np.ndarray, env: VecNormalize | None = None) -> Transitions:
        """Returns the steps at some :meth:`places`, or returns from there on."""
        return self._gather(*np.divmod(places, self.n_envs), self.n_steps, env)

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
        visits = goals = pairs = None
        if self.counts is not None:
            visits = self._tensor(self.counts.of(self._codes[at, envs]))
            goals = visits.new_full(visits.shape, self.goals)
            pairs = visits.new_full(visits.shape, self.counts.different)
        masks = self.stored_masks(end, envs)
        return Transitions(
            observations=self._look_up_now(at, envs, env),
            actions=self._tensor(self.actions[at, envs]),
            next_observations=self._look_up_next(end, envs, env),
            dones=self._tensor(dones[:, None]),
            rewards=self._tensor(rewards[:, None]),
            discounts=None if discounts is None else self._tensor(discounts[:, None]),
            next_masks=None if masks is None else self._tensor(masks),
            visits=visits,
            goals=goals,
            pairs=pairs,
        )

    def _returns(
        self, at: np.ndarray, envs: np.ndarray, n_steps: int, env: VecNormalize | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the last step, Σ_k γ^k r_k and γ^m of the m ≤ n steps from ``at`` on."""
        steps, counted = self._steps(at, envs, n_steps)
        weights = self.gamma ** np.arange(n_steps, dtype=np.float32) * counted
        rewards = self._normalize_reward(self.rewards[steps], env)
        count = counted.sum(1)
        end = (at + count - 1) % self.buffer_size
        return end, (rewards * weights).sum(1), np.float32(self.gamma) ** count.astype(np.float32)

    def _count_stored(self, counts: VisitCounts) -> None:
        """Counts all that is stored, a few steps at a time: images in 64 bits are large."""
        steps = np.arange(self.size())
        counts.scale_to(*self._pairs(steps[:: -(-len(steps) // AT_ONCE)]))
        for some in np.split(steps, steps[AT_ONCE::AT_ONCE]):
            self._count_visits(counts, some)

    def _count_visits(self, counts: VisitCounts, steps: np.ndarray) -> None:
        """Counts the pairs of these steps, but those that lead from one episode to the next."""
        codes = counts.codes(*self._pairs(steps)).reshape(len(steps), self.n_envs)
        self._codes[steps] = codes
        counts.add(codes[self.valid[steps]])

    def _count_goals(self, ended: np.ndarray, rewards: np.ndarray) -> int:
        ended, rewards = ended.astype(bool).ravel(), rewards.astype(np.float32).ravel()
        return int((ended & (rewards >= np.float32(self.goal_worth))).sum())

    def _pairs(self, steps: np.ndarray) -> list[np.ndarray]:
        """Returns states and actions of these steps of all environments, part by part, as rows."""
        seen = self.observations
        parts = [*(seen.values() if isinstance(seen, dict) else [seen]), self.actions]
        return [part[steps].reshape(len(steps) * self.n_envs, -1) for part in parts]

    def _steps(
        self, at: np.ndarray, envs: np.ndarray, count: int
    ) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
        """Returns where the steps from ``at`` on are, and which are of the same episode."""
        steps = (at[:, None] + np.arange(count)) % self.buffer_size, envs[:, None]
        newest = (self.pos - 1) % self.buffer_size
        over = (self.dones[steps] > 0) | (self.timeouts[steps] > 0) | (steps[0] == newest)
        counted = np.ones_like(over)
        goes_on = ~over[:, :-1] & self.valid[steps][:, 1:]
        np.logical_and.accumulate(goes_on, axis=1, out=counted[:, 1:])
        return steps, counted

    def _following(self, at: np.ndarray, envs: np.ndarray, env: VecNormalize | None) -> Following:
        (rows, column), counted = self._steps(at, envs, self.sequence_length)
        steps = rows, column = rows[:, 1:], np.broadcast_to(column, rows[:, 1:].shape)
        ended = self.dones[steps] * (1 - self.timeouts[steps])
        masks = self.stored_masks(*steps)
        return Following(
            actions=self._tensor(self.actions[steps]),
            next_observations=self._look_up_next(rows, column, env),
            rewards=self._tensor(self._normalize_reward(self.rewards[steps], env)),
            discounts=self._tensor(np.float32(self.gamma) * (1 - ended)),
            log_behavior=self._tensor(self.log_behavior[steps]),
            counted=self._tensor(counted[:, 1:]),
            next_masks=None if masks is None else self._tensor(masks),
        )

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


def _put(stored: Any, at: np.ndarray, new: Any, rows: np.ndarray) -> None:
    """Writes rows of an array, or of a dictionary of them, to places of what is stored."""
    if isinstance(stored, dict):
        for key, part in stored.items():
            _put(part, at, new[key], rows)
    else:
        stored[at] = np.asarray(new)[rows].reshape(stored[at].shape)
