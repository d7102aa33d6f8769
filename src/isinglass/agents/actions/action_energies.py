"""Energies of actions: the machine whose Q = −F, before sizes of state and action are known."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

from isinglass._support.validation import check_count
from isinglass.agents.actions.heads import (
    ConditionalRBMHead,
    DBMHead,
    GaussianMixtureHead,
    Head,
    MixtureHead,
    PairwiseHead,
)
from isinglass.agents.actions.hybrid_head import HybridMixtureHead
from isinglass.distributions import Annealing, ConditionalRBM, ExpectedEnergyRBM
from isinglass.distributions.hybrid_mixture import real_components
from isinglass.errors import ParameterError
from isinglass.units import Bernoulli, Categorical, Unit

__all__ = [
    "ActionEnergy",
    "DBMEnergy",
    "MixtureEnergy",
    "PairwiseEnergy",
    "ProductOfMixtures",
    "RBMEnergy",
]


class ActionEnergy(ABC):
    """An energy of actions, from which :meth:`head` builds the module for a space.

    A new one is a frozen dataclass of sizes whose ``head`` returns a
    :class:`~isinglass.agents.actions.heads.Head`, a module from features of a state to a
    :class:`~isinglass.distributions.Distribution` of actions.

    Attributes:
        linear: Whether the head gets what is observed beside what hidden layers make of it, so
            that its fields b(s) may be linear in it.

    Examples:
        >>> from isinglass.agents import FreeEnergyQ, RBMEnergy
        >>> from isinglass.envs import LargeAction
        >>> agent = FreeEnergyQ("MlpPolicy", LargeAction(), energy=RBMEnergy(hidden=20))
        >>> type(agent.policy.q_net.head).__name__, agent.policy.q_net.head.weight.shape
        ('ConditionalRBMHead', torch.Size([20, 40]))
    """

    linear: ClassVar[bool] = False

    @abstractmethod
    def head(self, width: int, unit: Unit, init_scale: float) -> Head:
        """Builds the module from ``width`` features to a distribution over states of the unit.

        Args:
            width: Number of features of a state.
            unit: The units that an action is made of.
            init_scale: By how much the values of random actions differ at the start.

        Raises:
            ParameterError: If the energy has no distribution over this unit.
        """


@dataclass(frozen=True)
class MixtureEnergy(ActionEnergy):
    r"""One group of N memories: value, draw, entropy and conditioning are exact.

        Q(s,a) = T log Σ_μ exp((k_μ(s) + Σ_i θ_μi(s) a_i)/T) − T log N + offset

    For ``Box`` actions memory μ is a Gaussian of height k_μ(s) and center c_μ(s) in the box, and
    γ(s) are the slopes of all of them along each axis:

        Q(s,a) = T log Σ_μ exp((k_μ(s) − ½ Σ_i γ_i(s)² (a_i − c_μi(s))²)/T) − T log N + offset

    V, the integral over the box, and draws within it are exact. So they are where an action has
    choices or bits d beside real parts x, in a ``Dict`` or ``Tuple``; each memory has slopes of its
    own there, γ_μ(s):

        Q(s,d,x) = T log Σ_μ exp((k_μ(s) + θ_μ(s)·d − ½ Σ_i γ_μi(s)² (x_i − c_μi(s))²)/T)
                   − T log N + offset

    Reference: Sallans & Hinton 2004, JMLR 5:1063-1088 (Q = −F); Gu et al. 2016,
    arXiv:1603.00748 (one Gaussian: normalized advantages).

    Args:
        memories: N.
        state_fields: Whether the state bends the action fields, θ_μ(s) = θ_μ + W_μ φ(s): needed
            where the good actions are many more than the memories. With ``"shared"`` all alike,
            θ_μ(s) = θ_μ + W φ(s): what adds up over the parts of an action is then learned at
            once, and the memories have the rest. Gaussians always move.

    Raises:
        ParameterError: If ``memories`` is not a whole number of at least one, or ``state_fields``
            is neither a bool nor ``"shared"``.

    Examples:
        >>> from isinglass.agents import FreeEnergyQ
        >>> from isinglass.envs import LargeAction
        >>> env = LargeAction()
        >>> agent = FreeEnergyQ("MlpPolicy", env, energy=MixtureEnergy(memories=64))
        >>> agent.predict(env.reset(seed=0)[0])[0].shape
        (40,)
    """

    memories: int = 32
    state_fields: bool | str = False

    def __post_init__(self) -> None:
        check_count("memories", self.memories)
        shared = isinstance(self.state_fields, str) and self.state_fields == "shared"
        if not (shared or isinstance(self.state_fields, bool)):
            raise ParameterError(
                f"state_fields = {self.state_fields!r}", "Give True, False or 'shared'"
            )

    def head(self, width: int, unit: Unit, init_scale: float) -> Head:
        """Builds keys and fields, or a Gaussian mixture for real units."""
        if unit.is_gaussian:
            return GaussianMixtureHead(width, unit, self.memories)
        if real_components(unit).any():
            return HybridMixtureHead(width, unit, init_scale, self.memories, self.state_fields)
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
        """Builds a conditional RBM with one-hot groups for hidden units."""
        _check_discrete(unit)
        hidden = Categorical(self.groups * self.memories, groups=self.groups)
        return ConditionalRBMHead(width, unit, hidden, init_scale, self.annealing)


@dataclass(frozen=True)
class RBMEnergy(ActionEnergy):
    r"""A restricted Boltzmann machine over actions, conditional on the state.

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
        """Builds a conditional RBM with bits for hidden units."""
        _check_discrete(unit)
        kind = ExpectedEnergyRBM if self.expected else ConditionalRBM
        return ConditionalRBMHead(
            width, unit, Bernoulli(self.hidden), init_scale, self.annealing, kind
        )


@dataclass(frozen=True)
class PairwiseEnergy(ActionEnergy):
    r"""A Boltzmann machine of the action units, coupled pair by pair, conditional on the state.

        Q(s,a) = b(s)·a + ½ aᵀJa + o(s)

    For costs and constraints that are sums over pairs, such as "at most one of these". b(s) is a
    linear function of what is observed, plus one of the hidden layers.

    Reference: Ackley, Hinton & Sejnowski 1985, doi:10.1207/s15516709cog0901_7.

    Args:
        annealing: How actions are sampled.

    Examples:
        >>> PairwiseEnergy().annealing.levels
        24
    """

    linear: ClassVar[bool] = True
    annealing: Annealing = field(default_factory=Annealing)

    def head(self, width: int, unit: Unit, init_scale: float) -> Head:
        """Builds a conditional Boltzmann machine; couplings start at zero."""
        _check_discrete(unit)
        return PairwiseHead(width, unit, self.annealing)


@dataclass(frozen=True)
class DBMEnergy(ActionEnergy):
    r"""A deep Boltzmann machine of two hidden layers, conditional on the state at the first.

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
        """Builds a conditional RBM over action and upper layer together."""
        _check_discrete(unit)
        return DBMHead(width, unit, self.hidden, self.top, init_scale, self.annealing)


def _check_discrete(unit: Unit) -> None:
    if real_components(unit).any() or unit.support is not None:
        raise ParameterError(
            f"actions of {unit}",
            "Real actions have MixtureEnergy(), whose soft value is exact",
        )
