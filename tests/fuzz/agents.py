"""Calls of agents, their parts and environments, with arguments that do."""

from typing import Any

import numpy as np

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
