"""FreeEnergyQ: soft Q-learning over actions too many to enumerate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, TypeAlias, TypeVar

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, PyTorchObs, Schedule
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from isinglass.agents._arguments import (
    LOSSES,
    check_learning,
    check_policy,
    check_settings,
    check_storage,
    check_surroundings,
    environment,
    without,
)
from isinglass.agents._faults import (
    agent_file,
    check_agent_file,
    finite_loss,
    fitting_weights,
    same_spaces,
    whole_steps,
)  # fmt: skip
from isinglass.agents._warnings import warn_of_few_steps, warn_of_spaces
from isinglass.agents.actions.action_energies import ActionEnergy
from isinglass.agents.actions.action_structure import stored_space
from isinglass.agents.backups import Backup, SoftBackup
from isinglass.agents.defaults import SELDOM, default_buffer, rate_for, update_pace
from isinglass.agents.extractors.episodic_memory import EpisodicMemory
from isinglass.agents.input_policies import FreeEnergyCnnPolicy, FreeEnergyMultiInputPolicy
from isinglass.agents.mask_reader import lend_masks
from isinglass.agents.network import FreeEnergyNetwork, check_seen
from isinglass.agents.offline.learning_from_data import LearningFromData
from isinglass.agents.policy import Constraint, FreeEnergyPolicy
from isinglass.agents.replay.episode_replay_buffer import check_pasts
from isinglass.agents.replay.transitions import Transitions, split_rows
from isinglass.agents.return_range import kept_within, widened
from isinglass.agents.temperature import reward_range, spread_range
from isinglass.errors import ParameterError

__all__ = ["FreeEnergyQ"]

LOOK_EVERY = 4  # updates, for the spread of the values
FRESH = 0.2  # the share of what is found then
MOST_TOGETHER = 16  # gradient steps whose targets are made at once
NUMBERS_TOGETHER = 2**20  # in the observations that are looked at for it
#: From values Q(s, a) and their targets to one number to differentiate.
Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]

SelfFreeEnergyQ = TypeVar("SelfFreeEnergyQ", bound="FreeEnergyQ")


class FreeEnergyQ(LearningFromData):
    r"""Soft Q-learning where Q = −F, the negative free energy of actions under an energy.

    An action is a state of units: d bits are spins a = ±1, choices are one-hot, real actions
    Gaussian. With the default energy, :class:`MixtureEnergy`, each of N memories has a key k_μ(s),
    from a network, and an action field θ_μ(s). From there on everything is exact, at a cost of
    O(N·d) for 2^d actions:

        Q(s,a) = T log Σ_μ exp((k_μ(s) + Σ_i θ_μi(s) a_i)/T) − T log N
        V(s)   = T log Σ_a exp(Q(s,a)/T)
        π(a|s) = exp((Q(s,a) − V(s))/T)                     sampled exactly: μ first, then all bits
        loss   = (Q(s,a) − r − γ (1 − done) (V_target(s') − T log |A|))²   mellow Bellman backup

    :class:`ProductOfMixtures`, :class:`RBMEnergy` and :class:`DBMEnergy` are products of experts;
    their actions are drawn by block Gibbs, annealed inside each action, and V is estimated by the
    way. Where there are few actions these are enumerated.

    One temperature T serves Q, V, π and the target. It falls by a constant factor a step; by
    default it is counted in the spread σ of the values,

        T = σ (1 → 0.1/√d),   σ = E_s[√Var_a Q(s, a)],   a uniform over what is allowed in s

    d the number of bits, choices or axes of an action, so that the unit of the rewards does not
    matter: the same task in another one is learned by the same actions. Acting samples π;
    ``predict(deterministic=True)`` is greedy. A time limit does not count as ``done``. What an
    action mask forbids is neither taken nor backed up, whether ``info["action_mask"]``, an entry
    of the observations or ``action_masks()`` tells it. Where actions can be listed, states are
    whole numbers and T is ``"auto"``, what was never done in a state is done there once the state
    was met as often as there are actions: its value is a guess until then.

    All else, ``learn``, ``predict``, ``save``, ``load``, callbacks, loggers, vector environments,
    is Stable-Baselines3's. The random stream of the actions belongs to the policy and is saved
    with it.

    References: Sallans & Hinton 2004, "Reinforcement learning with factored states and actions",
    JMLR 5:1063-1088 (Q = −F); Haarnoja et al. 2017, arXiv:1702.08165 (soft backup).

    Args:
        policy: ``"MlpPolicy"``, ``"CnnPolicy"``, ``"MultiInputPolicy"`` or a policy class.
        env: Environment with ``MultiBinary``, ``MultiDiscrete``, ``Discrete`` or bounded ``Box``
            actions, or a ``Dict`` or ``Tuple`` of these; a vector of them; or a name that
            :func:`isinglass.envs.make_env` knows. Bits observed are seen as spins where the
            observation space is ``MultiBinary`` by itself, not inside a ``Dict``.
        energy: The energy of the actions; None is a :class:`MixtureEnergy` that fits their space:
            for one choice a value an action, else 32 memories, for bits and several choices bent
            alike by the state; where these are over 256, in episodes of one step, what leaves half
            the error: :class:`PairwiseEnergy` after 1,000, :class:`RBMEnergy` after 5,000; of
            20,000 steps and more a quarter is uniform for it. ``"auto"`` compares others when
            learning starts (:func:`compare_energies`), after 2,000 random steps if that is later.
        backup: What values are learned towards; None is ``SoftBackup(mellowmax=True)``, under
            which wandering is worth nothing; where actions can be listed and T is ``"auto"``,
            :class:`NoveltyBackup`, until a reward is not 0, if states are whole numbers; or fading,
            of an eighth of the steps, where most first rewards were the same, no end worth more.
        loss: ``"mse"``, ``"huber"``, or a function of values and targets that gives their mean
            loss, such as ``torch.nn.functional.smooth_l1_loss``.
        learning_rate: Of Adam; a number, or a function of the remaining progress (1 to 0); None is
            2e-3 to 1e-4; over 256 actions of d parts 0.05/√d, at most 0.01, to 0 but in mixtures;
            5e-3 to 1e-3 where some of many parts are real.
        buffer_size: Transitions kept for replay.
        learning_starts: Environment steps with uniformly random actions before learning.
        batch_size: Transitions a gradient step.
        tau: Fraction of the way the target network moves for each gradient step, 0 to 1. It
            moves after an update, or after 16 of its gradient steps.
        gamma: Discount factor γ, 0 to 1.
        n_steps: Steps whose rewards are summed before the value of the next state is taken.
        train_freq: Environment steps between updates, or ``(n, "step" | "episode")``; 4 if
            ``gradient_steps`` alone is given.
        gradient_steps: Of an update; −1 for as many as environment steps, 0 for none; 1 if
            ``train_freq`` alone is given. With neither, one for every 4 steps of an environment, in
            short runs as many as make 6,000, at most one a step; four or more at once.
        temperature: ``"auto"``, T in units of σ; or a constant T in units of the reward.
        initial_temperature: T at the start, in units of the reward, in place of ``"auto"``; 1 if
            only the next is given.
        final_temperature: T after annealing, in units of the reward, no higher than at the start;
            0.05 if only the former is given.
        annealing_fraction: Fraction of the training over which T falls; above 1, T never gets
            to its final value.
        max_grad_norm: Largest norm of the gradient; above it the gradient is scaled down.
        replay_buffer_class: Replay buffer; by default one of n steps that keeps masks.
        replay_buffer_kwargs: Its arguments.
        optimize_memory_usage: Store each observation once. Time limits then count as ``done``,
            as ``replay_buffer_kwargs={"handle_timeout_termination": False}`` has to say; and
            observations may not be a ``Dict``.
        stats_window_size: Episodes that the logged means are taken over.
        tensorboard_log: Folder of the TensorBoard log, or None.
        policy_kwargs: Arguments of :class:`FreeEnergyPolicy`: ``net_arch``, ...; not energy and
            temperature, which are set above.
        verbose: 0 silent, 1 information, 2 debugging.
        seed: Seed of all random streams: the same seed gives the same run to the bit on one
            machine, with one version of torch and one number of threads.
        device: Where the network lives; ``"auto"`` is a GPU if there is one.

    Raises:
        ParameterError: If ``env`` is no environment or its action space is not supported; the
            energy has no distribution over it; ``loss`` is none; T is given in two ways; a
            temperature, ``annealing_fraction`` or ``max_grad_norm`` is not a finite number above
            zero; T would rise; ``tau`` or ``gamma`` is not from 0 to 1; a count is no whole number
            or too small; the policy is none, or none for such observations; ``policy_kwargs`` has
            what it does not take or what is set above; or there is no such device.
        UnknownEnvironmentError: If ``env`` is a name that is not known.
        DivergenceError: From ``learn``, if the loss or the values are NaN or infinite: the
            learning rate is too high.
        DomainError: From ``learn`` and ``predict``, if an observation or a reward is NaN,
            infinite or no number, or a mask forbids every action.
        ShapeError: From ``learn`` and ``predict``, if an observation or a mask does not fit.

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
    q_net: FreeEnergyNetwork
    q_net_target: FreeEnergyNetwork
    _rule: ClassVar[str] = "FreeEnergyQ"  # a subclass that learns otherwise has another name

    def __init__(
        self,
        policy: str | type[FreeEnergyPolicy],
        env: GymEnv | VectorEnv | str | None,
        energy: ActionEnergy | str | None = None,
        backup: Backup | None = None,
        loss: str | Loss = "mse",
        learning_rate: float | Schedule | None = None,
        buffer_size: int = 100_000,
        learning_starts: int = 100,
        batch_size: int = 256,
        tau: float = 0.03,
        gamma: float = 0.99,
        n_steps: int = 1,
        train_freq: int | tuple[int, str] | None = None,
        gradient_steps: int | None = None,
        temperature: float | str = "auto",
        initial_temperature: float | None = None,
        final_temperature: float | None = None,
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
        seed = check_surroundings(device, seed, verbose)
        given = environment(env, required=_init_setup_model)
        if _init_setup_model:  # else ``load`` brings what was checked when it was made
            check_policy(policy, self.policy_aliases, policy_kwargs, given.observation_space)
            warn_of_spaces(given, policy_kwargs)
        super().__init__(
            policy, given, rate_for(given, learning_rate, energy), buffer_size, learning_starts,
            batch_size, tau, gamma, SELDOM if train_freq is None else train_freq,
            1 if gradient_steps is None else gradient_steps,
            replay_buffer_class=replay_buffer_class, replay_buffer_kwargs=replay_buffer_kwargs,
            optimize_memory_usage=optimize_memory_usage, stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            policy_kwargs=without(policy_kwargs, "temperature", "energy"),
            verbose=verbose, device=device, support_multi_env=True, seed=seed, sde_support=False,
        )  # fmt: skip
        self.energy: Any = energy  # None until the space of the actions is known
        self.backup = SoftBackup(mellowmax=True) if backup is None else backup
        self._rates_itself, self._explores_itself = learning_rate is None, backup is None
        self._paces_itself = train_freq is None and gradient_steps is None
        self.loss, self.n_steps = loss, n_steps
        ends = reward_range(temperature, initial_temperature, final_temperature)
        self.initial_temperature, self.final_temperature = ends
        self.annealing_fraction = annealing_fraction
        self.spread: float | None = None  # of the values, once they are learned
        self.max_grad_norm = max_grad_norm
        self._saved_by = self._rule
        if _init_setup_model:
            self._setup_model()

    @property
    def temperature(self) -> float:
        """The temperature T, of Q and of the policy alike, in units of the reward."""
        return self.policy.temperature

    @property
    def _waits_for_reward(self) -> bool:
        return self.initial_temperature is None and not self.backup.explores

    @property
    def _warmth(self) -> float | None:
        """√(T/σ): T/σ, what T is of the spread of all values, falls too fast to try all."""
        if self.initial_temperature is not None or not self.spread:
            return None
        return math.sqrt(self.temperature / self.spread)

    def set_random_seed(self, seed: int | None = None) -> None:
        """Seeds Python, numpy, torch, the environment and the stream of the actions."""
        super().set_random_seed(seed)
        if seed is not None and hasattr(self, "policy"):
            self.policy.seed(seed)

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
        action_masks: Any = None,
        fixed: Any = None,
        constraint: Constraint | None = None,
    ) -> tuple[Any, tuple[np.ndarray, ...] | None]:
        """Returns actions under restrictions, as :meth:`FreeEnergyPolicy.predict` does.

        Examples:
            >>> agent = FreeEnergyQ("MlpPolicy", "isinglass/LargeAction-v0", device="cpu")
            >>> half = np.where(np.arange(40) < 20, 1.0, np.nan)
            >>> action, _ = agent.predict(np.zeros(12), fixed=half)
            >>> int(action[:20].sum())
            20
        """
        return self.policy.predict(
            observation, state, episode_start, deterministic, action_masks, fixed, constraint
        )

    def set_env(self, env: GymEnv | VectorEnv | str, force_reset: bool = True) -> None:
        """Goes on in another environment of the same spaces.

        Raises:
            ParameterError: If it has other spaces, is another number of environments at a time,
                or is no environment.
        """
        given = environment(env, required=True)
        count = given.num_envs if isinstance(given, VecEnv) else 1
        if count != self.n_envs:
            raise ParameterError(
                f"{count} environments at a time, where the agent has learned in {self.n_envs}",
                f"Save it, and {type(self).__name__}.load(path, env=env): the buffer begins anew",
            )
        with same_spaces(f"{type(self).__name__}.set_env"):
            super().set_env(given, force_reset)

    def save(self, path: Any, exclude: Any = None, include: Any = None) -> None:
        """Writes the agent to a file, its random stream too; all arguments are SB3's.

        What was at the path stays there until the new file is whole.

        Raises:
            FileError: If it cannot be written there.
        """
        self._acting_state = self.policy.acting_state
        with agent_file(path) as file:
            super().save(file, exclude, include)

    @classmethod
    def load(  # pyright: ignore[reportIncompatibleMethodOverride]
        cls: type[SelfFreeEnergyQ],
        path: Any,
        env: GymEnv | VectorEnv | str | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> SelfFreeEnergyQ:
        """Reads an agent from a file; all arguments are Stable-Baselines3's.

        Raises:
            FileError: If there is no such file, it is damaged, another class saved it, or its
                weights do not fit.
            ParameterError: If the agent has learned in other spaces than those of ``env``.
        """
        operation = f"{cls.__name__}.load"
        check_agent_file(operation, path, cls._rule)
        with same_spaces(operation), fitting_weights(operation, path):
            agent = super().load(path, environment(env, required=False), *args, **kwargs)
        agent.policy.acting_state = agent._acting_state
        return agent

    def train(self, gradient_steps: int, batch_size: int) -> None:
        """Takes steps of the optimizer on replayed transitions, and the target network's.

        Transitions of several steps are drawn, and their targets made, in one go.
        """
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        self._look()
        losses, most = [], self._steps_together(batch_size)
        for done in range(0, gradient_steps, most):
            together = min(most, gradient_steps - done)
            for minibatch in self._minibatches(together, batch_size):
                loss = self._loss(*minibatch)
                for weight in self.policy.weights:  # the optimizer takes longer to do the same
                    weight.grad = None
                loss.backward()
                self.policy.clip_gradients(self.max_grad_norm)
                self.policy.optimizer.step()
                losses.append(loss.detach())
            self.policy.update_target(1 - (1 - self.tau) ** together)
        self._n_updates += gradient_steps
        self._tail.take(self.policy.weights, self._current_progress_remaining)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/loss", finite_loss(float(torch.stack(losses).mean())))

    def learn(
        self: SelfFreeEnergyQ,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 4,
        tb_log_name: str | None = None,
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> SelfFreeEnergyQ:
        """Learns for a number of environment steps; all arguments are Stable-Baselines3's.

        ``tb_log_name`` is the name of the class if it is not given. In the end weights are the mean
        of those of the last tenth of the training.
        """
        total_timesteps = check_learning(
            total_timesteps, callback, log_interval, reset_num_timesteps, progress_bar
        )
        warn_of_few_steps(self, total_timesteps, reset_num_timesteps)
        with whole_steps(f"{type(self).__name__}.learn"):
            name = tb_log_name or type(self).__name__
            rest = log_interval, name, reset_num_timesteps, progress_bar
            learned = super().learn(total_timesteps, callback, *rest)
        self._tail.settle(self.policy.weights)
        return learned

    def _setup_model(self) -> None:
        self._plan_looks()
        check_settings(self)  # here, so that what ``load`` is given is checked as well
        if self.optimize_memory_usage:
            check_storage(self.replay_buffer_kwargs, self.observation_space)
        given, n_steps = self.policy_kwargs, self.n_steps
        buffer, settings = self.replay_buffer_class, self.replay_buffer_kwargs
        self.policy_kwargs = given | {
            "temperature": self.initial_temperature or 1.0,
            "energy": self.energy,
        }
        if buffer is None:
            self.replay_buffer_class, chosen = default_buffer(self)
            self.replay_buffer_kwargs = chosen | settings
            self.n_steps = 1  # or SB3 would look for a buffer of its own
        actions, self.action_space = self.action_space, stored_space(self.action_space)
        super()._setup_model()
        self.action_space = actions
        check_pasts(self.policy.q_net.extractor, self.replay_buffer)
        self.q_net, self.q_net_target = self.policy.q_net, self.policy.q_net_target
        # All as it was, so that a saved agent is set up the same way.
        self.policy_kwargs, self.n_steps = given, n_steps
        self.replay_buffer_class, self.replay_buffer_kwargs = buffer, settings

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        reset_num_timesteps: bool = True,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[int, BaseCallback]:
        fresh = self._last_obs is None or reset_num_timesteps
        lend_masks(callback, None)  # SB3 compares the kinds of environments
        ready = super()._setup_learn(
            total_timesteps, callback, reset_num_timesteps, *args, **kwargs
        )
        self._pace_over(self._total_timesteps)
        check_seen("the first observation", self._last_obs, self.observation_space)
        if fresh:
            self._look_for_masks()
        lend_masks(ready[1], self.env, lambda: self.policy.masks_told)
        return ready

    def _pace_over(self, total_steps: int) -> None:
        """Sets how often to update in a training of so many steps, where nothing was said."""
        if self._paces_itself:
            self.train_freq, self.gradient_steps = update_pace(total_steps, self.n_envs)

    def _on_step(self) -> None:
        first, last = self.initial_temperature, self.final_temperature
        if first is None or last is None:
            first, last = spread_range(self.spread, self.action_space)
        share = min((1 - self._current_progress_remaining) / self.annealing_fraction, 1.0)
        self.policy.temperature = first * (last / first) ** share
        self.logger.record("rollout/temperature", self.policy.temperature)

    def _steps_together(self, batch_size: int) -> int:
        """Returns for how many gradient steps targets are made at once: few for large inputs."""
        numbers = batch_size * spaces.flatdim(self.observation_space)
        if isinstance(self.q_net.extractor, EpisodicMemory):
            numbers *= 1 + self.q_net.extractor.length
        return min(MOST_TOGETHER, max(1, NUMBERS_TOGETHER // numbers))

    def _minibatches(self, steps: int, batch_size: int) -> Iterable[tuple[Any, ...]]:
        """Yields what :meth:`_loss` takes, for each of some gradient steps."""
        batch = self._sample_transitions(steps * batch_size)
        parts = (batch.observations, batch.actions, self._targets(batch))
        return zip(*(split_rows(part, batch_size) for part in parts), strict=True)

    def _loss(self, observations: PyTorchObs, actions: Tensor, targets: Tensor) -> Tensor:
        loss = LOSSES[self.loss] if isinstance(self.loss, str) else self.loss
        values = self.policy.action_values(observations, actions)
        size = self.q_net.head.reward_size
        return loss(values / size, targets / size)

    @torch.no_grad()
    def _targets(self, batch: Transitions) -> Tensor:
        """Returns the targets of the backup; done is 0 where an episode was only cut short."""
        discounts = self.discounts(batch)
        if self.initial_temperature is None and self._n_updates % LOOK_EVERY == 0:
            found = self._value_spread(batch, discounts)
            before = found if self.spread is None else self.spread
            self.spread = before + FRESH * (found - before)
        targets = self.backup.target(self.policy, batch, discounts)
        if not self.backup.bounded:
            return targets
        low, high = self._returns  # a list, once it was read from a file
        self._returns = widened((low, high), batch.rewards.flatten(), discounts)
        return kept_within(self._returns, targets)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "q_net", "q_net_target", "_tail"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy", "policy.optimizer"], []
