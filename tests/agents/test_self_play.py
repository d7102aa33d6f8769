"""Learning against what one was before: who fills the pool, when, and over which environments."""

import numpy as np
import pytest
import torch
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, EveryNTimesteps
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import SubprocVecEnv

from isinglass.agents import FreeEnergyQ, ObservedMasks, SeatVecEnv, SelfPlay
from isinglass.envs import ConnectFour, OpponentPool, SeatEnv, TicTacToe, play_match
from isinglass.envs.connect_four import ConnectFourGame, random_mirror_augmentation
from isinglass.envs.tictactoe.board import TicTacToeGame, perfect_opponent
from isinglass.errors import DomainError, ParameterError, ShapeError
from tests.seeds import numpy_seeded, shifted

GAME = ConnectFourGame(4, 5)
QUICK = {"device": "cpu", "learning_starts": 20, "batch_size": 32}


def first_legal(observations, masks, generator):
    return masks.argmax(-1)


def learner(env, **settings):
    return FreeEnergyQ("MlpPolicy", env, **{"seed": 0, **QUICK, **settings})


def test_a_pool_is_filled_without_being_asked():
    env = ConnectFour(4, 5, opponent="self")
    learner(env).learn(100)
    assert env.pool.steps == list(range(5, 101, 5))
    assert ConnectFour(4, 5).pool is None
    learner(ConnectFour(4, 5)).learn(50)  # fixed opponents stay alone


def test_who_asks_chooses_how_often():
    for wrap in (
        lambda one: one,
        lambda one: [one],
        lambda one: CallbackList([CallbackList([one])]),
    ):
        env = ConnectFour(4, 5, opponent="self")
        learner(env).learn(90, callback=wrap(SelfPlay(every=30)))
        assert env.pool.steps == [30, 60, 90]
    env = ConnectFour(4, 5, opponent="self")
    seen = []
    agent = learner(env).learn(40, callback=lambda told, _: seen.append(1) or True)
    assert (len(seen), len(env.pool.steps)) == (40, 20)
    agent.learn(40, callback=[EveryNTimesteps(10, Silent())], reset_num_timesteps=False)
    assert env.pool.steps[-1] == 80


class Silent(BaseCallback):
    def _on_step(self):
        return True


def test_a_pool_given_goes_before_those_of_environments():
    pool, env = OpponentPool(), ConnectFour(4, 5, opponent="self")
    learner(env).learn(40, callback=SelfPlay(pool, every=20))
    assert (pool.steps, env.pool.steps) == ([20, 40], [])


def test_many_environments_share_the_copies():
    env = make_vec_env(lambda: ConnectFour(4, 5, opponent="self"), 3, seed=shifted(0))
    learner(env).learn(90, callback=SelfPlay(every=30))
    pools = env.get_attr("pool")
    assert [pool.steps for pool in pools] == [[30, 60, 90]] * 3
    assert all(pool.latest is pools[0].latest for pool in pools)


def test_copies_in_other_processes_are_refused():
    env = make_vec_env(lambda: ConnectFour(4, 5, opponent="self"), 2, vec_env_cls=SubprocVecEnv)
    with pytest.raises(ParameterError, match=r"SubprocVecEnv.*SeatVecEnv"):
        learner(env).learn(20)
    env.close()


def test_no_pool_no_self_play():
    for env in (TicTacToe(), ConnectFour(4, 5)):
        policy = "MultiInputPolicy" if isinstance(env, TicTacToe) else "MlpPolicy"
        agent = FreeEnergyQ(policy, env, **QUICK)
        with pytest.raises(ParameterError, match="opponent='self'"):
            agent.learn(20, callback=SelfPlay())


def test_agents_of_stable_baselines3_bring_the_callback():
    """Their own opponents move by chance what is legal on a board that cannot be filled so soon."""
    game = ConnectFourGame(20, 2, line=3)  # full columns are far away
    env = SeatVecEnv(game, 2)
    peer = PPO("MlpPolicy", env, n_steps=8, batch_size=8, n_epochs=1, device="cpu", seed=0)
    peer.learn(64, callback=SelfPlay(every=16))
    assert env.pool.steps == [16, 32, 48, 64]
    env = SeatEnv(game)
    DQN("MlpPolicy", env, device="cpu", seed=0, learning_starts=5).learn(40, callback=SelfPlay())
    assert len(env.pool.steps) == 20


def test_many_games_at_once_are_those_of_one_environment():
    """The same moves, against opponents that draw nothing: as SeatEnv, table by table."""
    together = SeatVecEnv(GAME, 4, first_legal, "second")
    together.seed(0)
    alone = [SeatEnv(GAME, first_legal, "second") for _ in range(4)]
    seen = together.reset()
    firsts = [env.reset(seed=0) for env in alone]
    np.testing.assert_array_equal(seen, np.stack([one for one, _ in firsts]))
    random, games = numpy_seeded(0), 0
    infos = [info for _, info in firsts]
    for _ in range(80):
        masks = np.stack([info["action_mask"] for info in infos])
        np.testing.assert_array_equal(together.action_masks(), masks)
        np.testing.assert_array_equal(together.env_method("action_masks", indices=[1])[0], masks[1])
        moves = random.integers(5, size=4)  # full columns among them
        seen, rewards, dones, told = together.step(moves)
        for i, env in enumerate(alone):
            one, reward, over, _, info = env.step(moves[i])
            assert (reward, over, info["illegal"]) == (rewards[i], dones[i], told[i]["illegal"])
            np.testing.assert_array_equal(info["action_mask"], told[i]["action_mask"])
            if over:
                np.testing.assert_array_equal(told[i]["terminal_observation"], one)
                assert told[i]["episode"]["r"] == reward
                one, info = env.reset()
                np.testing.assert_array_equal(
                    together.reset_infos[i]["action_mask"], info["action_mask"]
                )
                games += 1
            np.testing.assert_array_equal(seen[i], one)
            infos[i] = info
    assert games > 10


def test_opponents_are_asked_together_and_only_for_their_tables():
    calls = []

    def noted(observations, masks, generator):
        calls.append(len(observations))
        return masks.argmax(-1)

    env = SeatVecEnv(GAME, 8, noted, "second")
    env.reset()
    env.step(np.full(8, 2))
    assert calls == [8, 8]


def test_masks_are_obeyed():
    """Every game of a run ends by the rules, none by an illegal move."""
    env = SeatVecEnv(ConnectFourGame(3, 3, line=3), 4)
    told = []
    agent = learner(env)
    agent.learn(400, callback=lambda local, _: told.extend(local["infos"]) or True)
    assert sum("episode" in info for info in told) > 50
    assert not any(info["illegal"] for info in told)
    returns, _ = evaluate_policy(agent, ObservedMasks(SeatVecEnv(env.game, 2, "random")), 20)
    assert -1 <= returns <= 1


def test_same_seed_same_run_and_another_one_another():
    def weights(seed):
        agent = learner(SeatVecEnv(GAME, 4), seed=seed).learn(300)
        return torch.cat([value.flatten() for value in agent.policy.parameters()])

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))


def test_a_run_goes_on_from_a_saved_agent_and_pool(tmp_path):
    env = SeatVecEnv(GAME, 4)
    agent = learner(env).learn(200)
    agent.save(tmp_path / "agent.zip")
    env.pool.save(tmp_path / "pool.safetensors")
    again = SeatVecEnv(GAME, 4)
    other = FreeEnergyQ.load(tmp_path / "agent.zip", env=again, device="cpu")
    again.pool.load(tmp_path / "pool.safetensors", other)
    other.learn(200, reset_num_timesteps=False)
    assert again.pool.steps[:19] != []
    assert again.pool.steps[-1] == 400
    assert set(env.pool.steps[:1]) <= set(again.pool.steps)


@pytest.mark.slow
def test_what_was_won_is_learned():
    """TicTacToe against itself: better than at random in the end, by far more than chance."""
    env = SeatVecEnv(TicTacToeGame(), 16)
    agent = FreeEnergyQ("MlpPolicy", env, seed=shifted(0), device="cpu").learn(4_000)
    learned = play_match(env.game, agent, "random", 1_000, seed=shifted(1))
    assert learned.points > 0.6  # half by chance, 0.016 the standard deviation
    assert play_match(env.game, "random", perfect_opponent, 200).points < 0.2


def test_mirrored_replay_fits():
    env = SeatVecEnv(GAME, 4)
    agent = learner(env, replay_buffer_kwargs={"augment": random_mirror_augmentation})
    agent.learn(100)


@pytest.mark.usefixtures("plain_annotations")
def test_bad_input():
    for settings in ({"every": 0}, {"every": 2.5}, {"pool": "random"}):
        with pytest.raises(ParameterError):
            SelfPlay(**settings)
    with pytest.raises(ParameterError, match="count"):
        SeatVecEnv(GAME, 0)
    with pytest.raises(ParameterError, match="game"):
        SeatVecEnv("ConnectFour")
    env = SeatVecEnv(GAME, 2)
    env.reset()
    with pytest.raises(ShapeError, match="one move a game"):
        env.step(np.zeros(3, int))
    with pytest.raises(DomainError, match="0 to 4"):
        env.step(np.array([0, 5]))
