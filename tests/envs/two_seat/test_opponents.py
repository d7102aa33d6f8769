"""Opponents and the pool they are drawn from: frozen, seeded, drawn as it is said."""

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

from isinglass.agents import FreeEnergyQ, SeatVecEnv
from isinglass.envs import AgentOpponent, ConnectFour, OpponentPool, SeatEnv, play_match
from isinglass.envs.connect_four import ConnectFourGame, Lookahead
from isinglass.envs.tictactoe.board import TicTacToeGame, perfect_opponent
from isinglass.errors import DomainError, FileError, ParameterError, ShapeError
from tests.seeds import SEED, numpy_seeded, shifted

GAME = ConnectFourGame(4, 5)
QUICK = {"device": "cpu", "learning_starts": 20, "batch_size": 32}


def agent(seed=0, **settings):
    return FreeEnergyQ("MlpPolicy", ConnectFour(4, 5), seed=seed, **QUICK, **settings)


def boards(count, seed=0):
    random, positions = numpy_seeded(seed), GAME.start(count)
    for _ in range(4):
        moves = np.where(GAME.legal(positions), random.random((count, 5)), -1).argmax(1)
        positions, _ = GAME.play(positions, moves)
    return GAME.observe(positions), GAME.legal(positions)


def first_legal(observations, masks, generator):
    return masks.argmax(-1)


def test_a_snapshot_stays_as_it_was_while_the_learner_learns():
    learner, pool = agent(), OpponentPool()
    learner.learn(60)
    seen, masks = boards(200)
    snapshot = pool.add(learner, 60)
    before = learner.predict(seen, deterministic=True, action_masks=masks)[0]
    weights = [value.clone() for value in snapshot.agent.parameters()]
    learner.learn(150)
    assert all(map(torch.equal, weights, snapshot.agent.parameters()))
    after = learner.predict(seen, deterministic=True, action_masks=masks)[0]
    assert (before != after).any()  # the learner has changed, the snapshot has not
    greedy = AgentOpponent(snapshot.agent)
    np.testing.assert_array_equal(greedy(seen, masks, numpy_seeded(0)), before)
    assert snapshot.agent.optimizer is None
    assert not any(value.requires_grad for value in snapshot.agent.parameters())


def test_snapshots_draw_from_the_policy_by_the_generator_of_the_game():
    """200 equal boards: frequencies of moves beside the probabilities of the policy."""
    learner = agent().learn(60)
    snapshot = OpponentPool().add(learner)
    seen, masks = (np.repeat(part, 4_000, 0) for part in boards(1, seed=3))
    snapshot.agent.temperature = 1.0
    stream, shared = learner.policy.generator.get_state(), torch.get_rng_state()
    one, again = (snapshot(seen, masks, numpy_seeded(4)) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    assert (one != snapshot(seen, masks, numpy_seeded(5))).any()
    assert torch.equal(learner.policy.generator.get_state(), stream)
    assert torch.equal(torch.get_rng_state(), shared)
    observation = torch.tensor(seen[:1])
    every = torch.arange(5).repeat(1, 1).T
    with torch.no_grad():
        values = snapshot.agent.action_values(observation.repeat(5, 1, 1, 1), every)
        chance = torch.softmax(values / 1.0, 0).numpy() * masks[0]
    chance = chance / chance.sum()
    counts = np.bincount(one, minlength=5)
    bound = 4.5 * np.sqrt(4_000 * chance * (1 - chance)) + 1e-9
    assert np.all(np.abs(counts - 4_000 * chance) <= bound + 4e-3)


def test_policies_of_stable_baselines3_leave_the_global_stream_alone():
    peer = PPO("MlpPolicy", ConnectFour(4, 5), n_steps=8, batch_size=8, device="cpu", seed=0)
    snapshot = OpponentPool().add(peer)
    seen, masks = boards(50)
    shared = torch.get_rng_state()
    one, again = (snapshot(seen, masks, numpy_seeded(4)) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    assert torch.equal(torch.get_rng_state(), shared)


def test_how_often_each_is_drawn():
    """20,000 draws, 4.5 standard deviations around the probabilities of the docstring."""
    pool = OpponentPool(["random", first_legal], latest_share=0.4, fixed_share=0.2)
    assert pool.probabilities.tolist() == [0.5, 0.5]
    learner = agent()
    for steps in (10, 20, 30, 40):
        pool.add(learner, steps)
    wanted = np.array([0.1, 0.1, 0.1, 0.1, 0.1, 0.5])
    np.testing.assert_allclose(pool.probabilities, wanted)
    drawn = pool.draw(20_000, numpy_seeded(6))
    counts = np.array([sum(one is member for one in drawn) for member in pool.members])
    assert np.all(np.abs(counts - 20_000 * wanted) < 4.5 * np.sqrt(20_000 * wanted * (1 - wanted)))
    latest = OpponentPool(latest_share=1.0, fixed_share=0.0)
    latest.add(learner, 1)
    latest.add(learner, 2)
    assert latest.probabilities.tolist() == [0.0, 0.0, 1.0]
    alone = OpponentPool([], latest_share=0.5)
    alone.add(learner, 1)
    assert alone.probabilities.tolist() == [1.0]


def test_a_full_pool_spans_the_training():
    pool, learner = OpponentPool(capacity=5), agent()
    first = pool.add(learner, 0)
    for steps in range(1, 41):
        last = pool.add(learner, steps)
    assert len(pool.steps) == 5
    assert pool.steps[0] == 0
    assert pool.steps[-1] == 40
    assert pool.members[1] is first
    assert pool.latest is last
    assert max(np.diff(pool.steps)) <= 20


def test_a_pool_is_saved_and_loaded(tmp_path):
    learner, pool = agent(), OpponentPool()
    for steps in (100, 200):
        pool.add(learner.learn(100), steps)
    path = tmp_path / "pool.safetensors"
    pool.save(path)
    again = OpponentPool().load(path, agent(seed=1))
    assert again.steps == [100, 200]
    seen, masks = boards(200)
    for one, other in zip(pool.members[1:], again.members[1:], strict=True):
        for state in (3, 4):
            moves = [player(seen, masks, numpy_seeded(state)) for player in (one, other)]
            np.testing.assert_array_equal(*moves)
    assert OpponentPool().load(path, agent(seed=1).policy).steps == [100, 200]
    with pytest.raises(FileError, match="exists"):
        pool.save(path)
    pool.save(path, overwrite=True)
    with pytest.raises(ParameterError, match="another network"):
        OpponentPool().load(path, agent(policy_kwargs={"net_arch": [8]}))
    with pytest.raises(FileError, match="no such file"):
        OpponentPool().load(tmp_path / "none", agent())


def test_a_file_of_another_kind_is_no_pool(tmp_path):
    import isinglass as ig

    ig.save(ig.ModernHopfield(torch.eye(3)), tmp_path / "memory.safetensors")
    with pytest.raises(FileError, match="not a pool"):
        OpponentPool().load(tmp_path / "memory.safetensors", agent())


def test_seats_alternate_table_by_table():
    for env in (SeatEnv(GAME, "random"), ConnectFour()):
        env.reset(seed=shifted(0))
        seats = []
        for _ in range(8):
            observation, _ = env.reset()
            seats.append(int(observation.sum()))  # one disc lies there where the other has started
        assert seats in ([0, 1] * 4, [1, 0] * 4)
    for seat, count in [("first", 0), ("second", 1)]:
        env = SeatEnv(GAME, "random", seat)
        assert {int(env.reset()[0].sum()) for _ in range(5)} == {count}


def test_seats_by_chance_are_half_and_half():
    """2,000 games, 4.5 standard deviations around half."""
    env = SeatEnv(GAME, first_legal, "random")
    env.reset(seed=SEED)
    count = sum(int(env.reset()[0].sum()) for _ in range(2_000))
    assert abs(count - 1_000) < 4.5 * np.sqrt(500)


def test_matches_count_every_game_and_both_seats():
    result = play_match(GAME, first_legal, first_legal, 100)
    assert (result.wins, result.losses) == (50, 50)  # the first of two that pile up wins
    assert play_match(GAME, first_legal, first_legal, 100, seat="first").wins == 100
    assert play_match(GAME, first_legal, first_legal, 100, seat="second").losses == 100
    assert result.points == 0.5
    mixed = play_match(GAME, first_legal, [first_legal, Lookahead(2)], 200, seed=shifted(0))
    assert mixed.games == 200
    assert 0 < mixed.wins < 200
    perfect = play_match(TicTacToeGame(), perfect_opponent, "random", 300, seed=shifted(1))
    assert perfect.losses == 0


def test_the_board_of_tictactoe_is_that_of_its_propositions():
    from isinglass.envs.tictactoe.game import Games

    game, games = TicTacToeGame(), Games(60)
    positions, random = game.start(60), numpy_seeded(7)
    going, which = np.arange(60), np.arange(60)
    for turn in range(9):
        legal = game.legal(positions)
        moves = np.where(legal, random.random(legal.shape), -1).argmax(1)
        claims = np.stack([moves % 3, moves // 3, 0 * moves], 1)
        games.claim(which, turn % 2, claims)
        positions, outcome = game.play(positions, moves)
        told = games.outcome[which]
        np.testing.assert_array_equal(outcome == 1, np.isin(told, (1, 3)))
        np.testing.assert_array_equal(outcome == 2, told == 2)
        marks = games.marks[:, which].T
        np.testing.assert_array_equal(positions, marks if turn % 2 else marks[:, ::-1])
        positions, which = positions[outcome == 0], which[outcome == 0]
    assert len(going) == 60
    assert not len(which)


class Cheat:
    def predict(self, observation, *, deterministic):
        return np.full(len(observation), 7), None


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize(
    ("player", "error", "match"),
    [
        (lambda seen, masks, generator: np.full(len(masks), 7), DomainError, "illegal move 7"),
        (lambda seen, masks, generator: np.full(len(masks), -1), DomainError, "illegal move -1"),
        (lambda seen, masks, generator: np.zeros((len(masks), 1), int), ShapeError, "one move"),
        (lambda seen, masks, generator: np.zeros(len(masks)), DomainError, "float64"),
        (Cheat(), DomainError, "Cheat.*action_masks"),
    ],
)
def test_opponents_that_break_the_rules(player, error, match):
    env = ConnectFour(seat="second", opponent=player)
    with pytest.raises(error, match=match):
        env.reset()
    with pytest.raises(error, match=match):
        SeatVecEnv(GAME, 3, player, "second").reset()
    with pytest.raises(error, match=match):
        play_match(GAME, player, "random", 3)


@pytest.mark.usefixtures("unannotated")
def test_bad_input():
    for one in ("minimax", None, 3, FreeEnergyQ, lambda seen: 0, object()):
        with pytest.raises(ParameterError):
            OpponentPool(one)
    for settings in (
        {"latest_share": 1.5}, {"fixed_share": "a"}, {"capacity": 1}, {"capacity": 2.5},
        {"latest_share": 0.7, "fixed_share": 0.4},
    ):  # fmt: skip
        with pytest.raises(ParameterError):
            OpponentPool(**settings)
    with pytest.raises(ParameterError, match="without opponents"):
        ConnectFour(opponent=OpponentPool([])).reset()
    with pytest.raises(ParameterError, match="predict"):
        OpponentPool().add("agent")
    with pytest.raises(ParameterError, match="predict"):
        AgentOpponent(FreeEnergyQ)
    for game in (None, ConnectFourGame, "ConnectFour"):
        with pytest.raises(ParameterError, match="game"):
            SeatEnv(game)
        with pytest.raises(ParameterError, match="game"):
            play_match(game, "random")
    with pytest.raises(ParameterError, match="games"):
        play_match(GAME, "random", games=0)
    with pytest.raises(ParameterError, match="seat"):
        play_match(GAME, "random", seat="left")
