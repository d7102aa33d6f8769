"""The blocker task against a plain reading of its rules, and its optimum by value iteration."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_env_of_sb3

from isinglass.envs import Blockers
from isinglass.errors import DomainError, IntractableError, ParameterError, ShapeError
from tests.seeds import SEED, numpy_seeded, shifted

SMALL = {}
LARGE = {"rows": 4, "columns": 7, "agents": 3, "blockers": 2, "cap": 40}
UP, DOWN, LEFT, RIGHT = range(4)


def read(env, bits):
    """Agents as (row, column) and the leftmost column of each blocker, from what is observed."""
    bits, agents, blockers = bits.tolist(), [], []
    for _ in range(env.agents):
        row, bits = bits[: env.rows], bits[env.rows :]
        column, bits = bits[: env.columns], bits[env.columns :]
        assert sum(row) == sum(column) == 1
        agents.append((row.index(1), column.index(1)))
    for number in range(env.blockers):
        side, bits = bits[:2], bits[2:]
        assert sum(side) == 1
        blockers.append(3 * number + side.index(1))
    assert bits == []
    return agents, blockers


def reference_step(env, agents, blockers, action):
    """The rules, one after the other, on sets of cells."""
    agents, blockers = list(agents), list(blockers)
    for number, move in enumerate(action):
        row, column = agents[number]
        goal = {
            UP: (row - 1, column),
            DOWN: (row + 1, column),
            LEFT: (row, column - 1),
            RIGHT: (row, column + 1),
        }[int(move)]
        field = {(row, column) for row in range(env.rows) for column in range(env.columns)}
        taken = {(0, left + width) for left in blockers for width in range(3)} | set(agents)
        if goal in field - taken:
            agents[number] = goal
        if agents[number][0] == 0:
            return agents, blockers, True
    for number, left in enumerate(blockers):
        zone = range(3 * number, 3 * number + 4)
        stopped = {other + width for other in blockers[:number] for width in range(3)}
        threats = [cell for cell in agents if cell[1] in zone and cell[1] not in stopped]
        threats.sort(key=lambda cell: (cell[0], abs(cell[1] - (left + 1))))  # a stable sort
        if threats and threats[0][1] not in range(left, left + 3):
            moved = left + (1 if threats[0][1] > left else -1)
            others = {o + width for o in blockers if o != left for width in range(3)}
            if not others & set(range(moved, moved + 3)):
                blockers[number] = moved
    return agents, blockers, False


def sooner(table):
    """Steps to the end zone from every state under the best policy, by value iteration."""
    steps = np.zeros(len(table.next_state))
    while True:
        after = 1 + np.where(table.terminated, 0, steps[table.next_state]).min(1)
        if np.array_equal(after, steps):
            return steps
        steps = after


@pytest.fixture(scope="module")
def table():
    return Blockers().transitions()


@pytest.mark.parametrize("name", ["isinglass/Blockers-v0", "isinglass/Blockers4x7-v0"])
@pytest.mark.parametrize("render_mode", ["ansi", "rgb_array"])
def test_gymnasium_contract(name, render_mode):
    env = gym.make(name, render_mode=render_mode).unwrapped
    check_env(env)
    check_env_of_sb3(env)


def test_the_registered_sizes():
    for name, sizes in {"Blockers": SMALL, "Blockers4x7": LARGE}.items():
        made, built = gym.make(f"isinglass/{name}-v0").unwrapped, Blockers(**sizes)
        for size in ("rows", "columns", "agents", "blockers", "cap"):
            assert getattr(made, size) == getattr(built, size)
    assert Blockers().observation_space == gym.spaces.MultiBinary(20)
    assert Blockers(**LARGE).observation_space == gym.spaces.MultiBinary(37)
    assert Blockers(**LARGE).action_space == gym.spaces.MultiDiscrete([4, 4, 4])


@pytest.mark.parametrize(
    "sizes", [SMALL, LARGE, {"rows": 2, "columns": 9, "agents": 4, "blockers": 2}], ids=str
)
def test_every_step_is_the_reference_s(sizes):
    """Of 4,000 steps at least 20 are expected to win: e⁻²⁰ is the chance of none."""
    env = Blockers(**sizes)
    env.action_space.seed(shifted(1))
    bits, _ = env.reset(seed=shifted(1))
    wins = collisions = waits = 0
    climb = numpy_seeded(1)
    for _ in range(4_000):
        agents, blockers = read(env, bits)
        action = env.action_space.sample()
        action[climb.random(env.agents) < 0.3] = UP  # random agents rarely meet the blockers
        expected = reference_step(env, agents, blockers, action)
        bits, reward, terminated, truncated, info = env.step(action)
        assert (*read(env, bits), terminated) == expected
        assert reward == (1 if terminated else -1)
        assert info == {}
        assert env.observation_space.contains(bits)
        wins += terminated
        collisions += any(cell in agents for cell in expected[0])
        waits += blockers == expected[1]
        if terminated or truncated:
            bits, _ = env.reset()
    assert wins > 0
    assert collisions > 500
    assert 100 < waits < 3_950


def test_starts_are_uniform_over_the_top_and_the_bottom_row():
    env, seen = Blockers(**LARGE), []
    env.reset(seed=SEED)
    for _ in range(4_000):
        agents, blockers = read(env, env.reset()[0])
        assert all(row == env.rows - 1 for row, _ in agents)
        assert len(set(agents)) == 3
        seen.append(([column for _, column in agents], blockers))
    columns = np.array([columns for columns, _ in seen])
    share = 4_000 / 7
    for agent in range(3):
        counts = np.bincount(columns[:, agent], minlength=7)
        assert np.abs(counts - share).max() < 5 * (share * 6 / 7) ** 0.5
    formations = [(0, 3), (0, 4), (1, 4)]  # (1, 3) would put two blockers on one cell
    counts = np.array([sum(tuple(b) == f for _, b in seen) for f in formations])
    assert counts.sum() == 4_000
    assert np.abs(counts - 4_000 / 3).max() < 5 * (4_000 * 2 / 9) ** 0.5


def test_the_cap_truncates_and_a_win_in_the_last_step_terminates():
    env = Blockers(cap=3)
    env.reset(seed=SEED)
    ends = [env.step(np.array([DOWN, DOWN]))[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (False, True)]
    with pytest.raises(gym.error.ResetNeeded):
        env.step(np.array([UP, UP]))
    wins = 0
    for seed in range(200):
        env = Blockers(rows=2, cap=1)
        agents, blockers = read(env, env.reset(seed=shifted(seed))[0])
        free = any(column not in range(blockers[0], blockers[0] + 3) for _, column in agents)
        assert env.step(np.array([UP, UP]))[2:4] == (free, not free)
        if free:
            early = Blockers(rows=2, cap=9)
            early.reset(seed=shifted(seed))
            early.step(np.array([UP, UP]))
            with pytest.raises(gym.error.ResetNeeded):
                early.step(np.array([UP, UP]))
        wins += free
    assert 0 < wins < 200


def test_seeds():
    def course(seed):
        env = Blockers()
        env.action_space.seed(SEED)
        env.reset(seed=shifted(seed))
        return [(env.reset()[0], env.step(env.action_space.sample())[0]) for _ in range(20)]

    assert np.array_equal(course(5), course(5))
    assert not np.array_equal(course(5), course(6))


def test_the_table_is_what_steps_do(table):
    env = Blockers()
    assert table.next_state.shape == (480, 16)  # 16 · 15 places of agents, 2 of the blocker
    assert len(table.starts) == 4 * 3 * 2
    number = {bits.tobytes(): state for state, bits in enumerate(table.observations)}
    assert len(number) == 480
    draw = numpy_seeded(0)
    bits, _ = env.reset(seed=SEED)
    for _ in range(2_000):
        state, action = number[bits.tobytes()], draw.integers(16)
        assert state in table.starts or env._remaining < env.cap
        bits, reward, terminated, truncated, _ = env.step(table.actions[action])
        assert table.rewards[state, action] == reward
        assert table.terminated[state, action] == terminated
        expected = state if terminated else number[bits.tobytes()]
        assert table.next_state[state, action] == expected
        if terminated or truncated:
            bits, _ = env.reset()


def test_the_optimum_of_five_by_four(table):
    """The best team needs 14/3 steps on average: 2 / (14/3) − 1 = −4/7 a step."""
    steps = sooner(table)
    assert steps.max() < 20  # the cap never stops it
    assert steps[table.starts].mean() == pytest.approx(14 / 3)
    assert 2 / steps[table.starts].mean() - 1 == pytest.approx(-4 / 7)
    values = np.zeros(480)
    for _ in range(2_000):
        values = (table.rewards + 0.99 * ~table.terminated * values[table.next_state]).max(1)
    assert values[table.starts].mean() == pytest.approx(-2.6515, abs=1e-4)


def test_the_optimal_policy_earns_it_in_the_environment(table):
    steps = sooner(table)
    best = np.where(table.terminated, 0, steps[table.next_state]).argmin(1)
    number = {bits.tobytes(): state for state, bits in enumerate(table.observations)}
    env, lengths = Blockers(), []
    bits, _ = env.reset(seed=SEED)
    for _ in range(1_000):
        length, ended = 0, False
        while not ended:
            action = table.actions[best[number[bits.tobytes()]]]
            bits, _, ended, truncated, _ = env.step(action)
            length += 1
            assert not truncated
        lengths.append(length)
        bits, _ = env.reset()
    error = steps[table.starts].std() / 1_000**0.5
    assert abs(np.mean(lengths) - 14 / 3) < 5 * error


def test_one_agent_alone_is_always_stopped_once_the_blocker_has_seen_it():
    table = Blockers(agents=1).transitions()
    reached = table.terminated.any(1)
    while True:
        more = reached | reached[table.next_state].any(1)
        if np.array_equal(more, reached):
            break
        reached = more
    assert not reached[table.starts].any()


def test_rendering():
    env = Blockers(render_mode="ansi")
    bits, _ = env.reset(seed=SEED)
    agents, (left,) = read(env, bits)
    rows = env.render().split("\n")
    assert rows[0] == "." * left + "###" + "." * (1 - left)
    for number, (row, column) in enumerate(agents, start=1):
        assert rows[row][column] == str(number)
    image = Blockers(render_mode="rgb_array", **LARGE)
    image.reset(seed=SEED)
    assert image.render().shape == (4 * 48, 7 * 48, 3)
    assert image.render().dtype == np.uint8
    assert Blockers().render() is None


@pytest.mark.parametrize(
    "bad",
    [
        {"rows": 1},
        {"columns": 3},
        {"columns": 6, "blockers": 2},
        {"agents": 0},
        {"agents": 5},
        {"blockers": 0},
        {"cap": 0},
        {"render_mode": "human"},
    ],
    ids=str,
)
def test_bad_sizes(bad):
    with pytest.raises(ParameterError, match=next(iter(bad))):
        Blockers(**bad)


def test_bad_actions():
    env = Blockers()
    env.reset(seed=SEED)
    with pytest.raises(ShapeError, match="2 moves"):
        env.step(np.zeros(3, dtype=int))
    for move in (4, -1, 0.5, np.nan):
        with pytest.raises(DomainError, match="0 for up"):
            env.step(np.array([0, move]))
    with pytest.raises(gym.error.ResetNeeded):
        Blockers().step(np.array([0, 0]))


def test_a_table_too_large_is_refused():
    with pytest.raises(IntractableError, match="smaller field"):
        Blockers(rows=8, columns=10, agents=4, blockers=3).transitions()
