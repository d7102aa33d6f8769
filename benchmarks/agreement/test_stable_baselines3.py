"""What Stable-Baselines3's DQN can, asked of the agents that are used in its place.

Each behavior is asked of the original too, so that the list is of what it can and not of what we
think it can. With ``-rxX`` pytest prints what fails, and the reason.
"""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import DQN, HerReplayBuffer
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    CheckpointCallback,
    EvalCallback,
    EveryNTimesteps,
    StopTrainingOnMaxEpisodes,
    StopTrainingOnRewardThreshold,
)
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import configure
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from isinglass.agents import FreeEnergyQ, FreeEnergySarsa

AGENTS: dict[str, type[Any]] = {
    "DQN": DQN, "FreeEnergyQ": FreeEnergyQ, "FreeEnergySarsa": FreeEnergySarsa,
}  # fmt: skip
ENERGY = "q_net gives a distribution of actions; Q of actions is policy.action_values(obs, actions)"
TEMPERATURE = "draws from the Boltzmann policy explore: agent.temperature, not a rate"
MOVING = "the target network moves by tau after each update, not at intervals"
NO_REPLAY = "SARSA learns from each step as it comes: nothing is replayed"
NO_TARGET = "SARSA has no target network"
FAILS = {
    **{("q_net_gives_a_value_an_action", name): ENERGY for name in AGENTS if name != "DQN"},
    **{("there_is_a_rate_of_exploration", name): TEMPERATURE for name in AGENTS if name != "DQN"},
    **{("targets_are_set_at_intervals", name): MOVING for name in AGENTS if name != "DQN"},
    **{
        (behavior, "FreeEnergySarsa"): NO_REPLAY
        for behavior in (
            "rewards_of_n_steps_are_summed", "one_step_is_what_n_steps_of_one_are",
            "hindsight_relabels_goals", "gradient_steps_may_be_none_or_as_many_as_steps",
            "updates_may_wait_for_the_end_of_an_episode",
            "memory_is_saved_by_storing_observations_once", "batches_are_drawn_from_what_was_kept",
        )
    },
    ("the_target_follows", "FreeEnergySarsa"): NO_TARGET,
}  # fmt: skip


class Corridor(gym.Env):
    """Six cells, the last one pays; seen as numbers, parts or a picture."""

    action_space = spaces.Discrete(3)

    def __init__(self, seen: str = "numbers", length: int = 12) -> None:
        line = spaces.Box(0, 1, (2,), np.float32)
        self.length, self.seen_as = length, seen
        self.observation_space = {
            "numbers": line,
            "parts": spaces.Dict({"place": line, "light": spaces.Discrete(2)}),
            "goals": spaces.Dict(
                {k: line for k in ("observation", "achieved_goal", "desired_goal")}  # noqa: C420
            ),
            "picture": spaces.Box(0, 255, (1, 36, 36), np.uint8),
        }[seen]

    def seen(self) -> Any:
        """What is observed."""
        place = np.array([self.cell / 5, self.time / self.length], np.float32)
        return {
            "numbers": place,
            "parts": {"place": place, "light": self.time % 2},
            "goals": {
                "observation": place, "achieved_goal": place, "desired_goal": np.ones_like(place),
            },
            "picture": np.full((1, 36, 36), int(255 * place[0]), np.uint8),
        }[self.seen_as]  # fmt: skip

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Begins in the first cell."""
        super().reset(seed=seed)
        self.cell, self.time = 0, 0
        return self.seen(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Moves left, not at all, or right."""
        self.cell, self.time = int(np.clip(self.cell + action - 1, 0, 5)), self.time + 1
        over = self.cell == 5
        return self.seen(), float(over), over, self.time == self.length and not over, {}

    def compute_reward(self, achieved: np.ndarray, desired: np.ndarray, info: Any) -> np.ndarray:
        """Pays where the cell is the one that was wanted."""
        return (np.abs(achieved - desired)[..., 0] < 0.1).astype(np.float32)


STATES = np.random.default_rng(0).uniform(0, 1, (9, 2)).astype(np.float32)


def make(kind: type[Any], env: Any = None, policy: str = "MlpPolicy", **options: Any) -> Any:
    """Makes a small agent."""
    small: dict[str, Any] = {"learning_starts": 10, "seed": 0, "device": "cpu"}
    if kind is not FreeEnergySarsa:
        small |= {"batch_size": 16, "buffer_size": 200, "train_freq": 1}
        small["policy_kwargs"] = {"net_arch": [8]}
    return kind(policy, Corridor() if env is None else env, **small | options)


def same(one: Any, other: Any) -> bool:
    """Whether greedy actions and weights agree."""
    weights = zip(one.policy.parameters(), other.policy.parameters(), strict=True)
    actions = [agent.predict(STATES, deterministic=True)[0] for agent in (one, other)]
    return all(torch.equal(a, b) for a, b in weights) and np.array_equal(*actions)


def learning_counts_steps_and_gives_itself_back(kind: type[Any]) -> None:
    agent = make(kind)
    assert agent.learn(30) is agent
    assert agent.num_timesteps == 30
    agent.learn(20, reset_num_timesteps=False)
    assert agent.num_timesteps == 50
    assert agent.learn(20).num_timesteps == 20


def q_net_is_an_attribute(kind: type[Any]) -> None:
    agent = make(kind)
    assert agent.q_net is agent.policy.q_net
    assert agent.q_net_target is agent.policy.q_net_target


def q_net_gives_a_value_an_action(kind: type[Any]) -> None:
    values = make(kind).policy.q_net(torch.as_tensor(STATES))
    assert values.shape == (9, 3)


def the_target_follows(kind: type[Any]) -> None:
    agent = make(kind, tau=0.5, **({"target_update_interval": 1} if kind is DQN else {}))
    before = copy.deepcopy(list(agent.policy.q_net_target.parameters()))
    agent.learn(40)
    assert not all(map(torch.equal, before, agent.policy.q_net_target.parameters()))


def there_is_a_rate_of_exploration(kind: type[Any]) -> None:
    assert 0 <= make(kind).learn(30).exploration_rate <= 1


def targets_are_set_at_intervals(kind: type[Any]) -> None:
    make(kind, target_update_interval=5)


def state_dicts_are_floats_that_can_be_replaced(kind: type[Any]) -> None:
    agent = make(kind).learn(20)
    before = copy.deepcopy(agent.policy.state_dict())
    assert all(torch.is_floating_point(value) for value in before.values())
    agent.policy.load_state_dict({name: torch.rand_like(value) for name, value in before.items()})
    after = agent.policy.state_dict()
    assert not any(torch.allclose(before[name], after[name]) for name in before)
    agent.policy.load_state_dict(before)
    assert all(
        torch.equal(before[name], value) for name, value in agent.policy.state_dict().items()
    )


def parameters_are_taken_and_given(kind: type[Any], folder: Path) -> None:
    one, other = make(kind).learn(30), make(kind, seed=1).learn(30)
    assert set(one.get_parameters()) == {"policy", "policy.optimizer"}
    other.set_parameters(one.get_parameters())
    assert same(one, other)
    one.save(folder / "one")
    third = make(kind, seed=2)
    third.set_parameters(folder / "one", device="cpu")
    assert same(one, third)
    with pytest.raises(ValueError, match="match"):
        other.set_parameters({"policy": one.get_parameters()["policy"]})
    other.set_parameters({"policy": one.get_parameters()["policy"]}, exact_match=False)


def saved_and_loaded_is_the_same(kind: type[Any], folder: Path) -> None:
    agent = make(kind).learn(30)
    agent.save(folder / "agent")
    agent.save(buffer := io.BytesIO())
    buffer.seek(0)
    for source in (folder / "agent", str(folder / "agent.zip"), buffer):
        loaded = kind.load(source, device="cpu")
        assert same(agent, loaded)
        assert loaded.num_timesteps == 30
    loaded = kind.load(folder / "agent", env=Corridor(), device="cpu")
    loaded.learn(20, reset_num_timesteps=False)
    assert loaded.num_timesteps == 50
    changed = kind.load(folder / "agent", device="cpu", custom_objects={"learning_rate": 0.5})
    assert changed.learning_rate == 0.5
    changed = kind.load(folder / "agent", device="cpu", gamma=0.5)
    assert changed.gamma == 0.5


def what_is_saved_may_be_chosen(kind: type[Any], folder: Path) -> None:
    agent = make(kind).learn(20)
    agent.save(folder / "less", exclude=["tensorboard_log"])
    agent.save(folder / "more", include=["_last_obs"])
    assert same(kind.load(folder / "less", device="cpu"), kind.load(folder / "more", device="cpu"))


def loading_asks_for_the_same_spaces(kind: type[Any], folder: Path) -> None:
    make(kind).save(folder / "agent")
    with pytest.raises(ValueError, match="spaces do not match"):
        kind.load(folder / "agent", env=gym.make("CartPole-v1"), device="cpu")


def replay_buffers_are_saved(kind: type[Any], folder: Path) -> None:
    agent = make(kind).learn(30)
    agent.save(folder / "agent")
    agent.save_replay_buffer(folder / "buffer")
    loaded = kind.load(folder / "agent", env=Corridor(), device="cpu")
    loaded.load_replay_buffer(folder / "buffer")
    assert loaded.replay_buffer.size() == 30
    for name in ("observations", "actions", "rewards", "dones"):
        kept = (getattr(each.replay_buffer, name)[:30] for each in (agent, loaded))
        np.testing.assert_array_equal(*kept)


def batches_are_drawn_from_what_was_kept(kind: type[Any]) -> None:
    agent = make(kind, batch_size=8).learn(40)
    batch = agent.replay_buffer.sample(8)
    assert batch.observations.shape == batch.next_observations.shape == (8, 2)
    assert batch.actions.shape == batch.rewards.shape == batch.dones.shape == (8, 1)


def rewards_of_n_steps_are_summed(kind: type[Any]) -> None:
    agent = make(kind, n_steps=3, gamma=0.5).learn(60)
    buffer, size = agent.replay_buffer, 60
    ends = (buffer.dones[:size, 0] > 0) | (buffer.timeouts[:size, 0] > 0)
    ends[-1] = True
    batch = buffer.sample(200)
    sums: dict[tuple[float, ...], set[float]] = {}
    for start in range(size):
        total, at = 0.0, start
        for step in range(3):
            at = start + step
            total += 0.5**step * float(buffer.rewards[at, 0])
            if ends[at]:
                break
        key = (*buffer.observations[start, 0].tolist(), float(buffer.actions[start, 0, 0]))
        sums.setdefault(key, set()).add(round(total, 5))
    for seen, action, total in zip(batch.observations, batch.actions, batch.rewards, strict=True):
        assert round(float(total), 5) in sums[(*seen.tolist(), float(action))]


def one_step_is_what_n_steps_of_one_are(kind: type[Any]) -> None:
    assert same(make(kind).learn(40), make(kind, n_steps=1).learn(40))


def gradient_steps_may_be_none_or_as_many_as_steps(kind: type[Any]) -> None:
    assert make(kind, gradient_steps=0).learn(40)._n_updates == 0
    assert make(kind, gradient_steps=-1, train_freq=5).learn(40)._n_updates == 30


def updates_may_wait_for_the_end_of_an_episode(kind: type[Any]) -> None:
    make(kind, train_freq=(1, "episode"), gradient_steps=2).learn(40)


def hindsight_relabels_goals(kind: type[Any]) -> None:
    buffer = {"replay_buffer_class": HerReplayBuffer, "learning_starts": 30}
    settings = {"n_sampled_goal": 2, "goal_selection_strategy": "future"}
    agent = make(
        kind, Corridor("goals"), "MultiInputPolicy", **buffer, replay_buffer_kwargs=settings
    ).learn(60)
    goals = agent.replay_buffer.sample(50).observations["desired_goal"]
    assert len(goals.unique(dim=0)) > 1


def memory_is_saved_by_storing_observations_once(kind: type[Any]) -> None:
    told = {"handle_timeout_termination": False}
    make(kind, optimize_memory_usage=True, replay_buffer_kwargs=told).learn(40)


def evaluation_plays_episodes(kind: type[Any]) -> None:
    agent, seen = make(kind).learn(30), []
    returns, lengths = evaluate_policy(
        agent, Monitor(Corridor()), 4, return_episode_rewards=True,
        callback=lambda local, _: seen.append(local["reward"]),
    )  # fmt: skip
    assert len(returns) == 4
    assert sum(lengths) == len(seen)
    mean, spread = evaluate_policy(agent, agent.get_env(), 3, deterministic=False)
    assert 0 <= mean <= 1
    assert spread >= 0
    evaluate_policy(agent.policy, Monitor(Corridor()), 2)


def callbacks_evaluate_and_keep_the_best(kind: type[Any], folder: Path) -> None:
    callback = EvalCallback(
        Monitor(Corridor()), n_eval_episodes=2, eval_freq=10, verbose=0,
        best_model_save_path=str(folder), log_path=str(folder),
    )  # fmt: skip
    make(kind).learn(40, callback)
    kind.load(folder / "best_model", device="cpu")
    assert np.load(folder / "evaluations.npz")["timesteps"].tolist() == [10, 20, 30, 40]


def callbacks_write_checkpoints(kind: type[Any], folder: Path) -> None:
    callback = CheckpointCallback(20, str(folder), save_replay_buffer=True)
    make(kind).learn(40, callback)
    loaded = kind.load(folder / "rl_model_40_steps", env=Corridor(), device="cpu")
    loaded.load_replay_buffer(folder / "rl_model_replay_buffer_40_steps")
    loaded.learn(10, reset_num_timesteps=False)


def callbacks_end_learning(kind: type[Any]) -> None:
    enough = StopTrainingOnMaxEpisodes(3)
    assert make(kind).learn(10_000, enough).num_timesteps < 40
    assert enough.n_episodes == 3
    reached = StopTrainingOnRewardThreshold(-1.0)
    evaluated = EvalCallback(
        Monitor(Corridor()), reached, n_eval_episodes=1, eval_freq=10, verbose=0
    )
    assert make(kind).learn(10_000, evaluated).num_timesteps == 10


class Seen(BaseCallback):
    """Counts calls, and looks at what callbacks are promised."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[str, int] = {}

    def count(self, name: str) -> None:
        """Counts a call."""
        self.calls[name] = self.calls.get(name, 0) + 1

    def _on_training_start(self) -> None:
        self.count("start")

    def _on_rollout_start(self) -> None:
        self.count("rollout")

    def _on_step(self) -> bool:
        self.count("step")
        assert {"actions", "rewards", "dones", "infos", "new_obs"} <= self.locals.keys()
        assert self.training_env is self.model.get_env()
        assert self.num_timesteps == self.model.num_timesteps
        return True

    def _on_training_end(self) -> None:
        self.count("end")


def callbacks_are_called_as_promised(kind: type[Any]) -> None:
    seen, every = Seen(), Seen()
    lines: list[int] = []
    function = lambda local, _: lines.append(local["self"].num_timesteps) is None  # noqa: E731
    make(kind).learn(20, CallbackList([seen, EveryNTimesteps(5, every)]))
    make(kind).learn(20, function)
    assert seen.calls == {"start": 1, "rollout": 20, "step": 20, "end": 1}
    assert every.calls["step"] == 4
    assert lines == list(range(1, 21))


def predictions_have_the_shape_of_actions(kind: type[Any]) -> None:
    agent = make(kind)
    assert agent.predict(STATES)[0].shape == (9,)
    action, state = agent.predict(STATES[0])
    assert action.shape == ()
    assert state is None
    assert Corridor.action_space.contains(action)
    greedy = [agent.predict(STATES, deterministic=True)[0] for _ in range(2)]
    np.testing.assert_array_equal(*greedy)


def policies_are_saved_copied_and_pickled(kind: type[Any], folder: Path) -> None:
    policy = make(kind).learn(20).policy
    policy.save(folder / "policy")
    again = type(policy).load(folder / "policy", device="cpu")
    for other in (again, copy.deepcopy(policy), pickle.loads(pickle.dumps(policy))):  # noqa: S301
        actions = (each.predict(STATES, deterministic=True)[0] for each in (policy, other))
        np.testing.assert_array_equal(*actions)


def the_same_seed_is_the_same_run(kind: type[Any]) -> None:
    assert same(make(kind, seed=3).learn(40), make(kind, seed=3).learn(40))
    assert not same(make(kind, seed=3).learn(40), make(kind, seed=4).learn(40))


def several_environments_are_learned_in(kind: type[Any]) -> None:
    agent = make(kind, make_vec_env(Corridor, 3, seed=0)).learn(60)
    assert agent.n_envs == 3
    assert agent.num_timesteps == 60
    agent.set_env(make_vec_env(Corridor, 3, seed=1))
    with pytest.raises((AssertionError, ValueError), match="environments"):
        agent.set_env(make_vec_env(Corridor, 2))


def observations_and_rewards_are_normalized(kind: type[Any]) -> None:
    env = VecNormalize(DummyVecEnv([Corridor]))
    agent = make(kind, env).learn(40)
    assert agent.get_vec_normalize_env() is env
    assert env.obs_rms.count > 30


def environments_have_names(kind: type[Any]) -> None:
    assert make(kind, "CartPole-v1").learn(20).get_env().num_envs == 1


def rates_follow_a_schedule(kind: type[Any]) -> None:
    agent = make(kind, learning_rate=lambda left: 0.01 * left).learn(40)
    rate = agent.policy.optimizer.param_groups[0]["lr"]
    assert 0 <= rate < 0.002


def loggers_are_set_and_written(kind: type[Any], folder: Path) -> None:
    agent = make(kind)
    agent.set_logger(configure(str(folder), ["csv"]))
    agent.learn(60, log_interval=1).logger.close()
    header = (folder / "progress.csv").read_text().splitlines()[0]
    for name in ("time/total_timesteps", "rollout/ep_rew_mean", "train/loss", "train/n_updates"):
        assert name in header


def dictionaries_are_observed(kind: type[Any]) -> None:
    agent = make(kind, Corridor("parts"), "MultiInputPolicy").learn(30)
    seen, _ = Corridor("parts").reset()
    assert agent.predict(seen)[0].shape == ()


def pictures_are_observed(kind: type[Any]) -> None:
    agent = make(kind, Corridor("picture"), "CnnPolicy").learn(20)
    assert agent.predict(np.zeros((4, 1, 36, 36), np.uint8))[0].shape == (4,)


class Doubled(BaseFeaturesExtractor):
    """Features that a user has written."""

    def __init__(self, observation_space: spaces.Box, times: float = 2.0) -> None:
        super().__init__(observation_space, observation_space.shape[0])
        self.times = times

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Returns them."""
        return self.times * observations


def networks_are_built_as_asked(kind: type[Any]) -> None:
    asked = {
        "net_arch": [7, 5], "activation_fn": torch.nn.Tanh, "optimizer_class": torch.optim.RMSprop,
        "optimizer_kwargs": {"alpha": 0.9}, "features_extractor_class": Doubled,
        "features_extractor_kwargs": {"times": 3.0},
    }  # fmt: skip
    policy = make(kind, policy_kwargs=asked).learn(20).policy
    kinds = [type(module) for module in policy.q_net.modules()]
    assert kinds.count(torch.nn.Tanh) == 2
    assert Doubled in kinds
    assert isinstance(policy.optimizer, torch.optim.RMSprop)
    assert policy.optimizer.param_groups[0]["alpha"] == 0.9


def setting_up_may_wait(kind: type[Any]) -> None:
    agent = kind("MlpPolicy", None, _init_setup_model=False, device="cpu")
    assert not hasattr(agent, "policy") or agent.policy is None


def statistics_are_kept(kind: type[Any]) -> None:
    agent = make(kind, stats_window_size=4).learn(80)
    assert len(agent.ep_info_buffer) == 4
    assert agent.ep_info_buffer.maxlen == 4
    assert {"r", "l", "t"} <= agent.ep_info_buffer[0].keys()


BEHAVIORS: list[Callable[..., None]] = [
    value
    for value in list(globals().values())
    if isinstance(value, FunctionType)
    and value.__module__ == __name__
    and value.__code__.co_varnames[: value.__code__.co_argcount] in (("kind",), ("kind", "folder"))
]


@pytest.mark.parametrize("name", AGENTS)
@pytest.mark.parametrize("behavior", BEHAVIORS, ids=lambda behavior: behavior.__name__)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_dqn_can(
    behavior: Callable[..., None], name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """DQN does it, and ours do, or fail for a reason that is written down."""
    if reason := FAILS.get((behavior.__name__, name)):
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
    behavior(AGENTS[name], *[tmp_path] * (behavior.__code__.co_argcount - 1))
