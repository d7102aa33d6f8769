"""Learning in every space: masks obeyed, boxes scaled, agents saved, environments exchanged."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from isinglass.agents import DoubleBackup, FreeEnergyPolicy, FreeEnergyQ, MixtureEnergy, SoftBackup
from isinglass.agents.network import _from_zero
from isinglass.envs import LargeAction
from isinglass.errors import FileError, ParameterError
from tests.agents.small import ENERGIES, QUICK, SMALL, SPACES, Guarded, small_agent
from tests.seeds import SEED, numpy_seeded

every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)


def guarded_agent(space, joint=False, **kwargs):
    return FreeEnergyQ("MlpPolicy", Guarded(space, joint), seed=SEED, **QUICK | kwargs)


@every_space
@pytest.mark.parametrize("joint", [False, True], ids=["flat", "joint"])
def test_no_forbidden_action_is_ever_taken(space, joint):
    """In warm-up, while learning, after a pause within an episode, and anew: the env would tell."""
    agent = guarded_agent(space, joint, train_freq=1, batch_size=8)
    agent.learn(30)
    assert 0 < agent._n_updates < 30
    agent.learn(25, reset_num_timesteps=False).learn(10)
    stored = agent.replay_buffer.actions[: agent.replay_buffer.pos, 0]
    assert len(np.unique(stored, axis=0)) > 1


@pytest.mark.parametrize("joint", [False, True], ids=["flat", "joint"])
@pytest.mark.parametrize("vector", [DummyVecEnv, SyncVectorEnv])
@pytest.mark.parametrize("name", ["parts", "bits", "from -1"])
def test_masks_of_several_environments(joint, vector, name):
    lengths = (3, 4, 5)
    makers = [lambda n=n: Guarded(SPACES[name], joint, n) for n in lengths]
    agent = FreeEnergyQ("MlpPolicy", vector(makers), seed=SEED, **QUICK | {"batch_size": 8})
    agent.learn(60).learn(30, reset_num_timesteps=False)
    assert agent._n_updates > 0


def test_masks_of_normalized_environments():
    env = VecNormalize(DummyVecEnv([lambda: Guarded(SPACES["parts"])] * 2))
    agent = FreeEnergyQ("MlpPolicy", env, seed=SEED, **QUICK).learn(60)
    assert agent._n_updates > 0


@pytest.mark.parametrize("name", ENERGIES)
@pytest.mark.parametrize(
    "backup", [SoftBackup(), SoftBackup(mellowmax=True), DoubleBackup()], ids=str
)
def test_every_energy_learns_by_every_backup(name, backup):
    agent = small_agent(energy=ENERGIES[name], backup=backup, train_freq=8).learn(40)
    assert agent._n_updates > 0
    assert all(bool(w.isfinite().all()) for w in agent.policy.parameters())


class Target(gym.Env):
    """Reward is best at (1, 5) of a box from (−2, 0) to (2, 10); it keeps what it was given."""

    observation_space = spaces.Box(0, 1, (1,), np.float32)
    action_space = spaces.Box(np.array([-2, 0], np.float32), np.array([2, 10], np.float32))

    def __init__(self):
        self.taken = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        assert self.action_space.contains(action)
        self.taken.append(action)
        off = (action - [1, 5]) / [2, 5]
        return np.zeros(1, np.float32), -float(off @ off), True, False, {}


def test_boxes_are_stored_scaled_and_acted_in_unscaled():
    env = Target()
    agent = FreeEnergyQ("MlpPolicy", env, seed=SEED, **QUICK | {"learning_starts": 60}).learn(120)
    stored, taken = agent.replay_buffer.actions[:120, 0], np.array(env.taken)
    assert np.abs(stored).max() <= 1
    np.testing.assert_allclose(taken, [-2, 0] + (stored + 1) / 2 * np.array([4, 10]), atol=1e-5)
    assert (taken.std(0) > [0.4, 1]).all()
    batch = agent._sample_transitions(20)
    with torch.no_grad():
        values = agent.policy.action_values(batch.observations, batch.actions)
        distribution = agent.policy.distribution(batch.observations)
    torch.testing.assert_close(values, distribution.score(batch.actions))


def test_actions_do_not_round_beyond_their_box():
    draw = numpy_seeded(0)
    low = draw.normal(size=200).astype(np.float32)
    space = spaces.Box(low, low + draw.uniform(0.1, 3, 200).astype(np.float32))
    policy = FreeEnergyPolicy(spaces.Box(-1, 1, (2,), np.float32), space, lambda _: 1e-3)
    for bound in (space.low, space.high):
        action, _ = policy.predict(np.zeros(2, np.float32), fixed=bound)
        assert space.contains(action)
        np.testing.assert_allclose(action, bound, atol=1e-5)


def test_boxes_are_learned_in():
    """Rewards of random actions are −0.92 on average."""
    agent = FreeEnergyQ(
        "MlpPolicy", Target(), MixtureEnergy(4), seed=SEED, device="cpu", initial_temperature=0.3,
        final_temperature=0.02, batch_size=64, train_freq=2,
        policy_kwargs={"net_arch": [16]},
    ).learn(500)  # fmt: skip
    action, _ = agent.predict(np.zeros(1, np.float32), deterministic=True)
    off = (action - [1, 5]) / [2, 5]
    assert float(off @ off) < 0.05


def test_pendulum_and_cart_pole():
    for name in ("Pendulum-v1", "CartPole-v1"):
        agent = FreeEnergyQ("MlpPolicy", gym.make(name), seed=SEED, **QUICK).learn(60)
        mean, _ = evaluate_policy(agent, agent.get_env(), n_eval_episodes=1)
        assert np.isfinite(mean)


@pytest.mark.parametrize("name", ENERGIES)
def test_save_then_load(name, tmp_path):
    agent = guarded_agent(
        SPACES["parts"], energy=ENERGIES[name], backup=DoubleBackup(), n_steps=3, gamma=0.5
    ).learn(32)
    agent.save(tmp_path / "agent")
    loaded = FreeEnergyQ.load(tmp_path / "agent", Guarded(SPACES["parts"]), device="cpu")
    assert (loaded.energy, loaded.backup) == (agent.energy, agent.backup)
    assert (loaded.replay_buffer.n_steps, loaded.replay_buffer.gamma) == (3, 0.5)
    seen, masks = np.linspace(0, 9, 20, dtype=np.float32)[:, None], np.ones(7)
    for deterministic in (False, True):
        own, theirs = (
            a.predict(seen, None, None, deterministic, masks)[0] for a in (agent, loaded)
        )
        np.testing.assert_array_equal(own, theirs)
    loaded.learn(32, reset_num_timesteps=False)
    assert loaded.num_timesteps == 64


OTHERS = {
    "actions": (lambda: Guarded(SPACES["bits"]), r"Action spaces do not match: MultiDis.*MultiBi"),
    "observations": (lambda: LargeAction(**SMALL), r"Observation spaces do not match: Box.*Multi"),
}


@pytest.mark.parametrize("other", OTHERS)
def test_an_agent_of_another_environment(other, tmp_path):
    make, message = OTHERS[other]
    agent = guarded_agent(SPACES["parts"])
    agent.save(tmp_path / "agent")
    with pytest.raises(ParameterError, match=rf"FreeEnergyQ\.load: {message}"):
        FreeEnergyQ.load(tmp_path / "agent", make(), device="cpu")
    with pytest.raises(ParameterError, match=rf"FreeEnergyQ\.set_env: {message}"):
        agent.set_env(make())
    agent.learn(30)  # nothing is lost


@pytest.mark.usefixtures("plain_annotations")
def test_the_next_environment_may_be_all_that_the_first_may(tmp_path):
    agent = FreeEnergyQ("MlpPolicy", "isinglass/LargeAction-v0", seed=SEED, **QUICK)
    agent.save(tmp_path / "agent")
    loaded = FreeEnergyQ.load(tmp_path / "agent", "isinglass/LargeAction-v0", device="cpu")
    loaded.set_env("isinglass/LargeAction-v0")
    assert loaded.learn(4).num_timesteps == 4
    many = FreeEnergyQ.load(tmp_path / "agent", SyncVectorEnv([LargeAction] * 3), device="cpu")
    assert many.learn(6).replay_buffer.n_envs == 3
    with pytest.raises(ParameterError, match="no environment"):
        loaded.set_env(3)
    with pytest.raises(ParameterError, match=r"2 environments .* learned in 1.*load\(path"):
        loaded.set_env(SyncVectorEnv([LargeAction] * 2))
    with pytest.raises(FileError):
        FreeEnergyQ.load(tmp_path / "none")


@every_space
def test_the_same_seed_is_the_same_run(space):
    first, second = (guarded_agent(space, energy=ENERGIES["groups"]).learn(40) for _ in range(2))
    for own, theirs in zip(first.policy.parameters(), second.policy.parameters(), strict=True):
        assert torch.equal(own, theirs)
    actions = (agent.replay_buffer.actions[:40] for agent in (first, second))
    np.testing.assert_array_equal(*actions)


@pytest.mark.usefixtures("plain_annotations")
@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(5, start=2),
        spaces.MultiDiscrete([2, 3], start=[-1, 4]),
        spaces.Dict({"cell": spaces.Discrete(3, start=-7), "two": spaces.Discrete(2)}),
    ],
)
def test_observed_choices_may_start_anywhere(space):
    class Seen(Guarded):
        observation_space = space

        def seen(self):
            return space.sample(), super().seen()[1]

    policy = "MultiInputPolicy" if isinstance(space, spaces.Dict) else "MlpPolicy"
    agent = FreeEnergyQ(policy, Seen(spaces.Discrete(3)), seed=SEED, **QUICK).learn(40)
    obs, _ = agent.policy.obs_to_tensor(space.sample())
    counted = _from_zero(obs, space)
    parts = space.spaces if isinstance(space, spaces.Dict) else {"": space}
    for key, part in parts.items():
        numbers = counted[key] if key else counted
        most = np.max(getattr(part, "nvec", getattr(part, "n", 0)))
        assert 0 <= numbers.min() <= numbers.max() < most


def test_state_dicts_hold_floats_alone_and_can_be_averaged():
    """As users average agents; temperature is a number among the weights."""
    one, two = (
        FreeEnergyQ("MlpPolicy", LargeAction(**SMALL), seed=seed, **QUICK, initial_temperature=t)
        for seed, t in ((0, 1.0), (1, 3.0))
    )
    dicts = [agent.policy.state_dict() for agent in (one, two)]
    assert all(torch.is_floating_point(value) for value in dicts[0].values())
    mean = {name: (dicts[0][name] + dicts[1][name]) / 2 for name in dicts[0]}
    one.policy.load_state_dict(mean)
    assert one.policy.temperature == 2.0
    ours, theirs = one.policy.state_dict(), {k: v.clone() for k, v in mean.items()}
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
