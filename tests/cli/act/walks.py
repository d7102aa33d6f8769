"""Small environments, copied beside each run and named there as ``walks:Walk``."""

import os
import signal
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
from gymnasium import spaces


class Walk(gym.Env):
    """Ten cells; bits push to the right; drawn pushes, so that every random stream counts."""

    observation_space = spaces.Box(0, 10, (1,), np.float32)
    action_space = spaces.MultiBinary(3)

    def __init__(self, pause=0.0, interrupt=0, spoil=0):
        self.pause, self.interrupt, self.spoil, self.time = pause, interrupt, spoil, 0

    def seen(self):
        return np.array([self.cell], np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.cell, self.age = 0, 0
        return self.seen(), {}

    def push(self, action):
        return int(action.sum()) - self.np_random.integers(2)

    def step(self, action):
        self.time += 1
        self.age += 1
        time.sleep(self.pause)
        if self.time == self.interrupt and not Path("interrupted").exists():
            Path("interrupted").touch()
            os.kill(os.getpid(), signal.SIGINT)
        self.cell = int(np.clip(self.cell + self.push(action), 0, 10))
        reward = float("nan") if self.time == self.spoil else self.cell / 10
        return self.seen(), reward, self.cell == 10, self.age == 20, {}


class Steer(Walk):
    """Whether to push, and how hard."""

    action_space = spaces.Tuple([spaces.Discrete(2), spaces.Dict(by=spaces.Box(0, 2, (1,)))])

    def push(self, action):
        return round(float(action[0] * action[1]["by"][0]))


class Pick(Walk):
    """One of three pushes."""

    action_space = spaces.Discrete(3)


class Guarded(Walk):
    """The action to take next is written on the mask; any other is an error."""

    action_space = spaces.Discrete(3)

    def info(self):
        mask = np.zeros(3, bool)
        mask[int(self.cell) % 3] = True
        return {"action_mask": mask}

    def reset(self, **kwargs):
        return super().reset(**kwargs)[0], self.info()

    def push(self, action):
        assert action == self.cell % 3
        return 1

    def step(self, action):
        return *super().step(action)[:4], self.info()


class Observed(Guarded):
    """The same, told in the observation."""

    observation_space = spaces.Dict(
        {
            "cell": Walk.observation_space,
            "action_mask": spaces.MultiBinary(3),
        }
    )

    def seen(self):
        mask = Guarded.info(self)["action_mask"].astype(np.int8)
        return {"cell": super().seen(), "action_mask": mask}

    def info(self):
        return {}


class Asked(Guarded):
    """The same, told if asked for."""

    def action_masks(self):
        return Guarded.info(self)["action_mask"]

    def info(self):
        return {}


class Unseeded(Walk):
    def reset(self):
        return super().reset()


class Bare(Walk):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0]


class Tiny(Walk):
    """Seen as a picture."""

    observation_space = spaces.Box(0, 255, (20, 20, 3), np.uint8)

    def seen(self):
        return np.full((20, 20, 3), 20 * self.cell, np.uint8)
