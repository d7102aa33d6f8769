"""Targets, made for several gradient steps at once, and the network that they come from."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from isinglass.agents import FreeEnergyQ
from tests.agents.small import QUICK, Speeds, TwoRooms, small_agent
from tests.seeds import SEED


def test_the_target_network_follows():
    policy = small_agent().policy
    start = [w.clone() for w in policy.q_net.parameters()]
    with torch.no_grad():
        for weight in policy.q_net.parameters():
            weight.add_(1.0)
    policy.update_target(0.25)
    for before, weight in zip(start, policy.q_net_target.parameters(), strict=True):
        assert torch.allclose(weight, before + 0.25)


def test_targets_of_several_steps_are_made_at_once():
    """The same transitions, and for each the target it has by itself."""
    agent = FreeEnergyQ("MlpPolicy", TwoRooms(), seed=SEED, gamma=0.5, **QUICK).learn(60)
    agent.replay_buffer.seed(SEED)
    minibatches = list(agent._minibatches(3, 8))
    agent.replay_buffer.seed(SEED)
    whole = agent._sample_transitions(24)
    assert len(minibatches) == 3
    targets = agent._targets(whole)
    assert targets.std() > 0.05
    for at, (observations, actions, wanted) in enumerate(minibatches):
        rows = slice(8 * at, 8 * at + 8)
        assert torch.equal(observations, whole.observations[rows])
        assert torch.equal(actions, whole.actions[rows])
        assert torch.equal(wanted, targets[rows])


@pytest.mark.parametrize(("steps", "moves"), [(1, [1]), (16, [16]), (37, [16, 16, 5])])
def test_the_target_network_moves_for_every_step(steps, moves, monkeypatch):
    agent = small_agent(tau=0.1).learn(20)
    given = []
    monkeypatch.setattr(agent.policy, "update_target", given.append)
    agent.train(steps, 8)
    assert given == pytest.approx([1 - 0.9**count for count in moves])


def test_few_targets_are_made_at_once_where_observations_are_large():
    agent = FreeEnergyQ("MlpPolicy", Wide(), seed=SEED, **QUICK)
    assert [agent._steps_together(batch) for batch in (1, 8, 32, 1_000)] == [16, 13, 3, 1]


class Wide(Speeds):
    """Ten thousand numbers to look at."""

    observation_space = spaces.Box(-1, 1, (10_000,), np.float32)
