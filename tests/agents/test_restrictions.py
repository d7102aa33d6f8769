"""Predicting with parts fixed, forbidden or constrained: exact conditionals, by enumeration."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from gymnasium import spaces

from isinglass.agents import Enumerated, MaskLayout, MixtureEnergy
from isinglass.errors import DomainError, ParameterError, ShapeError
from tests.agents.small import ENERGIES, SPACES, every_action, shaped_policy
from tests.distributions.test_conditional_rbm import distance
from tests.seeds import numpy_seeded

every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
SIGHT, DRAWS = np.array([0.5, -0.8], np.float32), 1_500


def random_mask(space, seed=0):
    """A flat mask, with something allowed in every part."""
    rng, masks = numpy_seeded(seed), []
    for n in MaskLayout.of(space).parts:
        mask = rng.random(n) < 0.5
        mask[[0, -1]] = mask[[0, -1]] | ~mask.any()
        masks.append(mask)
    masks[0][:] = True
    masks[-1][:] = np.arange(len(masks[-1])) == 1
    if len(masks) == 1:
        masks[0][0] = True
    return np.concatenate(masks)


def allowed_by(space, mask):
    """Which of all actions a flat mask allows."""
    layout = MaskLayout.of(space)
    values = every_action(space).reshape(layout.joint_size, -1) - np.reshape(
        getattr(space, "start", 0), (1, -1)
    )
    return mask[values + np.cumsum((0, *layout.parts[:-1]))].all(-1)


def distribution_of(policy, rows, dtype):
    """The network's distribution at the same sight, its head in this precision."""
    network, seen = policy.q_net, torch.tensor(SIGHT).expand(rows, -1)
    with torch.no_grad():
        features = network.trunk(seen).to(dtype)
        return deepcopy(network.head).to(dtype)(features, policy.temperature)


def exact_shares(policy, keep, row=0, rows=1):
    """π of all actions given those that are kept, and V, in float64, of one of equal rows.

    The trunk computes in float32, and not every row of a batch need be rounded alike.
    """
    scores = (
        Enumerated.of(distribution_of(policy, rows, torch.float64))
        .scores[row]
        .masked_fill(~torch.as_tensor(keep), -torch.inf)
    )
    value = policy.temperature * torch.logsumexp(scores / policy.temperature, 0)
    return (scores / policy.temperature).softmax(0), float(value)


def check_draws(policy, space, keep, **restrictions):
    """Draws have the exact conditional distribution; greedy and single actions keep to it too."""
    actions = torch.tensor(every_action(space).reshape(len(keep), -1))
    shares, _ = exact_shares(policy, keep)
    drawn, _ = policy.predict(np.tile(SIGHT, (DRAWS, 1)), **restrictions)
    drawn = torch.tensor(drawn.reshape(DRAWS, -1))
    index = (drawn.unsqueeze(1) == actions).all(-1).int().argmax(-1)
    assert keep[index.numpy()].all()
    found, noise = distance(drawn, actions, shares)
    assert found < noise
    for deterministic in (True, False):
        single, _ = policy.predict(SIGHT, deterministic=deterministic, **restrictions)
        assert space.contains(single)
        assert keep[(every_action(space) == single).reshape(len(keep), -1).all(-1)].all()


@pytest.fixture(params=["mixture", "restricted"])
def policy_for(request, monkeypatch):
    """Exact and by chains; 0.6 is not the temperature that chains have by default."""
    monkeypatch.setattr("isinglass.distributions.enumerated.FEW_STATES", 0)
    return lambda space: shaped_policy(space, ENERGIES[request.param], 0.6)


@every_space
def test_flat_masks(space, policy_for):
    mask = random_mask(space)
    check_draws(policy_for(space), space, allowed_by(space, mask), action_masks=mask)


@every_space
def test_joint_masks(space, policy_for):
    layout = MaskLayout.of(space)
    keep = numpy_seeded(2).random(layout.joint_size) < 0.5
    keep[1] = True
    check_draws(policy_for(space), space, keep, action_masks=keep.reshape(layout.parts))


@every_space
def test_fixed_parts(space, policy_for):
    values = np.array(every_action(space)[1], float)
    keep = np.arange(MaskLayout.of(space).joint_size) == 1
    if values.ndim:
        values[1:-1] = np.nan
        matches = every_action(space) == values
        keep = (matches | np.isnan(values)).all(-1)
        assert 0 < keep.sum() < len(keep)
    check_draws(policy_for(space), space, keep, fixed=values)
    nothing = np.full(space.shape, np.nan)
    check_draws(policy_for(space), space, np.ones_like(keep), fixed=nothing)


def test_everything_at_once(policy_for, monkeypatch):
    monkeypatch.setattr("isinglass.agents.actions.constraints.GREEDY_DRAWS", 5)
    space = SPACES["from 1 and -2"]
    mask = np.array([True, True, True, False, True])
    actions = every_action(space)
    keep = allowed_by(space, mask) & (actions.sum(-1) > -1)

    def positive(given):
        assert given.shape[1:] == (2,)
        return given.sum(-1) > -1

    check_draws(policy_for(space), space, keep, action_masks=mask, constraint=positive)
    fixed = np.array([2.0, np.nan])
    keep &= actions[:, 0] == 2
    check_draws(policy_for(space), space, keep, action_masks=mask, constraint=positive, fixed=fixed)


@pytest.mark.parametrize("deterministic", [True, False])
def test_a_constraint_is_exact_where_actions_are_few(deterministic):
    space = SPACES["parts"]
    policy = shaped_policy(space, MixtureEnergy(5))
    policy.temperature = 0.01  # the best action is all that is ever drawn
    free, _ = policy.predict(SIGHT, deterministic=True)
    mask = np.array([1, 1, 1, 1, 1, 0, 1], bool)  # the last part is 1

    def another(actions):
        return (actions != free).any(-1)

    actions = every_action(space)
    state = policy.obs_to_tensor(SIGHT)[0]
    with torch.no_grad():
        distribution = Enumerated.of(policy.distribution(state))
    scores = distribution.scores[0].numpy()
    keep = another(actions) & allowed_by(space, mask)
    best = actions[np.where(keep, scores, -np.inf).argmax()]
    found, _ = policy.predict(
        SIGHT, deterministic=deterministic, constraint=another, action_masks=mask
    )
    np.testing.assert_array_equal(found, best)
    only_forbidden = actions[~allowed_by(space, mask)][0]
    with pytest.raises(DomainError, match="no allowed action meets"):
        policy.predict(SIGHT, action_masks=mask, constraint=lambda a: (a == only_forbidden).all(-1))


def test_one_restriction_for_each():
    space = SPACES["parts"]
    policy = shaped_policy(space, MixtureEnergy(5))
    rng = numpy_seeded(0)
    masks = np.stack([random_mask(space, seed) for seed in range(40)])
    fixed = np.full((40, 3), np.nan)
    fixed[::2, 0] = rng.integers(0, 2, 20)
    seen = rng.normal(size=(40, 2)).astype(np.float32)
    for deterministic in (True, False):
        actions, _ = policy.predict(
            seen, deterministic=deterministic, action_masks=masks, fixed=fixed
        )
        values = actions + np.array([0, 2, 5])
        assert np.take_along_axis(masks, values, 1).all()
        assert (actions[::2, 0] == fixed[::2, 0]).all()


@every_space
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("temperature", [0.05, 1.0, 20.0])
def test_values_of_what_is_allowed_are_exact(space, dtype, temperature):
    """What a penalty takes away is gone, to the last digit that the numbers have."""
    policy = shaped_policy(space, MixtureEnergy(5, state_fields=True), temperature)
    masks = np.stack([random_mask(space, seed) for seed in range(6)])
    layout = MaskLayout.of(space)
    found = policy.code.forbid(distribution_of(policy, 6, dtype), torch.tensor(masks)).value()
    if dtype is torch.float32 and layout.flat_size != layout.joint_size:
        with torch.no_grad():
            seen = torch.tensor(SIGHT).expand(6, -1)
            same = policy.distribution(seen, torch.tensor(masks)).value()
        assert torch.equal(found, same)
    exact = [
        exact_shares(policy, allowed_by(space, mask), row, 6)[1] for row, mask in enumerate(masks)
    ]
    tight = 1e-9 if dtype is torch.float64 else 1e-5 * max(1.0, temperature)
    assert np.abs(found.double().numpy() - np.array(exact)).max() < tight


def test_greedy_under_a_constraint_is_the_best_that_may():
    """The rarest of the best has a share of 0.11: 100 draws miss it once in 100,000 runs."""
    space = SPACES["bits"]
    policy, actions = shaped_policy(space, MixtureEnergy(5), 0.6), every_action(space)
    keep = actions.sum(-1) == 2
    seen = torch.linspace(-1, 1, 60).reshape(30, 2)
    greedy, _ = policy.predict(
        seen.numpy(), deterministic=True, constraint=lambda given: given.sum(-1) == 2
    )
    with torch.no_grad():
        scores = Enumerated.of(policy.q_net(seen, 0.6)).scores
    best = scores.masked_fill(~torch.tensor(keep), -torch.inf).argmax(-1)
    np.testing.assert_array_equal(greedy, actions[best])


def test_boxes():
    space = spaces.Box(np.array([-2, 0], np.float32), np.array([2, 10], np.float32))
    policy = shaped_policy(space, MixtureEnergy(3))
    fixed = np.array([np.nan, 7.5])
    actions, _ = policy.predict(np.tile(SIGHT, (50, 1)), fixed=fixed)
    assert actions.dtype == np.float32
    assert np.abs(actions[:, 1] - 7.5).max() < 1e-5
    assert all(space.contains(action) for action in actions)
    assert len(np.unique(actions[:, 0])) > 10
    greedy, _ = policy.predict(SIGHT, deterministic=True, constraint=lambda given: given[:, 1] > 5)
    assert greedy[1] > 5
    with pytest.raises(DomainError, match="outside the box"):
        policy.predict(SIGHT, fixed=np.array([3.0, np.nan]))
    with pytest.raises(ParameterError, match="Box bounds its actions"):
        policy.predict(SIGHT, action_masks=np.ones(2, bool))


def test_bad_restrictions(monkeypatch):
    space = SPACES["parts"]
    policy, rows = shaped_policy(space, MixtureEnergy(5)), np.tile(SIGHT, (3, 1))
    free = np.full(3, np.nan)
    with pytest.raises(ShapeError, match=r"fixed of shape \(2,\) for 1 actions of shape \(3,\)"):
        policy.predict(SIGHT, fixed=free[:2])
    with pytest.raises(ShapeError, match=r"fixed of shape \(3, 1\)"):
        policy.predict(SIGHT, fixed=free[:, None])
    with pytest.raises(ShapeError, match=r"fixed of shape \(2, 3\) for 3 actions"):
        policy.predict(rows, fixed=np.full((2, 3), np.nan))
    with pytest.raises(DomainError, match="1 fixed values outside the action space, such as 3"):
        policy.predict(SIGHT, fixed=np.array([np.nan, 3, np.nan]))
    with pytest.raises(ShapeError, match="masks of shape"):
        policy.predict(SIGHT, action_masks=np.ones(5, bool))
    with pytest.raises(DomainError, match="forbid every action"):
        policy.predict(SIGHT, action_masks=np.array([1, 1, 0, 0, 0, 1, 1], bool))
    with pytest.raises(DomainError, match="no allowed action meets the constraint for 3 of 3"):
        policy.predict(rows, constraint=lambda actions: actions.sum(-1) > 99)
    monkeypatch.setattr("isinglass.distributions.enumerated.FEW_STATES", 0)
    monkeypatch.setattr("isinglass.agents.actions.constraints.MOST_DRAWS", 100)
    with pytest.raises(DomainError, match="no one of 100 draws meets the constraint for 1 of 1"):
        policy.predict(SIGHT, constraint=lambda actions: actions.sum(-1) > 99)
    with pytest.raises(ShapeError, match=r"constraint that gives \(\) for 3 actions"):
        policy.predict(rows, constraint=lambda actions: True)


def test_what_is_fixed_and_forbidden():
    mask = np.array([1, 1, 1, 0, 1, 1, 1], bool)
    policy = shaped_policy(SPACES["parts"], MixtureEnergy(5))
    fixed = np.array([np.nan, 1, np.nan])
    with pytest.raises(DomainError, match="1 values that are fixed and that the mask forbids"):
        policy.predict(SIGHT, action_masks=mask, fixed=fixed)
    joint = np.ones((2, 3, 2), bool)
    joint[:, 1] = False
    with pytest.raises(DomainError, match="no allowed action that agrees"):
        policy.predict(SIGHT, action_masks=joint, fixed=fixed)
    bits = shaped_policy(spaces.MultiBinary(3), MixtureEnergy(5))
    with pytest.raises(DomainError, match="1 values that are fixed and that the mask forbids"):
        bits.predict(SIGHT, action_masks=np.array([1, 0, 1, 1, 1, 1], bool), fixed=np.ones(3))
    late = shaped_policy(SPACES["from 1 and -2"], MixtureEnergy(5))
    mask = np.array([True, True, False, True, True])
    with pytest.raises(DomainError, match="1 values that are fixed"):
        late.predict(SIGHT, action_masks=mask, fixed=np.array([1.0, -2.0]))
    assert late.predict(SIGHT, action_masks=mask, fixed=np.array([1.0, -1.0]))[0].tolist() == [
        1,
        -1,
    ]


@pytest.mark.parametrize("energy", ["mixture", "restricted", "deep"])
@pytest.mark.parametrize("name", ["bits", "parts", "from 1 and -2"])
def test_masks_and_constraints_where_actions_are_listed(name, energy):
    space = SPACES[name]
    mask, actions = random_mask(space), every_action(space)
    best = actions[allowed_by(space, mask)][0]

    def another(given):
        return (given != best).any(-1)

    keep = allowed_by(space, mask) & another(actions)
    policy = shaped_policy(space, ENERGIES[energy], 0.6)
    check_draws(policy, space, keep, action_masks=mask, constraint=another)
