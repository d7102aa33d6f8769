"""Policies by enumeration: every action looked at, for small spaces, joint masks and tests."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Bool, Float
from isinglass.distributions.pattern_mixture import PatternMixture
from isinglass.errors import DomainError, IntractableError
from isinglass.units import Unit

__all__ = ["ActionDistribution", "Enumerated"]

MOST_ACTIONS = 2**20


@runtime_checkable
class ActionDistribution(Protocol):
    """What an energy gives a policy: the law exp((Q − V)/T) of actions as states of a unit."""

    @property
    def unit(self) -> Unit:
        """The kind of the units that an action is made of."""
        ...

    @property
    def temperature(self) -> float:
        """T > 0."""
        ...

    def zeros_like_event(self) -> Tensor:
        """Zeros shaped like one action a row."""
        ...

    def score(self, state: Tensor) -> Tensor:
        """Q of actions, differentiable."""
        ...

    def value(self, generator: Generator | None = None) -> Tensor:
        """V = T log Σ_a exp(Q/T), exact or estimated."""
        ...

    def sample(self, generator: Generator | None = None) -> Tensor:
        """One action a row."""
        ...

    def mode(self) -> Tensor:
        """A greedy action a row."""
        ...

    def condition(self, state: Tensor, observed: Tensor) -> ActionDistribution:
        """The law of the rest of the action given the observed units."""
        ...

    def lowered(self, penalty: Tensor) -> ActionDistribution:
        """The same with a penalty taken off the field of every unit."""
        ...


@dataclass(frozen=True)
class Enumerated:
    r"""The exact policy π(a|s) = exp((Q(s,a) − V(s))/T) over a list of all actions.

    The oracle that samplers are held against, and the policy where a mask says which whole
    actions are allowed.

    Attributes:
        unit: The kind of the units that an action is made of.
        states: Every action, one a row, ``(M, d)``.
        scores: Q of each, −∞ where forbidden, ``(*batch, M)``.
        temperature: T > 0.

    Examples:
        >>> from isinglass import PatternMixture, Spin
        >>> distribution = PatternMixture(Spin(3), torch.randn(4, 2), torch.randn(4, 2, 3))
        >>> exact = Enumerated.of(distribution)
        >>> bool(torch.allclose(exact.value(), distribution.value(), atol=1e-5))
        True
    """

    unit: Unit
    states: Float[Tensor, "M d"]
    scores: Float[Tensor, "*batch M"]
    temperature: float

    @classmethod
    def of(
        cls, distribution: ActionDistribution, allowed: Bool[Tensor, "*batch M"] | None = None
    ) -> Enumerated:
        """Look at every action of a law.

        Args:
            distribution: The law.
            allowed: Which actions may be taken, in the order of ``unit.enumerate_states()``: the
                first part of the action changes slowest.

        Raises:
            IntractableError: If there are more than 2²⁰ actions.
        """
        count = distribution.unit.state_count(distribution.temperature)
        if count > MOST_ACTIONS:
            raise IntractableError(
                f"{count:.3g} actions",
                f"At most {MOST_ACTIONS:,} are enumerated: sample from the law, and forbid parts "
                "of the action, not whole actions",
            )
        probe = distribution.zeros_like_event()
        states = distribution.unit.enumerate_states().to(probe)
        if isinstance(distribution, PatternMixture):  # many times as fast
            scores = distribution.score_each(states)
        else:
            lifted = states.reshape(len(states), *(1,) * (probe.ndim - 1), states.shape[-1])
            scores = distribution.score(lifted.expand(len(states), *probe.shape)).movedim(0, -1)
        if allowed is not None:
            scores = scores.masked_fill(~allowed, -torch.inf)
        return cls(distribution.unit, states, scores, distribution.temperature)

    def zeros_like_event(self) -> Float[Tensor, "*batch d"]:
        """Zeros shaped like one action a row."""
        return self.states.new_zeros(*self.scores.shape[:-1], self.states.shape[-1])

    def log_probs(self) -> Float[Tensor, "*batch M"]:
        """log π of every action."""
        return torch.log_softmax(self.scores / self.temperature, -1)

    def value(self, generator: Generator | None = None) -> Float[Tensor, "*batch"]:
        """V = T log Σ_a exp(Q/T)."""
        return self.temperature * torch.logsumexp(self.scores / self.temperature, -1)

    def entropy(self) -> Float[Tensor, "*batch"]:
        """Entropy of the policy in nats, (V − ⟨Q⟩)/T."""
        logs = self.log_probs()
        return -(logs.exp() * logs.clamp_min(torch.finfo(logs.dtype).min)).sum(-1)

    def score(self, state: Float[Tensor, "*states d"]) -> Float[Tensor, "*states"]:
        """Q of actions, one for each row of the batch."""
        same = (state.unsqueeze(-2) == self.states).all(-1)
        return self.scores.expand(same.shape).gather(-1, same.int().argmax(-1, keepdim=True))[
            ..., 0
        ]

    def sample(self, generator: Generator | None = None) -> Float[Tensor, "*batch d"]:
        """One exact draw a row."""
        shares = self.log_probs().exp()
        flat = shares.reshape(-1, shares.shape[-1])
        chosen = torch.multinomial(flat, 1, generator=generator)
        return self.states[chosen.reshape(shares.shape[:-1])]

    def mode(self) -> Float[Tensor, "*batch d"]:
        """The best action."""
        return self.states[self.scores.argmax(-1)]

    def condition(
        self, state: Float[Tensor, "*batch d"], observed: Bool[Tensor, "*mask"]
    ) -> Enumerated:
        """Only actions that agree with the observed units.

        Raises:
            DomainError: If there is none.
        """
        agrees = (state.unsqueeze(-2) == self.states) | ~observed.unsqueeze(-2)
        scores = self.scores.masked_fill(~agrees.all(-1), -torch.inf)
        if bool(scores.isneginf().all(-1).any()):
            raise DomainError(
                "no allowed action that agrees with what is observed",
                "Observe or fix less, or allow more",
            )
        return replace(self, scores=scores)

    def lowered(self, penalty: Float[Tensor, "*batch d"]) -> Enumerated:
        """The same with a penalty taken off the field of every unit."""
        return replace(self, scores=self.scores - penalty @ self.states.mT)
