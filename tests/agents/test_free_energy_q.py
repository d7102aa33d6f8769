"""FreeEnergyQ: its values against enumeration, its learning, and its manners as an SB3 agent."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common import buffers
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from isinglass.agents import FreeEnergyPolicy, FreeEnergyQ, MixtureEnergy, SoftBackup
from isinglass.envs import LargeAction
from isinglass.errors import ParameterError, UnknownEnvironmentError
from isinglass.units import Spin
from tests.agents.small import QUICK, SMALL, Shown, Speeds, TwoRooms, small_agent
from tests.seeds import SEED, numpy_seeded, shifted


def all_states(bits=4):
    return Spin(bits).enumerate_states().numpy() > 0


def all_actions(bits=8):
    """Every action in {0, 1}, and the same as spins."""
    spins = Spin(bits).enumerate_states()
    return (spins + 1) / 2, spins.numpy()


@pytest.fixture
def shaped_agent():
    """Random weights large enough for values and policies far from flat, bends included."""
    agent = small_agent(
        energy=MixtureEnergy(5, state_fields=True), policy_kwargs={"net_arch": [16]}
    )
    with torch.no_grad():
        draw = torch.Generator().manual_seed(5)  # in every set: the weights are the problem
        for weight in agent.policy.parameters():  # those of the target network too, others
            weight.normal_(0, 0.5, generator=draw)
    agent.policy.temperature = 0.7
    return agent


def reference_values(network, states, temperature):
    """Q of all states and actions, from the weights and the definition, in float64."""
    weights = {k: v.double().numpy() for k, v in network.state_dict().items() if "extra" not in k}
    hidden = (2.0 * states - 1) @ weights["trunk.0.weight"].T + weights["trunk.0.bias"]
    hidden = np.maximum(hidden, 0)
    keys = hidden @ weights["head.keys.weight"].T + weights["head.keys.bias"]
    bent = (hidden @ weights["head.bend.weight"].T).reshape(-1, 5, 8)
    fields = weights["head.fields"] + bent
    overlap = keys[:, None, :] + np.einsum("snd,ad->san", fields, all_actions()[1])
    overlap = np.exp(weights["head.log_scale"]) * overlap + weights["head.offset"]
    return temperature * np.log(np.exp(overlap / temperature).mean(-1))


def target_values(policy, obs):
    with torch.no_grad():
        return policy.distribution(obs, target=True).value()


def soft_value(q, temperature):
    return temperature * np.log(np.exp(q / temperature).sum(-1))


def test_values_of_the_network_are_the_definition(shaped_agent):
    policy, states = shaped_agent.policy, all_states()
    exact = reference_values(policy.q_net, states, 0.7)
    actions = all_actions()[0].float()
    for row, state in zip(exact, states, strict=True):
        observed = torch.tensor(state, dtype=torch.int8).expand(256, -1)
        values = policy.action_values(observed, actions).detach().numpy()
        assert np.abs(values - row).max() < 1e-4  # the network computes in float32
    target = target_values(policy, torch.tensor(states, dtype=torch.int8)).numpy()
    exact = reference_values(policy.q_net_target, states, 0.7)
    assert np.abs(target - soft_value(exact, 0.7)).max() < 1e-4


def test_mixture_is_exact_against_enumeration(shaped_agent):
    states = torch.tensor(all_states(), dtype=torch.int8)
    mixture = shaped_agent.policy.distribution(states)
    keys, fields = mixture.keys.detach().double(), mixture.fields.detach().double()
    spins = torch.tensor(all_actions()[1])
    overlap = keys.numpy()[:, None, :] + np.einsum("snd,ad->san", fields.numpy(), spins.numpy())
    exact = 0.7 * np.log(np.exp(overlap / 0.7).sum(-1))
    for i, row in enumerate(exact):
        single = replace(mixture, keys=keys[i], fields=fields[i])
        assert np.abs(single.score(spins).numpy() - row).max() < 1e-9
        assert abs(float(single.value()) - soft_value(row, 0.7)) < 1e-9
        probabilities = single.log_prob(spins).exp().numpy()
        assert np.abs(probabilities - np.exp((row - soft_value(row, 0.7)) / 0.7)).max() < 1e-9


def test_sampled_actions_follow_the_boltzmann_policy(shaped_agent):
    draws, temperature = 40_000, 0.7
    state = np.array([1, 0, 0, 1], dtype=np.int8)
    q = reference_values(shaped_agent.policy.q_net, state[None], temperature)[0]
    exact = np.exp((q - soft_value(q, temperature)) / temperature)
    actions, _ = shaped_agent.predict(np.tile(state, (draws, 1)))
    index = actions @ (2 ** np.arange(8)[::-1])
    observed = np.bincount(index, minlength=256) / draws
    distance = np.abs(observed - exact).sum() / 2
    # E[distance] ≤ ½ Σ √(p(1−p)/n); McDiarmid: P(distance > E + t) ≤ exp(−2nt²), here 1e-6
    bound = np.sqrt(exact * (1 - exact) / draws).sum() / 2 + np.sqrt(np.log(1e6) / (2 * draws))
    assert distance < bound
    assert np.abs(exact - 1 / 256).sum() / 2 > 5 * bound  # a uniform policy would be caught


def test_greedy_action_is_the_best_at_low_temperature(shaped_agent):
    temperature = shaped_agent.policy.temperature = 0.05
    states = all_states()
    best = reference_values(shaped_agent.policy.q_net, states, temperature).max(1)
    actions, _ = shaped_agent.predict(states.astype(np.int8), deterministic=True)
    greedy = shaped_agent.policy.action_values(
        torch.tensor(states, dtype=torch.int8), torch.tensor(actions).float()
    )
    # the start of the climb ignores all memories but one, which costs T log N at the most
    assert (greedy.detach().numpy() > best - temperature * np.log(5) - 1e-4).all()


def greedy_reward(agent, env, states=1_000):
    width = env.observation_space.shape[0]
    observed = numpy_seeded(99).integers(0, 2, (states, width), dtype=np.int8)
    actions, _ = agent.predict(observed, deterministic=True)
    return (actions == env.optimal_action(observed)).sum(1).mean()


@pytest.mark.slow
def test_learns_the_soft_values_of_a_decision_process():
    """Q converges to the fixed point of soft value iteration over all states and actions."""
    gamma, temperature = 0.7, 0.5
    exact = np.zeros((2, 4))
    for _ in range(200):
        after = soft_value(exact, temperature)[[0, 0, 1, 1]]  # the room that each action leads to
        exact = TwoRooms.rewards + gamma * after
    agent = FreeEnergyQ(
        "MlpPolicy", TwoRooms(), seed=SEED, gamma=gamma, tau=0.05, device="cpu", batch_size=64,
        initial_temperature=temperature, final_temperature=temperature, train_freq=2,
        energy=MixtureEnergy(8), policy_kwargs={"net_arch": [32]}, backup=SoftBackup(),
        learning_rate=5e-3, gradient_steps=1,
    ).learn(2_000)  # fmt: skip
    actions = all_actions(2)[0].float()
    for room, row in enumerate(exact):
        learned = agent.policy.action_values(torch.full((4, 1), float(room)), actions)
        assert np.abs(learned.detach().numpy() - row).max() < 0.15, (learned, row)


@pytest.mark.parametrize("end", ["terminated", "truncated"])
def test_termination_is_not_bootstrapped_through_and_a_time_limit_is(end):
    env = TwoRooms(end, length=2)  # every other transition is the last of its episode
    soft = {"backup": SoftBackup(), "gamma": 0.9}
    agent = FreeEnergyQ("MlpPolicy", env, seed=SEED, **soft, **QUICK).learn(60)
    batch = agent.replay_buffer.sample(50)
    targets = agent._targets(batch)
    after = target_values(agent.policy, batch.next_observations)
    assert after.abs().min() > 0.1  # else the two cases could not be told apart
    dones = batch.dones.flatten()
    assert set(dones.tolist()) == ({0.0, 1.0} if end == "terminated" else {0.0})
    expected = batch.rewards.flatten() + 0.9 * torch.where(dones == 1, 0.0, after)
    assert torch.allclose(targets, expected, atol=1e-6)


def weights_of(agent):
    return torch.cat([w.detach().flatten() for w in agent.policy.parameters()])


def test_the_same_seed_is_the_same_run():
    first, second, other = (small_agent(seed).learn(300) for seed in (3, 3, 4))
    assert torch.equal(weights_of(first), weights_of(second))
    assert not torch.equal(weights_of(first), weights_of(other))


def test_the_actions_have_a_random_stream_of_their_own():
    agent = small_agent(3)
    states = all_states().astype(np.int8)
    agent.set_random_seed(shifted(8))
    first = agent.predict(states)[0]
    assert not np.array_equal(agent.predict(states)[0], first)
    agent.set_random_seed(shifted(8))
    torch.rand(5)  # the global stream plays no part
    assert np.array_equal(agent.predict(states)[0], first)


def test_save_then_load_is_identity_and_learning_goes_on(tmp_path):
    agent = small_agent().learn(300)
    agent.save(tmp_path / "agent")
    loaded = FreeEnergyQ.load(tmp_path / "agent", env=LargeAction(**SMALL), device="cpu")
    states = all_states().astype(np.int8)
    assert loaded.temperature == agent.temperature
    assert torch.equal(weights_of(loaded), weights_of(agent))
    for deterministic in (True, False):  # the random stream goes on where it was
        own = agent.predict(states, deterministic=deterministic)[0]
        assert np.array_equal(loaded.predict(states, deterministic=deterministic)[0], own)
    before = weights_of(loaded).clone()
    loaded.learn(100, reset_num_timesteps=False)
    assert loaded.num_timesteps == 400
    assert not torch.equal(weights_of(loaded), before)
    assert np.array_equal(
        FreeEnergyQ.load(tmp_path / "agent", device="cpu").predict(states, deterministic=True)[0],
        agent.predict(states, deterministic=True)[0],
    )  # no environment is needed to predict


def test_a_policy_alone_saves_and_loads(tmp_path):
    policy = small_agent(energy=MixtureEnergy(state_fields=True)).learn(100).policy
    policy.save(tmp_path / "policy.pt")
    loaded = FreeEnergyPolicy.load(tmp_path / "policy.pt", device="cpu")
    states = all_states().astype(np.int8)
    assert np.array_equal(loaded.predict(states)[0], policy.predict(states)[0])


def test_several_environments_at_once():
    env = make_vec_env(lambda: LargeAction(**SMALL), n_envs=4, seed=SEED)
    agent = FreeEnergyQ("MlpPolicy", env, seed=SEED, **QUICK).learn(400)
    assert agent.num_timesteps == 400
    assert agent.replay_buffer.actions.shape[1:] == (4, 8)
    assert agent.replay_buffer.pos == 100
    assert agent._n_updates > 0
    stored = agent.replay_buffer
    for index in range(4):  # every environment earned the reward of its own action
        best = LargeAction(**SMALL).optimal_action(stored.observations[:100, index])
        matches = (stored.actions[:100, index] == best).sum(1)
        assert np.array_equal(matches, stored.rewards[:100, index])


class Memory(KVWriter):
    def __init__(self, written):
        self.written = written

    def write(self, key_values, key_excluded, step=0):
        self.written.update(key_values)

    def close(self):
        pass


class Recorder(BaseCallback):
    def __init__(self):
        super().__init__()
        self.temperatures = []

    def _on_step(self):
        self.temperatures.append(self.model.temperature)
        return True


def test_temperature_is_annealed_callbacks_are_called_and_learning_resumes():
    agent = small_agent(initial_temperature=3.0, final_temperature=0.3, annealing_fraction=0.5)
    recorder = Recorder()
    written = {}
    agent.set_logger(Logger(None, [Memory(written)]))
    agent.learn(200, callback=recorder, log_interval=1)
    assert len(recorder.temperatures) == 200
    assert recorder.temperatures[0] == 3.0
    halfway = recorder.temperatures[51]  # a quarter of the run, half of the way, 51 steps counted
    assert abs(halfway / (3.0 * 0.3) ** 0.5 - 1) < 0.03
    assert all(abs(t - 0.3) < 1e-12 for t in recorder.temperatures[101:])
    assert written["rollout/temperature"] == agent.temperature
    assert 0 < written["train/n_updates"] <= agent._n_updates
    again = Recorder()
    agent.learn(100, callback=again, reset_num_timesteps=False)
    assert (agent.num_timesteps, len(again.temperatures)) == (300, 100)
    assert abs(agent.temperature - 0.3) < 1e-12


@pytest.mark.parametrize("policy", ["CnnPolicy", "MultiInputPolicy"])
def test_pictures_and_dictionaries(policy):
    env = Shown(LargeAction(**SMALL), picture=policy == "CnnPolicy")
    agent = FreeEnergyQ(policy, env, seed=SEED, buffer_size=500, **QUICK).learn(60)
    action, _ = agent.predict(env.reset(seed=SEED)[0], deterministic=True)
    assert env.action_space.contains(action)


@pytest.mark.slow
def test_learns_the_large_action_task_where_ppo_does_not():
    """20 bits, 4 keys: three seeds reach 19.7 to 20.0 of 20 in 2,500 steps.

    PPO, with SB3's defaults, reaches 17.8 to 17.9 in 4,096 (three seeds); chance is 10.
    """
    env = LargeAction(state_bits=6, action_bits=20, keys=4)
    agent = FreeEnergyQ("MlpPolicy", env, seed=SEED, device="cpu").learn(2_500)
    assert greedy_reward(agent, env) > 19


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize(
    "name", ["initial_temperature", "final_temperature", "annealing_fraction", "max_grad_norm"]
)
def test_numbers_that_must_be_above_zero(name, value):
    with pytest.raises(ParameterError, match=name):
        small_agent(**{name: value})


def test_other_bad_input():
    with pytest.raises(ParameterError, match="memories"):
        MixtureEnergy(memories=0)
    with pytest.raises(UnknownEnvironmentError, match="NoSuch-v0"):
        FreeEnergyQ("MlpPolicy", "NoSuch-v0")


def test_an_environment_may_be_a_name():
    agent = FreeEnergyQ("MlpPolicy", "isinglass/LargeAction-v0", **QUICK)
    assert agent.action_space == spaces.MultiBinary(40)


def test_fields_start_as_wide_as_the_temperature_over_the_root_of_the_bits():
    space, bits = spaces.MultiBinary(3), 100
    policy = FreeEnergyPolicy(
        space, spaces.MultiBinary(bits), lambda _: 1e-3, MixtureEnergy(200), temperature=3.0
    )
    fields = policy.q_net.head.fields.detach()
    # the relative error of the deviation of n normal draws is 1/√(2n) = 0.5 %; five of these
    assert abs(float(fields.std()) / (3.0 / math.sqrt(bits)) - 1) < 0.025


class Standardized(BaseFeaturesExtractor):
    """Batch normalization: it keeps running statistics, one of them a whole number."""

    def __init__(self, observation_space):
        super().__init__(observation_space, observation_space.shape[0])
        self.norm = torch.nn.BatchNorm1d(self.features_dim)

    def forward(self, observations):
        return self.norm(observations)


def statistics(network):
    return [buffer.clone() for buffer in network.buffers()]


def test_the_target_network_copies_running_statistics_and_gathers_none():
    agent = small_agent(policy_kwargs={"features_extractor_class": Standardized}).learn(100)
    own, target = statistics(agent.policy.q_net), statistics(agent.policy.q_net_target)
    assert agent.policy.q_net.extractor.norm.num_batches_tracked == agent._n_updates > 0
    assert all(torch.equal(x, y) for x, y in zip(own, target, strict=True))
    states = torch.tensor(all_states(), dtype=torch.float32)
    target_values(agent.policy, states)  # in evaluation mode: nothing is gathered
    again = statistics(agent.policy.q_net_target)
    assert all(torch.equal(x, y) for x, y in zip(again, target, strict=True))


def test_running_statistics_are_copied_after_a_move():
    policy = small_agent(policy_kwargs={"features_extractor_class": Standardized}).policy
    policy.double()  # like a move to another device, it replaces the buffers
    policy.q_net.extractor.norm.running_mean.fill_(3.0)
    policy.update_target(0.5)
    assert bool((policy.q_net_target.extractor.norm.running_mean == 3.0).all())


@pytest.mark.parametrize(("norm", "clipped"), [(1e-3, True), (1e6, False)])
def test_a_step_is_the_gradient_clipped(norm, clipped):
    """Plain gradient descent of rate 1 moves by the gradient itself, or by its largest norm."""
    agent = small_agent(
        learning_rate=1.0, max_grad_norm=norm, learning_starts=1_000,
        policy_kwargs={"optimizer_class": torch.optim.SGD},
    ).learn(40)  # fmt: skip
    agent.train(1, 32)  # the first step also sets the value that all values start at
    before = [w.detach().double() for w in agent.policy.q_net.parameters()]
    agent.replay_buffer.seed(SEED)
    (batch,) = agent._minibatches(1, 32)
    loss = agent._loss(*batch)
    gradient = torch.autograd.grad(loss, list(agent.policy.q_net.parameters()))
    whole = float(torch.cat([g.flatten() for g in gradient]).double().norm())
    assert whole > 0.1
    agent.replay_buffer.seed(SEED)
    agent.train(1, 32)
    after = [w.detach().double() for w in agent.policy.q_net.parameters()]
    moved = float(torch.cat([(b - a).flatten() for a, b in zip(before, after, strict=True)]).norm())
    assert abs(moved / (norm if clipped else whole) - 1) < 0.01


@pytest.mark.skipif(not hasattr(buffers, "NStepReplayBuffer"), reason="this SB3 has none")
def test_returns_of_several_steps_are_discounted_as_often():
    agent = FreeEnergyQ(
        "MlpPolicy", TwoRooms(), seed=SEED, gamma=0.5, backup=SoftBackup(),
        replay_buffer_class=buffers.NStepReplayBuffer,
        replay_buffer_kwargs={"n_steps": 3, "gamma": 0.5}, **QUICK,
    ).learn(60)  # fmt: skip
    batch = agent._sample_transitions(50)
    after = target_values(agent.policy, batch.next_observations)
    assert after.abs().min() > 0.05
    discounts = batch.discounts.flatten()
    assert set(discounts.tolist()) == {0.5, 0.25, 0.125}  # shorter where an episode ends
    expected = batch.rewards.flatten() + discounts * after
    assert torch.allclose(agent._targets(batch), expected, atol=1e-6)


def test_replayed_batches_are_normalized_like_what_is_observed():
    env = VecNormalize(DummyVecEnv([Speeds]))
    agent = FreeEnergyQ("MlpPolicy", env, seed=SEED, **QUICK).learn(100)
    agent.replay_buffer.seed(SEED)
    raw = agent.replay_buffer.sample(50)
    agent.replay_buffer.seed(SEED)
    batch = agent._sample_transitions(50)
    assert raw.observations.mean() > 40  # else nothing would have been tested
    for got, given in (
        (batch.observations, env.normalize_obs(raw.observations.numpy())),
        (batch.next_observations, env.normalize_obs(raw.next_observations.numpy())),
        (batch.rewards, env.normalize_reward(raw.rewards.numpy())),
    ):
        assert np.allclose(got.numpy(), given, atol=1e-5)


def test_values_start_at_the_mean_reward_unless_weights_were_put_in():
    agent = small_agent(learning_starts=1_000).learn(40)  # stores, and does not learn yet
    mean = float(agent.replay_buffer.rewards[:40].mean())
    agent._start_values()
    for network in (agent.policy.q_net, agent.policy.q_net_target):
        assert float(network.head.shift.detach()) == pytest.approx(mean, abs=1.0)
    given = small_agent(learning_starts=1_000).learn(40)
    with torch.no_grad():
        given.policy.q_net.head.offset.fill_(-7.0)
    given._start_values()
    assert float(given.policy.q_net.head.offset.detach()) == -7.0


def offsets(agent):
    networks = agent.policy.q_net, agent.policy.q_net_target
    return [network.head.offset.detach().item() for network in networks]


def put(agent, offset):
    with torch.no_grad():
        for network in (agent.policy.q_net, agent.policy.q_net_target):
            network.head.offset.fill_(offset)


def test_values_start_once_though_an_agent_is_saved_and_loaded(tmp_path):
    agent = small_agent(learning_rate=0.0).learn(28)
    start = offsets(agent)
    assert 0 < start[0] == start[1] < 8
    agent.learn(40, reset_num_timesteps=False)
    assert offsets(agent) == start
    put(agent, 0.0)  # where an agent that has not learned looks at its rewards
    agent.save(tmp_path / "agent")
    loaded = FreeEnergyQ.load(tmp_path / "agent", LargeAction(**SMALL)).learn(40)
    assert offsets(loaded) == [0.0, 0.0]


def test_weights_that_were_put_in_keep_their_offset():
    other, agent = small_agent(), small_agent(learning_rate=0.0)
    put(other, -7.0)
    agent.set_parameters(other.get_parameters())
    agent.learn(40)
    assert agent._n_updates > 0
    assert offsets(agent) == [-7.0, -7.0]
