"""Many games side by side: a learner in one seat of each, opponents in the other."""

from __future__ import annotations

import numpy as np

from isinglass._support.typing import Bool, Int
from isinglass._support.validation import check_choice
from isinglass.envs.two_seat.game import DRAWN, ILLEGAL, LOST, PLAYING, WON, TwoSeatGame
from isinglass.envs.two_seat.opponents import Opponent, ask
from isinglass.envs.two_seat.pool import OpponentPool

__all__ = ["REWARDS", "SEATS", "Tables"]

SEATS = ("first", "second", "random", "alternate")
REWARDS = np.array([0.0, 1.0, 0.0, -1.0, -1.0])  # of PLAYING, WON, DRAWN, LOST, ILLEGAL
MIRRORED = np.array([PLAYING, LOST, DRAWN, WON, ILLEGAL])  # how it stands for the other seat


class Tables:
    """Games of a learner against opponents of a pool, one a table.

    Each opponent is asked for all its tables together.

    Args:
        game: The rules.
        count: Number of tables.
        pool: Whom opponents are drawn from, for each game anew.
        seat: Who starts: the learner (``"first"``), the opponent, either by chance
            (``"random"``), or both by turns (``"alternate"``), the first time by chance.

    Attributes:
        positions: ``(count, 2)``, seen by the learner.
        outcome: ``(count,)``, for the learner.
        second: ``(count,)``, whether the opponent has started.
        against: The opponent at each table.
    """

    def __init__(self, game: TwoSeatGame, count: int, pool: OpponentPool, seat: str) -> None:
        check_choice("seat", seat, SEATS)
        self.game, self.pool, self.seat = game, pool, seat
        self.positions = game.start(count)
        self.outcome = np.full(count, LOST)  # nothing to play before the first deal
        self.second = np.zeros(count, dtype=bool)
        self.against: list[Opponent | None] = [None] * count
        self._dealt = np.zeros(count, dtype=bool)

    def restart(self) -> None:
        """Forgets who has started last, as a new seed asks for."""
        self._dealt[:] = False

    def take_turns(self) -> None:
        """Lets the seats of the first games alternate from table to table too."""
        self.second[:] = np.arange(len(self.second)) % 2 == 0
        self._dealt[:] = True

    def deal(self, tables: Int[np.ndarray, "n"], generator: np.random.Generator) -> None:
        """Starts a game at some tables: draws opponents and seats, and lets those in front move."""
        self.positions[tables] = self.game.start(len(tables))
        self.outcome[tables] = PLAYING
        for table, opponent in zip(tables, self.pool.draw(len(tables), generator), strict=True):
            self.against[table] = opponent
        second = np.full(len(tables), self.seat == "second")
        if self.seat in ("random", "alternate"):
            second = generator.random(len(tables)) < 0.5
        if self.seat == "alternate":
            second = np.where(self._dealt[tables], ~self.second[tables], second)
        self.second[tables] = second
        self._dealt[tables] = True
        self._answer(tables[second], generator)

    def move(
        self,
        tables: Int[np.ndarray, "n"],
        moves: Int[np.ndarray, "n"],
        generator: np.random.Generator,
    ) -> None:
        """Plays the moves of the learner, and lets opponents answer; an illegal one loses."""
        legal = self.game.legal(self.positions[tables])[np.arange(len(tables)), moves]
        self.outcome[tables[~legal]] = ILLEGAL
        played = tables[legal]
        positions, self.outcome[played] = self.game.play(self.positions[played], moves[legal])
        self.positions[played] = positions[:, ::-1]
        self._answer(played[self.outcome[played] == PLAYING], generator)

    def masks(self) -> Bool[np.ndarray, "count moves"]:
        """Returns what the learner may do; everything where a game is over and nothing is asked."""
        return self.game.legal(self.positions) | (self.outcome != PLAYING)[:, None]

    def _answer(self, tables: np.ndarray, generator: np.random.Generator) -> None:
        groups: dict[int, list[int]] = {}
        for table in tables.tolist():
            groups.setdefault(id(self.against[table]), []).append(table)
        for group in groups.values():
            which = np.array(group)
            opponent = self.against[group[0]]
            theirs = self.positions[which][:, ::-1]
            masks, seen = self.game.legal(theirs), self.game.observe(theirs)
            moves = ask(opponent, seen, masks, generator)  # pyright: ignore[reportArgumentType]
            self.positions[which], ends = self.game.play(theirs, moves)
            self.outcome[which] = MIRRORED[ends]
