"""The parity task against its definition and against all 2^20 actions."""

import numpy as np
import pytest

from isinglass.envs import Parity
from isinglass.errors import ParameterError
from tests.seeds import SEED, numpy_seeded, shifted


def reference_reward(action, members):
    """By the definition: a plain loop over blocks and bits."""
    reward = 0
    for block in members:
        ones = 0
        for bit in block:
            ones += int(action[bit])
        reward += ones % 2 == 0
    return reward


@pytest.mark.parametrize("permute_seed", [None, 3])
def test_the_reward_is_the_definition(permute_seed):
    env = Parity(blocks=3, block_bits=5, permute_seed=permute_seed)
    for action in numpy_seeded(0).integers(0, 2, (200, 15), dtype=np.int8):
        env.reset(seed=SEED)
        assert env.step(action)[1] == reference_reward(action, env.members)


def test_two_to_the_fifteen_optima_and_a_mean_of_two_and_a_half():
    env = Parity()
    actions = (np.arange(2**20, dtype=np.int32)[:, None] >> np.arange(20) & 1).astype(np.int8)
    rewards = env.reward_of(actions)
    assert env.best_reward(np.ones(1)) == rewards.max() == 5
    assert (rewards == 5).sum() == 2**15
    assert rewards.mean() == 2.5


def test_fewer_bits_than_a_block_say_nothing():
    env = Parity(blocks=2, block_bits=3, permute_seed=1)
    actions = np.arange(64)[:, None] >> np.arange(6) & 1
    rewards = env.reward_of(actions)
    first, second, _ = env.members[0]
    for a in (0, 1):
        for b in (0, 1):
            given = (actions[:, first] == a) & (actions[:, second] == b)
            assert rewards[given].mean() == rewards.mean() == 1


def test_blocks_lie_side_by_side_unless_dealt():
    assert np.array_equal(Parity().members, np.arange(20).reshape(5, 4))
    dealt, same, other = (Parity(permute_seed=seed).members for seed in (1, 1, 2))
    assert np.array_equal(np.sort(dealt.ravel()), np.arange(20))
    assert np.array_equal(dealt, same)
    assert not np.array_equal(dealt, other)


def test_the_observation_says_nothing():
    env = Parity()
    seen = [env.reset(seed=shifted(seed))[0] for seed in range(3)] + [env.step(np.ones(20))[0]]
    assert (np.array(seen) == 1).all()


def test_ansi_rendering():
    env = Parity(blocks=2, block_bits=3, render_mode="ansi")
    env.reset(seed=SEED)
    assert env.render() == "action none yet"
    env.step(np.array([1, 0, 1, 1, 1, 1]))
    assert env.render() == "101  1\n111  0\nreward 1"
    env.reset()
    assert env.render() == "action none yet"


@pytest.mark.parametrize(
    "bad", [{"blocks": 0}, {"block_bits": 0}, {"permute_seed": -1}, {"permute_seed": True}], ids=str
)
def test_bad_arguments(bad):
    with pytest.raises(ParameterError, match=f"Parity: {next(iter(bad))}"):
        Parity(**bad)
