"""The historical agent: Sallans and Hinton's rule, recomputed by hand in numpy."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

from isinglass.agents import FreeEnergyQ, FreeEnergySarsa, MixtureEnergy, RBMEnergy
from isinglass.envs import LargeAction
from isinglass.errors import ParameterError
from tests.agents.small import SMALL, Guarded
from tests.seeds import SEED

RATE, GAMMA, T = 0.05, 0.9, 0.7


class Walk(gym.Env):
    """Recorded steps of a state of three bits; episodes terminate and are cut short in turns."""

    observation_space = spaces.MultiBinary(3)
    action_space = spaces.MultiBinary(2)

    def __init__(self):
        self.steps, self.episode = [], 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time, self.episode = 0, self.episode + 1
        self.state = self.np_random.integers(0, 2, 3, dtype=np.int8)
        return self.state, {}

    def step(self, action):
        before, self.time = self.state, self.time + 1
        self.state = self.np_random.integers(0, 2, 3, dtype=np.int8)
        reward = float(action.sum() - before.sum())
        over, cut = self.time == 4, self.episode % 2 == 0
        self.steps.append((before, action, reward, self.state, over and not cut, over and cut))
        return self.state, reward, over and not cut, over and cut, {}


class Machine:
    """An RBM over state and action in float64: Q = −F less its value without weights."""

    def __init__(self, head):
        part = {name: x.detach().double().numpy().copy() for name, x in head.named_parameters()}
        self.state, self.action = part["hidden_bias.weight"], part["weight"]
        self.hidden, self.bias = part["hidden_bias.bias"], part["bias.bias"]

    def field(self, s, a):
        return self.state @ s + self.action @ a + self.hidden

    def value(self, s, a):
        s, a = 2.0 * s - 1, 2.0 * a - 1
        summed = T * np.log1p(np.exp(self.field(s, a) / T)).sum() - T * 6 * np.log(2)
        return summed + self.bias[0] + self.bias[1:] @ a

    def learn(self, s, a, error):
        """Every weight by the error times −∂F/∂weight: products of means of what it joins."""
        s, a = 2.0 * s - 1, 2.0 * a - 1
        h = 1 / (1 + np.exp(-self.field(s, a) / T))
        self.state += RATE * error * np.outer(h, s)
        self.action += RATE * error * np.outer(h, a)
        self.hidden += RATE * error * h
        self.bias += RATE * error * np.array([1.0, *a])


def test_the_rule_is_that_of_sallans_and_hinton():
    env = Walk()
    agent = FreeEnergySarsa(
        "MlpPolicy", env, RBMEnergy(6), RATE, T, T, gamma=GAMMA, seed=SEED, device="cpu"
    )
    machine = Machine(agent.policy.q_net.head)
    start = machine.state.copy()
    agent.learn(60)
    for now, following in zip(env.steps, env.steps[1:], strict=False):
        s, a, reward, after, terminated, cut = now
        if cut:
            continue  # nobody acted in the state it was cut at
        ahead = 0.0 if terminated else GAMMA * machine.value(after, following[1])
        machine.learn(s, a, reward + ahead - machine.value(s, a))
    found = Machine(agent.policy.q_net.head)
    for name in ("state", "action", "hidden", "bias"):
        np.testing.assert_allclose(getattr(found, name), getattr(machine, name), atol=2e-5)
    assert np.abs(found.state - start).max() > 0.05
    head = agent.policy.q_net.head
    assert (float(head.log_scale), float(head.offset), float(head.bias.weight.abs().max())) == (
        0,
    ) * 3


def test_one_step_of_the_optimizer_for_each_of_the_environment():
    agent = FreeEnergySarsa("MlpPolicy", LargeAction(**SMALL), seed=SEED, device="cpu").learn(30)
    assert agent._n_updates == 29


def test_masks_are_obeyed_and_other_energies_may_be_given():
    env = Guarded(spaces.MultiDiscrete([3, 4]))
    agent = FreeEnergySarsa(
        "MlpPolicy", env, MixtureEnergy(4, state_fields=True), seed=SEED, device="cpu"
    )
    before = [weight.clone() for weight in agent.policy.q_net.head.parameters()]
    agent.learn(100)
    moved = [
        name
        for (name, now), then in zip(
            agent.policy.q_net.head.named_parameters(), before, strict=True
        )
        if not torch.equal(now, then)
    ]
    assert set(moved) == {"fields", "keys.weight", "keys.bias", "bend.weight"}


@pytest.mark.parametrize(
    "name", ["batch_size", "gradient_steps", "n_steps", "replay_buffer_kwargs", "tau", "train_freq"]
)
def test_there_is_no_replay(name):
    with pytest.raises(ParameterError, match=f"{name} = 3, where nothing is replayed"):
        FreeEnergySarsa("MlpPolicy", LargeAction(**SMALL), **{name: 3})


def test_save_and_load(tmp_path):
    agent = FreeEnergySarsa("MlpPolicy", LargeAction(**SMALL), seed=SEED, device="cpu").learn(30)
    agent.save(tmp_path / "agent")
    loaded = FreeEnergySarsa.load(tmp_path / "agent", LargeAction(**SMALL), device="cpu")
    states = np.eye(4, dtype=np.int8)
    np.testing.assert_array_equal(loaded.predict(states)[0], agent.predict(states)[0])
    loaded.learn(10, reset_num_timesteps=False)
    assert loaded._n_updates == 38  # the buffer is empty at the start
    assert isinstance(loaded, FreeEnergyQ)


@pytest.mark.parametrize("agent", [FreeEnergyQ, FreeEnergySarsa])
@pytest.mark.parametrize("given", [{"gamma": 2}, {"initial_temperature": -1.0}, {"device": "none"}])
def test_errors_name_the_class_that_was_called(agent, given):
    with pytest.raises(ParameterError, match=rf"^{agent.__name__}: "):
        agent("MlpPolicy", LargeAction(**SMALL), **given)


def test_methods_name_the_class_that_was_called():
    agent = FreeEnergySarsa("MlpPolicy", LargeAction(**SMALL), device="cpu")
    with pytest.raises(ParameterError, match=r"^FreeEnergySarsa\.set_env: "):
        agent.set_env(LargeAction(**SMALL | {"action_bits": 3}))


@pytest.mark.parametrize("name", ["loss", "backup"])
def test_the_rule_is_not_for_choice(name):
    with pytest.raises(ParameterError, match=f"FreeEnergySarsa: {name} = 1"):
        FreeEnergySarsa("MlpPolicy", LargeAction(**SMALL), **{name: 1})
