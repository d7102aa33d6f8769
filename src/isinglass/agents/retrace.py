"""Retrace: targets of several steps that others' actions may have taken, corrected for that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import Tensor

from isinglass._support.typing import Float
from isinglass._support.validation import check_count, check_flag, check_fraction
from isinglass.agents.backups import Backup, SoftBackup
from isinglass.agents.policy import FreeEnergyPolicy
from isinglass.agents.replay.transitions import Following, Transitions
from isinglass.errors import ParameterError

__all__ = ["RetraceBackup"]


@dataclass(frozen=True)
class RetraceBackup(Backup):
    r"""A soft Retrace(λ): rewards of several steps, as far as the policy would have taken them.

        y_t = r_t + γ V(s_{t+1}) + Σ_{k≥1} γ^k (Π_{i=1}^{k} c_{t+i}) δ_{t+k}
        δ_j = r_j + γ V(s_{j+1}) − Q_target(s_j, a_j)
        c_j = λ min(1, π(a_j|s_j)/μ(a_j|s_j))

    V is the soft value of the target network, and π its policy, at the temperature of now; μ is
    the policy that acted then, uniform before learning starts. V(s_j) − Q(s_j, a_j) is
    −T log π(a_j|s_j), so that the entropy of every step is counted in its δ. With the soft Q*
    every δ is zero on average over s_{j+1}, whatever was done and whatever c is: Q* is the fixed
    point, as it is of :class:`SoftBackup`, which λ = 0 gives. Sums end with the episode, where it
    was cut short, and where μ is not known.

    Rewards of n steps without such a correction, ``n_steps``, are those of old policies.

    Reference: Munos, Stepleton, Harutyunyan & Bellemare 2016, "Safe and efficient off-policy
    reinforcement learning", arXiv:1606.02647; Haarnoja et al. 2017, arXiv:1702.08165 (soft V).

    Args:
        length: How many steps are looked at, those without ``lambda_`` included.
        lambda_: λ from 0 to 1.
        mellowmax: Whether V is T log of the mean over all actions and not of the sum, as in
            :class:`SoftBackup`.

    Raises:
        ParameterError: If ``length`` is no whole number of at least 1, or λ not from 0 to 1.

    Examples:
        >>> from isinglass.agents import FreeEnergyQ
        >>> from isinglass.envs import LargeAction
        >>> agent = FreeEnergyQ("MlpPolicy", LargeAction(), backup=RetraceBackup(length=4))
        >>> agent.replay_buffer.sequence_length
        4
    """

    length: int = 8
    lambda_: float = 1.0
    mellowmax: bool = True

    def __post_init__(self) -> None:
        check_count("length", self.length)
        check_fraction("lambda_", self.lambda_)
        check_flag("mellowmax", self.mellowmax)

    @property
    def sequence_length(self) -> int:
        """How many steps in a row a target is made of."""
        return self.length

    def target(
        self, policy: FreeEnergyPolicy, batch: Transitions, discounts: Float[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Returns y, from what followed each transition.

        Raises:
            ParameterError: If the replay buffer does not give it.
        """
        if self.length == 1:
            return SoftBackup(self.mellowmax).target(policy, batch, discounts)
        following = batch.following
        if following is None:
            raise ParameterError(
                "a replay buffer without sequences, from which Retrace cannot learn",
                "Leave replay_buffer_class out, or give replay_buffer_kwargs="
                f"{{'sequence_length': {self.length}}} to a MaskedReplayBuffer",
            )
        shape = len(discounts), 1 + following.rewards.shape[1]
        reached, masks = _reached(batch, following), None
        if batch.next_masks is not None and following.next_masks is not None:
            masks = _rows(batch.next_masks, following.next_masks)
        elif isinstance(reached, dict):
            masks = policy.observed_masks(reached)
        found = policy.distribution(reached, masks, target=True)
        soft = found.value(policy.generator).reshape(shape)
        value = soft
        if self.mellowmax:
            count = policy.log_action_count(masks)
            count = torch.as_tensor(count, dtype=soft.dtype, device=soft.device)
            value = soft - policy.temperature * count.expand(soft.numel()).reshape(shape)
        first = batch.rewards.flatten() + discounts * value[:, 0]
        # s_j of a further step is where the one before has led: its row among those reached.
        rows = following.actions.flatten(0, 1)
        states = policy.code.encode(rows).reshape(*shape[:1], shape[1] - 1, -1)
        states = torch.cat([states, states[:, -1:]], 1).flatten(0, 1)
        scores = found.score(states).reshape(shape)[:, :-1]
        log_ratio = (scores - soft[:, :-1]) / policy.temperature - following.log_behavior
        traces = self.lambda_ * torch.exp(log_ratio.clamp_max(0)).nan_to_num(0)
        traces = traces.where(following.counted, 0).cumprod(1)
        errors = following.rewards + following.discounts * value[:, 1:] - scores
        until = torch.cat([discounts.unsqueeze(1), following.discounts[:, :-1]], 1).cumprod(1)
        added = until * traces * errors.where(traces > 0, 0)
        return first + added.sum(1)


def _reached(batch: Transitions, following: Following) -> PyTorchObs:
    """Returns where each step led: the first one of a sequence, then the further ones of it."""
    first: Any = batch.next_observations
    others: Any = following.next_observations
    if isinstance(first, dict):
        return {key: _rows(part, others[key]) for key, part in first.items()}
    return _rows(first, others)


def _rows(first: Tensor, others: Tensor) -> Tensor:
    return torch.cat([first.unsqueeze(1), others], 1).flatten(0, 1)
