"""What is recalled of an episode: in replay as while acting, by content, never by order."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.torch_layers import NatureCNN
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from isinglass.agents import (
    EpisodeReplayBuffer,
    EpisodicMemory,
    FreeEnergyQ,
    FreeEnergySarsa,
    ImaginedReplayBuffer,
    RetraceBackup,
)
from isinglass.agents.extractors.episode_past import take_past
from isinglass.agents.replay.replay_buffer import MaskedReplayBuffer
from isinglass.envs import TMaze
from isinglass.errors import ParameterError, ShapeError
from tests.agents.small import QUICK, Guarded
from tests.seeds import SEED, numpy_seeded, seeded, shifted

LENGTH = 4
RECALLS = {"features_extractor_class": EpisodicMemory}
SHORT = RECALLS | {"features_extractor_kwargs": {"length": LENGTH, "recall_dim": 8}}


class Walk(gym.Env):
    """A random walk over few places, so that some are met again; odd episodes are cut short."""

    action_space = spaces.Discrete(3)

    def __init__(self, kind="box"):
        self.kind, self.episode = kind, 0
        self.observation_space = {
            "box": spaces.Box(-9, 9, (2,), np.float32),
            "number": spaces.Discrete(5, start=1),
            "bits": spaces.MultiBinary(3),
            "parts": spaces.MultiDiscrete([5, 2], start=[1, 0]),
            "picture": spaces.Box(0, 255, (36, 36, 1), np.uint8),
            "named": spaces.Dict(
                {"place": spaces.Discrete(5), "where": spaces.Box(-9, 9, (2,), np.float32)}
            ),
        }[kind]

    def seen(self):
        place, rest = self.place, float(self.place**2 % 7)
        return {
            "box": np.array([place, rest], np.float32),
            "number": np.int64(place + 1),
            "bits": np.array([place & 1, place >> 1 & 1, place >> 2], np.int8),
            "parts": np.array([place + 1, place % 2]),
            "picture": np.full((36, 36, 1), 50 * place, np.uint8),
            "named": {"place": np.int64(place), "where": np.array([rest, place], np.float32)},
        }[self.kind]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time, self.episode = 0, self.episode + 1
        self.place, self.last = int(self.np_random.integers(5)), int(self.np_random.integers(2, 12))
        return self.seen(), {}

    def step(self, action):
        self.time += 1
        self.place = int(self.np_random.integers(5))
        over, even = self.time == self.last, self.episode % 2 == 0
        return self.seen(), float(action), over and even, over and not even, {}


def agent_in(env, seed=0, kwargs=SHORT, **settings):
    named = isinstance(env.observation_space, spaces.Dict)
    policy = "MultiInputPolicy" if named else "MlpPolicy"
    return FreeEnergyQ(policy, env, policy_kwargs=kwargs, seed=shifted(seed), **QUICK | settings)


def walks(kind, count):
    envs = DummyVecEnv([lambda: Walk(kind) for _ in range(count)])
    envs.seed(SEED)
    return envs


@pytest.mark.parametrize("kind", ["box", "number", "bits", "parts", "named"])
def test_replay_gives_the_features_of_acting(kind):
    """Each step that is stored, and what it leads to, when the buffer has been round thrice."""
    envs = walks(kind, 2)
    agent = agent_in(envs, buffer_size=50)
    agent.learn(160)  # 80 of each environment, in a buffer of 25 each
    buffer, network = agent.replay_buffer, agent.q_net
    acted, state, starts, seen = {}, None, np.ones(2, bool), envs.reset()
    buffer.cut()
    with torch.no_grad():
        for step in range(3 * 25 + 7):
            obs, _ = agent.policy.obs_to_tensor(seen)
            carried = buffer.state()
            both, state = take_past(obs, state, starts, LENGTH)
            acted[step] = network.extractor.look_back(both, network._see)
            lent, _ = take_past(obs, carried, None, LENGTH)
            torch.testing.assert_close(network.extractor.look_back(lent, network._see), acted[step])
            actions, _ = agent.predict(seen, carried)
            after, rewards, dones, infos = envs.step(actions)
            last = after
            for i in np.flatnonzero(dones):
                last = replaced(last, i, infos[i]["terminal_observation"])
            final, _ = take_past(agent.policy.obs_to_tensor(last)[0], state, None, LENGTH)
            acted[step, "next"] = network.extractor.look_back(final, network._see)
            buffer.add(copied(seen), copied(last), actions, rewards, dones, infos)
            seen, starts = after, dones
        for back in range(25):
            found = buffer._gather(np.full(2, (buffer.pos - 1 - back) % 25), np.arange(2), 1, None)
            for name, part in ((step - back, "observations"), ((step - back, "next"), "next_obs")):
                told = found.observations if part == "observations" else found.next_observations
                features = network.extractor.look_back(told, network._see)
                torch.testing.assert_close(features, acted[name])


def copied(seen):
    """Observations apart: SB3's buffers reshape what is in a dictionary."""
    return dict(seen) if isinstance(seen, dict) else seen


def replaced(seen, row, new):
    """Observations with another in one row."""
    if isinstance(seen, dict):
        return {key: replaced(part, row, new[key]) for key, part in seen.items()}
    seen = seen.copy()
    seen[row] = new
    return seen


def test_returns_of_several_steps_end_with_the_past_of_their_end():
    buffer = EpisodeReplayBuffer(
        40, spaces.Box(0, 99, (1,)), spaces.Discrete(2), "cpu", n_steps=3, length=30
    )
    for t in range(12):
        seen = np.array([[float(t)]])
        buffer.add(seen, seen + 1, np.array([0]), np.ones(1), np.array([t in (4, 11)]), [{}])
    starts = np.where(np.arange(12) <= 4, 0, 5)
    found = buffer._gather(np.arange(12), np.zeros(12, int), 3, None)
    for t in range(12):
        end = min(t + 3, 5 if t <= 4 else 12)
        for seen, last in ((found.observations, t), (found.next_observations, end)):
            past = seen["past/now"][t][seen["past/held"][t]].flatten()
            assert sorted(past.tolist()) == list(range(starts[t], last))
            assert float(seen["now"][t]) == last


def test_the_oldest_step_that_is_stored_has_its_past_still():
    """An episode without end, every observation new, in a buffer that has gone round."""
    buffer = EpisodeReplayBuffer(10, spaces.Box(0, 99, (1,)), spaces.Discrete(2), "cpu", length=4)
    for t in range(37):
        seen = np.array([[float(t)]])
        buffer.add(seen, seen + 1, np.array([0]), np.ones(1), np.array([False]), [{}])
        for back in range(buffer.size()):
            found = buffer.last(back)
            for seen, now in (
                (found.observations, t - back),
                (found.next_observations, t - back + 1),
            ):
                past = seen["past/now"][seen["past/held"]].flatten()
                assert sorted(past.tolist()) == list(range(max(0, now - 4), now))


def test_what_is_recalled_is_the_softmax_over_patterns_and_nothing():
    memory = EpisodicMemory(spaces.Box(-1, 1, (3,)), recall_dim=4, num_heads=2).double()
    torch.nn.init.normal_(memory.query_bias, generator=seeded(0))
    draw = seeded(1)
    now, past = torch.randn(2, 3, generator=draw).double(), torch.randn(2, 4, 3, generator=draw)
    past, held = past.double(), torch.tensor([[True, True, False, True], [False] * 4])
    with torch.no_grad():
        features = memory(now, past, held)
    for weight in memory.parameters():
        weight.requires_grad_(False)
    assert torch.equal(features[:, :3], now)
    assert not features[1, 3:].any()  # nothing is held there
    for head in range(2):
        query = memory.query[head] @ now[0] + memory.query_bias[head]
        scores = [float(query @ memory.key[head] @ past[0, i]) / 2**0.5 for i in (0, 1, 3)]
        weights = np.exp(scores) / (1 + np.exp(scores).sum())
        recalled = sum(w * past[0, i] for w, i in zip(weights, (0, 1, 3), strict=True))
        found = features[0, 3 + 2 * head : 5 + 2 * head]
        torch.testing.assert_close(found, memory.value[head] @ recalled, atol=1e-12, rtol=1e-12)


def test_the_order_of_the_past_is_not_seen():
    memory = EpisodicMemory(spaces.Box(-1, 1, (3,))).double()
    draw = seeded(2)
    now = torch.randn(5, 3, generator=draw).double()
    past = torch.randn(5, 9, 3, generator=draw).double()
    held = torch.rand(5, 9, generator=draw) < 0.7
    order = torch.randperm(9, generator=draw)
    shuffled = memory(now, past[:, order], held[:, order])
    torch.testing.assert_close(shuffled, memory(now, past, held), atol=1e-12, rtol=1e-12)


def test_a_part_brings_back_the_whole():
    """With maps that are the identity, what is seen in part recalls what was stored whole."""
    size, patterns = 32, 6
    memory = EpisodicMemory(spaces.Box(-1, 1, (size,)), recall_dim=size, num_heads=1)
    with torch.no_grad():
        for weight, factor in ((memory.query, 8.0), (memory.key, 1.0), (memory.value, 1.0)):
            weight.copy_(factor * torch.eye(size))
    stored = torch.rand(patterns, size, generator=seeded(3)).sub(0.5).sign()
    part = stored.clone()
    part[:, size // 2 :] = 0
    past = stored.expand(patterns, -1, -1)
    found = memory(part, past, torch.ones(patterns, patterns, dtype=torch.bool))[:, size:]
    # Of 16 signs, others agree in at most 15: e^(−β·8·2) = e^(−2.8) each at the very worst.
    assert torch.equal(found.sign(), stored)


def test_an_observation_is_held_once_and_the_oldest_is_forgotten():
    state, seen = None, [1, 2, 1, 3, 2, 4, 5, 1]
    pasts = []
    for place in seen:
        both, state = take_past(torch.tensor([[float(place)]]), state, None, length=3)
        pasts.append(sorted(both["past/now"][both["past/held"]].flatten().tolist()))
    assert pasts == [[], [1], [1, 2], [1, 2], [1, 2, 3], [1, 2, 3], [2, 3, 4], [3, 4, 5]]
    assert state[-1].tolist() == [6]


def test_environments_do_not_mix_and_starts_clear():
    draw = numpy_seeded(4)
    agent = agent_in(Walk())
    seen = draw.integers(5, size=(20, 3, 2)).astype(np.float32)
    starts = draw.random((20, 3)) < 0.2

    def features(rows):
        state, found = None, []
        for now, begin in zip(seen[:, rows], starts[:, rows], strict=True):
            both, state = take_past(torch.as_tensor(now), state, begin, LENGTH)
            found.append(agent.q_net.extractor.look_back(both, agent.q_net._see))
        return torch.stack(found, 1)

    together = features([0, 1, 2])
    for row in range(3):
        torch.testing.assert_close(features([row])[0], together[row])
    cleared = torch.as_tensor(seen[-1]), torch.zeros(3, LENGTH, 2), torch.zeros(3, LENGTH).bool()
    begin = take_past(cleared[0], take_past(cleared[0] + 1, None, None, LENGTH)[1], [1] * 3, LENGTH)
    torch.testing.assert_close(
        agent.q_net.extractor.look_back(begin[0], agent.q_net._see), agent.q_net.extractor(*cleared)
    )


def test_predict_keeps_the_past_in_its_state():
    env = TMaze(3)
    agent = agent_in(env, learning_starts=0)
    cue, _ = env.reset(seed=SEED)
    _, state = agent.predict(cue, deterministic=True)
    assert [part.shape for part in state] == [(1, LENGTH, 3), (1,)]
    before = [part.copy() for part in state]
    _, later = agent.predict(np.array([1, 0, 1]), state, np.array([False]))
    assert all(map(np.array_equal, state, before))  # what was given is left as it was
    assert later[-1].tolist() == [2]
    _, again = agent.predict(cue, later, np.array([True]))
    assert again[-1].tolist() == [1]


def test_the_policy_acts_by_what_the_state_holds():
    agent = agent_in(TMaze(3))
    with torch.no_grad():
        for weight in agent.policy.parameters():
            weight.normal_(generator=seeded(5))
    agent.policy.temperature = 0.01
    junction = np.tile([0, 1, 0], (64, 1))
    actions = []
    for cue in ([0, 1, 1], [1, 1, 0]):
        _, state = agent.predict(np.tile(cue, (64, 1)))
        both, _ = take_past(torch.as_tensor(junction), state, None, LENGTH)
        actions.append(agent.policy.distribution(both).value())
        assert agent.predict(junction, state)[0].shape == (64,)
    assert not torch.allclose(*actions)


@pytest.mark.parametrize("kind", ["box", "number", "named"])
def test_learning_evaluating_saving_and_going_on(kind, tmp_path):
    agent = agent_in(walks(kind, 2), n_steps=2).learn(120)
    mean, _ = evaluate_policy(agent, walks(kind, 2), 4, warn=False)
    agent.save(tmp_path / "agent")
    agent.save_replay_buffer(tmp_path / "replay")
    other = FreeEnergyQ.load(tmp_path / "agent", env=walks(kind, 2), device="cpu")
    assert evaluate_policy(other, walks(kind, 2), 4, warn=False)[0] == mean
    other.load_replay_buffer(tmp_path / "replay")
    batch = other.replay_buffer.sample(16)
    assert "past/held" in batch.observations
    other.learn(40, reset_num_timesteps=False)
    assert evaluate_policy(other, walks(kind, 3), 4, warn=False)[0] >= 0


def test_the_same_seed_is_the_same_run():
    runs = [agent_in(TMaze(3), seed=s).learn(150).policy.state_dict() for s in (3, 3, 4)]
    weights = [torch.cat([w.flatten() for w in run.values()]) for run in runs]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_pictures_are_held_as_the_network_sees_them():
    agent = FreeEnergyQ(
        "CnnPolicy", Walk("picture"), policy_kwargs=SHORT, seed=SEED, **QUICK
    ).learn(30)
    assert isinstance(agent.q_net.extractor.encoder, NatureCNN)
    assert agent.replay_buffer.sample(4).observations["past/now"].shape[2:] == (1, 36, 36)
    assert evaluate_policy(agent, Walk("picture"), 2, warn=False)[0] >= 0


def test_masks_are_kept_beside_the_past():
    env = DummyVecEnv([lambda: Guarded(spaces.Discrete(4)) for _ in range(2)])
    agent = agent_in(env).learn(80)  # the environment refuses what is forbidden
    batch = agent.replay_buffer.sample(8)
    assert batch.next_masks.shape == (8, 4)
    assert "past/now" in batch.observations


def test_normalized_observations_have_a_normalized_past():
    env = VecNormalize(walks("box", 2))
    agent = agent_in(env).learn(100)
    batch = agent.replay_buffer.sample(200, env)
    now, past, held = (batch.observations[key] for key in ("now", "past/now", "past/held"))
    some = {tuple(row) for row in now.double().round(decimals=4).tolist()}
    assert {tuple(row) for row in past[held].double().round(decimals=4).tolist()} <= some
    env.training = False
    assert np.isfinite(evaluate_policy(agent, env, 4, warn=False)[0])


def test_sarsa_recalls_too():
    agent = FreeEnergySarsa(
        "MlpPolicy", TMaze(3), policy_kwargs=SHORT, seed=SEED, device="cpu"
    ).learn(60)
    assert "past/held" in agent.replay_buffer.last().observations


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_the_cue_is_held_to_the_junction(seed):
    """Without a memory half of the turns are wrong: 1.95 on average, and no more than chance."""
    recalls = FreeEnergyQ(
        "MlpPolicy", TMaze(4), policy_kwargs=RECALLS, seed=shifted(seed), device="cpu"
    ).learn(2_500)
    assert evaluate_policy(recalls, TMaze(4), 30, warn=False)[0] == pytest.approx(4.0)
    forgets = FreeEnergyQ("MlpPolicy", TMaze(4), seed=shifted(seed), device="cpu").learn(2_500)
    env = TMaze(4)
    env.reset(seed=shifted(seed))
    assert evaluate_policy(forgets, env, 100, warn=False)[0] < 1.95 + 5 * 2.05 / 100**0.5


@pytest.mark.usefixtures("plain_annotations")
@pytest.mark.parametrize(
    "bad",
    [
        {"length": 0},
        {"length": 2.5},
        {"recall_dim": 0},
        {"num_heads": "4"},
        {"recall_dim": 6},
        {"encoder": "NatureCNN"},
        {"encoder": torch.nn.Linear},
    ],
    ids=str,
)
def test_what_is_no_memory_is_refused(bad):
    with pytest.raises(ParameterError, match=next(iter(bad))):
        EpisodicMemory(spaces.Box(-1, 1, (3,)), **bad)


@pytest.mark.usefixtures("plain_annotations")
def test_a_state_of_another_shape_is_refused():
    agent = agent_in(TMaze(3))
    seen = np.zeros((2, 3), np.int8)
    _, state = agent.predict(seen)
    for wrong in (
        state[:1],
        (state[0][:1], state[1][:1]),
        (state[0][:, :2], state[1]),
        3,
        state[0],
    ):
        with pytest.raises(ShapeError, match="Give the state that predict gave back"):
            agent.predict(seen, wrong)
    with pytest.raises(ShapeError, match="episode_start of shape"):
        agent.predict(seen, state, np.zeros(3, bool))


@pytest.mark.usefixtures("plain_annotations")
def test_a_buffer_without_the_past_is_refused():
    for settings in (
        {"replay_buffer_class": MaskedReplayBuffer},
        {"replay_buffer_class": ImaginedReplayBuffer},
        {"replay_buffer_class": EpisodeReplayBuffer, "replay_buffer_kwargs": {"length": 9}},
        {"replay_buffer_kwargs": {"length": 9}},
    ):
        with pytest.raises(ParameterError, match="for an EpisodicMemory of 4"):
            agent_in(Walk("number"), **settings)
    with pytest.raises(ParameterError, match="length"):
        EpisodeReplayBuffer(9, spaces.Discrete(2), spaces.Discrete(2), length=0)
    with pytest.raises(ShapeError, match="Give both, or neither"):
        EpisodicMemory(spaces.Box(-1, 1, (3,)))(torch.zeros(2, 3), torch.zeros(2, 1, 3))


def test_targets_of_several_steps_are_refused():
    with pytest.raises(ParameterError, match="RetraceBackup"):
        FreeEnergyQ(
            "MlpPolicy", TMaze(3), backup=RetraceBackup(4), device="cpu",
            policy_kwargs={"features_extractor_class": EpisodicMemory},
        )  # fmt: skip
