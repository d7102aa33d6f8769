"""Policies and targets under the density of what was done, held against all actions listed."""

import math

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import FlattenExtractor

from isinglass.agents import (
    Annealing,
    BehaviorBackup,
    BehaviorPolicy,
    FreeEnergyPolicy,
    MaskLayout,
    MixtureEnergy,
    PairwiseEnergy,
    ProductOfMixtures,
    SoftBackup,
)
from isinglass.agents.replay.transitions import Transitions
from isinglass.errors import IntractableError, ParameterError
from tests.agents.small import SEEN, SPACES, every_action

BIG = {"bits": spaces.MultiBinary(10), "parts": spaces.MultiDiscrete([5, 4, 3, 6])}
ROWS = 6


class Doubled(FlattenExtractor):
    """Features in 64 bits, which Stable-Baselines3 gives in 32."""

    def forward(self, observations):
        return super().forward(observations).double()


def double_policy(space, energy=None, temperature=0.5, share=0.0, behavior=None, seed=3):
    policy = BehaviorPolicy(
        SEEN, space, lambda _: 1e-3, energy=energy, behavior=behavior, net_arch=[8],
        temperature=temperature, features_extractor_class=Doubled,
    ).double()  # fmt: skip
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in policy.parameters():
            weight.normal_(0, 0.5, generator=draw)
    policy.uniform_share.fill_(share)
    return policy


def batch_of(policy, masks=None, seed=4):
    draw = torch.Generator().manual_seed(seed)
    seen, after = torch.randn(2, ROWS, 2, generator=draw).unbind(0)
    actions = torch.as_tensor(every_action(policy.action_space)[:ROWS])
    rewards = torch.randn(ROWS, 1, generator=draw).double()
    dones = (torch.arange(ROWS) % 3 == 0).double()[:, None]
    return Transitions(seen, actions, after, dones, rewards, next_masks=masks)


def listed(policy, seen, share):
    """Q and log π_β of every action, by hand from the two heads."""
    states = policy.code.encode(torch.as_tensor(every_action(policy.action_space))).double()
    values = policy.q_net_target(seen, policy.temperature).score_each(states)
    density = torch.log_softmax(policy.behavior(seen, 1.0).score_each(states), -1).exp()
    return values, ((1 - share) * density + share / len(states)).log()


@pytest.mark.parametrize("space", [*SPACES.values(), *BIG.values()], ids=[*SPACES, "512", "360"])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("temperature", [0.02, 0.5, 5.0])
def test_targets_are_soft_values_under_the_density_of_what_was_done(space, share, temperature):
    policy = double_policy(space, temperature=temperature, share=share)
    batch = batch_of(policy)
    discounts = 0.9 * (1 - batch.dones.flatten())
    with torch.no_grad():
        found = BehaviorBackup().target(policy, batch, discounts)
        values, density = listed(policy, batch.next_observations, share)
    soft = temperature * torch.logsumexp(values / temperature + density, -1)
    expected = batch.rewards.flatten() + discounts * soft
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("space", [*SPACES.values(), *BIG.values()], ids=[*SPACES, "512", "360"])
def test_under_a_uniform_behavior_it_is_the_mellow_backup(space):
    policy = double_policy(space, share=1.0)
    batch = batch_of(policy)
    discounts = 0.9 * (1 - batch.dones.flatten())
    with torch.no_grad():
        found = BehaviorBackup().target(policy, batch, discounts)
        with policy.untilted():
            mellow = SoftBackup(mellowmax=True).target(policy, batch, discounts)
    torch.testing.assert_close(found, mellow, rtol=0, atol=1e-9)


@pytest.mark.parametrize("space", [*SPACES.values(), *BIG.values()], ids=[*SPACES, "512", "360"])
@pytest.mark.parametrize("joint", [False, True])
def test_masks_leave_the_density_of_what_is_allowed(space, joint):
    policy = double_policy(space)
    layout, actions = MaskLayout.of(space), every_action(space)
    draw = np.random.default_rng(1)
    start = np.ravel(getattr(space, "start", 0))
    values = actions.reshape(len(actions), -1) - start
    if joint:
        masks = draw.random((ROWS, layout.joint_size)) < 0.4
        masks[:, 0] = True
        allowed = masks
    else:
        masks = draw.random((ROWS, layout.flat_size)) < 0.6
        masks[:, np.cumsum((0, *layout.parts[:-1]))] = True
        places = values + np.cumsum((0, *layout.parts[:-1]))
        allowed = masks[:, places].all(-1)
    batch = batch_of(policy, torch.as_tensor(masks))
    discounts = torch.full((ROWS,), 0.9).double()
    with torch.no_grad():
        found = BehaviorBackup().target(policy, batch, discounts)
        scores, density = listed(policy, batch.next_observations, 0.0)
    density = density.masked_fill(~torch.as_tensor(allowed), -math.inf).log_softmax(-1)
    soft = policy.temperature * torch.logsumexp(scores / policy.temperature + density, -1)
    expected = batch.rewards.flatten() + discounts * soft
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("space", [*SPACES.values(), *BIG.values()], ids=[*SPACES, "512", "360"])
def test_predict_acts_by_the_tilted_policy(space):
    policy = double_policy(space, temperature=0.3)
    policy.q_net.load_state_dict(policy.q_net_target.state_dict())
    seen = np.array([[0.3, -0.8]], np.float32)
    with torch.no_grad():
        values, density = listed(policy, torch.as_tensor(seen), 0.0)
    logs = (values / policy.temperature + density).log_softmax(-1)[0]
    actions, count = every_action(space), 4_000
    drawn, _ = policy.predict(np.repeat(seen, count, 0))
    places = {np.asarray(action).tobytes(): n for n, action in enumerate(actions)}
    met = np.bincount(
        [places[np.asarray(a).astype(actions.dtype).tobytes()] for a in drawn],
        minlength=len(actions),
    )
    shares = logs.exp().numpy()
    # Five standard deviations of a count, and one for counts near 0.
    assert (abs(met - count * shares) < 5 * np.sqrt(count * shares * (1 - shares)) + 5).all()
    greedy, _ = policy.predict(seen, deterministic=True)
    if len(actions) <= 256:
        assert (greedy[0] == actions[logs.argmax()]).all()


def test_greedy_actions_are_among_those_that_were_done():
    """Action 2 looks best, but nobody ever took it."""
    policy = double_policy(spaces.Discrete(3), temperature=0.1)
    with torch.no_grad():
        for head, fields in ((policy.q_net.head, [0.0, 1.0, 2.0]),
                             (policy.behavior.head, [0.0, 0.0, -50.0])):  # fmt: skip
            for weight in head.parameters():
                weight.zero_()
            head.fields.copy_(torch.tensor([fields]))
    seen = np.zeros((500, 2), np.float32)
    assert (policy.predict(seen, deterministic=True)[0] == 1).all()
    assert not (policy.predict(seen)[0] == 2).any()
    with policy.untilted():
        assert (policy.predict(seen, deterministic=True)[0] == 2).all()


def test_real_actions_are_tilted_within_the_box():
    space = spaces.Box(-2, 2, (1,), np.float32)
    policy = double_policy(space, temperature=0.4)
    batch = batch_of_real(policy)
    discounts = torch.full((ROWS,), 0.9).double()
    with torch.no_grad():
        found = BehaviorBackup().target(policy, batch, discounts)
        points = torch.linspace(-1, 1, 20_001).double()
        states = points[:, None, None].expand(-1, ROWS, 1)
        values = policy.q_net_target(batch.next_observations, 0.4).score(states)
        density = policy.behavior(batch.next_observations, 1.0).log_prob(states)
    width = torch.full_like(points, 2 / 20_000)
    width[[0, -1]] /= 2
    soft = 0.4 * torch.logsumexp(values / 0.4 + density + width.log()[:, None], 0)
    expected = batch.rewards.flatten() + discounts * soft
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)  # of the trapezoids


def batch_of_real(policy):
    draw = torch.Generator().manual_seed(4)
    seen, after = torch.randn(2, ROWS, 2, generator=draw).unbind(0)
    zeros = torch.zeros(ROWS, 1).double()
    return Transitions(seen, zeros, after, zeros, torch.randn(ROWS, 1, generator=draw).double())


def test_rows_are_laid_out_in_parts_where_pairs_are_many(monkeypatch):
    policy = double_policy(BIG["bits"])
    batch, discounts = batch_of(policy), torch.full((ROWS,), 0.9).double()
    whole = BehaviorBackup().target(policy, batch, discounts)
    monkeypatch.setattr(
        "isinglass.agents.offline.behavior_backup.NUMBERS_TOGETHER", 32 * 32 * 10 * 2
    )
    parts = BehaviorBackup().target(policy, batch, discounts)
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-12)


def test_products_of_experts_are_tilted_too_and_others_refuse_by_name():
    quick = Annealing(chains=64, levels=24)
    policy = double_policy(BIG["bits"], ProductOfMixtures(2, 3, quick))
    seen = torch.zeros(ROWS, 2)
    with torch.no_grad():
        values, density = listed(policy, seen, 0.0)
        states = policy.code.encode(torch.as_tensor(every_action(BIG["bits"]))).double()
        scores = policy.distribution(seen, target=True).score_each(states)
    torch.testing.assert_close(scores, values + policy.temperature * density, rtol=0, atol=1e-9)
    with pytest.raises(IntractableError, match="tilted by a mixture"):
        double_policy(BIG["bits"], PairwiseEnergy(quick)).distribution(seen)
    few = double_policy(SPACES["bits"], PairwiseEnergy(quick))
    assert few.distribution(seen).exact_value  # listed


def test_a_policy_without_a_behavior_is_refused():
    policy = FreeEnergyPolicy(SEEN, spaces.Discrete(3), lambda _: 1e-3, net_arch=[4])
    rows = torch.zeros(2, 2)
    batch = Transitions(rows, rows[:, :1], rows, rows[:, :1], rows[:, :1])
    with pytest.raises(ParameterError, match="has learned no behavior"):
        BehaviorBackup().target(policy, batch, torch.ones(2))


def test_a_policy_alone_is_saved_with_its_behavior(tmp_path):
    policy = BehaviorPolicy(
        SEEN, BIG["bits"], lambda _: 1e-3, net_arch=[8], behavior=MixtureEnergy(5)
    )
    policy.uniform_share.fill_(0.25)
    policy.save(tmp_path / "policy")
    again = BehaviorPolicy.load(tmp_path / "policy", device="cpu")
    assert again.behavior_energy == MixtureEnergy(5)
    seen = torch.randn(4, 2)
    draw = policy.code.encode(torch.as_tensor(every_action(BIG["bits"])))
    one, other = (p.distribution(seen).score_each(draw) for p in (policy, again))
    assert torch.equal(one, other)
