"""PlanningAgent: tasks with known optima, what SB3 asks of an algorithm, and bad input."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

from isinglass.agents import FreeEnergyQ, PlanningAgent
from isinglass.agents.actions.action_structure import stored_space
from isinglass.agents.planning.world_spaces import numbers_of, world_columns
from isinglass.errors import DomainError, FileError, ParameterError, ShapeError
from isinglass.units import Categorical
from isinglass.world import WorldColumns, WorldEnergy


class Line(gym.Env):
    """A point on a line, pushed left or right, that is paid for nearness to 0."""

    observation_space = spaces.Box(-5, 5, (1,))
    action_space = spaces.Box(-1, 3, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.steps = self.np_random.uniform(-2, 2, 1), 0
        return self.place.astype(np.float32), {}

    def step(self, action):
        self.place = np.clip(self.place + 0.3 * np.clip(action, -1, 3) - 0.3, -5, 5)
        self.steps += 1
        return (
            self.place.astype(np.float32),
            -abs(float(self.place[0])),
            False,
            self.steps >= 20,
            {},
        )


def walk(agent: PlanningAgent, env: gym.Env, steps: int) -> float:
    state, _ = env.reset(seed=0)
    total = 0.0
    for _ in range(steps):
        action, _ = agent.predict(state, deterministic=True)
        state, reward, done, *_ = env.step(action.item())
        total += float(reward)
        if done:
            break
    return total


@pytest.mark.slow
def test_cliff_is_walked_along_after_2_000_steps() -> None:
    agent = PlanningAgent("PlanningPolicy", "CliffWalking-v1", seed=1).learn(2_000)
    assert walk(agent, gym.make("CliffWalking-v1"), 40) == -13
    agent.seek(goal=0)  # the other corner, without another step
    assert int(agent.predict(np.array(36), deterministic=True)[0]) == 0
    with pytest.raises(DomainError, match=r"where nothing leads|there are 48 choices"):
        agent.seek(goal=50)


def test_same_seed_same_run_and_files_keep_it(tmp_path) -> None:
    env = gym.make("FrozenLake-v1")
    one, two = (PlanningAgent("PlanningPolicy", env, seed=3).learn(600) for _ in "12")
    assert torch.equal(one.world.rows, two.world.rows)
    one.save(tmp_path / "agent")
    back = PlanningAgent.load(tmp_path / "agent", env=env)
    assert len(back.world) == 600
    states = np.arange(16)
    np.testing.assert_array_equal(
        back.predict(states, deterministic=True)[0], one.predict(states, deterministic=True)[0]
    )
    back.learn(100, reset_num_timesteps=False)
    assert len(back.world) == 700
    with pytest.raises(FileError, match="holds an agent of PlanningAgent"):
        FreeEnergyQ.load(tmp_path / "agent")


def test_several_environments_at_a_time() -> None:
    vec = make_vec_env("FrozenLake-v1", n_envs=3, seed=0)
    agent = PlanningAgent("PlanningPolicy", vec, seed=0).learn(300)
    assert len(agent.world) == 300
    assert agent.predict(vec.reset())[0].shape == (3,)


def test_a_world_that_is_known_is_acted_in_at_once() -> None:
    world = WorldEnergy(WorldColumns(Categorical(48), Categorical(4)))
    first = PlanningAgent("PlanningPolicy", "CliffWalking-v1", world=world, seed=0).learn(2_000)
    again = PlanningAgent("PlanningPolicy", "CliffWalking-v1", world=first.world, seed=1)
    assert walk(again, gym.make("CliffWalking-v1"), 40) == -13
    with pytest.raises(ParameterError, match="a world with state of choices"):
        PlanningAgent("PlanningPolicy", "FrozenLake-v1", world=world)


@pytest.mark.slow
def test_a_point_is_held_where_states_are_real() -> None:
    agent = PlanningAgent("PlanningPolicy", Line(), horizon=8, paths=32, seed=0).learn(250)
    # Real actions come back from the buffer in units of the environment.
    kept = agent.world.rows[:, agent.world.columns.place("action")]
    assert float(kept.min()) < -0.9
    assert float(kept.max()) > 2.5
    mean, _ = evaluate_policy(agent, Monitor(Line()), n_eval_episodes=4, warn=False)
    assert mean > -6  # from 2 away at 0.3 a step to the left, 0.6 to the right


class Still(gym.Env):
    """One step, paid by the sum of what is chosen."""

    observation_space = spaces.Discrete(2)

    def __init__(self, space):
        self.action_space = space

    def reset(self, *, seed=None, options=None):
        return 0, {}

    def step(self, action):
        return 1, float(np.sum(action)), True, False, {}


@pytest.mark.parametrize(
    ("space", "best"),
    [
        (spaces.Discrete(3, start=2), 4),
        (spaces.MultiDiscrete([2, 3]), [1, 2]),
        (spaces.MultiBinary(3), [1, 1, 1]),
    ],
)
def test_actions_come_out_as_their_space(space, best):
    agent = PlanningAgent("PlanningPolicy", Still(space), seed=0).learn(60)
    action, _ = agent.predict(np.array(0), deterministic=True)
    assert space.contains(action if space.shape else int(action))
    assert np.array_equal(action, best)


def test_bad_input_is_named() -> None:
    for name, value in (("temperature", -1), ("horizon", 0), ("paths", 1)):
        with pytest.raises(ParameterError, match=name):
            PlanningAgent("PlanningPolicy", "FrozenLake-v1", **{name: value})
    with pytest.raises(ParameterError, match="Give bounds"):
        world_columns(spaces.Discrete(2), spaces.Box(-np.inf, np.inf, (1,)))
    with pytest.raises(ParameterError, match="Worlds are made of"):
        world_columns(spaces.Dict({"a": spaces.Discrete(2)}), spaces.Discrete(2))
    with pytest.raises(ParameterError, match="Worlds are made of"):
        world_columns(spaces.Discrete(2), stored_space(spaces.Tuple([spaces.Discrete(2)])))
    assert numbers_of(spaces.MultiBinary((2, 2)), np.ones((3, 2, 2))).shape == (3, 4)
    fresh = PlanningAgent("PlanningPolicy", "FrozenLake-v1", seed=0)
    assert fresh.predict(np.array(0))[0] in range(4)


def test_rewards_that_are_no_number_are_refused() -> None:
    class Broken(Line):
        def step(self, action):
            state, _, *rest = super().step(action)
            return state, float("nan"), *rest

    with pytest.raises(DomainError, match="the reward"):
        PlanningAgent("PlanningPolicy", Broken(), seed=0).learn(20)


class Masked(gym.Env):
    """Three cells in a row; of two actions one is forbidden in each, and dear where it is taken."""

    observation_space, action_space = spaces.Discrete(3), spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        self.cell = 0
        return 0, {"action_mask": self.mask()}

    def mask(self):
        return np.arange(2) == self.cell % 2

    def step(self, action):
        assert self.mask()[int(action)]
        self.cell = min(self.cell + 1, 2)
        return self.cell, 1.0, self.cell == 2, False, {"action_mask": self.mask()}


def test_masks_are_obeyed_or_refused():
    for starts in (0, 40):
        agent = PlanningAgent("PlanningPolicy", Masked(), learning_starts=starts, seed=0).learn(80)
        assert agent.predict(np.array([0, 1]), deterministic=True)[0].tolist() == [0, 1]
        given = agent.predict(np.array(0), action_masks=np.array([False, True]))[0]
        assert int(given) == 1
        assert int(agent.predict(np.array(0), deterministic=True)[0]) == 0  # as it was told

    class MaskedLine(Line):
        action_space = spaces.Discrete(2)

        def reset(self, **settings):
            return super().reset(**settings)[0], {"action_mask": np.array([True, False])}

    with pytest.raises(ParameterError, match="action masks where states are real"):
        PlanningAgent("PlanningPolicy", MaskedLine(), seed=0).learn(5)


@pytest.mark.slow
def test_taxi_is_driven_by_its_masks():
    agent = PlanningAgent("PlanningPolicy", "Taxi-v4", seed=0).learn(4_000)
    env = gym.make("Taxi-v4")
    total, state = 0.0, env.reset(seed=5)[0]
    for _ in range(30):
        state, reward, done, *_ = env.step(agent.predict(state, deterministic=True)[0].item())
        total += reward
        if done:
            break
    assert done
    assert total > 0


def test_what_is_sought_is_kept_in_the_file(tmp_path):
    agent = PlanningAgent("PlanningPolicy", "CliffWalking-v1", seed=1).learn(1_000)
    agent.seek(goal=[0])
    agent.save(tmp_path / "agent")
    back = PlanningAgent.load(tmp_path / "agent")
    states = np.arange(37)
    np.testing.assert_array_equal(
        back.predict(states, deterministic=True)[0], agent.predict(states, deterministic=True)[0]
    )


def test_nothing_is_lost_when_the_buffer_is_small():
    agent = PlanningAgent("PlanningPolicy", "FrozenLake-v1", buffer_size=10, seed=0).learn(200)
    assert len(agent.world) == 200


@pytest.mark.usefixtures("plain_annotations")
def test_arguments_and_observations_of_another_kind_are_named():
    for settings, words in (
        ({"world": 3}, "world = 3"),
        ({"seed": "x"}, "seed"),
        ({"device": "nope"}, "device"),
        ({"train_freq": 0}, "train_freq"),
        ({"learning_starts": -1}, "learning_starts"),
        ({"buffer_size": 0}, "buffer_size"),
        ({"gamma": 1.0}, "gamma = 1"),
    ):
        with pytest.raises(ParameterError, match=words):
            PlanningAgent("PlanningPolicy", "FrozenLake-v1", **settings)
    with pytest.raises(ParameterError, match="Give 'PlanningPolicy'"):
        PlanningAgent("MlpPolicy", "FrozenLake-v1")
    fresh = PlanningAgent("PlanningPolicy", "FrozenLake-v1", seed=0)
    with pytest.raises(ParameterError, match="Learn first"):
        fresh.seek(goal=3)
    several = PlanningAgent("PlanningPolicy", Still(spaces.Discrete(3)), seed=0).learn(30)
    with pytest.raises(DomainError, match="the observation"):
        several.predict(None)
    for wrong in ("x", np.zeros((0, 3)), np.zeros((2, 2))):
        with pytest.raises(ShapeError, match="does not fit"):
            several.predict(wrong)
    real = PlanningAgent("PlanningPolicy", Line(), learning_starts=10, seed=0).learn(30)
    with pytest.raises(DomainError, match="the observation"):
        real.predict(np.array([np.nan]))
    with pytest.raises(ShapeError, match="does not fit"):
        real.predict(np.zeros(2))
