"""Backups: what the value of the next state is, in Bellman's equation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from stable_baselines3.common.type_aliases import PyTorchObs
from torch import Tensor

from isinglass._support.typing import Float
from isinglass.agents.policy import FreeEnergyPolicy

__all__ = ["Backup", "DoubleBackup", "SoftBackup"]


class Backup(ABC):
    """The value of the next states, from which targets r + γ(1 − done)·value are made."""

    @abstractmethod
    def __call__(
        self, policy: FreeEnergyPolicy, obs: PyTorchObs, masks: Tensor | None
    ) -> Float[Tensor, " batch"]:
        """Values of the states.

        Args:
            policy: Network, target network, temperature and random stream.
            obs: The next states.
            masks: Which actions are allowed there; None if all are.
        """


@dataclass(frozen=True)
class SoftBackup(Backup):
    """V(s') = T log Σ_a exp(Q_target(s',a)/T): exact for :class:`MixtureEnergy`, else by annealing.

    With ``mellowmax`` it is T log of the mean over all actions: entropy is counted from that of
    uniform actions, so that many actions are not worth more than few.

    Reference: Haarnoja et al. 2017, arXiv:1702.08165 (soft); Asadi & Littman 2017,
    arXiv:1612.05628 (mellowmax).

    Args:
        mellowmax: Mean instead of sum.
    """

    mellowmax: bool = False

    def __call__(
        self, policy: FreeEnergyPolicy, obs: PyTorchObs, masks: Tensor | None
    ) -> Float[Tensor, " batch"]:
        """V of the target network."""
        value = policy.distribution(obs, masks, target=True).value(policy.generator)
        if not self.mellowmax:
            return value
        return value - policy.temperature * policy.log_action_count(masks)


@dataclass(frozen=True)
class DoubleBackup(Backup):
    """Q_target(s', a*) with a* greedy for the network that learns: no entropy, less optimism.

    Reference: van Hasselt, Guez & Silver 2016, "Deep reinforcement learning with double
    Q-learning", arXiv:1509.06461.
    """

    def __call__(
        self, policy: FreeEnergyPolicy, obs: PyTorchObs, masks: Tensor | None
    ) -> Float[Tensor, " batch"]:
        """Q_target of the greedy action."""
        best = policy.distribution(obs, masks).mode()
        return policy.distribution(obs, target=True).score(best)
