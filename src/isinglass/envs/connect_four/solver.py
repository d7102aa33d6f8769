"""Perfect play of Connect Four: alpha-beta over bitboards, and players that look ahead."""

from __future__ import annotations

import numpy as np

from isinglass._support.typing import Bool, Int
from isinglass._support.validation import check_count, check_kind
from isinglass.envs.connect_four.game import ConnectFourGame
from isinglass.errors import DomainError

__all__ = ["ConnectFourSolver", "Lookahead"]

LARGEST_TABLE = 3_000_000  # positions that are remembered
EXACT = 10**6  # a depth that no game has


class ConnectFourSolver:
    r"""The outcome of positions under perfect play: 1 a win of whoever moves, 0 a draw, −1 a loss.

        v(s) = max_a −v(s after a)

    by alpha-beta with a table of positions, columns near the middle first. Moves that let the other
    win at once are never looked into, and where one such move has to be answered, only its answer
    is. The board of seven columns and six rows takes hours from its start and less than a second
    where half of it is filled; boards of twenty cells take seconds.

    References: Knuth & Moore 1975, "An analysis of alpha-beta pruning", Artificial Intelligence
    6:293-326; Pons 2015, "Solving Connect 4", blog.gamesolver.org.

    Args:
        game: Board and line.

    Attributes:
        nodes: Positions looked into so far.

    Raises:
        ParameterError: If ``game`` is none of Connect Four.

    Examples:
        >>> game = ConnectFourGame(4, 4, line=3)
        >>> solver = ConnectFourSolver(game)
        >>> solver.values(game.start(1))
        array([1])
        >>> solver.move_values(game.start(1))
        array([[1., 1., 1., 1.]])
    """

    def __init__(self, game: ConnectFourGame) -> None:
        check_kind("game", game, ConnectFourGame, "ConnectFourGame()")
        self.game = game
        self.nodes = 0
        self._size = game.rows * game.columns
        height, middle = game.rows + 1, (game.columns - 1) / 2
        order = sorted(range(game.columns), key=lambda column: abs(column - middle))
        self._columns = [((1 << game.rows) - 1) << column * height for column in order]
        self._known: dict[tuple[int, int], tuple[int, int]] = {}
        self._gaps = [
            [(place - gap) * shift for place in range(game.line) if place != gap]
            for shift in game.shifts
            for gap in range(game.line)
        ]

    def values(
        self, positions: Int[np.ndarray, "n 2"], depth: int | None = None
    ) -> Int[np.ndarray, "n"]:
        """Returns the value of positions where nobody has won.

        Args:
            positions: As :class:`ConnectFourGame` has them.
            depth: Moves to look ahead; what is not decided by then counts as a draw. None for all.

        Raises:
            ParameterError: If ``depth`` is no whole number of at least 0.
            DomainError: If there is a line on a board already.
        """
        moves = _depth(depth)
        return np.array([self._value(*pair, moves) for pair in self._pairs(positions)], dtype=int)

    def move_values(
        self, positions: Int[np.ndarray, "n 2"], depth: int | None = None
    ) -> np.ndarray:
        """Returns what each move is worth to whoever makes it, NaN where it is not legal.

        Args:
            positions: As :class:`ConnectFourGame` has them.
            depth: Moves to look ahead, this one among them; None for all.

        Returns:
            ``(n, columns)``, float64.

        Raises:
            ParameterError: If ``depth`` is no whole number of at least 1.
            DomainError: If there is a line on a board already.
        """
        moves = _depth(depth, least=1)
        found = np.full((len(positions), self.game.columns), np.nan)
        height = self.game.rows + 1
        for row, (mine, theirs) in enumerate(self._pairs(positions)):
            full = mine | theirs
            possible = (full + self.game.floor) & self.game.board
            for column in range(self.game.columns):
                disc = possible & ((1 << self.game.rows) - 1) << column * height
                if disc and self.game.has_line(mine | disc):
                    found[row, column] = 1
                elif disc:
                    found[row, column] = -self._value(theirs, mine | disc, moves - 1)
        return found

    def _pairs(self, positions: np.ndarray) -> list[tuple[int, int]]:
        if np.any(self.game.has_line(np.asarray(positions))):
            raise DomainError(
                "a position where somebody has won", "Give positions where the game goes on"
            )
        return [(mine, theirs) for mine, theirs in positions.tolist()]

    def _value(self, mine: int, theirs: int, depth: int) -> int:
        full = mine | theirs
        depth = min(depth, self._size - full.bit_count())
        if depth <= 0:
            return 0
        if self._winning(mine, full) & (full + self.game.floor):
            return 1
        return self._search(mine, full, -1, 1, depth)

    def _search(self, mine: int, full: int, low: int, high: int, depth: int) -> int:
        """The value within a window, where whoever moves cannot win at once."""
        self.nodes += 1
        possible = (full + self.game.floor) & self.game.board
        if depth == 1 or not possible:
            return 0
        theirs = mine ^ full
        possible = self._not_losing(theirs, full, possible)
        if not possible:
            return -1
        key = full + self.game.floor + mine, depth
        least, most = self._known.get(key, (-1, 1))
        if least >= high or least == most:
            return least
        if most <= low:
            return most
        low, high = max(low, least), min(high, most)
        best, floor = -1, low
        for column in self._columns:
            disc = possible & column
            if disc:
                value = -self._search(theirs, full | disc, -high, -floor, depth - 1)
                best, floor = max(best, value), max(floor, value)
                if floor >= high:
                    break
        self._keep(key, best, low, high)
        return best

    def _keep(self, key: tuple[int, int], best: int, low: int, high: int) -> None:
        least, most = self._known.get(key, (-1, 1))
        if len(self._known) >= LARGEST_TABLE:
            self._known.clear()
        if best > low:
            least = max(least, best)
        if best < high:
            most = min(most, best)
        self._known[key] = least, most

    def _winning(self, discs: int, full: int) -> int:
        """The empty cells that complete a line."""
        found = 0
        for gap in self._gaps:
            cells = -1
            for offset in gap:
                cells &= discs >> offset if offset > 0 else discs << -offset
            found |= cells
        return found & self.game.board & ~full

    def _not_losing(self, theirs: int, full: int, possible: int) -> int:
        """The moves after which the other cannot win at once."""
        threats = self._winning(theirs, full)
        forced = threats & possible
        if forced:
            possible = forced if forced & (forced - 1) == 0 else 0
        return possible & ~(threats >> 1)  # not below a cell where the other wins


class Lookahead:
    """A player of Connect Four that looks some moves ahead, and draws one of the best moves.

    Two moves see a win, and block the other's. With None it looks to the end, which is perfect
    play, for small boards.

    Args:
        depth: Moves to look ahead, its own among them; None for all.
        line: Discs in a line that win.

    Raises:
        ParameterError: If ``depth`` is no whole number of at least 1.

    Examples:
        >>> from isinglass.envs import play_match
        >>> game = ConnectFourGame(4, 4, line=3)
        >>> play_match(game, Lookahead(None, line=3), "random", games=20, seat="first").wins
        20
    """

    def __init__(self, depth: int | None = 2, line: int = 4) -> None:
        _depth(depth, least=1)
        self.depth, self.line = depth, check_count("line", line, least=2)
        self._solver: ConnectFourSolver | None = None

    def __repr__(self) -> str:
        return f"Lookahead({self.depth}, {self.line})"

    def __call__(
        self,
        observations: np.ndarray,
        masks: Bool[np.ndarray, "n columns"],
        generator: np.random.Generator,
    ) -> Int[np.ndarray, "n"]:
        """Returns one of the best moves for each observation, drawn uniformly."""
        rows, columns = observations.shape[-2:]
        if self._solver is None or self._solver.game.observation_space.shape != (2, rows, columns):
            self._solver = ConnectFourSolver(ConnectFourGame(rows, columns, self.line))
        positions = self._solver.game.positions(observations)
        worth = np.where(masks, self._solver.move_values(positions, self.depth), -2.0)
        best = worth == worth.max(-1, keepdims=True)
        return np.where(best, generator.random(best.shape), -1.0).argmax(-1)


def _depth(depth: int | None, least: int = 0) -> int:
    return EXACT if depth is None else check_count("depth", depth, least)
