"""Collecting steps of environments by what is allowed there, and keeping out what is no number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.type_aliases import MaybeCallback

from isinglass.agents.actions.action_masks import MaskLayout
from isinglass.agents.mask_reader import MaskReader
from isinglass.agents.network import check_fits, check_real, check_seen
from isinglass.agents.policy import FreeEnergyPolicy
from isinglass.agents.replay.episode_replay_buffer import EpisodeReplayBuffer
from isinglass.agents.replay.replay_buffer import BEHAVIOR_KEY, MaskedReplayBuffer
from isinglass.agents.seats.self_play import with_self_play
from isinglass.errors import ParameterError

__all__ = ["MaskedCollection"]


class MaskedCollection(OffPolicyAlgorithm):
    """An off-policy algorithm that acts by masks, however its environment tells them."""

    policy: FreeEnergyPolicy
    _allowed: np.ndarray | None = None
    _masks: MaskReader | None = None
    _rewarded: bool = False
    _log_behavior: np.ndarray | None = None
    _tries_all: bool = False  # that is allowed, once in each state, where visits are counted

    @property
    def _waits_for_reward(self) -> bool:
        """Whether actions stay uniform until a reward other than 0 was met."""
        return False

    @property
    def _compares(self) -> bool:
        """Whether actions stay uniform for energies to be compared by them."""
        return False

    @property
    def _warmth(self) -> float | None:
        """The least T in a state while it is explored, in its own spread; None for T alone."""
        return None

    def _init_callback(self, callback: MaybeCallback, progress_bar: bool = False) -> BaseCallback:
        """Lets opponents of the environment that are to be the agent itself follow it."""
        return super()._init_callback(with_self_play(callback, self.env), progress_bar)

    def _look_for_masks(self) -> None:
        """Finds out how masks are told, if they are; the episode that was under way is given up."""
        if self.env is None:
            return
        self._masks = MaskReader(self.env)
        self._note_masks(self._masks.read(cast(Any, self._last_obs)))
        if isinstance(self.replay_buffer, MaskedReplayBuffer):
            self.replay_buffer.cut()

    def _note_masks(self, masks: np.ndarray | None) -> None:
        """Keeps the masks to act by.

        Raises:
            ParameterError: If the replay buffer would not keep them.
        """
        if masks is None and self.policy.masks_told:  # here everything is allowed
            masks = np.ones((self.n_envs, MaskLayout.of(self.action_space).flat_size), dtype=bool)
        self._allowed = masks
        if masks is None or self._masks is None or self._masks.source in (None, "observation"):
            return
        self.policy.masks_told = True
        if not isinstance(self.replay_buffer, MaskedReplayBuffer):
            raise ParameterError(
                f"a {type(self.replay_buffer).__name__}, which keeps no action masks",
                "Leave replay_buffer_class out: the default keeps masks and n steps; or learn in "
                "isinglass.agents.ObservedMasks(env) with a buffer for dictionaries",
            )

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[Any, np.ndarray]:
        """Draws uniformly among allowed actions before learning starts, then from the policy.

        It starts when a reward other than 0 was met, if ``_waits_for_reward``: up to then all
        values are 0, and to choose by what a network makes of that is to choose by noise. Nor does
        it start while it ``_compares`` energies.
        """
        self.policy.warmth = self._warmth
        try:
            return self._draw_action(learning_starts, action_noise, n_envs)
        finally:
            self.policy.warmth = None

    def _draw_action(
        self, learning_starts: int, action_noise: ActionNoise | None, n_envs: int
    ) -> tuple[Any, np.ndarray]:
        """Draws actions as the environment takes them, and as the buffer keeps them."""
        if self._compares or (self._waits_for_reward and not self._rewarded):
            learning_starts = self.num_timesteps + 1
        structure, allowed, space = self.policy.structure, self._allowed, self.action_space
        uniform = self.num_timesteps < learning_starts
        layout = MaskLayout.of(space)
        buffer, past = self.replay_buffer, None
        if isinstance(buffer, EpisodeReplayBuffer):
            past = buffer.state(self._vec_normalize_env)
        if not uniform and self._tries_all:
            allowed = self._leave_untried(allowed)
        if allowed is None and not structure.nested and (past is None or uniform):
            actions, rows = super()._sample_action(learning_starts, action_noise, n_envs)
            self._note_behavior(rows, uniform, allowed)
            return actions, rows
        if not uniform:
            masks = None if allowed is None else layout.by_parts(allowed)
            actions, _ = self.policy.predict(cast(Any, self._last_obs), past, action_masks=masks)
        elif allowed is None:
            actions = [space.sample() for _ in range(n_envs)]
        else:
            actions = layout.draw_allowed(allowed, space.np_random)
        rows = structure.store(actions)
        self._note_behavior(rows, uniform, allowed)
        return actions, rows

    def _leave_untried(self, allowed: np.ndarray | None) -> np.ndarray | None:
        """Forbids what was tried, in states that were met as often as there are actions.

        Values of what was never tried are guesses, by what other states have shown.
        """
        buffer, layout = self.replay_buffer, MaskLayout.of(self.action_space)
        if not isinstance(buffer, MaskedReplayBuffer):
            return allowed
        plain = self._last_obs if self._vec_normalize_env is None else self._last_original_obs
        visits = buffer.visits_of(cast(Any, plain), layout.all_actions())
        if visits is None:
            return allowed
        may = np.ones(visits.shape, dtype=bool)
        if allowed is not None:
            may = allowed if layout.is_joint(allowed) else layout.joint(allowed)
        known = visits.sum(1, keepdims=True) >= may.sum(1, keepdims=True)
        untried = may & (visits == 0) & known
        if not untried.any():
            return allowed
        return np.where(untried.any(1, keepdims=True), untried, may)

    def _note_behavior(self, rows: np.ndarray, uniform: bool, masks: np.ndarray | None) -> None:
        """Keeps log μ(a|s) of the actions, where the replay buffer stores it."""
        if getattr(self.replay_buffer, "sequence_length", 1) == 1:
            return
        allowed = None if masks is None else torch.as_tensor(masks)
        if uniform:
            found = -torch.as_tensor(self.policy.log_action_count(allowed)).expand(len(rows))
        else:
            obs, _ = self.policy.obs_to_tensor(cast(Any, self._last_obs))
            found = self.policy.log_probability(obs, torch.as_tensor(rows), allowed)
        self._log_behavior = found.cpu().numpy()

    def _store_transition(
        self,
        replay_buffer: ReplayBuffer,
        buffer_action: np.ndarray,
        new_obs: np.ndarray | dict[str, np.ndarray],
        reward: np.ndarray,
        dones: np.ndarray,
        infos: Sequence[dict[str, Any]],
    ) -> None:
        """Keeps out what would turn the weights into NaN many steps later."""
        check_real("the reward", reward)
        self._rewarded = self._rewarded or bool(np.any(reward))
        check_seen("the observation", new_obs, self.observation_space)
        for info in infos:
            if "TimeLimit.truncated" in info:  # what an environment says of it need be no bool
                info["TimeLimit.truncated"] = bool(info["TimeLimit.truncated"])
            if "terminal_observation" in info:
                last = info["terminal_observation"]
                check_seen("the last observation", last, self.observation_space)
                check_fits("the last observation", last, self.observation_space)
        if self._masks is not None:
            masks = self._masks.read(new_obs, infos, dones)
            self._note_masks(masks)
            self._masks.complete(masks, infos, dones)
        if self._log_behavior is not None:
            for info, found in zip(infos, self._log_behavior, strict=True):
                info[BEHAVIOR_KEY] = float(found)
        super()._store_transition(replay_buffer, buffer_action, new_obs, reward, dones, list(infos))

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_masks", "_allowed", "_log_behavior"]
