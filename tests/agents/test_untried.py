"""Actions that were never tried in a state: their values are guesses, so they are tried."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.envs import IdentityEnvMultiBinary
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from isinglass.agents import FreeEnergyQ, NoveltyBackup, SoftBackup
from isinglass.agents.actions.action_masks import MaskLayout
from isinglass.agents.replay.replay_buffer import MaskedReplayBuffer
from isinglass.agents.replay.visit_counts import VisitCounts
from tests.seeds import shifted

CHOICES = [
    spaces.Discrete(5),
    spaces.Discrete(5, start=2),
    spaces.MultiBinary(3),
    spaces.MultiDiscrete([2, 3], start=[4, 0]),
    spaces.Dict(kind=spaces.Discrete(2), how=spaces.MultiBinary(2)),
]


class Rooms(gym.Env):
    """Three rooms; what is done there first is worth most, all else less and less."""

    def __init__(self, choice: spaces.Space, masked: bool = False) -> None:
        self.observation_space, self.action_space = spaces.Discrete(3, start=1), choice
        self.layout, self.masked, self.at = MaskLayout.of(choice), masked, 1
        self.taken: list[tuple[int, tuple[int, ...]]] = []

    def allowed(self) -> np.ndarray:
        """Each room forbids another value of the first part."""
        flags = np.ones(self.layout.flat_size, dtype=bool)
        flags[self.at % self.layout.parts[0]] = False
        return flags

    def _info(self):
        return {"action_mask": self.allowed()} if self.masked else {}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = 1
        return self.at, self._info()

    def step(self, action):
        row = self.layout.structure.store([action] if isinstance(action, dict) else action[None])
        values = row[0].astype(int)
        if self.masked:
            listed = self.layout.all_actions()
            may = self.layout.joint(self.allowed())
            assert may[(listed == values).all(1)].all()
        self.taken.append((self.at, tuple(values.tolist())))
        reward = -float(values.sum())
        self.at = 1 + int(self.np_random.integers(3))
        return self.at, reward, False, False, self._info()


@pytest.mark.parametrize("masked", [False, True], ids=["free", "masked"])
@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_every_action_is_tried_in_states_met_often(choice, masked):
    env = Rooms(choice, masked)
    agent = FreeEnergyQ(
        "MlpPolicy",
        env,
        learning_starts=5,
        seed=shifted(0),
        device="cpu",
        policy_kwargs={"net_arch": [8]},
    )
    agent.learn(250)
    for room in (1, 2, 3):
        env.at = room
        may = env.layout.joint(env.allowed()) if masked else np.ones(env.layout.joint_size, bool)
        wanted = {tuple(row.tolist()) for row in env.layout.all_actions()[may]}
        done = [values for at, values in env.taken if at == room]
        assert len(done) > 3 * len(wanted)
        assert set(done) == wanted


def test_codes_of_all_pairs_are_those_of_each():
    random = np.random.default_rng(shifted(0))
    states, reals = random.integers(9, size=(20, 2)), random.standard_normal((20, 3))
    actions = random.integers(4, size=(6, 1))
    counts = VisitCounts()
    counts.scale_to(states, reals, actions)
    found = counts.codes_of_all(states, reals, actions)
    for at in range(6):
        each = counts.codes(states, reals, np.repeat(actions[at : at + 1], 20, 0))
        assert (found[:, at] == each).all()


def test_normalized_states_are_counted_as_they_were():
    envs = VecNormalize(DummyVecEnv([lambda: Rooms(CHOICES[2])]), norm_obs=False)
    agent = FreeEnergyQ("MlpPolicy", envs, learning_starts=5, seed=shifted(0), device="cpu")
    agent.learn(250)
    taken = envs.venv.envs[0].unwrapped.taken  # pyright: ignore[reportAttributeAccessIssue]
    assert {room: len({v for at, v in taken if at == room}) for room in (1, 2, 3)} == {
        1: 8, 2: 8, 3: 8
    }  # fmt: skip


@pytest.mark.parametrize(
    "settings",
    [{"temperature": 0.5}, {"replay_buffer_class": MaskedReplayBuffer}],
    ids=["temperature", "buffer"],
)
def test_who_says_how_to_explore_explores_so(settings):
    agent = FreeEnergyQ("MlpPolicy", Rooms(CHOICES[0]), seed=0, device="cpu", **settings)
    agent.learn(120)
    assert not agent._tries_all
    assert agent._sample_transitions(8).visits is None


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1", "isinglass/LargeAction-v0"])
def test_cells_and_actions_without_a_list_are_not_counted(env):
    agent = FreeEnergyQ("MlpPolicy", env, seed=0, device="cpu").learn(120)
    assert not agent._tries_all
    assert agent._sample_transitions(8).visits is None


MAPS = (
    ("S....", ".P.P.", ".....", "P.PP.", "....G"),
    ("S....", ".PPP.", "..P..", "P...P", "PP..G"),
    ("S..P.", "PP.P.", ".P..P", ".PP.P", "..P.G"),  # no random episode of 5,000 meets the goal
)


class Pits(gym.Env):
    """A way past pits to a goal: a step costs 1, a pit 10; it ends the episode, or starts anew."""

    def __init__(self, rows: tuple[str, ...], deadly: bool) -> None:
        self.places, self.deadly, self.at = "".join(rows), deadly, 0
        self.observation_space, self.action_space = spaces.Discrete(25), spaces.Discrete(4)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = self.steps = 0
        return self.at, {}

    def step(self, action):
        self.steps += 1
        row, column = divmod(self.at, 5)
        down, right = ((-1, 0), (0, 1), (1, 0), (0, -1))[int(action)]
        self.at = 5 * min(max(row + down, 0), 4) + min(max(column + right, 0), 4)
        long, place = self.steps >= 200, self.places[self.at]
        if place == "P":
            self.at *= self.deadly
            return self.at, -10.0, self.deadly, long, {}
        return self.at, -1.0, place == "G", long, {}


def greedy_return(agent: FreeEnergyQ, env: gym.Env, longest: int = 60) -> float:
    state, _ = env.reset(seed=0)
    total = 0.0
    for _ in range(longest):
        action, _ = agent.predict(state, deterministic=True)
        state, reward, ended, cut, _ = env.step(action)
        total += float(reward)
        if ended or cut:
            break
    return total


@pytest.mark.slow
@pytest.mark.parametrize(
    ("which", "deadly"), [(0, True), (1, True), (2, False)], ids=["wide", "bends", "back"]
)
def test_a_way_past_pits_is_found(which, deadly):
    env = Pits(MAPS[which], deadly)
    agent = FreeEnergyQ("MlpPolicy", env, seed=shifted(0), device="cpu").learn(10_000)
    assert greedy_return(agent, env) == -8


def test_ends_below_the_usual_reward_are_no_goals():
    agent = FreeEnergyQ("MlpPolicy", Pits(MAPS[2], True), seed=0, device="cpu").learn(120)
    buffer = agent.replay_buffer
    assert isinstance(agent.backup, NoveltyBackup)
    assert isinstance(buffer, MaskedReplayBuffer)
    assert buffer.outcomes()[0].any()
    assert buffer.goals == 0


def test_a_named_backup_stays():
    backup = SoftBackup(mellowmax=True)
    agent = FreeEnergyQ("MlpPolicy", Pits(MAPS[2], True), backup=backup, seed=0, device="cpu")
    agent.learn(120)
    assert agent.backup is backup
    assert agent._tries_all


def test_four_bits_are_told_apart():
    """One of 16 actions is worth anything, in each of 16 states."""
    env = IdentityEnvMultiBinary(dim=4)
    env.observation_space.seed(shifted(0))
    env.action_space.seed(shifted(0))
    agent = FreeEnergyQ("MlpPolicy", env, seed=shifted(0), device="cpu").learn(1_200)
    states = np.indices((2,) * 4).reshape(4, -1).T.astype(np.int8)
    actions, _ = agent.predict(states, deterministic=True)
    assert (actions == states).all(1).sum() >= 15


def test_weights_put_in_keep_their_energy():
    """They may be those of another task: what others would fit here says nothing of them."""
    name = "isinglass/LargeAction-v0"
    first = FreeEnergyQ("MlpPolicy", name, seed=0, device="cpu").learn(120)
    assert first._looks_left
    second = FreeEnergyQ("MlpPolicy", name, seed=1, device="cpu")
    second.set_parameters(first.get_parameters())
    assert not second.learn(120)._looks_left
