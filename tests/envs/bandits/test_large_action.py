"""The large-action task: its reward, its randomness, and the names environments go by."""

import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest

from isinglass.envs import LargeAction, make_env
from isinglass.errors import ParameterError, UnknownEnvironmentError
from tests.seeds import SEED, shifted


def reference_key(env, state):
    """The index of the nearest key state, by the definition: a plain loop over the keys."""
    best, nearest = None, None
    for index, key in enumerate(env.key_states):
        distance = sum(int(a) != int(b) for a, b in zip(key, state, strict=True))
        if best is None or distance < best:  # strictly: the first of equals stays
            best, nearest = distance, index
    return nearest


def tied(env, state):
    distances = (env.key_states != state).sum(1)
    return (distances == distances.min()).sum() > 1


def test_reward_is_the_definition_ties_to_the_lowest_index():
    env = LargeAction(state_bits=5, action_bits=9, keys=7)
    state, _ = env.reset(seed=shifted(3))
    env.action_space.seed(shifted(3))
    ties = 0
    for _ in range(300):
        action = env.action_space.sample()
        ties += bool(tied(env, state))
        key_action = env.key_actions[reference_key(env, state)]
        expected = sum(int(a) == int(b) for a, b in zip(action, key_action, strict=True))
        _, reward, terminated, truncated, _ = env.step(action)
        assert (reward, terminated, truncated) == (expected, True, False)
        state, _ = env.reset()
    assert ties > 50  # else ties would not have been tested


def test_optimal_action_earns_every_bit_one_state_or_many():
    env = LargeAction(key_seed=4)
    states = np.array([env.reset(seed=shifted(i))[0] for i in range(20)])
    many = env.optimal_action(states)
    for i, state in enumerate(states):
        env.reset(seed=shifted(i))
        assert env.step(env.optimal_action(state))[1] == 40.0
        assert np.array_equal(many[i], env.optimal_action(state))


def test_keys_belong_to_the_problem_and_states_to_the_seed():
    first, second, other = LargeAction(), LargeAction(), LargeAction(key_seed=1)
    assert np.array_equal(first.key_states, second.key_states)
    assert np.array_equal(first.key_actions, second.key_actions)
    assert not np.array_equal(first.key_actions, other.key_actions)

    def stream(env, seed):
        states = [env.reset(seed=shifted(seed))[0]]
        for _ in range(5):
            states += [env.step(env.action_space.sample())[0], env.reset()[0]]
        return np.array(states)

    keys = first.key_states.copy(), first.key_actions.copy()
    assert np.array_equal(stream(first, 7), stream(second, 7))
    assert not np.array_equal(stream(first, 8), stream(second, 7))
    assert np.array_equal(keys[0], first.key_states)
    assert np.array_equal(keys[1], first.key_actions)


def test_ansi_rendering():
    env = LargeAction(state_bits=2, action_bits=3, keys=1, render_mode="ansi")
    state, _ = env.reset(seed=SEED)
    assert env.render() == f"state  {state[0]}{state[1]}\naction none yet"
    env.step(np.array([1, 0, 1]))
    assert env.render() == f"state  {state[0]}{state[1]}\naction 101"


@pytest.mark.parametrize(
    "bad", [{"state_bits": 0}, {"action_bits": -2}, {"keys": -1}, {"key_seed": -1}], ids=str
)
def test_bad_sizes(bad):
    with pytest.raises(ParameterError, match=next(iter(bad))):
        LargeAction(**bad)


@pytest.mark.parametrize(
    "name",
    [
        "isinglass/LargeAction-v0",
        "isinglass.envs:isinglass/LargeAction-v0",
        "isinglass.envs:LargeAction",
        "isinglass.envs.bandits.large_action:LargeAction",
    ],
)
def test_make_env(name):
    env = make_env(name, action_bits=6)
    assert env.action_space == gym.spaces.MultiBinary(6)


@pytest.mark.parametrize(
    "name",
    ["", ":", "NoSuch-v0", "isinglass/LargeAction-v9", "not a name", "no.such.module:Thing",
     "isinglass.envs:NoSuch", ".envs:LargeAction", "builtins:dict", "sys:exit", "os:getcwd",
     "isinglass.envs:make_env", "gymnasium:Env", 3, None, LargeAction],
)  # fmt: skip
@pytest.mark.usefixtures("unannotated")
def test_unknown_environments(name):
    with pytest.raises(UnknownEnvironmentError, match="module:ClassName") as caught:
        make_env(name)
    assert repr(name) in str(caught.value)


def test_an_error_inside_an_environment_is_not_called_an_unknown_name():
    def broken():
        raise gym.error.DependencyNotInstalled("needs a simulator")

    gym.register("isinglass-test/Broken-v0", entry_point=broken)
    try:
        with pytest.raises(gym.error.DependencyNotInstalled):
            make_env("isinglass-test/Broken-v0")
    finally:
        del gym.registry["isinglass-test/Broken-v0"]


@pytest.mark.parametrize(
    ("module", "missing"),
    [
        ("isinglass.envs", "gymnasium"),
        ("isinglass.agents", "gymnasium"),
        ("isinglass.agents", "stable_baselines3"),
    ],
)
def test_a_missing_extra_names_its_remedy(module, missing):
    script = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from isinglass.errors import MissingExtraError\n"
        f"try:\n    import {module}\n"
        "except MissingExtraError as error:\n    print(error)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "pip install 'isinglass[rl]'" in run.stdout
    assert missing in run.stdout
