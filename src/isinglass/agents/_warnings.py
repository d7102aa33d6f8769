"""What will not be learned, or at what price, said before steps are spent on it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import Env, spaces
from gymnasium.wrappers import TimeLimit
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize, unwrap_vec_wrapper
from torch import Tensor

from isinglass.agents.actions.action_masks import MaskLayout

if TYPE_CHECKING:
    from isinglass.agents.free_energy_q import FreeEnergyQ

__all__ = ["LearningWarning", "warn_of_few_steps", "warn_of_first_look", "warn_of_spaces"]

MOST_CHOICES = 2**20
FORBIDDING = -1e5  # rewards that people give to what may not be done
FAR_APART = 1e3
PACKAGE = str(Path(__file__).parents[1])


class LearningWarning(UserWarning):
    """An agent will not learn what it should, or at a high price; the message says what helps."""


def warn_of_spaces(env: Any, policy_kwargs: Mapping[str, Any] | None) -> None:
    """Warns of actions that are too many for one list, and of features that drown others."""
    actions, seen = env.action_space, env.observation_space
    if (most := max(MaskLayout.of(actions).parts, default=0)) > MOST_CHOICES:
        _warn(
            f"{most:,} choices in one list, each with weights of its own for every feature. Write "
            "an action as parts, such as the digits of its number: MultiDiscrete or MultiBinary"
        )
    given = policy_kwargs or {}
    normalized = isinstance(env, VecEnv) and unwrap_vec_wrapper(env, VecNormalize)
    if normalized or "features_extractor_class" in given:
        return
    images = given.get("normalize_images", True)
    parts = seen.spaces.values() if isinstance(seen, spaces.Dict) else [seen]
    ranges = [
        np.stack([part.low.ravel(), part.high.ravel()]).astype(float)
        for part in parts
        if isinstance(part, spaces.Box) and not is_image_space(part, normalized_image=not images)
    ]
    if not ranges:
        return
    low, high = np.concatenate(ranges, -1)
    bounded = (low > -1e30) & (high < 1e30) & (high > low)  # CartPole's speeds have 3.4e38
    if not bounded.any():
        return
    largest = np.maximum(abs(low), abs(high))[bounded].max()
    narrowest = (high - low)[bounded].min()
    if largest >= FAR_APART * narrowest:
        _warn(
            f"observations up to {largest:g}, one of them within a range of {narrowest:g}: the "
            "network will hardly see it change. Give policy_kwargs={'features_extractor_class': "
            "CenteredExtractor}, or gymnasium.wrappers.RescaleObservation(env, -1, 1)"
        )


def warn_of_few_steps(agent: FreeEnergyQ, steps: int, reset: bool) -> None:
    """Warns of a training that is over before learning starts."""
    end = steps + (0 if reset else agent.num_timesteps)
    if steps > 0 and end <= agent.learning_starts:
        _warn(
            f"learning_starts = {agent.learning_starts} in a training of {end} steps: nothing will "
            "be learned. Give more steps, or a lower learning_starts"
        )


def warn_of_first_look(agent: FreeEnergyQ, rewards: Tensor) -> None:
    """Warns of what the first steps show: forbidding rewards, and episodes without an end."""
    found = rewards.flatten()
    low, rest = found[found <= FORBIDDING], found[found > FORBIDDING]
    least = float(low.max()) if len(low) else 0.0
    usual = float(rest.abs().max()) if len(rest) else 0.0
    if 0 < usual * FAR_APART < -least:  # where all others are 0, it may be their unit
        _warn(
            f"rewards of {least:g} beside others within ±{usual:g}: "
            "the temperature and the scale of the values follow them, and what is left looks all "
            "alike. Forbid actions by a mask (info['action_mask']), or give a penalty like the "
            "other rewards"
        )
    buffer: Any = agent.replay_buffer
    over = [np.any(getattr(buffer, name, True)) for name in ("dones", "timeouts")]
    if agent.gamma == 1 and not any(over) and not _has_time_limit(agent.env):
        _warn(
            f"gamma = 1, no time limit, and no end of an episode in {agent.num_timesteps} steps: "
            "values may grow without bound. Give gamma=0.99, or the environment in "
            "gymnasium.wrappers.TimeLimit"
        )


def _has_time_limit(env: VecEnv | None) -> bool:
    if env is None or not isinstance(base := env.unwrapped, DummyVecEnv):
        return True  # it cannot be looked at
    return any(_limited(one) for one in base.envs)


def _limited(env: Env) -> bool:
    return is_wrapped(env, TimeLimit) or bool(env.spec and env.spec.max_episode_steps)


def _warn(message: str) -> None:
    """Warns at the line of the user's that made the agent, or let it learn."""
    frame, level = sys._getframe(), 1
    while frame is not None and _is_ours(frame.f_code.co_filename):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, LearningWarning, stacklevel=level)


def _is_ours(file: str) -> bool:
    """Whether a file is of isinglass, or of a library that calls it back, as SB3 does."""
    return file.startswith((PACKAGE, "<")) or "site-packages" in file or "dist-packages" in file
