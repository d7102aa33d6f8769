"""A small agent and a small environment for the tests."""

import math

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from isinglass.agents import FreeEnergyQ
from isinglass.envs import LargeAction

SMALL = {"state_bits": 4, "action_bits": 8, "keys": 3}
QUICK = {"device": "cpu", "learning_starts": 20, "batch_size": 32}


def small_agent(seed=0, **kwargs):
    return FreeEnergyQ("MlpPolicy", LargeAction(**SMALL), seed=seed, **QUICK | kwargs)


class Speeds(gym.Env):
    """Real observations and rewards, far from standard; ``spoil`` puts a NaN somewhere."""

    observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float32)
    action_space = spaces.MultiBinary(2)

    def __init__(self, spoil=None, value=math.nan):
        self.spoil, self.value, self.time = spoil, value, 0

    def seen(self, where):
        bad = where is not None and self.spoil == where
        return np.array([50, self.value if bad else 60 + self.time % 7, 70], np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.seen("reset"), {}

    def step(self, action):
        self.time += 1
        over = self.time % 5 == 0
        late = self.time > 10
        reward = self.value if late and self.spoil == "reward" else 100.0 + self.time % 3
        seen = self.seen(("last" if over else "middle") if late else None)
        return seen, reward, over, False, {}


class Shown(gym.ObservationWrapper):
    """The bits of a state as a picture, or under a name in a dictionary."""

    def __init__(self, env, picture):
        super().__init__(env)
        box = spaces.Box(0, 255, (36, 36, 1), np.uint8)
        self.picture = picture
        self.observation_space = box if picture else spaces.Dict({"bits": env.observation_space})

    def observation(self, observation):
        if not self.picture:
            return {"bits": observation}
        return np.kron(observation.reshape(2, 2), np.full((18, 18), 255)).astype(np.uint8)[
            ..., None
        ]
