"""The command builds the agent that a line of Python builds."""

from typing import Any

import pytest
from stable_baselines3.common.vec_env import DummyVecEnv

from isinglass.agents import DoubleBackup, FreeEnergyQ, NoveltyBackup
from isinglass.cli.act.agents import build_agent, own_agent
from isinglass.cli.act.run import Request
from isinglass.envs import make_env


def asked(env: str, **settings: str) -> Request:
    return Request(env, {}, 2_000, 1_000, 5, "auto", settings, [], 0, 1, "cpu", 1)


def built(request: Request) -> Any:
    return build_agent(own_agent(request), request, DummyVecEnv([lambda: make_env(request.env)]))


@pytest.mark.parametrize(
    "name", ["FrozenLake-v1", "CartPole-v1", "Pendulum-v1", "isinglass/LargeAction-v0"]
)
def test_without_settings_it_is_the_agent_without_settings(name):
    ours, plain = built(asked(name)), FreeEnergyQ("MlpPolicy", name, seed=0, device="cpu")
    for setting in (
        "energy", "backup", "learning_rate", "gamma", "tau", "batch_size", "learning_starts",
        "annealing_fraction", "initial_temperature", "_looks_left", "_paces_itself",
        "_explores_itself",
    ):  # fmt: skip
        assert getattr(ours, setting) == getattr(plain, setting), setting


def test_a_backup_is_named():
    assert built(asked("FrozenLake-v1", backup="novelty")).backup == NoveltyBackup()
    assert built(asked("FrozenLake-v1", backup="double")).backup == DoubleBackup()
