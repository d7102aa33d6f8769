"""What an agent is given: environments, devices and settings, checked."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from gymnasium import Env
from gymnasium.vector import VectorEnv
from stable_baselines3.common.vec_env import VecEnv

from isinglass.agents.actions import ActionCode
from isinglass.agents.vector import GymnasiumVecEnv
from isinglass.envs import make_env
from isinglass.errors import DomainError, ParameterError

__all__ = ["check_device", "environment", "finite_loss", "same_spaces", "without"]


def environment(env: object, required: bool) -> Any:
    """The environment; None only where ``load`` builds an agent without one."""
    if isinstance(env, str):
        env = make_env(env)
    if env is None and not required:
        return None
    if isinstance(env, VectorEnv):
        env = GymnasiumVecEnv(env)
    if not isinstance(env, Env | VecEnv):
        raise ParameterError(
            "FreeEnergyQ",
            f"env = {env!r}, which is no environment",
            "Give a gymnasium.Env, a VecEnv of Stable-Baselines3, or the name of an environment",
        )
    ActionCode.of(getattr(env, "action_space", None))
    return env


def check_device(device: torch.device | str) -> None:
    """Refuse a device that is not there, where SB3 would take another without a word."""
    if device == "auto":
        return
    try:
        torch.empty(0, device=torch.device(device))
    except (AssertionError, NotImplementedError, RuntimeError, TypeError) as error:
        raise ParameterError(
            "FreeEnergyQ",
            f"device = {str(device)!r}, which this machine or this torch does not have",
            "Give device='cpu', or 'auto' for a GPU if there is one",
        ) from error


@contextmanager
def same_spaces(operation: str) -> Iterator[None]:
    """Say by name that an agent and an environment have different spaces.

    Raises:
        ParameterError: Where SB3 finds that out.
    """
    try:
        yield
    except ValueError as error:
        if "spaces do not match" not in str(error):
            raise
        raise ParameterError(
            operation, str(error), "Give an environment like the one that the agent learned in"
        ) from error


def without(policy_kwargs: dict[str, Any] | None, *names: str) -> dict[str, Any]:
    """A copy of the arguments, which may not have these names: the agent's own arguments set them.

    Raises:
        ParameterError: If they do.
    """
    given = dict(policy_kwargs or {})
    for name in names:
        if name in given:
            raise ParameterError(
                "FreeEnergyQ",
                f"policy_kwargs with {name} = {given[name]!r}",
                "Give initial_temperature and final_temperature, or energy, to the agent instead",
            )
    return given


def finite_loss(loss: float) -> float:
    """The loss, refused if it is none.

    Raises:
        DomainError: If it is NaN or infinite.
    """
    if not math.isfinite(loss):
        raise DomainError(
            "FreeEnergyQ.train",
            f"a loss of {loss}",
            "Lower the learning rate or max_grad_norm, and see that a loaded replay buffer holds "
            "no NaN; then start from an earlier agent",
        )
    return loss
