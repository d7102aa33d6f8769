"""Distributions of units in fields given row by row, sampled by annealing their couplings."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import TypeVar

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Bool, Float
from isinglass._support.validation import check_count, check_features, check_positive
from isinglass.distributions.base import FieldDistribution
from isinglass.units import Unit

__all__ = ["AnnealedConditional", "Annealing", "select_chain"]


@dataclass(frozen=True)
class Annealing:
    """Settings of the annealing that samples an :class:`AnnealedConditional` and finds its mode.

    A rugged distribution, with deep valleys between its peaks, wants slower annealing: more levels.

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

    Examples:
        >>> import isinglass as ig
        >>> slow = Annealing(chains=32, levels=96)
        >>> distribution = ig.ConditionalRBM(
        ...     ig.Spin(3), torch.zeros(3), ig.Bernoulli(2), torch.zeros(2), torch.ones(2, 3),
        ...     annealing=slow)
        >>> distribution.sample(torch.Generator().manual_seed(0)).shape
        torch.Size([3])
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


Conditional = TypeVar("Conditional", bound="AnnealedConditional")


@dataclass(frozen=True)
class AnnealedConditional(FieldDistribution):
    r"""A distribution exp(S(v)/T) of units in fields b, one row each, with couplings shared by all.

    Draws come from annealed importance sampling at constant T. Chains start from the units by
    themselves, exactly, and the couplings grow from 0 to λ = 1 with a sweep at each level that
    leaves exp(S_λ/T) unchanged. The weights that the chains gather make the estimate of
    exp(V/T) unbiased and choose the chain that is kept: more chains come closer to p(v).

    A new distribution is a dataclass on this one with its couplings, that gives :meth:`score`, what
    a chain gains between two λ, a sweep at one λ, a unit drawn again, and a step that climbs.

    Reference: Neal 2001, "Annealed importance sampling", doi:10.1023/A:1008923215028.

    Attributes:
        unit: The kind of the units v.
        bias: b, ``(*batch, d)``, in units of the energy.
        temperature: T > 0.
        offset: Added to S, ``(*batch)``, or one number.
        annealing: How it is sampled.
        observed: Which units are clamped, ``(*batch, d)``; None if none is.
        clamped: Their values, in place; zeros elsewhere.
        forbidden: Which components of one-hot units are forbidden; None if none is.
    """

    unit: Unit
    bias: Float[Tensor, "*batch d"]
    _: KW_ONLY
    temperature: float = 1.0
    offset: Float[Tensor, "*batch"] | float = 0.0
    annealing: Annealing = field(default_factory=Annealing)
    observed: Bool[Tensor, "*batch d"] | None = None
    clamped: Float[Tensor, "*batch d"] | None = None
    forbidden: Bool[Tensor, "*batch d"] | None = None

    def __post_init__(self) -> None:
        check_positive("temperature", self.temperature)

    @abstractmethod
    def _score_increment(self, states: Tensor, before: float, after: float) -> Tensor:
        """Returns S_λ of the states at λ = ``after`` less that at ``before``."""

    @abstractmethod
    def _sweep(self, states: Tensor, coupling: float, generator: Generator | None) -> Tensor:
        """Sweeps once over the units, leaving exp(S_λ/T) unchanged; clamped units may move."""

    @abstractmethod
    def _resample_each(self, states: Tensor, sharpness: float, generator: Generator) -> Tensor:
        """Draws every unit in turn from exp(sharpness·S) given the rest; its best state at ∞."""

    @abstractmethod
    def _climb(self, states: Tensor) -> Tensor:
        """Returns states of no lower score S, clamped units where they were."""

    def value(self, generator: Generator | None = None) -> Float[Tensor, "*batch"]:
        """Estimates V of the units that are not clamped: T log mean exp of the chains' weights."""
        _, weights = self._run_chains(generator)
        return self.temperature * (torch.logsumexp(weights, 0) - math.log(len(weights)))

    def sample(self, generator: Generator | None = None) -> Float[Tensor, "*batch d"]:
        """Draws one state v for each row: the end of a chain, chosen by its weight."""
        states, weights = self._run_chains(generator)
        shares = torch.softmax(weights, 0).movedim(0, -1)
        chosen = torch.multinomial(shares.reshape(-1, len(weights)), 1, generator=generator)
        return select_chain(states, chosen.reshape(shares.shape[:-1]))

    def mode(self) -> Float[Tensor, "*batch d"]:
        """Finds the state of highest score S among the chains' ends, each climbed from.

        The same at every call; no step of the climb lowers S(v).
        """
        states = self.peaks()
        return select_chain(states, self.score(states).argmax(0))

    @torch.no_grad()
    def peaks(self) -> Float[Tensor, "chains *batch d"]:
        """Returns the local maxima of S that the chains lead to, each climbed from."""
        generator = torch.Generator(self.bias.device).manual_seed(0)
        how = self.annealing
        states, _ = self._anneal(how.greedy_chains, how.greedy_levels, generator)
        states = self._cool(states, how.greedy_levels, generator)
        for _ in range(how.refinements):
            states = self._climb(states)
        if how.greedy_sweeps:
            found = self._simulated_annealing(states.shape, how.greedy_sweeps, generator)
            states = torch.cat([states, found])
        return states

    def _cool(self, states: Tensor, sweeps: int, generator: Generator) -> Tensor:
        """Returns states after sweeps in which T falls, where S does not depend on it; as is here.

        At T many states may be as likely as the best: the ends of chains are only some of these.
        """
        return states

    def _simulated_annealing(self, shape: torch.Size, sweeps: int, generator: Generator) -> Tensor:
        """Returns ends of simulated annealing of exp(λS/T) from random states, λ from 0 to 1."""
        fields = self._mask_fields(self.bias.new_zeros(shape))
        states = self._restore(self.unit.sample(fields, 1.0, generator))
        for _, sharpness in couplings(sweeps):
            states = self._resample_each(states, sharpness / self.temperature, generator)
        return self._resample_each(states, math.inf, generator)

    def condition(
        self: Conditional, state: Float[Tensor, "*batch d"], observed: Bool[Tensor, "*mask"]
    ) -> Conditional:
        """Returns the distribution p(v_free | v_observed) of the units that are not observed.

        Args:
            state: Values of all units; those not observed are ignored (and may be NaN).
            observed: True where a unit is observed.

        Raises:
            ShapeError: If state or mask has the wrong number of features, or the mask cuts
                through a one-hot unit.
            DomainError: If an observed value is not a state of the unit, or is forbidden.
        """
        check_features(state, self.unit.size)
        self.unit.check_mask(observed)
        observed = observed.expand(self.bias.shape)
        state = state.expand(self.bias.shape)
        self.unit.check(state, observed)
        clamped = torch.where(observed, state, 0.0)
        if self.observed is not None and self.clamped is not None:  # what was stays as it was
            clamped = torch.where(self.observed, self.clamped, clamped)
            observed = observed | self.observed
        given = replace(self, observed=observed, clamped=clamped)
        given._check_clamped(self.forbidden)
        return given

    def zeros_like_event(self) -> Float[Tensor, "*batch d"]:
        """Returns zeros with the shape, type and device of one state v for each row."""
        return torch.zeros_like(self.bias)

    def _without(self: Conditional, forbidden: Bool[Tensor, "*batch d"]) -> Conditional:
        return replace(self, forbidden=self._join(forbidden))

    def _run_chains(self, generator: Generator | None) -> tuple[Tensor, Tensor]:
        return self._anneal(self.annealing.chains, self.annealing.levels, generator)

    @torch.no_grad()
    def _anneal(
        self, chains: int, levels: int, generator: Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Returns states ``(chains, *batch, d)`` at λ = 1, and log weights averaging exp(V/T)."""
        temperature, rows = self.temperature, self.bias.shape[:-1]
        bias = self._mask_fields(self.bias).expand(chains, *self.bias.shape)
        states = self._restore(self.unit.sample(bias, temperature, generator))
        weights = (self._uncoupled_value() / temperature).expand(chains, *rows)
        for before, after in couplings(levels):
            weights = weights + self._score_increment(states, before, after) / temperature
            states = self._restore(self._sweep(states, after, generator))
        return states, weights + self._log_weight_correction(states)

    def _log_weight_correction(self, states: Tensor) -> Tensor | float:
        """Returns what log weights lack where the score is not that of the sweeps."""
        return 0.0

    def _uncoupled_value(self) -> Tensor:
        """Returns V at λ = 0, where all units are by themselves."""
        fields = self._mask_fields(self.bias)
        if self.observed is None or self.clamped is None:
            return self.unit.log_partition(fields, self.temperature) + self.offset
        shares = self.unit.log_partition_per_component(fields, self.temperature)
        return self._unit_terms(self.clamped) + torch.where(self.observed, 0.0, shares).sum(-1)

    def _unit_terms(self, state: Tensor) -> Tensor:
        """Returns o + b·v − U(v), the part of S without couplings."""
        own = (state * self.bias).sum(-1) - self.unit.base_measure_energy(state, self.temperature)
        return own + self.offset

    def _single_units(self) -> list[tuple[Unit, slice]]:
        """Lists every unit by itself, and where it lies."""
        found, start = [], 0
        for part in self.unit.parts:
            one = part.with_count(1)
            for _ in range(part.count):
                found.append((one, slice(start, start + one.size)))
                start += one.size
        return found


def couplings(levels: int) -> Iterator[tuple[float, float]]:
    """Yields pairs of neighboring λ from 0 to 1, closer together near 0, where order sets in."""
    for level in range(levels):
        yield (level / levels) ** 2, ((level + 1) / levels) ** 2


def select_chain(states: Tensor, index: Tensor) -> Tensor:
    """Returns the state of one chain for each row."""
    index = index[None, ..., None].expand(1, *states.shape[1:])
    return states.gather(0, index).squeeze(0)
