"""The assignment task against its definition, all actions, and all permutations."""

import itertools
import sys

import numpy as np
import pytest

from isinglass.envs import Assignment
from isinglass.errors import DomainError, MissingExtraError, ParameterError, ShapeError
from tests.seeds import SEED, numpy_seeded


def reference_reward(values, action, n):
    """By the definition: plain loops over rows and columns."""
    reward = 0.0
    for i in range(n):
        row = column = 0
        for j in range(n):
            reward += float(values[i * n + j]) * int(action[i * n + j])
            row += int(action[i * n + j])
            column += int(action[j * n + i])
        reward -= (row - 1) ** 2 + (column - 1) ** 2
    return reward


def every_action(n):
    return np.arange(2 ** (n * n))[:, None] >> np.arange(n * n) & 1


def permutations(n):
    eye = np.eye(n, dtype=np.int8)
    return np.array([eye[list(order)].ravel() for order in itertools.permutations(range(n))])


def test_the_reward_is_the_definition():
    env = Assignment(n=5)
    for action in numpy_seeded(0).integers(0, 2, (200, 25), dtype=np.int8):
        values, _ = env.reset()
        expected = reference_reward(values, action, 5)
        assert env.step(action)[1] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_no_action_earns_more_than_the_best_permutation(n):
    env = Assignment(n)
    draw = numpy_seeded(n)
    drawn = [draw.random((3, n * n)), draw.integers(0, 2, (5, n * n)), np.ones((1, n * n))]
    values = np.concatenate(drawn)  # values of exactly 0 and 1 are the hardest
    actions, ordered = every_action(n), permutations(n)
    for row, best in zip(values, env.best_reward(values), strict=True):
        assert best == pytest.approx(env.reward_of(actions, row).max(), abs=1e-12)
        assert best == pytest.approx((ordered @ row).max(), abs=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_the_random_baseline(n):
    values = numpy_seeded(0).random(n * n)
    exact = values.sum() / 2 - n**2 / 2 - 2 * n * (n / 2 - 1) ** 2
    assert Assignment(n).reward_of(every_action(n), values).mean() == pytest.approx(exact)


def test_the_optimum_of_six_rows_on_average():
    env = Assignment()
    values = numpy_seeded(0).random((2_000, 36))
    best = env.best_reward(values)
    assert env.is_valid(env.optimal_action(values)).all()
    assert abs(best.mean() - 4.80) < 5 * best.std() / np.sqrt(len(best)) + 0.005  # 4.80: rounded


@pytest.mark.parametrize("n", [1, 2, 3])
def test_permutations_are_valid_and_nothing_else(n):
    actions = every_action(n)
    valid = actions[Assignment(n).is_valid(actions)]
    assert {tuple(action) for action in valid} == {tuple(action) for action in permutations(n)}


def test_values_are_fresh_and_uniform():
    env = Assignment(n=8)
    values = np.stack([env.reset(seed=SEED)[0], *[env.reset()[0] for _ in range(499)]])
    assert values.dtype == np.float32
    assert 0 <= values.min() < values.max() < 1
    count = values.size
    assert abs(values.mean() - 1 / 2) < 5 * np.sqrt(1 / 12 / count)
    assert abs(values.var() - 1 / 12) < 5 * np.sqrt(1 / 180 / count)


def test_ansi_rendering_shows_the_values_that_were_chosen_from():
    env = Assignment(n=2, render_mode="ansi")
    values, _ = env.reset(seed=SEED)
    a, b, c, d = (f"{value:.2f}" for value in values)
    assert env.render() == f" {a}  {b} \n {c}  {d} "
    env.step(np.array([0, 1, 1, 0]))
    assert env.render() == f" {a} [{b}]\n[{c}] {d} "


def test_without_scipy(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    env = Assignment(n=2)
    env.reset(seed=SEED)
    env.step(np.zeros(4))
    with pytest.raises(MissingExtraError, match=r"isinglass\[rl\]"):
        env.best_reward(np.zeros(4))


@pytest.mark.parametrize("n", [0, -1, 2.5, True, None])
@pytest.mark.usefixtures("unannotated")
def test_bad_sizes(n):
    with pytest.raises(ParameterError, match="Assignment: n ="):
        Assignment(n)


def test_bad_actions():
    with pytest.raises(ShapeError, match="is_valid"):
        Assignment().is_valid(np.zeros(25))
    with pytest.raises(DomainError, match="is_valid"):
        Assignment().is_valid(np.full(36, 2))


def test_nan_among_the_values():
    values = np.zeros((2, 36))
    values[1, 7] = np.nan
    with pytest.raises(DomainError, match="1 of 72"):
        Assignment().best_reward(values)
