"""FreeEnergyQ: soft Q-learning over binary actions too many to enumerate."""

from __future__ import annotations

import math
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from gymnasium import Env, spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import (
    DictReplayBufferSamples,
    GymEnv,
    MaybeCallback,
    ReplayBufferSamples,
    Schedule,
)
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor
from torch.nn import functional as F

from isinglass.agents.policies import (
    FreeEnergyCnnPolicy,
    FreeEnergyMultiInputPolicy,
    FreeEnergyPolicy,
    check_real,
)
from isinglass.checks import check_count, check_fraction, check_positive
from isinglass.envs import make_env
from isinglass.errors import DomainError, ParameterError

__all__ = ["FreeEnergyQ"]

_ABOVE_ZERO = ("initial_temperature", "final_temperature", "annealing_fraction", "max_grad_norm")

SelfFreeEnergyQ = TypeVar("SelfFreeEnergyQ", bound="FreeEnergyQ")


class FreeEnergyQ(OffPolicyAlgorithm):
    r"""Soft Q-learning where Q = −F, the negative free energy of a mixture of action patterns.

    Actions are d bits, seen as spins a = ±1. Each of N memories has a key k_μ(s), from a network,
    and an action field θ_μ(s), stored and with ``state_fields`` bent by the network. From there on
    everything is exact, at a cost of O(N·d) for 2^d actions:

        Q(s,a) = T log Σ_μ exp((k_μ(s) + Σ_i θ_μi(s) a_i)/T) − T log N
        V(s)   = T log Σ_a exp(Q(s,a)/T)
        π(a|s) = exp((Q(s,a) − V(s))/T)                     sampled exactly: μ first, then all bits
        loss   = (Q(s,a) − r − γ (1 − done) V_target(s'))²  soft Bellman backup

    One temperature T serves Q, V, π and the target. It falls from its initial to its final value
    by a constant factor a step. Acting samples π; ``predict(deterministic=True)`` is greedy:
    the best action of the best memory, climbed from. A time limit does not count as ``done``.

    All else, ``learn``, ``predict``, ``save``, ``load``, callbacks, loggers, vector environments,
    is Stable-Baselines3's. The random stream of the actions belongs to the policy and is saved
    with it.

    References: Sallans & Hinton 2004, "Reinforcement learning with factored states and actions",
    JMLR 5:1063-1088 (Q = −F); Haarnoja et al. 2017, arXiv:1702.08165 (soft backup).

    Args:
        policy: ``"MlpPolicy"``, ``"CnnPolicy"``, ``"MultiInputPolicy"`` or a policy class.
        env: Environment with ``MultiBinary(d)`` actions, a vector of them, or a name that
            :func:`isinglass.envs.make_env` knows. Bits observed are seen as spins where the
            observation space is ``MultiBinary`` by itself, not inside a ``Dict``.
        learning_rate: Of Adam; a number, or a function of the remaining progress (1 to 0).
        buffer_size: Transitions kept for replay.
        learning_starts: Environment steps with uniformly random actions before learning.
        batch_size: Transitions a gradient step.
        tau: Fraction of the way the target network moves at each gradient step, 0 to 1.
        gamma: Discount factor γ, 0 to 1.
        train_freq: Environment steps between updates, or ``(n, "step" | "episode")``.
        gradient_steps: Gradient steps an update; −1 for as many as environment steps.
        initial_temperature: T at the start, in units of the reward.
        final_temperature: T after annealing, in units of the reward, no higher than at the start.
        annealing_fraction: Fraction of the training over which T falls; above 1, T never gets
            to its final value.
        max_grad_norm: Largest norm of the gradient; above it the gradient is scaled down.
        replay_buffer_class: Replay buffer, SB3's by default; n-step buffers are honoured.
        replay_buffer_kwargs: Its arguments.
        optimize_memory_usage: Store each observation once (see SB3's ``ReplayBuffer``).
        stats_window_size: Episodes that the logged means are taken over.
        tensorboard_log: Folder of the TensorBoard log, or None.
        policy_kwargs: Arguments of :class:`FreeEnergyPolicy`: ``memories`` (N), ``net_arch``,
            ``state_fields``, ...; not the temperature, which is set above.
        verbose: 0 silent, 1 information, 2 debugging.
        seed: Seed of all random streams: the same seed gives the same run on one machine.
        device: Where the network lives; ``"auto"`` is a GPU if there is one.

    Raises:
        ParameterError: If ``env`` is no environment or its action space is not a one-dimensional
            ``MultiBinary``; a temperature, ``annealing_fraction`` or ``max_grad_norm`` is not a
            finite number above zero; T would rise; ``tau`` or ``gamma`` is not from 0 to 1;
            ``batch_size`` is below one; ``policy_kwargs`` has a temperature; or there is no such
            device.
        UnknownEnvironmentError: If ``env`` is a name that is not known.
        DomainError: From ``learn`` and ``predict``, if an observation, a reward or the loss is
            NaN or infinite.

    Examples:
        >>> from isinglass.envs import LargeAction
        >>> env = LargeAction(state_bits=3, action_bits=8, keys=2)
        >>> agent = FreeEnergyQ("MlpPolicy", env, seed=0, device="cpu").learn(1_000)
        >>> state, _ = env.reset(seed=0)
        >>> action, _ = agent.predict(state, deterministic=True)
        >>> bool((action == env.optimal_action(state)).mean() > 0.8)
        True
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": FreeEnergyPolicy,
        "CnnPolicy": FreeEnergyCnnPolicy,
        "MultiInputPolicy": FreeEnergyMultiInputPolicy,
    }
    policy: FreeEnergyPolicy

    def __init__(
        self,
        policy: str | type[FreeEnergyPolicy],
        env: GymEnv | str | None,
        learning_rate: float | Schedule = 5e-3,
        buffer_size: int = 100_000,
        learning_starts: int = 100,
        batch_size: int = 256,
        tau: float = 0.005,
        gamma: float = 0.99,
        train_freq: int | tuple[int, str] = 4,
        gradient_steps: int = 1,
        initial_temperature: float = 2.0,
        final_temperature: float = 0.1,
        annealing_fraction: float = 0.8,
        max_grad_norm: float = 10.0,
        replay_buffer_class: type[ReplayBuffer] | None = None,
        replay_buffer_kwargs: dict[str, Any] | None = None,
        optimize_memory_usage: bool = False,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        _check_device(device)
        super().__init__(
            policy,
            _environment(env, required=_init_setup_model),
            learning_rate,
            buffer_size,
            learning_starts,
            batch_size,
            tau,
            gamma,
            train_freq,
            gradient_steps,
            replay_buffer_class=replay_buffer_class,
            replay_buffer_kwargs=replay_buffer_kwargs,
            optimize_memory_usage=optimize_memory_usage,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            policy_kwargs=_without_temperature(policy_kwargs),
            verbose=verbose,
            device=device,
            support_multi_env=True,
            seed=seed,
            sde_support=False,
            supported_action_spaces=(spaces.MultiBinary,),
        )
        self.initial_temperature = initial_temperature
        self.final_temperature = final_temperature
        self.annealing_fraction = annealing_fraction
        self.max_grad_norm = max_grad_norm
        if _init_setup_model:
            self._setup_model()

    @property
    def temperature(self) -> float:
        """T, of Q and of the policy alike, in units of the reward."""
        return self.policy.temperature

    def set_random_seed(self, seed: int | None = None) -> None:
        """Seed Python, numpy, torch, the environment and the stream of the actions."""
        super().set_random_seed(seed)
        if seed is not None and hasattr(self, "policy"):
            self.policy.seed(seed)

    def train(self, gradient_steps: int, batch_size: int) -> None:
        """Take steps of the optimizer on replayed transitions, each followed by the target's."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        losses = []
        for _ in range(gradient_steps):
            loss = self._loss(self._replayed(batch_size))
            self.policy.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.policy.q_net.parameters(), self.max_grad_norm)
            self.policy.optimizer.step()
            self.policy.update_target(self.tau)
            losses.append(loss.detach())
        self._n_updates += gradient_steps
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/loss", _finite_loss(float(torch.stack(losses).mean())))

    def learn(
        self: SelfFreeEnergyQ,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 4,
        tb_log_name: str = "FreeEnergyQ",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> SelfFreeEnergyQ:
        """Learn for a number of environment steps; all arguments are Stable-Baselines3's."""
        return super().learn(
            total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar
        )

    def _setup_model(self) -> None:
        self._check_numbers()  # here, so that what ``load`` is given is checked as well
        given = self.policy_kwargs
        self.policy_kwargs = given | {"temperature": self.initial_temperature}
        super()._setup_model()
        self.policy_kwargs = given

    def _check_numbers(self) -> None:
        operation = "FreeEnergyQ"
        for name in _ABOVE_ZERO:
            setattr(self, name, check_positive(operation, name, getattr(self, name)))
        for name in ("tau", "gamma"):
            setattr(self, name, check_fraction(operation, name, getattr(self, name)))
        self.batch_size = check_count(operation, "batch_size", self.batch_size)
        if self.final_temperature > self.initial_temperature:
            raise ParameterError(
                operation,
                f"final_temperature = {self.final_temperature} above "
                f"initial_temperature = {self.initial_temperature}",
                "Give a final_temperature no higher than initial_temperature: T falls",
            )

    def _setup_learn(self, *args: Any, **kwargs: Any) -> tuple[int, BaseCallback]:
        ready = super()._setup_learn(*args, **kwargs)
        check_real("FreeEnergyQ.learn", "the first observation", self._last_obs)
        return ready

    def _store_transition(
        self,
        replay_buffer: ReplayBuffer,
        buffer_action: np.ndarray,
        new_obs: np.ndarray | dict[str, np.ndarray],
        reward: np.ndarray,
        dones: np.ndarray,
        infos: list[dict[str, Any]],
    ) -> None:
        """Keep out what would turn the weights into NaN many steps later."""
        check_real("FreeEnergyQ.learn", "the reward", reward)
        check_real("FreeEnergyQ.learn", "the observation", new_obs)
        for info in infos:
            if "terminal_observation" in info:
                check_real(
                    "FreeEnergyQ.learn", "the last observation", info["terminal_observation"]
                )
        super()._store_transition(replay_buffer, buffer_action, new_obs, reward, dones, infos)

    def _on_step(self) -> None:
        annealed = min((1 - self._current_progress_remaining) / self.annealing_fraction, 1.0)
        ratio = self.final_temperature / self.initial_temperature
        self.policy.temperature = self.initial_temperature * ratio**annealed
        self.logger.record("rollout/temperature", self.policy.temperature)

    def _replayed(self, batch_size: int) -> ReplayBufferSamples | DictReplayBufferSamples:
        if self.replay_buffer is None:
            raise ParameterError("FreeEnergyQ.train", "no replay buffer", "Call learn() first")
        return self.replay_buffer.sample(batch_size, env=self._vec_normalize_env)

    def _loss(self, batch: ReplayBufferSamples | DictReplayBufferSamples) -> Tensor:
        values = self.policy.action_values(batch.observations, batch.actions.float())
        return F.mse_loss(values, self._targets(batch))

    @torch.no_grad()
    def _targets(self, batch: ReplayBufferSamples | DictReplayBufferSamples) -> Tensor:
        """R + γ(1 − done)·V_target(s'); done is 0 where an episode was only cut short."""
        rewards, dones = batch.rewards.flatten(), batch.dones.flatten()
        if bool(dones.all()):  # nothing follows: spare the target network
            return rewards
        # n-step buffers say by how much each return is discounted
        discounts = getattr(batch, "discounts", None)
        gamma = self.gamma if discounts is None else discounts.flatten()
        return rewards + gamma * (1 - dones) * self.policy.target_values(batch.next_observations)

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy", "policy.optimizer"], []


def _environment(env: object, required: bool) -> Any:
    """The environment; None only where ``load`` builds an agent without one."""
    if isinstance(env, str):
        env = make_env(env)
    if env is None and not required:
        return None
    if not isinstance(env, Env | VecEnv):
        raise ParameterError(
            "FreeEnergyQ",
            f"env = {env!r}, which is no environment",
            "Give a gymnasium.Env, a VecEnv of Stable-Baselines3, or the name of an environment",
        )
    _check_action_space(getattr(env, "action_space", None))
    return env


def _check_device(device: torch.device | str) -> None:
    """Refuse a device that is not there, where SB3 would take another without a word."""
    if device == "auto":
        return
    try:
        torch.empty(0, device=torch.device(device))
    except (AssertionError, NotImplementedError, RuntimeError, TypeError) as error:
        raise ParameterError(
            "FreeEnergyQ",
            f"device = {str(device)!r}, which this machine or this torch does not have",
            "Give device='cpu', or 'auto' for a GPU if there is one",
        ) from error


def _without_temperature(policy_kwargs: dict[str, Any] | None) -> dict[str, Any]:
    given = dict(policy_kwargs or {})
    if "temperature" in given:
        raise ParameterError(
            "FreeEnergyQ",
            f"policy_kwargs with temperature = {given['temperature']!r}",
            "Give initial_temperature and final_temperature to the agent instead",
        )
    return given


def _finite_loss(loss: float) -> float:
    if not math.isfinite(loss):
        raise DomainError(
            "FreeEnergyQ.train",
            f"a loss of {loss}",
            "Lower the learning rate or max_grad_norm, and see that a loaded replay buffer holds "
            "no NaN; then start from an earlier agent",
        )
    return loss


def _check_action_space(space: object) -> None:
    if not isinstance(space, spaces.MultiBinary) or len(space.shape) != 1:
        raise ParameterError(
            "FreeEnergyQ",
            f"the action space {space}",
            "Supported is MultiBinary(d) of one dimension: wrap the environment in "
            "gymnasium.wrappers.TransformAction to encode its actions as bits, or use "
            "stable_baselines3.PPO",
        )
