"""Gymnasium's spaces as columns of a world."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer

from isinglass.agents.actions.action_structure import origin_of
from isinglass.errors import ParameterError
from isinglass.units import Bernoulli, Categorical, Gaussian, Mixed, Unit
from isinglass.world import WorldColumns, WorldEnergy

__all__ = ["check_world", "numbers_of", "store_newest", "world_columns"]


def world_columns(observation_space: spaces.Space, action_space: spaces.Space) -> WorldColumns:
    """Returns the columns of transitions between observations by actions.

    Raises:
        ParameterError: If a space is of another kind than ``Discrete``, ``MultiDiscrete``,
            ``MultiBinary`` and ``Box``, or a ``Box`` of actions is not bounded.

    Examples:
        >>> world_columns(spaces.Discrete(16), spaces.Discrete(4)).states
        16
    """
    action_space = origin_of(action_space)
    if isinstance(action_space, spaces.Box) and not action_space.is_bounded():
        raise ParameterError(f"the actions {action_space}", "Give bounds: paths are drawn between")
    return WorldColumns(_unit(observation_space), _unit(action_space))


def numbers_of(space: spaces.Space, values: np.ndarray) -> np.ndarray:
    """Returns values of a space as the numbers of its columns, one row each.

    Examples:
        >>> numbers_of(spaces.Discrete(5, start=2), np.array([[2], [6]]))
        array([[0.],
               [4.]])
    """
    flat = np.asarray(values, dtype=np.float64)
    flat = flat.reshape(len(flat), int(np.prod(flat.shape[1:])))
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        return flat - np.ravel(space.start)
    return flat


def store_newest(world: WorldEnergy, buffer: ReplayBuffer, count: int) -> None:
    """Stores the newest steps of a replay buffer in a world, real actions in their own unit."""
    count = min(count, buffer.buffer_size)
    if not count:
        return
    rows = np.arange(buffer.pos - count, buffer.pos) % buffer.buffer_size
    observations, actions, rewards, following, dones, timeouts = (
        np.asarray(part[rows]).reshape(-1, *part.shape[2:])
        for part in (
            buffer.observations, buffer.actions, buffer.rewards, buffer.next_observations,
            buffer.dones, buffer.timeouts,
        )
    )  # fmt: skip
    space = origin_of(buffer.action_space)
    if isinstance(space, spaces.Box):  # which buffers keep from −1 to 1
        low, high = space.low.ravel(), space.high.ravel()
        actions = low + (actions + 1) / 2 * (high - low)
    world.store(
        numbers_of(buffer.observation_space, observations), numbers_of(space, actions), rewards,
        numbers_of(buffer.observation_space, following), dones * (1 - timeouts),
    )  # fmt: skip


def check_world(world: WorldEnergy, columns: WorldColumns) -> None:
    """Refuses a world of other columns than an environment has.

    Raises:
        ParameterError: If they differ.
    """
    for name in ("state", "action"):
        own, wanted = world.columns.choices(name), columns.choices(name)
        if own != wanted:
            raise ParameterError(
                f"a world with {name} of choices {own}, an environment of {wanted}",
                "Give a world of the environment's columns, or None",
            )


def _unit(space: spaces.Space) -> Unit:
    if isinstance(space, spaces.Discrete):
        return Categorical(max(int(space.n), 2))
    if isinstance(space, spaces.MultiDiscrete):
        return Mixed([Categorical(max(int(n), 2)) for n in np.ravel(space.nvec)])
    if isinstance(space, spaces.MultiBinary):
        return Bernoulli(int(np.prod(space.shape)))
    if isinstance(space, spaces.Box):
        return Gaussian(int(np.prod(space.shape)))
    raise ParameterError(
        f"the space {space}",
        "Worlds are made of Discrete, MultiDiscrete, MultiBinary and Box; "
        "gymnasium.wrappers.FlattenObservation makes a Box of a Dict",
    )
