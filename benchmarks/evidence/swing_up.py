"""A pole that hangs from a cart and is to be swung up by pushing the cart, as in PILCO.

Deisenroth & Rasmussen 2011, "PILCO: a model-based and data-efficient approach to policy search":
cart and pole of 0.5 kg each, a pole of 0.6 m, friction 0.1 N s/m, pushes of at most 10 N for 0.1 s
each, episodes of 4 s from rest, and 1 − exp(−d²/2·0.25²) the cost of a tip d away from its goal,
upright over the middle. Rails have no end.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from isinglass.world import Prediction

__all__ = ["LENGTH", "PUSH", "STEPS", "SwingUp", "true_swing_up"]

MASS = 0.5  # kg, of the cart and of the pole
LENGTH = 0.6  # m
FRICTION, GRAVITY = 0.1, 9.82
PUSH = 10.0  # N
SECONDS, PARTS = 0.1, 10  # of a push; and in how many parts it is integrated
WIDTH = 0.25  # m, of the reward
STEPS = 40


def _moved(x: Any, speed: Any, angle: Any, turn: Any, push: Any, lib: Any) -> tuple[Any, ...]:
    """One push by the equations of motion, angle 0 where the pole hangs."""
    part = SECONDS / PARTS
    for _ in range(PARTS):
        sine, cosine = lib.sin(angle), lib.cos(angle)
        pull = push - FRICTION * speed
        swing = MASS * LENGTH * turn * turn * sine
        below = 8 * MASS - 3 * MASS * cosine * cosine
        faster = (2 * swing + 3 * MASS * GRAVITY * sine * cosine + 4 * pull) / below
        turning = -3 * swing * cosine - 12 * MASS * GRAVITY * sine - 6 * pull * cosine
        speed, turn = speed + part * faster, turn + part * turning / (LENGTH * below)
        x, angle = x + part * speed, angle + part * turn  # semi-implicit, which keeps the energy
    return x, speed, angle, turn


def _reward(x: Any, angle: Any, lib: Any) -> Any:
    """exp(−d²/2·0.25²), d from the tip to its goal."""
    aside = x + LENGTH * lib.sin(angle)
    below = LENGTH + LENGTH * lib.cos(angle)
    return lib.exp(-(aside * aside + below * below) / (2 * WIDTH * WIDTH))


class SwingUp(gym.Env[np.ndarray, np.ndarray]):
    """Observations are x, its speed, cos and sin of the angle, and its speed; actions newtons."""

    observation_space = spaces.Box(-np.inf, np.inf, (5,), np.float64)
    action_space = spaces.Box(-PUSH, PUSH, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Lets the pole hang, nearly at rest."""
        super().reset(seed=seed, options=options)
        self._state: tuple[float, ...] = tuple(self.np_random.normal(0, 0.05, 4))
        self._steps = 0
        return self._seen(), {}

    def step(self, action: np.ndarray) -> Any:
        """Pushes for 0.1 s."""
        push = float(np.clip(action[0], -PUSH, PUSH))
        x, speed, angle, turn = self._state
        x, _, angle, _ = self._state = _moved(x, speed, angle, turn, push, np)
        self._steps += 1
        return self._seen(), float(_reward(x, angle, np)), False, self._steps >= STEPS, {}

    def _seen(self) -> np.ndarray:
        x, speed, angle, turn = self._state
        return np.array([x, speed, np.cos(angle), np.sin(angle), turn])


def true_swing_up(state: Tensor, action: Tensor) -> Prediction:
    """Foretells by the equations of motion what a planner would have to learn."""
    x, speed, cosine, sine, turn = state.unbind(1)
    angle = torch.atan2(sine, cosine)
    x, speed, angle, turn = _moved(x, speed, angle, turn, action[:, 0].clamp(-PUSH, PUSH), torch)
    after = torch.stack([x, speed, angle.cos(), angle.sin(), turn], -1)
    zeros = torch.zeros_like(x)
    return Prediction(after, _reward(x, angle, torch), zeros, zeros)
