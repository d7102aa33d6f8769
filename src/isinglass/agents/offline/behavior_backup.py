"""The backup of logged data: soft values over what was done, as often as it was done."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from isinglass._support.typing import Float
from isinglass.agents.backups import Backup, bootstrap
from isinglass.agents.offline.behavior_policy import BehaviorPolicy
from isinglass.agents.policy import FreeEnergyPolicy
from isinglass.agents.replay.transitions import Transitions, take_rows
from isinglass.distributions import ConditionalRBM, Enumerated, PatternMixture
from isinglass.errors import ParameterError

__all__ = ["BehaviorBackup"]

NUMBERS_TOGETHER = 2**22  # in the fields of all pairs of patterns


@dataclass(frozen=True)
class BehaviorBackup(Backup):
    r"""y = r + γ V(s') with V(s') = T log Σ_a π_β(a|s') exp(Q_target(s',a)/T).

    π_β is the density of what was done in the data, which :class:`BehaviorPolicy` has learned. An
    action counts as often as it was taken: what nobody tried is never believed. Under a uniform
    π_β it is ``SoftBackup(mellowmax=True)``; as T → ∞ V is the value of the behavior, as T → 0 the
    best of its actions. With masks, π_β is that over what is allowed.

    With mixtures V is exact. It costs O(N·M·d) for N patterns of Q, M of π_β and d bits, and
    nothing where episodes have one step; up to 256 actions are listed.

    Reference: Haarnoja et al. 2017, arXiv:1702.08165 (soft); Jaques et al. 2019, arXiv:1907.00456
    (Ψ-learning: the soft value under a prior that was learned from data).

    Examples:
        >>> from isinglass.agents import FreeEnergyQ
        >>> from isinglass.envs import LargeAction
        >>> env = LargeAction(state_bits=3, action_bits=8, keys=2)
        >>> zeros = {"observations": [[0] * 3], "actions": [[0] * 8], "rewards": [0], "dones": [1]}
        >>> FreeEnergyQ.from_data(zeros, env).backup
        BehaviorBackup()
    """

    @property
    def bounded(self) -> bool:
        """True: V is a mean of values, as far as π_β has them."""
        return True

    def target(
        self, policy: FreeEnergyPolicy, batch: Transitions, discounts: Float[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Returns y = r + γ V(s'), V the soft value of the target network under π_β.

        Raises:
            ParameterError: If the policy has no π_β.
        """
        if not isinstance(policy, BehaviorPolicy):
            raise ParameterError(
                f"BehaviorBackup with {type(policy).__name__}, which has learned no behavior",
                "Make the agent by FreeEnergyQ.from_data, or give SoftBackup(mellowmax=True)",
            )
        return bootstrap(batch, discounts, lambda: self._next_value(policy, batch))

    def _next_value(self, policy: BehaviorPolicy, batch: Transitions) -> Tensor:
        count, masks = len(batch.rewards), batch.next_masks
        rows = torch.arange(count, device=batch.rewards.device)
        found = []
        for some in rows.split(_rows_together(policy, batch)):
            seen = take_rows(batch.next_observations, some)
            allowed = None if masks is None else masks[some]
            value = policy.distribution(seen, allowed, target=True).value(policy.generator)
            if allowed is not None:
                value = value - policy.temperature * policy.log_allowed(seen, allowed)
            found.append(value)
        return torch.cat(found)


def _rows_together(policy: BehaviorPolicy, batch: Transitions) -> int:
    """Returns for how many rows pairs of patterns are laid out at once."""
    one = take_rows(batch.next_observations, torch.zeros(1, dtype=torch.long))
    found = policy.distribution(one, target=True)
    size = found.unit.size
    if isinstance(found, Enumerated | ConditionalRBM):
        return len(batch.rewards)
    mixture = found if isinstance(found, PatternMixture) else getattr(found, "distribution", None)
    patterns = mixture.keys.shape[-1] if isinstance(mixture, PatternMixture) else 1
    return max(1, NUMBERS_TOGETHER // (patterns * size))
