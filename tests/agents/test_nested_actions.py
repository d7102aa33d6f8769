"""Agents that act by dictionaries, tuples and arrays: discrete and real parts, exact together."""

import math

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecNormalize

from isinglass.agents import (
    FreeEnergyPolicy,
    FreeEnergyQ,
    FreeEnergySarsa,
    MaskLayout,
    MixtureEnergy,
    ObservedMasks,
    PairwiseEnergy,
    RBMEnergy,
    candidate_energies,
    temperature,
)
from isinglass.agents.actions.action_structure import ActionStructure
from isinglass.agents.defaults import FallingRate, default_energy, default_rate
from isinglass.agents.energy_selection import untold_energies
from isinglass.agents.temperature import action_parts, value_spread
from isinglass.errors import DomainError, ParameterError, ShapeError
from tests.agents.small import ENERGIES, QUICK, STRUCTURED, shaped_policy
from tests.seeds import SEED, numpy_seeded

every_space = pytest.mark.parametrize("space", STRUCTURED.values(), ids=STRUCTURED)
HYBRID = STRUCTURED["hybrid"]
POINTS, WEIGHTS = np.polynomial.legendre.leggauss(60)


class Box(gym.Env):
    """Refuses what its space does not contain, or its mask forbids; rewards what is large."""

    observation_space = spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, space, masked=False, length=3):
        self.action_space, self.masked, self.length = space, masked, length
        self.structure, self.layout = ActionStructure.of(space), MaskLayout.of(space)
        self.taken = []

    def seen(self):
        rng, info = self.np_random, {}
        if self.masked:
            self.mask = rng.random(self.layout.flat_size) < 0.4
            self.mask[np.cumsum((0, *self.layout.parts[:-1])) + rng.integers(self.layout.parts)] = 1
            info = {"action_mask": self.mask}
        return rng.uniform(-1, 1, 2).astype(np.float32), info

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self.seen()

    def step(self, action):
        assert self.action_space.contains(action)
        row = self.structure.store([action] if self.structure.nested else action[None])[0]
        if self.masked:
            values = row[self.structure.listed] - self.structure.starts
            flags = np.cumsum((0, *self.layout.parts[:-1])) + values.astype(int)
            if not self.mask[flags].all():
                raise RuntimeError("a forbidden action")
        self.taken.append(row)
        self.time += 1
        seen, info = self.seen()
        return seen, float(row.sum()), self.time == self.length, False, info


def small(space, **kwargs):
    return FreeEnergyQ("MlpPolicy", Box(space), seed=SEED, **QUICK | kwargs)


@every_space
def test_learning_saving_and_loading(space, tmp_path):
    agent = small(space).learn(50)
    assert agent.action_space == space == agent.policy.action_space
    env = agent.get_env().envs[0].unwrapped
    stored = agent.replay_buffer.actions[:50, 0]
    np.testing.assert_allclose(stored, np.stack(env.taken)[:50], atol=1e-5)
    agent.save(tmp_path / "agent")
    agent.policy.save(tmp_path / "policy")
    loaded = FreeEnergyQ.load(tmp_path / "agent", Box(space), device="cpu")
    alone = FreeEnergyPolicy.load(tmp_path / "policy", device="cpu")
    states = numpy_seeded(1).uniform(-1, 1, (5, 2)).astype(np.float32)
    for deterministic in (True, False):
        chosen = [a.predict(states, deterministic=deterministic)[0] for a in (agent, loaded, alone)]
        rows = [agent.policy.structure.store(actions) for actions in chosen]
        np.testing.assert_array_equal(rows[0], rows[1])
        np.testing.assert_array_equal(rows[0], rows[2])
        assert all(space.contains(action) for action in chosen[0])
    assert space.contains(agent.predict(states[0])[0])
    loaded.learn(10, reset_num_timesteps=False)
    agent.set_env(Box(space))
    agent.learn(5)
    assert np.isfinite(evaluate_policy(agent, agent.get_env(), 2)[0])
    other = spaces.Tuple([space])
    with pytest.raises(ParameterError, match="Action spaces do not match"):
        agent.set_env(Box(other))
    with pytest.raises(ParameterError, match="Action spaces do not match"):
        FreeEnergyQ.load(tmp_path / "agent", Box(other), device="cpu")


VECTORS = {
    "one by one": lambda makers: DummyVecEnv(makers),
    "normalized": lambda makers: VecNormalize(DummyVecEnv(makers)),
    "Gymnasium's": lambda makers: SyncVectorEnv(makers),
}


@pytest.mark.parametrize("name", ["hybrid", "nested", "shaped choices"])
@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS)
def test_vectors_of_environments(name, vector):
    env = vector([lambda: Box(STRUCTURED[name])] * 3)
    agent = FreeEnergyQ("MlpPolicy", env, seed=SEED, **QUICK).learn(60)
    assert agent._n_updates > 0
    assert np.isfinite(evaluate_policy(agent, agent.get_env(), 3, warn=False)[0])


@pytest.mark.slow
def test_environments_in_other_processes():
    env = SubprocVecEnv([lambda: Box(STRUCTURED["nested"])] * 2)
    agent = FreeEnergyQ("MlpPolicy", env, seed=SEED, **QUICK).learn(60)
    assert np.isfinite(evaluate_policy(agent, env, 2, warn=False)[0])
    env.close()


@every_space
def test_first_actions_are_uniform_and_the_same_for_a_seed(space):
    runs = [small(space, learning_starts=300).learn(300) for _ in range(2)]
    first, second = (np.stack(a.get_env().envs[0].unwrapped.taken) for a in runs)
    np.testing.assert_array_equal(first, second)
    structure = ActionStructure.of(space)
    for column in first[:, ~structure.listed].T:  # uniform from −1 to 1
        assert abs(column.mean()) < 5 / math.sqrt(3 * 300)
    parts = zip(
        first[:, structure.listed].T, structure.starts, MaskLayout.of(space).parts, strict=True
    )
    for column, start, count in parts:
        shares = np.bincount((column - start).astype(int), minlength=count) / 300
        assert (abs(shares - 1 / count) < 5 / math.sqrt(4 * 300)).all()


@pytest.mark.parametrize("name", ["hybrid", "nested", "shaped bits", "choices in a tuple"])
def test_no_forbidden_action_is_ever_taken(name):
    """In warm-up and while learning: the environment would tell."""
    space = STRUCTURED[name]
    agent = FreeEnergyQ("MlpPolicy", Box(space, masked=True), seed=SEED, **QUICK).learn(60)
    assert agent._n_updates > 0
    env = ObservedMasks(DummyVecEnv([lambda: Box(space, masked=True)] * 2))
    assert np.isfinite(evaluate_policy(agent, env, 3, warn=False)[0])
    with pytest.raises(ParameterError, match="no action_masks"):
        agent.predict(np.zeros(2, np.float32))


class Structured(Box):
    """Tells masks of the structure that ``sample`` takes: kind 1 is forbidden, or where said."""

    def seen(self):
        seen, _ = super().seen()
        return seen, {"action_mask": {"kind": np.array([1, 0, 1], np.int8), "where": None}}

    def step(self, action):
        assert action["kind"] != 1
        return super().step(action)


class ByMethod(Structured):
    def seen(self):
        seen, info = super().seen()
        self.told = info["action_mask"]
        return seen, {}

    def action_masks(self):
        return self.told


@pytest.mark.parametrize("kind", [Structured, ByMethod])
def test_masks_of_the_structure_of_actions(kind):
    env = DummyVecEnv([lambda: kind(HYBRID)] * 2)
    agent = FreeEnergyQ("MlpPolicy", env, seed=SEED, **QUICK).learn(60)
    assert agent._n_updates > 0
    assert agent.policy.masks_told
    mask = {"kind": np.array([0, 1, 0])}
    actions, _ = agent.predict(np.zeros((4, 2), np.float32), action_masks=mask)
    assert [action["kind"] for action in actions] == [1] * 4


def by_kind(policy, obs, kind, masks=None):
    """∫ exp(Q/T) over the box at one kind, by Gauss's rule, and where Q is highest on its grid."""
    plane = torch.tensor(np.stack(np.meshgrid(POINTS, POINTS, indexing="ij"), -1).reshape(-1, 2))
    weights = torch.tensor(np.outer(WEIGHTS, WEIGHTS).ravel())
    rows = torch.cat([torch.full((len(plane), 1), kind), plane], -1)
    with torch.no_grad():
        q = policy.distribution(obs, masks).score(policy.code.encode(rows)).double()
    return float((weights * (q / policy.temperature).exp()).sum()), float(q.max())


@pytest.mark.parametrize("fields", [False, True, "shared"])
def test_values_and_shares_are_exact(fields):
    """Beside sums over kinds of integrals over the box; draws within 5 σ, masks and fixed parts."""
    policy = shaped_policy(HYBRID, MixtureEnergy(6, state_fields=fields), temperature=0.3)
    obs, sight = torch.tensor([[0.4, -0.6]]), np.array([0.4, -0.6], np.float32)
    each = np.array([by_kind(policy, obs, kind) for kind in range(3)])
    value = policy.distribution(obs).value().item()
    assert value == pytest.approx(policy.temperature * math.log(each[:, 0].sum()), abs=1e-4)
    rows = torch.tensor([[2.0, 0.3, -0.9]])
    with torch.no_grad():
        q = policy.action_values(obs, rows)
    torch.testing.assert_close(q, policy.distribution(obs).score(policy.code.encode(rows)))
    drawn, _ = policy.predict(np.tile(sight, (4_000, 1)))
    shares = np.bincount([action["kind"] for action in drawn], minlength=3) / 4_000
    wanted = each[:, 0] / each[:, 0].sum()
    assert (abs(shares - wanted) < 5 * np.sqrt(wanted * (1 - wanted) / 4_000)).all()
    assert abs(wanted - 1 / 3).max() > 0.05  # uniform draws would be noticed
    greedy, _ = policy.predict(sight, deterministic=True)
    row = torch.tensor(policy.structure.store([greedy])).float()
    best = policy.distribution(obs).score(policy.code.encode(row)).item()
    assert best > each[:, 1].max() - 0.05
    masks = torch.tensor([[True, False, True]])
    value = policy.distribution(obs, masks).value().item()
    assert value == pytest.approx(policy.temperature * math.log(each[[0, 2], 0].sum()), abs=1e-4)
    assert policy.log_action_count() == pytest.approx(math.log(3 * 4))
    assert float(policy.log_action_count(masks)) == pytest.approx(math.log(2 * 4))


def test_what_is_fixed_stays():
    policy = shaped_policy(STRUCTURED["nested"], MixtureEnergy(6))
    states = np.zeros((50, 2), np.float32)
    fixed = {"go": ([np.nan], 0), "bits": [1, np.nan]}
    actions, _ = policy.predict(states, fixed=fixed)
    assert {(action["go"][1], action["bits"][0]) for action in actions} == {(0, 1)}
    assert len({float(action["go"][0][0]) for action in actions}) > 40
    row = [1.5, np.nan, np.nan, 1, np.nan, np.nan]  # "go", bits, choices of "deep"
    action, _ = policy.predict(states[0], fixed=row, deterministic=True)
    assert action["bits"][1] == 1
    assert action["go"][0] == pytest.approx(1.5)
    with pytest.raises(DomainError, match="outside the box"):
        policy.predict(states[0], fixed={"go": ([2.5], np.nan)})
    with pytest.raises(DomainError, match="outside the action space"):
        policy.predict(states[0], fixed={"go": ([1.0], 4)})
    mask = {"bits": np.array([0, 2])}
    with pytest.raises(DomainError, match=r"observed at|forbids"):
        policy.predict(states[0], fixed={"bits": [1, np.nan]}, action_masks=mask)


def test_constraints_see_all_actions_at_once():
    policy = shaped_policy(HYBRID, MixtureEnergy(6))
    states = np.zeros((20, 2), np.float32)

    def may(actions):
        return (actions["kind"] == 2) | (actions["where"].sum(-1) > 0)

    for deterministic in (False, True):
        actions, _ = policy.predict(states, constraint=may, deterministic=deterministic)
        assert all(a["kind"] == 2 or a["where"].sum() > 0 for a in actions)


@pytest.mark.parametrize("name", [name for name in ENERGIES if "mixture" not in name])
def test_energies_without_real_units_say_so(name):
    with pytest.raises(ParameterError, match="Real actions have MixtureEnergy"):
        small(HYBRID, energy=ENERGIES[name])
    agent = small(STRUCTURED["choices in a tuple"], energy=ENERGIES[name]).learn(30)
    assert agent._n_updates > 0


def test_sarsa():
    for space, energy in ((HYBRID, MixtureEnergy(4)), (STRUCTURED["bits alone"], RBMEnergy(5))):
        agent = FreeEnergySarsa("MlpPolicy", Box(space), energy, seed=SEED, device="cpu").learn(40)
        assert agent._n_updates > 0
        assert space.contains(agent.predict(np.zeros(2, np.float32))[0])


def test_other_buffers_hold_rows_too():
    agent = small(HYBRID, replay_buffer_class=ReplayBuffer).learn(40)
    assert agent.replay_buffer.actions.shape[-1] == 3
    assert agent.action_space == HYBRID


def test_defaults_follow_the_parts():
    assert action_parts(HYBRID) == 3
    assert action_parts(STRUCTURED["shaped bits"]) == 6
    assert default_energy(HYBRID) == MixtureEnergy(state_fields="shared")
    assert default_energy(STRUCTURED["boxes alone"]) == MixtureEnergy()
    few, many = default_rate(HYBRID), spaces.Tuple([spaces.MultiBinary(9), spaces.Box(0, 1, (1,))])
    assert default_rate(many).first > few.first == default_rate(spaces.Discrete(3)).first


def test_real_parts_beside_bits_have_one_energy():
    space = spaces.Tuple([spaces.MultiBinary(9), spaces.Box(0, 1, (1,))])
    assert candidate_energies(space) == untold_energies(space) == (default_energy(space),)


def test_the_rate_moves_a_value_alike_however_many_bits():
    for count in (25, 100, 400):
        rate = default_rate(spaces.MultiBinary(count))
        assert rate * count**0.5 == pytest.approx(0.05)
        assert default_rate(spaces.MultiBinary(count), PairwiseEnergy()) == FallingRate(rate, 0.0)
    assert default_rate(spaces.MultiBinary(10)) == 0.01


def test_the_spread_is_that_of_uniform_actions(monkeypatch):
    """Within 5 σ of the spread over a grid: kinds by number, boxes by Gauss's rule."""
    monkeypatch.setattr(temperature, "ACTIONS_LOOKED_AT", 1_000)  # a bias of 1 in 2,000
    policy = shaped_policy(HYBRID, MixtureEnergy(6))
    agent = small(HYBRID)
    agent.learn(20)
    batch = agent.replay_buffer.sample(32)
    with torch.no_grad():
        policy.q_net_target.load_state_dict(policy.q_net.state_dict())
    found = [value_spread(policy, batch, torch.ones(32)) for _ in range(20)]
    plane = torch.cartesian_prod(torch.arange(3.0), *[torch.tensor(POINTS).float()] * 2)
    weights = torch.tensor(np.outer(WEIGHTS, WEIGHTS).ravel() / 4).repeat(3) / 3
    exact = []
    for state in batch.next_observations:
        with torch.no_grad():
            q = policy.distribution(state[None], target=True).score(policy.code.encode(plane))
        mean = (weights * q).sum()
        exact.append(float((weights * (q - mean) ** 2).sum().sqrt()))
    error = np.std(found) / math.sqrt(len(found))
    assert abs(np.mean(found) - np.mean(exact)) < 5 * error + np.mean(exact) / 1_000


class Bandit(gym.Env):
    """Reward b_k − (x − c_k)²: each kind has its own best place, the best kind is k = s."""

    observation_space = spaces.Discrete(3)
    places = (-0.6, 0.1, 0.7)

    def __init__(self, nested=False):
        kind, where = spaces.Discrete(3), spaces.Box(-1, 1, (1,), np.float32)
        inner = spaces.Dict(where=where, bit=spaces.MultiBinary(1))
        self.action_space = (
            spaces.Dict(kind=kind, do=inner) if nested else spaces.Tuple([kind, where])
        )

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = int(self.np_random.integers(3))
        return self.state, {}

    def reward(self, state, action):
        if isinstance(action, tuple):
            kind, place, bit = action[0], action[1][0], 1
        else:
            kind, place, bit = action["kind"], action["do"]["where"][0], action["do"]["bit"][0]
        return (kind == state) - (place - self.places[kind]) ** 2 + 0.5 * float(bit) - 0.5

    def step(self, action):
        assert self.action_space.contains(action)
        return self.state, float(self.reward(self.state, action)), True, False, {}


@pytest.mark.slow
@pytest.mark.parametrize("nested", [False, True])
def test_a_parameterised_action_is_learned_by_default(nested):
    """Random actions lose 1.3 or more; the best of 3 kinds at one place for all loses 0.2."""
    env = Bandit(nested)
    agent = FreeEnergyQ("MlpPolicy", env, seed=SEED, device="cpu").learn(600)
    actions, _ = agent.predict(np.arange(3), deterministic=True)
    lost = [1 - env.reward(state, action) for state, action in enumerate(actions)]
    assert max(lost) < 0.1


def test_a_part_that_there_is_not_is_told_in_masks_and_in_what_is_fixed():
    space = spaces.Dict(kind=spaces.Discrete(3), how=spaces.Dict(b=spaces.MultiBinary(2)))
    policy = FreeEnergyPolicy(spaces.Box(-1, 1, (2,)), space, lambda _: 1e-3)
    seen = np.zeros(2, np.float32)
    for given in ({"knd": [1, 0, 1]}, {"how": {"c": [1, 1, 0, 1]}}):
        with pytest.raises(ShapeError, match=r"a part '(knd|c)' of an action"):
            policy.predict(seen, action_masks=given)
        with pytest.raises(ShapeError, match=r"a part '(knd|c)' of an action"):
            policy.predict(seen, fixed=given)
    action, _ = policy.predict(seen, action_masks={"kind": np.array([0, 0, 1], bool)})
    assert action["kind"] == 2
