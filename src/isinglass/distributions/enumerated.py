"""Distributions by enumeration: every state listed, for small spaces, joint masks and tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Bool, Float
from isinglass.distributions.base import Distribution
from isinglass.errors import DomainError, IntractableError
from isinglass.units import Unit

__all__ = ["FEW_STATES", "Enumerated", "deviations", "has_few_states"]

MOST_ACTIONS = 2**20
FEW_STATES = 256  # that are listed rather than sampled


@dataclass(frozen=True)
class Enumerated(Distribution):
    r"""The exact distribution π(a|s) = exp((Q(s,a) − V(s))/T) over a list of all actions.

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
        cls, distribution: Distribution, allowed: Bool[Tensor, "*batch M"] | None = None
    ) -> Enumerated:
        """Returns the distribution with the score Q of every action written down.

        Args:
            distribution: Any distribution of finitely many states.
            allowed: Which actions may be taken, in the order of ``unit.enumerate_states()``: the
                first part of the action changes slowest.

        Raises:
            IntractableError: If there are more than 2²⁰ actions.
            DomainError: If none is allowed in a row.
        """
        count = distribution.unit.state_count(distribution.temperature)
        if count > MOST_ACTIONS:
            raise IntractableError(
                f"{count:.3g} actions",
                f"At most {MOST_ACTIONS:,} are enumerated: sample them instead, and forbid parts "
                "of the action, not whole actions",
            )
        probe = distribution.zeros_like_event()
        states = distribution.unit.enumerate_states().to(probe)
        scores = distribution.score_each(states)
        agree = distribution.agrees(states)
        if agree is not None:
            scores = scores.masked_fill(~agree, -torch.inf)
        if allowed is not None:
            scores = _exclude(scores, ~allowed, "no allowed action")
        return cls(distribution.unit, states, scores, distribution.temperature)

    @property
    def exact_value(self) -> bool:
        """Always: V is a sum over the list."""
        return True

    def zeros_like_event(self) -> Float[Tensor, "*batch d"]:
        """Returns zeros with the shape, type and device of one action a for each row."""
        return self.states.new_zeros(*self.scores.shape[:-1], self.states.shape[-1])

    def log_probs(self) -> Float[Tensor, "*batch M"]:
        """Returns log π(a|s) of every action, −∞ where forbidden."""
        return torch.log_softmax(self.scores / self.temperature, -1)

    def value(self, generator: Generator | None = None) -> Float[Tensor, "*batch"]:
        """Returns V = T log Σ_a exp(Q/T), the soft value."""
        return self.temperature * torch.logsumexp(self.scores / self.temperature, -1)

    def entropy(self) -> Float[Tensor, "*batch"]:
        """Returns the entropy of π in nats, (V − ⟨Q⟩)/T."""
        logs = self.log_probs()
        return -(logs.exp() * logs.clamp_min(torch.finfo(logs.dtype).min)).sum(-1)

    def score(self, state: Float[Tensor, "*states d"]) -> Float[Tensor, "*states"]:
        """Returns Q of actions, one for each row of the batch; −∞ of what is not listed."""
        same = (state.unsqueeze(-2) == self.states).all(-1)
        return self.scores.expand(same.shape).masked_fill(~same, -torch.inf).amax(-1)

    def score_each(self, states: Float[Tensor, "M d"]) -> Float[Tensor, "*batch M"]:
        """Returns Q of each of M actions in every row; −∞ of what is not listed."""
        same = (states.unsqueeze(-2) == self.states).all(-1)
        found = self.scores[..., same.int().argmax(-1)]
        return found.masked_fill(~same.any(-1), -torch.inf)

    def sample(self, generator: Generator | None = None) -> Float[Tensor, "*batch d"]:
        """Draws one action a ~ π(a|s) for each row, exactly."""
        shares = self.log_probs().exp()
        flat = shares.reshape(-1, shares.shape[-1])
        chosen = torch.multinomial(flat, 1, generator=generator)
        return self.states[chosen.reshape(shares.shape[:-1])]

    def mode(self) -> Float[Tensor, "*batch d"]:
        """Finds the action of highest Q for each row."""
        return self.states[self.scores.argmax(-1)]

    def condition(
        self, state: Float[Tensor, "*batch d"], observed: Bool[Tensor, "*mask"]
    ) -> Enumerated:
        """Returns the distribution over the actions that agree with the observed units.

        Raises:
            DomainError: If there is none.
        """
        agrees = (state.unsqueeze(-2) == self.states) | ~observed.unsqueeze(-2)
        who = "no allowed action that agrees with what is observed"
        return replace(self, scores=_exclude(self.scores, ~agrees.all(-1), who))

    def restrict(self, accepts: Callable[[Tensor], Tensor]) -> Enumerated:
        """Returns the exact distribution over the actions that a function accepts.

        Raises:
            DomainError: If it accepts no allowed action in a row.
        """
        who = "no allowed action meets the constraint"
        return replace(self, scores=_exclude(self.scores, ~accepts(self.states), who))

    def warmed(self, share: float) -> Enumerated:
        r"""Returns the distribution at a temperature T(s) of its own in each row, T at least.

            T(s) = max(T, c σ(s)),   σ(s)² = Var of Q over what is allowed in s

        Scores are brought nearer together by T/T(s), so that T stays one number.

        Args:
            share: c.

        Examples:
            >>> from isinglass import Spin
            >>> states = torch.tensor([[-1.0], [1.0]])
            >>> cold = Enumerated(Spin(1), states, torch.tensor([[0.0, 8.0], [0.0, 0.1]]), 1.0)
            >>> cold.warmed(0.5).scores
            tensor([[2.0000, 6.0000],
                    [0.0000, 0.1000]])
        """
        away, variance = deviations(self.scores)
        least = (share * variance.sqrt()).clamp_min(self.temperature)
        nearer = (self.temperature / least).unsqueeze(-1)
        return replace(self, scores=self.scores - (1 - nearer) * away)

    def tilted(self, prior: Distribution) -> Enumerated:
        """Returns the exact distribution prior(v)·exp(S(v)/T), of any prior with a value."""
        logs = prior.score_each(self.states) - prior.value().unsqueeze(-1)
        return replace(self, scores=self.scores + self.temperature / prior.temperature * logs)

    def _without(self, forbidden: Bool[Tensor, "*batch d"]) -> Enumerated:
        on = forbidden.to(self.states) @ (self.states != 0).to(self.states).mT
        who = "a mask that forbids every action"
        return replace(self, scores=_exclude(self.scores, on > 0, who))


def deviations(
    scores: Float[Tensor, "*batch M"],
) -> tuple[Float[Tensor, "*batch M"], Float[Tensor, "*batch"]]:
    """Computes how far scores lie from the mean of their row, and the variance there.

    Forbidden ones, −∞, are left out: they lie 0 away.

    Args:
        scores: Scores, one row a state.

    Examples:
        >>> deviations(torch.tensor([1.0, -torch.inf, 5.0]))
        (tensor([-2.,  0.,  2.]), tensor(4.))
    """
    allowed = scores.isfinite()
    count = allowed.sum(-1, keepdim=True).clamp_min(1)
    finite = scores.where(allowed, 0)
    away = (finite - finite.sum(-1, keepdim=True) / count).where(allowed, 0)
    return away, (away.square().sum(-1, keepdim=True) / count).squeeze(-1)


def has_few_states(distribution: Distribution) -> bool:
    """Tells whether looking at every state costs less than a chain: whether there are 256 at most.

    Examples:
        >>> from isinglass import PatternMixture, Spin
        >>> has_few_states(PatternMixture(Spin(9), torch.randn(1, 2), torch.randn(1, 2, 9)))
        False
    """
    return distribution.unit.state_count(distribution.temperature) <= FEW_STATES


def _exclude(scores: Tensor, excluded: Tensor, who: str) -> Tensor:
    """Returns the scores, −∞ where excluded.

    Raises:
        DomainError: If nothing is left in a row.
    """
    scores = scores.masked_fill(excluded, -torch.inf)
    left = ~scores.isneginf().all(-1)
    if not bool(left.all()):
        raise DomainError(
            f"{who} for {int((~left).sum())} of {left.numel()} observations",
            "Fix, forbid (fixed=, action_masks=) or constrain less, or allow more",
        )
    return scores
