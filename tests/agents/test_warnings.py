"""What an agent says before steps are spent on it: each on a small case where it does not work."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from isinglass.agents import CenteredExtractor, FreeEnergyQ, LearningWarning
from isinglass.envs import LargeAction
from tests.agents.small import QUICK, SMALL, small_agent


class Tell(gym.Env):
    """Which of two it is stands in one number, beside another; an episode is one step."""

    action_space = spaces.Discrete(2)

    def __init__(self, least=0.0, other=1.0, penalty=None, ends=True):
        low, high = np.float32([least, -other]), np.float32([least + 1, other])
        self.observation_space = spaces.Box(low, high)
        self.least, self.other, self.penalty, self.ends = least, other, penalty, ends
        if penalty is not None:
            self.action_space = spaces.Discrete(3)

    def seen(self):
        self.which = int(self.np_random.integers(2))
        noise = self.np_random.uniform(-self.other, self.other)
        return np.array([self.least + self.which, noise], np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.seen(), {}

    def step(self, action):
        reward = float(action == self.which) if action < 2 else self.penalty
        return self.seen(), reward, self.ends, False, {}


def right(agent, env):
    """The share of the drawn actions that are right."""
    seen, which = [], []
    for seed in range(200):
        seen.append(env.reset(seed=seed)[0])
        which.append(env.which)
    return float((agent.predict(np.stack(seen))[0] == np.array(which)).mean())


def learned(env, steps=800, **settings):
    return FreeEnergyQ("MlpPolicy", env, seed=0, device="cpu", **settings).learn(steps)


@pytest.mark.parametrize(
    ("trait", "settings", "said"),
    [
        ({"least": 1e5}, {}, "hardly see it change"),
        ({"penalty": -1e6}, {}, "Forbid actions by a mask"),
        ({"ends": False}, {"gamma": 1.0}, "Give gamma=0.99"),
    ],
)
def test_what_will_not_work_is_told_at_once(trait, settings, said):
    with pytest.warns(LearningWarning, match=said):
        learned(Tell(**trait), 101, **settings)


@pytest.mark.slow
@pytest.mark.parametrize("far", [{"least": 1e5}, {"other": 1e4}])
def test_numbers_that_drown_others(far):
    env = Tell(**far)
    with pytest.warns(LearningWarning, match="the network will hardly see it change"):
        blind = learned(env)
    seeing = learned(env, policy_kwargs={"features_extractor_class": CenteredExtractor})
    assert right(blind, env) < 0.7 < 0.95 < right(seeing, env)
    with pytest.warns(LearningWarning) as told:
        FreeEnergyQ("MlpPolicy", env, device="cpu")
    assert told[0].filename == __file__
    normalized = VecNormalize(DummyVecEnv([lambda: Tell(**far)]))
    FreeEnergyQ("MlpPolicy", normalized, device="cpu")  # which is told nothing


@pytest.mark.slow
def test_rewards_that_forbid():
    env = Tell(penalty=-1e6)
    with pytest.warns(LearningWarning, match="Forbid actions by a mask"):
        drowned = learned(env)
    assert right(drowned, env) < 0.75 < 0.9 < right(learned(Tell(penalty=-1.0)), env)
    large = gym.wrappers.TransformReward(Tell(), lambda reward: 1e7 * (reward - 1))
    learned(large, 150)  # all are, which is a unit


@pytest.mark.slow
def test_values_that_grow_without_bound():
    env = Tell(ends=False)
    with pytest.warns(LearningWarning, match="Give gamma=0.99, or the environment in"):
        agent = learned(env, 400, gamma=1.0)
    seen = agent.policy.obs_to_tensor(env.reset(seed=0)[0])[0]
    before = agent.policy.distribution(seen).value().item()
    agent.learn(1_200, reset_num_timesteps=False)
    assert agent.policy.distribution(seen).value().item() > before + 10
    for bounded in (gym.wrappers.TimeLimit(env, 1_000), Tell()):
        learned(bounded, 150, gamma=1.0)
    learned(env, 150)


def test_a_training_that_is_over_before_learning_starts():
    agent = small_agent(learning_starts=32)
    with pytest.warns(LearningWarning, match="learning_starts = 32 in a training of 32 steps"):
        agent.learn(32)
    assert agent._n_updates == 0
    agent.learn(10, reset_num_timesteps=False)
    assert agent._n_updates > 0
    agent.learn(0)


def test_more_choices_than_a_list_should_have():
    """Sixteen times the weights of the same actions as bits, and more by the number of choices."""
    made = {}
    for name, actions in (("list", spaces.Discrete(2**20 + 1)), ("bits", spaces.MultiBinary(21))):
        env = LargeAction(**SMALL)
        env.action_space = actions
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            agent = FreeEnergyQ("MlpPolicy", env, policy_kwargs={"net_arch": [1]}, **QUICK)
        made[name] = sum(weight.numel() for weight in agent.policy.parameters())
        kinds = [one.category for one in told if "choices in one list" in str(one.message)]
        assert kinds == ([LearningWarning] if name == "list" else [])
    assert made["list"] > 2**21 > 1_000 * made["bits"]


CLASSICS = [
    "CartPole-v1", "Acrobot-v1", "Pendulum-v1", "FrozenLake-v1", "Taxi-v4", "CliffWalking-v1",
    "MountainCar-v0",
]  # fmt: skip


@pytest.mark.parametrize("name", CLASSICS)
def test_nothing_is_said_of_the_classics(name):
    if name == "Taxi-v4":
        pytest.importorskip("gymnasium.envs.toy_text.taxi")
    FreeEnergyQ("MlpPolicy", gym.make(name), seed=0, device="cpu").learn(110)
