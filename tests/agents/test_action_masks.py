"""Masks: from the infos of environments to arrays, and uniform draws among what they allow."""

import itertools
import math

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from isinglass.agents import FreeEnergyQ
from isinglass.agents.actions.action_masks import MaskLayout
from isinglass.agents.mask_reader import acting_infos
from isinglass.errors import DomainError, ParameterError, ShapeError
from tests.agents.small import ENERGIES, QUICK, Guarded, shaped_policy
from tests.seeds import SEED, numpy_seeded

SPACES = {
    "discrete": spaces.Discrete(4, start=3),
    "parts": spaces.MultiDiscrete([2, 3, 4], start=[0, 5, -1]),
    "square": spaces.MultiDiscrete([[2, 2], [1, 3]]),
    "twins": spaces.MultiDiscrete([2, 2]),
    "one way": spaces.MultiDiscrete([1, 3]),  # a flat mask is the wider one
    "bits": spaces.MultiBinary(3),
    "picture": spaces.MultiBinary((2, 2)),
}
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)


def actions_of(layout, mask):
    """Plain reference: the actions that a row of values allows, each a tuple of part values."""
    every = list(itertools.product(*map(range, layout.parts)))
    if layout.is_joint(mask):
        return {action for action, allowed in zip(every, mask, strict=True) if allowed}
    starts = [sum(layout.parts[:i]) for i in range(len(layout.parts))]
    return {a for a in every if all(mask[s + v] for s, v in zip(starts, a, strict=True))}


def random_masks(layout, rows, joint, seed=0):
    """Masks that allow something in every part."""
    rng = numpy_seeded(seed)
    sizes = (layout.joint_size,) if joint else layout.parts
    pieces = [rng.random((rows, size)) < 0.5 for size in sizes]
    for piece in pieces:
        piece[np.arange(rows), rng.integers(piece.shape[1], size=rows)] = True
    return np.concatenate(pieces, axis=1)


def infos_of(masks):
    return [{"action_mask": mask} for mask in masks]


@pytest.mark.parametrize(
    ("name", "parts"),
    [("discrete", (4,)), ("parts", (2, 3, 4)), ("square", (2, 2, 1, 3)), ("bits", (2, 2, 2))],
)
def test_layouts(name, parts):
    layout = MaskLayout.of(SPACES[name])
    assert layout.parts == parts
    assert (layout.flat_size, layout.joint_size) == (sum(parts), math.prod(parts))


def test_no_mask_at_all():
    assert MaskLayout.of(SPACES["bits"]).read([{}, {"other": 1}]) is None
    assert MaskLayout.of(spaces.Box(-1, 1, (2,))).read([{}]) is None


def test_an_info_without_a_mask_allows_everything():
    masks = MaskLayout.of(SPACES["bits"]).read([{}, {"action_mask": np.eye(6)[5] < 1}])
    assert masks.tolist() == [[True] * 6, [True] * 5 + [False]]


@every_space
def test_flat_and_joint_masks_are_told_apart(space):
    layout = MaskLayout.of(space)
    flat = random_masks(layout, 20, joint=False)
    joint = random_masks(layout, 20, joint=True)
    read = layout.read(infos_of(flat))
    for given, got in zip(flat, read, strict=True):
        starts = np.cumsum((0, *layout.parts[:-1]))
        product = {
            action
            for action in itertools.product(*map(range, layout.parts))
            if all(given[s + v] for s, v in zip(starts, action, strict=True))
        }
        assert actions_of(layout, got) == product
    shaped = joint.reshape(20, *layout.parts)
    np.testing.assert_array_equal(layout.read(infos_of(shaped)), joint)


@every_space
def test_joint_masks_of_flat_ones(space):
    layout = MaskLayout.of(space)
    flat = random_masks(layout, 8, joint=False)
    joint = layout.joint(flat)
    assert joint.shape == (8, layout.joint_size)
    for some, same in zip(layout.read(infos_of(flat)), joint, strict=True):
        assert actions_of(layout, some) == actions_of(layout, same)


def test_nothing_is_chosen_where_an_episode_is_over():
    layout = MaskLayout.of(SPACES["discrete"])
    infos = infos_of([[False] * 4, [True, False, False, False]])
    masks = layout.read(infos, np.array([True, False]))
    assert masks.tolist() == [[True] * 4, [True, False, False, False]]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.float32, np.float64])
def test_zeros_and_ones_are_taken_for_bools(dtype):
    masks = MaskLayout.of(SPACES["discrete"]).read(infos_of([np.array([0, 1, 1, 0], dtype)]))
    assert masks.dtype == bool
    assert masks.tolist() == [[False, True, True, False]]


@pytest.mark.parametrize("joint", [False, True])
def test_one_mask_for_all_or_one_for_each(joint):
    layout = MaskLayout.of(SPACES["parts"])
    masks = random_masks(layout, 3, joint)
    shape = layout.parts if joint else (layout.flat_size,)
    np.testing.assert_array_equal(layout.rows(masks.reshape(3, *shape), 3), masks)
    np.testing.assert_array_equal(layout.rows(masks[0].reshape(shape), 3), masks[[0, 0, 0]])


@every_space
def test_joint_masks_may_come_flat(space):
    layout = MaskLayout.of(space)
    masks = random_masks(layout, 3, joint=True)
    if layout.joint_size == layout.flat_size:  # what is as wide as a flat mask is one
        return
    for given in (masks, masks.reshape(3, *layout.parts)):
        np.testing.assert_array_equal(layout.rows(given, 3), masks)
        np.testing.assert_array_equal(layout.rows(given[1], 2), masks[[1, 1]])
        np.testing.assert_array_equal(layout.read(infos_of(given)), masks)


@pytest.mark.parametrize("parts", [(2, 2), (1, 2, 3), (4,)])
def test_what_is_as_wide_as_a_flat_mask_is_one(parts):
    layout = MaskLayout.of(spaces.MultiDiscrete(parts))
    assert layout.flat_size == layout.joint_size
    flat = random_masks(layout, 3, joint=False)
    joint = layout.joint(flat)
    for given in (flat, joint.reshape(3, *parts)):
        np.testing.assert_array_equal(layout.rows(given, 3), joint)
        np.testing.assert_array_equal(layout.rows(given[2], 1), joint[[2]])
        np.testing.assert_array_equal(layout.read(infos_of(given)), joint)


@every_space
@pytest.mark.parametrize("joint", [False, True])
def test_draws_are_uniform_among_the_allowed(space, joint):
    layout, draws = MaskLayout.of(space), 4_000
    rng = numpy_seeded(1)
    for mask in layout.read(
        infos_of(random_masks(layout, 3, joint).reshape(3, *(layout.parts if joint else (-1,))))
    ):
        actions = layout.draw_allowed(np.tile(mask, (draws, 1)), rng)
        assert actions.dtype == space.dtype
        assert all(space.contains(action) for action in actions)
        values = (actions - getattr(space, "start", 0)).reshape(draws, -1)
        found, counts = np.unique(values, axis=0, return_counts=True)
        allowed = actions_of(layout, mask)
        assert {tuple(value) for value in found.tolist()} == allowed
        p = 1 / len(allowed)
        assert np.abs(counts - draws * p).max() <= 5 * math.sqrt(draws * p * (1 - p))


def test_each_row_is_drawn_by_its_own_mask():
    layout = MaskLayout.of(SPACES["parts"])
    masks = random_masks(layout, 200, joint=False)
    actions = layout.draw_allowed(masks, numpy_seeded(0)) - SPACES["parts"].start
    for mask, action in zip(masks, actions, strict=True):
        assert tuple(action) in actions_of(layout, mask)


@pytest.mark.parametrize(
    ("name", "mask"),
    [("bits", [True] * 5), ("bits", [[True] * 6]), ("parts", np.ones((2, 4, 3), bool))],
)
def test_masks_of_another_shape(name, mask):
    with pytest.raises(ShapeError, match="masks of shape"):
        MaskLayout.of(SPACES[name]).read(infos_of([mask]))
    with pytest.raises(ShapeError, match="masks of shape"):
        MaskLayout.of(SPACES[name]).rows(mask, 3)


@pytest.mark.parametrize(
    "mask", [[0.0, 1.0, 0.5, 1.0], [0, 1, 2, 1], [0.0, 1.0, np.nan, 1.0], ["a", "b", "c", "d"]]
)
def test_masks_that_are_no_truth_values(mask):
    with pytest.raises(DomainError, match="not all 0 or 1"):
        MaskLayout.of(SPACES["discrete"]).read(infos_of([mask]))


def test_masks_that_forbid_every_action():
    layout = MaskLayout.of(SPACES["parts"])
    flat = np.array([1, 1, 0, 0, 0, 1, 1, 1, 1], bool)
    with pytest.raises(DomainError, match=r"forbid every action: in row 1, all .* of part 1"):
        layout.read([{}, {"action_mask": flat}])
    with pytest.raises(DomainError, match="forbid every action, in row 0"):
        layout.rows(np.zeros(layout.parts, bool), 2)


def test_flat_and_joint_masks_side_by_side():
    layout = MaskLayout.of(SPACES["parts"])
    with pytest.raises(ShapeError, match="masks of 9 and of 24 values"):
        layout.read(infos_of([np.ones(9, bool), np.ones((2, 3, 4), bool)]))


def test_spaces_without_masks():
    with pytest.raises(ParameterError, match="Box bounds"):
        MaskLayout.of(spaces.Box(-1, 1, (2,))).read(infos_of([[True, True]]))
    with pytest.raises(ParameterError, match="the action space Text"):
        MaskLayout.of(spaces.Tuple([spaces.Text(2)]))


class Doors(gym.Env):
    """Three doors, one of them open at a time; every third step ends the episode."""

    observation_space = spaces.Box(0, 9, (1,))
    action_space = spaces.Discrete(3)
    time = 0

    def seen(self):
        return np.array([self.time], np.float32), {"action_mask": np.arange(3) == self.time % 3}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self.seen()

    def step(self, action):
        assert action == self.time % 3
        self.time += 1
        seen, info = self.seen()
        return seen, 0.0, self.time == 4, False, info


@pytest.mark.parametrize("wrap", [lambda env: env, VecNormalize], ids=["plain", "normalized"])
def test_the_mask_to_act_by_is_that_of_the_state_to_act_in(wrap):
    env = wrap(DummyVecEnv([Doors, Doors]))
    layout = MaskLayout.of(env.action_space)
    env.reset()
    masks = layout.read(acting_infos(env))
    for _ in range(10):
        actions = layout.draw_allowed(masks, numpy_seeded(0))
        _, _, dones, infos = env.step(actions)  # a door that is closed would not go unnoticed
        masks = layout.read(acting_infos(env, infos, dones))


@pytest.mark.parametrize("envs", [1, 3])
def test_an_agent_obeys_masks_before_it_learns_and_when_it_goes_on(envs):
    settings = QUICK | {"train_freq": 1}
    agent = FreeEnergyQ("MlpPolicy", DummyVecEnv([Doors] * envs), seed=SEED, **settings)
    agent.learn(30 * envs)
    agent.learn(30 * envs, reset_num_timesteps=False)  # in the middle of an episode
    agent.learn(30 * envs)
    batch = agent.replay_buffer.sample(64)
    assert torch.equal(batch.next_masks.sum(-1) == 1, batch.dones.flatten() == 0)


class Few(gym.Env):
    """As many actions as values of parts; what the masks forbid is refused."""

    def __init__(self, space, mask):
        self.observation_space, self.action_space = spaces.Box(-1, 1, (2,), np.float32), space
        self.mask, self.taken = np.array(mask, bool), []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {"action_mask": self.mask}

    def step(self, action):
        self.taken.append(tuple(np.asarray(action).tolist()))
        return np.zeros(2, np.float32), 0.0, False, False, {"action_mask": self.mask}


@pytest.mark.parametrize(
    ("space", "mask", "allowed"),
    [
        (spaces.MultiBinary(2), np.eye(2), {(0, 0), (1, 1)}),
        (spaces.MultiDiscrete([2, 2]), [[1, 1], [1, 0]], {(0, 0), (0, 1), (1, 0)}),
        (spaces.MultiBinary(2), [1, 0, 1, 1], {(0, 0), (0, 1)}),
        (spaces.MultiDiscrete([1, 2, 3]), [1, 1, 0, 1, 1, 1], {(0, 0, k) for k in range(3)}),
    ],
    ids=["joint bits", "joint parts", "flat bits", "flat parts"],
)
def test_an_agent_obeys_masks_where_flat_and_joint_ones_are_as_wide(space, mask, allowed):
    env = Few(space, mask)
    settings = QUICK | {"initial_temperature": 50.0, "final_temperature": 50.0}
    FreeEnergyQ("MlpPolicy", env, seed=SEED, **settings).learn(120)
    drawn = env.taken[-80:]  # at a temperature where each is as likely
    assert set(env.taken) == allowed == set(drawn)


@pytest.mark.parametrize("name", ENERGIES)
@pytest.mark.parametrize("kind", ["flat", "joint", "bits", "single"])
def test_no_forbidden_action_is_taken_at_any_temperature(name, kind):
    """Rewards, and with them temperatures, of a million: −∞ is below all of them."""
    rows, rng = 300, numpy_seeded(0)
    space = {
        "flat": spaces.MultiDiscrete([4] * 5),
        "joint": spaces.MultiDiscrete([4, 5]),
        "bits": spaces.MultiBinary(9),
        "single": spaces.Discrete(300),
    }[kind]
    layout, policy = MaskLayout.of(space), shaped_policy(space, ENERGIES[name], 1e6)
    with torch.no_grad():
        policy.q_net.head.log_scale.fill_(np.log(1e6))
    width = layout.joint_size if kind == "joint" else layout.flat_size
    masks = rng.random((rows, width)) < 0.4
    masks[:, ::4] = True
    if kind == "bits":
        masks[:, ::2] |= ~masks[:, 1::2]
    given = layout.by_parts(masks)
    seen = rng.standard_normal((rows, 2)).astype(np.float32)
    for deterministic in (False, True):
        actions, _ = policy.predict(seen, deterministic=deterministic, action_masks=given)
        if kind == "joint":
            flags = np.ravel_multi_index(tuple(actions.T), layout.parts)[:, None]
        else:
            flags = actions.reshape(rows, -1) + np.cumsum((0, *layout.parts[:-1]))
        assert np.take_along_axis(masks, flags.astype(np.int64), -1).all()


@pytest.mark.parametrize("name", ["mixture", "groups", "pairs"])
def test_learning_with_masks_and_rewards_of_a_million(name):
    """An error where a mask is not obeyed, and NaN nowhere."""

    class Rich(Guarded):
        def step(self, action):
            seen, reward, *rest = super().step(action)
            return seen, 1e6 * reward, *rest

    agent = FreeEnergyQ(
        "MlpPolicy",
        Rich(spaces.MultiDiscrete([4] * 5)),
        ENERGIES[name],
        seed=SEED,
        initial_temperature=1e6,
        **QUICK,
    ).learn(80)
    assert all(weight.isfinite().all() for weight in agent.policy.weights)
