"""PlanningAgent: acts by planning in a model of the world, and learns nothing but that."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar, cast

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback
from torch import Tensor

from isinglass._support.validation import (
    check_at_least_zero,
    check_count,
    check_fraction,
    check_kind,
)
from isinglass._support.wording import shown
from isinglass.agents._arguments import check_surroundings, environment
from isinglass.agents._faults import check_agent_file, same_spaces, whole_steps
from isinglass.agents.mask_reader import MaskReader
from isinglass.agents.network import check_real
from isinglass.agents.planning.planning_policy import PlanningPolicy
from isinglass.agents.planning.world_spaces import (
    check_world,
    numbers_of,
    store_newest,
    world_columns,
)
from isinglass.errors import ParameterError
from isinglass.world import WorldEnergy

__all__ = ["PlanningAgent"]

SelfPlanningAgent = TypeVar("SelfPlanningAgent", bound="PlanningAgent")

FIRST = 200  # most steps of random actions where states are real: a line needs points
FIRST_SHARE = 4  # and of a short training one in so many
OFTEN = 25  # steps between two looks at what was met, and a quarter of all that were


class PlanningAgent(OffPolicyAlgorithm):
    r"""Acts by planning in what it has met: transitions are stored, plans are made anew.

    What an action mask forbids is not taken, however it is told; where states are real, masks
    are refused. Where states and actions can be listed, the plan is soft value iteration over
    :class:`~isinglass.world.WorldEnergy`; while it learns, what was never met counts as much as
    anything can (R-max), so that it is tried. Where states are real, what follows is read from
    stored transitions by local lines, and the first action of the best of many paths is taken
    (:class:`~isinglass.world.PathPlanner`). Another reward needs no learning: :meth:`seek`.

    ``learn``, ``predict``, ``save``, ``load``, callbacks, loggers and vector environments are
    Stable-Baselines3's.

    References: Brafman & Tennenholtz 2002, JMLR 3:213-231 (R-max); Chua et al. 2018,
    arXiv:1805.12114 (planning along paths).

    Args:
        policy: ``"PlanningPolicy"``.
        env: Environment with ``Discrete``, ``MultiDiscrete``, ``MultiBinary`` or bounded ``Box``
            observations and actions; a vector of them; or a name that
            :func:`isinglass.envs.make_env` knows.
        world: What is known already; None begins with nothing. It is learned on in place.
        gamma: Discount factor γ, 0 to 1, below 1 where states can be listed.
        temperature: T ≥ 0 of the plan, in units of the reward, where states can be listed.
        horizon: Steps of a path, where states are real.
        paths: Paths drawn in a round, where states are real.
        learning_starts: Steps with uniformly random actions; None is 0 where states can be
            listed, otherwise a quarter of the training, at most 200.
        train_freq: Environment steps between two looks at what was met; None is 25, and a quarter
            of all that were met where these are more.
        buffer_size: Transitions of which the replay buffer keeps a copy.
        tensorboard_log: Folder of the TensorBoard log, or None.
        verbose: 0 silent, 1 information, 2 debugging.
        seed: Seed of all random streams.
        device: Where the model lives.

    Raises:
        ParameterError: If ``env`` is no environment, or its observations or actions are of
            another kind; ``world`` has other columns; or an argument is out of its range.
        DomainError: From ``learn``, if an observation or a reward is NaN or infinite.

    Examples:
        >>> agent = PlanningAgent("PlanningPolicy", "CliffWalking-v1", seed=0).learn(2_000)
        >>> state, total = agent.env.reset(), 0.0
        >>> for _ in range(13):
        ...     action, _ = agent.predict(state, deterministic=True)
        ...     state, reward, done, _ = agent.env.step(action)
        ...     total += reward[0]
        >>> float(total), bool(done[0])
        (-13.0, True)
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"PlanningPolicy": PlanningPolicy}
    policy: PlanningPolicy
    _masks: MaskReader | None = None

    def __init__(
        self,
        policy: str | type[PlanningPolicy],
        env: GymEnv | VectorEnv | str | None,
        world: WorldEnergy | None = None,
        gamma: float = 0.99,
        temperature: float = 0.0,
        horizon: int = 30,
        paths: int = 128,
        learning_starts: int | None = None,
        train_freq: int | None = None,
        buffer_size: int = 100_000,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "cpu",
        _init_setup_model: bool = True,
    ) -> None:
        seed = check_surroundings(device, seed, verbose)
        given = environment(env, required=_init_setup_model)
        own = isinstance(policy, type) and issubclass(policy, PlanningPolicy)
        if not own and policy != "PlanningPolicy":
            raise ParameterError(
                f"policy = {shown(policy)}", "Give 'PlanningPolicy', or a subclass of it"
            )
        if world is not None:
            check_kind("world", world, WorldEnergy, "a WorldEnergy, or None")
        for name, count, least in (
            ("learning_starts", learning_starts, 0), ("train_freq", train_freq, 1),
            ("buffer_size", buffer_size, 1),
        ):  # fmt: skip
            if count is not None:
                check_count(name, count, least=least)
        self.world = world
        self.temperature = check_at_least_zero("temperature", temperature)
        self.horizon = check_count("horizon", horizon)
        self.paths = check_count("paths", paths, least=2)
        self._asked_starts, self._looks_every = learning_starts, train_freq
        self._saved_by = "PlanningAgent"
        self._sought: dict[str, Any] = {}
        super().__init__(
            policy, given, 0.0, buffer_size, learning_starts or 0, 1, 1.0, gamma,
            1, 1, policy_kwargs={}, tensorboard_log=tensorboard_log, verbose=verbose,
            device=device, support_multi_env=True, seed=seed, sde_support=False,
        )  # fmt: skip
        if _init_setup_model:
            self._setup_model()

    def _setup_model(self) -> None:
        columns = world_columns(self.observation_space, self.action_space)
        if self.world is None:
            self.world = WorldEnergy(columns)
        check_world(self.world, columns)
        check_fraction("gamma", self.gamma)
        if columns.finite and self.gamma == 1:
            raise ParameterError("gamma = 1 where plans are without end", "Give gamma below 1")
        if self._asked_starts is None:
            self.learning_starts = 0 if columns.finite else FIRST  # less in a short training
        self.policy_kwargs = {
            "world": self.world, "gamma": self.gamma, "temperature": self.temperature,
            "horizon": self.horizon, "paths": self.paths,
        }  # fmt: skip
        super()._setup_model()
        self.policy_kwargs = {}  # which would be written twice
        self._fresh, self._last_look = 0, 0
        if self.seed is not None:
            self.policy.seed(self.seed)
        self.policy.look()

    def learn(
        self: SelfPlanningAgent,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 4,
        tb_log_name: str | None = None,
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> SelfPlanningAgent:
        """Learns for a number of environment steps; all arguments are Stable-Baselines3's."""
        check_at_least_zero("total_timesteps", total_timesteps)
        with whole_steps("PlanningAgent.learn"):
            name = tb_log_name or "PlanningAgent"
            rest = log_interval, name, reset_num_timesteps, progress_bar
            found = super().learn(total_timesteps, callback, *rest)
        self._take_in()
        self.policy.look(settle=True)
        return found

    def train(self, gradient_steps: int, batch_size: int) -> None:
        """Stores what was met since, and plans anew when that is enough."""
        every = self._looks_every or max(OFTEN, self._last_look // 4)
        if self.num_timesteps - self._last_look < every:
            return
        self._take_in()
        self.policy.look()
        self._last_look = self.num_timesteps
        self._n_updates += gradient_steps
        self.logger.record("train/transitions", len(self.policy.world))

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
        action_masks: np.ndarray | None = None,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Returns actions, as :meth:`PlanningPolicy.predict` does."""
        return self.policy.predict(observation, state, episode_start, deterministic, action_masks)

    def seek(self, reward: Tensor | None = None, goal: object = None) -> None:
        """Plans for another reward or goal from now on, with what is known; nothing is learned.

        Args:
            reward: Of arriving in each state, ``(S,)``, or of each pair, ``(S, A)``.
            goal: A state, or several, in place of it. Neither is what was met.

        Raises:
            DomainError: If nothing leads to the goal.
            ParameterError: If states are real, or both are given.
        """
        self.policy.seek(reward, goal)
        self._sought = {name: _plain(value) for name, value in self.policy.sought.items()}

    def _setup_learn(self, *args: Any, **kwargs: Any) -> Any:
        ready = super()._setup_learn(*args, **kwargs)
        if self._asked_starts is None and not self.policy.world.columns.finite:
            self.learning_starts = min(FIRST, self._total_timesteps // FIRST_SHARE)
        check_real("the first observation", self._last_obs)
        self._masks = MaskReader(self.env) if self.env is not None else None
        self._tell_masks(self._last_obs)
        return ready

    def _tell_masks(self, seen: Any, infos: Any = None, dones: np.ndarray | None = None) -> None:
        """Lets the policy know what is allowed where the environments are now."""
        masks = None if self._masks is None else self._masks.read(seen, infos, dones)
        if masks is not None:
            self.policy.allow(numbers_of(self.observation_space, np.asarray(seen)), masks)

    def _sample_action(
        self, learning_starts: int, action_noise: Any = None, n_envs: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        if self.policy.world.columns.finite and self.num_timesteps < learning_starts:
            rows = numbers_of(self.observation_space, np.asarray(self._last_obs))
            actions = self.policy.at_random(rows)
            return actions, actions
        return super()._sample_action(learning_starts, action_noise, n_envs)

    def _take_in(self) -> None:
        """Stores the transitions that the replay buffer got since the last time."""
        store_newest(self.policy.world, cast(ReplayBuffer, self.replay_buffer), self._fresh)
        self._fresh = 0

    def _store_transition(
        self, replay_buffer: ReplayBuffer, buffer_action: np.ndarray, new_obs: Any,
        reward: np.ndarray, dones: np.ndarray, infos: Any,
    ) -> None:  # fmt: skip
        check_real("the reward", reward)
        check_real("the observation", new_obs)
        before = numbers_of(self.observation_space, np.asarray(self._last_obs))
        self._tell_masks(new_obs, infos, dones)
        super()._store_transition(replay_buffer, buffer_action, new_obs, reward, dones, infos)
        self._fresh += 1
        if self._fresh >= replay_buffer.buffer_size:  # or what is overwritten would be lost
            self._take_in()
        self.policy.begin(dones)
        if self.policy.world.columns.finite:
            after = numbers_of(self.observation_space, np.asarray(new_obs))
            actions = numbers_of(self.action_space, buffer_action)
            for s, a, r, following, done in zip(before, actions, reward, after, dones, strict=True):
                self.policy.note(s, a, float(r), following, bool(done))

    def set_random_seed(self, seed: int | None = None) -> None:
        """Seeds Python, numpy, torch, the environment and the stream of the paths."""
        super().set_random_seed(seed)
        if seed is not None and hasattr(self, "policy"):
            self.policy.seed(seed)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "world", "_masks"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy"], []

    @classmethod
    def load(  # pyright: ignore[reportIncompatibleMethodOverride]
        cls: type[SelfPlanningAgent],
        path: Any,
        env: GymEnv | VectorEnv | str | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> SelfPlanningAgent:
        """Reads an agent from a file; all arguments are Stable-Baselines3's.

        Raises:
            FileError: If there is no such file, it is damaged, or another class saved it.
            ParameterError: If the agent has learned in other spaces than those of ``env``.
        """
        check_agent_file("PlanningAgent.load", path, "PlanningAgent")
        with same_spaces("PlanningAgent.load"):
            agent = super().load(path, environment(env, required=False), *args, **kwargs)
        agent.world = agent.policy.world
        agent.policy.sought = agent._sought
        agent.policy.look()
        return agent


def _plain(value: Any) -> Any:
    """Returns a reward or a goal as it can be written to a file."""
    return value.tolist() if isinstance(value, Tensor | np.ndarray) else value
