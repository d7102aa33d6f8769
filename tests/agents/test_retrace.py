"""Retrace: beside a plain loop, its fixed point, and what the replay buffer gives it."""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from isinglass import Categorical
from isinglass.agents import Enumerated, FreeEnergyQ, RetraceBackup, SoftBackup
from isinglass.agents.actions.action_codec import ActionCode
from isinglass.agents.replay.replay_buffer import MaskedReplayBuffer
from isinglass.agents.replay.transitions import Following, Transitions
from isinglass.errors import ParameterError
from tests.agents.small import QUICK, STRUCTURED, Guarded
from tests.agents.test_nested_actions import Box
from tests.cases import double
from tests.seeds import SEED, numpy_seeded

STATES, ACTIONS, T, GAMMA = 4, 3, 0.5, 0.9


def tabular(table):
    """A policy whose Q is a table of float64, with masks as a real one takes them."""
    space = spaces.Discrete(ACTIONS)

    def distribution(obs, masks=None, target=False):
        assert target
        scores = table[obs.flatten().long()]
        scores = scores if masks is None else scores.masked_fill(~masks, -torch.inf)
        return Enumerated(Categorical(ACTIONS), torch.eye(ACTIONS, dtype=torch.float64), scores, T)

    def log_action_count(masks=None):
        return math.log(ACTIONS) if masks is None else masks.double().sum(-1).log()

    return SimpleNamespace(
        distribution=distribution, temperature=T, generator=None,
        log_action_count=log_action_count, code=ActionCode.of(space), action_space=space,
    )  # fmt: skip


def random_batch(rows=40, length=5, masked=True):
    rng = numpy_seeded(3)

    def numbers(*shape):
        return torch.tensor(rng.normal(size=shape))

    masks = None
    if masked:
        masks = torch.tensor(rng.random((rows, length, ACTIONS)) < 0.7)
        masks[..., 0] = True
    seen = torch.tensor(rng.integers(STATES, size=(rows, length)))
    going = torch.tensor(rng.random((rows, length)) < 0.8)
    discounts = GAMMA * torch.tensor(rng.random((rows, length)) < 0.9).double()
    # After an end, or where an episode was cut short, nothing counts any more.
    counted = (going & (discounts > 0))[:, :-1].long().cumprod(1).bool()
    log_behavior = -numbers(rows, length - 1).abs()
    log_behavior[rng.random((rows, length - 1)) < 0.1] = torch.nan
    following = Following(
        actions=torch.zeros(rows, length - 1, 1).long() if masked else torch.tensor(
            rng.integers(ACTIONS, size=(rows, length - 1, 1))
        ),
        next_observations=seen[:, 1:], rewards=numbers(rows, length - 1),
        discounts=discounts[:, 1:], log_behavior=log_behavior, counted=counted,
        next_masks=None if masks is None else masks[:, 1:],
    )  # fmt: skip
    batch = Transitions(
        observations=seen[:, 0], actions=torch.zeros(rows, 1), next_observations=seen[:, 0],
        dones=torch.zeros(rows, 1), rewards=numbers(rows, 1),
        next_masks=None if masks is None else masks[:, 0], following=following,
    )  # fmt: skip
    return batch, discounts[:, 0]


def by_a_loop(table, batch, discounts, lambda_, mellow):
    """The formula, row by row and step by step."""
    following, targets = batch.following, []

    def values(state, mask):
        q = table[int(state)] if mask is None else table[int(state)][mask]
        soft = T * torch.logsumexp(q / T, 0)
        return soft, soft - T * math.log(len(q)) * mellow

    def mask_of(row, k):
        if batch.next_masks is None:
            return None
        return batch.next_masks[row] if k == 0 else following.next_masks[row, k - 1]

    for row in range(len(discounts)):
        state, mask = batch.next_observations[row], mask_of(row, 0)
        soft, value = values(state, mask)
        target = batch.rewards[row, 0] + discounts[row] * value
        trace, gamma = 1.0, discounts[row]
        for k in range(following.rewards.shape[1]):
            mu = following.log_behavior[row, k]
            if not following.counted[row, k] or mu.isnan():
                break
            q = table[int(state), int(following.actions[row, k, 0])]
            trace = trace * lambda_ * min(1.0, math.exp((q - soft) / T - mu))
            state, mask = following.next_observations[row, k], mask_of(row, k + 1)
            soft, value = values(state, mask)
            error = following.rewards[row, k] + following.discounts[row, k] * value - q
            target = target + gamma * trace * error
            gamma = gamma * following.discounts[row, k]
        targets.append(target)
    return torch.stack(targets)


@pytest.mark.usefixtures("plain_annotations")
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("mellow", [False, True])
@pytest.mark.parametrize("lambda_", [0.0, 0.7, 1.0])
def test_targets_are_those_of_a_loop(masked, mellow, lambda_):
    table = double(STATES, ACTIONS, seed=1)
    batch, discounts = random_batch(masked=masked)
    backup = RetraceBackup(5, lambda_, mellow)
    found = backup.target(tabular(table), batch, discounts)
    exact = by_a_loop(table, batch, discounts, lambda_, mellow)
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-12)
    single = SoftBackup(mellow).target(tabular(table), batch, discounts)
    for short in (RetraceBackup(5, 0.0, mellow), RetraceBackup(1, 1.0, mellow)):
        given = batch if short.length == 5 else batch._replace(following=None)
        again = short.target(tabular(table), given, discounts)
        torch.testing.assert_close(again, single, rtol=0, atol=1e-12)
    if lambda_:
        assert (found - single).abs().max() > 0.05


def small_mdp():
    """Moves, rewards and ends of 4 states and 3 actions, and a policy that acts otherwise."""
    rng = np.random.default_rng(0)
    moves = torch.tensor(rng.dirichlet(np.full(STATES, 0.5), (STATES, ACTIONS)))
    rewards = torch.tensor(rng.normal(size=(STATES, ACTIONS)))
    behavior = torch.tensor(rng.dirichlet(np.ones(ACTIONS), STATES))
    ends = torch.zeros(STATES, ACTIONS, dtype=torch.float64)
    ends[1, 2] = ends[3, 0] = 1
    return moves, rewards, behavior, ends


def soft_optimum(moves, rewards, ends, mellow):
    q = torch.zeros(STATES, ACTIONS, dtype=torch.float64)
    for _ in range(2_000):
        value = T * torch.logsumexp(q / T, -1) - T * math.log(ACTIONS) * mellow
        q = rewards + GAMMA * (1 - ends) * (moves @ value)
    return q


def every_path(moves, rewards, behavior, ends):
    """All paths of three steps as one batch, and how likely each is after its first (s, a)."""
    path = torch.tensor(list(itertools.product(*[range(n) for n in (4, 3, 4, 3, 4, 3, 4)])))
    s0, a0, s1, a1, s2, a2, s3 = path.T
    share = moves[s0, a0, s1] * behavior[s1, a1] * moves[s1, a1, s2]
    share = share * behavior[s2, a2] * moves[s2, a2, s3]
    over = torch.stack([ends[s0, a0], ends[s1, a1], ends[s2, a2]], -1).bool()
    counted = torch.stack([~over[:, 0], ~over[:, 0] & ~over[:, 1]], -1)
    following = Following(
        actions=torch.stack([a1, a2], -1).unsqueeze(-1),
        next_observations=torch.stack([s2, s3], -1),
        rewards=torch.stack([rewards[s1, a1], rewards[s2, a2]], -1),
        discounts=GAMMA * (~over[:, 1:]).double(),
        log_behavior=torch.stack([behavior[s1, a1], behavior[s2, a2]], -1).log(),
        counted=counted,
    )
    batch = Transitions(s0, a0, s1, over[:, :1], rewards[s0, a0].unsqueeze(-1), following=following)
    return batch, GAMMA * (~over[:, 0]).double(), share, s0 * ACTIONS + a0


@pytest.mark.slow
@pytest.mark.usefixtures("plain_annotations")
@pytest.mark.parametrize("mellow", [False, True])
@pytest.mark.parametrize("lambda_", [0.5, 1.0])
def test_the_soft_optimum_is_the_fixed_point_whoever_acted(mellow, lambda_):
    """Expected targets over all paths of a behavior that is far from the policy."""
    moves, rewards, behavior, ends = small_mdp()
    best = soft_optimum(moves, rewards, ends, mellow)
    batch, discounts, share, pair = every_path(moves, rewards, behavior, ends)
    backup = RetraceBackup(3, lambda_, mellow)

    def expected(table, backup=backup):
        targets = backup.target(tabular(table), batch, discounts)
        total = torch.zeros(STATES * ACTIONS, dtype=torch.float64)
        return total.index_add(0, pair, share * targets).reshape(STATES, ACTIONS)

    torch.testing.assert_close(expected(best), best, rtol=0, atol=1e-10)
    q = one = torch.zeros_like(best)
    for step in range(300):
        q = expected(q)
        one = expected(one, RetraceBackup(3, 0.0, mellow))
        if step == 4:  # several steps at once are faster
            assert (q - best).abs().max() < (one - best).abs().max()
    torch.testing.assert_close(q, best, rtol=0, atol=1e-9)


def test_sequences_end_with_their_episode():
    space, length = spaces.Box(0, 99, (1,)), 4
    buffer = MaskedReplayBuffer(
        12, space, spaces.Discrete(3), device="cpu", gamma=0.5, sequence_length=length
    )
    # 0 1 2 | 3 4 5 6 cut short | 7 reset | 8 9 …, in a buffer of 12 that starts anew after 12
    for t in range(15):
        seen, done = np.array([[t]]), np.array([t in (2, 6)])
        info = {
            "log_behavior": -float(t),
            "TimeLimit.truncated": t == 6,
            "reset_transition": t == 7,
        }
        mask = np.array([True, t % 2 == 0, True])
        buffer.add(
            seen, seen + 1, np.array([t % 3]), np.array([t]), done, [info | {"action_mask": mask}]
        )
    batch, found = buffer.sample(400), {}
    rows = zip(batch.observations[:, 0].tolist(), range(400), strict=True)
    for start, row in rows:
        found[int(start)] = int(batch.following.counted[row].sum())
    assert found == {3: 3, 4: 2, 5: 1, 6: 0, 8: 3, 9: 3, 10: 3, 11: 3, 12: 2, 13: 1, 14: 0}
    following, starts = batch.following, batch.observations
    later = starts + torch.arange(1, length)
    on = following.counted
    assert (following.rewards == later)[on].all()
    assert (following.log_behavior == -later)[on].all()
    assert (following.next_observations[..., 0] == later + 1)[on].all()
    assert (following.actions[..., 0] == later % 3)[on].all()
    assert (following.next_masks[..., 1] == (later % 2 == 0))[on].all()
    assert (following.discounts == 0.5).all()  # 0 at ends, which no sequence goes over
    assert buffer.sample(3).discounts is None


@pytest.mark.parametrize("name", ["discrete", "hybrid", "box"])
@pytest.mark.parametrize("masked", [False, True])
def test_what_acted_is_remembered(name, masked):
    """With weights and temperature that stay: log π of every step after those that were uniform."""
    space = STRUCTURED.get(
        name, spaces.Discrete(4) if name == "discrete" else spaces.Box(0, 3, (2,))
    )
    if masked and name == "box":
        pytest.skip("no masks there")
    agent = FreeEnergyQ(
        "MlpPolicy", Box(space, masked), backup=RetraceBackup(3), seed=SEED, learning_rate=0.0,
        temperature=0.3, **QUICK,
    ).learn(60)  # fmt: skip
    buffer, policy = agent.replay_buffer, agent.policy
    found = torch.tensor(buffer.log_behavior[:60, 0])
    masks = None
    if masked:
        width = agent._allowed.shape[-1]
        told = np.unpackbits(buffer._masks[:60, 0], axis=-1, count=width).view(bool)
        masks = torch.tensor(np.concatenate([np.ones((1, width), bool), told[:-1]]))
        started = np.arange(60) % 3 == 0  # the first of an episode has the mask of the reset
        masks, rows = masks, torch.tensor(~started)
    else:
        rows = torch.ones(60, dtype=torch.bool)
    early = torch.arange(60) < 20
    uniform = -torch.as_tensor(policy.log_action_count(masks)).expand(60)
    torch.testing.assert_close(found[early & rows], uniform[early & rows].float())
    obs, actions = torch.tensor(buffer.observations[:60, 0]), torch.tensor(buffer.actions[:60, 0])
    # Where values start is moved at the first update; π does not depend on it.
    exact = policy.log_probability(obs, actions, masks)
    torch.testing.assert_close(found[~early & rows], exact[~early & rows], atol=1e-4, rtol=1e-4)
    assert (found[~early & rows] != uniform[~early & rows]).any()


def test_it_learns_where_masks_and_normalized_rewards_are():
    env = VecNormalize(DummyVecEnv([lambda: Guarded(spaces.MultiDiscrete([2, 3]))] * 2))
    agent = FreeEnergyQ("MlpPolicy", env, backup=RetraceBackup(), seed=SEED, **QUICK).learn(80)
    assert agent._n_updates > 0
    assert np.isfinite(agent.replay_buffer.log_behavior[:40]).all()


class Seen(Box):
    """Observations in a dictionary."""

    observation_space = spaces.Dict(at=spaces.Box(-1, 1, (2,), np.float32))

    def seen(self):
        seen, info = super().seen()
        return {"at": seen}, info


def test_observations_in_a_dictionary(tmp_path):
    agent = FreeEnergyQ(
        "MultiInputPolicy", Seen(spaces.Discrete(3)), backup=RetraceBackup(3), seed=SEED, **QUICK
    ).learn(40)  # fmt: skip
    assert agent._n_updates > 0
    agent.save(tmp_path / "agent")
    loaded = FreeEnergyQ.load(tmp_path / "agent", Seen(spaces.Discrete(3)), device="cpu")
    assert loaded.backup == agent.backup
    assert loaded.replay_buffer.sequence_length == 3


@pytest.mark.usefixtures("plain_annotations")
def test_what_cannot_be_retraced_is_refused():
    for given in ({"length": 0}, {"lambda_": 1.5}, {"mellowmax": "yes"}):
        with pytest.raises(ParameterError):
            RetraceBackup(**given)
    with pytest.raises(ParameterError, match="without sequences"):
        FreeEnergyQ(
            "MlpPolicy", "CartPole-v1", backup=RetraceBackup(), replay_buffer_class=ReplayBuffer,
            **QUICK,
        ).learn(60)  # fmt: skip
    for more in ({"n_steps": 3}, {"replay_buffer_kwargs": {"augment": lambda batch, rng: batch}}):
        with pytest.raises(ParameterError, match="Leave n_steps at 1"):
            FreeEnergyQ("MlpPolicy", "CartPole-v1", backup=RetraceBackup(), **QUICK, **more)
