"""Noughts and crosses over propositions: rules, perfect play, exact values, many games at once."""

from functools import cache

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_env_of_sb3

from isinglass.envs.tictactoe.env import Erring, Masked, Score, TicTacToe, action_mask, play
from isinglass.envs.tictactoe.game import Games, minimax_moves, value
from isinglass.errors import DomainError, ParameterError, ShapeError
from tests.seeds import SEED, numpy_seeded, shifted

LINES = [
    [(0, i), (1, i), (2, i)] for i in range(3)
] + [[(i, 0), (i, 1), (i, 2)] for i in range(3)] + [
    [(0, 0), (1, 1), (2, 2)], [(2, 0), (1, 1), (0, 2)],
]  # fmt: skip
CELLS = [(x, y) for y in range(3) for x in range(3)]


def won(claims):
    return any(all(cell in claims for cell in line) for line in LINES)


def empty(mine, theirs):
    return [cell for cell in CELLS if cell not in mine and cell not in theirs]


@cache
def forced(mine, theirs):
    """1 if whoever is next can force a win, −1 if the other can, else 0."""
    if won(theirs):
        return -1
    return max((-forced(theirs, mine | {cell}) for cell in empty(mine, theirs)), default=0)


@cache
def expected(mine, theirs, own_next, share=1.0):
    """Best mean reward against perfect play that errs, over frozen sets of cells; 1: at random."""
    if won(mine):
        return 20.0
    if won(theirs):
        return -20.0
    cells = empty(mine, theirs)
    if not cells:
        return 10.0
    if own_next:
        return max(expected(mine | {cell}, theirs, False, share) for cell in cells)
    after = {cell: expected(mine, theirs | {cell}, True, share) for cell in cells}
    worth = {cell: -forced(mine, theirs | {cell}) for cell in cells}
    good = [after[cell] for cell in cells if worth[cell] == max(worth.values())]
    return share * np.mean(list(after.values())) + (1 - share) * np.mean(good)


@cache
def against_random(mine, theirs, share):
    """Mean reward against random of who plays best against perfect play that errs; next is ours."""
    cells = empty(mine, theirs)
    best = max(cells, key=lambda cell: expected(mine | {cell}, theirs, False, share))
    mine, cells = mine | {best}, [cell for cell in cells if cell != best]
    if won(mine) or not cells:
        return 20.0 if won(mine) else 10.0
    ends = (won(theirs | {cell}) or len(cells) == 1 for cell in cells)
    return np.mean(
        [
            expected(mine, theirs | {cell}, True) if end else
            against_random(mine, theirs | {cell}, share)
            for cell, end in zip(cells, ends, strict=True)
        ]
    )  # fmt: skip


def claims(observation):
    """Two frozen sets of cells, from one observation; the padding must be zero and last."""
    filled = int(observation["mask"].sum())
    assert observation["mask"].tolist() == [1] * filled + [0] * (9 - filled)
    rows = [tuple(map(int, row)) for row in observation["propositions"]]
    assert all(row == (0, 0, 0) for row in rows[filled:])
    sides = [{row[:2] for row in rows[:filled] if row[2] == who} for who in (0, 1)]
    assert sum(map(len, sides)) == filled
    return frozenset(sides[0]), frozenset(sides[1])


def expectimax(observations, generator):
    """The best player against a random one."""
    actions = []
    for rows, mask in zip(observations["propositions"], observations["mask"], strict=True):
        mine, theirs = claims({"propositions": rows, "mask": mask})
        best = max(empty(mine, theirs), key=lambda c: expected(mine | {c}, theirs, False))
        actions.append((*best, 0))
    return np.array(actions)


def one(observation):
    return {name: rows[None] for name, rows in observation.items()}


@pytest.mark.parametrize("render_mode", ["ansi", "rgb_array"])
@pytest.mark.filterwarnings("ignore:Your observation propositions has an unconventional shape")
def test_gymnasium_contract(render_mode):
    env = gym.make("isinglass/TicTacToe-v0", render_mode=render_mode).unwrapped
    check_env(env)
    check_env_of_sb3(env)


@pytest.mark.parametrize("seat", ["first", "second"])
@pytest.mark.parametrize("opponent", ["random", "minimax"])
def test_games_follow_the_rules(seat, opponent):
    env = TicTacToe(opponent, seat)
    draw, ends = numpy_seeded(0), set()
    env.reset(seed=SEED)
    for _ in range(80):
        observation, info = env.reset()
        mine, theirs = claims(observation)
        assert (len(mine), len(theirs)) == (0, int(seat == "second"))
        ended = False
        while not ended:
            legal = {tuple(map(int, row)) for row in np.argwhere(info["action_mask"])}
            assert legal == {(*cell, 0) for cell in empty(mine, theirs)}
            assert np.array_equal(action_mask(one(observation))[0], info["action_mask"])
            action = sorted(legal)[draw.integers(len(legal))]
            observation, reward, ended, truncated, info = env.step(np.array(action))
            assert env.observation_space.contains(observation)
            assert not truncated
            assert not info["illegal"]
            before, (mine, theirs) = (mine, theirs), claims(observation)
            assert mine == before[0] | {action[:2]}
            answered = not won(mine) and len(mine | before[1]) < 9
            assert len(theirs - before[1]) == answered
            full = not empty(mine, theirs)
            assert ended == (won(mine) or won(theirs) or full)
            assert reward == (20 if won(mine) else -20 if won(theirs) else 10 if full else 0)
        assert info["action_mask"].all()
        ends.add(reward)
    assert ends == ({20, 10, -20} if opponent == "random" else {10, -20})


@pytest.mark.parametrize(("action", "why"), [((1, 1, 0), "taken"), ((0, 2, 1), "not mine to say")])
def test_an_illegal_claim_ends_the_game_and_leaves_the_board(action, why):
    env = TicTacToe(lambda observations, _: np.array([[1, 1, 0]]), seat="second")
    before, _ = env.reset(seed=SEED)
    after, reward, terminated, truncated, info = env.step(np.array(action))
    assert (reward, terminated, truncated, info["illegal"]) == (-20, True, False, True)
    assert claims(after) == claims(before) == (frozenset(), {(1, 1)})
    with pytest.raises(gym.error.ResetNeeded):
        env.step(np.array([0, 0, 0]))


def test_an_illegal_claim_of_the_opponent_wins():
    env = TicTacToe(lambda observations, _: np.array([[1, 1, 0]]), seat="first")
    env.reset(seed=SEED)
    _, reward, terminated, _, info = env.step(np.array([1, 1, 0]))
    assert (reward, terminated, info["illegal"]) == (20, True, False)


def test_the_order_of_the_rows_is_random_or_that_of_the_cells():
    def orders(shuffle):
        seen = set()
        for seed in range(60):
            env = TicTacToe(lambda observations, _: np.array([[2, 0, 0]]), "second", shuffle)
            env.reset(seed=shifted(seed))
            env._opponent = lambda observations, _: np.array([[0, 1, 0]])
            rows = env.step(np.array([1, 2, 0]))[0]["propositions"]
            seen.add(tuple(map(tuple, rows[:3].tolist())))
        return seen

    by_cell = ((2, 0, 1), (0, 1, 1), (1, 2, 0))
    assert orders(False) == {by_cell}
    assert len(orders(True)) == 6


def test_seeds():
    def course(seed):
        env = TicTacToe(["random", "minimax"])
        seen, (observation, info) = [], env.reset(seed=shifted(seed))
        for _ in range(30):
            seen.append(observation["propositions"].tobytes())
            action = np.argwhere(info["action_mask"])[-1]
            observation, _, ended, _, info = env.step(action)
            if ended:
                observation, info = env.reset()
        return seen

    assert course(3) == course(3)
    assert course(3) != course(4)


def test_the_value_of_perfect_play():
    value.cache_clear()
    assert value(0, 0) == 0
    assert value.cache_info().currsize == 5_478
    for seat in ("first", "second"):
        assert play("minimax", 2_000, "minimax", seat) == Score(0, 2_000, 0, 0)
        assert play("minimax", 2_000, "random", seat).losses == 0
        assert play("random", 2_000, "minimax", seat).wins == 0


def test_minimax_draws_among_all_its_best_cells():
    games = Games(4_000)
    corner = np.zeros((4_000, 3), dtype=int)
    games.claim(games.playing, 0, corner)
    answers = minimax_moves(games.observe(games.playing, 1), numpy_seeded(0))
    assert np.array_equal(np.unique(answers, axis=0), [[1, 1, 0]])  # only the center draws
    openings = minimax_moves(Games(9_000).observe(np.arange(9_000)), numpy_seeded(0))
    counts = np.unique(openings, axis=0, return_counts=True)[1]
    assert len(counts) == 9  # every opening draws
    assert np.abs(counts - 1_000).max() < 5 * (1_000 * 8 / 9) ** 0.5


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_perfect_play_errs_as_often_as_it_should(share):
    games = Games(8_000)
    games.claim(games.playing, 0, np.zeros((8_000, 3), dtype=int))
    drawn = Erring(share)(games.observe(games.playing, 1), numpy_seeded(0))
    counts = np.bincount(drawn[:, 0] + 3 * drawn[:, 1], minlength=9) / 8_000
    probability = np.array([0.0, *[share / 8] * 8]) + (1 - share) * (
        np.arange(9) == 4
    )  # the center draws
    assert np.all(
        np.abs(counts - probability) <= 5 * np.sqrt(probability * (1 - probability) / 8_000)
    )
    assert not drawn[:, 2].any()


def test_what_is_best_against_perfect_play_that_errs_is_best_against_random():
    nothing, openings = frozenset(), [frozenset({cell}) for cell in CELLS]
    for share in (0.55, 0.9):
        assert against_random(nothing, nothing, share) == pytest.approx(19.948, abs=5e-4)
        second = np.mean([against_random(nothing, opening, share) for opening in openings])
        assert second == pytest.approx(19.164, abs=5e-4)
    assert against_random(nothing, nothing, 0.35) < 19.9  # too careful


def test_oversights_cost_much_against_perfect_play_that_errs():
    """Among positions that best play meets: what claims cost that allow a line at once."""

    def costs(mine, theirs, share):
        worth = {
            cell: expected(mine | {cell}, theirs, False, share) for cell in empty(mine, theirs)
        }
        best = max(worth, key=worth.get)
        found = [
            worth[best] - worth[cell]
            for cell in worth
            if not won(mine | {cell})
            and any(won(theirs | {reply}) for reply in empty(mine | {cell}, theirs))
        ]
        mine = mine | {best}
        for reply in () if won(mine) else empty(mine, theirs):
            after = theirs | {reply}
            if not won(after) and empty(mine, after):
                found += costs(mine, after, share)
        return found

    starts = [frozenset(), *(frozenset({cell}) for cell in CELLS)]
    assert min(min(costs(frozenset(), first, 0.55)) for first in starts) > 15
    assert min(min(costs(frozenset(), first, 1.0)) for first in starts) < 7


def test_a_share_of_errors_is_a_fraction():
    with pytest.raises(ParameterError, match="share"):
        Erring(1.5)


def test_the_best_mean_reward_from_the_first_seat_against_random():
    exact = expected(frozenset(), frozenset(), True)
    assert exact == pytest.approx(19.948, abs=5e-4)
    score = play(expectimax, 4_000, "random", "first", seed=shifted(1))
    assert score.losses == score.illegal == 0
    draws = (20 - exact) / 10  # it never loses, so that each draw costs ten
    assert abs(score.mean_reward - exact) < 5 * 10 * (draws * (1 - draws) / 4_000) ** 0.5


def test_games_one_by_one_and_all_at_once_end_alike():
    """Random against random, known to be 0.585, 0.127 and 0.288 from the first seat."""
    shares = np.array([737 / 1260, 8 / 63, 121 / 420])
    score = play("random", 20_000, seat="first", seed=shifted(2))
    many = np.array([score.wins, score.draws, score.losses]) / 20_000
    assert np.all(np.abs(many - shares) < 5 * np.sqrt(shares * (1 - shares) / 20_000))
    env, draw, ends = TicTacToe(seat="first"), numpy_seeded(0), []
    env.reset(seed=SEED)
    while len(ends) < 300:
        ended, info = False, env.reset()[1]
        while not ended:
            action = draw.permutation(np.argwhere(info["action_mask"]))[0]
            _, reward, ended, _, info = env.step(action)
        ends.append(reward)
    single = np.array([ends.count(reward) for reward in (20, 10, -20)]) / 300
    assert np.all(np.abs(single - shares) < 5 * np.sqrt(shares * (1 - shares) / 300))


class Agent:
    """As Stable-Baselines3's: claims the first cell, unless masks say better."""

    def __init__(self):
        self.calls = 0

    def predict(self, observation, state=None, *, deterministic=False, action_masks=None):
        self.calls += 1
        assert deterministic
        batch = observation["mask"].shape[:-1]
        if action_masks is None:
            return np.zeros((*batch, 3), dtype=int), None
        flat = action_masks.reshape(*batch, -1).argmax(-1)
        return np.stack(np.unravel_index(flat, (3, 3, 2)), -1), None


def test_agents_play_in_batches_with_masks_and_without():
    bare = Agent()
    score = play(bare, 1_000, "random", seed=SEED)
    assert score.games == score.illegal + score.losses + score.wins == 1_000
    assert score.illegal > 900
    assert bare.calls == 2  # by the second claim every game is lost
    assert score.mean_reward == (20 * score.wins - 20 * (1_000 - score.wins)) / 1_000
    masked = Agent()
    score = play(Masked(masked), 1_000, "random", seed=SEED)
    assert score.illegal == 0
    assert masked.calls <= 5
    assert play("random", 500, bare, "first").wins == 500
    assert play("random", 500, [bare, Masked(masked)], "first").losses > 50


def test_a_saved_agent_as_the_opponent_sees_its_own_side():
    class Watcher(Agent):
        def predict(self, observation, state=None, *, deterministic=False):
            mine, theirs = claims({name: rows[0] for name, rows in observation.items()})
            self.seen = mine, theirs
            return np.array([[*empty(mine, theirs)[0], 0]]), None

    watcher = Watcher()
    env = TicTacToe(watcher, "first")
    env.reset(seed=SEED)
    env.step(np.array([2, 2, 0]))
    assert watcher.seen == (frozenset(), {(2, 2)})
    env.step(np.array([2, 1, 0]))
    assert watcher.seen == ({(0, 0)}, {(2, 2), (2, 1)})


def test_several_opponents_and_either_seat_are_drawn_per_game():
    asked = [0, 0]

    def opponent(number):
        def claim(observations, generator):
            asked[number] += observations["mask"].sum() == 0  # it opens a game
            return np.array([[1, 1, 0]])

        return claim

    env = TicTacToe([opponent(0), opponent(1)], "random")
    env.reset(seed=SEED)
    for _ in range(400):
        env.reset()
    assert abs(sum(asked) - 200) < 5 * 10
    assert abs(asked[0] - asked[1]) < 5 * 200**0.5


def test_rendering():
    def answer(observations, generator):
        return np.array([[0, 2, 0]])

    env = TicTacToe(answer, "first", render_mode="ansi")
    env.reset(seed=SEED)
    env.step(np.array([2, 1, 0]))
    assert env.render() == "···\n··X\nO··"
    env = TicTacToe(answer, "second", render_mode="ansi")
    env.reset(seed=SEED)
    assert env.render() == "···\n···\nX··"
    image = TicTacToe(answer, "second", render_mode="rgb_array")
    image.reset(seed=SEED)
    board = image.render()
    assert board.shape == (144, 144, 3)
    assert board[120, 24].tolist() == [0, 121, 107]  # the middle of the cross
    assert TicTacToe().render() is None


@pytest.mark.parametrize(
    "bad",
    [{"opponent": "perfect"}, {"opponent": []}, {"opponent": ["random", 3]}, {"opponent": Erring},
     {"seat": "third"},
     {"render_mode": "human"}],
    ids=str,
)  # fmt: skip
@pytest.mark.usefixtures("unannotated")
def test_bad_arguments(bad):
    with pytest.raises(ParameterError):
        TicTacToe(**bad)
    with pytest.raises(ParameterError):
        play("random", 0)
    with pytest.raises(ParameterError):
        play("perfect", 10)
    with pytest.raises(ParameterError):
        play(["random", "minimax"], 10)


def test_bad_actions():
    env = TicTacToe(seat="first")
    env.reset(seed=SEED)
    with pytest.raises(ShapeError, match="a row"):
        env.step(np.array([0, 0]))
    for bad in ([3, 0, 0], [0, -1, 0], [0, 0, 2], [0.5, 0, 0], [np.nan, 0, 0]):
        with pytest.raises(DomainError, match="from 0 to 2"):
            env.step(np.array(bad))
    assert not env.step(np.array([0, 0, 0]))[2]  # nothing is lost
    with pytest.raises(gym.error.ResetNeeded):
        TicTacToe().step(np.array([0, 0, 0]))
    with pytest.raises(ShapeError):
        play(lambda observations, _: np.zeros((1, 3), dtype=int), 5)
