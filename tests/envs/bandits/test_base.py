"""What all environments of one step have in common."""

import importlib

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_env_for_agents

import isinglass.envs
from isinglass.envs import Assignment, LargeAction, Parity, Trap, make_env
from isinglass.errors import DomainError, ParameterError, ShapeError
from tests.seeds import SEED, numpy_seeded, shifted

KINDS = [Assignment, LargeAction, Parity, Trap]
SMALL = [
    lambda: Assignment(n=3),
    lambda: LargeAction(state_bits=3, action_bits=5, keys=2),
    lambda: Parity(blocks=3, block_bits=3, permute_seed=5),
    lambda: Trap(blocks=3, block_bits=3, key_seed=2, permute_seed=5),
]
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
small = pytest.mark.parametrize("build", SMALL, ids=[kind.__name__ for kind in KINDS])


def every_action(env):
    bits = env.action_space.n
    return np.arange(2**bits)[:, None] >> np.arange(bits) & 1


@kinds
def test_contracts_of_gymnasium_and_stable_baselines(kind):
    env = make_env(f"isinglass/{kind.__name__}-v0", render_mode="ansi").unwrapped
    assert isinstance(env, kind)
    check_env(env)
    check_env_for_agents(env)


@small
def test_smaller_ones_keep_the_contract(build):
    check_env(build(), skip_render_check=True)


@small
def test_the_best_reward_is_the_highest_of_all_actions(build):
    env = build()
    actions = every_action(env)
    for seed in range(20):
        observation, _ = env.reset(seed=shifted(seed))
        best = env.reward_of(actions).max()
        assert env.best_reward(observation) == pytest.approx(best, abs=1e-12)
        assert env.step(env.optimal_action(observation))[1] == pytest.approx(best, abs=1e-12)


@kinds
def test_a_batch_is_its_rows_and_a_step(kind):
    env = kind()
    draw = numpy_seeded(0)
    observations = np.stack([env.reset(seed=shifted(seed))[0] for seed in range(6)]).reshape(
        2, 3, -1
    )
    actions = draw.integers(0, 2, (2, 3, env.action_space.n))
    rewards, best = env.reward_of(actions, observations), env.best_reward(observations)
    chosen = env.optimal_action(observations)
    assert rewards.shape == best.shape == (2, 3)
    assert chosen.shape == actions.shape
    for seed, where in enumerate(np.ndindex(2, 3)):
        env.reset(seed=shifted(seed))
        assert env.reward_of(actions[where]) == rewards[where]
        assert env.step(actions[where])[1:4] == (rewards[where], True, False)
        assert env.best_reward(observations[where]) == best[where]
        assert np.array_equal(env.optimal_action(observations[where]), chosen[where])


@kinds
def test_one_observation_serves_many_actions_and_one_action_many_observations(kind):
    env = kind()
    observations = np.stack([env.reset(seed=shifted(seed))[0] for seed in range(4)])
    actions = numpy_seeded(0).integers(0, 2, (4, env.action_space.n))
    for row in range(4):
        alone = [env.reward_of(action, observations[row]) for action in actions]
        assert np.array_equal(env.reward_of(actions, observations[row]), alone)
        everywhere = np.broadcast_to(actions[row], actions.shape)
        expected = env.reward_of(everywhere, observations)
        assert np.array_equal(env.reward_of(actions[row : row + 1], observations), expected)


@pytest.mark.parametrize("kind", [Assignment, LargeAction], ids=lambda kind: kind.__name__)
def test_observations_follow_the_seed(kind):
    def stream(seed):
        env = kind()
        first = env.reset(seed=shifted(seed))[0]
        action = np.zeros(env.action_space.n)
        return np.stack([first, *[(env.step(action)[0], env.reset()[0])[1] for _ in range(5)]])

    assert np.array_equal(stream(7), stream(7))
    assert not np.array_equal(stream(7), stream(8))
    assert len(np.unique(stream(7), axis=0)) == 6  # drawn afresh for every episode


@kinds
def test_an_observation_written_over_does_not_change_the_reward(kind):
    env = kind()
    observation, _ = env.reset(seed=SEED)
    best, most = env.optimal_action(observation), env.best_reward(observation)
    observation[:] = 1 - observation
    assert env.step(best)[1] == most


@kinds
def test_no_best_action_is_shared(kind):
    env = kind()
    observation, _ = env.reset(seed=SEED)
    most = env.best_reward(observation)
    env.optimal_action(observation)[:] = 1
    assert env.best_reward(observation) == most


@kinds
@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8, np.int64, np.float32, float])
def test_bits_may_be_of_any_kind(kind, dtype):
    env = kind()
    observation, _ = env.reset(seed=SEED)
    action = env.optimal_action(observation).astype(dtype)
    assert env.step(action)[1] == env.best_reward(observation)


@kinds
def test_nothing_is_drawn_without_a_mode(kind):
    env = kind()
    env.reset(seed=SEED)
    assert env.render() is None
    with pytest.raises(ParameterError, match="'human'"):
        kind(render_mode="human")


@kinds
def test_actions_of_the_wrong_shape(kind):
    env = kind()
    env.reset(seed=SEED)
    bits = env.action_space.n
    for shape in [(bits - 1,), (2, bits), (bits, 1), ()]:
        with pytest.raises(ShapeError, match=rf"{kind.__name__}\.step: .* an array of {bits} bits"):
            env.step(np.zeros(shape))
    with pytest.raises(ShapeError, match=f"{kind.__name__}.reward_of"):
        env.reward_of(np.zeros((bits, 2)))
    with pytest.raises(ShapeError, match="as many of one as of the other"):
        env.reward_of(np.zeros((2, bits)), np.zeros((3, *env.observation_space.shape)))


@kinds
@pytest.mark.parametrize("value", [7, -1, 0.5, np.nan, np.inf])
def test_an_action_that_is_no_bits(kind, value):
    env = kind()
    env.reset(seed=SEED)
    bits = env.action_space.n
    action = np.zeros(bits, dtype=np.asarray(value).dtype)
    action[3] = value
    for method in (env.step, env.reward_of):
        with pytest.raises(DomainError, match=f"1 of {bits} bits .* such as {value}"):
            method(action)


@kinds
@pytest.mark.parametrize("method", ["optimal_action", "best_reward"])
def test_observations_of_the_wrong_size(kind, method):
    env = kind()
    with pytest.raises(ShapeError, match=rf"{kind.__name__}\.{method}: observations of shape"):
        getattr(env, method)(np.zeros((2, env.observation_space.shape[0] + 1)))
    with pytest.raises(ShapeError, match=r"reward_of: observations of shape \(\)"):
        env.reward_of(np.zeros(env.action_space.n), np.array(0.5))


def test_a_reload_registers_nothing_twice():
    before = dict(gym.registry)
    importlib.reload(isinglass.envs)  # a warning, which gymnasium gives, would be an error here
    assert gym.registry == before
    assert {f"isinglass/{kind.__name__}-v0" for kind in KINDS} <= set(before)


@pytest.mark.parametrize("name", ["LargeAction", "Parity", "Assignment", "Trap"])
def test_several_at_once_as_stable_baselines_makes_them(name):
    """It asks for pictures, whether anybody looks at them or not."""
    from stable_baselines3.common.env_util import make_vec_env

    env = make_vec_env(f"isinglass/{name}-v0", n_envs=2, seed=SEED)
    env.reset()
    env.step([env.action_space.sample(), env.action_space.sample()])
    bits = env.action_space.shape[0]
    for picture in env.get_images():
        assert picture.shape[1] == 16 * max(bits, env.observation_space.shape[0])
        assert picture.shape[0] == 64
        assert 150 < picture.max() <= 240
