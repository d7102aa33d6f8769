"""Backups: the targets of Bellman's equation that action values are learned towards."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from isinglass._support.typing import Float
from isinglass._support.validation import check_fraction, check_kind, check_number, check_positive
from isinglass.agents.policy import FreeEnergyPolicy
from isinglass.agents.replay.transitions import Transitions, take_rows
from isinglass.errors import ParameterError

__all__ = [
    "Backup",
    "DoubleBackup",
    "MunchausenBackup",
    "NoveltyBackup",
    "ReturnBackup",
    "SoftBackup",
    "bootstrap",
]


class Backup(ABC):
    """What Q(s, a) is learned towards, for a whole batch of transitions at once.

    A new one is a frozen dataclass with :meth:`target`. It sees states, actions, rewards, next
    states and their masks, and may ask the policy for any distribution or value of either network.

    Attributes:
        explores: Whether it asks how often (s, a) was met: the batch has ``visits`` then, and the
            agent acts by its values even before a reward was met.
    """

    explores: ClassVar[bool] = False

    @property
    def bounded(self) -> bool:
        """Whether rewards are as they are and V(s') is between the values of two actions.

        Targets are then kept within the returns that the transitions met allow
        (:func:`~isinglass.agents.return_range.widened`).
        """
        return False

    @property
    def sequence_length(self) -> int:
        """How many steps in a row a target is made of; the default buffer then gives them."""
        return 1

    @abstractmethod
    def target(
        self, policy: FreeEnergyPolicy, batch: Transitions, discounts: Float[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Returns the targets y of Q(s, a), one a transition; called without gradients.

        Args:
            policy: Network, target network, temperature and random stream.
            batch: The transitions: of n steps, if rewards are sums over n. With what followed
                each, where ``sequence_length`` is above 1 and the buffer gives it.
            discounts: γ to the number of steps, 0 where the episode has terminated.
        """


def bootstrap(
    batch: Transitions,
    discounts: Float[Tensor, " batch"],
    next_value: Callable[[], Float[Tensor, " batch"]],
) -> Float[Tensor, " batch"]:
    """Returns r + γ(1 − done)·V(s'); V is not asked for where no episode goes on.

    Examples:
        >>> parts = [torch.zeros(2, 1)] * 4
        >>> batch = Transitions(*parts, rewards=torch.ones(2, 1))
        >>> bootstrap(batch, torch.tensor([0.5, 0.0]), lambda: torch.tensor([4.0, 9.0]))
        tensor([3., 1.])
    """
    rewards = batch.rewards.flatten()
    if not bool(discounts.any()):  # spare the target network
        return rewards
    return torch.addcmul(rewards, discounts, next_value())


@dataclass(frozen=True)
class SoftBackup(Backup):
    """y = r + γ V(s') with V(s') = T log Σ_a exp(Q_target(s',a)/T): soft Q-learning.

    V is exact for :class:`MixtureEnergy`, else by annealing. With ``mellowmax`` it is T log of the
    mean over all actions: entropy is counted from that of uniform actions, so that many actions
    are not worth more than few.

    Reference: Haarnoja et al. 2017, arXiv:1702.08165 (soft); Asadi & Littman 2017,
    arXiv:1612.05628 (mellowmax).

    Args:
        mellowmax: Mean instead of sum.

    Examples:
        >>> from isinglass.agents import FreeEnergyQ
        >>> from isinglass.envs import LargeAction
        >>> agent = FreeEnergyQ("MlpPolicy", LargeAction(), backup=SoftBackup(mellowmax=True))
        >>> agent.backup
        SoftBackup(mellowmax=True)
    """

    mellowmax: bool = False

    @property
    def bounded(self) -> bool:
        """True for the mean; a sum over n actions is worth up to T log n more."""
        return self.mellowmax

    def target(
        self, policy: FreeEnergyPolicy, batch: Transitions, discounts: Float[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Returns y = r + γ V(s'), V the soft value of the target network."""
        return bootstrap(batch, discounts, lambda: self._next_value(policy, batch))

    def _next_value(self, policy: FreeEnergyPolicy, batch: Transitions) -> Tensor:
        masks = batch.next_masks
        following = policy.distribution(batch.next_observations, masks, target=True)
        value = following.value(policy.generator)
        if not self.mellowmax:
            return value
        return value - policy.temperature * policy.log_action_count(masks)


@dataclass(frozen=True)
class DoubleBackup(Backup):
    """y = r + γ Q_target(s', a*), a* greedy for the network that learns: double Q-learning.

    No entropy, less optimism.

    Reference: van Hasselt, Guez & Silver 2016, "Deep reinforcement learning with double
    Q-learning", arXiv:1509.06461.

    Examples:
        >>> from isinglass.agents import FreeEnergyQ
        >>> from isinglass.envs import LargeAction
        >>> FreeEnergyQ("MlpPolicy", LargeAction(), backup=DoubleBackup()).backup
        DoubleBackup()
    """

    @property
    def bounded(self) -> bool:
        """True: V is the value of an action."""
        return True

    def target(
        self, policy: FreeEnergyPolicy, batch: Transitions, discounts: Float[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Returns y = r + γ Q_target(s', a*)."""
        return bootstrap(batch, discounts, lambda: self._next_value(policy, batch))

    def _next_value(self, policy: FreeEnergyPolicy, batch: Transitions) -> Tensor:
        best = policy.distribution(batch.next_observations, batch.next_masks).mode()
        return policy.distribution(batch.next_observations, target=True).score(best)


@dataclass(frozen=True)
class _WillingBackup(Backup):
    """A backup with a bonus for what the policy did willingly, α [T log π(a|s)]_{l₀}^0."""

    alpha: float = 0.9
    floor: float = -1.0

    def __post_init__(self) -> None:
        check_fraction("alpha", self.alpha)
        if check_number("floor", self.floor) > 0:
            raise ParameterError(f"floor = {self.floor}", "Give l₀ of zero or below")

    def bonus(self, policy: FreeEnergyPolicy, batch: Transitions) -> Float[Tensor, " batch"]:
        """Returns the bonus, T log π(a|s) = Q_target(s,a) − V_target(s)."""
        masks = policy.observed_masks(batch.observations)
        present = policy.distribution(batch.observations, masks, target=True)
        scores = present.score(policy.code.encode(batch.actions))
        log_policy = scores - present.value(policy.generator)
        return self.alpha * log_policy.clamp(self.floor, 0.0)


@dataclass(frozen=True)
class MunchausenBackup(_WillingBackup):
    r"""y = r + α [T log π(a|s)]_{l₀}^0 + γ V(s'): a bonus for what the policy did willingly.

        T log π(a|s) = Q_target(s,a) − V_target(s),   V(s) = T log Σ_a exp(Q_target(s,a)/T)

    The bonus, never above zero and at least l₀, keeps the new policy close to the old one and
    widens the gap between actions. V is exact for :class:`MixtureEnergy`, else by annealing. What
    a mask forbids does not count in V(s) where it is part of the observations; else masks are kept
    of next states alone, and all actions count. With ``n_steps`` above 1 the bonus is that of the
    first step.

    Reference: Vieillard, Pietquin & Geist 2020, "Munchausen reinforcement learning",
    arXiv:2007.14430.

    Args:
        alpha: α from 0 (:class:`SoftBackup`) to 1.
        floor: l₀ ≤ 0, in units of the reward.

    Raises:
        ParameterError: If α or l₀ is out of range.

    Examples:
        >>> MunchausenBackup(alpha=0.5)
        MunchausenBackup(alpha=0.5, floor=-1.0)
    """

    def target(
        self, policy: FreeEnergyPolicy, batch: Transitions, discounts: Float[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Returns y = r + α [T log π(a|s)]_{l₀}^0 + γ V(s')."""
        return SoftBackup().target(policy, batch, discounts) + self.bonus(policy, batch)


@dataclass(frozen=True)
class ReturnBackup(_WillingBackup):
    r"""y = R + α [T log π(a|s)]_{l₀}^0 with R, the return to the end of the episode: Monte Carlo.

    For agents whose ``n_steps`` is no less than the length of an episode. An episode that is not
    known to its end goes on with Q_target(s', a'), a' drawn from π: expected SARSA by one draw.

    With α above 0 the policy keeps to what it was willing to do, as in :class:`MunchausenBackup`:
    differences between returns add up from update to update, to 1/(1 − α) of what they are, where
    at α = 0 a policy of temperature T hardly follows one that is much below T.

    Reference: Sutton & Barto 2018, "Reinforcement Learning", 2nd ed., §5.4; Vieillard, Pietquin &
    Geist 2020, arXiv:2007.14430 (the bonus).

    Args:
        alpha: α from 0 (returns alone) to 1.
        floor: l₀ ≤ 0, in units of the reward.

    Raises:
        ParameterError: If α or l₀ is out of range.

    Examples:
        >>> ReturnBackup(alpha=0.9)
        ReturnBackup(alpha=0.9, floor=-1.0)
    """

    alpha: float = 0.0

    def target(
        self, policy: FreeEnergyPolicy, batch: Transitions, discounts: Float[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Returns y, looking at a' only where the episode goes on, at π(a|s) if α is not 0."""
        returns = self._returns(policy, batch, discounts)
        if self.alpha == 0:
            return returns
        return returns + self.bonus(policy, batch)

    def _returns(self, policy: FreeEnergyPolicy, batch: Transitions, discounts: Tensor) -> Tensor:
        returns, on = batch.rewards.flatten(), discounts.nonzero().flatten()
        if not len(on):
            return returns
        rows, masks = take_rows(batch.next_observations, on), batch.next_masks
        following = policy.distribution(rows, None if masks is None else masks[on], target=True)
        value = following.score(following.sample(policy.generator))
        return returns.index_add(0, on, discounts[on] * value)


@dataclass(frozen=True)
class NoveltyBackup(Backup):
    r"""y of another backup, with a bonus for what was seldom done.

        r + b·r₀ √(n₀/n(s, a)) / (1 + k/k½),   n₀ = N/m

    n(s, a) is how often the pair was met until now, real numbers in cells
    (:class:`~isinglass.agents.replay.visit_counts.VisitCounts`); r₀ the usual size of a reward
    among the first random steps, 1 if none was met. T by default is in units of the spread of the
    values, which the bonus is part of. An agent that learns by it does not wait for a first
    reward before it follows its values.

    n₀ is 1, or with a ``budget`` of N steps what each of the m pairs met until now has of it: where
    b·r₀ is what a step costs, one that was done less often is worth more than none.

    A bonus that stays competes with goals that end the episode: under γ what is new is worth up to
    b·r₀√n₀/((1 − γ)√n), and an agent may leave such a goal. One that is ``fading`` leads to the
    first goals and makes way for them, k of the episodes that have terminated: but for those whose
    last reward was below the usual one, where that and the backup are what an agent chose itself.

    For rewards so sparse that random steps do not find them, on few states and actions. Where
    every pair is new, as among 2^40 actions, the bonus is the same everywhere and does nothing.

    References: Strehl & Littman 2008, "An analysis of model-based interval estimation"; Bellemare
    et al. 2016, arXiv:1606.01868 (counts as a bonus).

    Args:
        bonus: b ≥ 0, of a pair that was met once, in usual rewards.
        base: The backup to which the bonus is added.
        fading: k½, after how many terminated episodes the bonus is half; None if it stays.
        budget: N, the steps that what is new may take, shared by all pairs; None for n₀ = 1.

    Raises:
        ParameterError: If b is not a finite number of zero or above, k½ or N none above zero, or
            the replay buffer counts no visits.

    Examples:
        >>> from isinglass.agents import FreeEnergyQ
        >>> FreeEnergyQ("MlpPolicy", "FrozenLake-v1", backup=NoveltyBackup()).backup.bonus
        0.1
    """

    explores: ClassVar[bool] = True
    bonus: float = 0.1
    base: Backup = field(default_factory=lambda: SoftBackup(mellowmax=True))
    fading: float | None = None
    budget: float | None = None

    def __post_init__(self) -> None:
        if check_number("bonus", self.bonus) < 0:
            raise ParameterError(f"bonus = {self.bonus}", "Give zero or more, in usual rewards")
        check_kind("base", self.base, Backup, "a backup, such as SoftBackup(mellowmax=True)")
        if self.fading is not None:
            check_positive("fading", self.fading)
        if self.budget is not None:
            check_positive("budget", self.budget)

    @property
    def sequence_length(self) -> int:
        """How many steps in a row a target of the base is made of."""
        return self.base.sequence_length

    def target(
        self, policy: FreeEnergyPolicy, batch: Transitions, discounts: Float[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Returns y of the base, the bonus added to the reward."""
        if batch.visits is None:
            raise ParameterError(
                "transitions whose visits are not counted, for a bonus of novelty",
                "Leave replay_buffer_class out, or make it one that takes count_visits=True",
            )
        rare = batch.visits.clamp_min(1).to(batch.rewards.dtype).reciprocal()
        if self.budget is not None and batch.pairs is not None:
            rare = rare * self.budget / batch.pairs.clamp_min(1)
        bonus = self.bonus * policy.q_net.head.reward_size * rare.sqrt()
        if self.fading is not None and batch.goals is not None:
            bonus = bonus / (1 + batch.goals / self.fading)
        rewards = batch.rewards + bonus.unsqueeze(-1)
        return self.base.target(policy, batch._replace(rewards=rewards), discounts)
