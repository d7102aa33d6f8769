"""Runs in the swing-up: the planner that is told the truth, many true steps, SAC, random pushes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from torch import Tensor

from isinglass.agents import PlanningAgent
from isinglass.envs import SwingUp
from isinglass.world import PathPlanner, Prediction

__all__ = ["PUSH", "random_pushes", "swing_ceiling", "swing_sac", "swing_told", "true_swing_up"]

PUSH = 10.0  # N
TOLD = 1_000  # true steps that a world is told


def true_swing_up(state: Tensor, action: Tensor) -> Prediction:
    """Foretells by the equations of motion what a planner would have to learn."""
    env, seen = SwingUp(), state.double().numpy()
    angle = np.arctan2(seen[:, 3], seen[:, 2])
    after = env.after(np.stack([seen[:, 0], seen[:, 1], angle, seen[:, 4]], -1), action[:, 0])
    reward = torch.as_tensor(env.reward(after))
    zeros = torch.zeros_like(reward)
    return Prediction(torch.as_tensor(env.seen(after)), reward, zeros, zeros)


def swing_ceiling(seed: int, episodes: int) -> dict[str, Any]:
    """The planner with the true dynamics, on the same episodes."""
    agent = PlanningAgent("PlanningPolicy", SwingUp())
    push = torch.tensor([PUSH])
    planner = PathPlanner(agent.policy.world.columns, -push, push)
    generator = torch.Generator().manual_seed(seed)
    env, total = SwingUp(), 0.0
    state, _ = env.reset(seed=seed + 1_000)
    for _ in range(episodes):
        planner.reset()
        for _ in range(env.cap):
            action = planner.action(true_swing_up, torch.as_tensor(state), generator)
            state, reward, *_ = env.step(action.numpy())
            total += reward
        state, _ = env.reset()
    return {"return": total / episodes}


def swing_told(seed: int, episodes: int) -> dict[str, Any]:
    """The agent whose world holds true steps from states drawn all over, and no others."""
    env, random = SwingUp(), np.random.default_rng(seed)
    state = random.normal(0, np.array([0.5, 1.5, 1, 4]), (TOLD, 4))
    state[:, 2] = random.uniform(-np.pi, np.pi, TOLD)
    push = random.uniform(-PUSH, PUSH, (TOLD, 1))
    after = env.after(state, push[:, 0])
    agent = PlanningAgent("PlanningPolicy", env, seed=seed)
    world, none = agent.policy.world, np.zeros(TOLD)
    world.store(env.seen(state), push, env.reward(after), env.seen(after), none)
    agent.policy.look()
    return {"return": _greedy(agent, seed, episodes)}


def swing_sac(seed: int, episodes: int, steps: int) -> dict[str, Any]:
    """Stable-Baselines3's SAC by its defaults, after as many steps."""
    agent = SAC("MlpPolicy", SwingUp(), seed=seed, device="cpu").learn(steps)
    return {"return": _greedy(agent, seed, episodes)}


def random_pushes(seed: int, episodes: int) -> dict[str, Any]:
    """Uniformly random pushes."""
    env, random, total = SwingUp(), np.random.default_rng(seed), 0.0
    env.reset(seed=seed + 1_000)
    for _ in range(episodes):
        total += sum(env.step(random.uniform(-PUSH, PUSH, 1))[1] for _ in range(env.cap))
        env.reset()
    return {"return": total / episodes}


def _greedy(agent: Any, seed: int, episodes: int) -> float:
    env = Monitor(SwingUp())
    env.reset(seed=seed + 1_000)
    mean, _ = evaluate_policy(agent, env, n_eval_episodes=episodes, warn=False)
    return float(np.mean(mean))
