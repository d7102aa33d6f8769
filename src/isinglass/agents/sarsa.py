"""SARSA on free energies, as Sallans & Hinton learned: the historical baseline."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from isinglass.agents._arguments import without
from isinglass.agents.actions.action_energies import ActionEnergy, RBMEnergy
from isinglass.agents.free_energy_q import FreeEnergyQ
from isinglass.agents.replay.replay_buffer import MaskedReplayBuffer
from isinglass.agents.replay.transitions import Transitions
from isinglass.errors import ParameterError

__all__ = ["FreeEnergySarsa"]

#: Arguments of FreeEnergyQ for replay, targets and their loss: the rule fixes them all.
OF_REPLAY = (
    "backup",
    "batch_size",
    "gradient_steps",
    "loss",
    "n_steps",
    "replay_buffer_kwargs",
    "tau",
    "train_freq",
)


#: What the heads of FreeEnergyQ have beyond a machine over state and action: values on a learned
#: scale, and fields of the action that the state bends without hidden units.
ADDED = ("log_scale", "offset", "bias.weight")


class FreeEnergySarsa(FreeEnergyQ):
    r"""The agent of Sallans & Hinton (2004): SARSA with Q = −F of a restricted Boltzmann machine.

        Δθ = ε (r + γ Q(s', a') − Q(s, a)) ∂Q(s,a)/∂θ,   Q = −F,   a, a' ~ exp(Q/T)

    State and action are visible units under one hidden layer, one plain gradient step is taken for
    every step of the environment, on that step alone: no replay, no target network, no momentum,
    and values on no learned scale. a' is the action that is taken next; where an episode
    terminates, Q(s', a') is zero.

    Reference: Sallans & Hinton 2004, "Reinforcement learning with factored states and actions",
    JMLR 5:1063-1088; Rummery & Niranjan 1994, "On-line Q-learning using connectionist systems".

    Args:
        policy: As of :class:`FreeEnergyQ`.
        env: As of :class:`FreeEnergyQ`.
        energy: :class:`RBMEnergy` by default; its hidden units see the state directly.
        learning_rate: ε.
        initial_temperature: T at the start, in units of the reward.
        final_temperature: T after annealing, in units of the reward.
        policy_kwargs: As of :class:`FreeEnergyQ`; ``net_arch`` is empty by default.
        learning_starts: As of :class:`FreeEnergyQ`; none by default.
        max_grad_norm: As of :class:`FreeEnergyQ`; in effect none by default.
        **kwargs: The other arguments of :class:`FreeEnergyQ`.

    Raises:
        ParameterError: As :class:`FreeEnergyQ`; or for an argument of replay, of the target
            network or of the loss, which there are not.

    Examples:
        >>> from isinglass.envs import LargeAction
        >>> env = LargeAction(state_bits=3, action_bits=6, keys=2)
        >>> agent = FreeEnergySarsa("MlpPolicy", env, seed=0, device="cpu").learn(200)
        >>> agent.predict(env.reset(seed=0)[0])[0].shape
        (6,)
    """

    _rule = "FreeEnergySarsa"
    averaged = 0.0  # the rule has nothing of it

    def __init__(
        self,
        policy: Any,
        env: Any,
        energy: ActionEnergy | None = None,
        learning_rate: Any = 0.01,
        initial_temperature: float = 1.0,
        final_temperature: float = 0.1,
        policy_kwargs: dict[str, Any] | None = None,
        learning_starts: int = 0,
        max_grad_norm: float = 1e9,
        **kwargs: Any,
    ) -> None:
        for name in OF_REPLAY:
            if name in kwargs:
                raise ParameterError(
                    f"{name} = {kwargs[name]!r}, where nothing is replayed and the rule is fixed",
                    "Leave it out, or use FreeEnergyQ",
                )
        kwargs.setdefault("buffer_size", 1_000)
        plain = {"net_arch": [], "optimizer_class": torch.optim.SGD}
        super().__init__(
            policy,
            env,
            RBMEnergy() if energy is None else energy,
            learning_rate=learning_rate,
            initial_temperature=initial_temperature,
            final_temperature=final_temperature,
            policy_kwargs=plain | without(policy_kwargs),
            learning_starts=learning_starts,
            max_grad_norm=max_grad_norm,
            train_freq=1,
            **kwargs,
        )

    def _setup_model(self) -> None:
        super()._setup_model()
        for name, weight in self.policy.q_net.head.named_parameters():
            weight.requires_grad_(name not in ADDED)

    def _sample_transitions(self, batch_size: int) -> Any:
        """Returns the newest step whose next action is known, of every environment."""
        buffer = self.replay_buffer
        if not isinstance(buffer, MaskedReplayBuffer):
            raise ParameterError(f"a buffer {buffer!r}", "Leave the default")
        return buffer.last_pair(self._vec_normalize_env)

    def _start_values(self, usual_size: float | None = None) -> None:
        """Leaves values where the weights put them: the rule has nothing else."""

    def train(self, gradient_steps: int, batch_size: int) -> None:
        """Takes one step of the optimizer, once there are two steps of the environment."""
        if self.replay_buffer is not None and self.replay_buffer.size() > 1:
            super().train(1, batch_size)

    def _minibatches(self, steps: int, batch_size: int) -> Iterable[tuple[Any, ...]]:
        """Returns that step: there is one a gradient step."""
        return [self._sample_transitions(batch_size)]

    def _loss(self, now: Transitions, following: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Returns ½ (r + γ Q(s', a') − Q(s, a))², whose gradient at fixed Q(s', a') is the rule."""
        values = self.policy.action_values(now.observations, now.actions)
        with torch.no_grad():
            after = self.policy.action_values(now.next_observations, following)
            gamma = self.gamma * (1 - now.dones.flatten())
            targets = now.rewards.flatten() + gamma * after
        losses = nn.functional.mse_loss(values, targets, reduction="none") / 2
        counted = losses[now.valid]
        return counted.sum() / max(1, len(counted))
