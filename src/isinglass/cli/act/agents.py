"""The agents of a run: ours and the peers that support the environment's spaces."""

from __future__ import annotations

import ast
import importlib.util
import inspect
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.type_aliases import TrainFreq, TrainFrequencyUnit
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from isinglass.agents import (
    ActionEnergy,
    Annealing,
    Backup,
    DBMEnergy,
    DoubleBackup,
    FreeEnergyQ,
    FreeEnergySarsa,
    MixtureEnergy,
    PairwiseEnergy,
    ProductOfMixtures,
    RBMEnergy,
    SoftBackup,
)
from isinglass.agents._faults import check_agent_file
from isinglass.agents.sarsa import OF_REPLAY
from isinglass.cli.act.run import Request
from isinglass.envs import make_env
from isinglass.errors import FileError, IsinglassError, ParameterError

__all__ = [
    "RULES",
    "build",
    "environments",
    "hyper_parameters",
    "kind_of",
    "ours",
    "peers_of",
    "values_of",
]

RULES: dict[str, type[FreeEnergyQ]] = {"q": FreeEnergyQ, "sarsa": FreeEnergySarsa}
#: An evaluation cuts an episode short that an agent keeps going without end.
LONGEST_EPISODE = 10_000
#: Arguments of the agent that are no hyper-parameters, or are set by options of their own.
NOT_SET = {
    "self", "policy", "env", "energy", "replay_buffer_class", "tensorboard_log", "verbose", "seed",
    "device", "_init_setup_model", "kwargs",
}  # fmt: skip
REPLAYED = {*OF_REPLAY, "buffer_size", "optimize_memory_usage"}  # of no use to SARSA
ENERGIES: dict[str, Callable[..., ActionEnergy]] = {
    "mixture": MixtureEnergy,
    "groups": ProductOfMixtures,
    "rbm": RBMEnergy,
    "pairs": PairwiseEnergy,
    "deep": DBMEnergy,
    "expected": partial(RBMEnergy, expected=True),
}
BACKUPS: dict[str, Backup] = {
    "soft": SoftBackup(), "mellowmax": SoftBackup(mellowmax=True), "double": DoubleBackup(),
}  # fmt: skip


class Masked(gym.Wrapper):
    """Says what is allowed as sb3-contrib asks for it, by a method, not only in ``info``."""

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Reset, and keep the mask."""
        observation, info = self.env.reset(**kwargs)
        self._mask = info["action_mask"]
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step, and keep the mask."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._mask = info["action_mask"]
        return observation, reward, terminated, truncated, info

    def action_masks(self) -> np.ndarray:
        """The mask of the state that was observed last."""
        return self._mask


def environments(request: Request, count: int, name: str = "", *, capped: bool = False) -> VecEnv:
    """So many copies of the environment, as an agent of this name wants them.

    Raises:
        UnknownEnvironmentError: If there is no such environment.
        ParameterError: If it does not take its settings.
    """

    def one() -> gym.Env[Any, Any]:
        try:
            env = make_env(request.env, **values_of(request.env_settings))
        except TypeError as error:
            raise ParameterError(
                f"{error}",
                "Look at what it takes, and mend --env-set",
                operation=f"making {request.env}",
            ) from error
        if name == "MaskablePPO":
            env = Masked(env)
        return Monitor(gym.wrappers.TimeLimit(env, LONGEST_EPISODE) if capped else env)

    return DummyVecEnv([one] * count)


def ours(request: Request) -> str:
    """The name of our agent: that of its class."""
    return RULES[request.rule].__name__


def kind_of(name: str) -> type[BaseAlgorithm]:
    """The class of an agent."""
    if name == "MaskablePPO":
        from sb3_contrib import MaskablePPO  # pyright: ignore[reportMissingImports]

        return MaskablePPO
    return {"PPO": PPO, "DQN": DQN, "SAC": SAC, **{kind.__name__: kind for kind in RULES.values()}}[
        name
    ]


def peers_of(env: VecEnv, wanted: str) -> list[str]:
    """The peers that support the spaces, or those of them that are asked for.

    Args:
        env: The environment, reset.
        wanted: ``auto``, ``none``, or names with commas between.

    Raises:
        ParameterError: If a peer is not known or does not support the spaces.
    """
    supported = ["PPO"]
    if isinstance(env.action_space, spaces.Discrete):
        supported.append("DQN")
    if isinstance(env.action_space, spaces.Box):
        supported.append("SAC")
    mask = env.reset_infos[0].get("action_mask")
    if mask is not None and np.ndim(mask) == 1 and importlib.util.find_spec("sb3_contrib"):
        supported.append("MaskablePPO")
    if wanted == "auto":
        return supported
    names = {name.lower(): name for name in supported}
    asked = [] if wanted == "none" else [name.strip().lower() for name in wanted.split(",")]
    if unknown := [name for name in asked if name not in names]:
        raise ParameterError(
            f"{unknown[0]!r} is no peer for actions {env.action_space}",
            f"Give none, auto or some of {','.join(names)}", operation=f"--peers {wanted}",
        )  # fmt: skip
    return [names[name] for name in dict.fromkeys(asked)]


def build(name: str, request: Request, env: VecEnv) -> BaseAlgorithm:
    """An agent that has learnt nothing yet, or ours with the weights of ``request.start``.

    Raises:
        ParameterError: If a setting is not known or not taken, or the start is of other spaces.
        FileError: If the start cannot be read.
    """
    image = is_image_space(env.observation_space)
    policy = "CnnPolicy" if image else "MlpPolicy"
    if isinstance(env.observation_space, spaces.Dict):
        policy = "MultiInputPolicy"
    common: dict[str, Any] = {
        "policy": policy, "env": env, "seed": request.seed, "device": request.device,
    }  # fmt: skip
    if name != ours(request):
        return kind_of(name)(**common)
    try:
        agent = RULES[request.rule](**common, **hyper_parameters(request, only_given=True))
    except IsinglassError:
        raise
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise ParameterError(
            f"the agent refuses a value: {error}",
            "Mend it, or leave it out",
            operation="isinglass act --set",
        ) from error
    if request.envs > 1 and cast(TrainFreq, agent.train_freq).unit is TrainFrequencyUnit.EPISODE:
        raise ParameterError(
            f"episodes, of {request.envs} copies at a time",
            "Give a number of steps, or leave --envs at 1", operation="isinglass act --set train_freq",
        )  # fmt: skip
    if request.start is not None:
        _take_weights(agent, Path(request.start))
    return agent


def hyper_parameters(request: Request, *, only_given: bool = False) -> dict[str, Any]:
    """Those of our agent, as arguments; a setting is of the agent, the energy or its annealing.

    Raises:
        ParameterError: If a name is not known or a value is refused.
    """
    energy = ENERGIES[request.energy]
    defaults = _defaults(FreeEnergyQ) | {"backup": "soft"} | _defaults(RULES[request.rule])
    if request.rule == "sarsa":
        defaults = {name: value for name, value in defaults.items() if name not in REPLAYED}
    shape = {name: value for name, value in _defaults(energy).items() if name != "expected"}
    annealing = _defaults(Annealing) if shape.pop("annealing", None) else {}
    given = values_of(request.settings)
    if request.rule == "sarsa" and (unused := given.keys() & REPLAYED):
        raise ParameterError(
            f"{min(unused)}, where nothing is replayed or backed up",
            "Leave it out, or learn with --rule q", operation="isinglass act --rule sarsa",
        )  # fmt: skip
    if unknown := given.keys() - defaults.keys() - shape.keys() - annealing.keys():
        raise ParameterError(
            f"no hyper-parameter {min(unknown)!r}",
            f"There are {', '.join(shape | annealing | defaults)}", operation="isinglass act --set",
        )  # fmt: skip
    chosen = {name: given[name] for name in given.keys() & shape.keys()}
    if annealing:
        chosen["annealing"] = Annealing(**{n: given[n] for n in given.keys() & annealing.keys()})
    arguments = {name: value for name, value in given.items() if name in defaults}
    backup = arguments.get("backup", "soft")
    if backup not in BACKUPS:
        raise ParameterError(
            f"backup = {backup!r}",
            f"Choose among {', '.join(BACKUPS)}",
            operation="isinglass act --set",
        )
    if "backup" in defaults:
        arguments["backup"] = BACKUPS[backup]
    arguments["energy"] = energy(**chosen)
    return arguments if only_given else defaults | arguments


def _defaults(kind: Callable[..., object]) -> dict[str, Any]:
    """Arguments that may be set, with their defaults."""
    parameters = inspect.signature(kind).parameters.values()
    return {p.name: p.default for p in parameters if p.name not in NOT_SET}


def values_of(settings: dict[str, str]) -> dict[str, Any]:
    """What was typed, as Python literals; what is none is text."""
    values: dict[str, Any] = {}
    for name, text in settings.items():
        word = text.capitalize()
        try:
            values[name] = ast.literal_eval(word if word in {"True", "False", "None"} else text)
        except (SyntaxError, ValueError):
            values[name] = text
    return values


def _take_weights(agent: FreeEnergyQ, path: Path) -> None:
    """The weights of another run; what else it had is left behind."""
    try:
        other = type(agent).load(path, device=agent.device)
    except Exception as error:  # torch, zipfile, json and SB3 each have their own
        remedy = "Give a run's folder, or a checkpoint or best.zip in it"
        for rule, kind in RULES.items():
            with suppress(FileError):
                check_agent_file(kind.__name__, path, kind.__name__)
                if kind is not type(agent):
                    remedy = f"Give --rule {rule} too, and --energy and --set as then"
        raise FileError(
            f"no agent that can be read ({error})", remedy, operation=f"starting from {path}"
        ) from error
    theirs, own = (
        f"observations {a.observation_space} and actions {a.action_space}" for a in (other, agent)
    )
    if theirs != own:
        raise ParameterError(
            f"an agent of {theirs}; this environment has {own}",
            "Give a run of an environment with the same spaces", operation=f"starting from {path}",
        )  # fmt: skip
    try:
        agent.policy.load_state_dict(other.policy.state_dict())
    except RuntimeError as error:
        raise ParameterError(
            "an agent with another energy or other sizes of network",
            "Give the same --rule, --energy and --set as then", operation=f"starting from {path}",
        ) from error  # fmt: skip
