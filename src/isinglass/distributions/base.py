"""The contract of all distributions of one layer of units, whose parameters come row by row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Bool, Float
from isinglass.errors import DomainError, ShapeError
from isinglass.units import Unit

__all__ = ["Distribution", "FieldDistribution"]


Kind = TypeVar("Kind", bound="Distribution")


class Distribution(ABC):
    r"""The distribution p(v) = exp((S(v) − V)/T) of units v, one for each row of a batch.

    A new distribution gives :meth:`score`, :meth:`value`, :meth:`sample`, :meth:`mode`,
    :meth:`condition`, :meth:`zeros_like_event` and ``_without``; the rest is derived. What it has
    in closed form it declares: ``exact_value``, and :meth:`restrict` if whole states can be ruled
    out. Nothing that uses a distribution asks of which class it is.

    Attributes:
        unit: The kind of the units v.
        temperature: T > 0.
    """

    unit: Unit
    temperature: float

    @property
    def exact_value(self) -> bool:
        """Whether :meth:`value` is a closed formula, and no estimate by chains."""
        return False

    @abstractmethod
    def score(self, state: Float[Tensor, "*states d"]) -> Float[Tensor, "*states"]:
        """Returns S(v) of full states, one for each row: differentiable, −∞ where forbidden."""

    @abstractmethod
    def value(self, generator: Generator | None = None) -> Float[Tensor, "*batch"]:
        """Returns V = T log Σ_v exp(S(v)/T), the log-partition function; exact or estimated."""

    @abstractmethod
    def sample(self, generator: Generator | None = None) -> Float[Tensor, "*batch d"]:
        """Draws one state v ~ p(v) for each row."""

    @abstractmethod
    def mode(self) -> Float[Tensor, "*batch d"]:
        """Finds a state of the highest score S(v) for each row, the same at every call."""

    @abstractmethod
    def condition(
        self: Kind, state: Float[Tensor, "*batch d"], observed: Bool[Tensor, "*mask"]
    ) -> Kind:
        """Returns the distribution p(v_free | v_observed) of the units that are not observed."""

    @abstractmethod
    def zeros_like_event(self) -> Float[Tensor, "*batch d"]:
        """Returns zeros with the shape, type and device of one state v for each row."""

    @abstractmethod
    def _without(self: Kind, forbidden: Bool[Tensor, "*batch d"]) -> Kind:
        """Excludes the states where a forbidden component of a one-hot unit is not zero."""

    def score_each(self, states: Float[Tensor, "M d"]) -> Float[Tensor, "*batch M"]:
        """Returns S(v) of each of M states in every row."""
        probe = self.zeros_like_event()
        lifted = states.reshape(len(states), *(1,) * (probe.ndim - 1), states.shape[-1])
        return self.score(lifted.expand(len(states), *probe.shape)).movedim(0, -1)

    def agrees(self, states: Float[Tensor, "M d"]) -> Bool[Tensor, "*batch M"] | None:
        """Tells which states have every clamped unit at its value; None where none is clamped.

        A score is that of the free units and does not see the others.
        """
        return None

    def masked(self: Kind, allowed: Bool[Tensor, "*mask"]) -> Kind:
        """Returns the distribution given that no forbidden component is on: p(v) = 0 where one is.

        A one-hot unit takes none of its forbidden values, whose log-weights are −∞; a unit of two
        states, a spin or a bit, stays at its lower one where its component is forbidden.

        Args:
            allowed: True where a component may be on, for all rows or for each.

        Raises:
            ShapeError: If the mask is not boolean, or not of this size.
            DomainError: If it forbids every value of a unit, the value that a unit is observed
                at, or anything of a real unit.
        """
        if allowed.dtype != torch.bool or allowed.shape[-1:] != (self.unit.size,):
            raise ShapeError(
                f"a mask of shape {tuple(allowed.shape)} and dtype {allowed.dtype}",
                f"Give {self.unit.size} bools, True where a component is allowed",
            )
        forbidden = ~allowed.expand(self.zeros_like_event().shape)
        if not any(part.pointwise for part in self.unit.parts):  # one-hot units alone
            return self._without(forbidden) if bool(forbidden.any()) else self
        two_state, lowest = _two_state_components(self.unit, forbidden)
        off, excluded = forbidden & two_state, forbidden & ~two_state
        given = self.condition(lowest.to(self.zeros_like_event()), off) if bool(off.any()) else self
        return given._without(excluded) if bool(excluded.any()) else given

    def restrict(self: Kind, accepts: Callable[[Tensor], Tensor]) -> Kind | None:
        """Returns the exact distribution over the states that a function accepts.

        Args:
            accepts: From states, ``(M, d)``, to which of them may be taken, ``(M,)`` bools.

        Returns:
            The distribution; None if it is not closed in form, as where states are not listed.
        """
        return None

    def tilted(self, prior: Distribution) -> Distribution | None:
        """Returns the distribution prior(v)·exp(S(v)/T) over its sum, prior times this one.

            S(v) + T log prior(v)   its score,   T log Σ_v prior(v) exp(S(v)/T)   its value

        Args:
            prior: A distribution of the same units, for all rows or for each; of any temperature.

        Returns:
            The distribution; None if it is not closed in form.
        """
        return None


class FieldDistribution(Distribution):
    """A distribution by fields, in which forbidden components of one-hot units have the field −∞.

    The fields themselves stay finite, so that 0·∞ never occurs: the mask is put on where a unit is
    summed out, drawn or settled.

    Attributes:
        observed: Which units are clamped, ``(*batch, d)``; None if none is.
        clamped: Their values, in place; zeros elsewhere.
        forbidden: Which components of one-hot units are forbidden; None if none is.
    """

    observed: Tensor | None
    clamped: Tensor | None
    forbidden: Tensor | None

    def agrees(self, states: Float[Tensor, "M d"]) -> Bool[Tensor, "*batch M"] | None:
        """Tells which states have every clamped unit at its value; None where none is clamped."""
        if self.observed is None or self.clamped is None:
            return None
        same = states == self.clamped.unsqueeze(-2)
        return (same | ~self.observed.unsqueeze(-2)).all(-1)

    def _join(self, forbidden: Tensor) -> Tensor:
        """Returns all that is forbidden, in a mask before and in this one.

        Raises:
            DomainError: If nothing of a unit is left, or what it is clamped at is forbidden.
        """
        if self.forbidden is not None:
            forbidden = forbidden | self.forbidden
        _check_possible(self.unit, forbidden)
        self._check_clamped(forbidden)
        return forbidden

    def _check_clamped(self, forbidden: Tensor | None) -> None:
        """Refuses clamped values that are forbidden."""
        if forbidden is None or self.clamped is None or self.observed is None:
            return
        if bool((self.observed & forbidden & (self.clamped != 0)).any()):
            raise DomainError(
                "a unit observed at a value that the mask forbids",
                "Observe another value, or allow it",
            )

    def _mask_fields(self, fields: Tensor) -> Tensor:
        """Returns the fields, −∞ where forbidden."""
        if self.forbidden is None:
            return fields
        return fields.masked_fill(self.forbidden, -torch.inf)

    def _mask_scores(self, scores: Tensor, state: Tensor) -> Tensor:
        """Returns the scores of states, one for each row, −∞ where a forbidden component is on."""
        if self.forbidden is None:
            return scores
        on = self._open_to_states(self.forbidden) & (state != 0)
        return scores.masked_fill(on.any(-1), -torch.inf)

    def _mask_scores_each(self, scores: Tensor, states: Tensor) -> Tensor:
        """Returns the scores ``(*batch, M)`` of M states, −∞ where a forbidden component is on."""
        if self.forbidden is None:
            return scores
        on = self._open_to_states(self.forbidden).to(states) @ (states != 0).to(states).mT
        return scores.masked_fill(on > 0, -torch.inf)

    def _open_to_states(self, forbidden: Tensor) -> Tensor:
        """Returns which forbidden components a state may have on: clamped values are checked."""
        if self.observed is None:
            return forbidden
        return forbidden & ~self.observed

    def _restore(self, state: Tensor) -> Tensor:
        """Puts clamped units back to their values."""
        if self.observed is None or self.clamped is None:
            return state
        return torch.where(self.observed, self.clamped, state)


def _two_state_components(unit: Unit, forbidden: Tensor) -> tuple[Tensor, Tensor]:
    """Returns which components are units of two states, and the lower state of each.

    Raises:
        DomainError: If a component of a real unit is forbidden.
    """
    flags, lowest, start = [], [], 0
    for part in unit.parts:
        place = slice(start, start + part.size)
        if part.support is not None and bool(forbidden[..., place].any()):
            raise DomainError(
                f"a mask of the real units {part}",
                "Leave them allowed: they have no values to list",
            )
        by_itself = part.pointwise and part.support is None
        flags.append(torch.full((part.size,), by_itself))
        low = float(part.with_count(1).enumerate_states().min()) if by_itself else 0.0
        lowest.append(torch.full((part.size,), low))
        start += part.size
    device = forbidden.device
    return torch.cat(flags).to(device), torch.cat(lowest).to(device).expand(forbidden.shape)


def _check_possible(unit: Unit, forbidden: Tensor) -> None:
    """Refuses a mask that leaves no value to a one-hot unit."""
    pieces = zip(unit.parts, forbidden.split([part.size for part in unit.parts], -1), strict=True)
    nothing = [piece.unflatten(-1, (part.count, -1)).all(-1) for part, piece in pieces]
    if any(bool(part.any()) for part in nothing):
        *row, number = torch.cat(nothing, -1).nonzero()[0].tolist()
        raise DomainError(
            f"a mask that forbids every value of unit {number}"
            + (f" in row {row[0] if len(row) == 1 else tuple(row)}" if row else ""),
            "Allow at least one value of every unit",
        )
