"""Returns of whole episodes, by Stable-Baselines3's ``evaluate_policy``, masks obeyed."""

from __future__ import annotations

import inspect
import math
from threading import Event
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv

from isinglass.agents.mask_reader import MaskReader
from isinglass.cli.act.agents import make_environments
from isinglass.cli.act.run import RandomBaseline, Request

__all__ = [
    "EVALUATING", "LEARNING", "MEASURING", "PARALLEL_EPISODES", "Stopped", "derive_seed",
    "episode_returns", "mean_and_error", "measure_random_baseline",
]  # fmt: skip

PARALLEL_EPISODES = 16  # of an evaluation, at most
LEARNING, EVALUATING, MEASURING = 1, 2, 3  # what random streams are for


class Stopped(Exception):
    """Ends an evaluation when the user has asked for an end."""


class _Actor:
    """Acts for ``evaluate_policy``, which knows no masks and no end before the last episode.

    Args:
        agent: Who acts; None is uniformly random, among what is allowed.
        env: Where.
        stop: Whether to end early.
    """

    def __init__(self, agent: BaseAlgorithm | None, env: DummyVecEnv, stop: Event) -> None:
        self.agent, self.env, self.stop = agent, env, stop
        self.reader, self.has_stepped = MaskReader(env), False
        signature = inspect.signature(agent.predict) if agent is not None else None
        self.takes_masks = signature is not None and "action_masks" in signature.parameters

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """Choose an action for each copy of the environment."""
        if self.stop.is_set():
            raise Stopped
        infos, dones = (
            (self.env.buf_infos, self.env.buf_dones) if self.has_stepped else (None, None)
        )
        self.has_stepped = True
        allowed = self.reader.read(observation, infos, dones)
        space, layout = self.env.action_space, self.reader.layout
        if self.agent is None and allowed is not None:
            return layout.draw_allowed(allowed, space.np_random), None
        if self.agent is None:
            return [space.sample() for _ in range(self.env.num_envs)], None
        masks: dict[str, Any] = {}
        if self.takes_masks and allowed is not None:
            one = len(layout.parts) == 1
            masks["action_masks"] = allowed if one else layout.by_parts(allowed)
        return self.agent.predict(observation, state, episode_start, deterministic, **masks)


def episode_returns(
    agent: BaseAlgorithm | None, env: DummyVecEnv, episodes: int, greedy: bool, stop: Event
) -> np.ndarray:
    """Plays episodes, each copy of the environment its share, and returns what they earned.

    Args:
        agent: Who acts; None is uniformly random, among what is allowed.
        env: Copies of a ``Monitor``.
        episodes: How many.
        greedy: Whether actions are the best or drawn.
        stop: Whether to end early.

    Raises:
        Stopped: If ``stop`` is set before the last episode is over.
    """
    actor: Any = _Actor(agent, env, stop)
    returns, _ = evaluate_policy(
        actor, env, episodes, deterministic=greedy, return_episode_rewards=True
    )
    return np.array(returns)


def measure_random_baseline(request: Request) -> RandomBaseline:
    """Measures what uniformly random actions earn, among those allowed where there are masks."""
    env = make_environments(request, min(request.episodes, PARALLEL_EPISODES), capped=True)
    seed = derive_seed(request.seed, 0, MEASURING)
    env.seed(seed)
    env.action_space.seed(seed)
    returns = episode_returns(None, env, request.episodes, False, Event())
    reader = MaskReader(env)
    reader.read(env.reset())
    env.close()
    return RandomBaseline(*mean_and_error(returns), reader.source)


def mean_and_error(returns: np.ndarray) -> tuple[float, float]:
    """Returns the mean and its standard error, NaN for a single episode."""
    count = len(returns)
    error = float(returns.std(ddof=1)) / math.sqrt(count) if count > 1 else math.nan
    return float(returns.mean()), error


def derive_seed(seed: int, steps: int, purpose: int) -> int:
    """Derives one seed for each purpose and number of steps taken."""
    return int(np.random.SeedSequence((seed, steps, purpose)).generate_state(1)[0])
