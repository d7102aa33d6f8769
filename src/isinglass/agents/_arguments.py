"""What an agent is given: environments, devices and settings, checked."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import Parameter, signature
from os import PathLike
from typing import Any

import torch
from gymnasium import Env, spaces
from gymnasium.vector import VectorEnv
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import TrainFreq, TrainFrequencyUnit
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv
from torch.nn.functional import huber_loss, mse_loss

from isinglass._support.functions import check_takes
from isinglass._support.validation import (
    check_at_least_zero,
    check_count,
    check_flag,
    check_fraction,
    check_positive,
)
from isinglass.agents.actions.action_codec import ActionCode
from isinglass.agents.actions.action_energies import ActionEnergy
from isinglass.agents.backups import Backup
from isinglass.agents.extractors.plain_extractors import SMALLEST_PICTURE
from isinglass.agents.input_policies import FreeEnergyCnnPolicy, FreeEnergyMultiInputPolicy
from isinglass.agents.mask_reader import METHOD, MaskedEnv
from isinglass.agents.policy import FreeEnergyPolicy
from isinglass.agents.vec_env import GymnasiumVecEnv
from isinglass.envs import make_env
from isinglass.errors import ParameterError

__all__ = [
    "LOSSES",
    "check_learning",
    "check_policy",
    "check_settings",
    "check_storage",
    "check_surroundings",
    "environment",
    "without",
]

TEMPERATURES = ("initial_temperature", "final_temperature")
ABOVE_ZERO = ("annealing_fraction", "max_grad_norm")
LEAST = {
    "batch_size": 1, "buffer_size": 1, "n_steps": 1, "_stats_window_size": 1,
    "learning_starts": 0, "gradient_steps": -1,
}  # fmt: skip
LARGEST_SEED = 2**32 - 1  # numpy's
ARRAYS = (spaces.Box, spaces.Discrete, spaces.MultiBinary, spaces.MultiDiscrete)
LOSSES = {"mse": mse_loss, "huber": huber_loss}


def environment(env: object, required: bool) -> Any:
    """Returns the environment; None only where ``load`` builds an agent without one."""
    if isinstance(env, str):
        env = make_env(env)
    if env is None and not required:
        return None
    if isinstance(env, VectorEnv):
        env = GymnasiumVecEnv(env)
    if not isinstance(env, Env | VecEnv):
        raise ParameterError(
            f"env = {env!r}, which is no environment",
            "Give a gymnasium.Env, a VecEnv of Stable-Baselines3, or the name of an environment",
        )
    ActionCode.of(getattr(env, "action_space", None))
    if isinstance(env, Env):
        return _with_masks(env)
    if isinstance(base := env.unwrapped, DummyVecEnv):
        base.envs = [_with_masks(one) for one in base.envs]
    return env


def _with_masks(env: Env) -> Env:
    """Wraps what tells masks by a method, so that the last states of episodes have theirs too.

    Raises:
        ParameterError: If ``reset`` takes no seed.
    """
    check_reset(env)
    if isinstance(env, MaskedEnv) or not env.has_wrapper_attr(METHOD):
        return env
    return MaskedEnv(env)


def check_reset(env: Env) -> None:
    """Refuses an environment that cannot be seeded as Gymnasium has it.

    Raises:
        ParameterError: If its ``reset`` takes no ``seed``.
    """
    taken = signature(env.unwrapped.reset).parameters.values()
    if not any(p.name == "seed" or p.kind is Parameter.VAR_KEYWORD for p in taken):
        raise ParameterError(
            f"{type(env.unwrapped).__name__}.reset{signature(env.unwrapped.reset)} without a seed",
            "Let reset take a seed and options, as that of gymnasium.Env does",
        )


def check_surroundings(device: torch.device | str, seed: int | None, verbose: int) -> int | None:
    """Returns the seed; refuses what is none, no level, and a device that is not there.

    Stable-Baselines3 would take another device without a word.

    Raises:
        ParameterError: If it is one of these.
    """
    if seed is not None and (seed := check_count("seed", seed, least=0)) > LARGEST_SEED:
        raise ParameterError(f"seed = {seed}", f"Give a seed of at most {LARGEST_SEED}")
    if not isinstance(verbose, bool):
        check_count("verbose", verbose, least=0)
    if isinstance(device, str) and device == "auto":
        return seed
    try:
        torch.empty(0, device=torch.device(device))
    except (AssertionError, NotImplementedError, RuntimeError, TypeError) as error:
        raise ParameterError(
            f"device = {str(device)!r}, which this machine or this torch does not have",
            "Give device='cpu', or 'auto' for a GPU if there is one",
        ) from error
    return seed


def check_policy(
    policy: object, kinds: Mapping[str, type[BasePolicy]], given: object, space: spaces.Space
) -> None:
    """Refuses what is no policy, arguments that it does not take, observations it cannot see.

    Args:
        policy: A class, or the name of one.
        kinds: The classes that have names.
        given: Its arguments.
        space: The observation space.

    Raises:
        ParameterError: If it is one of these.
    """
    arguments = without(given)
    kind = kinds.get(policy) if isinstance(policy, str) else policy
    if not (isinstance(kind, type) and issubclass(kind, FreeEnergyPolicy)):
        raise ParameterError(
            f"policy = {policy!r}",
            f"Give one of {', '.join(map(repr, kinds))}, or a subclass of FreeEnergyPolicy",
        )
    optimizer = arguments.get("optimizer_class", torch.optim.Adam)
    if not (isinstance(optimizer, type) and issubclass(optimizer, torch.optim.Optimizer)):
        raise ParameterError(
            f"optimizer_class = {optimizer!r}", "Give a class, as torch.optim.Adam"
        )
    known = [*signature(FreeEnergyPolicy).parameters][3:]  # after spaces and schedule
    for name, value in arguments.items():
        if name in known or kind not in kinds.values():
            continue  # a policy of the user's own may take more
        energies = (e for e in ActionEnergy.__subclasses__() if name in signature(e).parameters)
        owner = next(energies, None)
        raise ParameterError(
            f"policy_kwargs with {name} = {value!r}",
            f"It belongs to the energy: energy={owner.__name__}({name}={value!r})"
            if owner
            else f"They may have {', '.join(known[2:])}",
        )
    _check_extractor(kind, arguments)
    _check_sight(kind, space, arguments)


def _check_extractor(kind: type[FreeEnergyPolicy], given: Mapping[str, Any]) -> None:
    """Refuses arguments that the features extractor does not take."""
    name = "features_extractor_class"
    own = signature(kind).parameters  # a policy of the user's own may pass it on
    usual = own.get(name, signature(FreeEnergyPolicy).parameters[name]).default
    made = given.get(name, usual)
    if not (isinstance(made, type) and issubclass(made, BaseFeaturesExtractor)):
        raise ParameterError(f"{name} = {made!r}", "Give a subclass of SB3's BaseFeaturesExtractor")
    asked = given.get("features_extractor_kwargs") or {}
    if not isinstance(asked, Mapping):
        raise ParameterError(f"features_extractor_kwargs = {asked!r}", "Give a dictionary")
    takes = signature(made).parameters
    known = [one for one in takes if one != "observation_space"]
    more = any(one.kind is Parameter.VAR_KEYWORD for one in takes.values())
    for one in asked:
        if one not in known and not more:
            raise ParameterError(
                f"features_extractor_kwargs with {one!r}",
                f"{made.__name__} takes {', '.join(known) or 'none'}",
            )


def _check_sight(
    kind: type[FreeEnergyPolicy], space: spaces.Space, given: Mapping[str, Any]
) -> None:
    parts = list(space.spaces.values()) if isinstance(space, spaces.Dict) else [space]
    if not all(isinstance(part, ARRAYS) for part in parts):
        raise ParameterError(
            f"the observation space {space}",
            "Supported are Box, Discrete, MultiBinary, MultiDiscrete and a Dict of these: wrap "
            "the environment in gymnasium.wrappers.FlattenObservation",
        )
    if not parts or any(map(_is_odd, parts)):
        raise ParameterError(
            f"the observation space {space}",
            "Give one number or more in an array: wrap the environment in "
            "gymnasium.wrappers.ReshapeObservation, to a MultiDiscrete of one dimension",
        )
    named, normalized = isinstance(space, spaces.Dict), not given.get("normalize_images", True)
    pictures = [part for part in parts if is_image_space(part, normalized_image=normalized)]
    small = [p for p in pictures if sorted(p.shape or ())[1] < SMALLEST_PICTURE]
    own = "features_extractor_class" in given
    if small and not own and issubclass(kind, FreeEnergyCnnPolicy | FreeEnergyMultiInputPolicy):
        raise ParameterError(
            f"pictures of shape {small[0].shape} for {kind.__name__}, whose layers need "
            f"{SMALLEST_PICTURE} × {SMALLEST_PICTURE}",
            "Enlarge them (gymnasium.wrappers.ResizeObservation), give 'MlpPolicy' where there is "
            "no Dict, or policy_kwargs={'features_extractor_class': …}",
        )
    fits = {
        FreeEnergyPolicy: not named,
        FreeEnergyMultiInputPolicy: named,
        FreeEnergyCnnPolicy: own
        or is_image_space(space, check_channels=False, normalized_image=normalized),
    }
    if not fits.get(kind, True):
        raise ParameterError(
            f"{kind.__name__} for observations in {space}",
            "Give 'MultiInputPolicy' for a Dict, 'CnnPolicy' for pictures (uint8, 0 to 255), and "
            "'MlpPolicy' for all else",
        )


def _is_odd(space: spaces.Space) -> bool:
    """Tells whether SB3 cannot flatten a space: one of nothing, no array, or choices in rows."""
    shape = space.shape or ()
    if isinstance(space, spaces.MultiDiscrete):
        return len(shape) != 1
    return 0 in shape or (isinstance(space, spaces.Box) and not shape)


def check_settings(agent: Any) -> None:
    """Refuses, in an agent, what is no energy, backup or loss, and numbers out of range.

    Raises:
        ParameterError: If there is one.
    """
    kinds = (("energy", ActionEnergy, "MixtureEnergy()"), ("backup", Backup, "SoftBackup()"))
    for name, kind, example in kinds:
        if not isinstance(getattr(agent, name), kind):
            raise ParameterError(
                f"{name} = {getattr(agent, name)!r}",
                f"Give an instance of a class of isinglass.agents, such as {example}",
            )
    if not (isinstance(agent.loss, str) and agent.loss in LOSSES):
        remedy = "Give 'mse', 'huber', or a function of values and targets"
        check_takes("loss", agent.loss, "values", "targets", remedy=remedy, classes=False)
    for check, names in (
        (check_positive, ABOVE_ZERO),
        (check_fraction, ("tau", "gamma")),
    ):
        for name in names:
            setattr(agent, name, check(name, getattr(agent, name)))
    _check_temperatures(agent)
    for name, least in LEAST.items():
        setattr(agent, name, check_count(name.lstrip("_"), getattr(agent, name), least))
    _check_storage_settings(agent)
    agent.train_freq = check_train_freq(agent.train_freq)
    rate: Any = agent.learning_rate
    if callable(rate):
        check_takes("learning_rate", rate, "the remaining progress (1 to 0)", classes=False)
        check_at_least_zero("learning_rate(1.0)", rate(1.0))  # pyright: ignore[reportArgumentType]
    else:
        agent.learning_rate = check_at_least_zero("learning_rate", rate)


def _check_storage_settings(agent: Any) -> None:
    if not isinstance(agent.replay_buffer_kwargs, dict):
        raise ParameterError(
            f"replay_buffer_kwargs = {agent.replay_buffer_kwargs!r}", "Give a dictionary, or None"
        )
    check_flag("optimize_memory_usage", agent.optimize_memory_usage)
    kind: Any = agent.replay_buffer_class
    if kind is not None and not (isinstance(kind, type) and issubclass(kind, ReplayBuffer)):
        raise ParameterError(
            f"replay_buffer_class = {kind!r}", "Give a subclass of SB3's ReplayBuffer, or None"
        )
    if not isinstance(agent.tensorboard_log, str | PathLike | None):
        raise ParameterError(
            f"tensorboard_log = {agent.tensorboard_log!r}", "Give a folder, or None"
        )


def _check_temperatures(agent: Any) -> None:
    given = [name for name in TEMPERATURES if getattr(agent, name) is not None]
    for name in given:
        setattr(agent, name, check_positive(name, getattr(agent, name)))
    if given and agent.final_temperature > agent.initial_temperature:
        raise ParameterError(
            f"final_temperature = {agent.final_temperature} above "
            f"initial_temperature = {agent.initial_temperature}",
            "Give a final_temperature no higher than initial_temperature: T falls",
        )


def check_learning(
    steps: Any, callback: Any, log_interval: Any, reset_num_timesteps: object, progress_bar: object
) -> int:
    """Returns the number of steps to learn for; refuses arguments of ``learn`` that are none.

    Raises:
        ParameterError: If there is one.
    """
    given: Any = steps
    if isinstance(steps, float) and steps.is_integer():  # as 1e5, which SB3 takes too
        given = int(steps)
    if log_interval is not None:
        check_count("log_interval", log_interval)
    check_flag("reset_num_timesteps", reset_num_timesteps)
    check_flag("progress_bar", progress_bar)
    for one in callback if isinstance(callback, list) else [callback]:
        if not isinstance(one, BaseCallback | None):
            check_takes("callback", one, "locals", "globals", classes=False)
    return check_count("total_timesteps", given, least=0)


def check_train_freq(value: Any) -> TrainFreq:
    """Returns how often to train, as SB3 has it.

    Raises:
        ParameterError: If it is no number of steps and no pair of a number and a unit.
    """
    try:
        count, unit = value if isinstance(value, tuple) else (value, "step")
        return TrainFreq(check_count("train_freq", count), TrainFrequencyUnit(unit))
    except ValueError as error:
        raise ParameterError(
            f"train_freq = {value!r}",
            "Give a whole number of steps of at least 1, (n, 'step') or (n, 'episode')",
        ) from error


def without(policy_kwargs: object, *names: str) -> dict[str, Any]:
    """Copies the arguments without these names, which the agent's own arguments set.

    Raises:
        ParameterError: If they do, or are no dictionary.
    """
    if not isinstance(policy_kwargs, Mapping | None):
        raise ParameterError(f"policy_kwargs = {policy_kwargs!r}", "Give a dictionary, or None")
    given = dict(policy_kwargs or {})
    for name in names:
        if name in given:
            raise ParameterError(
                f"policy_kwargs with {name} = {given[name]!r}",
                "Give initial_temperature and final_temperature, or energy, to the agent instead",
            )
    return given


def check_storage(settings: Mapping[str, Any], observations: spaces.Space) -> None:
    """Refuses what a replay buffer cannot do that stores each observation once.

    Args:
        settings: Arguments of the buffer.
        observations: What it stores.

    Raises:
        ParameterError: If time limits are to be told from ends, or observations are a ``Dict``.
    """
    if settings.get("handle_timeout_termination", True):
        raise ParameterError(
            "optimize_memory_usage = True, where time limits are told from ends",
            "Give replay_buffer_kwargs={'handle_timeout_termination': False} with it: time "
            "limits then count as done; or leave it out",
        )
    if isinstance(observations, spaces.Dict):
        raise ParameterError("optimize_memory_usage = True for a Dict", "Leave it out")
