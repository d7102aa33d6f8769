"""What goes wrong around an agent that was set up well, said by name: files, worlds, divergence."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from inspect import unwrap
from pathlib import Path
from traceback import walk_tb
from typing import Any
from zipfile import BadZipFile, ZipFile

from gymnasium.vector import SyncVectorEnv
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.save_util import open_path
from stable_baselines3.common.vec_env import DummyVecEnv

from isinglass.agents.mask_reader import MaskedEnv
from isinglass.agents.vec_env import GymnasiumVecEnv
from isinglass.errors import DivergenceError, DomainError, FileError, ParameterError
from isinglass.io.atomic import atomic_write

__all__ = [
    "agent_file",
    "check_agent_file",
    "diagnosed_divergence",
    "finite_loss",
    "fitting_weights",
    "same_spaces",
    "whole_steps",
]

# Where an environment's step is unpacked and its reward becomes a number.
UNPACKED = (
    Monitor.step, DummyVecEnv.step_wait, SyncVectorEnv.step, GymnasiumVecEnv.step_wait,
    MaskedEnv.step, MaskedEnv.reset, Monitor.reset, DummyVecEnv.reset, DummyVecEnv._save_obs,
)  # fmt: skip


@contextmanager
def agent_file(path: Any) -> Iterator[Any]:
    """Opens what an agent is saved to: a file that is whole before it is in its place.

    Raises:
        FileError: If it cannot be written there.
    """
    if not isinstance(path, str | Path):  # SB3 knows what is open already, and what is no path
        yield path
        return
    target = Path(path) if Path(path).suffix else Path(f"{path}.zip")  # as SB3 names it
    with suppress(OSError):  # writing says what is wrong
        target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(target, overwrite=True) as aside, aside.open("wb") as file:
        yield file


def check_agent_file(operation: str, path: Any, rule: str) -> None:
    """Refuses what is no file of an agent of this kind, before anything of it is unpickled.

    Raises:
        FileError: If it cannot be read or is damaged, or another kind of agent saved it.
    """
    try:
        file = open_path(path, "r", suffix="zip")
        start = file.tell()
        try:
            with ZipFile(file) as archive:
                damaged, saved = archive.testzip(), json.loads(archive.read("data"))
        finally:
            file.seek(start) if file is path else file.close()
    except (BadZipFile, KeyError, OSError, TypeError, ValueError) as error:
        raise FileError(
            f"{path} cannot be read ({error})",
            "Give a file that agent.save(path) has written, whole",
            operation=operation,
        ) from error
    if damaged is not None:
        raise FileError(f"{path} is damaged at {damaged}", "Take another copy", operation=operation)
    unnamed = rule if "final_temperature" in saved else "another library"
    found = saved.get("_saved_by", unnamed)
    if found != rule:
        raise FileError(
            f"{path} holds an agent of {found}",
            "Load it with the class that saved it",
            operation=operation,
        )


@contextmanager
def same_spaces(operation: str) -> Iterator[None]:
    """Says by name that an agent and an environment have different spaces.

    Raises:
        ParameterError: Where SB3 finds that out.
    """
    try:
        yield
    except ValueError as error:
        if "spaces do not match" not in str(error):
            raise
        raise ParameterError(
            str(error),
            "Give an environment like the one that the agent learned in",
            operation=operation,
        ) from error


@contextmanager
def fitting_weights(operation: str, path: Any) -> Iterator[None]:
    """Says by name that the weights in a file are not those of the agent it describes.

    Raises:
        FileError: Where torch finds that out.
    """
    try:
        yield
    except RuntimeError as error:
        if "state_dict" not in str(error):
            raise
        raise FileError(
            f"{path} holds weights that do not fit ({' '.join(str(error).split())})",
            "Leave out arguments of load that change the network; else another version of "
            "isinglass has saved it: load it with that one, or learn again",
            operation=operation,
        ) from error


@contextmanager
def whole_steps(operation: str) -> Iterator[None]:
    """Says by name that an environment's step gave something else than it should.

    Raises:
        DomainError: Where SB3 or Gymnasium cannot unpack it, or its reward is no number.
    """
    try:
        yield
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        *_, (frame, _) = walk_tb(error.__traceback__)
        if frame.f_code not in [unwrap(step).__code__ for step in UNPACKED]:
            raise
        raise DomainError(
            f"a step or reset of the environment that cannot be taken in ({error})",
            "Let step return (observation, reward, terminated, truncated, info), the observation "
            "one of the space, the reward one number, the info a dictionary, and reset "
            "(observation, info); gymnasium.utils.env_checker.check_env says "
            "more",
            operation=operation,
        ) from error


def finite_loss(loss: float) -> float:
    """Returns the loss, refused if it is none.

    Raises:
        DivergenceError: If it is NaN or infinite.
    """
    if not math.isfinite(loss):
        raise DivergenceError(
            f"a loss of {loss}",
            "Lower the learning rate or max_grad_norm, divide rewards whose squares are beyond 32 "
            "bits, and see that a loaded replay buffer holds no NaN; then start from an earlier "
            "agent",
        )
    return loss


@contextmanager
def diagnosed_divergence() -> Iterator[None]:
    """Says by name that nothing can be drawn, since learning has diverged."""
    try:
        yield
    except (DomainError, RuntimeError) as error:
        if "probability tensor" not in str(error.__cause__ or error):
            raise
        raise DivergenceError(
            "weights or values that are NaN or infinite: learning has diverged",
            "Lower the learning rate or max_grad_norm, and start from an earlier agent",
        ) from error
