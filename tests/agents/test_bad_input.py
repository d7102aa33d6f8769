"""What FreeEnergyQ refuses, by name: arguments, environments, devices, numbers that are none."""

import io
import math
import resource
import zipfile
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv
from stable_baselines3 import PPO
from stable_baselines3.common.save_util import load_from_zip_file, save_to_zip_file
from stable_baselines3.common.vec_env import DummyVecEnv

from isinglass.agents import (
    EpisodicMemory,
    FreeEnergyPolicy,
    FreeEnergyQ,
    FreeEnergySarsa,
    MixtureEnergy,
)
from isinglass.envs import LargeAction
from isinglass.errors import DivergenceError, DomainError, FileError, ParameterError, ShapeError
from tests.agents.small import QUICK, SMALL, Shown, Speeds, small_agent

SIGHT = spaces.Box(-1, 1, (2,), np.float32)
NAMED = spaces.Dict({"place": SIGHT, "bits": spaces.MultiBinary(2)})


class Plain(gym.Env):
    """Any spaces, and any reward."""

    def __init__(self, seen=SIGHT, actions=None, reward=1.0):
        self.observation_space, self.reward = seen, reward
        self.action_space = actions or spaces.MultiBinary(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), self.reward, False, False, {}


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf, "0.5", None])
@pytest.mark.parametrize("name", ["tau", "gamma"])
@pytest.mark.usefixtures("plain_annotations")
def test_fractions(name, value):
    with pytest.raises(ParameterError, match=f"{name} = .*from 0 to 1"):
        small_agent(**{name: value})


def test_fractions_may_be_none_or_all():
    assert small_agent(tau=1, gamma=0).tau == 1.0


@pytest.mark.parametrize("value", [0, -3, 2.5])
@pytest.mark.usefixtures("plain_annotations")
def test_batches_of_nothing(value):
    with pytest.raises(ParameterError, match="batch_size"):
        small_agent(batch_size=value)


def test_a_rising_temperature():
    with pytest.raises(ParameterError, match=r"final_temperature = 2\.0 above .* = 1\.0"):
        small_agent(initial_temperature=1.0, final_temperature=2.0)


def test_a_temperature_among_the_arguments_of_the_policy():
    with pytest.raises(ParameterError, match=r"temperature = 7.*initial_temperature"):
        small_agent(policy_kwargs={"temperature": 7})
    with pytest.raises(ParameterError, match=r"energy = MixtureEnergy.*or energy, to the agent"):
        small_agent(policy_kwargs={"energy": MixtureEnergy(3)})
    agent = small_agent(policy_kwargs={"net_arch": [3]}, initial_temperature=4.0)
    assert agent.temperature == 4.0
    small_agent(policy_kwargs=agent.policy_kwargs)  # what one agent was given, another may be


def test_what_load_is_given_is_checked(tmp_path):
    small_agent(policy_kwargs={"net_arch": [3]}).save(tmp_path / "agent")
    with pytest.raises(ParameterError, match="gamma = 7"):
        FreeEnergyQ.load(tmp_path / "agent", device="cpu", gamma=7)
    FreeEnergyQ.load(tmp_path / "agent", device="cpu", policy_kwargs={"net_arch": [3]})


@pytest.mark.parametrize(
    "env",
    [None, 3, LargeAction, [LargeAction()], gym.Env()],
    ids=["None", "a number", "a class", "a list", "an abstract one"],
)
@pytest.mark.usefixtures("plain_annotations")
def test_what_is_no_environment(env):
    with pytest.raises(ParameterError, match=r"env = .*no environment|action space None"):
        FreeEnergyQ("MlpPolicy", env)


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "no such"])
def test_a_device_that_is_not_there(device):
    with pytest.raises(ParameterError, match=f"device = '{device}'.*'cpu'"):
        small_agent(device=device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(tmp_path):
    with pytest.raises(ParameterError, match="device = 'cuda'"):
        small_agent(device="cuda")
    agent = small_agent(device="auto")
    agent.save(tmp_path / "agent")
    with pytest.raises(ParameterError, match="device = 'cuda'"):
        FreeEnergyQ.load(tmp_path / "agent", device="cuda")


@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_predicting_from_what_is_not_finite(value, deterministic):
    agent = FreeEnergyQ("MlpPolicy", Speeds(), **QUICK)
    with pytest.raises(DomainError, match=r"1 of 3 values of the observation are NaN"):
        agent.predict(np.array([0, value, 1], np.float32), deterministic=deterministic)
    with pytest.raises(DomainError, match="infinite in 32 bits"):
        agent.predict(np.array([0, 1e39, 1]), deterministic=deterministic)
    named = FreeEnergyQ("MultiInputPolicy", Shown(LargeAction(**SMALL), picture=False), **QUICK)
    with pytest.raises(DomainError, match=r"observation\['bits'\]"):
        named.predict({"bits": np.full(4, value)}, deterministic=deterministic)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("where", ["reset", "middle", "last", "reward"])
def test_learning_from_what_is_not_finite(where, value):
    """It is met in the warm-up, where actions are drawn without a look at the observation."""
    agent = FreeEnergyQ("MlpPolicy", Speeds(where, value), **QUICK)
    with pytest.raises(DomainError, match="observation" if where != "reward" else "the reward"):
        agent.learn(20)
    assert np.isfinite(agent.replay_buffer.observations).all()
    assert np.isfinite(agent.replay_buffer.next_observations).all()
    assert np.isfinite(agent.replay_buffer.rewards).all()


def test_weights_that_are_not_finite():
    agent = small_agent().learn(40)
    with torch.no_grad():
        agent.policy.q_net.head.keys.bias.fill_(math.nan)
    with pytest.raises(DivergenceError, match="learning has diverged"):
        agent.predict(np.zeros(4, np.int8))
    with pytest.raises(DivergenceError, match="a loss of nan"):
        agent.train(1, 32)


@pytest.mark.parametrize("rate", [1e12, 1e38])
def test_a_learning_rate_beyond_measure(rate):
    with pytest.raises(DivergenceError, match="Lower the learning rate"):
        small_agent(learning_rate=rate).learn(400)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("learning_starts", v) for v in (-1, 0.5)),
        *(("gradient_steps", v) for v in (-2, 1.5)),
        *(("stats_window_size", v) for v in (0, 2.5)),
        *(("train_freq", v) for v in (0, 2.5, "4", [4, "step"], (1,), (1, "steps"), ("step", 1))),
        *(("train_freq", v) for v in ((0, "episode"), (1.5, "step"), (1, "step", 2))),
        *(("learning_rate", v) for v in (-1.0, math.nan, "fast")),
    ],
)
@pytest.mark.usefixtures("plain_annotations")
def test_counts_and_rates(name, value):
    with pytest.raises(ParameterError, match=f"{name} = "):
        small_agent(**{name: value})


def test_train_freq_in_episodes():
    small_agent(train_freq=(1, "episode"), gradient_steps=-1).learn(30)


@pytest.mark.parametrize("policy", ["MlpPolicy", "MultiInputPolicy"])
@pytest.mark.parametrize(
    "seen",
    [
        spaces.Tuple([spaces.Discrete(3), spaces.Discrete(2)]),
        spaces.Text(3),
        spaces.Dict({"inside": NAMED}),
    ],
    ids=["Tuple", "Text", "Dict of Dict"],
)
def test_observations_that_are_no_arrays(policy, seen):
    with pytest.raises(ParameterError, match=r"the observation space .*FlattenObservation"):
        FreeEnergyQ(policy, Plain(seen), **QUICK)


@pytest.mark.parametrize(
    ("policy", "seen"),
    [
        ("MultiInputPolicy", SIGHT),
        ("MlpPolicy", NAMED),
        (FreeEnergyPolicy, NAMED),
        ("CnnPolicy", SIGHT),
        ("CnnPolicy", NAMED),
    ],
)
def test_observations_for_another_policy(policy, seen):
    with pytest.raises(ParameterError, match=r"Policy for observations in .*Give 'MultiInput"):
        FreeEnergyQ(policy, Plain(seen), **QUICK)


@pytest.mark.parametrize("policy", ["MlpLstmPolicy", PPO.policy_aliases["MlpPolicy"], 3])
@pytest.mark.usefixtures("plain_annotations")
def test_what_is_no_policy_of_isinglass(policy):
    with pytest.raises(ParameterError, match=r"policy = .*'MlpPolicy', 'CnnPolicy'"):
        FreeEnergyQ(policy, Plain(), **QUICK)


@pytest.mark.parametrize(
    "net_arch", [{"pi": [8]}, "64", 64, [-3], [0], ["a"], [2.5], [{"pi": [8]}], np.array([8, 8])]
)
@pytest.mark.usefixtures("plain_annotations")
def test_hidden_layers(net_arch):
    with pytest.raises(ParameterError, match="net_arch = "):
        small_agent(policy_kwargs={"net_arch": net_arch})


@pytest.mark.usefixtures("plain_annotations")
def test_arguments_that_no_policy_takes():
    with pytest.raises(ParameterError, match=r"memories = 3.*energy=MixtureEnergy\(memories=3\)"):
        small_agent(policy_kwargs={"memories": 3})
    with pytest.raises(ParameterError, match=r"foo = 3. They may have net_arch"):
        small_agent(policy_kwargs={"foo": 3})
    with pytest.raises(ParameterError, match=r"policy_kwargs = \[3\]"):
        small_agent(policy_kwargs=[3])


@pytest.mark.usefixtures("plain_annotations")
def test_arguments_that_no_features_extractor_takes():
    memory = {"features_extractor_class": EpisodicMemory}
    with pytest.raises(ParameterError, match=r"'lengths'. EpisodicMemory takes length, recall_dim"):
        small_agent(policy_kwargs=memory | {"features_extractor_kwargs": {"lengths": 3}})
    with pytest.raises(ParameterError, match=r"'length'. FlattenExtractor takes none"):
        small_agent(policy_kwargs={"features_extractor_kwargs": {"length": 3}})
    with pytest.raises(ParameterError, match=r"features_extractor_kwargs = 3. Give a dictionary"):
        small_agent(policy_kwargs=memory | {"features_extractor_kwargs": 3})
    with pytest.raises(ParameterError, match=r"features_extractor_class = 3"):
        small_agent(policy_kwargs={"features_extractor_class": 3})


def test_rewards_whose_squares_no_float_holds():
    class Rich(gym.RewardWrapper):
        def reward(self, reward):
            return 1e30 * reward

    agent = FreeEnergyQ("MlpPolicy", Rich(gym.make("CartPole-v1")), **QUICK)
    with pytest.raises(DomainError, match=r"rewards as large as 1e\+30.*Divide the rewards"):
        agent.learn(300)


def test_a_policy_with_an_argument_of_its_own():
    class Loud(FreeEnergyPolicy):
        def __init__(self, *args, loud, **kwargs):
            super().__init__(*args, **kwargs)
            self.loud = loud

    assert FreeEnergyQ(Loud, Plain(), policy_kwargs={"loud": 3}, **QUICK).policy.loud == 3


@pytest.mark.parametrize("kind", ["adam", MixtureEnergy, None])
def test_optimizers_that_are_none(kind):
    with pytest.raises(ParameterError, match="optimizer_class"):
        FreeEnergyQ("MlpPolicy", Plain(), policy_kwargs={"optimizer_class": kind}, **QUICK)


def test_files_that_hold_no_agent(tmp_path):
    file = tmp_path / "agent.zip"
    with pytest.raises(FileError, match=r"agent\.zip cannot be read .*No such file"):
        FreeEnergyQ.load(file)
    small_agent().save(file)
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 255
    for spoilt in (b"", bytes(range(256)), whole[: len(whole) // 2], bytes(flipped)):
        file.write_bytes(spoilt)
        with pytest.raises(FileError, match=r"cannot be read|is damaged"):
            FreeEnergyQ.load(file)
    for content in ("", "{}"):
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("data", content)
        with pytest.raises(FileError, match=r"cannot be read|another library"):
            FreeEnergyQ.load(file)
    with pytest.raises(FileError, match="cannot be read"):
        FreeEnergyQ.load(3)
    FreeEnergyQ.load(io.BytesIO(whole), device="cpu")  # an open file is read from where it stands


def test_files_of_another_version(tmp_path):
    file = tmp_path / "agent.zip"
    small_agent().save(file)
    data, weights, rest = load_from_zip_file(file, device="cpu")
    del weights["policy"]["q_net.head.offset"]
    save_to_zip_file(file, data, weights, rest)
    with pytest.raises(FileError, match=r'agent\.zip holds weights .*"q_net\.head\.offset"'):
        FreeEnergyQ.load(file, device="cpu")


def test_files_of_other_agents(tmp_path):
    file = tmp_path / "agent.zip"
    PPO("MlpPolicy", Plain(), device="cpu").save(file)
    for kind in (FreeEnergyQ, FreeEnergySarsa):
        with pytest.raises(FileError, match="another library"):
            kind.load(file)
    small_agent().save(file)
    with pytest.raises(FileError, match=r"FreeEnergySarsa\.load: .* an agent of FreeEnergyQ"):
        FreeEnergySarsa.load(file)
    FreeEnergySarsa("MlpPolicy", Plain(), device="cpu").save(file)
    with pytest.raises(FileError, match=r"FreeEnergyQ\.load: .* an agent of FreeEnergySarsa"):
        FreeEnergyQ.load(file)

    class Tuned(FreeEnergyQ):
        pass

    small_agent().save(file)
    Tuned.load(file, device="cpu").save(file)
    FreeEnergyQ.load(file, device="cpu")  # a subclass with the same rule is no other agent


@pytest.mark.parametrize(
    ("low", "high", "where"), [([0, 0], [0, 1], 0), ([0, -3e38], [1, 3e38], 1)]
)
def test_boxes_without_a_width(low, high, where):
    box = spaces.Box(np.array(low, np.float32), np.array(high, np.float32))
    with pytest.raises(ParameterError, match=rf"no width or an infinite one at \[{where}\]"):
        FreeEnergyQ("MlpPolicy", Plain(actions=box), **QUICK)
    with pytest.raises(ParameterError, match="bounded real numbers"):
        FreeEnergyQ("MlpPolicy", Plain(actions=spaces.Box(-np.inf, 1, (2,))), **QUICK)


@pytest.mark.usefixtures("plain_annotations")
def test_predicting_under_what_is_no_restriction():
    agent, state = small_agent(), np.zeros(4)
    for fixed in ("x", {}, [[1], [2, 3]], [1, 2]):
        with pytest.raises(ShapeError, match="fixed"):
            agent.predict(state, fixed=fixed)
    with pytest.raises(ParameterError, match="constraint = 3"):
        agent.predict(state, constraint=3)
    with pytest.raises(DomainError, match="masks of <U1"):
        agent.predict(state, action_masks="x")
    with pytest.raises(ShapeError, match="a mask that is no array"):
        agent.predict(state, action_masks=[[1], [1, 0]])


@pytest.mark.usefixtures("plain_annotations")
def test_predicting_from_observations_of_another_shape():
    agent = small_agent()
    for state in (np.zeros(3), np.zeros((2, 5)), "x", None, ["a"] * 4, [[0], [0, 1]], {"a": 1}):
        with pytest.raises(ShapeError, match=r"does not fit .*Give one of MultiBinary\(4\)"):
            agent.predict(state)
    named = FreeEnergyQ("MultiInputPolicy", Plain(NAMED), **QUICK)
    place, bits = np.zeros(2), np.zeros(2)
    others = ({"place": place}, {"place": place, "bits": bits, "more": bits}, place)
    for state in (*others, {"place": np.zeros(3), "bits": bits}):
        with pytest.raises(ShapeError, match=r"does not fit .*Give one of Dict"):
            named.predict(state)


@pytest.mark.parametrize("reward", [None, np.ones(3), np.ones(1), "much", [1.0]])
def test_rewards_that_are_no_number(reward):
    def plain():
        return Plain(reward=reward)

    for env in (plain(), DummyVecEnv([plain]), SyncVectorEnv([plain])):
        with pytest.raises(DomainError, match=r"FreeEnergyQ.learn: .*(the reward|reward one)"):
            FreeEnergyQ("MlpPolicy", env, **QUICK).learn(20)


def test_errors_of_an_environment_are_its_own():
    class Broken(Plain):
        def step(self, action):
            raise TypeError("mine")

    with pytest.raises(TypeError, match="mine"):
        FreeEnergyQ("MlpPolicy", Broken(), **QUICK).learn(20)


def test_observations_stored_once():
    given = {"optimize_memory_usage": True, "n_steps": 1}
    with pytest.raises(ParameterError, match=r"optimize_memory_usage.*timeout_termination': False"):
        small_agent(**given)
    given["replay_buffer_kwargs"] = {"handle_timeout_termination": False}
    small_agent(**given).learn(40)
    with pytest.raises(ParameterError, match="optimize_memory_usage = True for a Dict"):
        FreeEnergyQ("MultiInputPolicy", Plain(NAMED), **QUICK, **given)


def test_small_pictures_are_refused_by_name():
    class Tiny(gym.Env):
        observation_space, action_space = (
            spaces.Box(0, 255, (20, 20, 3), np.uint8),
            spaces.Discrete(2),
        )

    with pytest.raises(ParameterError, match=r"\(20, 20, 3\) for FreeEnergyCnnPolicy.*36 × 36"):
        FreeEnergyQ("CnnPolicy", Tiny(), **QUICK)
    named = Tiny()
    named.observation_space = spaces.Dict({"seen": Tiny.observation_space})
    with pytest.raises(ParameterError, match=r"for FreeEnergyMultiInputPolicy.*ResizeObservation"):
        FreeEnergyQ("MultiInputPolicy", named, **QUICK)
    FreeEnergyQ("MlpPolicy", Tiny(), **QUICK)


def test_an_environment_whose_reset_takes_no_seed():
    class Unseeded(LargeAction):
        def reset(self):
            return super().reset()

    for env in (Unseeded(**SMALL), DummyVecEnv([lambda: Unseeded(**SMALL)])):
        with pytest.raises(
            ParameterError, match=r"Unseeded\.reset\(\) without a seed.*Let reset take a seed"
        ):
            FreeEnergyQ("MlpPolicy", env, **QUICK)


def test_no_gradient_steps_are_none():
    agent = small_agent(gradient_steps=0)
    before = [weight.clone() for weight in agent.policy.weights]
    agent.learn(60)
    assert agent._n_updates == 0
    assert all(map(torch.equal, before, agent.policy.weights))


def test_a_disk_that_refuses_an_agent_leaves_the_one_that_was_there(tmp_path):
    agent, path = small_agent(), tmp_path / "folder" / "agent"
    agent.save(path)
    whole, before = resource.getrlimit(resource.RLIMIT_FSIZE), Path(f"{path}.zip").read_bytes()
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, whole[1]))
    try:
        for place in (path, str(path), f"{path}.zip"):
            with pytest.raises(FileError, match="the disk refused it"):
                agent.save(place)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, whole)
    assert [file.name for file in path.parent.iterdir()] == ["agent.zip"]
    assert Path(f"{path}.zip").read_bytes() == before
    with pytest.raises(FileError, match="its folder cannot be written"):
        agent.save("/proc/folder/agent")
    (tmp_path / "taken.zip").mkdir()
    with pytest.raises(FileError, match="it is a folder"):
        agent.save(tmp_path / "taken")


@pytest.mark.parametrize(
    ("seen", "wrong"),
    [
        (spaces.Discrete(3), np.array(3)),
        (spaces.Discrete(3, start=2), np.array(1)),
        (spaces.MultiDiscrete([2, 4]), np.array([1, -1])),
        (spaces.Dict(room=spaces.Discrete(3)), {"room": np.array(7)}),
    ],
    ids=str,
)
@pytest.mark.usefixtures("plain_annotations")  # SB3 counts the features of MultiDiscrete in int64
def test_choices_that_are_none_of_the_space(seen, wrong):
    """One-hot encoding would end in an error of torch, or in one of CUDA without a place."""

    class Beyond(Plain):
        def step(self, action):
            return wrong, 0.0, False, False, {}

    policy = "MultiInputPolicy" if isinstance(seen, spaces.Dict) else "MlpPolicy"
    agent = FreeEnergyQ(policy, Beyond(seen), **QUICK)
    with pytest.raises(DomainError, match=r"observation.* has .*, in "):
        agent.predict(wrong)
    with pytest.raises(DomainError, match=r"observation.* has .*, in "):
        agent.learn(20)


def test_a_fraction_is_no_choice():
    """In learning SB3 has cut it off before."""
    agent = FreeEnergyQ("MlpPolicy", Plain(spaces.Discrete(3)), **QUICK)
    with pytest.raises(DomainError, match=r"has 1.5, in Discrete"):
        agent.predict(np.array(1.5))
