"""The trap task against its definition, and the trap itself."""

import numpy as np
import pytest

from isinglass.envs import Trap
from isinglass.errors import ParameterError
from tests.seeds import SEED, numpy_seeded, shifted


def reference_reward(action, key, members):
    """By the definition: a plain loop over blocks and bits."""
    reward = 0
    for block in members:
        matches = 0
        for bit in block:
            matches += int(action[bit]) == int(key[bit])
        reward += len(block) if matches == len(block) else len(block) - 1 - matches
    return reward


@pytest.mark.parametrize("permute_seed", [None, 3])
@pytest.mark.parametrize("block_bits", [1, 4, 5])
def test_the_reward_is_the_definition(permute_seed, block_bits):
    env = Trap(blocks=3, block_bits=block_bits, key_seed=1, permute_seed=permute_seed)
    for action in numpy_seeded(0).integers(0, 2, (200, 3 * block_bits), dtype=np.int8):
        env.reset(seed=SEED)
        assert env.step(action)[1] == reference_reward(action, env.key, env.members)


def test_the_key_alone_is_best_and_the_complement_is_where_climbing_ends():
    env = Trap(blocks=2, key_seed=4, permute_seed=4)
    actions = np.arange(2**8)[:, None] >> np.arange(8) & 1
    rewards = env.reward_of(actions)
    assert np.array_equal(actions[rewards == rewards.max()], [env.key])
    assert rewards.max() == 8
    assert rewards.mean() == 2 * 21 / 16

    action = np.array(env.key)
    action[env.members[:, :2].ravel()] ^= 1  # two bits of every block away from the key
    while True:
        nearby = action ^ np.eye(8, dtype=np.int8)
        better = env.reward_of(nearby)
        if better.max() <= env.reward_of(action):
            break
        action = nearby[better.argmax()]
    assert np.array_equal(action, 1 - env.key)
    assert env.reward_of(action) == 6


def test_forty_for_the_key_and_thirty_for_its_complement():
    env = Trap(key_seed=9, permute_seed=2)
    assert env.action_space.n == 40
    assert env.best_reward(np.ones(1)) == env.reward_of(env.key) == 40
    assert env.reward_of(1 - env.key) == 30


def test_the_key_follows_its_own_seed_alone():
    keys = [Trap(key_seed=seed).key for seed in (1, 1, 2)]
    assert np.array_equal(keys[0], keys[1])
    assert not np.array_equal(keys[0], keys[2])
    env = Trap(key_seed=1, permute_seed=8)
    env.reset(seed=shifted(3))
    assert np.array_equal(env.key, keys[0])
    assert not np.array_equal(env.members, Trap().members)


def test_ansi_rendering():
    env = Trap(blocks=2, block_bits=3, render_mode="ansi")
    env.reset(seed=SEED)
    assert env.render() == "action none yet"
    action = np.append(env.key[:3], 1 - env.key[3:])
    env.step(action)
    first, second = "".join(map(str, action[:3])), "".join(map(str, action[3:]))
    assert env.render() == f"{first}  3\n{second}  2\nreward 5"


@pytest.mark.parametrize(
    "bad",
    [
        {"blocks": 0},
        {"block_bits": 2.5},
        {"key_seed": -1},
        {"key_seed": None},
        {"permute_seed": -1},
    ],
    ids=str,
)
@pytest.mark.usefixtures("unannotated")
def test_bad_arguments(bad):
    with pytest.raises(ParameterError, match=f"Trap: {next(iter(bad))}"):
        Trap(**bad)
