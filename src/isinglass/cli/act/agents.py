"""The agents of a run: our own, and the peers that support the environment's spaces."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

import gymnasium as gym
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
    MaskedEnv,
    MixtureEnergy,
    NoveltyBackup,
    PairwiseEnergy,
    ProductOfMixtures,
    RBMEnergy,
    SoftBackup,
)
from isinglass.agents._arguments import check_reset
from isinglass.agents._faults import check_agent_file
from isinglass.agents.actions.action_structure import stored_space
from isinglass.agents.extractors.plain_extractors import SMALLEST_PICTURE
from isinglass.agents.mask_reader import MaskReader
from isinglass.agents.sarsa import OF_REPLAY
from isinglass.cli._wording import lacks_memory
from isinglass.cli.act.run import Request
from isinglass.envs import make_env
from isinglass.errors import FileError, IsinglassError, ParameterError

__all__ = [
    "RULES",
    "algorithm_class",
    "build_agent",
    "choose_peers",
    "hyper_parameters",
    "make_environments",
    "own_agent",
    "parse_settings",
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
    "novelty": NoveltyBackup(),
}  # fmt: skip


def make_environments(
    request: Request, count: int, name: str = "", *, capped: bool = False
) -> DummyVecEnv:
    """Makes copies of the environment, as an agent of this name needs them.

    Args:
        request: What was asked for.
        count: How many.
        name: The agent's.
        capped: Whether to cut episodes after 10,000 steps, as evaluations do.

    Raises:
        UnknownEnvironmentError: If there is no such environment.
        ParameterError: If it does not take its settings.
    """

    def make_one() -> gym.Env[Any, Any]:
        try:
            env = make_env(request.env, **parse_settings(request.env_settings))
        except TypeError as error:
            unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
            raise ParameterError(
                f"no setting {unknown[1]!r}" if unknown else f"it refuses its settings: {error}",
                "Look at what it takes, and mend --env-set", operation=f"making {request.env}",
            ) from error  # fmt: skip
        check_reset(env)
        if name == "MaskablePPO":
            env = MaskedEnv(env)
        return Monitor(gym.wrappers.TimeLimit(env, LONGEST_EPISODE) if capped else env)

    return DummyVecEnv([make_one] * count)


def own_agent(request: Request) -> str:
    """Returns the name of isinglass's own agent, that of its class."""
    return RULES[request.rule].__name__


def algorithm_class(name: str) -> type[BaseAlgorithm]:
    """Returns the class of an agent by its name."""
    if name == "MaskablePPO":
        from sb3_contrib import MaskablePPO  # pyright: ignore[reportMissingImports]

        return MaskablePPO
    return {"PPO": PPO, "DQN": DQN, "SAC": SAC, **{kind.__name__: kind for kind in RULES.values()}}[
        name
    ]


def choose_peers(env: VecEnv, wanted: str) -> list[str]:
    """Chooses the peers that support the spaces, or those of them that are asked for.

    Args:
        env: The environment; it is reset.
        wanted: ``auto``, ``none``, or names with commas between.

    Raises:
        ParameterError: If a peer is not known or does not support the spaces.
    """
    theirs = stored_space(env.action_space) is env.action_space  # not nested, not shaped
    supported = ["PPO"] if theirs else []
    if isinstance(env.action_space, spaces.Discrete):
        supported.append("DQN")
    if isinstance(env.action_space, spaces.Box):
        supported.append("SAC")
    reader = MaskReader(env)
    masks, parts = reader.read(env.reset()), reader.layout.parts
    flat = masks is not None and (len(parts) == 1 or not reader.layout.is_joint(masks))
    if theirs and flat and importlib.util.find_spec("sb3_contrib"):
        supported.append("MaskablePPO")
    if wanted == "auto":
        return supported
    names = {name.lower(): name for name in supported}
    asked = [] if wanted == "none" else [name.strip().lower() for name in wanted.split(",")]
    if unknown := [name for name in asked if name not in names]:
        raise ParameterError(
            f"{unknown[0]!r} is no peer for actions {env.action_space}",
            f"Give none, auto or some of {','.join(names)}" if names else "Give none or auto",
            operation=f"--peers {wanted}",
        )  # fmt: skip
    return [names[name] for name in dict.fromkeys(asked)]


def build_agent(name: str, request: Request, env: VecEnv) -> BaseAlgorithm:
    """Builds an agent without experience, or our own with the weights of ``request.start``.

    Raises:
        ParameterError: If a setting is not known or not taken, or the start is of other spaces.
        FileError: If the start cannot be read.
    """
    seen = env.observation_space
    image = is_image_space(seen) and sorted(seen.shape or ())[1] >= SMALLEST_PICTURE  # for a CNN
    policy = "CnnPolicy" if image else "MlpPolicy"
    if isinstance(seen, spaces.Dict):
        policy = "MultiInputPolicy"
    common: dict[str, Any] = {
        "policy": policy, "env": env, "seed": request.seed, "device": request.device,
    }  # fmt: skip
    if name != own_agent(request):
        return algorithm_class(name)(**common)
    try:
        agent = RULES[request.rule](**common, **hyper_parameters(request, only_given=True))
    except IsinglassError as error:
        found, remedy = _in_options(error.found), _in_options(error.remedy)
        named = error.operation.startswith("isinglass act")
        raise type(error)(found, remedy, error.operation if named else "isinglass act") from error
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        if lacks_memory(error):
            raise
        raise ParameterError(
            f"the agent refuses a value: {error}",
            "Mend it, or leave it out",
            operation="isinglass act --set",
        ) from error
    if request.envs > 1 and cast(TrainFreq, agent.train_freq).unit is TrainFrequencyUnit.EPISODE:
        raise ParameterError(
            f"episodes, of {request.envs} copies at a time",
            "Give a number of steps, or leave --envs at 1",
            operation="isinglass act --set train_freq",
        )  # fmt: skip
    if request.start is not None:
        _take_weights(agent, Path(request.start))
    return agent


def _in_options(message: str) -> str:
    """Write names of options for those of the classes of energies."""
    for name, kind in ENERGIES.items():
        if isinstance(kind, type):
            message = re.sub(rf"\b{kind.__name__}\b(\(\))?", f"--energy {name}", message)
    return message


def hyper_parameters(request: Request, *, only_given: bool = False) -> dict[str, Any]:
    """Lists those of our own agent; a setting is of the agent, the energy or its annealing.

    Raises:
        ParameterError: If a name is not known or a value is refused.
    """
    given = parse_settings(request.settings)
    automatic = request.energy == "auto" and not given.keys() & _defaults(MixtureEnergy).keys()
    energy = ENERGIES["mixture" if request.energy == "auto" else request.energy]
    defaults = _defaults(FreeEnergyQ) | _defaults(RULES[request.rule])
    if request.rule == "sarsa":
        defaults = {name: value for name, value in defaults.items() if name not in REPLAYED}
    shape = {} if automatic else _defaults(energy)
    shape.pop("expected", None)
    annealing = _defaults(Annealing) if shape.pop("annealing", None) else {}
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
    if "backup" in arguments:
        arguments["backup"] = _backup(arguments["backup"])
    if not automatic:
        arguments["energy"] = energy(**chosen)
    return arguments if only_given else defaults | arguments


def _backup(name: Any) -> Backup:
    """Returns the backup of this name."""
    if name not in BACKUPS:
        raise ParameterError(
            f"backup = {name!r}",
            f"Choose among {', '.join(BACKUPS)}",
            operation="isinglass act --set",
        )
    return BACKUPS[name]


def _defaults(kind: Callable[..., object]) -> dict[str, Any]:
    """Return the arguments that may be set, with their defaults."""
    parameters = inspect.signature(kind).parameters.values()
    return {p.name: p.default for p in parameters if p.name not in NOT_SET}


def parse_settings(settings: dict[str, str]) -> dict[str, Any]:
    """Reads what was typed as literals; what is none is text."""
    values: dict[str, Any] = {}
    for name, text in settings.items():
        word = text.capitalize()
        try:
            value = ast.literal_eval(word if word in {"True", "False", "None"} else text)
        except (SyntaxError, ValueError):
            value = text
        typed_as_count = isinstance(value, float) and value.is_integer() and "." not in text
        values[name] = int(value) if typed_as_count else value  # 1e4
    return values


def _take_weights(agent: FreeEnergyQ, path: Path) -> None:
    """Load the weights of another run; what else it had is left behind."""
    try:
        other = type(agent).load(path, device=agent.device)
    except Exception as error:  # torch, zipfile, json and SB3 each have their own
        if lacks_memory(error):
            raise
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
