"""Masks from environments: told in infos, in observations or by a method, and read in one way."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from isinglass._support.typing import Bool
from isinglass._support.validation import check_flag
from isinglass.agents.actions.action_masks import MASK_KEY, MaskLayout, find_mask
from isinglass.errors import ParameterError, ShapeError

__all__ = ["MaskReader", "MaskedEnv", "ObservedMasks", "acting_infos", "lend_masks"]

METHOD = "action_masks"
OBSERVATION = "observation"


class MaskReader:
    """A reader of the masks of the states to act in, however a vector environment tells them.

    In this order: the entry ``"action_mask"`` of a dictionary of observations,
    ``info["action_mask"]``, the method ``action_masks()`` as sb3-contrib asks for it.

    Args:
        env: Environment, wrapped or not.

    Attributes:
        source: ``"info"``, ``"observation"`` or ``"method"``; None before there was a mask.

    Examples:
        >>> from stable_baselines3.common.env_util import make_vec_env
        >>> env = make_vec_env("Taxi-v4", 2, seed=0)
        >>> reader = MaskReader(env)
        >>> reader.read(env.reset()).shape, reader.source
        ((2, 6), 'info')
    """

    def __init__(self, env: VecEnv) -> None:
        self.env, self.layout = env, MaskLayout.of(env.action_space)
        self.source: str | None = None
        self._has_method = env.has_attr(METHOD)

    def read(
        self,
        seen: VecEnvObs | tuple[Any, ...],
        infos: Sequence[dict[str, Any]] | None = None,
        dones: np.ndarray | None = None,
    ) -> Bool[np.ndarray, "envs width"] | None:
        """Returns the masks to act by, after ``env.reset()`` or after a step; None if none is told.

        Once there was a mask, where none is told everything is allowed.

        Args:
            seen: The observations to act on.
            infos: What the step gave; None after a reset.
            dones: What the step gave.

        Raises:
            ShapeError: As :meth:`MaskLayout.read`.
            DomainError: As :meth:`MaskLayout.read`.
            ParameterError: As :meth:`MaskLayout.read`.
        """
        count, due = self.env.num_envs, getattr(self.env.unwrapped, "due_resets", None)
        if isinstance(seen, Mapping) and (told := find_mask(seen)) is not None:
            masks, self.source = self.layout.rows(told, count, due), "observation"
        elif (masks := self.layout.read(acting_infos(self.env, infos, dones))) is not None:
            self.source = "info"
        elif self._has_method and (told := self.env.env_method(METHOD))[0] is not None:
            told = told if isinstance(told[0], Mapping | tuple) else np.stack(told)
            masks, self.source = self.layout.rows(told, count, due), "method"
        elif self.source is not None:
            masks = np.ones((count, self.layout.flat_size), dtype=bool)
        return masks

    def complete(
        self, masks: np.ndarray | None, infos: Sequence[dict[str, Any]], dones: np.ndarray
    ) -> None:
        """Writes into infos what a method has told, so that a replay buffer finds it there.

        A method speaks of the next episode already where one is over: what could be done in the
        last state of one that was cut short is not known, so that its step is not learned from.
        """
        if self.source != "method" or masks is None:
            return
        for info, done, mask in zip(infos, dones, self.layout.by_parts(masks), strict=True):
            if not done:
                info[MASK_KEY] = mask
            elif info.get("TimeLimit.truncated", False):
                info["reset_transition"] = True


class MaskedEnv(gym.Wrapper):
    """A wrapper that tells the mask in ``info`` and by ``action_masks()``, whoever told it how.

    Args:
        env: Environment that tells masks in ``info["action_mask"]``, an entry ``"action_mask"`` of
            its observations, or by ``action_masks()``.

    Examples:
        >>> from isinglass.envs import TicTacToe
        >>> env = MaskedEnv(TicTacToe())
        >>> _, info = env.reset(seed=0)
        >>> bool((env.action_masks() == info["action_mask"]).all())
        True
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Resets the environment, and notes the mask."""
        return self._note(*self.env.reset(**kwargs))

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Steps the environment, and notes the mask."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        observation, info = self._note(observation, info)
        return observation, reward, terminated, truncated, info

    def action_masks(self) -> Any:
        """Returns the mask of the state that was observed last."""
        return self._mask

    def _note(self, observation: Any, info: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        mask = find_mask(info)
        if mask is None and isinstance(observation, Mapping):
            mask = find_mask(observation)
        if mask is None and self.env.has_wrapper_attr(METHOD):
            mask = self.env.get_wrapper_attr(METHOD)()
        self._mask = mask
        return observation, info if mask is None else {**info, MASK_KEY: mask}


class ObservedMasks(VecEnvWrapper):
    """A wrapper that puts masks into the observations, where ``predict`` sees them.

    ``evaluate_policy(agent, ObservedMasks(env))`` plays by the rules. An agent may learn in it too,
    with ``"MultiInputPolicy"``; then any replay buffer for dictionaries keeps the masks.

    Args:
        venv: Environment that tells masks in one of the ways that :class:`MaskReader` knows.
        joint: Whether masks are joint: see :class:`MaskLayout`.

    Raises:
        ParameterError: If ``venv`` is no vector environment, or ``joint`` no flag.

    Examples:
        >>> from stable_baselines3.common.env_util import make_vec_env
        >>> env = ObservedMasks(make_vec_env("Taxi-v4", 2, seed=0))
        >>> sorted(env.reset()), env.observation_space["action_mask"]
        (['action_mask', 'observation'], MultiBinary(6))
    """

    def __init__(self, venv: VecEnv, joint: bool = False) -> None:
        if not isinstance(venv, VecEnv):
            raise ParameterError(
                f"an environment {venv!r}", "Give a VecEnv: DummyVecEnv([lambda: env])"
            )
        joint = check_flag("joint", joint)
        self.reader = MaskReader(venv)
        layout = self.reader.layout
        if joint and layout.real:
            raise ParameterError(
                f"joint masks of actions in {layout.space}",
                "Give joint=False: they have real parts",
            )
        # Where both would be as wide, a flat one would be taken for the other.
        self.joint = joint or layout.flat_size == layout.joint_size
        self.shape = layout.parts if self.joint else (layout.flat_size,)
        space = venv.observation_space
        parts = dict(space.spaces) if isinstance(space, spaces.Dict) else {OBSERVATION: space}
        parts[MASK_KEY] = spaces.MultiBinary(self.shape[0] if len(self.shape) == 1 else self.shape)
        super().__init__(venv, spaces.Dict(parts))

    def reset(self) -> VecEnvObs:
        """Resets every environment, and shows the masks."""
        seen = self.venv.reset()
        return self._with_masks(seen, self.reader.read(seen))

    def step_wait(self) -> VecEnvStepReturn:
        """Waits for the step of every environment."""
        seen, rewards, dones, infos = self.venv.step_wait()
        masks = self.reader.read(seen, infos, dones)
        for info in infos:
            if "terminal_observation" in info:
                ended = np.array([not info.get("TimeLimit.truncated", False)])
                mask = self._shape(self.reader.layout.read([info], ended), 1)[0]
                last = info["terminal_observation"]
                parts = last if isinstance(last, Mapping) else {OBSERVATION: last}
                info["terminal_observation"] = {**parts, MASK_KEY: mask}
        return self._with_masks(seen, masks), rewards, dones, infos

    def _with_masks(self, seen: VecEnvObs | tuple[Any, ...], masks: np.ndarray | None) -> VecEnvObs:
        parts = dict(seen) if isinstance(seen, Mapping) else {OBSERVATION: seen}
        return {**parts, MASK_KEY: self._shape(masks, self.num_envs)}  # pyright: ignore[reportReturnType]

    def _shape(self, masks: np.ndarray | None, rows: int) -> np.ndarray:
        layout = self.reader.layout
        if masks is None:
            masks = np.ones((rows, math.prod(self.shape)), dtype=bool)
        elif self.joint and not layout.is_joint(masks):
            masks = layout.joint(masks)
        elif layout.is_joint(masks) and not self.joint:
            raise ShapeError("joint masks of the environment", "Give ObservedMasks joint=True")
        return masks.reshape(rows, *self.shape).astype(np.int8)


class _LentMasks:
    """What :func:`_lend` adds to the class of an environment."""

    origin: VecEnv
    reader: MaskReader
    expected: Callable[[], bool]

    def reset(self) -> VecEnvObs:
        """Resets every environment, and shows the masks."""
        seen = self.origin.reset()
        return self._with_masks(seen, self.reader.read(seen))

    def step(self, actions: np.ndarray) -> VecEnvStepReturn:
        """Takes a step in every environment, and shows the masks."""
        seen, rewards, dones, infos = self.origin.step(actions)
        masks = self.reader.read(seen, infos, dones)
        return self._with_masks(seen, masks), rewards, dones, infos

    def _with_masks(self, seen: VecEnvObs | tuple[Any, ...], masks: np.ndarray | None) -> Any:
        layout = self.reader.layout
        if masks is None and self.expected():  # here everything is allowed
            masks = np.ones((self.reader.env.num_envs, layout.flat_size), dtype=bool)
        if masks is None or self.reader.source == "observation":  # then they are seen already
            return seen
        parts = seen if isinstance(seen, Mapping) else {OBSERVATION: seen}
        return {**parts, MASK_KEY: layout.by_parts(masks)}

    def __del__(self) -> None:
        """Leaves the environment open: the view goes, not what it shows."""


def _lend(env: VecEnv, expected: Callable[[], bool]) -> VecEnv:
    """Returns a view of an environment that shows the masks beside the observations.

    It is of the class of the environment and has its attributes, not copies of them. To copy the
    statistics of ``VecNormalize``, Stable-Baselines3 walks through the wrappers of the environment
    of learning and of this one side by side; one more around this would be in its way.
    """
    parts = {"origin": env, "reader": MaskReader(env), "expected": staticmethod(expected)}
    kind = type("LentMasks", (_LentMasks, type(env)), parts)
    view = object.__new__(kind)
    view.__dict__ = env.__dict__  # pyright: ignore[reportAttributeAccessIssue]
    return view


def acting_infos(
    env: VecEnv,
    infos: Sequence[dict[str, Any]] | None = None,
    dones: np.ndarray | None = None,
) -> list[dict[str, Any]]:
    """Returns the infos of the states to act in: after ``env.reset()``, or after a step.

    Where an episode is over, ``infos`` speak of its last state; the state to act in is the first
    of the next episode, and its info is what the reset gave.

    Args:
        env: Environment that was reset or stepped, wrapped or not.
        infos: What the step gave; None after a reset.
        dones: What the step gave.
    """
    resets = env.unwrapped.reset_infos  # a wrapper has a list of its own, which nobody fills
    if infos is None or dones is None:
        return list(resets)
    return [reset if done else info for reset, info, done in zip(resets, infos, dones, strict=True)]


def lend_masks(
    callback: object, env: VecEnv | None, expected: Callable[[], bool] = lambda: False
) -> None:
    """Shows masks in the environment of each ``EvalCallback``, or no longer.

    Args:
        callback: A callback, or a list of some; those that it calls are looked at too.
        env: The environment of learning, whose wrappers Stable-Baselines3 expects around that of
            the callback; None takes the masks out again.
        expected: Whether the policy wants masks even where none is told: then all is allowed.
    """
    if isinstance(callback, EvalCallback):
        seen = callback.eval_env
        if env is None and isinstance(seen, _LentMasks):
            callback.eval_env = seen.origin
        elif env is not None and not isinstance(seen, _LentMasks):
            added = isinstance(seen, ObservedMasks) and not isinstance(env, ObservedMasks)
            callback.eval_env = _lend(seen.venv if added else seen, expected)  # pyright: ignore[reportAttributeAccessIssue]
    within = [getattr(callback, "callback", None), *getattr(callback, "callbacks", ())]
    for inner in callback if isinstance(callback, list) else within:
        if inner is not None:
            lend_masks(inner, env, expected)
