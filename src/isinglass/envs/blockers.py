"""The blocker task: agents that only together get past those who guard the end zone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import Any, ClassVar, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from isinglass._support.validation import check_count
from isinglass.envs._rendering import BAR, check_render_mode, picture, tile
from isinglass.errors import DomainError, IntractableError, ParameterError, ShapeError

__all__ = ["Blockers", "Transitions"]

WIDTH = 3  # columns a blocker stands on
STRIDE = 3  # columns between the first that a blocker guards and the first of the next one
MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))  # up, down, left, right
LARGEST_TABLE = 10_000_000

Cells: TypeAlias = tuple[int, ...]  # row * columns + column of each agent, row 0 the end zone
Lefts: TypeAlias = tuple[int, ...]  # leftmost column of each blocker
Moves: TypeAlias = Sequence[int]  # 0 to 3, of each agent


@dataclass(frozen=True)
class Transitions:
    """What every joint action does in every state: S states, A actions, no randomness.

    Attributes:
        observations: ``(S, bits)``, int8, what is observed in each state.
        next_state: ``(S, A)``, index of the state that follows; the state itself where the episode
            ends.
        rewards: ``(S, A)``, float64.
        terminated: ``(S, A)``, bool, whether an agent reaches the end zone.
        starts: Indices of the states an episode starts in, all equally likely.
        actions: ``(A, agents)``, the joint actions.
    """

    observations: np.ndarray
    next_state: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    starts: np.ndarray
    actions: np.ndarray


class Blockers(gym.Env[np.ndarray, np.ndarray]):
    r"""Bring one agent past the blockers into the end zone, as a team.

        r = +1 when an agent enters the end zone, which ends the episode; else −1 a step

    The end zone is the top row. Each step every agent moves up, down, left or right (0 to 3), one
    after the other: a move off the field, or into a cell where an agent or a blocker is, leaves it
    where it was, so of two that want one cell the earlier gets it. Then the blockers move, each
    three cells wide, in the end zone. Blocker i = 0, 1, … guards the columns 3i to 3i + 3 and stays
    in them. It moves one column towards the agent in them that is nearest to the end zone, then
    nearest to itself, until it covers its column; it never moves onto another blocker, so an agent
    already blocked is ignored. One agent alone is always stopped; while one holds the blocker,
    another gets through beside it.

    Agents start in random cells of the bottom row, blockers at random in their columns. What is
    observed is, for each agent, its row and its column as one-hot bits, then for each blocker
    whether it stands on the left or on the right of its columns. After ``cap`` steps the episode is
    truncated. Registered as ``isinglass/Blockers-v0`` and, with 4 rows, 7 columns, 3 agents, 2
    blockers and 40 steps, as ``isinglass/Blockers4x7-v0``.

    Reference: Sallans & Hinton 2004, "Reinforcement learning with factored states and actions",
    JMLR 5:1063-1088, the blocker task; its sizes and rewards. How agents and blockers move in
    detail is as said here.

    Args:
        rows: Rows of the field, the end zone among them; at least two.
        columns: Columns of the field, ``3 * blockers + 1`` or more; more are guarded by nobody.
        agents: Agents, at most one a column.
        blockers: Blockers.
        cap: Steps after which an episode is truncated.
        render_mode: None, ``"ansi"`` or ``"rgb_array"``.

    Raises:
        ParameterError: If a size is not a whole number within these bounds, or ``render_mode`` is
            another.

    Examples:
        >>> env = Blockers(render_mode="ansi")
        >>> _ = env.reset(seed=3)
        >>> _ = env.step(np.array([0, 3]))
        >>> print(env.render())
        .###
        ....
        ....
        ...1
        ...2
    """

    metadata: ClassVar[dict[str, Any]] = {  # pyright: ignore[reportIncompatibleVariableOverride]
        "render_modes": ["ansi", "rgb_array"],
        "render_fps": 4,
    }

    def __init__(
        self,
        rows: int = 5,
        columns: int = 4,
        agents: int = 2,
        blockers: int = 1,
        cap: int = 20,
        render_mode: str | None = None,
    ) -> None:
        self.rows = rows = check_count("rows", rows, least=2)
        self.blockers = blockers = check_count("blockers", blockers)
        self.columns = columns = check_count("columns", columns, least=STRIDE * blockers + 1)
        self.agents = agents = check_count("agents", agents)
        self.cap = check_count("cap", cap)
        if agents > columns:
            raise ParameterError(
                f"{agents} agents on a bottom row of {columns} columns",
                "Give at most one agent a column",
            )
        check_render_mode(render_mode, self.metadata["render_modes"])
        self.render_mode = render_mode
        bits = agents * (rows + columns) + 2 * blockers
        self.observation_space = spaces.MultiBinary(bits)
        self._bits = bits
        self.action_space = spaces.MultiDiscrete([len(MOVES)] * agents)
        self._neighbors = [
            [self._neighbor(*divmod(cell, columns), *move) for move in MOVES]
            for cell in range(rows * columns)
        ]
        self._cells: Cells = ()
        self._lefts: Lefts = ()
        self._remaining = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Places agents on the bottom row and blockers on the top row, at random."""
        super().reset(seed=seed, options=options)
        corner = (self.rows - 1) * self.columns
        drawn = corner + self.np_random.permutation(self.columns)[: self.agents]
        self._cells = tuple(drawn.tolist())
        formations = self._formations()
        self._lefts = formations[self.np_random.integers(len(formations))]
        self._remaining = self.cap
        return self._observation(self._cells, self._lefts), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Moves the agents, then the blockers.

        Raises:
            ShapeError: If there is not one move an agent.
            DomainError: If a move is none of 0, 1, 2 and 3.
            gymnasium.error.ResetNeeded: If the episode has ended.
        """
        moves = self._moves(action)
        if self._remaining == 0:
            raise gym.error.ResetNeeded("Blockers.step: the episode has ended. Call reset() first")
        self._cells, self._lefts, won = self._advance(self._cells, self._lefts, moves)
        self._remaining = 0 if won else self._remaining - 1
        truncated = self._remaining == 0 and not won
        reward = 1.0 if won else -1.0
        return self._observation(self._cells, self._lefts), reward, won, truncated, {}

    def transitions(self) -> Transitions:
        """Returns the whole task as a table, for value iteration and the like.

        The states are all those with no agent in the end zone. 5 × 4 has 480 states and 16 joint
        actions, 4 × 7 has 23,940 and 64, which takes ten seconds.

        Raises:
            IntractableError: If there are more than ten million pairs of a state and an action.
        """
        field = range(self.columns, self.rows * self.columns)
        actions = list(product(range(len(MOVES)), repeat=self.agents))
        size = len(self._formations()) * len(actions)
        for taken in range(self.agents):
            size *= len(field) - taken
        if size > LARGEST_TABLE:
            raise IntractableError(
                f"{size:,} pairs of a state and an action, more than {LARGEST_TABLE:,}",
                "Take a smaller field or fewer agents, or learn from steps",
            )
        states = list(product(permutations(field, self.agents), self._formations()))
        index = {state: number for number, state in enumerate(states)}
        next_state = np.empty((len(states), len(actions)), dtype=np.int64)
        terminated = np.empty(next_state.shape, dtype=bool)
        for number, (cells, lefts) in enumerate(states):
            for column, action in enumerate(actions):
                now, standing, won = self._advance(cells, lefts, action)
                terminated[number, column] = won
                next_state[number, column] = number if won else index[now, standing]
        corner = (self.rows - 1) * self.columns
        starts = [number for number, (cells, _) in enumerate(states) if min(cells) >= corner]
        return Transitions(
            observations=np.array([self._observation(*state) for state in states]),
            next_state=next_state,
            rewards=np.where(terminated, 1.0, -1.0),
            terminated=terminated,
            starts=np.array(starts),
            actions=np.array(actions),
        )

    def render(self) -> str | np.ndarray | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Shows the field as text, agents by number (``"ansi"``), or an image (``"rgb_array"``)."""
        if self.render_mode is None:
            return None
        field = [["."] * self.columns for _ in range(self.rows)]
        for left in self._lefts:
            field[0][left : left + WIDTH] = "#" * WIDTH
        for number, cell in enumerate(self._cells, start=1):
            field[cell // self.columns][cell % self.columns] = str(number)
        if self.render_mode == "ansi":
            return "\n".join("".join(row) for row in field)
        return picture([[_tile(row, mark) for mark in marks] for row, marks in enumerate(field)])

    def _advance(self, cells: Cells, lefts: Lefts, moves: Moves) -> tuple[Cells, Lefts, bool]:
        """Positions after a step, and whether an agent got through, which ends it at once."""
        now = list(cells)
        for agent, move in enumerate(moves):
            cell = self._neighbors[now[agent]][move]
            if cell in now or (cell < self.columns and _cover(cell, lefts)):
                continue
            now[agent] = cell
            if cell < self.columns:
                return tuple(now), lefts, True
        standing = list(lefts)
        for blocker in range(self.blockers):
            standing[blocker] = self._follow(blocker, standing, now)
        return tuple(now), tuple(standing), False

    def _follow(self, blocker: int, standing: list[int], cells: list[int]) -> int:
        """The leftmost column of a blocker once it has moved.

        An agent that another blocker covers needs no leaving out: it is in the column both guard,
        where there is no room for a second one.
        """
        left, first = standing[blocker], STRIDE * blocker
        nearest, aim = (self.rows, 0), left
        for cell in cells:
            row, column = divmod(cell, self.columns)
            distance = row, abs(column - left - 1)
            if first <= column <= first + STRIDE and distance < nearest:  # the first of equals
                nearest, aim = distance, column
        moved = left - (aim < left) + (aim >= left + WIDTH)
        if moved == left or any(abs(moved - other) < WIDTH for other in standing if other != left):
            return left
        return moved

    def _neighbor(self, row: int, column: int, down: int, right: int) -> int:
        """The cell beside another; the same cell where the field ends."""
        inside = 0 <= row + down < self.rows and 0 <= column + right < self.columns
        return (
            (row + down) * self.columns + column + right if inside else row * self.columns + column
        )

    def _formations(self) -> list[Lefts]:
        """Where blockers can stand without standing on another: none right of one on its left."""
        return [
            tuple(STRIDE * i + (i >= shifted) for i in range(self.blockers))
            for shifted in range(self.blockers, -1, -1)
        ]

    def _observation(self, cells: Cells, lefts: Lefts) -> np.ndarray:
        bits = np.zeros(self._bits, dtype=np.int8)
        span = self.rows + self.columns
        base = 0
        for cell in cells:
            row, column = divmod(cell, self.columns)
            bits[base + row] = bits[base + self.rows + column] = 1
            base += span
        for blocker, left in enumerate(lefts):
            bits[base + left - STRIDE * blocker] = 1
            base += 2
        return bits

    def _moves(self, action: np.ndarray) -> Moves:
        action = np.asarray(action)
        if action.shape != self.action_space.shape:
            raise ShapeError(
                f"an action of shape {action.shape}",
                f"Give {self.agents} moves, one an agent",
            )
        moves = action.tolist()
        for move in moves:
            if isinstance(move, complex) or move not in (0, 1, 2, 3):
                raise DomainError(
                    f"the moves {moves}",
                    "Give 0 for up, 1 for down, 2 for left or 3 for right, for each agent",
                )
        return [int(move) for move in moves]


def _cover(column: int, lefts: Iterable[int]) -> bool:
    return any(left <= column < left + WIDTH for left in lefts)


def _tile(row: int, mark: str) -> np.ndarray:
    ground = (178, 223, 219) if row == 0 else (236, 239, 241)
    if mark == ".":
        return tile(ground)
    return tile(ground, (69, 90, 100), BAR) if mark == "#" else tile(ground, (0, 121, 107))
