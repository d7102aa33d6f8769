"""Energies of an agent: what turns the features of a state into a law of actions."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from isinglass._support.typing import Float
from isinglass._support.validation import check_count
from isinglass.agents._mixture_score import mixture_score, scores_in_one_pass
from isinglass.distributions.annealed_conditional import Annealing
from isinglass.distributions.conditional_boltzmann_machine import ConditionalBoltzmannMachine
from isinglass.distributions.conditional_dbm import ConditionalDBM
from isinglass.distributions.conditional_rbm import ConditionalRBM, ExpectedEnergyRBM
from isinglass.distributions.enumerated import ActionDistribution
from isinglass.distributions.scaled_truncated_mixture import ScaledTruncatedMixture
from isinglass.energies import PatternMixture
from isinglass.errors import ParameterError
from isinglass.units import Bernoulli, Categorical, Mixed, Unit

__all__ = [
    "ActionEnergy",
    "DBMEnergy",
    "Head",
    "MixtureEnergy",
    "PairwiseEnergy",
    "ProductOfMixtures",
    "RBMEnergy",
]


class Head(nn.Module, ABC):
    """From features of a state to a law of actions, with a learned scale and offset of values."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.offset = nn.Parameter(torch.zeros(()))

    @property
    def scale(self) -> Tensor:
        """Units of reward an energy unit."""
        return self.log_scale.exp()

    @abstractmethod
    def forward(self, features: Tensor, temperature: float) -> ActionDistribution:
        """The law of actions as states of the unit, one a row."""

    def score(
        self,
        features: Float[Tensor, "batch f"],
        temperature: float,
        state: Float[Tensor, "*states d"],
    ) -> Float[Tensor, "..."]:
        """Q of actions, differentiable once: that of the law, by a shorter way if there is one."""
        return self(features, temperature).score(state)


class ActionEnergy(ABC):
    """An energy of actions, before the sizes of state and action are known."""

    @abstractmethod
    def head(self, width: int, unit: Unit, init_scale: float) -> Head:
        """The module for so many features and this unit.

        Args:
            width: Number of features of a state.
            unit: The units that an action is made of.
            init_scale: By how much the values of random actions differ at the start.

        Raises:
            ParameterError: If the energy has no law for this unit.
        """


@dataclass(frozen=True)
class MixtureEnergy(ActionEnergy):
    r"""One group of N memories: value, draw, entropy and conditioning are exact.

        Q(s,a) = T log Σ_μ exp((k_μ(s) + Σ_i θ_μi(s) a_i)/T) − T log N + offset

    For ``Box`` actions memory μ is a hill of height k_μ(s) and centre c_μ(s) in the box, and γ(s)
    are how steep hills are along each axis:

        Q(s,a) = T log Σ_μ exp((k_μ(s) − ½ Σ_i γ_i(s)² (a_i − c_μi(s))²)/T) − T log N + offset

    V, the integral over the box, and draws within it are exact.

    Reference: Sallans & Hinton 2004, JMLR 5:1063-1088 (Q = −F); Gu et al. 2016,
    arXiv:1603.00748 (one hill: normalised advantages).

    Args:
        memories: N.
        state_fields: Whether the state bends the action fields, θ_μ(s) = θ_μ + W_μ φ(s): needed
            where the good actions are many more than the memories. Hills always move.

    Raises:
        ParameterError: If ``memories`` is not a whole number of at least one.

    Examples:
        >>> MixtureEnergy(memories=64)
        MixtureEnergy(memories=64, state_fields=False)
    """

    memories: int = 32
    state_fields: bool = False

    def __post_init__(self) -> None:
        check_count("memories", self.memories)

    def head(self, width: int, unit: Unit, init_scale: float) -> Head:
        """Keys and fields, or hills."""
        if unit.is_gaussian:
            return GaussianMixtureHead(width, unit, self.memories)
        return MixtureHead(width, unit, init_scale, self.memories, self.state_fields)


@dataclass(frozen=True)
class ProductOfMixtures(ActionEnergy):
    r"""Several groups of memories, a product of mixtures: G·N memories stand for N^G patterns.

        Q(s,a) = b(s)·a + Σ_g T log Σ_μ exp((c_gμ(s) + w_gμ·a)/T) − G T log N + o(s)

    What is good in one part of the action and what is good in another add up. Actions are drawn
    by block Gibbs, annealed inside each action.

    Reference: Sallans & Hinton 2004, JMLR 5:1063-1088; Hinton 2002,
    doi:10.1162/089976602760128018 (products of experts).

    Args:
        groups: G.
        memories: N, of each group.
        annealing: How actions are sampled.

    Raises:
        ParameterError: If a number is not whole and at least one.

    Examples:
        >>> ProductOfMixtures(groups=5, memories=8).annealing.chains
        8
    """

    groups: int = 8
    memories: int = 8
    annealing: Annealing = field(default_factory=Annealing)

    def __post_init__(self) -> None:
        check_count("groups", self.groups)
        check_count("memories", self.memories)

    def head(self, width: int, unit: Unit, init_scale: float) -> Head:
        """A driven machine with groups for hidden units."""
        _check_discrete(unit)
        hidden = Categorical(self.groups * self.memories, groups=self.groups)
        return ConditionalRBMHead(width, unit, hidden, init_scale, self.annealing)


@dataclass(frozen=True)
class RBMEnergy(ActionEnergy):
    r"""A restricted Boltzmann machine, driven by the state.

        Q(s,a) = b(s)·a + Σ_j T log(1 + exp((c_j(s) + w_j·a)/T)) − K T log 2 + o(s)

    or, with ``expected``, minus its expected energy: b(s)·a + Σ_j ⟨h_j⟩ (c_j(s) + w_j·a) + o(s).

    Reference: Sallans & Hinton 2004, JMLR 5:1063-1088; Elfwing, Uchibe & Doya 2016,
    doi:10.1016/j.neunet.2016.07.013 (expected energy).

    Args:
        hidden: K, bits.
        expected: Whether Q is the expected energy.
        annealing: How actions are sampled.

    Raises:
        ParameterError: If ``hidden`` is not a whole number of at least one.

    Examples:
        >>> RBMEnergy(hidden=64, expected=True).hidden
        64
    """

    hidden: int = 128
    expected: bool = False
    annealing: Annealing = field(default_factory=Annealing)

    def __post_init__(self) -> None:
        check_count("hidden", self.hidden)

    def head(self, width: int, unit: Unit, init_scale: float) -> Head:
        """A driven machine with bits for hidden units."""
        _check_discrete(unit)
        kind = ExpectedEnergyRBM if self.expected else ConditionalRBM
        return ConditionalRBMHead(
            width, unit, Bernoulli(self.hidden), init_scale, self.annealing, kind
        )


@dataclass(frozen=True)
class PairwiseEnergy(ActionEnergy):
    r"""A Boltzmann machine of the action units alone, coupled pair by pair, driven by the state.

        Q(s,a) = b(s)·a + ½ aᵀJa + o(s)

    For costs and constraints that are sums over pairs, such as "at most one of these".

    Reference: Ackley, Hinton & Sejnowski 1985, doi:10.1207/s15516709cog0901_7.

    Args:
        annealing: How actions are sampled.

    Examples:
        >>> PairwiseEnergy().annealing.levels
        24
    """

    annealing: Annealing = field(default_factory=Annealing)

    def head(self, width: int, unit: Unit, init_scale: float) -> Head:
        """A driven machine of pairs; couplings start at zero."""
        _check_discrete(unit)
        return PairwiseHead(width, unit, self.annealing)


@dataclass(frozen=True)
class DBMEnergy(ActionEnergy):
    r"""A deep Boltzmann machine of two hidden layers, driven by the state at the first.

    Q(s,a) is the mean-field bound on −F; actions are drawn from −F itself.

    Reference: Crawford, Levit, Ghadermarzy, Oberoi & Ronagh 2018, arXiv:1612.05695.

    Args:
        hidden: Bits of the layer that touches the action.
        top: Bits of the layer above it.
        annealing: How actions are sampled.

    Raises:
        ParameterError: If a number is not whole and at least one.

    Examples:
        >>> DBMEnergy(hidden=32, top=16).top
        16
    """

    hidden: int = 64
    top: int = 32
    annealing: Annealing = field(default_factory=Annealing)

    def __post_init__(self) -> None:
        check_count("hidden", self.hidden)
        check_count("top", self.top)

    def head(self, width: int, unit: Unit, init_scale: float) -> Head:
        """A driven machine over action and top layer together."""
        _check_discrete(unit)
        return DBMHead(width, unit, self, init_scale)


class MixtureHead(Head):
    """Keys k_μ(s) = w_μ·φ(s) + b_μ and action fields θ_μ, stored, bent by the state if wished."""

    def __init__(
        self, width: int, unit: Unit, init_scale: float, memories: int, state_fields: bool
    ) -> None:
        super().__init__()
        self.unit = unit
        self.keys = nn.Linear(width, memories)
        self.fields = nn.Parameter(_scattered(memories, unit, init_scale))
        self.bend = None
        if state_fields:
            self.bend = nn.Linear(width, self.fields.numel(), bias=False)
            nn.init.zeros_(self.bend.weight)  # start from the stored patterns

    def forward(self, features: Float[Tensor, "batch f"], temperature: float) -> PatternMixture:
        """T log Σ_μ 1 is taken off, so that Q does not depend on the number of idle memories."""
        idle = temperature * math.log(self.keys.out_features)
        fields = self.fields
        if self.bend is not None:
            fields = fields + self.bend(features).unflatten(-1, fields.shape)
        scale = self.scale
        keys = torch.addcmul(self.offset - idle, scale, self.keys(features))
        return PatternMixture(self.unit, keys, scale * fields, temperature)

    def score(
        self,
        features: Float[Tensor, "batch f"],
        temperature: float,
        state: Float[Tensor, "*states d"],
    ) -> Float[Tensor, "..."]:
        """In one pass where the patterns are stored as they are."""
        stored = self.bend is None and not self.unit.has_base_measure_energy
        if not stored or not scores_in_one_pass(features, self.fields, state):
            return super().score(features, temperature, state)
        weight, bias = self.keys.weight, self.keys.bias
        return mixture_score(
            features, weight, bias, self.fields, self.scale, self.offset, state, temperature
        )


class GaussianMixtureHead(Head):
    """Heights, centres within the box and steepnesses, all from the state.

    Heights are over a level that all hills share: what is good in a state whatever is done is
    learned once, and does not blur which hill is higher.
    """

    def __init__(self, width: int, unit: Unit, memories: int) -> None:
        super().__init__()
        self.unit = unit
        self.level = nn.Linear(width, 1)
        self.heights = nn.Linear(width, memories)
        self.centers = nn.Linear(width, memories * unit.size)
        self.steepness = nn.Linear(width, unit.size)

    def forward(
        self, features: Float[Tensor, "batch f"], temperature: float
    ) -> ScaledTruncatedMixture:
        """With x = γa: θ_μ = γc_μ and k_μ less ½|γc_μ|², so that k_μ is the height of the hill."""
        idle = temperature * math.log(self.heights.out_features)
        heights = self.scale * (self.level(features) + self.heights(features)) + self.offset - idle
        slopes = nn.functional.softplus(self.steepness(features)) * self.scale.sqrt() + 1e-3
        centers = torch.tanh(self.centers(features)).unflatten(-1, (-1, self.unit.size))
        fields = slopes.unsqueeze(-2) * centers
        keys = heights - fields.square().sum(-1) / 2
        distribution = PatternMixture(self.unit, keys, fields, temperature)
        return ScaledTruncatedMixture(distribution, slopes, reach=1.0)


class ConditionalRBMHead(Head):
    """Fields b(s), c(s) and an offset o(s) from the state; weights W between action and h."""

    def __init__(
        self,
        width: int,
        unit: Unit,
        hidden: Unit,
        init_scale: float,
        annealing: Annealing,
        kind: type[ConditionalRBM] = ConditionalRBM,
    ) -> None:
        super().__init__()
        self.unit, self.hidden, self.annealing, self.kind = unit, hidden, annealing, kind
        self.hidden_bias = nn.Linear(width, hidden.size)
        self.bias = _zero_linear(width, unit.size + 1)
        self.weight = nn.Parameter(_scattered(hidden.size, unit, init_scale))

    def forward(self, features: Float[Tensor, "batch f"], temperature: float) -> ConditionalRBM:
        """The machine that the state drives."""
        driven = self.scale * self.bias(features)
        return self.kind(
            self.unit,
            self.hidden,
            driven[..., 1:],
            self.scale * self.hidden_bias(features),
            self.scale * self.weight,
            temperature,
            driven[..., 0] + self.offset,
            self.annealing,
        )


class PairwiseHead(Head):
    """Fields b(s) and an offset o(s) from the state; couplings J of different units."""

    apart: Tensor

    def __init__(self, width: int, unit: Unit, annealing: Annealing) -> None:
        super().__init__()
        self.unit, self.annealing = unit, annealing
        self.bias = _zero_linear(width, unit.size + 1)
        self.weight = nn.Parameter(torch.zeros(unit.size, unit.size))
        variable_ids = unit.variable_ids()
        self.register_buffer("apart", variable_ids[:, None] != variable_ids, persistent=False)

    def forward(
        self, features: Float[Tensor, "batch f"], temperature: float
    ) -> ConditionalBoltzmannMachine:
        """The machine that the state drives."""
        driven = self.scale * self.bias(features)
        coupling = self.scale * (self.weight + self.weight.mT) * self.apart
        return ConditionalBoltzmannMachine(
            self.unit,
            driven[..., 1:],
            coupling,
            temperature,
            driven[..., 0] + self.offset,
            self.annealing,
        )


class DBMHead(ConditionalRBMHead):
    """:class:`ConditionalRBMHead` over action and top layer side by side."""

    def __init__(self, width: int, unit: Unit, shape: DBMEnergy, init_scale: float) -> None:
        joint = Mixed([unit, Bernoulli(shape.top)])
        super().__init__(width, joint, Bernoulli(shape.hidden), init_scale, shape.annealing)
        self.actions = unit

    def forward(self, features: Float[Tensor, "batch f"], temperature: float) -> ConditionalDBM:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The machine that the state drives."""
        return ConditionalDBM(self.actions, super().forward(features, temperature))


def _zero_linear(width: int, outputs: int) -> nn.Linear:
    linear = nn.Linear(width, outputs)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


def _scattered(rows: int, unit: Unit, init_scale: float) -> Tensor:
    """Fields of N(0, spread²/d), so that the values of random actions differ by about spread."""
    return init_scale / math.sqrt(unit.size) * torch.randn(rows, unit.size)


def _check_discrete(unit: Unit) -> None:
    if unit.support is not None:
        raise ParameterError(
            f"actions of {unit}",
            "Real actions have MixtureEnergy(), whose soft value is exact",
        )
