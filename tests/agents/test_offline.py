"""Learning from logged data: what comes of it, how it is kept, and how it goes on in a world."""

import io

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import DQN, SAC
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback, CheckpointCallback, EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

from isinglass.agents import (
    BehaviorBackup,
    BehaviorCnnPolicy,
    BehaviorMultiInputPolicy,
    BehaviorPolicy,
    FreeEnergyQ,
    FreeEnergySarsa,
    ImaginedReplayBuffer,
    LoggedData,
    MixtureEnergy,
    PairwiseEnergy,
)
from isinglass.envs import LargeAction
from isinglass.errors import DomainError, IntractableError, ParameterError, ShapeError
from tests.agents.small import SMALL, TwoRooms
from tests.seeds import shifted

QUICK = {"device": "cpu", "batch_size": 32}


def bandit_log(env, count=600, seed=0):
    """Uniform actions, and as many that have three quarters of the bits of the best."""
    draw = np.random.default_rng(shifted(seed))
    states = draw.integers(2, size=(count, SMALL["state_bits"]), dtype=np.int8)
    actions = draw.integers(2, size=(count, SMALL["action_bits"]), dtype=np.int8)
    best = np.array([env.optimal_action(state) for state in states])
    better = draw.random(actions.shape) < 0.5
    better[: count // 2] = False
    actions = np.where(better, best, actions)
    rewards = env.reward_of(actions, states)
    return {"observations": states, "actions": actions, "rewards": rewards,
            "terminals": np.ones(count)}  # fmt: skip


def rooms_log(count=400, seed=0, end="truncated"):
    """What uniform actions did in two rooms."""
    env, rows = TwoRooms(end), []
    draw = np.random.default_rng(shifted(seed))
    seen, _ = env.reset(seed=shifted(seed))
    for _ in range(count):
        action = draw.integers(2, size=2, dtype=np.int8)
        after, reward, over, cut, _ = env.step(action)
        rows.append((seen, action, reward, after, over, cut))
        seen = env.reset()[0] if over or cut else after
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    names = ("observations", "actions", "rewards", "next_observations", "terminals", "timeouts")
    return dict(zip(names, columns, strict=True))


def rooms_agent(**settings):
    return FreeEnergyQ.from_data(rooms_log(), TwoRooms(), seed=shifted(0), **QUICK | settings)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_it_learns_more_than_was_done(seed):
    env = LargeAction(**SMALL)
    data = bandit_log(env, seed=seed)
    agent = FreeEnergyQ.from_data(data, env, seed=shifted(seed), device="cpu").fit(600)
    greedy, _ = agent.predict(data["observations"], deterministic=True)
    found = env.reward_of(greedy, data["observations"]).mean()
    assert found > data["rewards"].mean() + 1


@pytest.mark.slow
def test_values_follow_the_walk_through_the_rooms():
    """Staying in room 1 is worth 1.2 a step, going there from room 0 costs 0.8 once."""
    agent = rooms_agent(gamma=0.9).fit(800)
    actions, _ = agent.predict(np.array([[0], [1]]), deterministic=True)
    assert (actions[:, 0] == 1).all()
    assert (actions[1] == [1, 1]).all()


def test_actions_of_a_narrow_log_are_not_left():
    """Only action 0 of 4 was ever taken, and it earned less than nothing."""
    count = 300
    data = {"observations": np.random.default_rng(0).random((count, 2)),
            "terminals": np.ones(count), "actions": np.zeros(count, int),
            "rewards": np.full(count, -1.0)}  # fmt: skip
    seen = spaces.Box(0, 1, (2,), np.float32)
    agent = FreeEnergyQ.from_data(data, (seen, spaces.Discrete(4)), seed=shifted(0), **QUICK)
    agent.fit(600)
    actions, _ = agent.predict(data["observations"].astype(np.float32), deterministic=True)
    assert (actions == 0).all()


def test_a_random_log_is_known_to_be_random():
    """Rows kept aside stop what would remember the actions that were drawn."""
    draw = np.random.default_rng(shifted(0))
    count = 400
    states, actions = draw.integers(2, size=(count, 10)), draw.integers(2, size=(count, 6))
    data = {"observations": states, "actions": actions, "terminals": np.ones(count),
            "rewards": np.zeros(count)}  # fmt: skip
    given = spaces.MultiBinary(10), spaces.MultiBinary(6)
    agent = FreeEnergyQ.from_data(data, given, seed=shifted(0), **QUICK).fit(1_000)
    with torch.no_grad():
        found = agent.policy.behavior_distribution(torch.as_tensor(states).float())
        logs = found.score(agent.policy.code.encode(torch.as_tensor(actions)))
    assert logs.mean() < -6 * np.log(2) * 0.75  # learned by heart it would be near 0


def test_temperature_follows_the_share_of_the_steps():
    met = []

    class Watch(BaseCallback):
        def _on_step(self):
            met.append(self.model.temperature)
            return True

    agent = rooms_agent(initial_temperature=2.0, final_temperature=0.5)
    agent.fit(320, Watch())
    assert len(met) == 320 == agent.num_timesteps
    steps = np.arange(320) // 16 * 16 / 320
    np.testing.assert_allclose(met, 2.0 * 0.25 ** np.minimum(steps / 0.8, 1))


def test_temperature_does_not_fall_below_the_error_of_the_values():
    agent = rooms_agent().fit(64)
    agent.value_error = 7.0
    agent._believe_no_more()
    assert agent.temperature == 7.0
    given = rooms_agent(temperature=0.3).fit(64)
    given.value_error = 7.0
    given._believe_no_more()
    assert given.temperature == 0.3


def test_the_error_of_the_values_is_that_of_steps_kept_aside():
    agent = rooms_agent(gamma=0.0).fit(64)
    buffer = agent.replay_buffer
    held, rest = (buffer.places(aside=aside) for aside in (True, False))
    assert len(held) == 40
    assert len(rest) == 360
    buffer.rewards[np.divmod(held, 1)] += 100  # what is learned knows nothing of it
    batch = buffer.take(held)
    values = agent.policy.action_values(batch.observations, batch.actions)
    squares = (batch.rewards.flatten() - values).square()
    agent.value_error = None
    agent._look_aside()
    # Five standard deviations of the mean of 256 draws, through the root.
    near = 5 * squares.std() / 16 / (2 * squares.mean().sqrt())
    assert abs(agent.value_error - squares.mean().sqrt()) < near + 1e-3
    agent.fit(64)
    assert buffer.sample(2_000).rewards.max() < 50


def test_a_training_that_was_stopped_goes_on_as_if_it_was_not(tmp_path):
    class Stop(BaseCallback):
        def _on_step(self):
            return self.num_timesteps < 160

    whole = rooms_agent().fit(320)
    half = rooms_agent()
    half.fit(320, Stop())
    assert half.num_timesteps == 160
    half.save(tmp_path / "half")
    half.save_replay_buffer(tmp_path / "data")
    again = FreeEnergyQ.load(tmp_path / "half", device="cpu")
    again.load_replay_buffer(tmp_path / "data")
    again.fit(160, reset_num_timesteps=False)
    assert again.num_timesteps == 320
    for name, weight in whole.policy.state_dict().items():
        if isinstance(weight, torch.Tensor):
            assert torch.equal(again.policy.state_dict()[name], weight), name


def test_the_same_seed_gives_the_same_agent():
    one, other = (rooms_agent().fit(64).policy.state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_saved_agent_acts_the_same():
    agent = rooms_agent(policy_kwargs={"net_arch": [16]}, behavior=MixtureEnergy(4)).fit(200)
    file = io.BytesIO()
    agent.save(file)
    file.seek(0)
    again = FreeEnergyQ.load(file, device="cpu")
    assert isinstance(again.policy, BehaviorPolicy)
    assert again.policy.behavior_energy == MixtureEnergy(4)
    assert again.policy.uniform_share == 0
    seen = np.repeat([[0], [1]], 50, 0)
    for deterministic in (True, False):  # the stream is saved as well
        one, other = (a.predict(seen, deterministic=deterministic)[0] for a in (agent, again))
        assert (one == other).all()
    with pytest.raises(ParameterError, match="no data to learn from"):
        again.fit(10)
    again.add_data(rooms_log()).fit(10)


def test_it_goes_on_in_a_world():
    agent = rooms_agent().fit(200)
    assert agent.policy.uniform_share == 0
    with pytest.raises(ParameterError, match="only logged data"):
        agent.learn(10)
    agent.set_env(TwoRooms())
    agent.learn(200)
    assert agent.policy.uniform_share == pytest.approx(200 / 600)
    assert agent.replay_buffer.size() == 600
    agent.fit(16)  # from all of it
    assert agent.policy.uniform_share == 0


def test_the_log_can_be_that_of_others(tmp_path):
    env = gym.make("CartPole-v1")
    logger = DQN("MlpPolicy", env, learning_starts=1_000, seed=0, device="cpu").learn(300)
    agent = FreeEnergyQ.from_data(logger.replay_buffer, seed=0, **QUICK).fit(50)
    assert agent.replay_buffer.size() == 300
    heard = [
        CheckpointCallback(20, str(tmp_path)),
        EvalCallback(Monitor(gym.make("CartPole-v1")), eval_freq=25, n_eval_episodes=1, verbose=0),
    ]
    agent.fit(50, heard)
    assert len(list(tmp_path.glob("*.zip"))) == 2
    assert evaluate_policy(agent, Monitor(env), 2)[0] > 1


def test_real_actions_of_a_log_are_scaled_for_the_network():
    env = gym.make("Pendulum-v1")
    logger = SAC("MlpPolicy", env, learning_starts=1_000, seed=0, device="cpu").learn(250)
    one = FreeEnergyQ.from_data(logger.replay_buffer, seed=0, **QUICK)
    data = LoggedData.of(logger.replay_buffer)
    assert abs(data.actions).max() > 1.5
    other = FreeEnergyQ.from_data(vars(data) | {"spaces": None}, env, seed=0, **QUICK)
    for agent in (one, other):
        kept = agent.replay_buffer.actions[:250]
        np.testing.assert_allclose(kept, logger.replay_buffer.actions[:250], atol=1e-6)
    one.fit(50)
    action, _ = one.predict(env.reset(seed=0)[0])
    assert env.action_space.contains(action)


def test_neither_the_data_nor_the_buffer_they_came_from_change():
    data = rooms_log()
    before = {name: part.copy() for name, part in data.items()}
    for part in data.values():
        part.flags.writeable = False
    FreeEnergyQ.from_data(data, TwoRooms(), **QUICK).fit(32)
    assert all((data[name] == part).all() for name, part in before.items())


@pytest.mark.parametrize("envs", [1, 3])
def test_data_are_put_beside_what_is_known_already(envs):
    agent = FreeEnergyQ("MlpPolicy", make_vec_env(TwoRooms, envs), seed=0, n_steps=3, **QUICK)
    data = LoggedData.of(rooms_log(50), TwoRooms())
    agent.add_data(data)
    buffer = agent.replay_buffer
    assert buffer.valid.sum() == 50
    assert (buffer.timeouts[-(-50 // envs) - 1] == 1).all()  # what follows is another walk
    drawn = buffer.sample(2_000)
    # Every return of three steps of the log, stopped where the log stops or an episode does.
    ends = data.ends.copy()
    ends[np.minimum(np.arange(1, envs + 1) * -(-50 // envs), 50) - 1] = True
    known = []
    for row in range(50):
        total, weight = 0.0, 1.0
        for step in range(row, min(row + 3, 50)):
            total, weight = total + weight * float(data.rewards[step]), weight * 0.99
            if ends[step]:
                break
        known.append(total)
    away = abs(drawn.rewards.numpy() - np.array(known)).min(1)
    assert (away < 1e-5).all()
    agent.learn(60)


@pytest.mark.parametrize("end", ["terminated", "truncated"])
def test_values_go_on_where_an_episode_was_only_cut_short(end):
    data = rooms_log(60, end=end)
    agent = FreeEnergyQ.from_data(data, TwoRooms(), **QUICK)
    kept = agent.replay_buffer.take(np.arange(60)).dones.flatten()
    assert (kept.numpy() == data["terminals"]).all()
    assert kept.sum() == (7 if end == "terminated" else 0)


def test_a_buffer_that_is_full_begins_anew():
    agent = rooms_agent(buffer_size=450)
    agent.add_data(rooms_log(100, seed=1))
    assert agent.replay_buffer.full
    assert agent.replay_buffer.pos == 50
    assert agent.replay_buffer.valid.sum() == 450


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("rewards", np.nan, DomainError),
        ("observations", 5, DomainError),
        ("actions", 2, DomainError),
        ("terminals", 7, DomainError),
    ],
)
def test_nothing_is_lost_by_data_that_are_refused(name, value, error):
    agent = rooms_agent().fit(32)
    before = agent.replay_buffer.rewards.copy(), agent.replay_buffer.pos
    wrong = rooms_log(seed=1)
    wrong[name] = wrong[name].astype(float)
    wrong[name][9] = value
    with pytest.raises(error, match=r"FreeEnergyQ.add_data.*1 of 400 rows \(9\)"):
        agent.add_data(wrong)
    assert (agent.replay_buffer.rewards == before[0]).all()
    assert agent.replay_buffer.pos == before[1]
    agent.fit(16)


def test_data_of_another_task_are_refused():
    agent = rooms_agent()
    env = LargeAction(**SMALL)
    with pytest.raises(ParameterError, match="data of actions in MultiBinary"):
        agent.add_data(bandit_log(env), env)
    with pytest.raises(ShapeError):
        agent.add_data(bandit_log(env))
    zeros = np.zeros((400, 2))
    other = rooms_log() | {"observations": zeros, "next_observations": zeros}
    with pytest.raises(ParameterError, match="data of observations"):
        agent.add_data(other, (spaces.MultiBinary(2), TwoRooms.action_space))
    with pytest.raises(ParameterError, match="spaces do not match"):
        agent.set_env(env)


def test_settings_that_do_not_go_together_are_refused():
    with pytest.raises(ParameterError, match="Give a larger buffer_size"):
        rooms_agent(buffer_size=100)
    with pytest.raises(ParameterError, match="policy = "):
        rooms_agent(policy="LstmPolicy")
    with pytest.raises(ParameterError, match="behavior"):
        rooms_agent(behavior=PairwiseEnergy())
    with pytest.raises(ParameterError, match="Leave replay_buffer_class out"):
        rooms_agent(replay_buffer_class=ImaginedReplayBuffer)
    with pytest.raises(ParameterError, match="backup"):
        FreeEnergySarsa.from_data(rooms_log(), TwoRooms())
    env = LargeAction(state_bits=4, action_bits=12)
    data = bandit_log(LargeAction(**SMALL))
    data["actions"] = np.zeros((600, 12), np.int8)
    with pytest.raises(IntractableError, match="tilted by a mixture"):
        FreeEnergyQ.from_data(data, env, energy=PairwiseEnergy(), **QUICK)
    with pytest.raises(ParameterError, match="total_timesteps"):
        rooms_agent().fit(-1)


def test_pictures_and_dictionaries_have_their_policies():
    draw = np.random.default_rng(0)
    picture = spaces.Box(0, 255, (36, 36, 3), np.uint8)
    both = spaces.Dict({"bits": spaces.MultiBinary(2), "speed": spaces.Box(-1, 1, (3,))})
    seen = {
        BehaviorCnnPolicy: (picture, draw.integers(256, size=(40, 36, 36, 3), dtype=np.uint8)),
        BehaviorMultiInputPolicy: (
            both, {"bits": draw.integers(2, size=(40, 2)), "speed": draw.random((40, 3))}
        ),
    }  # fmt: skip
    for kind, (space, observations) in seen.items():
        data = {"observations": observations, "actions": draw.integers(3, size=40),
                "rewards": draw.random(40), "terminals": np.arange(40) % 5 == 4}  # fmt: skip
        agent = FreeEnergyQ.from_data(data, (space, spaces.Discrete(3)), batch_size=8, device="cpu")
        assert type(agent.policy) is kind
        agent.fit(4)
        named = isinstance(observations, dict)
        one = {k: v[0] for k, v in observations.items()} if named else observations[0]
        assert agent.predict(one)[0] in range(3)


def test_masks_of_the_log_are_obeyed():
    draw = np.random.default_rng(0)
    count, flags = 200, np.array([True, False, True])
    data = {"observations": draw.random((count, 2)), "actions": 2 * draw.integers(2, size=count),
            "rewards": draw.random(count), "terminals": np.arange(count) % 5 == 4,
            "next_masks": np.repeat(flags[None], count, 0)}  # fmt: skip
    seen = spaces.Box(0, 1, (2,), np.float32)
    agent = FreeEnergyQ.from_data(data, (seen, spaces.Discrete(3)), seed=0, **QUICK).fit(50)
    batch = agent.replay_buffer.sample(50)
    going = batch.dones.flatten() == 0
    assert (batch.next_masks[going] == torch.as_tensor(flags)).all()
    with pytest.raises(ParameterError, match="no action_masks"):
        agent.predict(np.zeros(2, np.float32))
    many = np.zeros((100, 2), np.float32)
    assert not (agent.predict(many, action_masks=flags)[0] == 1).any()


def test_plain_agents_learn_from_data_without_a_density():
    agent = FreeEnergyQ("MlpPolicy", TwoRooms(), seed=0, gamma=0.9, **QUICK)
    assert not isinstance(agent.backup, BehaviorBackup)
    agent.add_data(rooms_log()).fit(600)
    assert (agent.predict(np.array([[1]]), deterministic=True)[0] == [[1, 1]]).all()


def test_a_buffer_of_stable_baselines_is_as_good_as_its_arrays():
    data = rooms_log(60)
    buffer = ReplayBuffer(60, TwoRooms.observation_space, TwoRooms.action_space, "cpu")
    for row in range(60):
        step = {name: part[row : row + 1] for name, part in data.items()}
        done = step["terminals"] | step["timeouts"]
        infos = [{"TimeLimit.truncated": bool(step["timeouts"][0])}]
        seen = step["observations"], step["next_observations"]
        buffer.add(*seen, step["actions"], step["rewards"], done, infos)
    one = FreeEnergyQ.from_data(buffer, seed=0, **QUICK).fit(32)
    other = FreeEnergyQ.from_data(data, TwoRooms(), seed=0, **QUICK).fit(32)
    for name, weight in one.policy.state_dict().items():
        assert torch.equal(other.policy.state_dict()[name], weight)
