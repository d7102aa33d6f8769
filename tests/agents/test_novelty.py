"""Counts of what was met, and the bonus for what was seldom done."""

from __future__ import annotations

from collections import Counter

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer

from isinglass.agents import FreeEnergyQ, NoveltyBackup, SoftBackup
from isinglass.agents.replay.replay_buffer import MaskedReplayBuffer
from isinglass.agents.replay.visit_counts import VisitCounts
from isinglass.errors import ParameterError, ShapeError
from tests.seeds import shifted


class Lock(gym.Env):
    """A lock of bits: a wrong one ends the episode, the last right one is worth 1."""

    def __init__(self, bits: int) -> None:
        self.code = np.random.default_rng(5).integers(2, size=bits)
        self.observation_space, self.action_space = spaces.Discrete(bits + 1), spaces.Discrete(2)
        self.at, self.opened = 0, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = 0
        return 0, {}

    def step(self, action):
        if int(action) != self.code[self.at]:
            return self.at, 0.0, True, False, {}
        self.at += 1
        won = self.at == len(self.code)
        self.opened += won
        return self.at, float(won), won, False, {}


def test_whole_numbers_are_counted_one_by_one():
    random = np.random.default_rng(shifted(0))
    states, actions = random.integers(9, size=(500, 2)), random.integers(3, size=(500, 1))
    counts = VisitCounts()
    counts.scale_to(states, actions)
    codes = counts.codes(states, actions)
    counts.add(codes)
    pairs = [tuple(row) for row in np.hstack([states, actions])]
    true = np.array([Counter(pairs)[pair] for pair in pairs])
    found = counts.of(codes)
    assert (found >= true).all()
    # 243 pairs share 2^20 places: one of them is shared in 3 % of all runs, three in 1 of 10^5.
    assert len({pair for pair, more in zip(pairs, found > true, strict=True) if more}) < 6


def test_real_numbers_are_counted_in_cells():
    random = np.random.default_rng(shifted(1))
    rows = random.standard_normal((400, 3)) * [1.0, 100.0, 1e-3]
    counts = VisitCounts()
    counts.scale_to(rows)
    again, near = counts.codes(rows), counts.codes(rows * (1 + 1e-6))
    assert (again == counts.codes(rows.copy())).all()
    assert (again == near).mean() > 0.99  # the width of a cell is half a deviation
    far = counts.codes(rows + 10 * rows.std(0))
    assert (again == far).mean() < 0.02
    assert len(np.unique(again)) > 100


def test_many_real_numbers_are_projected():
    rows = np.random.default_rng(shifted(2)).standard_normal((300, 200))
    counts = VisitCounts()
    counts.scale_to(rows)
    assert (counts.codes(rows) == counts.codes(rows + 1e-9)).all()
    assert len(np.unique(counts.codes(rows))) > 250


def test_rows_of_other_widths_are_refused():
    counts = VisitCounts()
    counts.scale_to(np.zeros((3, 2)))
    with pytest.raises(ShapeError, match="scale_to"):
        counts.codes(np.zeros((3, 4)))


def test_a_buffer_counts_pairs_of_all_environments():
    seen_space, choice = spaces.Discrete(4), spaces.Discrete(2)
    buffer = MaskedReplayBuffer(1_000, seen_space, choice, "cpu", n_envs=2, count_visits=True)
    random, true = np.random.default_rng(shifted(3)), Counter()
    for step in range(300):
        states, actions = random.integers(4, size=2), random.integers(2, size=2)
        infos = [{"reset_transition": step % 7 == 0}, {}]
        buffer.add(states, states, actions, np.zeros(2), np.zeros(2, dtype=bool), infos)
        for i in (0, 1):
            true[states[i], actions[i]] += not (i == 0 and step % 7 == 0)
        if step == 50:
            buffer.sample(1)
    batch = buffer.sample(500)
    assert batch.visits is not None
    pairs = zip(
        batch.observations.flatten().tolist(), batch.actions.flatten().tolist(), strict=True
    )
    assert batch.visits.tolist() == [true[pair] for pair in pairs]


def test_the_bonus_is_added_to_the_reward():
    agent = FreeEnergyQ("MlpPolicy", Lock(4), backup=NoveltyBackup(0.3), seed=0, device="cpu")
    agent.learn(300)
    batch = agent._sample_transitions(64)
    unit = float(agent.q_net.head.reward_size)
    more = batch.rewards + 0.3 * unit / batch.visits[:, None] ** 0.5
    discounts = agent.discounts(batch)
    with torch.no_grad():
        found = agent.backup.target(agent.policy, batch, discounts)
        plain = SoftBackup(mellowmax=True).target(
            agent.policy, batch._replace(rewards=more), discounts
        )
    torch.testing.assert_close(found, plain)


@pytest.mark.slow
def test_seldom_met_states_are_found():
    env = Lock(12)  # at random 1 of 4,096 episodes opens it, of some 2,000
    agent = FreeEnergyQ("MlpPolicy", env, backup=NoveltyBackup(), seed=0, device="cpu").learn(4_000)
    actions, _ = agent.predict(np.arange(12), deterministic=True)
    assert env.opened > 50
    assert (actions == env.code).all()


@pytest.mark.usefixtures("plain_annotations")
@pytest.mark.parametrize("bonus", [-1.0, float("nan"), "much"])
def test_a_bonus_is_a_number_of_zero_or_more(bonus):
    with pytest.raises(ParameterError, match="bonus"):
        NoveltyBackup(bonus)


@pytest.mark.usefixtures("plain_annotations")
def test_the_base_is_a_backup():
    with pytest.raises(ParameterError, match="base"):
        NoveltyBackup(base="soft")  # pyright: ignore[reportArgumentType]


def test_a_buffer_that_does_not_count_is_refused():
    class Plain(ReplayBuffer):
        def __init__(self, *args, count_visits, **kwargs):
            kwargs.pop("n_steps", None), kwargs.pop("gamma", None)
            super().__init__(*args, **kwargs)

    agent = FreeEnergyQ(
        "MlpPolicy", Lock(3), backup=NoveltyBackup(), replay_buffer_class=Plain,
        replay_buffer_kwargs={"count_visits": True}, learning_starts=10, seed=0, device="cpu",
    )  # fmt: skip
    with pytest.raises(ParameterError, match="count_visits"):
        agent.learn(200)


class Field(gym.Env):
    """A row of places; ``worth`` says what a step brings, the last place ends the episode."""

    def __init__(self, places: int, worth: float = -1.0, noise: float = 0.0) -> None:
        self.observation_space, self.action_space = spaces.Discrete(places), spaces.Discrete(2)
        self.places, self.worth, self.noise, self.at = places, worth, noise, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = 0
        return 0, {}

    def step(self, action):
        self.at = max(self.at + 2 * int(action) - 1, 0)
        reward = self.worth + self.noise * self.np_random.standard_normal()
        return self.at, reward, self.at == self.places - 1, False, {}


def begun(env, **settings):
    return FreeEnergyQ("MlpPolicy", env, seed=0, device="cpu", **settings).learn(120)


def test_what_is_new_is_sought_where_rewards_say_nothing_yet():
    agent = begun(Field(40))
    # All rewards are the usual one, and an eighth of the steps is for what is new.
    assert agent.backup == NoveltyBackup(1.0, fading=10, budget=15.0)
    visits = agent._sample_transitions(64).visits
    assert visits is not None
    assert visits.min() >= 1


@pytest.mark.parametrize(
    ("env", "settings"),
    [
        ("CartPole-v1", {}),  # episodes terminate
        (Field(40, noise=1.0), {}),  # rewards differ
        (Field(40), {"backup": SoftBackup(mellowmax=True)}),  # it was named
        (Field(40), {"temperature": 0.5}),  # in units of the reward
        ("Pendulum-v1", {}),  # actions are real
        ("isinglass/LargeAction-v0", {}),  # too many to be met twice
    ],
    ids=["ends", "rewards", "backup", "temperature", "real", "many"],
)
def test_else_it_is_not(env, settings):
    agent = begun(env, **settings)
    assert agent.backup == SoftBackup(mellowmax=True)


def test_values_of_what_is_new_are_forgotten_at_the_first_reward():
    env = Field(40, worth=0.0)
    agent = begun(env)
    assert agent.backup == NoveltyBackup(1.0)
    assert agent._tries_all
    before = agent.policy
    size = float(before.q_net.head.reward_size)
    env.worth = 7.0
    agent.learn(40, reset_num_timesteps=False)
    assert agent.backup == SoftBackup(mellowmax=True)
    assert agent.policy is not before
    assert agent.q_net is agent.policy.q_net
    assert size == 1.0
    assert float(agent.q_net.head.reward_size) == 7.0  # of rewards that are not 0
    with torch.no_grad():
        value = agent.policy.action_values(torch.tensor([[3]]), torch.tensor([[1]]))
    assert abs(float(value[0])) < 14
    weights = agent.policy
    agent.learn(40, reset_num_timesteps=False)
    assert agent.policy is weights


@pytest.mark.slow
def test_a_lock_is_opened_without_a_setting():
    env = Lock(12)
    agent = FreeEnergyQ("MlpPolicy", env, seed=shifted(0), device="cpu").learn(4_000)
    actions, _ = agent.predict(np.arange(12), deterministic=True)
    assert env.opened > 50
    assert (actions == env.code).all()


def test_nothing_is_sought_in_logged_data():
    rows = np.arange(400.0)[:, None] % 39
    logged = {
        "observations": rows, "actions": np.ones(400), "rewards": -np.ones(400),
        "next_observations": rows + 1, "terminals": np.zeros(400),
    }  # fmt: skip
    seen, choice = spaces.Box(0, 50, (1,)), spaces.Discrete(2)
    agent = FreeEnergyQ.from_data(logged, (seen, choice), seed=0, device="cpu").fit(20)
    assert not isinstance(agent.backup, NoveltyBackup)


def test_a_fading_bonus_makes_way_for_goals():
    """b·r₀/√n/(1 + k/k½), k of episodes that met a goal, however long ago."""
    agent = begun(Field(5), backup=NoveltyBackup(0.3, fading=2))
    buffer = agent.replay_buffer
    assert isinstance(buffer, MaskedReplayBuffer)
    ended = buffer.dones[: buffer.size()] * (1 - buffer.timeouts[: buffer.size()])
    assert buffer.goals > 2
    assert buffer.goals == ended.sum()
    batch = agent._sample_transitions(64)
    unit = float(agent.q_net.head.reward_size)
    bonus = 0.3 * unit / batch.visits[:, None] ** 0.5 / (1 + buffer.goals / 2)
    plain, discounts = batch._replace(rewards=batch.rewards + bonus), agent.discounts(batch)
    with torch.no_grad():
        found = agent.backup.target(agent.policy, batch, discounts)
        expected = SoftBackup(mellowmax=True).target(agent.policy, plain, discounts)
    torch.testing.assert_close(found, expected)


def test_a_budget_is_shared_by_all_pairs():
    """b·r₀ √(N/(m n)): what was done as often as its share is worth b·r₀ more."""
    agent = begun(Field(5), backup=NoveltyBackup(0.3, budget=500.0))
    batch = agent._sample_transitions(64)
    rows = torch.cat([batch.observations.reshape(64, -1), batch.actions.reshape(64, -1)], 1)
    assert batch.pairs is not None
    assert batch.visits is not None
    assert int(batch.pairs[0]) == len(rows.unique(dim=0))  # 8 pairs, in 64 of 120 draws
    unit = float(agent.q_net.head.reward_size)
    share = 500.0 / int(batch.pairs[0])
    more = batch.rewards + 0.3 * unit * (share / batch.visits[:, None]) ** 0.5
    plain, discounts = batch._replace(rewards=more), agent.discounts(batch)
    with torch.no_grad():
        found = agent.backup.target(agent.policy, batch, discounts)
        expected = SoftBackup(mellowmax=True).target(agent.policy, plain, discounts)
    torch.testing.assert_close(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_a_goal_behind_a_cliff_is_found_and_kept(seed):
    """Only the way along the cliff leads there; one that stays far from it never ends."""
    agent = FreeEnergyQ("MlpPolicy", "CliffWalking-v1", seed=shifted(seed), device="cpu")
    agent.learn(30_000)
    env = gym.make("CliffWalking-v1")
    state, _ = env.reset(seed=0)
    total, ended = 0.0, False
    for _ in range(40):
        action, _ = agent.predict(state, deterministic=True)
        state, reward, ended, *_ = env.step(int(action))
        total += float(reward)
        if ended:
            break
    assert ended
    assert total >= -17  # −13 is the best


@pytest.mark.usefixtures("plain_annotations")
@pytest.mark.parametrize("fading", [0, -1.0, float("nan"), "soon"])
def test_goals_until_half_are_a_number_above_zero(fading):
    with pytest.raises(ParameterError, match="fading"):
        NoveltyBackup(fading=fading)
    with pytest.raises(ParameterError, match="budget"):
        NoveltyBackup(budget=fading)
