"""Thoughts in any environment of propositions: assert some of your own before you act."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from isinglass._support.validation import check_at_least_zero, check_count, check_kind
from isinglass._support.wording import shown
from isinglass.envs._actions import check_action
from isinglass.errors import DomainError, IntractableError, ParameterError
from isinglass.thinking.vocabulary import Vocabulary

__all__ = ["Thoughts"]

#: Each observation lists every thought; more would fill the memory.
MOST_THOUGHTS = 2**20


class Thoughts(gym.Wrapper[dict[str, np.ndarray], np.integer, dict[str, np.ndarray], np.integer]):
    """A wrapper in which an agent may assert propositions before it acts; none is ever retracted.

    The environment is one of propositions: it shows ``propositions``, rows (relation, subject,
    object) with the subject twice where there is one argument, ``mask``, which rows are held, and
    ``candidates``, what each of its ``Discrete`` actions says as a proposition.
    An ``action_mask`` of its own is kept.

    Here the candidates are those acts, and after them, as thoughts, every relation of the
    vocabulary of all entities that are spoken of (of two arguments: of all ordered pairs). To
    choose a thought asserts it: it joins the propositions and stays to the end of the episode, at
    a reward of −cost; the environment does not move. ``action_mask`` forbids what is held, and all
    thoughts where ``budget`` of them were had since the last act. What is forbidden and chosen all
    the same costs as much and changes nothing.

    Reference: Sallans & Hinton 2004, JMLR 5:1063-1088 (Q = −F, of a set and one proposition more).

    Args:
        env: The environment. Has it a ``vocabulary``, relations of the same name are the same.
        vocabulary: What may be asserted.
        budget: Thoughts before an act, at most; None is as many as there are.
        cost: What a thought costs, in units of the reward, at least 0.

    Raises:
        ParameterError: If the environment does not show such propositions, or budget or cost is
            out of range.
        IntractableError: If there are more thoughts than each observation can list.

    Examples:
        >>> from isinglass.envs import FactChains
        >>> from isinglass.thinking.vocabulary import Vocabulary
        >>> env = Thoughts(FactChains(lengths=[2]), Vocabulary({"reached": 1}))
        >>> seen, _ = env.reset(seed=0)
        >>> middle = env.unwrapped.chain[1]
        >>> thought = seen["candidates"][:, 1].tolist().index(middle, 2)  # 0 and 1 are acts
        >>> seen, reward, *_ = env.step(thought)
        >>> reward, seen["action_mask"][thought].item()
        (-0.01, 0)
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        vocabulary: Vocabulary,
        budget: int | None = None,
        cost: float = 0.01,
    ) -> None:
        check_kind("env", env, gym.Env, "an environment, such as FactChains()")
        super().__init__(env)
        rows, acts = _parts(env)
        if not isinstance(vocabulary, Vocabulary):
            raise ParameterError(f"vocabulary = {vocabulary!r}", 'Give Vocabulary({"reached": 1})')
        self.vocabulary, self.cost = vocabulary, check_at_least_zero("cost", cost)
        self.relations = self._number(vocabulary, rows, acts)
        self.acts = len(acts.high)
        self.entities = int(max(rows.high[:, 1:].max(), acts.high[:, 1:].max())) + 1
        pairs = self.entities * (self.entities - 1)
        possible = sum(self.entities if a == 1 else pairs for a in vocabulary.arities)
        if possible > MOST_THOUGHTS:
            raise IntractableError(
                f"{possible:,} thoughts about {self.entities:,} entities",
                f"Take fewer entities, or relations of one argument: at most {MOST_THOUGHTS:,}",
            )
        self.budget = possible if budget is None else check_count("budget", budget, least=0)
        kept = len(rows.high) + possible
        top = max(*self.relations, int(rows.high[:, 0].max()), int(acts.high[:, 0].max()))
        high = np.array([top, self.entities - 1, self.entities - 1], np.int16)
        count = self.acts + possible
        self._count, self._kept = count, kept
        self._running = False
        self._allowed: Any = None
        self.observation_space: spaces.Space[Any] = spaces.Dict(
            propositions=spaces.Box(0, np.tile(high, (kept, 1)), dtype=np.int16),
            mask=spaces.MultiBinary(kept),
            candidates=spaces.Box(0, np.tile(high, (count, 1)), dtype=np.int16),
            action_mask=spaces.MultiBinary(count),
        )
        self.action_space = spaces.Discrete(count)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Starts an episode with nothing asserted."""
        observation, info = self.env.reset(seed=seed, options=options)
        self.asserted = np.empty((0, 3), np.int16)
        self._running = True
        return self._look(observation), info

    def step(
        self, action: np.integer | int
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Acts, or asserts a proposition.

        Raises:
            gymnasium.error.ResetNeeded: If no episode runs.
            DomainError: If the action is no candidate, or the environment gives no reward.
        """
        if not self._running:
            raise gym.error.ResetNeeded("Thoughts.step: no episode runs. Call reset() first")
        action = check_action(action, self._count)
        if action < self.acts:
            act: Any = action
            observation, reward, terminated, truncated, info = self.env.step(act)
            self._running = not (terminated or truncated)
            seen = self._look(observation)
            return seen, _checked_reward(reward), terminated, truncated, info
        if self._allowed[action]:
            self.asserted = np.concatenate([self.asserted, self._candidates[action][None]])
            self._allowed[action] = 0
            self._left -= 1
            if not self._left:
                self._allowed[self.acts :] = 0
        return self._observe(), -self.cost, False, False, {}

    def action_masks(self) -> np.ndarray:
        """Returns which candidates may be chosen, as sb3-contrib asks for it.

        Raises:
            gymnasium.error.ResetNeeded: If there was no episode yet.
        """
        if self._allowed is None:
            raise gym.error.ResetNeeded("Thoughts.action_masks: no episode yet. Call reset() first")
        return self._allowed.astype(bool)

    def _number(self, vocabulary: Vocabulary, *spaces: spaces.Box) -> list[int]:
        """Returns the numbers of the relations: the environment's, or new ones."""
        known = getattr(self.env.unwrapped, "vocabulary", None)
        names = known.relations if isinstance(known, Vocabulary) else ()
        new = max(len(names), *(int(space.high[:, 0].max()) + 1 for space in spaces))
        numbers = []
        for name in vocabulary.relations:
            numbers.append(names.index(name) if name in names else new)
            new += name not in names
        return numbers

    def _look(self, observation: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Takes in what the environment shows: what can be thought, and what is held already."""
        self._given = observation["propositions"][observation["mask"].astype(bool)]
        acts = observation["candidates"]
        count = self._count
        spoken = np.unique(np.concatenate([self._given[:, 1:], acts[:, 1:]]))
        thoughts = self._thoughts(spoken.astype(np.int16))
        self._candidates = np.zeros((count, 3), np.int16)
        self._candidates[: self.acts] = acts
        self._candidates[self.acts : self.acts + len(thoughts)] = thoughts
        self._left = self.budget
        self._allowed = np.zeros(count, np.int8)
        self._allowed[: self.acts] = observation.get("action_mask", 1)
        if self._left:
            held = np.concatenate([self._given, self.asserted])
            new = ~np.isin(self._code(thoughts), self._code(held))
            self._allowed[self.acts : self.acts + len(thoughts)] = new
        return self._observe()

    def _thoughts(self, entities: np.ndarray) -> np.ndarray:
        """Returns every relation of the vocabulary of these entities, one a row."""
        once = np.stack([entities, entities], 1)
        twice = np.array([*permutations(entities, 2)], np.int16).reshape(-1, 2)
        arguments = [once if a == 1 else twice for a in self.vocabulary.arities]
        named = zip(self.relations, arguments, strict=True)
        return np.concatenate([np.insert(pairs, 0, r, axis=1) for r, pairs in named])

    def _code(self, rows: np.ndarray) -> np.ndarray:
        """Returns one number for each proposition."""
        relation, subject, other = rows.astype(np.int64).T
        return (relation * self.entities + subject) * self.entities + other

    def _observe(self) -> dict[str, np.ndarray]:
        held = np.concatenate([self._given, self.asserted])
        propositions = np.zeros((self._kept, 3), np.int16)
        propositions[: len(held)] = held
        mask = np.arange(len(propositions)) < len(held)
        return {
            "propositions": propositions,
            "mask": mask.astype(np.int8),
            "candidates": self._candidates.copy(),
            "action_mask": self._allowed.copy(),
        }


def _checked_reward(reward: Any) -> float:
    try:
        return float(reward)
    except (TypeError, ValueError, RuntimeError) as error:
        found = f"the reward {shown(reward)[:60]} of the environment"
        raise DomainError(found, "Let its step return a number") from error


def _parts(env: gym.Env[Any, Any]) -> tuple[spaces.Box, spaces.Box]:
    """Returns the spaces of propositions and candidates.

    Raises:
        ParameterError: If the environment does not show them.
    """
    space, actions = env.observation_space, env.action_space
    parts = space.spaces if isinstance(space, spaces.Dict) else {}
    tables: list[Any] = [parts.get("propositions"), parts.get("candidates")]
    whole = all(
        isinstance(t, spaces.Box) and t.shape[1:] == (3,) and t.dtype.kind in "iu" for t in tables
    )
    count = actions.n if isinstance(actions, spaces.Discrete) and not actions.start else None
    if not whole or "mask" not in parts or len(tables[1].high) != count:
        raise ParameterError(
            f"an environment that shows {space} for actions in {actions}",
            "Let it show a Dict of 'propositions', a Box of whole numbers (rows, 3), 'mask', and "
            "'candidates', one such row for each action of a Discrete space",
        )
    return tables[0], tables[1]
