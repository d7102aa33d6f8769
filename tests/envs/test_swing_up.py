"""The swing-up against mechanics: energy, rest, symmetry, and where the reward is."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_env_of_sb3

from isinglass.envs import SwingUp, make_env
from isinglass.errors import DomainError, ParameterError
from tests.seeds import SEED, numpy_seeded

HANGING, UPRIGHT = np.zeros(4), np.array([0, 0, np.pi, 0])


def drawn(count=50):
    return numpy_seeded(1).normal(0, [1, 2, 2, 4], (count, 4))


@pytest.mark.filterwarnings("ignore:.*alternative render modes.*")
@pytest.mark.filterwarnings("ignore:.*symmetric and normalized.*")
@pytest.mark.filterwarnings("ignore:.*is -?infinity.*")
def test_it_is_an_environment():
    check_env(SwingUp())
    check_env_of_sb3(SwingUp())
    assert make_env("isinglass/SwingUp-v0", cap=7).unwrapped.cap == 7


def test_energy_stays_without_friction_and_pushes():
    env, state = SwingUp(friction=0, parts=100), drawn()
    before = env.energy(state)
    for _ in range(20):
        state = env.after(state, 0)
    np.testing.assert_allclose(env.energy(state), before, atol=1e-6)
    rubbed = SwingUp(parts=100)
    assert (rubbed.energy(rubbed.after(drawn(), 0)) < before).all()


def test_a_push_does_the_work_of_its_way():
    """dE = (u − bẋ) dx, over steps so fine that the force along the way is that at its middle."""
    env, state, push = SwingUp(friction=0, parts=100), drawn(), 6.0
    after = env.after(state, push)
    work = push * (after[:, 0] - state[:, 0])
    np.testing.assert_allclose(env.energy(after) - env.energy(state), work, atol=1e-6)


def test_the_cart_alone_slows_down_by_friction():
    """With pole and cart moving as one body at rest about the hinge, mass 1 kg: ẍ = −bẋ."""
    falls = SwingUp(friction=0.1, parts=100).after(np.array([0, 1.0, 0, 0]), 0)
    # At first 4(M + m) − 3m = 2.5 bears the force 4 · b: the pole lags behind.
    early = SwingUp(friction=0.1)._rates(np.array([0, 1.0, 0, 0]), np.array(0.0))
    assert early[1] == pytest.approx(-0.16)
    assert early[3] == pytest.approx(0.4)
    assert 0.98 < falls[1] < 1


def test_hanging_and_upright_are_at_rest_and_one_of_them_is_stable():
    env = SwingUp()
    for still in (HANGING, UPRIGHT):
        np.testing.assert_allclose(env.after(still, 0), still, atol=1e-12)
    nudge = np.array([0, 0, 1e-3, 0])
    below, above = HANGING + nudge, UPRIGHT + nudge
    for _ in range(40):
        below, above = env.after(below, 0), env.after(above, 0)
    assert abs(below[2]) < 1e-2
    assert abs(above[2] - np.pi) > 0.5


def test_small_swings_have_the_period_of_the_linear_pendulum():
    """ω² = 6(M + m)g / l(4(M + m) − 3m), from the equations at small angles."""
    env = SwingUp(friction=0, parts=100)
    rate = (6 * 9.82 / (0.6 * 2.5)) ** 0.5
    state = np.array([0, 0, 1e-4, 0])
    for step in range(1, 30):
        state = env.after(state, 0)
        assert state[2] == pytest.approx(1e-4 * np.cos(rate * step * 0.1), abs=1e-8)


def test_left_and_right_are_alike():
    env, state = SwingUp(), drawn()
    np.testing.assert_allclose(env.after(-state, -3), -env.after(state, 3), atol=1e-12)
    np.testing.assert_allclose(env.reward(-state), env.reward(state))


def test_the_integrator_is_fine_enough():
    state = drawn()
    np.testing.assert_allclose(
        SwingUp().after(state, 10), SwingUp(parts=200).after(state, 10), atol=1e-4
    )


def test_the_reward_is_one_at_the_goal_alone():
    env = SwingUp()
    assert env.reward(UPRIGHT) == pytest.approx(1)
    assert env.reward(HANGING) < 1e-4
    # The tip a width aside, by cart or by pole.
    assert env.reward(np.array([0.25, 0, np.pi, 0])) == pytest.approx(np.exp(-0.5))
    assert (env.reward(drawn()) < 1).all()


def test_an_episode_begins_hanging_and_lasts_four_seconds():
    env = SwingUp()
    firsts = np.array([env.reset(seed=SEED if n == 0 else None)[0] for n in range(500)])
    spread = firsts[:, [0, 1, 3, 4]].std(0)  # sin θ is θ but for a cube
    np.testing.assert_allclose(spread, 0.1, rtol=0.2)
    assert (firsts[:, 2] > 0.85).all()
    seen, _ = env.reset()
    ends = []
    for _ in range(40):
        state, push = env._state.copy(), env.action_space.sample()
        seen, reward, terminated, truncated, _ = env.step(push)
        after = env.after(state, push[0])
        np.testing.assert_allclose(seen, SwingUp.seen(after))
        assert reward == env.reward(after)
        ends.append((terminated, truncated))
    assert ends == [(False, False)] * 39 + [(False, True)]
    with pytest.raises(gym.error.ResetNeeded):
        env.step([0.0])


def test_pushes_are_limited():
    env, state = SwingUp(), drawn()
    np.testing.assert_array_equal(env.after(state, 99), env.after(state, 10))


def test_seeds():
    first, again = (SwingUp().reset(seed=SEED)[0] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, SwingUp().reset(seed=SEED + 1)[0])


def test_rendering():
    env = SwingUp(render_mode="rgb_array")
    env.reset(seed=SEED)
    env._state = HANGING
    hanging = env.render()
    env._state = UPRIGHT
    upright = env.render()
    assert hanging.shape == (160, 320, 3)
    assert hanging.dtype == np.uint8
    rod = (0, 121, 107)
    assert tuple(hanging[80 + 40, 160]) == rod != tuple(hanging[80 - 40, 160])
    assert tuple(upright[80 - 40, 160]) == rod != tuple(upright[80 + 40, 160])
    assert SwingUp().render() is None


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize(
    "bad", [{"cap": 0}, {"friction": -1}, {"parts": 0.5}, {"render_mode": "human"}], ids=str
)
def test_bad_sizes(bad):
    with pytest.raises(ParameterError, match=next(iter(bad))):
        SwingUp(**bad)


def test_bad_actions():
    env = SwingUp()
    with pytest.raises(gym.error.ResetNeeded):
        env.step([0.0])
    env.reset(seed=SEED)
    for action in ([np.nan], [1.0, 2.0], "left", [np.inf], None):
        with pytest.raises(DomainError, match="-10 to 10"):
            env.step(action)
