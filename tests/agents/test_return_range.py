"""No value leaves the range of returns that the transitions met allow."""

import math

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

from isinglass.agents import (
    DoubleBackup,
    FreeEnergyQ,
    NoveltyBackup,
    RetraceBackup,
    SoftBackup,
)
from isinglass.agents.offline.behavior_backup import BehaviorBackup
from isinglass.agents.return_range import NOTHING_MET, kept_within, widened
from tests.seeds import seeded


def a_world(generator, states=6, actions=3, end=0.2):
    """Rewards, chances of next states and of an end, all at random."""
    rewards = torch.randn(states, actions, generator=generator, dtype=torch.double)
    nexts = torch.rand(states, actions, states, generator=generator, dtype=torch.double)
    ends = torch.rand(states, actions, generator=generator) < end
    return rewards, nexts / nexts.sum(-1, keepdim=True), ends


@pytest.mark.parametrize("temperature", [0.0, 0.1, 10.0])
def test_the_values_of_the_best_policy_are_within(temperature):
    for shift in range(5):
        generator = seeded(shift)
        rewards, nexts, ends = a_world(generator)
        discounts = 0.9 * (~ends).double()
        values = torch.zeros(6, dtype=torch.double)
        for _ in range(500):
            scores = rewards + discounts * (nexts @ values)
            values = scores.max(-1).values
            if temperature:
                mean = torch.logsumexp(scores / temperature, -1) - math.log(3)
                values = temperature * mean
        low, high = widened(NOTHING_MET, rewards.flatten(), discounts.flatten())
        assert low - 1e-9 <= scores.min()
        assert scores.max() <= high + 1e-9


def test_it_is_the_smallest_range():
    """A state that can be stayed in for ever has the value at its end."""
    reward, discount = torch.tensor([2.0]), torch.tensor([0.5])
    value = torch.tensor([0.0])
    for _ in range(60):
        value = kept_within(widened(NOTHING_MET, reward, discount), reward + discount * value)
    assert value.item() == 4.0


@pytest.mark.parametrize(
    ("rewards", "discounts", "expected"),
    [
        ([0.0, -1.0], [1.0, 0.0], (-1.0, 0.0)),  # to stay for ever is worth 0
        ([-1.0, 10.0], [1.0, 0.0], (-math.inf, 10.0)),
        ([1.0, -10.0], [1.0, 0.0], (-10.0, math.inf)),
        ([3.0, -2.0], [0.0, 0.0], (-2.0, 3.0)),
    ],
)
def test_without_discounting_the_signs_of_rewards_tell(rewards, discounts, expected):
    assert widened(NOTHING_MET, torch.tensor(rewards), torch.tensor(discounts)) == expected


def test_an_end_of_which_nothing_is_known_is_open():
    """Below zero for ever, and no end met: nothing says how good an end would be."""
    known = widened(NOTHING_MET, torch.tensor([-1.0]), torch.tensor([1.0]))
    assert kept_within(known, torch.tensor([-30.0, 5.0])).tolist() == [-30.0, 5.0]


def test_a_range_only_widens():
    known = widened(NOTHING_MET, torch.tensor([5.0]), torch.tensor([0.0]))
    assert widened(known, torch.tensor([1.0]), torch.tensor([0.0])) == (1.0, 5.0)


def test_which_backups_are_bounded():
    bounded = SoftBackup(mellowmax=True), DoubleBackup(), BehaviorBackup()
    assert all(backup.bounded for backup in bounded)
    others = SoftBackup(), NoveltyBackup(), RetraceBackup()
    assert not any(backup.bounded for backup in others)


@pytest.mark.parametrize("backup", [SoftBackup(mellowmax=True), SoftBackup()], ids=["mean", "sum"])
def test_an_agent_does_not_believe_in_more_than_can_be(backup):
    """CartPole pays 1 a step: no more than 1/(1 − γ) = 100, whatever the network says."""
    agent = FreeEnergyQ("MlpPolicy", "CartPole-v1", backup=backup, seed=0, device="cpu").learn(200)
    with torch.no_grad():
        agent.q_net_target.head.offset += 1e6
    targets = agent._targets(agent._sample_transitions(512))
    assert targets.isfinite().all()
    if backup.bounded:
        assert targets.min() >= 1
        assert targets.max() <= 100 * (1 + 1e-5)
    else:
        assert targets.max() > 1e4


def test_what_was_met_is_saved(tmp_path):
    agent = FreeEnergyQ("MlpPolicy", "CartPole-v1", seed=0, device="cpu").learn(200)
    agent.save(tmp_path / "agent")
    loaded = FreeEnergyQ.load(tmp_path / "agent", device="cpu")
    assert tuple(loaded._returns) == agent._returns == pytest.approx((1, 100))


def test_values_do_not_jump_to_what_the_first_rewards_allow():
    """The best of the first rewards, for ever, is −700: an agent that starts at −7 is not told so.

    It goes there by itself, r + γV, and meets better rewards by the way.
    """

    class Low(gym.Env):
        observation_space, action_space = spaces.Box(-1, 1, (2,)), spaces.Box(-1, 1, (1,))

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return np.zeros(2, dtype=np.float32), {}

        def step(self, action):
            return np.zeros(2, dtype=np.float32), -7.0, False, False, {}

    agent = FreeEnergyQ("MlpPolicy", Low(), seed=0, device="cpu").learn(104)
    targets = agent._targets(agent._sample_transitions(256))
    assert targets.min() > -7 * (1 + 2 * 8)  # eight gradient steps, each with its target
    assert agent._returns == pytest.approx((-700, -7), rel=1e-4)
