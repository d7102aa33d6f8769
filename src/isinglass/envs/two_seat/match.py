"""Games of one player against another, all at once, and how they ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isinglass._support.validation import check_count
from isinglass.envs.two_seat.game import DRAWN, LOST, PLAYING, WON, TwoSeatGame
from isinglass.envs.two_seat.opponents import Opposing, as_opponent, ask
from isinglass.envs.two_seat.pool import OpponentPool
from isinglass.envs.two_seat.seat_env import check_game, pool_of
from isinglass.envs.two_seat.tables import Tables

__all__ = ["MatchResult", "play_match"]


@dataclass(frozen=True)
class MatchResult:
    """How the games of a match ended for the first of two players.

    Attributes:
        wins: Games won.
        draws: Games drawn.
        losses: Games lost.

    Examples:
        >>> MatchResult(wins=2, draws=1, losses=1).points
        0.625
    """

    wins: int
    draws: int
    losses: int

    @property
    def games(self) -> int:
        """How many games were played."""
        return self.wins + self.draws + self.losses

    @property
    def points(self) -> float:
        """Points a game, 1 for a win and 1/2 for a draw."""
        return (self.wins + self.draws / 2) / self.games


def play_match(
    game: TwoSeatGame,
    player: Opposing,
    opponent: Opposing | OpponentPool | Sequence[Opposing] = "random",
    games: int = 1_000,
    seat: str = "alternate",
    seed: int = 0,
) -> MatchResult:
    """Plays many games at once, each player asked for all its moves of a turn together.

    Args:
        game: The rules.
        player: Whose games are counted: ``"random"``, an agent or a policy with ``predict``, which
            takes its best moves, or a function of observations, masks and a generator.
        opponent: Such a player, a sequence of some or a pool; one is drawn for each game.
        games: Number of games.
        seat: Who starts: ``player`` (``"first"``), the opponent (``"second"``), either by chance
            (``"random"``), or each in every second game (``"alternate"``).
        seed: Of everything that is drawn.

    Raises:
        ParameterError: If ``games`` or ``seed`` is no whole number, or a player, the game or the
            seat is none.
        ShapeError: If a player does not give one move a game.
        DomainError: If a move is not legal.

    Examples:
        >>> from isinglass.envs.connect_four import ConnectFourGame, Lookahead
        >>> result = play_match(ConnectFourGame(), Lookahead(2), "random", games=100)
        >>> result.games, result.points > 0.9
        (100, True)
    """
    games, game = check_count("games", games), check_game(game)
    own, pool = as_opponent(player), pool_of(opponent)[0]
    generator = np.random.default_rng(check_count("seed", seed, least=0))
    tables = Tables(game, games, pool, seat)
    if seat == "alternate":
        tables.take_turns()
    tables.deal(np.arange(games), generator)
    while len(which := np.flatnonzero(tables.outcome == PLAYING)):
        positions = tables.positions[which]
        moves = ask(own, game.observe(positions), game.legal(positions), generator)
        tables.move(which, moves, generator)
    ends = [int((tables.outcome == end).sum()) for end in (WON, DRAWN, LOST)]
    return MatchResult(*ends)
