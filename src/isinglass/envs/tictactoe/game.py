"""Noughts and crosses, many games at once: propositions, the rules, and perfect play.

A cell (x, y) has the number 3y + x. The marks of a player are nine bits, one a cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numpy as np

from isinglass._support.validation import check_fraction
from isinglass.envs.two_seat.game import DRAWN, ILLEGAL, LOST, PLAYING, WON
from isinglass.errors import DomainError, ShapeError

__all__ = [
    "CELLS",
    "Erring",
    "Games",
    "Observations",
    "action_mask",
    "minimax_moves",
    "perfect_cells",
    "random_moves",
]

Observations: TypeAlias = dict[str, np.ndarray]

CELLS = 9
FULL = 2**CELLS - 1
LINES = (0o7, 0o70, 0o700, 0o111, 0o222, 0o444, 0o124, 0o421)
LINED = np.array([any(marks & line == line for line in LINES) for marks in range(FULL + 1)])
HAS = np.arange(FULL + 1, dtype=np.int16)[:, None] >> np.arange(CELLS) & 1  # (marks, cell)
PROPOSITIONS = np.zeros((CELLS, 3, 3), dtype=np.int8)  # of a cell that is empty, mine, theirs
PROPOSITIONS[:, 1:, 0] = np.arange(CELLS)[:, None] % 3
PROPOSITIONS[:, 1:, 1] = np.arange(CELLS)[:, None] // 3
PROPOSITIONS[:, 2, 2] = 1
LEGAL = np.zeros((FULL + 1, 3, 3, 2), dtype=bool)  # (marks of both, x, y, player)
LEGAL[..., 0] = 1 - HAS.reshape(-1, 3, 3).swapaxes(-1, -2)


class Games:
    """Games of player 0 against player 1, all at once, and how each stands for player 0.

    Args:
        count: Number of games.

    Attributes:
        marks: ``(2, count)``, the cells each player has claimed, as bits.
        outcome: ``(count,)``: playing, won, drawn, lost, or ended by an illegal claim of player 0.
    """

    def __init__(self, count: int) -> None:
        self.marks = np.zeros((2, count), dtype=np.int64)
        self.outcome = np.full(count, PLAYING)

    @property
    def playing(self) -> np.ndarray:
        """Indices of the games that go on."""
        return np.flatnonzero(self.outcome == PLAYING)

    def observe(
        self, games: np.ndarray, player: int = 0, shuffle: np.random.Generator | None = None
    ) -> Observations:
        """Returns what a player is shown: claims as rows (x, y, player), 0 being whoever looks.

        Args:
            games: ``(n,)``, indices.
            player: Who looks.
            shuffle: Stream the order of the rows is drawn from; None orders them by cell.

        Returns:
            ``propositions``, ``(n, 9, 3)``, int8, and ``mask``, ``(n, 9)``, int8, 1 where a row is
            filled. Filled rows come first, the others are zero.
        """
        owner = HAS[self.marks[player, games]] + 2 * HAS[self.marks[1 - player, games]]
        keys = np.arange(CELLS) / CELLS if shuffle is None else shuffle.random(owner.shape)
        order = np.argsort(np.where(owner, keys, 1.0), axis=-1, kind="stable")
        owner = owner[np.arange(len(games))[:, None], order]
        return {"propositions": PROPOSITIONS[order, owner], "mask": (owner > 0).astype(np.int8)}

    def claim(self, games: np.ndarray, player: int, actions: np.ndarray) -> None:
        """Adds a proposition to each of some games; an illegal one loses the game.

        Args:
            games: ``(n,)``, indices.
            player: Who claims.
            actions: ``(n, 3)``, rows (x, y, player), 0 being whoever claims.

        Raises:
            ShapeError: If there is not one row a game.
            DomainError: If a row is not within (2, 2, 1).
        """
        x, y, owner = _check(actions, len(games)).T
        cell = 3 * y + x
        mine, theirs = self.marks[player, games], self.marks[1 - player, games]
        legal = (owner == 0) & ((mine | theirs) >> cell & 1 == 0)
        mine = mine | legal << cell
        self.marks[player, games] = mine
        goes_on = np.where(mine | theirs == FULL, DRAWN, PLAYING)
        ends = np.where(LINED[mine], LOST if player else WON, goes_on)
        self.outcome[games] = np.where(legal, ends, WON if player else ILLEGAL)


def action_mask(observations: Observations) -> np.ndarray:
    """Tells which propositions are legal: to claim an empty cell for oneself.

    Args:
        observations: ``propositions`` ``(*batch, 9, 3)`` and ``mask`` ``(*batch, 9)``, as
            :class:`TicTacToe` gives them.

    Returns:
        ``(*batch, 3, 3, 2)``, bool, by x, y and player.

    Examples:
        >>> action_mask(Games(1).observe(np.array([0])))[0].sum()
        np.int64(9)
    """
    mine, theirs = _marks(observations)
    return LEGAL[mine | theirs]


def random_moves(observations: Observations, generator: np.random.Generator) -> np.ndarray:
    """Draws a legal claim, uniformly, for each observation: ``(*batch, 3)``."""
    mine, theirs = _marks(observations)
    return _draw(1 - HAS[mine | theirs], generator)


def minimax_moves(observations: Observations, generator: np.random.Generator) -> np.ndarray:
    """Draws a claim of perfect play, uniformly of all such, for each observation: ``(*batch, 3)``.

    Perfect play wins where it can and else draws where it can, against any opponent.
    """
    return _draw(perfect_cells(*_marks(observations)), generator)


def perfect_cells(mine: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Tells the cells of perfect play, by the marks of both as bits: ``(*batch, 9)``, 1 or 0."""
    return HAS[_best()[mine, theirs]]


@dataclass(frozen=True)
class Erring:
    """Perfect play that errs: now and then a claim is a random one, a good one by luck at times.

    To learn from, it is better than a random player: it punishes what a random one overlooks, so
    that a claim which may lose is worth far less than one which cannot. From shares of 0.55 to 0.9
    the best play against it is the best against a random player, too.

    Args:
        share: Of its claims that are random, 0 (minimax) to 1 (random).

    Raises:
        ParameterError: If ``share`` is not from 0 to 1.

    Examples:
        >>> from isinglass.envs.tictactoe.env import play
        >>> play("minimax", 1_000, opponent=Erring(0.2)).losses
        0
    """

    share: float

    def __post_init__(self) -> None:
        check_fraction("share", self.share)

    def __call__(self, observations: Observations, generator: np.random.Generator) -> np.ndarray:
        """A legal claim for each observation: ``(*batch, 3)``."""
        errs = generator.random(np.shape(observations["mask"])[:-1]) < self.share
        claims = random_moves(observations, generator), minimax_moves(observations, generator)
        return np.where(errs[..., None], *claims)


@cache
def value(mine: int, theirs: int) -> int:
    """Returns 1 if the player to move can force a win, −1 if the other can, else 0."""
    if LINED[theirs]:
        return -1
    return max((-value(theirs, mine | cell) for cell in _empty(mine, theirs)), default=0)


@cache
def _best() -> np.ndarray:
    """The cells of perfect play, as bits, by the marks of the player to move and the other's."""
    best = np.zeros((FULL + 1, FULL + 1), dtype=np.int64)
    value(0, 0)  # meets every position there is
    for mine in range(FULL + 1):
        for theirs in _reachable(mine):
            empty = _empty(mine, theirs)
            worth = {cell: -value(theirs, mine | cell) for cell in empty}
            best[mine, theirs] = sum(cell for cell in empty if worth[cell] == max(worth.values()))
    return best


def _reachable(mine: int) -> list[int]:
    """Marks the other may have when it is one's turn: as many or one more, nobody having won."""
    if LINED[mine]:
        return []
    ahead = (mine.bit_count(), mine.bit_count() + 1)
    return [
        theirs
        for theirs in range(FULL + 1)
        if not mine & theirs and theirs.bit_count() in ahead and not LINED[theirs]
    ]


def _empty(mine: int, theirs: int) -> list[int]:
    return [1 << cell for cell in range(CELLS) if not (mine | theirs) >> cell & 1]


def _marks(observations: Observations) -> tuple[np.ndarray, np.ndarray]:
    """The marks of whoever looks and of the other, as bits, ``(*batch,)`` each."""
    x, y, owner = np.moveaxis(np.asarray(observations["propositions"], dtype=np.int64), -1, 0)
    bits = np.asarray(observations["mask"], dtype=np.int64) << 3 * y + x
    theirs = (bits * owner).sum(-1)
    return bits.sum(-1) - theirs, theirs


def _draw(cells: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """One of the cells that are 1, as a claim."""
    cell = np.where(cells, generator.random(cells.shape), -1.0).argmax(-1)
    return np.stack([cell % 3, cell // 3, np.zeros_like(cell)], -1)


def _check(actions: np.ndarray, games: int) -> np.ndarray:
    actions = np.asarray(actions)
    if actions.shape != (games, 3):
        raise ShapeError(
            f"actions of shape {actions.shape} for {games} games",
            f"Give ({games}, 3), a row (x, y, player) a game",
        )
    if actions.dtype.kind not in "iu" or np.any((actions < 0) | (actions > (2, 2, 1))):
        raise DomainError(
            f"actions of {actions.dtype} such as {actions[0]}",
            "Give integers: x and y from 0 to 2, player 0 (oneself) or 1",
        )
    return actions.astype(np.int64)
