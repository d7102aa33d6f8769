"""Replay of transitions with the past of their episodes, each observation stored once for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.type_aliases import TensorDict
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from isinglass._support.validation import check_count
from isinglass.agents.extractors.episode_past import State, each, find_known, join_past, named_parts
from isinglass.agents.extractors.episodic_memory import LENGTH, EpisodicMemory
from isinglass.agents.replay.replay_buffer import MaskedDictReplayBuffer, MaskedReplayBuffer
from isinglass.errors import ParameterError

__all__ = ["EpisodeDictReplayBuffer", "EpisodeReplayBuffer", "check_pasts", "usual_buffer"]


class EpisodeReplayBuffer(MaskedReplayBuffer):
    """A replay buffer that gives observations together with the past of their episode.

    What :class:`EpisodicMemory` learns from. The different observations of an episode are kept once
    more, in the order in which they came; a step knows how many there were, so that the past of any
    step, and of the state it leads to, is looked up by number: memory grows with steps, not with
    their pasts. The past of a step is whole as long as the step is stored.

    Args:
        *args: As of :class:`MaskedReplayBuffer`.
        length: Most different past observations of a step, as of the extractor.
        **kwargs: As of :class:`MaskedReplayBuffer`.

    Raises:
        ParameterError: As :class:`MaskedReplayBuffer`, or if ``length`` is no whole number of at
            least one, or sequences of several steps are asked for.

    Examples:
        >>> sight, choice = spaces.Box(0, 9, (1,)), spaces.Discrete(3)
        >>> buffer = EpisodeReplayBuffer(100, sight, choice, device="cpu", length=2)
        >>> for t in range(4):
        ...     seen, done = np.array([[t]]), np.array([False])
        ...     buffer.add(seen, seen + 1, np.array([t]), np.array([1.0]), done, [{}])
        >>> last = buffer.last()
        >>> last.observations["now"].tolist(), last.observations["past/now"].tolist()
        ([[3.0]], [[[2.0], [1.0]]])
        >>> last.next_observations["past/now"].tolist()
        [[[3.0], [2.0]]]
    """

    def __init__(self, *args: Any, length: int = LENGTH, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.length = check_count("length", length)
        if self.sequence_length > 1:
            raise ParameterError(
                f"sequence_length = {self.sequence_length} with pasts of an episode",
                "Take a backup of single steps, such as SoftBackup, not RetraceBackup",
            )
        steps = self.buffer_size, self.n_envs
        self._first = np.zeros(steps, np.int64)  # of the episode, among all that were kept
        self._before = np.zeros(steps, np.int64)  # how many were kept before the step
        self._new = np.zeros(steps, bool)  # whether the observation was kept
        # So many that none is overwritten which a stored step looks back to.
        self._room = self.buffer_size + length
        self._kept = each(
            self.observations,
            lambda part: np.zeros((self._room, self.n_envs, *part.shape[2:]), part.dtype),
        )
        self._start = np.zeros(self.n_envs, np.int64)
        self._count = np.zeros(self.n_envs, np.int64)

    def add(
        self,
        obs: np.ndarray | dict[str, np.ndarray],
        next_obs: np.ndarray | dict[str, np.ndarray],
        action: np.ndarray,
        reward: np.ndarray,
        done: np.ndarray,
        infos: Sequence[dict[str, Any]],
    ) -> None:
        """Stores one step of every environment; raises what :meth:`MaskedReplayBuffer.add` does."""
        at = self.pos
        super().add(obs, next_obs, action, reward, done, infos)
        rows = each(self.observations, lambda part: part[at])
        past, held = self._window(self._start, self._count, np.arange(self.n_envs))
        new = ~find_known(named_parts(rows), named_parts(past), held)
        self._first[at], self._before[at], self._new[at] = self._start, self._count, new
        envs = np.flatnonzero(new)
        for key, part in named_parts(self._kept).items():
            part[self._count[envs] % self._room, envs] = named_parts(rows)[key][envs]
        self._count = self._count + new
        resets = [bool(info.get("reset_transition", False)) for info in infos]
        over = np.asarray(done, dtype=bool) | np.array(resets)
        self._start = np.where(over, self._count, self._start)

    def cut(self) -> None:
        """Lets no return go on from what is stored, and no past: environments were reset."""
        super().cut()
        self._start = self._count.copy()

    def reset(self) -> None:
        """Forgets every transition that is stored."""
        super().reset()
        self._start = self._count.copy()

    def state(self, env: VecNormalize | None = None) -> State:
        """Returns the past of what is observed now, as the state of ``predict``."""
        past, held = self._window(self._start, self._count, np.arange(self.n_envs))
        past: Any = self._normalize_obs(past, env)
        parts = []
        for key, space in named_parts(self.observation_space).items():
            part = named_parts(past)[key]
            shape = space.shape or ()  # stored choices have an axis that observed ones have not
            whole = np.zeros((self.n_envs, self.length, *shape), part.dtype)
            whole[:, : held.shape[1]] = part.reshape(*held.shape, *shape)
            parts.append(whole)
        return (*parts, held.sum(1))

    def _window(
        self, first: np.ndarray, last: np.ndarray, envs: np.ndarray
    ) -> tuple[Any, np.ndarray]:
        """What was kept from ``first`` up to ``last``, newest first, and which slots are filled."""
        counts = np.minimum(last - first, self.length)
        slots = np.arange(max(1, int(counts.max(initial=0))))
        held = slots < counts[:, None]
        index = np.where(held, last[:, None] - 1 - slots, 0) % self._room
        return each(self._kept, lambda part: part[index, envs[:, None]]), held

    def _with_past(
        self,
        now: Tensor | TensorDict,
        first: np.ndarray,
        last: np.ndarray,
        envs: np.ndarray,
        env: VecNormalize | None,
    ) -> TensorDict:
        past, held = self._window(first, last, envs)
        past = each(self._normalize_obs(past, env), self._tensor)
        return join_past(now, past, self._tensor(held))

    def _look_up_now(
        self, at: np.ndarray, envs: np.ndarray, env: VecNormalize | None
    ) -> TensorDict:
        now = super()._look_up_now(at, envs, env)
        return self._with_past(now, self._first[at, envs], self._before[at, envs], envs, env)

    def _look_up_next(
        self, at: np.ndarray, envs: np.ndarray, env: VecNormalize | None
    ) -> TensorDict:
        now = super()._look_up_next(at, envs, env)
        last = self._before[at, envs] + self._new[at, envs]
        return self._with_past(now, self._first[at, envs], last, envs, env)


class EpisodeDictReplayBuffer(  # pyright: ignore[reportIncompatibleMethodOverride]
    EpisodeReplayBuffer, MaskedDictReplayBuffer
):
    """:class:`EpisodeReplayBuffer` for dictionaries of observations.

    Arguments are those of :class:`EpisodeReplayBuffer`.

    Examples:
        >>> sights = spaces.Dict({"speed": spaces.Box(-1, 1, (2,))})
        >>> buffer = EpisodeDictReplayBuffer(9, sights, spaces.MultiBinary(3), device="cpu")
        >>> seen = {"speed": np.zeros((1, 2))}
        >>> buffer.add(seen, seen, np.ones((1, 3)), np.ones(1), np.array([False]), [{}])
        >>> sorted(buffer.sample(5).observations)
        ['past/held', 'past/speed', 'speed']
    """


def usual_buffer(
    space: spaces.Space, policy_kwargs: Mapping[str, Any]
) -> tuple[type[MaskedReplayBuffer], dict[str, Any]]:
    """Returns the buffer that observations and a features extractor need, and its arguments.

    Examples:
        >>> kind, settings = usual_buffer(
        ...     spaces.Discrete(3), {"features_extractor_class": EpisodicMemory}
        ... )
        >>> kind.__name__, settings
        ('EpisodeReplayBuffer', {'length': 128})
    """
    named, kind = isinstance(space, spaces.Dict), policy_kwargs.get("features_extractor_class")
    if not (isinstance(kind, type) and issubclass(kind, EpisodicMemory)):
        return (MaskedDictReplayBuffer if named else MaskedReplayBuffer), {}
    given = policy_kwargs.get("features_extractor_kwargs") or {}
    length = {"length": given.get("length", LENGTH)}
    return (EpisodeDictReplayBuffer if named else EpisodeReplayBuffer), length


def check_pasts(extractor: object, buffer: object) -> None:
    """Refuses a replay buffer that does not give a features extractor the past that it recalls.

    Raises:
        ParameterError: If it keeps no pasts, or of another length.
    """
    if not isinstance(extractor, EpisodicMemory):
        return
    kept = buffer.length if isinstance(buffer, EpisodeReplayBuffer) else None
    if kept != extractor.length:
        pasts = "without pasts" if kept is None else f"of pasts of {kept} observations"
        raise ParameterError(
            f"a {type(buffer).__name__} {pasts} for an EpisodicMemory of {extractor.length}",
            "Leave replay_buffer_class out, or give EpisodeReplayBuffer with "
            f"replay_buffer_kwargs={{'length': {extractor.length}}}",
        )
