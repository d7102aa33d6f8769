"""Gymnasium's vector environments as Stable-Baselines3's."""

from __future__ import annotations

import time
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import concatenate, create_empty_array
from gymnasium.wrappers.vector import DictInfoToList
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import (
    VecEnvIndices,
    VecEnvObs,
    VecEnvStepReturn,
)

from isinglass.errors import ParameterError

__all__ = ["GymnasiumVecEnv"]


class GymnasiumVecEnv(VecEnv):
    """A vector environment of Gymnasium, such as ``gymnasium.make_vec`` makes, for SB3's agents.

    What happens to an environment whose episode is over depends on its autoreset mode:

        SAME_STEP    it is reset in the same step, as SB3's own vector environments do
        NEXT_STEP    the step after ignores the action and gives the first observation and reward
                     0: no transition. Its info says ``"reset_transition": True``, so that
                     :class:`~isinglass.agents.replay.replay_buffer.MaskedReplayBuffer` skips it
        DISABLED     it is reset at once, through ``reset(options={"reset_mask": ...})``

    Infos are those of SB3: ``TimeLimit.truncated``, and where an episode is over
    ``terminal_observation`` and ``episode``, its return ``r``, length ``l`` and time ``t``, unless
    a wrapper has put that there; ``reset_infos`` has what resets said. A seed gives environment i
    the seed + i.

    Reference: Gymnasium's documentation, "Vector autoreset mode".

    Args:
        env: The vector environment.

    Raises:
        ParameterError: If ``env`` is no vector environment of Gymnasium, or does not say in
            ``env.metadata["autoreset_mode"]`` how it resets.

    Examples:
        >>> env = GymnasiumVecEnv(gymnasium.make_vec("CartPole-v1", 3, "sync"))
        >>> env.seed(0)
        [0, 1, 2]
        >>> env.reset().shape
        (3, 4)
        >>> env.step(np.ones(3, int))[1]
        array([1., 1., 1.], dtype=float32)
        >>> env.close()
    """

    def __init__(self, env: VectorEnv) -> None:
        if not isinstance(env, VectorEnv):
            raise ParameterError(
                f"env = {env!r}",
                "Give a gymnasium.vector.VectorEnv, as gymnasium.make_vec makes it",
            )
        self.env = env if isinstance(env, DictInfoToList) else DictInfoToList(env)
        self.autoreset_mode = _autoreset_mode(env)
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        self._actions: Any = np.empty(0)
        self._started = time.time()
        self._returns = np.zeros(self.num_envs)
        self._lengths = np.zeros(self.num_envs, dtype=np.int64)
        self.due_resets = np.zeros(self.num_envs, dtype=bool)  # to be reset by the next step

    def reset(self) -> VecEnvObs:
        """Resets every environment, with the seeds and options given before.

        Raises:
            ParameterError: If environments were given different options.
        """
        seen, infos = self.env.reset(seed=self._next_seeds(), options=self._next_options())
        self.reset_infos = list(infos)
        self._reset_seeds()
        self._reset_options()
        self._returns[:] = self._lengths[:] = self.due_resets[:] = 0
        return deepcopy(seen)

    def step_async(self, actions: Any) -> None:
        """Keeps the actions for :meth:`step_wait`; nested ones, a list, become one of arrays."""
        if isinstance(actions, list):
            space = self.action_space
            actions = concatenate(space, actions, create_empty_array(space, len(actions)))
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Takes the step of :meth:`step_async` in every environment."""
        seen, rewards, terminated, truncated, infos = self.env.step(self._actions)
        seen, rewards, infos = deepcopy(seen), np.array(rewards, dtype=np.float32), list(infos)
        dones = np.asarray(terminated | truncated, dtype=bool)
        self._returns += rewards
        self._lengths += ~self.due_resets
        for i in np.flatnonzero(self.due_resets):
            self.reset_infos[i] = dict(infos[i])
            infos[i]["reset_transition"] = True
        for i in np.flatnonzero(dones):
            infos[i] = self._last_info(int(i), seen, infos[i])
        for info, cut, ended in zip(infos, truncated, terminated, strict=True):
            info["TimeLimit.truncated"] = bool(cut and not ended)
        self._returns[dones] = self._lengths[dones] = 0
        if self.autoreset_mode is AutoresetMode.NEXT_STEP:
            self.due_resets = dones.copy()
        elif self.autoreset_mode is AutoresetMode.DISABLED and dones.any():
            seen = self._reset_now(dones)
        return seen, rewards, dones, infos

    def close(self) -> None:
        """Closes every environment of the batch."""
        self.env.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Returns the picture of each environment, or None where there are none."""
        return list(self.env.render() or [None] * self.num_envs)  # pyright: ignore[reportReturnType]

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Returns an attribute of each environment; where they are one object, that object's."""
        whole = self.env.unwrapped
        if isinstance(whole, SyncVectorEnv):
            values = [env.get_wrapper_attr(attr_name) for env in whole.envs]
        elif isinstance(whole, AsyncVectorEnv):
            values = whole.get_attr(attr_name)
        else:
            values = [getattr(whole, attr_name)] * self.num_envs
        return [values[i] for i in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Sets an attribute of environments.

        Raises:
            ParameterError: If only some are chosen of environments that are one object.
        """
        whole, chosen = self.env.unwrapped, list(self._get_indices(indices))
        if isinstance(whole, SyncVectorEnv):
            for i in chosen:
                whole.envs[i].set_wrapper_attr(attr_name, value)
        elif isinstance(whole, AsyncVectorEnv):
            every = len(chosen) == self.num_envs
            values = [value] * self.num_envs if every else self.get_attr(attr_name)
            for i in chosen:
                values[i] = value
            whole.set_attr(attr_name, values)
        else:
            self._refuse_some(chosen)
            setattr(whole, attr_name, value)

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        """Calls a method of environments.

        Raises:
            ParameterError: If only some are chosen of environments that live in other processes
                or are one object.
        """
        whole, chosen = self.env.unwrapped, list(self._get_indices(indices))
        if not isinstance(whole, SyncVectorEnv):
            self._refuse_some(chosen)
        if isinstance(whole, AsyncVectorEnv):
            return list(whole.call(method_name, *method_args, **method_kwargs))
        methods = self.get_attr(method_name, chosen)
        if not isinstance(whole, SyncVectorEnv):  # one method of one object: called once
            return [methods[0](*method_args, **method_kwargs)] * self.num_envs
        return [method(*method_args, **method_kwargs) for method in methods]

    def env_is_wrapped(
        self, wrapper_class: type[gymnasium.Wrapper], indices: VecEnvIndices = None
    ) -> list[bool]:
        """Tells whether environments are wrapped so; what ``Monitor`` does is done for each."""
        whole, chosen = self.env.unwrapped, list(self._get_indices(indices))
        if issubclass(Monitor, wrapper_class):
            return [True] * len(chosen)
        if not isinstance(whole, SyncVectorEnv):
            return [False] * len(chosen)
        return [is_wrapped(whole.envs[i], wrapper_class) for i in chosen]

    def _reset_now(self, dones: np.ndarray) -> VecEnvObs:
        seen, infos = self.env.reset(options={"reset_mask": dones.copy()})
        for i in np.flatnonzero(dones):
            self.reset_infos[i] = infos[i]
        return deepcopy(seen)

    def _last_info(self, i: int, seen: VecEnvObs, info: dict[str, Any]) -> dict[str, Any]:
        """The info of an episode's last step; what the reset said is put aside."""
        if self.autoreset_mode is AutoresetMode.SAME_STEP:
            if "final_obs" not in info:
                raise ParameterError(
                    f"no final_obs in the infos of {self.env.unwrapped}, where an episode is over",
                    "Mend them, or make the vector environment with another autoreset_mode",
                )
            last, state = dict(info.pop("final_info", {})), info.pop("final_obs")
            self.reset_infos[i] = info
        else:
            last, state = dict(info), _row(seen, i)
            self.reset_infos[i] = {}
        last["terminal_observation"] = state
        passed = round(time.time() - self._started, 6)
        episode = {"r": float(self._returns[i]), "l": int(self._lengths[i]), "t": passed}
        last.setdefault("episode", episode)
        return last

    def _next_seeds(self) -> Any:
        """One seed each; the first, where environments are one object with one random stream."""
        if isinstance(self.env.unwrapped, SyncVectorEnv | AsyncVectorEnv):
            return self._seeds
        return self._seeds[0]

    def _next_options(self) -> dict[str, Any] | None:
        options = self._options[0]
        if any(other != options for other in self._options):
            raise ParameterError(
                "different options for different environments",
                "Give one dictionary for all: Gymnasium's vector environments take no more",
            )
        return options or None

    def _refuse_some(self, chosen: list[int]) -> None:
        if len(chosen) < self.num_envs:
            raise ParameterError(
                f"indices = {chosen} of {type(self.env.unwrapped).__name__}",
                "Leave indices out, or make a SyncVectorEnv",
            )


def _row(seen: VecEnvObs, i: int) -> Any:
    if isinstance(seen, dict):
        return {key: part[i].copy() for key, part in seen.items()}
    return np.copy(seen[i])


def _autoreset_mode(env: VectorEnv) -> AutoresetMode:
    try:
        return AutoresetMode(env.metadata.get("autoreset_mode"))
    except ValueError as error:
        raise ParameterError(
            f"{env} with autoreset_mode = {env.metadata.get('autoreset_mode')!r}",
            "Set env.metadata['autoreset_mode'] to what it does: an gymnasium.vector.AutoresetMode",
        ) from error
