"""T in units of the spread of values, against sums over all actions."""

import math

import numpy as np
import pytest
import torch
from gymnasium import Wrapper, spaces

from isinglass.agents import FreeEnergyQ, MaskLayout, MixtureEnergy
from isinglass.agents.defaults import default_energy, update_pace
from isinglass.agents.replay.transitions import Transitions
from isinglass.agents.temperature import action_parts, reward_range, value_spread
from isinglass.distributions import Enumerated
from isinglass.envs import LargeAction
from isinglass.errors import ParameterError
from isinglass.units import Spin
from tests.agents.small import (
    ENERGIES,
    QUICK,
    SMALL,
    SPACES,
    every_action,
    shaped_policy,
    small_agent,
)
from tests.seeds import SEED, numpy_seeded, seeded

SEEN = torch.linspace(-1, 1, 8).reshape(4, 2)


def transitions(masks=None):
    zeros = torch.zeros(4, 1)
    return Transitions(SEEN, zeros, SEEN.flip(0), zeros, zeros, next_masks=masks)


def plain_spread(policy, seen, keep):
    """The mean deviation, by a loop over states and the actions that may be taken there."""
    scores = Enumerated.of(policy.q_net_target(seen, policy.temperature)).scores.detach()
    spreads = [float(q[k].double().std(correction=0)) for q, k in zip(scores, keep, strict=True)]
    return sum(spreads) / len(spreads)


@pytest.mark.parametrize("name", ["mixture", "bent mixture", "groups", "pairs"])
@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_the_spread_is_that_of_the_next_values(space, name):
    policy = shaped_policy(space, ENERGIES[name], 0.6)
    all_kept = torch.ones(4, math.prod(MaskLayout.of(space).parts), dtype=torch.bool)
    found = value_spread(policy, transitions(), torch.full((4,), 0.9))
    assert abs(found - plain_spread(policy, SEEN.flip(0), all_kept)) < 1e-5
    one_step = value_spread(policy, transitions(), torch.zeros(4))
    assert abs(one_step - plain_spread(policy, SEEN, all_kept)) < 1e-5
    some = value_spread(policy, transitions(), torch.tensor([0.0, 0.9, 0.0, 0.9]))
    assert abs(some - plain_spread(policy, SEEN.flip(0)[[1, 3]], all_kept[:2])) < 1e-5


@pytest.mark.parametrize("joint", [False, True], ids=["flat", "joint"])
@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_what_is_forbidden_does_not_count(space, joint):
    policy = shaped_policy(space, ENERGIES["mixture"], 0.6)
    layout, rng = MaskLayout.of(space), numpy_seeded(4)
    masks = rng.random((4, layout.joint_size if joint else layout.flat_size)) < 0.6
    masks[:, 0 if joint else np.cumsum((0, *layout.parts[:-1]))] = True
    keep = torch.tensor(masks if joint else layout.joint(masks))
    found = value_spread(policy, transitions(torch.tensor(masks)), torch.full((4,), 0.9))
    assert abs(found - plain_spread(policy, SEEN.flip(0), keep)) < 1e-5


@pytest.mark.parametrize("forbidden", [0, 5])
def test_actions_too_many_to_list_are_drawn_uniformly(forbidden):
    """Of values that add up, Q = Σ θ_i a_i, the variance is Σ θ_i²; 512 draws know it to 6 %.

    The standard error of a variance from n draws of a nearly normal sum is √(2/n) of it, of σ half
    as much: 3.1 %. With a mask, what is fixed does not vary.
    """
    space = spaces.MultiBinary(40)
    torch.manual_seed(SEED)
    policy = FreeEnergyQ("MlpPolicy", LargeAction(), MixtureEnergy(1), seed=SEED, device="cpu")
    policy = policy.policy
    torch.nn.init.normal_(policy.q_net_target.head.fields)
    fields = policy.q_net_target.head.fields.detach()[0].double()
    states = torch.randint(0, 2, (32, 12), generator=seeded(2)).float()
    masks = torch.ones(32, 80, dtype=torch.bool)
    masks[:, 1 : 2 * forbidden : 2] = False  # these bits have to be 0
    given = None if forbidden == 0 else masks
    rest = torch.zeros(32, 1)
    batch = Transitions(states, rest, states, rest, rest, next_masks=given)
    found = [value_spread(policy, batch, torch.ones(32)) for _ in range(4)]
    exact = float(fields[forbidden:].square().sum().sqrt())
    assert space.n == len(fields)
    assert abs(np.mean(found) / exact - 1) < 5 * 0.031 / 2


def test_parts_of_actions():
    expected = {"bits": 4, "parts": 3, "alike": 2, "one": 1, "from -1": 1, "from 1 and -2": 2}
    found = {name: action_parts(s) for name, s in SPACES.items()}
    assert found == expected
    assert action_parts(spaces.Box(-1, 1, (3,))) == 3


def test_t_falls_from_the_spread_to_a_tenth_of_what_a_part_makes():
    agent = small_agent(learning_starts=50, train_freq=1)
    agent.learn(40)
    assert agent.spread is None
    agent.learn(400)
    assert agent.temperature == pytest.approx(0.1 / math.sqrt(8) * agent.spread)


class Scaled(Wrapper):
    """The same task, its rewards counted in another currency."""

    def __init__(self, env, factor):
        super().__init__(env)
        self.factor = factor

    def step(self, action):
        seen, reward, *rest = self.env.step(action)
        return seen, self.factor * reward, *rest


@pytest.mark.slow
def test_the_currency_of_the_rewards_does_not_matter():
    """In powers of two nothing is rounded otherwise but by Adam's ε, 1e-8 of gradients of 0.1."""
    agents = [
        FreeEnergyQ("MlpPolicy", Scaled(LargeAction(**SMALL), 2.0**power), seed=SEED, **QUICK)
        for power in (0, 10, -10)
    ]
    plain, dear, cheap = (agent.learn(300) for agent in agents)
    assert dear.temperature / plain.temperature == pytest.approx(1024, rel=1e-3)
    assert cheap.temperature * 1024 / plain.temperature == pytest.approx(1, rel=1e-3)
    states = np.eye(4, dtype=np.int8)
    chosen = [agent.predict(states, deterministic=True)[0] for agent in agents]
    assert np.array_equal(chosen[0], chosen[1])
    assert np.array_equal(chosen[0], chosen[2])


def test_the_spread_is_saved_and_learning_goes_on(tmp_path):
    agent = small_agent().learn(200)
    agent.save(tmp_path / "agent")
    loaded = FreeEnergyQ.load(tmp_path / "agent", env=LargeAction(**SMALL), device="cpu")
    assert loaded.spread == agent.spread
    assert loaded.q_net.head.reward_size == agent.q_net.head.reward_size != 1
    loaded.learn(40, reset_num_timesteps=False)
    assert loaded.spread != agent.spread


def test_numbers_are_in_units_of_the_reward():
    agent = small_agent(temperature=0.3).learn(100)
    assert (agent.temperature, agent.spread, agent.q_net.head.reward_size) == (0.3, None, 1.0)
    assert small_agent(initial_temperature=2.0).final_temperature == 0.05
    assert small_agent(final_temperature=0.2).initial_temperature == 1.0
    for given in (("soft", None, None), (0.5, 1.0, None), (-1.0, None, None)):
        with pytest.raises(ParameterError, match="temperature = "):
            reward_range(*given)


def test_short_runs_learn_once_a_step_and_long_ones_once_in_four():
    for total, environments, expected in (
        (1_000, 1, (4, 4)), (100_000, 1, (16, 4)), (12_000, 1, (8, 4)),
        (10**6, 4, (4, 4)), (1_000, 16, (1, 16)), (10**6, 64, (1, 16)),
    ):  # fmt: skip
        pace, steps = update_pace(total, environments)
        assert (pace.frequency, steps) == expected
    agent = small_agent().learn(120)
    assert agent._n_updates == 100  # all but the first 20
    assert small_agent(train_freq=4).learn(120)._n_updates == 25
    assert small_agent(gradient_steps=2).learn(120)._n_updates == 50


def test_the_energy_follows_from_the_space():
    assert {name: default_energy(space).memories for name, space in SPACES.items()} == {
        "bits": 32, "parts": 32, "alike": 32, "one": 1, "from -1": 1, "from 1 and -2": 32,
    }  # fmt: skip
    assert small_agent().energy == MixtureEnergy(state_fields="shared")


def test_before_a_reward_is_met_actions_are_uniform():
    """Of 10 bits in 200 steps half are ones, within 5 σ of 0.5/√2000; a reward lets it choose."""
    many = LargeAction(**SMALL | {"action_bits": 10})  # of few what is new would be sought
    agent = FreeEnergyQ("MlpPolicy", Scaled(many, 0.0), seed=SEED, **QUICK)
    torch.nn.init.constant_(agent.policy.q_net.head.fields, 100.0)  # would always choose ones
    agent.learn(200)
    assert abs(agent.replay_buffer.actions[:200].mean() - 0.5) < 5 * 0.5 / 44.7
    assert not agent._rewarded
    assert small_agent().learn(40)._rewarded
    chosen = FreeEnergyQ("MlpPolicy", Scaled(LargeAction(**SMALL), 0.0), temperature=1e-3, **QUICK)
    torch.nn.init.constant_(chosen.policy.q_net.head.fields, 100.0)
    chosen.learn(60)
    assert chosen.replay_buffer.actions[25:60].mean() > 0.9  # who gives T in rewards means it


def test_the_values_of_one_memory_start_flat():
    policy = shaped_policy(spaces.Discrete(5), MixtureEnergy(3))
    assert float(policy.q_net.head.fields.detach().std()) > 0
    head = MixtureEnergy(1, state_fields=True).head(4, Spin(3), 1.0)
    values = head(torch.randn(6, 4, generator=seeded(1)), 0.3).score(torch.ones(6, 3))
    others = head(torch.randn(6, 4, generator=seeded(1)), 0.3).score(-torch.ones(6, 3))
    assert torch.equal(values, others)


@pytest.mark.usefixtures("plain_annotations")
@pytest.mark.parametrize("value", ["own", 1.0, None, np.zeros(0), torch.zeros(2)])
def test_state_fields_are_a_flag_or_shared(value):
    with pytest.raises(ParameterError, match="state_fields = "):
        MixtureEnergy(3, state_fields=value)


@pytest.mark.parametrize("name", ["one", "parts", "bits"])
def test_exploring_is_as_uncertain_where_values_differ_more(name):
    """T(s) = max(T, c σ(s)) of the listed values, in draws and in their densities alike."""
    space = SPACES[name]
    policy = shaped_policy(space, MixtureEnergy(3), 0.05)
    seen = torch.linspace(-1, 1, 4).reshape(2, 2)
    actions = torch.as_tensor(every_action(space)).reshape(-1, *space.shape)
    with torch.no_grad():
        q = policy.q_net(seen, 0.05).score_each(
            policy.code.encode(actions.reshape(len(actions), -1))
        )
    temperature = (0.8 * q.std(-1, correction=0, keepdim=True)).clamp_min(0.05)
    assert (temperature > 0.05).any()
    expected = (q / temperature).log_softmax(-1)
    cold = policy.predict(seen.repeat(2_000, 1).numpy())[0]
    policy.warmth = 0.8
    rows = actions.reshape(len(actions), -1)
    for state in range(2):
        logs = policy.log_probability(seen[state].expand(len(rows), 2), rows)
        torch.testing.assert_close(logs, expected[state], rtol=1e-4, atol=1e-4)
    drawn = policy.predict(seen.repeat(2_000, 1).numpy())[0].reshape(2_000, 2, -1)
    shares = (torch.as_tensor(drawn).unsqueeze(2) == rows).all(-1).float().mean(0)
    assert ((shares - expected.exp()).abs() < 5 / (4 * 2_000) ** 0.5).all()
    assert not np.array_equal(cold.reshape(drawn.shape), drawn)


def test_only_exploring_is_warmer():
    agent = small_agent(learning_starts=50).learn(100)
    assert agent._warmth == pytest.approx((agent.temperature / agent.spread) ** 0.5)
    assert agent.policy.warmth is None
    assert small_agent(temperature=0.3).learn(100)._warmth is None
    warm = []
    agent.policy.predict = lambda *a, **k: (
        warm.append(agent.policy.warmth) or type(agent.policy).predict(agent.policy, *a, **k)
    )
    agent.learn(20, reset_num_timesteps=False)
    assert warm
    assert min(warm) > 0
