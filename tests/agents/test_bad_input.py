"""What FreeEnergyQ refuses, by name: arguments, environments, devices, numbers that are none."""

import math

import gymnasium as gym
import numpy as np
import pytest
import torch

from isinglass.agents import FreeEnergyQ, Mixture
from isinglass.envs import LargeAction
from isinglass.errors import DomainError, ParameterError
from tests.agents.small import QUICK, SMALL, Shown, Speeds, small_agent


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf, "0.5", None])
@pytest.mark.parametrize("name", ["tau", "gamma"])
@pytest.mark.usefixtures("plain_annotations")
def test_fractions(name, value):
    with pytest.raises(ParameterError, match=f"{name} = .*from 0 to 1"):
        small_agent(**{name: value})


def test_fractions_may_be_none_or_all():
    assert small_agent(tau=1, gamma=0).tau == 1.0


@pytest.mark.parametrize("value", [0, -3, 2.5])
@pytest.mark.usefixtures("plain_annotations")
def test_batches_of_nothing(value):
    with pytest.raises(ParameterError, match="batch_size"):
        small_agent(batch_size=value)


def test_a_rising_temperature():
    with pytest.raises(ParameterError, match=r"final_temperature = 2\.0 above .* = 1\.0"):
        small_agent(initial_temperature=1.0, final_temperature=2.0)


def test_a_temperature_among_the_arguments_of_the_policy():
    with pytest.raises(ParameterError, match=r"temperature = 7.*initial_temperature"):
        small_agent(policy_kwargs={"temperature": 7})
    with pytest.raises(ParameterError, match=r"energy = Mixture.*or energy, to the agent"):
        small_agent(policy_kwargs={"energy": Mixture(3)})
    agent = small_agent(policy_kwargs={"net_arch": [3]}, initial_temperature=4.0)
    assert agent.temperature == 4.0
    small_agent(policy_kwargs=agent.policy_kwargs)  # what one agent was given, another may be


def test_what_load_is_given_is_checked(tmp_path):
    small_agent(policy_kwargs={"net_arch": [3]}).save(tmp_path / "agent")
    with pytest.raises(ParameterError, match="gamma = 7"):
        FreeEnergyQ.load(tmp_path / "agent", device="cpu", gamma=7)
    FreeEnergyQ.load(tmp_path / "agent", device="cpu", policy_kwargs={"net_arch": [3]})


@pytest.mark.parametrize(
    "env",
    [None, 3, LargeAction, [LargeAction()], gym.Env()],
    ids=["None", "a number", "a class", "a list", "an abstract one"],
)
@pytest.mark.usefixtures("plain_annotations")
def test_what_is_no_environment(env):
    with pytest.raises(ParameterError, match=r"env = .*no environment|action space None"):
        FreeEnergyQ("MlpPolicy", env)


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "no such"])
def test_a_device_that_is_not_there(device):
    with pytest.raises(ParameterError, match=f"device = '{device}'.*'cpu'"):
        small_agent(device=device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(tmp_path):
    with pytest.raises(ParameterError, match="device = 'cuda'"):
        small_agent(device="cuda")
    agent = small_agent(device="auto")
    agent.save(tmp_path / "agent")
    with pytest.raises(ParameterError, match="device = 'cuda'"):
        FreeEnergyQ.load(tmp_path / "agent", device="cuda")


@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_predicting_from_what_is_not_finite(value, deterministic):
    agent = FreeEnergyQ("MlpPolicy", Speeds(), **QUICK)
    with pytest.raises(DomainError, match=r"1 of 3 values of the observation are NaN"):
        agent.predict(np.array([0, value, 1], np.float32), deterministic=deterministic)
    named = FreeEnergyQ("MultiInputPolicy", Shown(LargeAction(**SMALL), picture=False), **QUICK)
    with pytest.raises(DomainError, match=r"observation\['bits'\]"):
        named.predict({"bits": np.full(4, value)}, deterministic=deterministic)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("where", ["reset", "middle", "last", "reward"])
def test_learning_from_what_is_not_finite(where, value):
    """It is met in the warm-up, where actions are drawn without a look at the observation."""
    agent = FreeEnergyQ("MlpPolicy", Speeds(where, value), **QUICK)
    with pytest.raises(DomainError, match="observation" if where != "reward" else "the reward"):
        agent.learn(20)
    assert np.isfinite(agent.replay_buffer.observations).all()
    assert np.isfinite(agent.replay_buffer.next_observations).all()
    assert np.isfinite(agent.replay_buffer.rewards).all()


def test_weights_that_are_not_finite():
    agent = small_agent().learn(40)
    with torch.no_grad():
        agent.policy.q_net.head.keys.bias.fill_(math.nan)
    with pytest.raises(DomainError, match="weights"):
        agent.predict(np.zeros(4, np.int8))
    with pytest.raises(DomainError, match="a loss of nan"):
        agent.train(1, 32)
