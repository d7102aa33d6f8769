"""FreeEnergyQ and its peers, each with settings of its own for each task, written out."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from sb3_contrib import MaskablePPO
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.env_util import make_vec_env

from benchmarks.evidence.act.board import AugmentedReplay, BoardFeatures
from benchmarks.evidence.act.tabular import TabularQ
from benchmarks.evidence.act_settings import OWN, Falling
from benchmarks.evidence.autoregressive import AutoregressivePolicy
from isinglass.agents import FreeEnergyQ

__all__ = ["AGENTS", "Agent", "Listed", "Player"]

Settings = dict[str, Any]
Make = Callable[..., gym.Env]


@dataclass
class Player:
    """An agent as the exams see it.

    Args:
        learner: Has ``learn`` and ``predict``.
        listed: Sizes of the parts of the action, if the agent chooses from a list of all actions.
        masked: Whether ``predict`` takes ``action_masks``.
        completes: Whether ``predict`` takes ``fixed``.
    """

    learner: Any
    listed: tuple[int, ...] | None = None
    masked: bool = False
    completes: bool = False

    def act(
        self, observations: Any, *, deterministic: bool, masks: np.ndarray | None = None
    ) -> np.ndarray:
        """Actions for a batch of observations; masks, if any, as the environment gives them."""
        extra = {}
        if self.masked and masks is not None:
            extra = {"action_masks": masks.reshape(len(masks), -1) if self.listed else masks}
        actions, _ = self.learner.predict(observations, deterministic=deterministic, **extra)
        if self.listed is None:
            return actions
        return np.stack(np.unravel_index(actions, self.listed), -1)

    def complete(self, observations: Any, fixed: np.ndarray) -> np.ndarray:
        """Actions of which the parts that are not NaN in ``fixed`` are given."""
        return self.learner.predict(observations, fixed=fixed)[0]


class Listed(gym.Wrapper):
    """All actions of a small product space in one list, and which of them are allowed now.

    Args:
        env: Of ``MultiDiscrete`` actions; ``info["action_mask"]``, if any, has one entry an action.
    """

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self.sizes = sizes_of(env.action_space)
        self.action_space = spaces.Discrete(int(np.prod(self.sizes)))
        self._allowed = np.ones(self.sizes, dtype=bool).ravel()

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        observation, info = self.env.reset(**kwargs)
        return observation, self._note(info)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take the action with this number."""
        parts = np.stack(np.unravel_index(action, self.sizes), -1)
        observation, reward, terminated, truncated, info = self.env.step(parts)
        return observation, reward, terminated, truncated, self._note(info)

    def action_masks(self) -> np.ndarray:
        """Which actions are allowed now, as MaskablePPO asks."""
        return self._allowed

    def _note(self, info: dict[str, Any]) -> dict[str, Any]:
        if "action_mask" in info:
            self._allowed = np.ravel(info["action_mask"]).astype(bool)
            if not self._allowed.any():  # an episode is over: nothing is asked any more
                self._allowed = np.ones_like(self._allowed)
        return info


def sizes_of(space: gym.Space) -> tuple[int, ...]:
    """Number of values of each part of a ``MultiDiscrete`` action."""
    return tuple(map(int, space.nvec))  # pyright: ignore[reportAttributeAccessIssue]


@dataclass(frozen=True)
class Agent:
    """One that learns.

    Args:
        title: What tables and pictures call it.
        build: Player from the maker of an environment, a seed and settings.
        settings: Its settings in each task; of those not named its library's defaults.
    """

    title: str
    build: Callable[[Make, int, Settings], Player]
    settings: dict[str, Settings]


def stable(
    kind: Callable[..., Any], make: Make, seed: int, settings: Settings, *,
    listed: bool = False, masked: bool = False, completes: bool = False, policy: Any = None,
) -> Player:  # fmt: skip
    """An agent of Stable-Baselines3, or of its kind, in ``n_envs`` environments."""
    rest = dict(settings)
    count = rest.pop("n_envs", 1)
    make = partial(make, **rest.pop("environment", {}))
    space = make().action_space
    listed = listed and not isinstance(space, spaces.Discrete)  # which is a list already
    environments = make_vec_env(make, count, seed=seed, wrapper_class=Listed if listed else None)
    if policy is None:
        dicts = isinstance(environments.observation_space, spaces.Dict)
        policy = "MultiInputPolicy" if dicts else "MlpPolicy"
    learner = kind(policy, environments, seed=seed, device="cpu", **rest)
    return Player(learner, sizes_of(space) if listed else None, masked, completes)


def tabular(make: Make, seed: int, settings: Settings) -> Player:
    """A table of the values of all actions in all states met."""
    rest = dict(settings)
    environment = Listed(make(**rest.pop("environment", {})))
    learner = TabularQ(environment, known_by, seed, **rest)
    return Player(learner, environment.sizes, masked=True)


def known_by(observation: Any) -> Hashable:
    """An observation as the key of a table; of a set of propositions the order is left out."""
    if isinstance(observation, dict):
        filled = observation["mask"].astype(bool)
        return frozenset(map(tuple, observation["propositions"][filled].tolist()))
    return np.asarray(observation).tobytes()


BOARD = {"features_extractor_class": BoardFeatures}
OPPONENTS: Settings = {"environment": OWN["tictactoe"]["environment"], "gamma": 1.0}
#: PPO's, chosen among a few on other instances (key_seed 101) where a task has others.
SHORT: Settings = {
    "n_envs": 16, "n_steps": 16, "batch_size": 64, "n_epochs": 10, "learning_rate": 3e-3,
    "ent_coef": 0.003,
}  # fmt: skip
TEAM: Settings = {
    "n_envs": 8, "n_steps": 128, "batch_size": 256, "n_epochs": 10, "learning_rate": 1e-3,
    "ent_coef": 0.01, "gamma": 0.95, "gae_lambda": 0.9,
}  # fmt: skip
PPO_SETTINGS: dict[str, Settings] = {
    "large-action": {
        "n_envs": 8, "n_steps": 64, "batch_size": 64, "n_epochs": 10, "learning_rate": 1e-3,
        "ent_coef": 0.01,
    },
    "parity": SHORT, "assignment6": SHORT, "assignment8": SHORT, "trap": SHORT,
    "blockers5x4": TEAM, "blockers4x7": TEAM,
    "tictactoe": TEAM | OPPONENTS | {"policy_kwargs": BOARD},
    # The next two are RL Baselines3 Zoo's (hyperparams/ppo.yml).
    "cartpole": {
        "n_envs": 8, "n_steps": 32, "batch_size": 256, "n_epochs": 20, "gae_lambda": 0.8,
        "gamma": 0.98, "learning_rate": Falling(1e-3), "clip_range": Falling(0.2),
    },
    "pendulum": {
        "n_envs": 4, "n_steps": 1024, "n_epochs": 10, "gae_lambda": 0.95, "gamma": 0.9,
        "learning_rate": 1e-3, "use_sde": True, "sde_sample_freq": 4,
    },
}  # fmt: skip
AUTOREGRESSIVE: dict[str, Settings] = {
    "large-action": PPO_SETTINGS["large-action"], "trap": SHORT,
    "assignment6": SHORT, "assignment8": SHORT,
    "parity": SHORT | {"learning_rate": 2e-3, "n_epochs": 8, "ent_coef": 0.03},
    "blockers5x4": TEAM, "blockers4x7": TEAM,
}  # fmt: skip
LISTED: Settings = {
    "learning_rate": 1e-3, "batch_size": 128, "learning_starts": 1_000, "train_freq": 4,
    "gradient_steps": 2, "target_update_interval": 500, "exploration_fraction": 0.3,
    "exploration_final_eps": 0.05, "policy_kwargs": {"net_arch": [128, 128]},
}  # fmt: skip
DQN_SETTINGS: dict[str, Settings] = {
    "blockers5x4": LISTED | {"gamma": 0.95}, "blockers4x7": LISTED | {"gamma": 0.95},
    "tictactoe": LISTED | OPPONENTS | {
        "policy_kwargs": BOARD | {"net_arch": [128, 128]}, "replay_buffer_class": AugmentedReplay,
    },
    "cartpole": {  # RL Baselines3 Zoo's (hyperparams/dqn.yml)
        "learning_rate": 2.3e-3, "batch_size": 64, "buffer_size": 100_000,
        "learning_starts": 1_000, "gamma": 0.99, "target_update_interval": 10, "train_freq": 256,
        "gradient_steps": 128, "exploration_fraction": 0.16, "exploration_final_eps": 0.04,
        "policy_kwargs": {"net_arch": [256, 256]},
    },
}  # fmt: skip
SAC_SETTINGS: dict[str, Settings] = {"pendulum": {"learning_rate": 1e-3}}  # Zoo's (sac.yml)
TABULAR: dict[str, Settings] = {
    "blockers5x4": {"gamma": 0.95}, "tictactoe": OPPONENTS,
}  # fmt: skip

AGENTS: dict[str, Agent] = {
    "ours": Agent("FreeEnergyQ", partial(stable, FreeEnergyQ, masked=True, completes=True), OWN),
    "ppo": Agent("PPO", partial(stable, PPO), PPO_SETTINGS),
    "autoregressive": Agent(
        "PPO, autoregressive", partial(stable, PPO, policy=AutoregressivePolicy), AUTOREGRESSIVE
    ),
    "maskable": Agent(
        "MaskablePPO", partial(stable, MaskablePPO, listed=True, masked=True),
        {"tictactoe": PPO_SETTINGS["tictactoe"]},
    ),
    "dqn": Agent("DQN", partial(stable, DQN, listed=True), DQN_SETTINGS),
    "sac": Agent("SAC", partial(stable, SAC), SAC_SETTINGS),
    "tabular": Agent("tabular Q", tabular, TABULAR),
}  # fmt: skip
