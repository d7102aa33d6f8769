"""Calls of agents, their parts and environments, with arguments that do."""

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces

from isinglass import agents
from isinglass.envs import Assignment, Blockers, LargeAction, Parity, TicTacToe, Trap
from isinglass.errors import IsinglassError
from tests.agents.small import QUICK, SMALL, small_agent
from tests.fuzz.harness import Call

#: What Stable-Baselines3 refuses an observation with.
CONVENTION = (IsinglassError, ValueError)


def _agent(kind: Any) -> Any:
    def built(**settings: Any) -> Any:
        made = kind(
            "MlpPolicy",
            LargeAction(**SMALL),
            **(QUICK if kind is agents.FreeEnergyQ else {"device": "cpu"}) | settings,
        )
        return made.policy.state_dict()

    return built


def _masked(agent: Any) -> Any:
    def asked(**given: Any) -> Any:
        return agent.predict(np.zeros(4), **given)[0]

    return asked


def _constrained(agent: Any) -> Any:
    def asked(observation: Any, constraint: Any, deterministic: Any) -> Any:
        return agent.predict(observation, None, None, deterministic, constraint=constraint)[0]

    return asked


def _seen_by_name() -> Any:
    space = spaces.Dict({"bits": spaces.MultiBinary(2), "place": spaces.Box(-1.0, 1.0, (2,))})
    env = gym.Env()
    env.observation_space, env.action_space = space, spaces.Discrete(3)
    env.reset = lambda *, seed=None, options=None: (space.sample(), {})
    agent = agents.FreeEnergyQ("MultiInputPolicy", env, **QUICK)
    return lambda **parts: agent.predict(parts)[0]


def _learned(**settings: Any) -> Any:
    """Learns for some steps by settings that are looked at only then."""
    return _trained(agents.FreeEnergyQ, settings).policy.state_dict()


def _learned_sarsa(**settings: Any) -> Any:
    return _trained(agents.FreeEnergySarsa, settings).policy.state_dict()


def _trained(kind: Any, settings: dict[str, Any]) -> Any:
    given = QUICK | {"learning_starts": 8} if kind is agents.FreeEnergyQ else {"device": "cpu"}
    return kind("MlpPolicy", LargeAction(**SMALL), **given | settings).learn(20)


def _later(agent: Any) -> list[Call]:
    """Calls of agents that are made already, and of what they are made of when they learn."""
    number = Schedule()
    return [
        Call("FreeEnergyQ.set_env", lambda env: agent.set_env(env), {"env": LargeAction(**SMALL)}),
        Call("FreeEnergyQ.learn, after", _learned,
             {"learning_rate": number, "loss": torch.nn.functional.smooth_l1_loss}, CONVENTION),
        Call(
            "FreeEnergyQ.learn, after", _learned,
            {"learning_rate": 0.01, "tau": 0.5, "gamma": 0.9, "n_steps": 2, "train_freq": 2,
             "gradient_steps": 1, "annealing_fraction": 0.5, "temperature": 0.5,
             "max_grad_norm": 1.0}, CONVENTION,
        ),
        Call("FreeEnergyQ.learn, after", _learned,
             {"initial_temperature": 1.0, "final_temperature": 0.5}, CONVENTION),
        Call("FreeEnergyQ.learn, after", _learned,
             {"replay_buffer_kwargs": {}, "optimize_memory_usage": False, "stats_window_size": 3,
              "replay_buffer_class": None, "tensorboard_log": None}, CONVENTION),
        Call("FreeEnergyQ.learn, after", _learned,
             {"energy": agents.RBMEnergy(2), "backup": agents.MunchausenBackup()}, CONVENTION),
        Call(
            "FreeEnergySarsa.learn", _learned_sarsa,
            {"learning_rate": 0.01, "gamma": 0.9, "annealing_fraction": 0.5, "max_grad_norm": 9.0,
             "learning_starts": 4, "initial_temperature": 1.0, "final_temperature": 0.5},
            CONVENTION,
        ),
        Call("FreeEnergySarsa", agents.FreeEnergySarsa,
             {"policy": "MlpPolicy", "env": LargeAction(**SMALL), "energy": agents.RBMEnergy(2),
              "policy_kwargs": {"net_arch": [2]}, "device": "cpu"}, CONVENTION),
        Call("FreeEnergyQ.predict, of names", _seen_by_name(),
             {"bits": np.ones(2, np.int8), "place": np.zeros(2, np.float32)}, CONVENTION),
        Call("FreeEnergyQ.predict, constrained", _constrained(agent),
             {"observation": np.zeros((2, 4)), "constraint": _few, "deterministic": True},
             CONVENTION),
    ]  # fmt: skip


class Schedule:
    """A learning rate that falls."""

    def __call__(self, progress: float) -> float:
        """Returns the rate for this share of the training."""
        return 0.01 * progress


def _few(actions: np.ndarray) -> np.ndarray:
    return actions.sum(-1) < 7


def calls() -> list[Call]:
    """Returns constructors of agents, energies, backups and environments, and predictions."""
    agent = small_agent()
    settings = {
        "learning_rate": 0.005, "buffer_size": 100, "learning_starts": 5, "batch_size": 4,
        "tau": 1.0,
        "gamma": 0.9, "train_freq": 1, "gradient_steps": 1,
        "max_grad_norm": 10.0, "initial_temperature": 1.0, "final_temperature": 0.1,
        "annealing_fraction": 0.5, "seed": 0, "device": "cpu", "verbose": 0, "loss": "mse",
        "n_steps": 1, "temperature": 0.3,
    }  # fmt: skip
    built = _agent(agents.FreeEnergyQ)
    sarsa = _agent(agents.FreeEnergySarsa)
    mask = np.ones(16, bool)
    return [
        *_later(small_agent()),
        *(
            Call("FreeEnergyQ", built, dict([item]), CONVENTION)
            for item in settings.items()
        ),
        Call(
            "FreeEnergySarsa", sarsa,
            {"learning_rate": 0.01, "initial_temperature": 1.0, "final_temperature": 0.1,
             "seed": 0}, CONVENTION,
        ),
        Call(
            "FreeEnergyQ", agents.FreeEnergyQ,
            {"policy": "MlpPolicy", "device": "cpu", "env": LargeAction(**SMALL),
             "energy": agents.MixtureEnergy(3), "backup": agents.SoftBackup()}, CONVENTION,
        ),
        Call("FreeEnergyQ", built, {"policy_kwargs": {"net_arch": [4]}}, CONVENTION),
        *[
            Call(
                "FreeEnergyQ.predict",
                lambda observation, deterministic: agent.predict(observation,
                deterministic=deterministic)[0],
                {"observation": np.zeros((2, 4)), "deterministic": True}, CONVENTION,
            ),
            Call("FreeEnergyQ.predict, masked", _masked(agent), {"action_masks": mask}, CONVENTION),
            Call(
                "FreeEnergyQ.predict, fixed", _masked(agent),
                {"fixed": np.array([1.0, *[np.nan] * 7])}, CONVENTION,
            ),
        ] * 3,
        Call("MixtureEnergy", agents.MixtureEnergy, {"memories": 3, "state_fields": True}),
        Call("ProductOfMixtures", agents.ProductOfMixtures, {"groups": 2, "memories": 3}),
        Call(
            "RBMEnergy", agents.RBMEnergy,
            {"hidden": 3, "expected": False, "annealing": agents.Annealing()},
        ),
        Call("DBMEnergy", agents.DBMEnergy, {"hidden": 3, "top": 2}),
        Call("PairwiseEnergy", agents.PairwiseEnergy, {"annealing": agents.Annealing()}),
        Call("SoftBackup", agents.SoftBackup, {"mellowmax": True}),
        Call("MunchausenBackup", agents.MunchausenBackup, {"alpha": 0.9, "floor": -1.0}),
        Call("LargeAction", LargeAction, {"state_bits": 3, "action_bits": 4, "keys": 2}),
        Call("Parity", Parity, {"blocks": 2, "block_bits": 3}),
        Call("Trap", Trap, {"blocks": 2, "block_bits": 3}),
        Call("Assignment", Assignment, {"n": 3}),
        Call("Blockers", Blockers, {"rows": 4, "columns": 4}),
        Call("TicTacToe", TicTacToe, {"opponent": "random", "seat": "random", "shuffle": True}),
    ]  # fmt: skip
