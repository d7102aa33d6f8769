"""Masks told in three ways are obeyed everywhere, or refused by name: no action is illegal."""

import gc

import numpy as np
import pytest
import torch
from gymnasium import Env, spaces
from stable_baselines3 import HerReplayBuffer
from stable_baselines3.common.buffers import DictReplayBuffer, NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.callbacks import CallbackList, EvalCallback, EveryNTimesteps
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecEnvWrapper,
    VecFrameStack,
    VecNormalize,
)

from isinglass.agents import DoubleBackup, FreeEnergyQ, FreeEnergySarsa, MaskedEnv, ObservedMasks
from isinglass.agents.mask_reader import MaskReader
from isinglass.agents.vec_env import GymnasiumVecEnv
from isinglass.errors import DomainError, ParameterError, ShapeError
from tests.agents.small import QUICK
from tests.seeds import SEED

WAYS = ("info", "observation", "method")
every_way = pytest.mark.parametrize("way", WAYS)


class Rules(Env):
    """A new mask at every step; what is forbidden is counted, and pays best.

    Some episodes terminate, some are cut short. A goal, if asked for, is for hindsight replay.
    """

    action_space = spaces.Discrete(5, start=2)

    def __init__(self, way, goal=False, number=float):
        self.way, self.goal, self.number, self.illegal, self.taken = way, goal, number, 0, 0
        place = spaces.Box(-1, 1, (2,), np.float32)
        parts = {"observation": place}
        if goal:
            parts |= {"achieved_goal": place, "desired_goal": place}
        if way == "observation":
            parts["action_mask"] = spaces.MultiBinary(5)
        self.observation_space = spaces.Dict(parts) if len(parts) > 1 else place
        if way == "method":
            self.action_masks = lambda: self.mask.copy()

    def seen(self):
        self.mask = self.np_random.random(5) < 0.4
        self.mask[self.np_random.integers(5)] = True
        place = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        seen = dict.fromkeys(self.observation_space, place) if self.goal else place
        info = {"action_mask": self.mask.astype(self.number)} if self.way == "info" else {}
        if self.way == "observation":
            parts = seen if self.goal else {"observation": place}
            seen = {**parts, "action_mask": self.mask.astype(np.int8)}
        return seen, info

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time, self.cut = 0, self.np_random.random() < 0.5
        return self.seen()

    def step(self, action):
        allowed = self.mask[action - 2]
        self.taken, self.illegal, self.time = (
            self.taken + 1, self.illegal + (not allowed), self.time + 1,
        )  # fmt: skip
        seen, info = self.seen()
        over = self.time == 4
        if over and not self.cut:
            self.mask[:] = False  # in a last state nothing can be done
            if self.way == "observation":
                seen["action_mask"] = self.mask.astype(np.int8)
        return seen, 0.0 if allowed else 10.0, over and not self.cut, over and self.cut, info

    def compute_reward(self, achieved, desired, info):
        return np.zeros(len(achieved), np.float32)


def policy_of(env):
    return "MultiInputPolicy" if isinstance(env.observation_space, spaces.Dict) else "MlpPolicy"


def agent_in(env, kind=FreeEnergyQ, **kwargs):
    settings = {"device": "cpu"} if kind is FreeEnergySarsa else QUICK | {"batch_size": 16}
    return kind(policy_of(env), env, seed=SEED, **settings | kwargs)


@every_way
@pytest.mark.parametrize("kind", [FreeEnergyQ, FreeEnergySarsa])
def test_learning_and_evaluation_within_it_play_by_the_rules(way, kind):
    env, elsewhere, again = Rules(way), Rules(way), Rules(way)
    callbacks = CallbackList(
        [EvalCallback(Monitor(e), eval_freq=30, n_eval_episodes=3) for e in (elsewhere, again)]
    )
    agent = agent_in(env, kind)
    agent.learn(60, callbacks)
    agent.learn(60, callbacks, reset_num_timesteps=False)
    for one in (env, elsewhere, again):
        assert (one.illegal, one.taken > 40) == (0, True)


@every_way
@pytest.mark.parametrize("where", [lambda agent: agent, lambda agent: agent.policy])
def test_evaluation_sees_masks_or_is_refused(way, where, tmp_path):
    agent = agent_in(Rules(way)).learn(40)
    agent.save(tmp_path / "agent")
    agent.policy.save(tmp_path / "policy")
    loaded = FreeEnergyQ.load(tmp_path / "agent", device="cpu")
    alone = type(agent.policy).load(tmp_path / "policy", device="cpu")
    for player in (where(agent), where(loaded), alone):
        env = Rules(way)
        evaluate_policy(player, ObservedMasks(DummyVecEnv([lambda e=env: Monitor(e)])), 10)
        assert (env.illegal, env.taken) == (0, 40)
        if way == "observation":
            evaluate_policy(player, Monitor(env), 10)
            assert (env.illegal, env.taken) == (0, 80)
        else:
            with pytest.raises(ParameterError, match=r"no action_masks.*ObservedMasks\(env\)"):
                evaluate_policy(player, Monitor(env), 10)


@every_way
@pytest.mark.parametrize(
    "make",
    [
        lambda way: DummyVecEnv([lambda: Monitor(Rules(way))] * 2),
        lambda way: SubprocVecEnv([lambda: Rules(way)] * 2, "fork"),
    ],
    ids=["in one process", "in several"],
)
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_vector_environments(way, make):
    env = make(way)
    agent = agent_in(env).learn(80)
    assert env.get_attr("illegal") == [0, 0]
    valid = agent.replay_buffer.valid[: agent.replay_buffer.pos]
    unknown = way == "method" and isinstance(env, SubprocVecEnv)  # masks of last states
    assert valid.all() != unknown
    env.close()


@every_way
@pytest.mark.parametrize("mode", ["same_step", "next_step"])
def test_vector_environments_of_gymnasium(way, mode):
    from gymnasium.vector import AutoresetMode, SyncVectorEnv

    whole = SyncVectorEnv([lambda: Rules(way)] * 2, autoreset_mode=AutoresetMode[mode.upper()])
    agent_in(GymnasiumVecEnv(whole)).learn(80)
    assert [env.illegal for env in whole.envs] == [0, 0]


BUFFERS = {
    "sb3": (ReplayBuffer, DictReplayBuffer, {}),
    "n steps": (NStepReplayBuffer, None, {"n_steps": 3, "gamma": 0.9}),
    "hindsight": (None, HerReplayBuffer, {}),
}


@every_way
@pytest.mark.parametrize("name", BUFFERS)
def test_every_replay_buffer_keeps_masks_or_is_refused(way, name):
    """Values are 0 where only what pays nothing is allowed; 10 and more would be learned else."""
    plain, named, kwargs = BUFFERS[name]
    env = Rules(way, goal=name == "hindsight")
    buffer = named if isinstance(env.observation_space, spaces.Dict) else plain
    if buffer is None:
        pytest.skip("SB3 has none for dictionaries")
    settings = {"replay_buffer_class": buffer, "replay_buffer_kwargs": kwargs}
    agent = agent_in(env, **settings, backup=DoubleBackup())
    if way == "observation":
        agent.learn(80)
        found = agent._sample_transitions(32)
        told = found.next_observations["action_mask"].bool()
        assert torch.equal(found.next_masks, told | ~told.any(-1, keepdim=True))
        assert env.illegal == 0
        return
    with pytest.raises(ParameterError, match=rf"a {buffer.__name__}, which keeps no action masks"):
        agent.learn(80)
    wrapped, named = ObservedMasks(DummyVecEnv([lambda: Monitor(env)])), named or DictReplayBuffer
    kwargs = {} if named is DictReplayBuffer else kwargs
    agent_in(wrapped, replay_buffer_class=named, replay_buffer_kwargs=kwargs).learn(80)
    assert env.illegal == 0


class Bait(Env):
    """Two steps: the forbidden action of the second pays 10, the others 1 and 0."""

    observation_space = spaces.Box(0, 1, (1,), np.float32)
    action_space = spaces.Discrete(3)

    def seen(self):
        return np.array([self.time], np.float32)

    def action_masks(self):
        return np.array([True, True, self.time == 0])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self.seen(), {}

    def step(self, action):
        assert self.action_masks()[action]
        self.time += 1
        return self.seen(), float(self.time == 2 and action), self.time == 2, False, {}


@pytest.mark.slow
@pytest.mark.parametrize("observed", [False, True])
def test_values_leave_out_what_is_forbidden(observed):
    """Q of the first step is γ·max over what is allowed in the second: 1, not that of the bait."""
    env = DummyVecEnv([Bait])
    settings = {"gamma": 1.0, "final_temperature": 0.01, "initial_temperature": 0.1, "tau": 0.05}
    if observed:
        env, settings["replay_buffer_class"] = ObservedMasks(env), DictReplayBuffer
    agent = FreeEnergyQ(
        policy_of(env), env, seed=SEED, device="cpu", batch_size=64, backup=DoubleBackup(),
        train_freq=1, policy_kwargs={"net_arch": [16]}, **settings,
    ).learn(800)  # fmt: skip
    with torch.no_grad():
        # Values of what was never tried are whatever they are: the bait is made to look good.
        obs, _ = agent.policy.obs_to_tensor(
            {"observation": np.zeros((1, 1), np.float32), "action_mask": np.ones((1, 3), np.int8)}
            if observed
            else np.zeros((1, 1), np.float32)
        )
        first = agent.policy.distribution(obs).mode()
        value = agent.policy.distribution(obs).score(first)
    assert abs(float(value) - 1) < 0.25


def test_masks_that_changed_on_the_way_are_refused():
    """A normalized mask is none; joint masks are asked for."""
    space = spaces.Dict({"x": spaces.Box(-1, 1, (2,)), "action_mask": spaces.Box(0, 1, (3,))})

    class Boxed(Bait):
        observation_space = space

        def seen(self):
            return {"x": np.zeros(2, np.float32), "action_mask": np.float32(self.action_masks())}

    agent = agent_in(VecNormalize(DummyVecEnv([Boxed])))
    with pytest.raises(DomainError, match="not all 0 or 1"):
        agent.learn(40)

    class Joint(Bait):
        action_space = spaces.MultiDiscrete([2, 3])

        def action_masks(self):
            return np.eye(2, 3, dtype=bool)

    flat = ObservedMasks(DummyVecEnv([Joint]))
    with pytest.raises(ShapeError, match="joint=True"):
        flat.reset()
    joint = ObservedMasks(DummyVecEnv([Joint]), joint=True)
    np.testing.assert_array_equal(joint.reset()["action_mask"], [np.eye(2, 3)])


@pytest.mark.parametrize("joint", [False, True])
def test_masks_of_two_bits_stay_what_they_are(joint):
    """Flat and joint masks of two bits are as wide."""

    class Bits(Bait):
        action_space = spaces.MultiBinary(2)

        def action_masks(self):
            return np.array([True, False, True, True])  # the first bit is 0

    env = ObservedMasks(DummyVecEnv([Bits]), joint)
    seen = env.reset()
    np.testing.assert_array_equal(seen["action_mask"], [[[1, 1], [0, 0]]])
    agent = agent_in(env)
    actions = [agent.predict(seen)[0][0, 0] for _ in range(40)]
    assert not any(actions)


def test_every_way_is_read_alike():
    for way in WAYS:
        env = DummyVecEnv([lambda way=way: Rules(way)])
        env.seed(SEED)
        reader = MaskReader(env)
        masks = reader.read(env.reset())
        np.testing.assert_array_equal(masks, [env.envs[0].mask])
        assert reader.source == way
        one = MaskedEnv(Rules(way))
        _, info = one.reset(seed=SEED)
        np.testing.assert_array_equal(info["action_mask"], masks[0])
        np.testing.assert_array_equal(one.action_masks(), masks[0])


@pytest.mark.usefixtures("plain_annotations")
def test_masks_of_a_single_environment_are_told_otherwise():
    with pytest.raises(ParameterError, match="Give a VecEnv"):
        ObservedMasks(Rules("info"))


AROUND = {
    "plain": lambda env: env,
    "normalized": lambda env: (
        VecNormalize(env, norm_obs_keys=["observation"])
        if isinstance(env.observation_space, spaces.Dict)
        else VecNormalize(env)
    ),
    "stacked": lambda env: VecFrameStack(env, 2),
    "stacked and normalized": lambda env: VecNormalize(VecFrameStack(env, 2), norm_obs=False),
}


@every_way
@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("kind", [FreeEnergyQ, FreeEnergySarsa])
def test_wrappers_around_environments_keep_masks(way, around, kind):
    """In learning, in EvalCallback and in evaluate_policy: nothing illegal is done."""
    if way == "observation" and "stacked" in around:
        pytest.skip("Stable-Baselines3 stacks no entry of bits")
    made = [Rules(way) for _ in range(4)]
    learn, elsewhere, observed, after = (
        AROUND[around](DummyVecEnv([lambda env=env: Monitor(env)])) for env in made
    )
    evaluated = elsewhere, ObservedMasks(observed)  # the second needs no masks lent
    agent, within = agent_in(learn, kind), [evaluator(env) for env in evaluated]
    agent.learn(60, within[0])  # a warning that environments are not alike would be an error
    agent.learn(60, within[:1], reset_num_timesteps=False)
    with pytest.warns(UserWarning, match="Training and eval env are not of the same type"):
        agent.learn(60, CallbackList(within), reset_num_timesteps=False)
    evaluate_policy(agent, ObservedMasks(after), 10)
    assert [env.illegal for env in made] == [0] * 4
    assert made[0].taken >= 180
    assert [env.taken for env in made[1:]] == [9 * 12, 3 * 12, 40]
    if "normalized" in around:
        same_statistics(learn, elsewhere)
        same_statistics(learn, observed)


def evaluator(env):
    return EvalCallback(env, eval_freq=20, n_eval_episodes=3, verbose=0)


def same_statistics(one, other):
    """Whether what was measured in learning is what evaluation is normalized by."""
    assert one.ret_rms.count > 100
    assert abs(one.ret_rms.count - other.ret_rms.count) <= 20 + 2 * 12


def test_masks_first_told_on_the_way_are_lent_too():
    """And those of wrappers that were left off, or that are not known, are."""

    class Late(Rules):
        def seen(self):
            seen, info = super().seen()
            if self.taken < 3:
                self.mask[:], info = True, {}
            return seen, info

    class Around(VecEnvWrapper):
        def reset(self):
            return self.venv.reset()

        def step_wait(self):
            seen, rewards, dones, infos = self.venv.step_wait()
            return self.reset() if dones.all() else seen, rewards, dones, infos

        def __del__(self):
            closed.append(self)

    closed, made = [], [Late("info") for _ in range(2)]
    learn, elsewhere = (Around(DummyVecEnv([lambda e=e: Monitor(e)])) for e in made)
    callback = EveryNTimesteps(20, evaluator(elsewhere))
    callback.callback.eval_freq = 1
    agent = agent_in(learn).learn(60, callback)
    assert agent.policy.masks_told
    assert [env.illegal for env in made] == [0, 0]
    assert made[1].taken > 12
    agent.learn(20, reset_num_timesteps=False)
    del callback
    gc.collect()
    assert not closed
