"""Replay, held against a plain reading of the recorded steps."""

import io
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from gymnasium import spaces
from jaxtyping import config
from stable_baselines3.common.buffers import NStepReplayBuffer
from stable_baselines3.common.save_util import load_from_pkl, save_to_pkl
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from isinglass.agents import FreeEnergyQ
from isinglass.agents.replay.replay_buffer import MaskedDictReplayBuffer, MaskedReplayBuffer
from isinglass.envs import LargeAction
from isinglass.errors import DomainError, ParameterError, ShapeError
from tests.agents.small import QUICK, SMALL, Speeds
from tests.seeds import SEED, numpy_seeded, shifted

ENVS, GAMMA = 3, 0.9
ACTIONS = spaces.MultiDiscrete([2, 3])
SEEN = spaces.Box(-np.inf, np.inf, (1,), np.float64)
KINDS = {False: MaskedReplayBuffer, True: MaskedDictReplayBuffer}


def empty(size=40, envs=ENVS, named=False, **kwargs):
    space = spaces.Dict({"at": SEEN}) if named else SEEN
    return KINDS[named](size * envs, space, ACTIONS, device="cpu", n_envs=envs, **kwargs)


def recorded(steps, envs=ENVS, seed=0, masked=True, resets=True):
    """Steps of episodes of random length: for each, a list over environments of dictionaries."""
    rng, steps_of, over, state = numpy_seeded(seed), [], [False] * envs, 0
    last = list(range(1000, 1000 + envs))
    for time in range(steps):
        row = []
        for env in range(envs):
            state += 1
            end = rng.choice(["no", "terminated", "truncated"], p=[0.7, 0.15, 0.15])
            end = "no" if time == steps - 1 else end  # the newest could go on
            fresh = resets and over[env]
            step = {
                "s": last[env],
                "a": [rng.integers(2), rng.integers(3)],
                "r": 0.0 if fresh else float(rng.normal()),
                "next": state,
                "terminated": end == "terminated" and not fresh,
                "truncated": end == "truncated" and not fresh,
                "fresh": fresh,
                "mask": rng.random(5) < 0.5 if masked and rng.random() < 0.8 else None,
            }
            if step["mask"] is not None:
                step["mask"][[0, 4]] = True
            over[env] = step["terminated"] or step["truncated"]
            # with resets the next step starts where this one ended, as NEXT_STEP does
            last[env] = state if resets or not over[env] else -state
            row.append(step)
        steps_of.append(row)
    return steps_of


def fill(buffer, record, named=False):
    for row in record:

        def seen(key, row=row):
            values = np.array([[step[key]] for step in row], float)
            return {"at": values} if named else values

        infos = [
            {"TimeLimit.truncated": step["truncated"]}
            | ({"reset_transition": True} if step["fresh"] else {})
            | ({} if step["mask"] is None else {"action_mask": step["mask"]})
            for step in row
        ]
        dones = np.array([step["terminated"] or step["truncated"] for step in row])
        rewards = np.array([step["r"] for step in row])
        actions = np.array([step["a"] for step in row])
        buffer.add(seen("s"), seen("next"), actions, rewards, dones, infos)
    return buffer


def expected(kept, env, start, n_steps):
    """Plain reference: follow one environment step by step until there is a reason to stop."""
    total, discount, steps = 0.0, 1.0, [row[env] for row in kept[start:]]
    for k, step in enumerate(steps):
        total += discount * step["r"]
        discount *= GAMMA
        ends = step["terminated"] or step["truncated"] or k + 1 == n_steps
        if ends or k + 1 == len(steps) or steps[k + 1]["fresh"]:
            free = step["mask"] is None or step["terminated"]
            mask = [True] * 5 if free else step["mask"].tolist()
            return total, discount, step["next"], step["terminated"], mask
    raise AssertionError


@pytest.mark.parametrize("named", [False, True], ids=["array", "dictionary"])
@pytest.mark.parametrize("n_steps", [1, 2, 5])
@pytest.mark.parametrize("steps", [25, 107], ids=["filling", "wrapped"])
def test_samples_are_those_of_the_plain_formula(named, n_steps, steps):
    record = recorded(steps)
    buffer = fill(empty(named=named, n_steps=n_steps, gamma=GAMMA), record, named)
    kept = record[-40:]
    where = {row[env]["s"]: (t, env) for t, row in enumerate(kept) for env in range(ENVS)}
    batch = buffer.sample(3_000)
    seen = batch.observations["at"] if named else batch.observations
    ahead = batch.next_observations["at"] if named else batch.next_observations
    found = set()
    for i, state in enumerate(seen.flatten().tolist()):
        t, env = where[state]
        found.add((t, env))
        assert not kept[t][env]["fresh"]
        assert batch.actions[i].tolist() == kept[t][env]["a"]
        total, discount, after, terminated, mask = expected(kept, env, t, n_steps)
        assert batch.rewards[i].item() == pytest.approx(total, abs=1e-5)
        assert batch.dones[i].item() == terminated
        assert ahead[i].item() == after
        assert batch.next_masks[i].tolist() == mask
        if n_steps > 1:
            assert batch.discounts[i].item() == pytest.approx(discount, abs=1e-6)
    valid = {(t, env) for t, row in enumerate(kept) for env in range(ENVS) if not row[env]["fresh"]}
    assert found == valid
    assert (batch.discounts is None) == (n_steps == 1)


def test_draws_are_uniform_among_the_transitions():
    record, draws = recorded(40), 20_000
    batch = fill(empty(), record).sample(draws)
    states = [step["s"] for row in record for step in row if not step["fresh"]]
    counts = np.array([int((batch.observations == state).sum()) for state in states])
    p = 1 / len(states)
    assert counts.sum() == draws
    assert np.abs(counts - draws * p).max() <= 5 * math.sqrt(draws * p * (1 - p))


@pytest.mark.parametrize("n_steps", [2, 4])
@pytest.mark.parametrize("steps", [25, 53])
def test_returns_are_those_of_sb3_where_it_has_them(n_steps, steps):
    record = recorded(steps, envs=1, masked=False, resets=False)
    own = fill(empty(envs=1, n_steps=n_steps, gamma=GAMMA), record)
    given = {"n_steps": n_steps, "gamma": GAMMA, "device": "cpu"}
    theirs = fill(NStepReplayBuffer(40, SEEN, ACTIONS, **given), record)
    at = np.arange(theirs.size())
    batch = own._gather(at, np.zeros_like(at), n_steps, None)
    for name, value in theirs._get_samples(at)._asdict().items():
        torch.testing.assert_close(getattr(batch, name), value, msg=name)
    assert batch.next_masks is None


def one_step(buffer, done=False, **info):
    buffer.add(
        np.ones((1, 1)),
        np.full((1, 1), 2.0),
        np.zeros((1, 2)),
        np.ones(1),
        np.array([done]),
        [info],
    )


@pytest.mark.parametrize("n_steps", [1, 3])
def test_what_terminated_is_not_bootstrapped_through(n_steps):
    buffer = empty(envs=1, n_steps=n_steps)
    one_step(buffer, done=True)
    assert buffer.sample(5).dones.tolist() == [[1.0]] * 5


@pytest.mark.parametrize("n_steps", [1, 3])
def test_what_is_cut_short_is_bootstrapped_through(n_steps):
    buffer = empty(envs=1, n_steps=n_steps)
    one_step(buffer, done=True, **{"TimeLimit.truncated": True})
    one_step(buffer)
    batch = buffer.sample(64)
    assert not batch.dones.any()
    assert (batch.rewards == 1).all()  # nor does a return go over into the next episode
    assert (batch.next_observations == 2).all()


def test_a_return_stops_before_a_reset_that_nothing_announced():
    buffer = empty(envs=1, n_steps=3, gamma=0.5)
    one_step(buffer)
    one_step(buffer, reset_transition=True)
    one_step(buffer)
    assert (buffer.sample(100).rewards == 1).all()


def test_a_return_stops_where_the_environment_was_reset_by_hand():
    buffer = empty(envs=1, n_steps=3, gamma=0.5)
    one_step(buffer)
    assert buffer.sample(1).rewards.item() == 1.0
    one_step(buffer)
    buffer.cut()
    one_step(buffer)
    assert set(buffer.sample(100).rewards.flatten().tolist()) == {1.0, 1.5}
    assert not buffer.sample(100).dones.any()


def test_a_cut_leaves_what_terminated_as_it_is():
    buffer = empty(envs=1)
    buffer.cut()
    one_step(buffer, done=True)
    buffer.cut()
    assert buffer.sample(1).dones.item() == 1.0


def test_masks_take_room_only_where_there_are_any():
    buffer = fill(empty(), recorded(5, masked=False))
    assert buffer._masks is None
    assert buffer.sample(4).next_masks is None
    fill(buffer, recorded(5, seed=1))
    assert buffer._masks.nbytes == buffer.buffer_size * ENVS  # 5 values in a byte
    before = buffer._gather(np.arange(5), np.zeros(5, int), 1, None)
    assert before.next_masks.all()  # what was stored earlier was allowed everything


def test_a_mask_does_not_outlive_its_transition():
    buffer = empty(size=2, envs=1)
    for mask in ([True, False, True, True, True], None, None):
        one_step(buffer, **({} if mask is None else {"action_mask": mask}))
    assert buffer.sample(20).next_masks.all()


def test_joint_masks():
    buffer, mask = empty(envs=1), np.eye(3, dtype=bool)[:2]
    one_step(buffer, action_mask=mask)
    assert buffer.sample(1).next_masks.tolist() == [mask.flatten().tolist()]
    with pytest.raises(ShapeError, match="masks of 5 values after masks of 6"):
        one_step(buffer, action_mask=np.ones(5, bool))
    assert buffer.size() == 1


def test_a_terminal_state_may_forbid_everything():
    buffer = empty(envs=1)
    nothing = {"action_mask": np.zeros(5, bool)}
    one_step(buffer, done=True, **nothing)
    assert buffer.sample(1).next_masks.all()
    with pytest.raises(DomainError, match="forbid every action"):
        one_step(buffer, done=True, **nothing, **{"TimeLimit.truncated": True})
    assert buffer.size() == 1


def test_the_newest_steps():
    record = recorded(47)
    buffer = fill(empty(n_steps=3), record)
    for back in (0, 1, 9):
        newest, row = buffer.last(back), record[-1 - back]
        assert newest.observations.flatten().tolist() == [step["s"] for step in row]
        assert newest.next_observations.flatten().tolist() == [step["next"] for step in row]
        assert newest.valid.tolist() == [not step["fresh"] for step in row]
        assert newest.dones.flatten().tolist() == [step["terminated"] for step in row]
        torch.testing.assert_close(
            newest.rewards.flatten(), torch.tensor([step["r"] for step in row])
        )


def test_pairs_for_sarsa_are_every_transition_once_with_the_action_that_followed():
    record, buffer = recorded(60), empty(size=5)
    fill(buffer, record[:1])
    for before, now in pairwise(record):
        fill(buffer, [now])
        batch, actions = buffer.last_pair()
        assert batch.observations.flatten().tolist() == [step["s"] for step in before]
        assert actions.tolist() == [step["a"] for step in now]
        assert batch.valid.tolist() == [not (s["fresh"] or s["truncated"]) for s in before]


def test_each_observation_stored_once():
    record = recorded(107, masked=False)
    given = {"optimize_memory_usage": True, "handle_timeout_termination": False}
    buffer = fill(empty(n_steps=2, gamma=GAMMA, **given), record)
    follows = {step["s"]: step for row in record[-39:] for step in row}
    batch = buffer.sample(2_000)
    states = batch.observations.flatten().tolist()
    assert set(states) == {state for state, step in follows.items() if not step["fresh"]}
    for i, state in enumerate(states):
        step = follows[state]
        done = step["terminated"] or step["truncated"]
        newest = step in record[-1]
        if done or newest:
            assert batch.next_observations[i].item() == step["next"]
            assert batch.rewards[i].item() == pytest.approx(step["r"], abs=1e-6)


def test_forgetting():
    buffer = fill(empty(), recorded(10))
    buffer.reset()
    with pytest.raises(ParameterError, match="no transition stored"):
        buffer.sample(1)
    with pytest.raises(ParameterError, match="0 steps stored, asked for the one 0 before"):
        buffer.last()


def test_saved_and_loaded_it_goes_on_alike():
    buffer, file = fill(empty(n_steps=2), recorded(50)), io.BytesIO()
    buffer.sample(7)
    save_to_pkl(file, buffer)
    file.seek(0)
    loaded = load_from_pkl(file)
    for own, theirs in zip(buffer.sample(9), loaded.sample(9), strict=True):
        torch.testing.assert_close(own, theirs)


def test_the_stream_is_seeded():
    first, second = (fill(empty(), recorded(30)) for _ in range(2))
    first.seed(shifted(5))
    second.seed(shifted(5))
    assert torch.equal(first.sample(20).observations, second.sample(20).observations)
    assert not torch.equal(first.sample(20).observations, first.sample(20).observations)


class Named(Speeds):
    """:class:`Speeds` in a dictionary."""

    observation_space = spaces.Dict({"at": Speeds.observation_space})

    def seen(self, where):
        return {"at": super().seen(where)}


@pytest.mark.parametrize("named", [False, True], ids=["array", "dictionary"])
@pytest.mark.parametrize("n_steps", [1, 2])
def test_normalized_observations_and_rewards(named, n_steps):
    env = VecNormalize(DummyVecEnv([Named if named else Speeds]), gamma=GAMMA)
    env.reset()
    for _ in range(20):
        env.step(np.zeros((1, 2), int))
    buffer = KINDS[named](9, env.observation_space, env.action_space, n_steps=n_steps, gamma=GAMMA)
    seen, later = (np.array([[50.0, x, 70]]) for x in (61, 64))
    given = [{"at": part} if named else part for part in (seen, later)]
    for _ in range(2):
        buffer.add(*given, np.zeros((1, 2)), np.array([100.0]), np.array([False]), [{}])
    batch = buffer._gather(np.array([0]), np.array([0]), n_steps, env)
    for found, part in zip((batch.observations, batch.next_observations), given, strict=True):
        normalized = env.normalize_obs(part)
        if named:
            found, normalized = found["at"], normalized["at"]
        np.testing.assert_allclose(found, normalized, rtol=1e-5)
    one = env.normalize_reward(np.array([100.0]))
    total = one + GAMMA * one if n_steps == 2 else one
    np.testing.assert_allclose(batch.rewards[0], total, rtol=1e-5)


def test_the_stream_is_seeded_from_torch_s():
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(shifted(seed))
        drawn.append(fill(empty(), recorded(30)).sample(20).observations)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize(("name", "value"), [("n_steps", 0), ("gamma", 1.5)])
def test_arguments_out_of_range(name, value):
    with pytest.raises(ParameterError, match=name):
        empty(**{name: value})


def test_an_agent_saves_it_and_learns_from_it():
    agent = FreeEnergyQ(
        "MlpPolicy",
        LargeAction(**SMALL),
        replay_buffer_class=MaskedReplayBuffer,
        seed=SEED,
        **QUICK,
    )
    agent.learn(40)
    file = io.BytesIO()
    agent.save_replay_buffer(file)
    file.seek(0)
    agent.load_replay_buffer(file)
    assert agent.replay_buffer.size() == 40
    agent.learn(40, reset_num_timesteps=False)
    assert agent.replay_buffer.size() == 80


@pytest.mark.parametrize("named", [False, True])
def test_an_augmentation_sees_every_batch_and_draws_from_the_stream(named):
    def negative(batch, generator):
        sign = torch.as_tensor(generator.choice([-1.0, 1.0], size=(len(batch.rewards), 1)))
        return batch._replace(rewards=batch.rewards * sign)

    plain, changed = empty(named=named), empty(named=named, augment=negative)
    for buffer in (plain, changed):
        fill(buffer, recorded(20), named)
        buffer.seed(shifted(3))
    before, after = plain.sample(2_000), changed.sample(2_000)
    torch.testing.assert_close(after.rewards.abs(), before.rewards.abs().double())
    kept = (after.rewards == before.rewards).double().mean()
    assert abs(kept - 0.5) < 5 * 0.5 / 2_000**0.5
    changed.seed(shifted(3))
    assert torch.equal(changed.sample(2_000).rewards, after.rewards)


@pytest.mark.parametrize(
    ("augment", "error", "message"),
    [
        (lambda batch, _: None, ParameterError, "an augmentation that gives NoneType"),
        (lambda batch, _: tuple(batch), ParameterError, "an augmentation that gives tuple"),
        (lambda b, _: b._replace(actions=b.actions[:3]), ShapeError, "actions of shape"),
        (lambda b, _: b._replace(next_masks=None), ShapeError, "next_masks of shape None"),
        (lambda b, _: b._replace(observations={}), ShapeError, "observations of shape {}"),
    ],
)
def test_an_augmentation_that_gives_something_else_is_refused(augment, error, message):
    buffer = empty(named=True, augment=augment)
    fill(buffer, recorded(10), True)
    with pytest.raises(error, match=message):
        buffer.sample(5)


@pytest.fixture
def unchecked():
    """Types as a user has them: not checked at run time."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("unchecked")
def test_an_augmentation_that_cannot_be_called_is_refused():
    with pytest.raises(ParameterError, match="augment = 'random_dihedral_augmentation'"):
        empty(augment="random_dihedral_augmentation")
    with pytest.raises(ParameterError, match="replay_buffer_kwargs = 3"):
        FreeEnergyQ("MlpPolicy", LargeAction(**SMALL), replay_buffer_kwargs=3, device="cpu")
