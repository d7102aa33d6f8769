"""Noughts and crosses over sets of propositions: an action is one proposition more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeAlias, runtime_checkable

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from isinglass._support.functions import check_takes
from isinglass._support.validation import check_choice, check_count, check_flag
from isinglass.envs._rendering import CROSS, RING, check_render_mode, picture, tile
from isinglass.envs.tictactoe.game import (
    CELLS,
    DRAWN,
    HAS,
    ILLEGAL,
    LEGAL,
    LOST,
    PLAYING,
    WON,
    Erring,
    Games,
    Observations,
    action_mask,
    minimax_moves,
    random_moves,
)
from isinglass.errors import ParameterError

__all__ = [
    "Erring",
    "Masked",
    "Player",
    "Predictor",
    "Score",
    "TicTacToe",
    "action_mask",
    "play",
]

REWARDS = {PLAYING: 0.0, WON: 20.0, DRAWN: 10.0, LOST: -20.0, ILLEGAL: -20.0}
SEATS = ("first", "second", "random")
STRATEGIES = {"random": random_moves, "minimax": minimax_moves}
ONE = np.array([0])

Strategy: TypeAlias = Callable[[Observations, np.random.Generator], np.ndarray]


@runtime_checkable
class Predictor(Protocol):
    """What Stable-Baselines3's agents are, this library's among them."""

    def predict(self, observation: Any, *, deterministic: bool) -> tuple[Any, Any]:
        """Returns the actions for a batch of observations, and states of no concern here."""
        ...


Player: TypeAlias = str | Predictor | Strategy
"""``"random"``, ``"minimax"``, an agent with ``predict``, or a function of a batch of observations,
``(n, 9, 3)`` and ``(n, 9)``, and a ``numpy.random.Generator`` that returns actions ``(n, 3)``."""


@dataclass(frozen=True)
class Masked:
    """An agent that is asked for legal claims only: it is handed a joint ``action_masks``.

    Args:
        agent: With ``predict(observations, deterministic, action_masks)``, the masks of shape
            ``(*batch, 3, 3, 2)``.
    """

    agent: Any

    def predict(self, observation: Observations, *, deterministic: bool = True) -> tuple[Any, Any]:
        """Calls the agent's own ``predict`` with the legal claims."""
        masks = action_mask(observation)
        return self.agent.predict(observation, deterministic=deterministic, action_masks=masks)


@dataclass(frozen=True)
class Score:
    """How games ended for the player in question.

    Attributes:
        wins: Games won; an illegal claim of the opponent is one.
        draws: Games drawn.
        losses: Games lost to three in a row.
        illegal: Games lost by an illegal claim.
    """

    wins: int
    draws: int
    losses: int
    illegal: int

    @property
    def games(self) -> int:
        """How many games were played."""
        return self.wins + self.draws + self.losses + self.illegal

    @property
    def mean_reward(self) -> float:
        """Mean of +20 for a win, +10 for a draw and −20 for either way to lose."""
        ends = {WON: self.wins, DRAWN: self.draws, LOST: self.losses, ILLEGAL: self.illegal}
        return sum(REWARDS[outcome] * count for outcome, count in ends.items()) / self.games


class TicTacToe(gym.Env[Observations, np.ndarray]):
    """Noughts and crosses where the state is a set of propositions and an action adds one.

    A proposition is a row (x, y, player): cell (x, y) is claimed by me (0) or by the opponent (1),
    "me" being whoever looks. What is observed is a set of them: ``propositions``, nine rows, in an
    order that says nothing, and ``mask``, which rows are filled. An action is one more proposition.
    It is legal if the cell is empty and the claim my own; anything else ends the game. ::

        reward = +20 win, +10 draw, −20 loss, −20 illegal claim, 0 while the game goes on

    The opponent answers inside ``step``, and moves first, inside ``reset``, in games where the
    agent is second. An illegal claim of the opponent wins the game for the agent. ``info`` has
    ``"action_mask"``, bool, ``(3, 3, 2)``, the legal propositions by x, y and player (after the
    end, where nothing is asked any more, all are True), and ``"illegal"``, whether the agent's last
    claim was not legal. Registered as ``isinglass/TicTacToe-v0``.

    Args:
        opponent: ``"random"``, ``"minimax"`` (perfect, one of its best cells at random),
            :class:`~isinglass.envs.tictactoe.game.Erring` (perfect but for errors), an agent
            with Stable-Baselines3's ``predict``, a function of a batch of observations (here of
            one) and a generator that returns a batch of actions, or a sequence of these, one of
            which is drawn for each game. All see the game from their own side.
        seat: ``"first"``, ``"second"`` or ``"random"``: whether the agent starts.
        shuffle: Whether the rows come in a random order; else ordered by cell.
        render_mode: None, ``"ansi"`` or ``"rgb_array"``. Whoever starts has the crosses.

    Raises:
        ParameterError: If the opponent, the seat or ``render_mode`` is none of these.

    Examples:
        >>> env = TicTacToe(opponent="minimax", seat="first", render_mode="ansi")
        >>> _ = env.reset(seed=0)
        >>> observation, reward, terminated, _, info = env.step(np.array([1, 1, 0]))
        >>> int(observation["mask"].sum()), info["action_mask"].sum(), reward, terminated
        (2, np.int64(7), 0.0, False)
        >>> print(env.render())
        ···
        ·X·
        ··O
    """

    metadata: ClassVar[dict[str, Any]] = {  # pyright: ignore[reportIncompatibleVariableOverride]
        "render_modes": ["ansi", "rgb_array"],
        "render_fps": 2,
    }

    def __init__(
        self,
        opponent: Player | Sequence[Player] = "random",
        seat: str = "random",
        shuffle: bool = True,
        render_mode: str | None = None,
    ) -> None:
        self._opponents = _strategies(opponent)
        self._seat = _check_seat(seat)
        check_render_mode(render_mode, self.metadata["render_modes"])
        self.shuffle = check_flag("shuffle", shuffle)
        self.render_mode = render_mode
        highest = np.tile(np.array([2, 2, 1], dtype=np.int8), (CELLS, 1))
        seen: dict[str, spaces.Space[Any]] = {
            "propositions": spaces.Box(np.zeros_like(highest), highest, dtype=np.int8),
            "mask": spaces.MultiBinary(CELLS),
        }
        self.observation_space = spaces.Dict(seen)  # pyright: ignore[reportAttributeAccessIssue]
        self.action_space = spaces.MultiDiscrete([3, 3, 2])
        self._games = Games(1)
        self._games.outcome[:] = DRAWN  # nothing to play before the first reset
        self._opponent = self._opponents[0]
        self._second = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Starts a game: draws the opponent and the seat, and lets an opponent in front move."""
        super().reset(seed=seed, options=options)
        self._games = Games(1)
        self._opponent = self._opponents[self.np_random.integers(len(self._opponents))]
        self._second = bool(_seconds(self._seat, 1, self.np_random)[0])
        if self._second:
            self._answer()
        return self._observation(), self._info()

    def step(self, action: np.ndarray) -> tuple[Observations, float, bool, bool, dict[str, Any]]:
        """Claims a cell and lets the opponent answer.

        Raises:
            ShapeError: If the action is not one row (x, y, player).
            DomainError: If it is not within (2, 2, 1).
            gymnasium.error.ResetNeeded: If the game has ended.
        """
        if not len(self._games.playing):
            raise gym.error.ResetNeeded("TicTacToe.step: the game has ended. Call reset() first")
        self._games.claim(ONE, 0, np.asarray(action)[None])
        if len(self._games.playing):
            self._answer()
        outcome = int(self._games.outcome[0])
        return self._observation(), REWARDS[outcome], outcome != PLAYING, False, self._info()

    def render(self) -> str | np.ndarray | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Shows the board as text (``"ansi"``) or an image (``"rgb_array"``)."""
        if self.render_mode is None:
            return None
        marks = self._games.marks[::-1, 0] if self._second else self._games.marks[:, 0]
        first, second = HAS[marks].reshape(2, 3, 3)
        board = np.where(first, "X", np.where(second, "O", "·"))
        if self.render_mode == "ansi":
            return "\n".join("".join(row) for row in board)
        return picture([[_tile(mark) for mark in row] for row in board], lines=(144, 164, 174))

    def _answer(self) -> None:
        seen = self._games.observe(ONE, 1, self.np_random if self.shuffle else None)
        self._games.claim(ONE, 1, self._opponent(seen, self.np_random))

    def _observation(self) -> Observations:
        seen = self._games.observe(ONE, 0, self.np_random if self.shuffle else None)
        return {name: rows[0] for name, rows in seen.items()}

    def _info(self) -> dict[str, Any]:
        outcome = self._games.outcome[0]
        ended = np.full((3, 3, 2), outcome != PLAYING)
        return {
            "action_mask": LEGAL[self._games.marks[:, 0].sum()] | ended,
            "illegal": bool(outcome == ILLEGAL),
        }


def play(
    agent: Player,
    games: int,
    opponent: Player | Sequence[Player] = "random",
    seat: str = "random",
    seed: int = 0,
    shuffle: bool = True,
) -> Score:
    """Plays many games at once, the rules and rewards being those of :class:`TicTacToe`.

    Each player is asked for all its games together, so ten thousand games take nine calls.

    Args:
        agent: Whose games are counted: as the opponent of :class:`TicTacToe`. An agent with
            ``predict`` is asked for its deterministic actions, without a mask; with one as
            ``Masked(agent)``.
        games: Number of games.
        opponent: Or a sequence of opponents, one of which is drawn for each game.
        seat: ``"first"``, ``"second"`` or ``"random"``: whether ``agent`` starts.
        seed: Of everything that is drawn.
        shuffle: Whether the rows of propositions come in a random order; else ordered by cell.

    Raises:
        ParameterError: If ``games`` is not a whole number of at least one, or a player or the seat
            is none of these.
        ShapeError: If a player does not return one row a game.
        DomainError: If such a row is not within (2, 2, 1).

    Examples:
        >>> play("minimax", 1_000, opponent="minimax")
        Score(wins=0, draws=1000, losses=0, illegal=0)
    """
    games = check_count("games", games)
    own, theirs = _strategy(agent), _strategies(opponent)
    generator = np.random.default_rng(check_count("seed", seed, least=0))
    order = generator if check_flag("shuffle", shuffle) else None
    table = Games(games)
    against = generator.integers(len(theirs), size=games)

    def move(player: int, who: Strategy, which: np.ndarray) -> None:
        if len(which):
            table.claim(which, player, who(table.observe(which, player, order), generator))

    def answer(which: np.ndarray) -> None:
        for number, who in enumerate(theirs):
            move(1, who, which[against[which] == number])

    answer(np.flatnonzero(_seconds(_check_seat(seat), games, generator)))
    while len(table.playing):
        move(0, own, table.playing)
        answer(table.playing)
    counts = np.bincount(table.outcome, minlength=ILLEGAL + 1)
    return Score(*(int(counts[outcome]) for outcome in (WON, DRAWN, LOST, ILLEGAL)))


def _strategies(players: Player | Sequence[Player]) -> list[Strategy]:
    if isinstance(players, str) or not isinstance(players, Sequence):
        return [_strategy(players)]
    if not players:
        raise ParameterError("an empty sequence of players", "Give at least one")
    return [_strategy(player) for player in players]


def _strategy(player: Player) -> Strategy:
    if isinstance(player, str):
        found = STRATEGIES.get(player)
    elif isinstance(player, Predictor):
        return lambda observations, _: player.predict(observations, deterministic=True)[0]
    else:
        found = player if callable(player) and not isinstance(player, type) else None
    if found is None:
        raise ParameterError(
            f"the player {player!r}",
            "Give 'random', 'minimax', Erring(share), a loaded agent, such as "
            "FreeEnergyQ.load(path), or a function of observations and a generator",
        )
    check_takes("a player", found, "observations", "a numpy.random.Generator")
    return found


def _check_seat(seat: str) -> str:
    check_choice("seat", seat, SEATS)
    return seat


def _seconds(seat: str, games: int, generator: np.random.Generator) -> np.ndarray:
    """In which games the agent is second."""
    if seat == "random":
        return generator.random(games) < 0.5
    return np.full(games, seat == "second")


def _tile(mark: str) -> np.ndarray:
    if mark == "X":
        return tile((250, 250, 250), (0, 121, 107), CROSS)
    return tile((250, 250, 250), (230, 124, 32) if mark == "O" else None, RING)
