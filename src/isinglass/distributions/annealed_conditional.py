"""Laws of units whose fields are given row by row, sampled by annealing their couplings."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Bool, Float
from isinglass._support.validation import check_count, check_features
from isinglass.units import Unit

__all__ = ["AnnealedConditional", "Annealing"]

Conditional = TypeVar("Conditional", bound="AnnealedConditional")


@dataclass(frozen=True)
class Annealing:
    """How a :class:`AnnealedConditional` is sampled and searched for its best state.

    A rugged law, with deep valleys between its peaks, wants slower annealing: more levels.

    Args:
        chains: Chains run side by side for every draw.
        levels: Couplings λ > 0 that each chain passes, one sweep of Gibbs sampling at each.
        greedy_chains: Chains that look for a greedy state.
        greedy_levels: Couplings that each of these passes.
        greedy_sweeps: Sweeps of a second search, 0 for none: simulated annealing of S itself, one
            unit after the other. Slower, and better where all short ways up lead astray, as
            weak couplings then do.
        refinements: Steps that climb from the end of a chain to a greedy state.

    Raises:
        ParameterError: If a number is not whole and at least one.
    """

    chains: int = 8
    levels: int = 24
    greedy_chains: int = 32
    greedy_levels: int = 48
    greedy_sweeps: int = 0
    refinements: int = 5

    def __post_init__(self) -> None:
        for name in ("chains", "levels", "greedy_chains", "greedy_levels", "refinements"):
            check_count(name, getattr(self, name))
        check_count("greedy_sweeps", self.greedy_sweeps, least=0)


def couplings(levels: int) -> Iterator[tuple[float, float]]:
    """Pairs of neighbouring λ from 0 to 1, closer together near 0, where order sets in."""
    for level in range(levels):
        yield (level / levels) ** 2, ((level + 1) / levels) ** 2


class AnnealedConditional(ABC):
    r"""A law exp(S(v)/T) of units in fields b, one row each, with couplings shared by all rows.

    Draws come from annealed importance sampling at constant T. Chains start from the units by
    themselves, exactly, and the couplings grow from 0 to λ = 1 with a sweep at each level that
    leaves exp(S_λ/T) unchanged. The weights that the chains gather make the estimate of
    exp(V/T) unbiased and choose the chain that is kept: more chains come closer to the law.

    A new law is a dataclass with these attributes that gives :meth:`score`, what a chain gains
    between two λ, a sweep at one λ, and a step that climbs.

    Reference: Neal 2001, "Annealed importance sampling", doi:10.1023/A:1008923215028.

    Attributes:
        unit: The kind of the units v.
        bias: b, ``(*batch, d)``, in units of the energy.
        temperature: T > 0.
        offset: Added to S, ``(*batch)``, or one number.
        annealing: How it is sampled.
        observed: Which units are clamped, ``(*batch, d)``; None if none is.
        clamped: Their values, in place; zeros elsewhere.
    """

    unit: Unit
    bias: Float[Tensor, "*batch d"]
    temperature: float
    offset: Float[Tensor, "*batch"] | float
    annealing: Annealing
    observed: Bool[Tensor, "*batch d"] | None
    clamped: Float[Tensor, "*batch d"] | None

    @abstractmethod
    def score(self, state: Float[Tensor, "*states d"]) -> Float[Tensor, "*states"]:
        """S(v) of a full state of all units, differentiable."""

    @abstractmethod
    def _gained(self, states: Tensor, before: float, after: float) -> Tensor:
        """S_λ of the states at ``after`` less that at ``before``."""

    @abstractmethod
    def _swept(self, states: Tensor, coupling: float, generator: Generator | None) -> Tensor:
        """The states after one sweep that leaves exp(S_λ/T) unchanged; clamped units may move."""

    @abstractmethod
    def _retried(self, states: Tensor, sharpness: float, generator: Generator) -> Tensor:
        """Every unit in turn drawn again from exp(sharpness·S) given the rest, or the best."""

    @abstractmethod
    def _climbed(self, states: Tensor) -> Tensor:
        """States of no lower score, clamped units where they were."""

    def value(self, generator: Generator | None = None) -> Float[Tensor, "*batch"]:
        """V of the units that are not clamped: log mean exp of the weights of the chains."""
        _, weights = self._drawn(generator)
        return self.temperature * (torch.logsumexp(weights, 0) - math.log(len(weights)))

    def sample(self, generator: Generator | None = None) -> Float[Tensor, "*batch d"]:
        """One draw a row: the end of a chain, chosen by weight."""
        states, weights = self._drawn(generator)
        shares = torch.softmax(weights, 0).movedim(0, -1)
        chosen = torch.multinomial(shares.reshape(-1, len(weights)), 1, generator=generator)
        return taken(states, chosen.reshape(shares.shape[:-1]))

    def mode(self) -> Float[Tensor, "*batch d"]:
        """The best state that the chains end in, each climbed from: the same at every call.

        No step of the climb lowers S(v).
        """
        states = self.peaks()
        return taken(states, self.score(states).argmax(0))

    @torch.no_grad()
    def peaks(self) -> Float[Tensor, "chains *batch d"]:
        """Where the chains get to, each climbed from."""
        generator = torch.Generator(self.bias.device).manual_seed(0)
        how = self.annealing
        states, _ = self._annealed(how.greedy_chains, how.greedy_levels, generator)
        for _ in range(how.refinements):
            states = self._climbed(states)
        if how.greedy_sweeps:
            found = self._searched(states.shape, how.greedy_sweeps, generator)
            states = torch.cat([states, found])
        return states

    def _searched(self, shape: torch.Size, sweeps: int, generator: Generator) -> Tensor:
        """Ends of simulated annealing of exp(λS/T) from random states, λ from 0 to 1."""
        states = self._restore(self.unit.sample(self.bias.new_zeros(shape), 1.0, generator))
        for _, sharpness in couplings(sweeps):
            states = self._retried(states, sharpness / self.temperature, generator)
        return self._retried(states, math.inf, generator)

    def condition(
        self: Conditional, state: Float[Tensor, "*batch d"], observed: Bool[Tensor, "*mask"]
    ) -> Conditional:
        """The distribution of the other units given the observed ones.

        Args:
            state: Values of all units; those not observed are ignored (and may be NaN).
            observed: True where a unit is observed.

        Raises:
            ShapeError: If state or mask has the wrong number of features, or the mask cuts
                through a one-hot unit.
            DomainError: If an observed value is not a state of the unit.
        """
        f"{type(self).__name__}.condition"
        check_features(state, self.unit.size)
        self.unit.check_mask(observed)
        observed = observed.expand(self.bias.shape)
        state = state.expand(self.bias.shape)
        self.unit.check(state, observed)
        clamped = torch.where(observed, state, 0.0)
        if self.observed is not None and self.clamped is not None:  # what was stays as it was
            clamped = torch.where(self.observed, self.clamped, clamped)
            observed = observed | self.observed
        return replace(cast(Any, self), observed=observed, clamped=clamped)

    def zeros_like_event(self) -> Float[Tensor, "*batch d"]:
        """Zeros shaped like one state a row."""
        return torch.zeros_like(self.bias)

    def lowered(self: Conditional, penalty: Float[Tensor, "*batch d"]) -> Conditional:
        """The same with a penalty taken off the field of every unit."""
        return replace(cast(Any, self), bias=self.bias - penalty)

    def _drawn(self, generator: Generator | None) -> tuple[Tensor, Tensor]:
        return self._annealed(self.annealing.chains, self.annealing.levels, generator)

    @torch.no_grad()
    def _annealed(
        self, chains: int, levels: int, generator: Generator | None
    ) -> tuple[Tensor, Tensor]:
        """States ``(chains, *batch, d)`` at λ = 1, and log weights that average to exp(V/T)."""
        temperature, rows = self.temperature, self.bias.shape[:-1]
        bias = self.bias.expand(chains, *self.bias.shape)
        states = self._restore(self.unit.sample(bias, temperature, generator))
        weights = (self._at_rest() / temperature).expand(chains, *rows)
        for before, after in couplings(levels):
            weights = weights + self._gained(states, before, after) / temperature
            states = self._restore(self._swept(states, after, generator))
        return states, weights + self._corrected(states)

    def _corrected(self, states: Tensor) -> Tensor | float:
        """What the log weights lack where the score is not that of the sweeps."""
        return 0.0

    def _at_rest(self) -> Tensor:
        """T log of the sum over states at λ = 0, where all units are by themselves."""
        if self.observed is None or self.clamped is None:
            return self.unit.log_partition(self.bias, self.temperature) + self.offset
        shares = self.unit.log_partition_per_component(self.bias, self.temperature)
        return self._own(self.clamped) + torch.where(self.observed, 0.0, shares).sum(-1)

    def _own(self, state: Tensor) -> Tensor:
        """o + b·v − U(v)."""
        own = (state * self.bias).sum(-1) - self.unit.base_measure_energy(state, self.temperature)
        return own + self.offset

    def _single_units(self) -> list[tuple[Unit, slice]]:
        """Every unit by itself, and where it lies."""
        found, start = [], 0
        for part in self.unit.parts:
            one = part.with_count(1)
            for _ in range(part.count):
                found.append((one, slice(start, start + one.size)))
                start += one.size
        return found

    def _restore(self, state: Tensor) -> Tensor:
        if self.observed is None or self.clamped is None:
            return state
        return torch.where(self.observed, self.clamped, state)


def taken(states: Tensor, index: Tensor) -> Tensor:
    """One chain a row."""
    index = index[None, ..., None].expand(1, *states.shape[1:])
    return states.gather(0, index).squeeze(0)
