"""A backup of your own: copy this file, change the target, give it to an agent.

Files touched inside the library: agents/backups.py and agents/__init__.py. Outside it, none but
yours: `FreeEnergyQ(..., backup=ExpectedBackup())`.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from isinglass.agents import Backup, FreeEnergyPolicy
from isinglass.agents.backups import bootstrap
from isinglass.agents.replay.transitions import Transitions

__all__ = ["ExpectedBackup"]


@dataclass(frozen=True)
class ExpectedBackup(Backup):
    """y = r + γ Q_target(s', a'), a' drawn from the policy: expected SARSA by one draw.

    Reference: van Seijen et al. 2009, "A theoretical and empirical analysis of expected Sarsa",
    doi:10.1109/ADPRL.2009.4927542.

    Args:
        clip: Largest absolute value of Q(s', a') that is believed.
    """

    clip: float = 1e6

    def target(self, policy: FreeEnergyPolicy, batch: Transitions, discounts: Tensor) -> Tensor:
        """Returns y = r + γ Q_target(s', a'); the whole batch may be looked at."""
        return bootstrap(batch, discounts, lambda: self._next_value(policy, batch))

    def _next_value(self, policy: FreeEnergyPolicy, batch: Transitions) -> Tensor:
        # The masks say what is allowed in s'; the policy's own stream makes runs repeatable.
        following = policy.distribution(batch.next_observations, batch.next_masks, target=True)
        actions = following.sample(policy.generator)
        return following.score(actions).clamp(-self.clip, self.clip)
