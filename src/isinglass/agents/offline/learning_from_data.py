"""Learning from logged data, before there is an environment or without one."""

from __future__ import annotations

import math
import time
from collections import deque
from typing import Any, NoReturn, TypeVar

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.utils import configure_logger
from stable_baselines3.common.vec_env import DummyVecEnv, VecTransposeImage
from torch import Tensor

from isinglass._support.wording import shown
from isinglass.agents._arguments import SMALLEST_PICTURE, check_learning, without
from isinglass.agents.actions.action_energies import ActionEnergy
from isinglass.agents.backups import Backup
from isinglass.agents.first_look import FirstLook
from isinglass.agents.offline._density import keep_some_aside, learn_density
from isinglass.agents.offline.behavior_backup import BehaviorBackup
from isinglass.agents.offline.behavior_policy import (
    BehaviorCnnPolicy,
    BehaviorMultiInputPolicy,
    BehaviorPolicy,
)
from isinglass.agents.offline.logged_data import LoggedData
from isinglass.agents.replay.episode_replay_buffer import EpisodeReplayBuffer
from isinglass.agents.replay.replay_buffer import MaskedReplayBuffer
from isinglass.agents.replay.transitions import Transitions
from isinglass.agents.temperature import value_spread
from isinglass.errors import ParameterError

__all__ = ["LearningFromData", "SpacesOnly"]

SelfLearning = TypeVar("SelfLearning", bound="LearningFromData")

TOGETHER = 16  # gradient steps between two looks at the temperature
LEAST_ERROR = 0.01  # of the usual size of a reward
LOOKED_AT = 256  # steps kept aside, for the error of the values
FRESH = 0.2  # the share of what is found then
ROOM = 100_000  # in the replay buffer, if the data need no more
POLICIES = {
    "MlpPolicy": BehaviorPolicy,
    "CnnPolicy": BehaviorCnnPolicy,
    "MultiInputPolicy": BehaviorMultiInputPolicy,
}


class SpacesOnly(gym.Env[Any, Any]):
    """An environment that has spaces and nothing else: the place of one that is not there yet.

    An agent of Stable-Baselines3 is made in an environment. One that learns from logged data is
    made in this, saved, loaded and asked for actions; only when it is to act here it says that
    there is no world. ``set_env`` puts it into one.

    Args:
        observation_space: Observation space.
        action_space: Action space.

    Examples:
        >>> env = SpacesOnly(spaces.MultiBinary(3), spaces.Discrete(2))
        >>> env.reset()
        Traceback (most recent call last):
            ...
        isinglass.errors.ParameterError: SpacesOnly.reset: no environment, only logged data. ...
    """

    def __init__(self, observation_space: spaces.Space, action_space: spaces.Space) -> None:
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> NoReturn:
        """Refuses to start an episode.

        Raises:
            ParameterError: Always.
        """
        raise ParameterError(
            "no environment, only logged data",
            "Call fit(steps) to learn from them; set_env(env) first to learn(steps) in it",
        )

    def step(self, action: Any) -> NoReturn:
        """Refuses to take a step.

        Raises:
            ParameterError: Always.
        """
        self.reset()


class LearningFromData(FirstLook):
    """An off-policy algorithm that also learns from transitions which others have logged."""

    _online_steps = 0  # since the behavior was learned
    backup: Backup
    _behavior_rows = 0  # that it was learned from
    value_error: float | None = None  # of steps kept aside, in units of the reward

    @classmethod
    def from_data(
        cls: type[SelfLearning],
        data: Any,
        spaces: Any = None,
        policy: str | type[BehaviorPolicy] | None = None,
        behavior: ActionEnergy | None = None,
        **settings: Any,
    ) -> SelfLearning:
        r"""Makes an agent of logged transitions, without an environment; :meth:`fit` lets it learn.

            y      = r + γ (1 − done) T log Σ_a π_β(a|s') exp(Q_target(s',a)/T)
            π(a|s) ∝ π_β(a|s) exp(Q(s,a)/T),   greedy: arg-max T log π_β(a|s) + Q(s,a)

        π_β, the density of what was done, keeps values and actions to what the data know; it is
        exact, a mixture of patterns learned by maximum likelihood. The agent is saved, loaded and
        asked as any other; ``set_env(env)`` and ``learn(steps)`` go on in a world, where π_β
        yields to uniform actions as the agent's own steps become more.

        Args:
            data: A dictionary of arrays with the names of D4RL, a replay buffer of
                Stable-Baselines3, a data set of Minari, a path to an HDF5 file of D4RL or Minari,
                or :class:`LoggedData`.
            spaces: ``(observation_space, action_space)``, or an environment that has them; None
                where the data have them.
            policy: Name or class; None is the one that fits the observations.
            behavior: The energy of π_β, a mixture; None is one that fits the actions.
            **settings: Of the agent: ``energy``, ``gamma``, ``n_steps``, ``seed``, …

        Raises:
            ParameterError: If data are of no such kind, or of other spaces than those given; or as
                the agent does.
            ShapeError: If an array does not fit the spaces.
            DomainError: If a value is NaN, infinite, or not in its space: rows are named.
            FileError: If a file cannot be read.
            IntractableError: If actions under ``energy`` and π_β have no closed form together.

        Examples:
            >>> import numpy as np
            >>> from isinglass.agents import FreeEnergyQ
            >>> from isinglass.envs import LargeAction
            >>> env = LargeAction(state_bits=3, action_bits=6, keys=2)
            >>> draw = np.random.default_rng(0)
            >>> states, actions = draw.integers(2, size=(500, 3)), draw.integers(2, size=(500, 6))
            >>> data = {"observations": states, "actions": actions, "terminals": np.ones(500),
            ...         "rewards": env.reward_of(actions, states)}
            >>> agent = FreeEnergyQ.from_data(data, env, seed=0, device="cpu").fit(1_000)
            >>> greedy, _ = agent.predict(states, deterministic=True)
            >>> bool(env.reward_of(greedy, states).mean() > data["rewards"].mean() + 1)
            True
        """
        found = LoggedData.of(data, spaces)
        given = without(settings.pop("policy_kwargs", None), "behavior")
        settings["policy_kwargs"] = given | {"behavior": behavior}
        if settings.get("backup") is None:
            settings["backup"] = BehaviorBackup()
        settings.setdefault("buffer_size", max(ROOM, len(found)))
        kind = _policy_for(policy, found.spaces[0])
        agent: Any = cls(kind, SpacesOnly(*found.spaces), **settings)  # pyright: ignore[reportArgumentType]
        return agent.add_data(found)

    def add_data(self: SelfLearning, data: Any, spaces: Any = None) -> SelfLearning:
        """Puts logged transitions into the replay buffer, and returns the agent.

        All of them, or none if something is wrong with them.

        Args:
            data: As of :meth:`from_data`.
            spaces: The same; None is the agent's.

        Raises:
            ParameterError: If they are of other spaces than the agent's, do not fit into the
                buffer, or the buffer is of a class that takes steps alone.
            ShapeError: As :meth:`from_data`.
            DomainError: As :meth:`from_data`.
            FileError: If a file cannot be read.
        """
        has_own = hasattr(data, "action_space") or isinstance(data, LoggedData)
        if spaces is None and not has_own:
            spaces = self.observation_space, self.action_space
        found = LoggedData.of(data, spaces)
        if found.spaces[1] != self.action_space:
            raise ParameterError(
                f"data of actions in {found.spaces[1]}, an agent of {self.action_space}",
                "Give data of the same task, or make another agent by from_data",
            )
        buffer: Any = self.replay_buffer
        if getattr(type(buffer), "add", None) is not MaskedReplayBuffer.add:
            remembers = isinstance(buffer, EpisodeReplayBuffer)
            raise ParameterError(
                f"logged data for a {type(buffer).__name__}",
                "Logged steps have no past: leave EpisodicMemory out"
                if remembers
                else "Leave replay_buffer_class out: the default takes them",
            )
        seen = (found.observations, found.next_observations)
        before, after = (_as_seen(part, found.spaces[0], self.observation_space) for part in seen)
        actions = found.actions
        if self.policy.code.continuous:
            actions = np.clip(self.policy.scale_action(actions), -1, 1)
        parts = {
            "observations": before, "next_observations": after, "actions": actions,
            "rewards": found.rewards, "dones": found.terminated,
        }  # fmt: skip
        if isinstance(self.policy, BehaviorPolicy):  # refuses an energy that cannot be tilted
            self.policy.distribution(self.policy.obs_to_tensor(_first(before))[0])
        buffer.extend(parts, found.ends, found.next_masks)
        self.policy.masks_told = self.policy.masks_told or found.next_masks is not None
        self._rewarded = self._rewarded or bool(found.rewards.any())
        return self

    def fit(
        self: SelfLearning,
        steps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1_000,
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
        tb_log_name: str | None = None,
    ) -> SelfLearning:
        """Learns from what the replay buffer holds, by gradient steps alone: no world is asked.

        First the density of the data is learned, by as many steps at most, if there are new ones.
        T and the learning rate follow the share of the steps that is done; T does not fall below
        the error of the values, measured on a tenth of the steps that is not learned from, nor
        below a hundredth of the usual size of a reward, unless it is given. Callbacks, loggers and
        ``num_timesteps`` count gradient steps; those of Stable-Baselines3 do as they are.

        Args:
            steps: Gradient steps.
            callback: As of ``learn``, called once a step; it may end the training.
            log_interval: Steps between two entries of the logger.
            reset_num_timesteps: Whether T begins anew; else it goes on, as where a training that
                was stopped is resumed.
            progress_bar: Whether to show one.
            tb_log_name: Name of the run in TensorBoard; None is that of the class.

        Raises:
            ParameterError: If there are no data, or an argument is wrong.
            DivergenceError: If the loss or the values are NaN or infinite.
        """
        steps = check_learning(steps, callback, log_interval, reset_num_timesteps, progress_bar)
        if self.replay_buffer is None or not self.replay_buffer.size():
            raise ParameterError(
                "no data to learn from",
                "Call add_data(data) or load_replay_buffer(path); load keeps none",
            )
        name = tb_log_name or type(self).__name__
        total_timesteps, heard = self._start_fit(
            steps, callback, reset_num_timesteps, progress_bar, name
        )
        heard.on_training_start(locals(), globals())
        self._learn_behavior(steps)
        goes_on = True
        while goes_on and self.num_timesteps < total_timesteps:
            together = min(TOGETHER, total_timesteps - self.num_timesteps)
            self._update_current_progress_remaining(self.num_timesteps, total_timesteps)
            self._on_step()
            self._believe_no_more()
            self.train(together, self.batch_size)
            self._look_aside()
            for _ in range(together):
                self.num_timesteps += 1
                heard.update_locals(locals())
                goes_on = heard.on_step() and goes_on
                if self.num_timesteps % log_interval == 0:
                    self.dump_logs()
        self._tail.settle(self.policy.weights)
        heard.on_training_end()
        return self

    def _start_fit(
        self, steps: int, callback: MaybeCallback, reset: bool, progress_bar: bool, name: str
    ) -> tuple[int, BaseCallback]:
        """Sets up what ``_setup_learn`` of SB3 does, but asks no environment."""
        self.start_time = time.time_ns()
        if self.env is None:  # callbacks count its environments
            env = SpacesOnly(self.observation_space, self.action_space)
            self.env = DummyVecEnv([lambda: env])
        if self.ep_info_buffer is None or reset:
            self.ep_info_buffer = deque(maxlen=self._stats_window_size)
            self.ep_success_buffer = deque(maxlen=self._stats_window_size)
        if reset:
            self.num_timesteps = self._episode_num = 0
        self._total_timesteps = steps + self.num_timesteps
        self._num_timesteps_at_start = self.num_timesteps
        if not self._custom_logger:
            self._logger = configure_logger(self.verbose, self.tensorboard_log, name, reset)
        return self._total_timesteps, self._init_callback(callback, progress_bar)

    def _learn_behavior(self, steps: int) -> None:
        """Learns the density of what the buffer holds, if that has changed."""
        buffer = self.replay_buffer
        if not isinstance(self.policy, BehaviorPolicy) or not isinstance(
            buffer, MaskedReplayBuffer
        ):
            return
        rows = int(buffer.valid.sum())
        if rows == self._behavior_rows or not steps:
            return
        env = self._vec_normalize_env
        keep_some_aside(buffer, self.policy.generator)
        found = learn_density(self.policy, buffer, steps, self.batch_size, env)
        self.logger.record("train/log_density", found)
        self._behavior_rows, self._online_steps = rows, 0

    def _believe_no_more(self) -> None:
        """Keeps T from falling below the error of the values, if it is not given.

        The best of K values that are wrong by e looks better by e √(2 log K) than it is. To choose
        one action in K costs T log K under the behavior: at T = e never less, from K = 8 on.
        Steps kept aside tell nothing of actions that were never taken, whose values are those of
        others to a hundredth at best.
        """
        if self._waits_for_reward and self.value_error is not None:
            least = LEAST_ERROR * float(self.policy.q_net.head.reward_size)
            self.policy.temperature = max(self.policy.temperature, self.value_error, least)
            self.logger.record("rollout/temperature", self.policy.temperature)

    @torch.no_grad()
    def _look_aside(self) -> None:
        """Measures by how much values miss their targets where they were not learned."""
        buffer, policy = self.replay_buffer, self.policy
        if not isinstance(policy, BehaviorPolicy) or not isinstance(buffer, MaskedReplayBuffer):
            return
        held = buffer.places(aside=True)
        held = held if len(held) else buffer.places(aside=False)
        stream = policy.generator
        drawn = torch.randint(len(held), (LOOKED_AT,), generator=stream, device=stream.device)
        batch = buffer.take(held[drawn.cpu().numpy()], self._vec_normalize_env)
        policy.set_training_mode(False)
        targets = self.backup.target(policy, batch, self.discounts(batch))
        errors = targets - policy.action_values(batch.observations, batch.actions)
        found = float(errors.square().mean())
        before = found if self.value_error is None else self.value_error**2
        self.value_error = math.sqrt(before + FRESH * (found - before))
        self.logger.record("train/value_error", self.value_error)

    def _value_spread(self, batch: Transitions, discounts: Tensor) -> float:
        """Returns σ of Q itself: what was done as often as not does not count."""
        if not isinstance(self.policy, BehaviorPolicy):
            return value_spread(self.policy, batch, discounts)
        with self.policy.untilted():
            return value_spread(self.policy, batch, discounts)

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[Any, np.ndarray]:
        """Draws from the policy at once where the data have been learned from."""
        starts = 0 if self._behavior_rows else learning_starts
        return super()._sample_action(starts, action_noise, n_envs)

    def _store_transition(self, replay_buffer: ReplayBuffer, *args: Any, **kwargs: Any) -> None:
        """Counts steps beside the data: the density of what was done is more and more one's own."""
        super()._store_transition(replay_buffer, *args, **kwargs)
        if self._behavior_rows and isinstance(self.policy, BehaviorPolicy):
            self._online_steps += self.n_envs
            share = self._online_steps / (self._online_steps + self._behavior_rows)
            if not self.policy.code.continuous:
                self.policy.uniform_share.fill_(share)


def _policy_for(policy: Any, seen: spaces.Space) -> type[BehaviorPolicy]:
    """Returns the class of policies by its name, or by what is observed.

    Raises:
        ParameterError: If there is none of this name, or it knows no behavior.
    """
    if policy is None:
        large = is_image_space(seen) and sorted(seen.shape or (0,))[1] >= SMALLEST_PICTURE
        name = "CnnPolicy" if large else "MlpPolicy"
        policy = "MultiInputPolicy" if isinstance(seen, spaces.Dict) else name
    kind = POLICIES.get(policy) if isinstance(policy, str) else policy
    if not (isinstance(kind, type) and issubclass(kind, BehaviorPolicy)):
        raise ParameterError(
            f"policy = {shown(policy)}",
            f"Give one of {', '.join(map(repr, POLICIES))}, or a subclass of BehaviorPolicy",
        )
    return kind


def _as_seen(values: Any, logged: Any, wanted: Any) -> Any:
    """Returns observations as the agent has them: pictures with their colors first.

    Raises:
        ParameterError: If they are of another space.
    """
    if logged == wanted:
        return values
    if (
        isinstance(logged, spaces.Dict)
        and isinstance(wanted, spaces.Dict)
        and {*logged.spaces} == {*wanted.spaces}
    ):
        return {key: _as_seen(values[key], logged[key], wanted[key]) for key in logged.spaces}
    if isinstance(logged, spaces.Box) and _turned(logged) == wanted:
        return VecTransposeImage.transpose_image(values)
    raise ParameterError(
        f"data of observations in {logged}, an agent of {wanted}",
        "Give data of the same task, or make another agent by from_data",
    )


def _turned(space: spaces.Box) -> spaces.Box | None:
    """Returns the space of pictures with their colors first; None if there are no pictures."""
    if not is_image_space(space) or len(space.shape) != 3:
        return None
    return VecTransposeImage.transpose_space(space)


def _first(values: Any) -> Any:
    return {key: part[0] for key, part in values.items()} if isinstance(values, dict) else values[0]
