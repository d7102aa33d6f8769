"""Two areas whose fields are given row by row: the joint law of actions, sampled by annealing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Generator, Tensor

from isinglass._shapes import Bool, Float
from isinglass.checks import check_count, check_features, check_positive
from isinglass.errors import ShapeError
from isinglass.units import Unit

__all__ = ["Annealing", "DrivenHarmonium", "ExpectedHarmonium"]


@dataclass(frozen=True)
class Annealing:
    """How a :class:`DrivenHarmonium` is sampled: chains, levels, and steps of the last climb.

    Args:
        chains: Chains run side by side for every row.
        levels: Couplings λ > 0 that each chain passes, one sweep of block Gibbs at each.
        refinements: Concave–convex steps that climb from the end of a chain to a greedy state.

    Raises:
        ParameterError: If a number is not whole and at least one.
    """

    chains: int = 8
    levels: int = 24
    refinements: int = 5

    def __post_init__(self) -> None:
        for name in ("chains", "levels", "refinements"):
            check_count("Annealing", name, getattr(self, name))

    def couplings(self) -> Iterator[tuple[float, float]]:
        """Pairs of neighbouring λ from 0 to 1, closer together near 0, where order sets in."""
        for level in range(self.levels):
            yield (level / self.levels) ** 2, ((level + 1) / self.levels) ** 2


@dataclass(frozen=True)
class DrivenHarmonium:
    r"""The distribution of units v joined to hidden units h, whose fields come from elsewhere.

        S(v)  = b·v − U(v) + A_T(c + Wv) − A_T(0) + o      score, −F(v), Q(s, a)
        V     = T log Σ_v exp(S(v)/T)                      value, estimated
        p(v)  = exp((S(v) − V)/T)

    The fields b and c, one row each, may be outputs of a network: a restricted Boltzmann machine
    that is driven by its surroundings. A_T(0) is taken off, so that without weights S(v) = 0.

    Draws come from annealed importance sampling at constant T. Chains start from the areas by
    themselves, exactly, and the coupling λW grows from 0 to 1 with a sweep of block Gibbs at each
    level, which leaves exp(S_λ/T) unchanged: v given h and h given v are exact at every T. The
    weights that the chains gather make the estimate of exp(V/T) unbiased and choose the chain
    that is kept, so that more chains come closer to p(v).

    Reference: Sallans & Hinton 2004, JMLR 5:1063-1088 (Q = −F); Neal 2001, "Annealed importance
    sampling", doi:10.1023/A:1008923215028.

    Attributes:
        unit: The kind of the units v.
        hidden: The kind of the hidden units, of any groups.
        bias: b, ``(*batch, d)``, in units of the energy.
        hidden_bias: c, ``(*batch, K)``.
        weight: W, ``(K, d)``, shared by all rows.
        temperature: T > 0.
        offset: o, ``(*batch)``, or one number.
        annealing: How it is sampled.
        observed: Which units are clamped, ``(*batch, d)``; None if none is.
        clamped: Their values, in place; zeros elsewhere.

    Examples:
        >>> from isinglass import Bit, Spin
        >>> law = DrivenHarmonium(
        ...     Spin(3), Bit(2), torch.zeros(5, 3), torch.zeros(5, 2), torch.ones(2, 3))
        >>> law.sample(torch.Generator().manual_seed(0)).shape, law.mode()[0]
        (torch.Size([5, 3]), tensor([1., 1., 1.]))
    """

    unit: Unit
    hidden: Unit
    bias: Float[Tensor, "*batch d"]
    hidden_bias: Float[Tensor, "*batch K"]
    weight: Float[Tensor, "K d"]
    temperature: float = 1.0
    offset: Float[Tensor, "*batch"] | float = 0.0
    annealing: Annealing = field(default_factory=Annealing)
    observed: Bool[Tensor, "*batch d"] | None = None
    clamped: Float[Tensor, "*batch d"] | None = None

    def __post_init__(self) -> None:
        check_positive("DrivenHarmonium", "temperature", self.temperature)
        sizes = (self.hidden_bias.shape[-1], self.bias.shape[-1])
        if self.weight.shape != sizes or sizes != (self.hidden.size, self.unit.size):
            raise ShapeError(
                "DrivenHarmonium",
                f"W {tuple(self.weight.shape)}, b {tuple(self.bias.shape)}, "
                f"c {tuple(self.hidden_bias.shape)} for {self.unit} and {self.hidden}",
                "Give W of shape (K, d), b with d and c with K columns",
            )

    def score(self, state: Float[Tensor, "*states d"]) -> Float[Tensor, "*states"]:
        """S(v) of a full state of all units, differentiable."""
        field = self.hidden_bias + state @ self.weight.mT
        return self._own(state) + self._above_rest(field)

    def value(self, generator: Generator | None = None) -> Float[Tensor, "*batch"]:
        """V of the units that are not clamped: log mean exp of the weights of the chains."""
        _, weights = self._annealed(generator)
        return self.temperature * (torch.logsumexp(weights, 0) - math.log(len(weights)))

    def sample(self, generator: Generator | None = None) -> Float[Tensor, "*batch d"]:
        """One draw a row: the end of a chain, chosen by weight."""
        states, weights = self._annealed(generator)
        shares = torch.softmax(weights, 0).movedim(0, -1)
        chosen = torch.multinomial(shares.reshape(-1, len(weights)), 1, generator=generator)
        return _taken(states, chosen.reshape(shares.shape[:-1]))

    def mode(self) -> Float[Tensor, "*batch d"]:
        """The best state that the chains end in, each climbed from: the same at every call.

        A step settles v in the field b + Wᵀ⟨h⟩_v, which never lowers S(v).
        """
        states, _ = self._annealed(torch.Generator(self.bias.device).manual_seed(0))
        for _ in range(self.annealing.refinements):
            states = self._climbed(states)
        return _taken(states, self.score(states).argmax(0))

    @torch.no_grad()
    def _climbed(self, states: Tensor) -> Tensor:
        means = self.hidden.mean(self.hidden_bias + states @ self.weight.mT, self.temperature)
        return self._restore(self.unit.settle(self.bias + means @ self.weight, states))

    def condition(
        self, state: Float[Tensor, "*batch d"], observed: Bool[Tensor, "*mask"]
    ) -> DrivenHarmonium:
        """The distribution of the other units given the observed ones.

        Args:
            state: Values of all units; those not observed are ignored (and may be NaN).
            observed: True where a unit is observed.

        Raises:
            ShapeError: If state or mask has the wrong number of features, or the mask cuts
                through a one-hot unit.
            DomainError: If an observed value is not a state of the unit.
        """
        operation = "DrivenHarmonium.condition"
        check_features(operation, state, self.unit.size)
        self.unit.check_mask(operation, observed)
        observed = observed.expand(self.bias.shape)
        state = state.expand(self.bias.shape)
        self.unit.check(operation, state, observed)
        clamped = torch.where(observed, state, 0.0)
        if self.observed is not None and self.clamped is not None:  # what was stays as it was
            clamped = torch.where(self.observed, self.clamped, clamped)
            observed = observed | self.observed
        return replace(self, observed=observed, clamped=clamped)

    def blank(self) -> Float[Tensor, "*batch d"]:
        """Zeros shaped like one state a row."""
        return torch.zeros_like(self.bias)

    def lowered(self, penalty: Float[Tensor, "*batch d"]) -> DrivenHarmonium:
        """The same with a penalty taken off the field of every unit."""
        return replace(self, bias=self.bias - penalty)

    @torch.no_grad()
    def _annealed(self, generator: Generator | None) -> tuple[Tensor, Tensor]:
        """States ``(chains, *batch, d)`` at λ = 1, and log weights that average to exp(V/T)."""
        temperature, rows = self.temperature, self.bias.shape[:-1]
        bias = self.bias.expand(self.annealing.chains, *self.bias.shape)
        states = self._restore(self.unit.sample(bias, temperature, generator))
        weights = self._at_rest() / temperature
        weights = weights.expand(self.annealing.chains, *rows)
        for before, after in self.annealing.couplings():
            overlap = states @ self.weight.mT
            field = self.hidden_bias + after * overlap
            gained = self.hidden.log_partition(field, temperature) - self.hidden.log_partition(
                self.hidden_bias + before * overlap, temperature
            )
            weights = weights + gained / temperature
            hidden = self.hidden.sample(field, temperature, generator)
            field = bias + after * (hidden @ self.weight)
            states = self._restore(self.unit.sample(field, temperature, generator))
        return states, weights + self._corrected(states)

    def _corrected(self, states: Tensor) -> Tensor | float:
        """What the log weights lack where the score is not that of the sweeps."""
        return 0.0

    def _at_rest(self) -> Tensor:
        """T log of the sum over states at λ = 0, where the areas are by themselves."""
        if self.observed is None or self.clamped is None:
            own = self.unit.log_partition(self.bias, self.temperature) + self.offset
        else:
            shares = self.unit.partition_shares(self.bias, self.temperature)
            free = torch.where(self.observed, 0.0, shares).sum(-1)
            own = self._own(self.clamped) + free
        return own + self._above_rest(self.hidden_bias)

    def _own(self, state: Tensor) -> Tensor:
        """o + b·v − U(v)."""
        own = (state * self.bias).sum(-1) - self.unit.base_energy(state, self.temperature)
        return own + self.offset

    def _above_rest(self, field: Tensor) -> Tensor:
        """A_T(I) − A_T(0) of the hidden units."""
        rest = self.hidden.log_partition(torch.zeros_like(field), self.temperature)
        return self.hidden.log_partition(field, self.temperature) - rest

    def _restore(self, state: Tensor) -> Tensor:
        if self.observed is None or self.clamped is None:
            return state
        return torch.where(self.observed, self.clamped, state)


class ExpectedHarmonium(DrivenHarmonium):
    r"""The same with the expected energy for a score: the entropy of h is left out.

        S(v) = b·v − U(v) + Σ_j ⟨h_j⟩ I_j + o,   I = c + Wv,   ⟨h⟩ = ∂A_T(I)

    S is minus ⟨E(v, h)⟩ over p(h|v), without a log that grows with every idle unit. The chains
    still follow −F, and their weights are corrected by exp((S + F)/T) at the end.

    Reference: Elfwing, Uchibe & Doya 2016, "From free energy to expected energy: Improving
    energy-based value function approximation in reinforcement learning",
    doi:10.1016/j.neunet.2016.07.013.

    Examples:
        >>> from isinglass import Bit, Spin
        >>> law = ExpectedHarmonium(
        ...     Spin(3), Bit(2), torch.zeros(3), torch.zeros(2), torch.zeros(2, 3))
        >>> law.score(torch.ones(3))
        tensor(0.)
    """

    def score(self, state: Float[Tensor, "*states d"]) -> Float[Tensor, "*states"]:
        """S(v), differentiable."""
        field = self.hidden_bias + state @ self.weight.mT
        mean = self.hidden.mean(field, self.temperature)
        energy = self.hidden.base_energy(mean, self.temperature)
        return self._own(state) + (mean * field).sum(-1) - energy

    def _corrected(self, states: Tensor) -> Tensor | float:
        return (self.score(states) - super().score(states)) / self.temperature


def _taken(states: Tensor, index: Tensor) -> Tensor:
    """One chain a row."""
    index = index[None, ..., None].expand(1, *states.shape[1:])
    return states.gather(0, index).squeeze(0)
