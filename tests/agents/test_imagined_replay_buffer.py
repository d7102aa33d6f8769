"""Imagined transitions: they follow what was met, only that, and learn the same task."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import DQN

from isinglass.agents import FreeEnergyQ, ImaginedReplayBuffer
from isinglass.agents.actions.action_structure import ActionStructure
from isinglass.errors import ParameterError
from isinglass.units import Categorical
from isinglass.world import WorldColumns, WorldEnergy
from tests.seeds import SEED


def filled(imagined: float = 1.0, count: int = 3_000) -> ImaginedReplayBuffer:
    """A ring of four states: action 1 goes on with probability 3/4, action 0 stays; 3, 0 unmet."""
    buffer = ImaginedReplayBuffer(
        5_000, spaces.Discrete(4), spaces.Discrete(2), "cpu", imagined=imagined
    )
    random = np.random.default_rng(0)
    for _ in range(count):
        state, action = int(random.integers(4)), int(random.integers(2))
        if (state, action) == (3, 0):
            continue
        after = (state + action * int(random.random() < 0.75)) % 4
        parts = (np.array([x]) for x in (state, after, action, float(after), after == 0))
        buffer.add(*parts, [{}])
    buffer.seed(0)
    return buffer


def test_imagined_outcomes_have_the_chances_of_the_world():
    buffer = filled()
    batch = buffer.sample(40_000)
    state, action = batch.observations.flatten(), batch.actions.flatten()
    after = batch.next_observations.flatten()
    assert not bool(((state == 3) & (action == 0)).any())
    for s in range(4):
        mine = (state == s) & (action == 1)
        share = float((after[mine] == (s + 1) % 4).double().mean())
        known = buffer.world.conditional(state=[s], action=[1]).probs("next_state")
        # κ mixes in what others did; 5σ of the draws are 5·√(¼/5000).
        assert abs(share - float(known[0, (s + 1) % 4])) < 0.05
        rewards = batch.rewards.flatten()[mine]
        torch.testing.assert_close(rewards, after[mine].to(rewards), atol=0.05, rtol=0)


def test_only_a_share_is_imagined():
    buffer = filled(imagined=0.0)
    plain = buffer.sample(100)
    buffer.seed(0)
    buffer.imagined = 0.25
    mixed = buffer.sample(100)
    assert torch.equal(plain.actions[25:], mixed.actions[25:])
    assert not torch.equal(plain.actions[:25], mixed.actions[:25])
    assert torch.equal(plain.observations, mixed.observations)


@pytest.mark.parametrize("kind", [FreeEnergyQ, DQN])
def test_agents_learn_with_it(kind):
    env = gym.make("FrozenLake-v1", is_slippery=False)
    agent = kind(
        "MlpPolicy", env, replay_buffer_class=ImaginedReplayBuffer, learning_starts=50,
        replay_buffer_kwargs={"imagined": 0.5}, seed=0, device="cpu",
    ).learn(300)  # fmt: skip
    assert agent.replay_buffer.size() == 300
    assert len(agent.replay_buffer.world) >= 200


def test_real_actions_are_imagined_in_the_unit_of_the_environment():
    buffer = ImaginedReplayBuffer(
        500, spaces.Box(-9, 9, (1,)), spaces.Box(-1, 3, (1,)), "cpu", imagined=1.0
    )
    random = np.random.default_rng(0)
    for _ in range(300):
        state, scaled = random.uniform(-2, 2, 1), random.uniform(-1, 1, 1)
        action = 1 + 2 * scaled  # from −1 to 3
        after = np.float32([state + 0.1 * action])
        buffer.add(np.float32([state]), after, np.float32([scaled]), action, np.array([0]), [{}])
    batch = buffer.sample(200)
    moved = batch.observations + 0.1 * (1 + 2 * batch.actions)
    torch.testing.assert_close(batch.next_observations, moved.float(), atol=0.02, rtol=0)
    torch.testing.assert_close(batch.rewards, (1 + 2 * batch.actions).float(), atol=0.1, rtol=0)


@pytest.mark.usefixtures("plain_annotations")
def test_what_does_not_go_together_is_refused():
    kinds = 50, spaces.Discrete(3), spaces.Discrete(2), "cpu"
    with pytest.raises(ParameterError, match="imagined"):
        ImaginedReplayBuffer(*kinds, imagined=2)
    with pytest.raises(ParameterError, match="n_steps = 3"):
        ImaginedReplayBuffer(*kinds, n_steps=3)
    with pytest.raises(ParameterError, match="sequence_length = 2"):
        ImaginedReplayBuffer(*kinds, sequence_length=2)
    with pytest.raises(ParameterError, match="world = 3"):
        ImaginedReplayBuffer(*kinds, world=3)
    with pytest.raises(ParameterError, match="a world with state of choices"):
        ImaginedReplayBuffer(
            *kinds, world=WorldEnergy(WorldColumns(Categorical(9), Categorical(2)))
        )
    buffer = ImaginedReplayBuffer(*kinds)
    with pytest.raises(ParameterError, match="no transition stored"):
        buffer.sample(3)
    step = (np.array([x]) for x in (0, 1, 1, 0.0, 0))
    with pytest.raises(ParameterError, match="action masks with imagined"):
        buffer.add(*step, [{"action_mask": np.array([True, False])}])


@pytest.mark.parametrize("actions", [spaces.MultiBinary((1, 2)), spaces.Box(0, 4, (2, 1))])
def test_actions_of_several_dimensions(actions):
    """Imagined ones are rows like those stored; the reward is what an action adds up to."""
    real = isinstance(actions, spaces.Box)
    sight = spaces.Box(0, 1, (1,)) if real else spaces.Discrete(2)
    buffer = ImaginedReplayBuffer(300, sight, actions, "cpu", imagined=1.0)
    structure = ActionStructure.of(actions)
    actions.seed(SEED)
    for _ in range(250):
        action, seen = actions.sample()[None], np.zeros((1, 1))
        reward = np.array([float(action.sum())])
        buffer.add(seen, seen, structure.store(action), reward, np.array([False]), [{}])
    batch = buffer.sample(20)
    taken = structure.restore(batch.actions.numpy()).reshape(20, -1).sum(-1)
    np.testing.assert_allclose(batch.rewards[:, 0], taken, atol=0.5)
