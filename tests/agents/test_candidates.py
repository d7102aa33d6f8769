"""Candidates: Q = −F(s ∪ {a}), the same for every name, order and number of propositions."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from isinglass.agents import (
    CandidateEnergy,
    MixtureEnergy,
    RelationalExtractor,
    ReturnBackup,
    thinking_agent,
)
from isinglass.envs import FactChains, Thoughts, TicTacToe
from isinglass.errors import ParameterError, ShapeError
from isinglass.thinking.vocabulary import Vocabulary
from isinglass.units import Categorical, Spin
from tests.seeds import SEED, numpy_seeded

REACHED = Vocabulary({"reached": 1})


def world(longest=4, **settings):
    return Thoughts(FactChains((1, 2, 3), longest, **settings), REACHED, budget=2)


def moments(env, count=6):
    """Observations along random episodes, as one batch of arrays."""
    rng, seen = numpy_seeded(3), []
    observation, _ = env.reset(seed=SEED)
    while len(seen) < count:
        seen.append(observation)
        allowed = np.flatnonzero(observation["action_mask"])
        observation, _, over, _, _ = env.step(rng.choice(allowed))
        if over:
            observation, _ = env.reset()
    return {key: np.stack([part[key] for part in seen]) for key in seen[0]}


@pytest.fixture(scope="module")
def agent():
    return thinking_agent(world(), seed=SEED, device="cpu")


def values(agent, seen):
    """Q of all candidates, −∞ where forbidden."""
    batch = {key: torch.as_tensor(part) for key, part in seen.items()}
    with torch.no_grad():
        distribution = agent.policy.distribution(batch)
        count = agent.action_space.n
        return distribution.score_each(torch.eye(count))


def test_values_depend_on_no_name(agent):
    seen = moments(world())
    names = numpy_seeded(4).permutation(seen["candidates"][..., 1:].max() + 1).astype(np.int16)
    renamed = {key: part.copy() for key, part in seen.items()}
    for key in ("propositions", "candidates"):
        renamed[key][..., 1:] = names[seen[key][..., 1:]]
    assert not np.array_equal(renamed["propositions"], seen["propositions"])
    torch.testing.assert_close(values(agent, renamed), values(agent, seen))


def test_values_depend_on_no_order(agent):
    seen = moments(world())
    rows = numpy_seeded(5).permutation(seen["mask"].shape[1])
    turned = numpy_seeded(6).permutation(agent.action_space.n)
    other = {
        "propositions": seen["propositions"][:, rows],
        "mask": seen["mask"][:, rows],
        "candidates": seen["candidates"][:, turned],
        "action_mask": seen["action_mask"][:, turned],
    }
    torch.testing.assert_close(values(agent, other), values(agent, seen)[:, turned])


def test_values_are_the_same_in_a_larger_world(agent):
    seen, larger = moments(world(4)), moments(world(9))
    other = thinking_agent(world(9), seed=SEED + 1, device="cpu")
    other.policy.load_state_dict(agent.policy.state_dict())  # no weight knows a size
    assert larger["candidates"].shape > seen["candidates"].shape
    padded = {
        key: np.pad(
            part, [(0, 0), (0, larger[key].shape[1] - part.shape[1]), *[(0, 0)] * (part.ndim - 2)]
        )
        for key, part in seen.items()
    }
    count = agent.action_space.n
    torch.testing.assert_close(values(other, padded)[:, :count], values(agent, seen))


def test_what_is_held_makes_a_difference(agent):
    seen = moments(world())
    fewer = seen | {"mask": seen["mask"] * (np.arange(seen["mask"].shape[1]) > 2)}
    assert not torch.allclose(values(agent, fewer), values(agent, seen))


def test_one_action_alone_has_the_value_it_has_among_all(agent):
    seen = moments(world())
    batch = {key: torch.as_tensor(part) for key, part in seen.items()}
    chosen = torch.as_tensor(seen["action_mask"].argmax(1) + 1)
    with torch.no_grad():
        alone = agent.policy.action_values(batch, chosen[:, None])
    torch.testing.assert_close(alone, values(agent, seen)[range(6), chosen])


def test_masks_are_obeyed(agent):
    seen = moments(world(), 40)
    for deterministic in (False, True):
        actions, _ = agent.predict(seen, deterministic=deterministic)
        assert seen["action_mask"][range(40), actions].all()
    forbidden = ~torch.as_tensor(seen["action_mask"], dtype=torch.bool)
    assert values(agent, seen)[forbidden].isneginf().all()


def test_the_value_is_the_log_sum_over_memories():
    torch.manual_seed(SEED)
    head = CandidateEnergy(memories=3).head(4, Categorical(5), init_scale=1.0)
    features = torch.randn(2, 5, 4)
    keys = features @ head.memories.weight.mT + head.memories.bias
    expected = 0.5 * ((keys / 0.5).exp().mean(-1)).log()
    found = head(features, temperature=0.5).score_each(torch.eye(5))
    torch.testing.assert_close(found, expected)


def test_sets_without_candidates_have_one_vector():
    env = TicTacToe()
    extractor = RelationalExtractor(env.observation_space, features_dim=8)
    rows = torch.tensor([[[0, 1, 0], [0, 2, 1], [2, 2, 1]], [[2, 2, 1], [0, 1, 0], [0, 2, 1]]])
    mask = torch.tensor([[1, 1, 0], [0, 1, 1]])
    one, same = extractor({"propositions": rows, "mask": mask})
    torch.testing.assert_close(one, same)


def test_returns_go_on_with_the_target_only_where_an_episode_does(agent):
    learner = thinking_agent(
        world(), seed=SEED, device="cpu", learning_starts=0, n_steps=2, buffer_size=200
    ).learn(60)
    batch = learner.replay_buffer.sample(40)
    discounts = batch.discounts.flatten() * (1 - batch.dones.flatten())
    assert 0 < (discounts > 0).sum() < 40
    state = learner.policy.generator.get_state()
    targets = ReturnBackup().target(learner.policy, batch, discounts)
    learner.policy.generator.set_state(state)
    on = discounts > 0
    assert torch.equal(targets[~on], batch.rewards.flatten()[~on])
    rows = {key: part[on] for key, part in batch.next_observations.items()}
    following = learner.policy.distribution(rows, batch.next_masks[on], target=True)
    after = following.score(following.sample(learner.policy.generator))
    torch.testing.assert_close(targets[on], batch.rewards.flatten()[on] + discounts[on] * after)


@pytest.mark.parametrize(("alpha", "floor"), [(0.9, -1.0), (0.5, -0.1)])
def test_the_bonus_of_returns_is_that_of_the_paper_among_what_is_allowed(alpha, floor):
    """R + α clip(T log π(a|s), l₀, 0), the policy's logarithm by a sum over allowed candidates."""
    learner = thinking_agent(world(), seed=SEED, device="cpu", learning_starts=0).learn(200)
    batch, policy = learner.replay_buffer.sample(50), learner.policy
    done = torch.zeros(50)
    with torch.no_grad():
        found = ReturnBackup(alpha, floor).target(policy, batch, done)
        every = torch.eye(policy.action_space.n)
        masks = batch.observations["action_mask"].bool()
        law = policy.distribution(batch.observations, target=True)
        scores = torch.stack([law.score(one.expand(50, -1)) for one in every], -1).double()
    t = policy.temperature
    logs = (scores / t).masked_fill(~masks, -torch.inf).log_softmax(-1)
    bonus = (t * logs.gather(-1, batch.actions.long()).squeeze(-1)).clamp(floor, 0)
    assert (bonus < 0).any()
    assert (bonus == floor).any() or floor == -1.0
    exact = batch.rewards.flatten() + alpha * bonus
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=5e-5)
    assert torch.equal(ReturnBackup().target(policy, batch, done), batch.rewards.flatten())


@pytest.mark.usefixtures("plain_annotations")
def test_what_has_no_candidates_is_refused():
    with pytest.raises(ParameterError, match="candidates for actions of"):
        CandidateEnergy().head(4, Spin(3), 1.0)
    with pytest.raises(ParameterError, match="memories"):
        CandidateEnergy(memories=0)
    head = CandidateEnergy().head(4, Categorical(5), 1.0)
    with pytest.raises(ShapeError, match="for 5 candidates"):
        head(torch.zeros(2, 4), 1.0)
    with pytest.raises(ParameterError, match="'propositions'"):
        RelationalExtractor(spaces.Box(0, 1, (3,)))
    with pytest.raises(ParameterError, match="for observations in Box"):
        thinking_agent("CartPole-v1", energy=MixtureEnergy())


@pytest.mark.slow
def test_an_agent_that_learned_on_three_facts_follows_twenty():
    from benchmarks.evidence.think_worlds import run

    record = run("thoughts", "chains", seed=SEED, episodes=20, steps=24_000)
    assert record["right"] == (1.0,) * 20
