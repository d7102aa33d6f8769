"""Gymnasium's vector environments behave as Stable-Baselines3's own over the same environments."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from isinglass.agents import FreeEnergyQ
from isinglass.agents.actions.action_masks import MaskLayout
from isinglass.agents.mask_reader import acting_infos
from isinglass.agents.replay.replay_buffer import MaskedReplayBuffer
from isinglass.agents.vec_env import GymnasiumVecEnv
from isinglass.envs import LargeAction
from isinglass.errors import ParameterError
from tests.agents.small import QUICK, SMALL
from tests.seeds import SEED, numpy_seeded, shifted

SAME, NEXT, OFF = AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED
ENVS = 3


class Walk(gym.Env):
    """A random walk pushed by its actions: episodes end, or are cut short, at random."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    action_space = spaces.Discrete(3)
    pace = 1.0

    def __init__(self, named=False, render_mode=None):
        place = spaces.Box(-np.inf, np.inf, (1,), np.float64)
        self.named, self.render_mode = named, render_mode
        parts = {"place": place, "parity": spaces.Discrete(2)}
        self.observation_space = spaces.Dict(parts) if named else place

    def seen(self):
        place = np.array([self.place])
        seen = {"place": place, "parity": int(self.place > 0)} if self.named else place
        mask = np.ones(3, bool)
        mask[int(self.np_random.integers(3))] = False
        info = {"action_mask": mask, "where": {"x": self.place}}
        return seen, info | ({"rare": "yes"} if self.np_random.random() < 0.3 else {})

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.np_random.normal() + (options or {}).get("start", 0.0)
        return self.seen()

    def step(self, action):
        self.place += self.pace * (action - 1) + self.np_random.normal()
        ended, cut = self.np_random.random(2) < 0.2
        seen, info = self.seen()
        return seen, self.place, bool(ended), bool(cut), info

    def double(self, number):
        return 2 * number

    def render(self):
        return np.zeros((2, 2, 3), np.uint8)


def make(mode, kind=SyncVectorEnv, **kwargs):
    return GymnasiumVecEnv(kind([lambda: Walk(**kwargs)] * ENVS, autoreset_mode=mode))


def reference(**kwargs):
    return DummyVecEnv([lambda: Monitor(Walk(**kwargs))] * ENVS)


def transitions(env, steps, seed=7):
    """What each environment went through: (s, a, r, s', done, info, mask to act by) a step.

    An action is the next of the environment's own stream, where it is heeded.
    """
    streams = [numpy_seeded(i) for i in range(env.num_envs)]
    layout, told = MaskLayout.of(env.action_space), [[] for _ in streams]
    env.seed(shifted(seed))
    seen, due = env.reset(), np.zeros(env.num_envs, bool)
    masks = layout.read(acting_infos(env))
    for _ in range(steps):
        actions = np.array([0 if d else s.integers(3) for s, d in zip(streams, due, strict=True)])
        after, rewards, dones, infos = env.step(actions)
        for i, info in enumerate(infos):
            info = dict(info)
            if info.pop("reset_transition", False):
                assert rewards[i] == 0
                assert not dones[i]
                continue
            episode = info.pop("episode", {})
            episode.pop("t", None)
            last = info.pop("terminal_observation", None)
            next_state = last if dones[i] else row(after, i)
            told[i].append(
                {
                    "state": row(seen, i),
                    "action": actions[i],
                    "reward": rewards[i],
                    "next": next_state,
                    "done": dones[i],
                    "episode": {key: round(float(x), 3) for key, x in episode.items()},
                    "mask": None if masks is None else masks[i],
                    "info": info,
                }
            )
        if getattr(env, "autoreset_mode", None) is NEXT:
            due = dones
            ignored = [
                info for info, d in zip(acting_infos(env, infos, dones), due, strict=True) if d
            ]
            assert not any(ignored)  # whatever is done there, nothing forbids it
        seen, masks = after, layout.read(acting_infos(env, infos, dones))
    return told


def row(seen, i):
    return {key: part[i] for key, part in seen.items()} if isinstance(seen, dict) else seen[i]


def check_alike(own, theirs):
    for mine, other in zip(own, theirs, strict=True):
        assert len(mine) > 10
        for step, same in zip(mine, other, strict=False):
            np.testing.assert_equal(step, same)


@pytest.mark.parametrize("mode", [SAME, NEXT, OFF], ids=lambda mode: mode.name)
@pytest.mark.parametrize("named", [False, True], ids=["array", "dictionary"])
def test_the_same_seeds_give_the_same_transitions_as_in_sb3(mode, named):
    own = transitions(make(mode, named=named), 60)
    check_alike(own, transitions(reference(named=named), 60))
    assert any(step["done"] for step in own[0])
    assert mode is NEXT or all(len(told) == 60 for told in own)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("mode", [SAME, NEXT], ids=lambda mode: mode.name)
def test_environments_in_processes_of_their_own(mode):
    env = make(mode, AsyncVectorEnv)
    check_alike(transitions(env, 30), transitions(reference(), 30))
    env.set_attr("pace", 5.0, indices=1)
    assert env.get_attr("pace") == [1.0, 5.0, 1.0]
    assert env.env_method("double", 4) == [8] * 3
    with pytest.raises(ParameterError, match=r"indices = \[0\] of AsyncVectorEnv"):
        env.env_method("double", 4, indices=0)
    env.close()


def test_the_arrays_handed_out_are_not_written_again():
    env = GymnasiumVecEnv(SyncVectorEnv([Walk] * ENVS, copy=False, autoreset_mode=SAME))
    handed = [env.reset(), env.step(np.zeros(ENVS, int))[0]]
    kept = [seen.copy() for seen in handed]
    env.step(np.zeros(ENVS, int))
    np.testing.assert_array_equal(handed, kept)


@pytest.mark.parametrize("mode", [SAME, NEXT, OFF], ids=lambda mode: mode.name)
def test_resetting_by_hand_starts_episodes_anew(mode):
    env = make(mode)
    transitions(env, 7)
    told = transitions(env, 60)  # returns, lengths and due resets of before would show
    check_alike(told, transitions(reference(), 60))


def test_episodes_are_counted_without_their_resets():
    env = make(NEXT)
    told = transitions(env, 60)
    for steps in told:
        lengths = [step["episode"]["l"] for step in steps if step["done"]]
        assert sum(lengths) <= len(steps) < sum(lengths) + 40
        assert (
            np.diff([-1, *(t for t, step in enumerate(steps) if step["done"])]).tolist() == lengths
        )


def test_statistics_of_a_wrapper_are_left_as_they_are():
    def make_one():
        return gym.wrappers.RecordEpisodeStatistics(Walk())

    env = GymnasiumVecEnv(SyncVectorEnv([make_one], autoreset_mode=SAME))
    env.reset()
    while "episode" not in (info := env.step(np.ones(1, int))[3][0]):
        pass
    assert isinstance(info["episode"]["r"], np.floating)  # the wrapper's, not a float of ours


def test_options_reach_the_environments():
    env = make(SAME)
    env.set_options({"start": 1000.0})
    assert (env.reset() > 900).all()
    assert (env.reset() < 900).all()  # used once
    env.set_options([{"start": 1.0}, {}, {}])
    with pytest.raises(ParameterError, match="different options"):
        env.reset()


def test_attributes_methods_and_pictures():
    env = make(SAME, render_mode="rgb_array")
    env.set_attr("pace", 2.0, indices=[0, 2])
    assert env.get_attr("pace") == [2.0, 1.0, 2.0]
    assert env.env_method("double", 4, indices=[1]) == [8]
    assert env.env_is_wrapped(Monitor) == [True] * 3
    assert env.env_is_wrapped(gym.wrappers.TimeLimit, 0) == [False]
    assert env.render_mode == "rgb_array"
    assert env.render().shape == (4, 4, 3)
    with pytest.raises(AttributeError):
        env.get_attr("no such thing")
    assert not env.has_attr("no such thing")


def test_environments_that_are_one_object():
    whole = gym.make_vec("CartPole-v1", 2, "vector_entry_point")
    env = GymnasiumVecEnv(whole)
    env.seed(shifted(3))
    first = env.reset()
    env.seed(shifted(3))
    np.testing.assert_array_equal(env.reset(), first)
    assert env.autoreset_mode is NEXT
    assert env.get_attr("gravity") == [9.8, 9.8]
    env.set_attr("gravity", 1.0)
    assert whole.unwrapped.gravity == 1.0
    with pytest.raises(ParameterError, match=r"indices = \[1\] of CartPoleVectorEnv"):
        env.set_attr("gravity", 2.0, indices=1)
    dones, resets = [], []
    for _ in range(60):
        _, _, done, infos = env.step(np.ones(2, int))
        dones.append(done)
        resets.append(["reset_transition" in info for info in infos])
    assert np.any(dones)
    np.testing.assert_array_equal(resets[1:], dones[:-1])
    env.close()


@pytest.mark.usefixtures("plain_annotations")
def test_what_is_no_vector_environment():
    with pytest.raises(ParameterError, match=r"env = <.*Walk"):
        GymnasiumVecEnv(Walk())


def test_an_environment_that_does_not_say_how_it_resets():
    whole = SyncVectorEnv([Walk])
    del whole.metadata["autoreset_mode"]
    with pytest.raises(ParameterError, match="autoreset_mode = None"):
        GymnasiumVecEnv(whole)


def test_an_environment_that_keeps_the_last_observation_to_itself():
    whole = gym.make_vec("CartPole-v1", 2, "vector_entry_point")
    whole.metadata = whole.metadata | {"autoreset_mode": SAME}
    env = GymnasiumVecEnv(whole)
    env.reset()

    def until_one_falls():
        for _ in range(60):
            env.step(np.ones(2, int))

    with pytest.raises(ParameterError, match="no final_obs in the infos of CartPoleVectorEnv"):
        until_one_falls()


def test_evaluation_counts_episodes_as_elsewhere():
    class Still:
        def predict(self, seen, state=None, episode_start=None, deterministic=True):
            return np.ones(len(seen), int), state

    found = []
    for env in (make(SAME), make(NEXT), reference()):
        env.seed(shifted(2))
        found.append(evaluate_policy(Still(), env, 12, return_episode_rewards=True))
    for returns, lengths in found:  # in whatever order they ended
        assert sorted(lengths) == sorted(found[-1][1])
        np.testing.assert_allclose(sorted(returns), sorted(found[-1][0]), atol=1e-4)


@pytest.mark.parametrize("mode", [SAME, NEXT], ids=lambda mode: mode.name)
def test_an_agent_learns_in_it_and_never_from_a_reset(mode):
    whole = SyncVectorEnv([lambda: LargeAction(**SMALL)] * 4, autoreset_mode=mode)
    agent = FreeEnergyQ(
        "MlpPolicy",
        GymnasiumVecEnv(whole),
        replay_buffer_class=MaskedReplayBuffer,
        seed=SEED,
        **QUICK | {"train_freq": 1},
    )
    agent.learn(160)
    share = 0.5 if mode is NEXT else 1.0  # every episode is one step, every other step a reset
    assert agent.replay_buffer.valid[: agent.replay_buffer.pos].mean() == share
    assert agent._episode_num == 160 * share
    assert (agent.replay_buffer.sample(50).dones == 1).all()
