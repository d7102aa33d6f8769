"""Backups and targets against enumeration: masks, entropies, n steps, ends and resets."""

import math

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from isinglass.agents import (
    DoubleBackup,
    Enumerated,
    FreeEnergyQ,
    MaskLayout,
    MixtureEnergy,
    MunchausenBackup,
    ReturnBackup,
    SoftBackup,
)
from isinglass.agents.replay.transitions import Transitions
from isinglass.errors import ParameterError
from tests.agents.small import ENERGIES, QUICK, SPACES, Guarded, every_action, shaped_policy
from tests.seeds import SEED, numpy_seeded, shifted

every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
SEEN = torch.linspace(-1, 1, 8).reshape(4, 2)


def scores_of(policy, seen, target):
    with torch.no_grad():
        distribution = (policy.q_net_target if target else policy.q_net)(seen, policy.temperature)
        return Enumerated.of(distribution).scores


def transitions(masks=None):
    """Four transitions to SEEN that are worth nothing by themselves, and do not end."""
    zeros = torch.zeros(4, 1)
    return Transitions(SEEN, zeros, SEEN, zeros, zeros, next_masks=masks)


def next_values(backup, policy, masks=None):
    """Targets where rewards are zero and nothing is discounted: the values of the next states."""
    with torch.no_grad():
        return backup.target(policy, transitions(masks), torch.ones(4))


def some_masks(space, joint):
    """Masks, and which of all actions each allows."""
    layout, rng = MaskLayout.of(space), numpy_seeded(3)
    if joint:
        masks = rng.random((4, layout.joint_size)) < 0.5
        masks[:, 1] = True
        return masks, masks
    masks = rng.random((4, layout.flat_size)) < 0.5
    masks[:, np.cumsum((0, *layout.parts[:-1]))] = True
    return masks, layout.joint(masks)


@every_space
@pytest.mark.parametrize("name", ["mixture", "groups"])
@pytest.mark.parametrize("masked", ["free", "flat", "joint"])
@pytest.mark.parametrize("mellowmax", [False, True])
def test_soft_values(space, name, masked, mellowmax):
    policy = shaped_policy(space, ENERGIES[name], 0.6)
    q, masks = scores_of(policy, SEEN, target=True), None
    keep = np.ones(q.shape, bool)
    if masked != "free":
        masks, keep = some_masks(space, masked == "joint")
        masks = torch.tensor(masks)
    found = next_values(SoftBackup(mellowmax), policy, masks)
    q = q.double().masked_fill(~torch.tensor(keep), -torch.inf)
    exact = 0.6 * torch.logsumexp(q / 0.6, -1)
    if mellowmax:
        exact = exact - 0.6 * torch.tensor(keep.sum(-1)).log()
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=2e-5)


@every_space
@pytest.mark.parametrize("masked", ["free", "flat", "joint"])
def test_double_values(space, masked):
    """The best action of the one network, valued by the other."""
    policy = shaped_policy(space, ENERGIES["groups"], 0.6)
    online, theirs = (scores_of(policy, SEEN, target) for target in (False, True))
    masks, keep = None, np.ones(online.shape, bool)
    if masked != "free":
        masks, keep = some_masks(space, masked == "joint")
        masks = torch.tensor(masks)
    best = online.masked_fill(~torch.tensor(keep), -torch.inf).argmax(-1, keepdim=True)
    found = next_values(DoubleBackup(), policy, masks)
    torch.testing.assert_close(found, theirs.gather(-1, best)[:, 0])
    if masked == "free" and len(online[0]) > 9:
        assert (found < theirs.amax(-1) - 1e-3).any()  # or one network would do


@pytest.mark.parametrize("name", ["groups", "pairs", "deep"])
def test_chains_draw_from_the_stream_of_the_policy(name):
    """Nine bits are too many to enumerate: torch's own stream is left as it is."""
    policy, values = shaped_policy(spaces.MultiBinary(9), ENERGIES[name], 0.6), []
    for seed in (1, 1, 2):
        policy.seed(shifted(seed))
        values.append(next_values(SoftBackup(), policy))
        before = torch.get_rng_state()
        next_values(SoftBackup(), policy)
        assert torch.equal(torch.get_rng_state(), before)
        torch.rand(3)
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[0], values[2])


def test_values_of_boxes():
    """Gaussians are integrated over the box; mellowmax takes off the log of its size, 2^d."""
    policy = shaped_policy(spaces.Box(-1, 1, (2,)), MixtureEnergy(3), 0.4)
    with torch.no_grad():
        distribution = policy.q_net_target(SEEN, 0.4)
        soft, mellowmax = (next_values(SoftBackup(flag), policy) for flag in (False, True))
        greedy = next_values(DoubleBackup(), policy)
        best = distribution.score(policy.q_net(SEEN, 0.4).mode())
    assert torch.equal(soft, distribution.value())
    torch.testing.assert_close(mellowmax, soft - 0.4 * 2 * math.log(2))
    assert torch.equal(greedy, best)


def learned(space, **kwargs):
    env = Guarded(space, kwargs.pop("joint", False))
    soft = {"backup": SoftBackup()}
    return FreeEnergyQ("MlpPolicy", env, seed=SEED, **QUICK | soft | kwargs).learn(60)


@pytest.mark.parametrize("name", ["parts", "bits", "one", "from 1 and -2"])
@pytest.mark.parametrize("joint", [False, True], ids=["flat", "joint"])
@pytest.mark.parametrize("n_steps", [1, 3])
def test_targets_are_bellman_s_by_enumeration(name, joint, n_steps):
    """Episodes that terminate and such as are cut short; what is forbidden has no value."""
    space = SPACES[name]
    agent = learned(space, joint=joint, n_steps=n_steps, gamma=0.9)
    layout, batch = MaskLayout.of(space), agent._sample_transitions(64)
    q = scores_of(agent.policy, batch.next_observations, target=True).double()
    masks = batch.next_masks.numpy()
    keep = masks if layout.is_joint(masks) else layout.joint(masks)
    assert not keep.all()
    q = q.masked_fill(~torch.tensor(keep), -torch.inf)
    values = agent.temperature * torch.logsumexp(q / agent.temperature, -1)
    dones = batch.dones.flatten()
    assert set(dones.tolist()) == {0.0, 1.0}
    discounts = 0.9 if n_steps == 1 else batch.discounts.flatten()
    assert n_steps == 1 or len(discounts.unique()) == 3
    exact = batch.rewards.flatten() + discounts * torch.where(dones == 1, 0.0, values)
    torch.testing.assert_close(agent._targets(batch).double(), exact.double(), atol=1e-4, rtol=0)
    over = batch.observations.flatten() == 3  # every other of the last steps was cut short
    assert set(dones[over].tolist()) == {0.0, 1.0}


@every_space
@pytest.mark.parametrize("name", ["mixture", "groups"])
@pytest.mark.parametrize(("alpha", "floor"), [(0.9, -4.0), (0.5, -0.2), (0.0, -1.0)])
def test_munchausen_targets_are_those_of_the_paper(space, name, alpha, floor):
    """r + α clip(T log π(a|s), l₀, 0) + γ Σ_a' π(a'|s') (Q(s',a') − T log π(a'|s')), by sums."""
    t, policy = 0.6, shaped_policy(space, ENERGIES[name], 0.6)
    rng, actions = np.random.default_rng(4), every_action(space)  # which meet the floor
    masks, keep = some_masks(space, joint=False)
    if MaskLayout.of(space).is_joint(masks):
        masks = keep
    chosen, rewards = rng.integers(len(actions), size=4), torch.randn(4, 1)
    batch = Transitions(
        SEEN,
        torch.tensor(actions[chosen]).reshape(4, -1),
        SEEN.flip(0),
        torch.zeros(4, 1),
        rewards,
        next_masks=torch.tensor(masks),
    )
    discounts = torch.tensor([0.9, 0.81, 0.0, 0.5])
    with torch.no_grad():
        found = MunchausenBackup(alpha, floor).target(policy, batch, discounts)
    here = scores_of(policy, SEEN, target=True).double()
    logs = (here / t).log_softmax(-1)[torch.arange(4), torch.tensor(chosen)]
    bonus = (t * logs).clamp(floor, 0)
    assert (bonus > floor).any() if floor == -4.0 else (bonus == floor).any()
    there = scores_of(policy, SEEN.flip(0), target=True).double()
    following = (there / t).masked_fill(~torch.tensor(keep), -torch.inf).log_softmax(-1)
    terms = following.exp() * (there - t * following)
    soft = terms.nan_to_num(nan=0.0).sum(-1)  # 0·∞ of what is forbidden
    exact = rewards.flatten() + alpha * bonus + discounts * soft
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=5e-5)


def test_munchausen_bonus_of_the_last_step_counts():
    """No state follows, so that the soft value is spared, but the action was taken in one."""
    policy = shaped_policy(SPACES["one"], ENERGIES["mixture"], 0.6)
    with torch.no_grad():
        found = MunchausenBackup().target(policy, transitions(), torch.zeros(4))
    assert (found < -1e-3).all()


@pytest.mark.parametrize("backup", [MunchausenBackup, ReturnBackup])
@pytest.mark.parametrize("given", [{"alpha": 1.5}, {"alpha": -0.1}, {"floor": 0.5}])
def test_numbers_of_the_bonus_out_of_range(backup, given):
    with pytest.raises(ParameterError, match=next(iter(given))):
        backup(**given)


class Clock(gym.Env):
    """Observed is the time; each step is worth 1."""

    observation_space = spaces.Box(0, 9, (1,), np.float32)
    action_space = spaces.MultiBinary(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.time += 1
        return np.full(1, self.time, np.float32), 1.0, self.time == 3, False, {}


@pytest.mark.parametrize("mode", AutoresetMode)
def test_no_transition_leads_from_one_episode_to_the_next(mode):
    env = SyncVectorEnv([Clock, Clock], autoreset_mode=mode)
    agent = FreeEnergyQ("MlpPolicy", env, seed=SEED, **QUICK).learn(80)
    batch = agent._sample_transitions(200)
    before, after = batch.observations.flatten(), batch.next_observations.flatten()
    assert set(before.tolist()) == {0.0, 1.0, 2.0}
    assert torch.equal(after, before + 1)
    assert (batch.rewards == 1).all()
    assert torch.equal(batch.dones.flatten(), (after == 3).float())


def test_every_action_of_the_tests_is_in_its_space():
    for space in SPACES.values():
        assert all(space.contains(action) for action in every_action(space))
