"""The T-maze against its rules in words, and what can be earned with and without a memory."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_env_of_sb3

from isinglass.envs import TMaze, make_env
from isinglass.errors import DomainError, ParameterError
from tests.seeds import SEED, numpy_seeded, shifted

NORTH, EAST, SOUTH, WEST = range(4)
CUES = {(0, 1, 1): NORTH, (1, 1, 0): SOUTH}


@pytest.mark.filterwarnings("ignore:.*alternative render modes.*")
def test_it_is_an_environment():
    check_env(TMaze(3))
    check_env_of_sb3(TMaze(3))
    assert make_env("isinglass/TMaze-v0", length=7).unwrapped.length == 7


@pytest.mark.parametrize("length", [1, 2, 9])
def test_every_step_is_as_the_rules_say(length):
    env, draw = TMaze(length, cap=40), numpy_seeded(length)
    seen, info = env.reset(seed=SEED)
    goal, place, steps = CUES[tuple(seen)], 0, 0
    assert info == {}
    for _ in range(2_000):
        action = int(draw.choice(4, p=[0.1, 0.5, 0.1, 0.3]))
        seen, reward, terminated, truncated, info = env.step(action)
        steps += 1
        if place == length and action in (NORTH, SOUTH):
            expected = (4.0 if action == goal else -0.1, True, False)
        else:
            before = place
            place += (action == EAST and place < length) - (action == WEST and place > 0)
            expected = (0.0 if place > before else -0.1, False, steps == 40)
        assert (reward, terminated, truncated) == expected
        assert info == {}
        if place == 0:
            assert CUES[tuple(seen)] == goal
        else:
            assert seen.tolist() == ([0, 1, 0] if place == length else [1, 0, 1])
        if terminated or truncated:
            with pytest.raises(gym.error.ResetNeeded):
                env.step(EAST)
            seen, _ = env.reset()
            goal, place, steps = CUES[tuple(seen)], 0, 0


def earned(env, seed, remembers):
    seen, _ = env.reset(seed=seed)
    cue = CUES[tuple(seen)] if remembers else NORTH
    total = 0.0
    for _ in range(env.length):
        total += env.step(EAST)[1]
    _, reward, terminated, _, _ = env.step(cue)
    assert terminated
    return total + reward


def test_the_cue_is_worth_four_and_a_guess_half_of_it():
    env = TMaze(6)
    assert all(earned(env, shifted(seed), remembers=True) == 4 for seed in range(50))
    guesses = [earned(env, shifted(seed), remembers=False) for seed in range(1_000)]
    assert set(guesses) == {4.0, -0.1}
    assert abs(np.mean(guesses) - 1.95) < 5 * 2.05 / 1_000**0.5


def test_the_cap_is_ten_times_the_shortest_way():
    assert TMaze(6).cap == 70
    env = TMaze(1)
    env.reset(seed=SEED)
    ends = [env.step(WEST)[2:4] for _ in range(20)]
    assert ends == [(False, False)] * 19 + [(False, True)]
    env = TMaze(1, cap=2)
    env.reset(seed=SEED)
    env.step(EAST)
    assert env.step(NORTH)[2:4] == (True, False)  # a turn in the last step


def test_seeds():
    def cues(seed):
        env = TMaze(3)
        env.reset(seed=shifted(seed))
        return [env.reset()[0].tolist() for _ in range(40)]

    assert cues(5) == cues(5)
    assert cues(5) != cues(6)


def test_rendering():
    env = TMaze(3, render_mode="ansi")
    seen, _ = env.reset(seed=SEED)
    env.step(EAST)
    rows = env.render().split("\n")
    assert rows[1] == ".@.."
    goal, other = (0, 2) if CUES[tuple(seen)] == NORTH else (2, 0)
    assert (rows[goal], rows[other]) == ("   G", "   .")
    image = TMaze(3, render_mode="rgb_array")
    image.reset(seed=SEED)
    assert image.render().shape == (3 * 48, 4 * 48, 3)
    assert TMaze().render() is None


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize(
    "bad", [{"length": 0}, {"length": 2.5}, {"cap": 0}, {"render_mode": "human"}], ids=str
)
def test_bad_sizes(bad):
    with pytest.raises(ParameterError, match=next(iter(bad))):
        TMaze(**bad)


def test_bad_actions():
    env = TMaze()
    with pytest.raises(gym.error.ResetNeeded):
        env.step(EAST)
    env.reset(seed=SEED)
    for action in (4, -1, 0.5, "east", True):
        with pytest.raises(DomainError, match="from 0 to 3"):
            env.step(action)
