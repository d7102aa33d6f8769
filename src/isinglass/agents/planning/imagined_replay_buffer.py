"""Replay mixed with imagined transitions: what a model of the world says of other actions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from isinglass._support.validation import check_fraction, check_kind
from isinglass.agents.actions.action_structure import origin_of
from isinglass.agents.planning.world_spaces import (
    check_world,
    numbers_of,
    store_newest,
    world_columns,
)
from isinglass.agents.replay.replay_buffer import MaskedReplayBuffer
from isinglass.agents.replay.transitions import Transitions
from isinglass.errors import ParameterError
from isinglass.world import RealModel, TransitionModel, WorldEnergy

__all__ = ["ImaginedReplayBuffer"]

OFTEN = 100  # transitions between two models, and a quarter of all where these are more


class ImaginedReplayBuffer(MaskedReplayBuffer):
    """A replay buffer a share of whose batches is imagined: Dyna, for any agent that replays.

    What is stored goes into a :class:`~isinglass.world.WorldEnergy` too. In the imagined share of a
    batch the states are replayed ones, the actions are drawn uniformly, and reward, next state and
    end are what the world says follows. Of a pair that was never met, or lies far from all that
    was, the replayed transition stays.

    Give it to an agent as Stable-Baselines3 takes buffers, ``replay_buffer_class=``
    ``ImaginedReplayBuffer, replay_buffer_kwargs={"imagined": 0.5}``.

    Reference: Sutton 1990, "Integrated architectures for learning, planning, and reacting".

    Args:
        *args: As of :class:`MaskedReplayBuffer`.
        world: What is known already, which grows; None begins with nothing.
        imagined: The imagined share of a batch, 0 to 1.
        **kwargs: As of :class:`MaskedReplayBuffer`, but ``n_steps``, which is 1.

    Raises:
        ParameterError: If the share is not from 0 to 1, several steps at once are asked for,
            observations or actions are of no kind that a world knows, or the world has others.

    Examples:
        >>> buffer = ImaginedReplayBuffer(
        ...     50, spaces.Discrete(3), spaces.Discrete(2), "cpu", imagined=1.0
        ... )
        >>> for state, action in [(0, 0), (0, 1), (1, 0)] * 5:
        ...     after = np.array([state + action])
        ...     step = np.array([action]), np.array([float(action)]), np.array([False]), [{}]
        ...     buffer.add(np.array([state]), after, *step)
        >>> batch = buffer.sample(8)
        >>> bool((batch.next_observations == batch.observations + batch.actions).all())
        True
    """

    def __init__(
        self, *args: Any, world: WorldEnergy | None = None, imagined: float = 0.5, **kwargs: Any
    ) -> None:
        if kwargs.get("n_steps", 1) != 1:
            raise ParameterError(
                f"n_steps = {kwargs['n_steps']} with imagined transitions",
                "They are single steps: leave n_steps at 1",
            )
        if kwargs.get("sequence_length", 1) != 1:
            raise ParameterError(
                f"sequence_length = {kwargs['sequence_length']} with imagined transitions",
                "Nothing follows them: leave it at 1",
            )
        super().__init__(*args, **kwargs)
        self.imagined = check_fraction("imagined", imagined)
        columns = world_columns(self.observation_space, self.action_space)
        if world is not None:
            check_kind("world", world, WorldEnergy, "a WorldEnergy, or None")
        self.world = WorldEnergy(columns) if world is None else world
        check_world(self.world, columns)
        self._fresh, self._known = 0, 0
        self._table: TransitionModel | None = None
        self._real: RealModel | None = None

    def add(
        self, obs: Any, next_obs: Any, action: np.ndarray, reward: np.ndarray, done: np.ndarray,
        infos: Sequence[dict[str, Any]],
    ) -> None:  # fmt: skip
        """Stores one step of every environment.

        Raises:
            ParameterError: If a mask forbids actions: what is allowed in an imagined state is not
                known.
        """
        super().add(obs, next_obs, action, reward, done, infos)
        if self._masks is not None:
            raise ParameterError(
                "action masks with imagined transitions", "Leave replay_buffer_class out"
            )
        self._fresh += 1
        if self._fresh >= min(self.buffer_size, max(OFTEN, self._known // 4)):
            self._look()

    def sample(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, batch_size: int, env: VecNormalize | None = None
    ) -> Transitions:
        """Draws transitions, a share of them imagined.

        Raises:
            ParameterError: If there is none, or observations are normalized.
        """
        if env is not None:
            raise ParameterError(
                "VecNormalize with imagined transitions", "Normalize inside the environment"
            )
        found = super().sample(batch_size, env)
        if not self._known:
            self._look()
        count = round(self.imagined * batch_size)
        return self._imagine(found, count) if count else found

    def _look(self) -> None:
        """Takes in what is new, and makes the model anew."""
        store_newest(self.world, self, self._fresh)
        self._fresh, self._known = 0, self.size()
        if self.world.columns.finite:
            self._table = self.world.model()
        else:
            self._real = self.world.real_model()

    def _imagine(self, found: Transitions, count: int) -> Transitions:
        """Replaces the first transitions of a batch, drawn at random as they are."""
        # A world has no dictionaries.
        seen, after = cast(Tensor, found.observations), cast(Tensor, found.next_observations)
        state = torch.as_tensor(numbers_of(self.observation_space, seen[:count].cpu().numpy()))
        actions, numbers = self._draw_actions(count)
        if self._table is not None:
            following, reward, done, right = self._from_table(self._table, state, numbers)
        else:
            real = cast(RealModel, self._real)  # made where there is no table
            told = real.predict(state, numbers)
            following, reward, done = told.next_state, told.reward, told.done
            right = told.nearest >= real.familiar
        space = self.observation_space
        if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
            following = following + torch.as_tensor(np.ravel(space.start))
        rows = right.nonzero()[:, 0]
        new = {
            "actions": (found.actions, actions), "next_observations": (after, following),
            "rewards": (found.rewards, reward), "dones": (found.dones, done),
        }  # fmt: skip
        mixed = {}
        for name, (old, values) in new.items():
            whole = old.clone()
            whole[rows] = values[rows].reshape(whole[rows].shape).to(whole)
            mixed[name] = whole
        return found._replace(**mixed)

    def _draw_actions(self, count: int) -> tuple[Tensor, Tensor]:
        """Uniform actions, as the buffer has them and as numbers of the world."""
        space = origin_of(self.action_space)
        if isinstance(space, spaces.Box):
            share = torch.as_tensor(self._rng.random((count, *space.shape)))
            low, high = torch.as_tensor(space.low), torch.as_tensor(space.high)
            return 2 * share - 1, (low + share * (high - low)).reshape(count, -1)
        columns = self.world.columns
        index = torch.as_tensor(self._rng.integers(columns.actions, size=count))
        numbers = columns.values("action", index)
        start = np.ravel(getattr(space, "start", 0))
        return numbers + torch.as_tensor(start), numbers

    def _from_table(
        self, table: TransitionModel, state: Tensor, action: Tensor
    ) -> tuple[Tensor, ...]:
        columns = self.world.columns
        pair = columns.index("state", state) * columns.actions + columns.index("action", action)
        entry, right = table.outcomes(pair, torch.as_tensor(self._rng.random(len(pair))))
        return (
            columns.values("state", table.after[entry]),
            table.reward[entry],
            table.done[entry],
            right,
        )
