"""Connect Four: rules held against plain loops, play against plain negamax, mirrored boards."""

from collections import namedtuple

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_env_of_sb3

from isinglass.envs import ConnectFour, make_env, play_match
from isinglass.envs.connect_four import (
    ConnectFourGame,
    ConnectFourSolver,
    Lookahead,
    random_mirror_augmentation,
)
from isinglass.errors import DomainError, ParameterError
from tests.seeds import numpy_seeded, shifted

BOARDS = [(6, 7, 4), (4, 5, 4), (3, 3, 3), (2, 6, 3), (5, 2, 2), (1, 4, 2), (8, 7, 5)]
DIRECTIONS = [(0, 1), (1, 0), (1, 1), (1, -1)]


class Plain:
    """Connect Four by lists and loops: 0 is empty, 1 and −1 are those who play."""

    def __init__(self, rows, columns, line):
        self.rows, self.columns, self.line = rows, columns, line
        self.board = [[0] * columns for _ in range(rows)]  # the lowest row first

    def legal(self):
        return [self.board[-1][column] == 0 for column in range(self.columns)]

    def drop(self, column, who):
        row = next(row for row in range(self.rows) if self.board[row][column] == 0)
        self.board[row][column] = who
        return row

    def has_line(self, who):
        for row in range(self.rows):
            for column in range(self.columns):
                for up, right in DIRECTIONS:
                    cells = [(row + up * i, column + right * i) for i in range(self.line)]
                    if all(
                        0 <= r < self.rows and 0 <= c < self.columns and self.board[r][c] == who
                        for r, c in cells
                    ):
                        return True
        return False

    def value(self, who, depth=99):
        """Plain negamax: no pruning, no table."""
        if depth == 0 or not any(self.legal()):
            return 0
        return max(self.worth(column, who, depth) for column in np.flatnonzero(self.legal()))

    def worth(self, column, who, depth=99):
        row = self.drop(column, who)
        found = 1 if self.has_line(who) else -self.value(-who, depth - 1)
        self.board[row][column] = 0
        return found


def random_game(rows, columns, line, random):
    """A game at random, by both: the bitboards, the plain board and who is next, move by move."""
    game, plain = ConnectFourGame(rows, columns, line), Plain(rows, columns, line)
    positions, who = game.start(1), 1
    while True:
        yield game, plain, positions, who
        column = random.choice(np.flatnonzero(plain.legal()))
        plain.drop(column, who)
        positions, outcome = game.play(positions, np.array([column]))
        over = 2 * (not any(plain.legal()))
        assert outcome[0] == (1 if plain.has_line(who) else over)
        who = -who
        if outcome[0]:
            yield game, plain, positions, who
            return


@pytest.mark.parametrize(("rows", "columns", "line"), BOARDS)
def test_rules_are_those_of_plain_loops(rows, columns, line):
    random = numpy_seeded(0)
    for _ in range(10):
        for game, plain, positions, who in random_game(rows, columns, line, random):
            board = np.array(plain.board)[::-1]
            np.testing.assert_array_equal(game.observe(positions)[0], [board == who, board == -who])
            np.testing.assert_array_equal(game.legal(positions)[0], plain.legal())
            np.testing.assert_array_equal(game.positions(game.observe(positions)), positions)
            assert game.has_line(int(positions[0, 1])) == plain.has_line(-who)


def test_many_games_at_once_are_as_each_alone():
    game, random = ConnectFourGame(5, 6), numpy_seeded(1)
    together = game.start(50)
    alone = [game.start(1) for _ in range(50)]
    for _ in range(6):
        moves = np.where(game.legal(together), random.random((50, 6)), -1).argmax(1)
        together, outcome = game.play(together, moves)
        for i, move in enumerate(moves):
            alone[i], one = game.play(alone[i], np.array([move]))
            assert one[0] == outcome[i]
        np.testing.assert_array_equal(np.concatenate(alone), together)


@pytest.mark.parametrize(("rows", "columns", "line"), [(3, 3, 3), (2, 4, 3), (4, 3, 3), (3, 3, 2)])
def test_the_solver_is_plain_negamax(rows, columns, line):
    random = numpy_seeded(2)
    for _ in range(6):
        for number, (game, plain, positions, who) in enumerate(
            random_game(rows, columns, line, random)
        ):
            over = plain.has_line(-who) or not any(plain.legal())
            if number < 3 or over:  # plain negamax is slow where a board is empty
                continue
            wanted = [
                plain.worth(column, who) if legal else np.nan
                for column, legal in enumerate(plain.legal())
            ]
            solver = ConnectFourSolver(game)
            np.testing.assert_array_equal(solver.move_values(positions)[0], wanted)
            assert solver.values(positions)[0] == np.nanmax(wanted)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_looking_ahead_is_plain_negamax_of_that_depth(depth):
    random, solver = numpy_seeded(3), ConnectFourSolver(ConnectFourGame(4, 4))
    for _ in range(3):
        for _, plain, positions, who in random_game(4, 4, 4, random):
            if plain.has_line(-who) or not any(plain.legal()):
                continue
            wanted = [
                plain.worth(column, who, depth) if legal else np.nan
                for column, legal in enumerate(plain.legal())
            ]
            np.testing.assert_array_equal(solver.move_values(positions, depth)[0], wanted)
            assert solver.values(positions, depth)[0] == np.nanmax(wanted)


def test_the_board_of_sixteen_is_drawn():
    game = ConnectFourGame(4, 4)
    assert ConnectFourSolver(game).values(game.start(1)) == 0


def test_mirrored_positions_have_mirrored_values():
    random, game = numpy_seeded(4), ConnectFourGame(4, 5)
    solver, other = ConnectFourSolver(game), ConnectFourSolver(game)
    for _ in range(5):
        for _, plain, positions, who in random_game(4, 5, 4, random):
            if plain.has_line(-who) or np.count_nonzero(plain.board) < 8:
                continue
            mirrored = game.positions(game.observe(positions)[..., ::-1])
            np.testing.assert_array_equal(
                solver.move_values(positions), other.move_values(mirrored)[:, ::-1]
            )


def test_late_positions_of_the_large_board_are_solved():
    """The last five moves, by plain negamax, in games at random that got so far."""
    game, random = ConnectFourGame(), numpy_seeded(5)
    positions = game.start(4_000)
    for _ in range(37):
        moves = np.where(game.legal(positions), random.random((len(positions), 7)), -1).argmax(1)
        positions, outcome = game.play(positions, moves)
        positions = positions[outcome == 0]
    assert len(positions) >= 10
    values = ConnectFourSolver(game).values(positions[:10])
    for observation, value in zip(game.observe(positions[:10]), values, strict=True):
        plain = Plain(6, 7, 4)
        plain.board = (observation[0].astype(int) - observation[1])[::-1].tolist()
        assert plain.value(1) == value


def test_players_that_look_ahead():
    game = ConnectFourGame(4, 4, line=3)
    perfect = Lookahead(None, line=3)
    assert play_match(game, perfect, "random", 30, seat="first").wins == 30  # a won game
    assert play_match(game, perfect, perfect, 30, seat="first").wins == 30
    four = ConnectFourGame(4, 4)
    result = play_match(four, Lookahead(None), Lookahead(2), 30, seed=shifted(0))
    assert result.losses == 0  # 4 × 4 is drawn


def test_ties_are_drawn_uniformly():
    """In 5,000 empty boards each of seven columns: 4.5 standard deviations around 714."""
    observations = np.zeros((5_000, 2, 6, 7), np.int8)
    moves = Lookahead(2)(observations, np.ones((5_000, 7), bool), numpy_seeded(6))
    counts = np.bincount(moves, minlength=7)
    assert np.all(np.abs(counts - 5_000 / 7) < 4.5 * np.sqrt(5_000 * 6 / 49))


def test_the_environment_is_one():
    env = ConnectFour(4, 5, opponent=Lookahead(2), render_mode="rgb_array")
    check_env(env, skip_render_check=True)
    check_env_of_sb3(ConnectFour(4, 5))
    assert env.render().shape == (4 * 48, 5 * 48, 3)
    assert make_env("isinglass/ConnectFour-v0").unwrapped.game.columns == 7
    assert ConnectFour().render() is None


def test_who_starts_has_the_crosses():
    for seat, mark in [("first", "X"), ("second", "O")]:
        env = ConnectFour(seat=seat, render_mode="ansi")
        env.reset(seed=shifted(0))
        assert env.render().count("X") == (seat == "second")
        before = env.render().count(mark)
        env.step(3)
        assert env.render().count(mark) == before + 1


def test_a_full_column_loses_and_the_end_is_the_end():
    env = ConnectFour(2, 5, line=4, seat="first", opponent=first_legal)
    env.reset(seed=0)
    _, reward, terminated, _, info = env.step(0)  # the answer fills the column
    assert (reward, terminated, info["action_mask"][0]) == (0.0, False, False)
    _, reward, terminated, truncated, info = env.step(0)
    assert (reward, terminated, truncated, info["illegal"]) == (-1.0, True, False, True)
    assert info["action_mask"].all()
    with pytest.raises(gym.error.ResetNeeded, match="ConnectFour"):
        env.step(0)


def first_legal(observations, masks, generator):
    return masks.argmax(-1)


def test_rewards_are_those_of_the_outcome():
    """Against who piles up the first columns: a win in the last one, then a loss, a draw too."""
    env = ConnectFour(6, 7, seat="first", opponent=first_legal)
    env.reset()
    rewards = [env.step(6)[1:3] for _ in range(4)]
    assert rewards == [(0.0, False)] * 3 + [(1.0, True)]
    env = ConnectFour(6, 7, seat="second", opponent=first_legal)
    env.reset()
    assert [env.step(c)[1:3] for c in (1, 1, 2)] == [(0.0, False)] * 2 + [(-1.0, True)]
    env = ConnectFour(1, 4, line=3, seat="first", opponent=first_legal)
    env.reset()
    assert [env.step(c)[1:3] for c in (2, 3)] == [(0.0, False), (0.0, True)]


def test_same_seed_same_game():
    def game(env):
        seen = [env.reset(seed=shifted(3))[0]]
        random = numpy_seeded(7)
        for _ in range(60):
            legal = np.flatnonzero(env.action_masks())
            observation, reward, over, _, _ = env.step(random.choice(legal))
            seen += [observation, np.array(reward)]
            if over:
                seen.append(env.reset()[0])
        return seen

    one, other = game(ConnectFour()), game(ConnectFour())
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_mirrored_transitions_are_those_of_mirrored_games():
    game, random = ConnectFourGame(4, 5), numpy_seeded(8)
    before = game.start(400)
    for _ in range(5):
        moves = np.where(game.legal(before), random.random((400, 5)), -1).argmax(1)
        before, _ = game.play(before, moves)
    moves = np.where(game.legal(before), random.random((400, 5)), -1).argmax(1)
    after, _ = game.play(before, moves)
    batch = namedtuple("batch", "observations actions next_observations next_masks")(
        torch.tensor(game.observe(before)),
        torch.tensor(moves)[:, None],
        torch.tensor(game.observe(after)),
        torch.tensor(game.legal(after)),
    )
    found = random_mirror_augmentation(batch, numpy_seeded(9))
    positions = game.positions(found.observations.numpy())
    changed = (found.observations != batch.observations).flatten(1).any(1)
    assert 0.3 < changed.float().mean() < 0.6  # half, but for boards that are their own image
    again, _ = game.play(positions, found.actions[:, 0].numpy())
    np.testing.assert_array_equal(game.observe(again), found.next_observations)
    np.testing.assert_array_equal(game.legal(again), found.next_masks)


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize(
    "sizes",
    [(3, 3, 4), (0, 7, 4), (6, 7, 1), (6, 7, 4.5), (8, 8, 4), (6, "7", 4), (True, 7, 4)],
)
def test_boards_that_are_none(sizes):
    with pytest.raises(ParameterError, match="ConnectFour"):
        ConnectFour(*sizes)


@pytest.mark.usefixtures("unannotated")
def test_bad_input():
    env = ConnectFour(4, 5)
    env.reset(seed=0)
    for action in (5, -1, 0.5, "a", None, True):
        with pytest.raises(DomainError, match="0 to 4"):
            env.step(action)
    with pytest.raises(ParameterError, match="render_mode"):
        ConnectFour(render_mode="human")
    with pytest.raises(ParameterError, match="seat"):
        ConnectFour(seat="third")
    with pytest.raises(ParameterError, match="opponent"):
        ConnectFour(opponent="minimax")
    with pytest.raises(ParameterError, match="empty sequence"):
        ConnectFour(opponent=[])
    with pytest.raises(ParameterError, match="depth"):
        Lookahead(0)
    with pytest.raises(ParameterError, match="game"):
        ConnectFourSolver("4x5")
    won = ConnectFourGame(4, 5).start(1)
    won[0, 1] = 0b1111
    with pytest.raises(DomainError, match="has won"):
        ConnectFourSolver(ConnectFourGame(4, 5)).values(won)
    batch = namedtuple("batch", "observations actions next_observations")
    flat = batch(torch.zeros(3, 18), torch.zeros(3, 1), torch.zeros(3, 18))
    with pytest.raises(ParameterError, match="no boards"):
        random_mirror_augmentation(flat, numpy_seeded(0))
