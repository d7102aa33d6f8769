"""Questions about chains of facts: what follows has to be inferred before acting."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from isinglass._support.several import check_several
from isinglass._support.validation import check_choice, check_count, check_kind
from isinglass.envs._actions import check_action
from isinglass.errors import DomainError, ParameterError
from isinglass.thinking.vocabulary import Vocabulary

__all__ = ["FactChains"]

WAYS = ("plain", "rules", "branching")
KINDS = 3
#: Observations hold numbers of 16 bits.
MOST_ENTITIES = 2**15
RELATIONS = {"leads to": 2, "reached": 1, "goal": 1, "choose": 1, "is of": 2, "closed": 1}

Row = tuple[int, int, int]


class FactChains(gym.Env[dict[str, np.ndarray], np.integer]):
    """Two chains of k facts "x leads to y": which of their two ends is reached from the start?

    What is observed is a set of propositions (relation, subject, object), those of one argument
    with the subject twice, as in :class:`~isinglass.thinking.mind.Mind`: the facts of both chains
    in random order, ``reached(start)``, and ``goal(e)`` of both ends. Entities are numbers that
    are drawn anew for each episode, so that they mean nothing. An action is one of two candidates,
    ``choose(e)`` of either end: +1 if it is reached, else −1. Both chains look the same but for
    the start: who cannot follow k facts is right half of the time.

    ``"rules"``: the start leads into both chains, every entity is of one of three kinds, and which
    kinds are closed, one or two of them, is a proposition as well. What is reached and leads to an
    entity of a kind that is not closed reaches it. In the wrong chain there is one closed entity.
    ``"branching"``: every entity but the ends leads to a dead end of one or two facts as well, with
    probability ½.

    With ``doors`` above 1 each end that was chosen rightly opens the next question, whose start it
    is, with facts of new entities; a wrong choice ends the episode. The right choices bring
    1/doors each, a wrong one −1.

    Args:
        lengths: k is one of these numbers, with equal probability.
        longest: The largest k that observations have room for; None is the largest of ``lengths``.
        kind: ``"plain"``, ``"rules"`` or ``"branching"``.
        doors: Questions in an episode.

    Raises:
        ParameterError: If a length is no whole number of at least 1 or above ``longest``, or
            ``kind`` is another.

    Examples:
        >>> env = FactChains(lengths=[2])
        >>> _ = env.reset(seed=0)
        >>> print(env.render())
        0 leads to 4
        1 leads to 0
        2 leads to 3
        5 leads to 2
        goal 3
        goal 4
        reached 1
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi"]}  # pyright: ignore[reportIncompatibleVariableOverride]
    render_mode = "ansi"

    def __init__(
        self,
        lengths: Sequence[int] = (1, 2, 3),
        longest: int | None = None,
        kind: str = "plain",
        doors: int = 1,
    ) -> None:
        listed = check_several("lengths", lengths, "numbers of facts: [1, 2, 3]")
        if not listed:
            raise ParameterError("no lengths", "Give one or more: [1, 2, 3]")
        self.lengths = tuple(check_count("a length", length) for length in listed)
        most = max(self.lengths)
        self.longest = most if longest is None else check_count("longest", longest)
        self.doors = check_count("doors", doors)
        check_choice("kind", kind, WAYS)
        self.kind = kind
        if most > self.longest:
            raise ParameterError(
                f"lengths up to {most} where longest = {self.longest}",
                "Make room for the longest chain",
            )
        self.vocabulary = Vocabulary(RELATIONS)
        on_chains = 2 * (self.longest + 1)
        dead = 4 * self.longest if kind == "branching" else 0
        self.entities = self.doors * (on_chains + dead) + KINDS * (kind == "rules")
        facts = 2 * self.longest + dead + (on_chains + KINDS) * (kind == "rules")
        if self.entities > MOST_ENTITIES:
            raise ParameterError(
                f"{self.entities:,} entities of longest = {self.longest}, doors = {self.doors}",
                f"Take fewer: {MOST_ENTITIES:,} have numbers of 16 bits",
            )
        propositions = _rows(facts + 3, len(RELATIONS), self.entities)
        candidates = _rows(2, len(RELATIONS), self.entities)
        self._width = facts + 3
        self.observation_space: spaces.Space[Any] = spaces.Dict(
            propositions=propositions,
            mask=spaces.MultiBinary(facts + 3),
            candidates=candidates,
        )
        self.action_space = spaces.Discrete(2)
        self._names: list[int] = []
        self._left = 0
        self.rows: list[Row] = []
        self._length: int | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Asks the first question; ``options={"length": k}`` fixes k in this episode.

        Raises:
            DomainError: If there is no room for chains of that length.
            ParameterError: If the options are no dictionary, or the length is no whole number.
        """
        super().reset(seed=seed)
        if options is not None:
            check_kind("options", options, dict, '{"length": 2}, or None')
        length = (options or {}).get("length")
        if length is not None and not 1 <= check_count("length", length) <= self.longest:
            raise DomainError(
                f"a length of {length}", f"Give 1 to {self.longest}, or a larger longest"
            )
        self._length = length
        self._names = self.np_random.permutation(self.entities).tolist()
        self._kinds = [self._names.pop() for _ in range(KINDS)] if self.kind == "rules" else []
        self._left = self.doors
        return self._ask(self._names.pop()), {"length": self.length}

    def step(
        self, action: np.integer | int
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Chooses one of the two ends.

        Raises:
            gymnasium.error.ResetNeeded: If no episode runs.
            DomainError: If the action is neither 0 nor 1.
        """
        if self._left == 0:
            raise gym.error.ResetNeeded("FactChains.step: no episode runs. Call reset() first")
        right = self._candidates[check_action(action, 2)][1] == self.end
        self._left -= 1
        over = not right or self._left == 0
        self._left *= not over
        reward = 1.0 / self.doors if right else -1.0
        observation = self._observe() if over else self._ask(self.end)
        return observation, reward, over, False, {"length": self.length, "is_success": right}

    def render(self) -> str:
        """Returns the propositions in words."""
        known = [self.vocabulary.relations[r] for r, _, _ in self.rows]
        lines = (
            f"{x} {word} {y}" if self.vocabulary.arity(word) == 2 else f"{word} {x}"
            for word, (_, x, y) in zip(known, self.rows, strict=True)
        )
        return "\n".join(sorted(lines))

    def _ask(self, start: int) -> dict[str, np.ndarray]:
        """Makes two chains from the start on, and says what is observed."""
        rng, name = self.np_random, self._names.pop
        self.length = k = self._length or int(rng.choice(self.lengths))
        ruled = self.kind == "rules"
        self.chain = [start, *(name() for _ in range(k))]
        other = [start if ruled else name(), *(name() for _ in range(k))]
        self.end = self.chain[-1]
        rows: list[Row] = []
        for chain in (self.chain, other):
            rows += [_row("leads to", x, y) for x, y in pairwise(chain)]
        if ruled:
            rows += self._rules(other)
        if self.kind == "branching":
            for x in (*self.chain[:-1], *other[:-1]):
                for _ in range(int(rng.integers(3))):
                    rows.append(_row("leads to", x, x := name()))
        rows += [_row("reached", start), _row("goal", self.end), _row("goal", other[-1])]
        self.rows = [rows[i] for i in rng.permutation(len(rows))]
        ends = [_row("choose", e) for e in (self.end, other[-1])]
        self._candidates = ends if rng.integers(2) else ends[::-1]
        return self._observe()

    def _rules(self, other: list[int]) -> list[Row]:
        """Deals kinds so that one entity of the other chain alone is of a closed one."""
        rng = self.np_random
        kinds = rng.permutation(self._kinds).tolist()
        count = int(rng.integers(1, KINDS))
        closed, opened = kinds[:count], kinds[count:]
        stop = int(rng.integers(1, len(other)))
        rows = [_row("closed", kind) for kind in closed]
        for chain in (self.chain[1:], other[1:]):
            for x in chain:
                among = closed if x == other[stop] else opened
                rows.append(_row("is of", x, int(rng.choice(among))))
        return rows

    def _observe(self) -> dict[str, np.ndarray]:
        propositions = np.zeros((self._width, 3), np.int16)
        propositions[: len(self.rows)] = self.rows
        mask = np.arange(len(propositions)) < len(self.rows)
        return {
            "propositions": propositions,
            "mask": mask.astype(np.int8),
            "candidates": np.array(self._candidates, np.int16),
        }


def _row(relation: str, subject: int, other: int | None = None) -> Row:
    return (list(RELATIONS).index(relation), subject, subject if other is None else other)


def _rows(count: int, relations: int, entities: int) -> spaces.Box:
    high = np.tile([relations - 1, entities - 1, entities - 1], (count, 1))
    return spaces.Box(0, high.astype(np.int16), dtype=np.int16)
