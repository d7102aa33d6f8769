"""Small agents, policies and environments for the tests."""

import itertools
import math

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces

from isinglass import Annealing
from isinglass.agents import (
    DBMEnergy,
    FreeEnergyPolicy,
    FreeEnergyQ,
    MaskLayout,
    MixtureEnergy,
    PairwiseEnergy,
    ProductOfMixtures,
    RBMEnergy,
)
from isinglass.envs import LargeAction
from tests.seeds import shifted

SMALL = {"state_bits": 4, "action_bits": 8, "keys": 3}
QUICK = {"device": "cpu", "learning_starts": 20, "batch_size": 32}
SPACES = {
    "bits": spaces.MultiBinary(4),
    "parts": spaces.MultiDiscrete([2, 3, 2]),
    "alike": spaces.MultiDiscrete([3, 3]),
    "one": spaces.Discrete(5),
    "from -1": spaces.Discrete(4, start=-1),
    "from 1 and -2": spaces.MultiDiscrete([2, 3], start=[1, -2]),
}
#: Spaces beyond one array of one dimension: shaped, nested, discrete and real together.
STRUCTURED = {
    "shaped bits": spaces.MultiBinary((2, 3)),
    "shaped choices": spaces.MultiDiscrete([[2, 3], [2, 2]], start=[[0, 1], [-1, 0]]),
    "shaped box": spaces.Box(-2, 3, (2, 2), np.float32),
    "choices in a tuple": spaces.Tuple([spaces.Discrete(3, start=1), spaces.MultiBinary(2)]),
    "bits alone": spaces.Dict(b=spaces.MultiBinary(2), a=spaces.MultiBinary((1, 2))),
    "boxes alone": spaces.Dict(a=spaces.Box(-1, 1, (2,)), b=spaces.Box(0, 5, (1, 2))),
    "one box": spaces.Tuple([spaces.Box(0, 4, (2,))]),
    "hybrid": spaces.Dict(kind=spaces.Discrete(3), where=spaces.Box(-1, 1, (2,))),
    "nested": spaces.Dict(
        go=spaces.Tuple([spaces.Box(0, 2, (1,)), spaces.Discrete(2, start=-1)]),
        bits=spaces.MultiBinary(2),
        deep=spaces.Dict({"x": spaces.Dict({"y": spaces.MultiDiscrete([2, 3])})}),
    ),
}
CHAINS = Annealing(chains=8, levels=10)
ENERGIES = {
    "mixture": MixtureEnergy(5),
    "bent mixture": MixtureEnergy(5, state_fields=True),
    "mixture bent alike": MixtureEnergy(5, state_fields="shared"),
    "groups": ProductOfMixtures(2, 3, CHAINS),
    "restricted": RBMEnergy(6, annealing=CHAINS),
    "expected": RBMEnergy(6, expected=True, annealing=CHAINS),
    "deep": DBMEnergy(5, 3, CHAINS),
    "pairs": PairwiseEnergy(CHAINS),
}
SEEN = spaces.Box(-1, 1, (2,), np.float32)


def every_action(space):
    """All actions, the last part changing fastest, as arrays that the space contains."""
    parts = itertools.product(*map(range, MaskLayout.of(space).parts))
    start = getattr(space, "start", 0)
    return (np.array(list(parts)).reshape(-1, *(space.shape or ())) + start).astype(space.dtype)


def shaped_policy(space, energy, temperature=1.0, seed=5):
    """A policy with random weights, those of the target network too.

    They are the same in every set of seeds: how far the policy is from a uniform one, which tests
    must tell it from, is a property of the weights.
    """
    policy = FreeEnergyPolicy(
        SEEN, space, lambda _: 1e-3, energy, temperature=temperature, net_arch=[8]
    )
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in policy.parameters():
            weight.normal_(0, 0.5, generator=draw)
    return policy


class Guarded(gym.Env):
    """A new random mask at every step, and an error where it is not obeyed.

    Observed is the time within the episode; even ones terminate, odd ones are cut short.
    """

    observation_space = spaces.Box(0, 9, (1,), np.float32)

    def __init__(self, space, joint=False, length=4):
        self.action_space, self.layout = space, MaskLayout.of(space)
        self.joint, self.length, self.episode, self.time = joint, length, 0, 0

    def seen(self):
        rng, layout = self.np_random, self.layout
        shape = layout.parts if self.joint else (layout.flat_size,)
        self.mask = rng.random(shape) < 0.4
        allowed = self.action_space.sample() - getattr(self.action_space, "start", 0)
        self.mask[self.flags(allowed)] = True
        return np.array([self.time], np.float32), {"action_mask": self.mask}

    def flags(self, values):
        values = np.atleast_1d(values)
        if self.joint:
            return tuple(values)
        return np.cumsum((0, *self.layout.parts[:-1])) + values

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time, self.episode = 0, self.episode + 1
        return self.seen()

    def step(self, action):
        assert self.action_space.contains(action)
        values = action - getattr(self.action_space, "start", 0)
        if not np.all(self.mask[self.flags(values)]):
            raise RuntimeError("a forbidden action")
        self.time += 1
        over, even = self.time == self.length, self.episode % 2 == 0
        seen, info = self.seen()
        return seen, float(np.sum(values)), over and even, over and not even, info


def small_agent(seed=0, **kwargs):
    return FreeEnergyQ("MlpPolicy", LargeAction(**SMALL), seed=shifted(seed), **QUICK | kwargs)


class TwoRooms(gym.Env):
    """A room is one bit; the first action bit picks the next room, at a price now."""

    rewards = np.array([[0.0, 0.4, -0.5, -0.8], [1.0, 0.3, 0.6, 1.2]])  # [room, action]
    observation_space = spaces.MultiBinary(1)
    action_space = spaces.MultiBinary(2)

    def __init__(self, end="truncated", length=8):
        self.end, self.length = end, length

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time, self.room = 0, int(self.np_random.integers(2))
        return np.array([self.room], dtype=np.int8), {}

    def step(self, action):
        reward = self.rewards[self.room, 2 * int(action[0]) + int(action[1])]
        self.room = int(action[0])
        self.time += 1
        over = self.time == self.length
        ends = (over and self.end == "terminated"), (over and self.end == "truncated")
        return np.array([self.room], dtype=np.int8), float(reward), *ends, {}


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
