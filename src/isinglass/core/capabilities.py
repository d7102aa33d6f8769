"""What an energy may offer beyond a number for every state: mixins that a family opts into.

``isinstance(energy, Tractable)`` says whether log Z is at hand, and so for every other mixin.
Whoever needs one asks for it by :func:`require`, which raises the same error everywhere.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, TypeVar, cast

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Bool, Float
from isinglass._support.validation import check_means
from isinglass.core.described import Described
from isinglass.core.energy import Energy, check_energy
from isinglass.core.kernel import Kernel
from isinglass.core.path import AnnealingPath
from isinglass.errors import IntractableError
from isinglass.units import Unit

__all__ = [
    "Annealable",
    "Capability",
    "Clampable",
    "ConcaveConvex",
    "Gibbs",
    "Serializable",
    "Tractable",
    "Trainable",
    "as_trainable",
    "require",
]


class Capability(Energy):
    """A mixin of energies, with what an energy without it lacks and what to do then, in words."""

    lacking: ClassVar[str]
    remedy: ClassVar[str]


Offered = TypeVar("Offered", bound=Capability)


def require(energy: Energy, capability: type[Offered]) -> Offered:
    """Returns the energy as one that has a capability.

    Args:
        energy: Any energy.
        capability: One of the mixins of this file.

    Raises:
        IntractableError: If the energy's class does not inherit it.

    Examples:
        >>> import isinglass as ig
        >>> memory = ig.ClassicalHopfield(torch.ones(1, 3))
        >>> isinstance(memory, Tractable), isinstance(ig.BoltzmannMachine(ig.Spin(3)), Tractable)
        (False, True)
        >>> require(memory, ConcaveConvex) is memory
        True
    """
    check_energy(energy)
    if not isinstance(energy, capability):
        raise IntractableError(
            f"{type(energy).__name__} {capability.lacking}",
            energy.instead.get(capability.__name__, capability.remedy),
        )
    return energy


class Gibbs(Capability):
    """An energy whose units can be drawn layer by layer from their exact conditionals.

    Reference: Geman & Geman 1984, doi:10.1109/TPAMI.1984.4767596.

    Examples:
        >>> class Coin(Gibbs):
        ...     "E(s) = 0 on bits."
        ...     def forward(self, state):
        ...         return state.sum(-1) * 0
        ...     def sweep(self, state, temperature, generator=None):
        ...         return torch.rand(state.shape, generator=generator).round()
        >>> import isinglass as ig
        >>> ig.run(ig.BlockGibbs(), Coin(), torch.zeros(4, 3), steps=2, temperature=1.0).shape
        torch.Size([4, 3])
    """

    lacking: ClassVar[str] = "has no layers of units with exact conditionals"
    remedy: ClassVar[str] = (
        "Use a harmonium, or a kernel that needs only the energy and its gradient"
    )

    @abstractmethod
    def sweep(
        self,
        state: Float[Tensor, "*batch size"],
        temperature: float,
        generator: Generator | None = None,
    ) -> Float[Tensor, "*batch size"]:
        """Draws every layer given its neighbors, once; T = 0 is the deterministic update."""


class Clampable(Gibbs):
    """An energy whose Gibbs sweep can hold observed units fixed: s_free ~ p(s_free | s_observed).

    Reference: Ackley, Hinton & Sejnowski 1985, doi:10.1207/s15516709cog0901_7.

    Examples:
        >>> import isinglass as ig
        >>> machine = ig.RBM(ig.Bernoulli(3), ig.Bernoulli(2))
        >>> isinstance(machine, Clampable), isinstance(ig.BoltzmannMachine(ig.Spin(3)), Clampable)
        (True, True)
        >>> observed = torch.tensor([True, True, False, False, False])
        >>> machine.clamped_sweep(torch.ones(5), observed, 1.0)[:2].tolist()  # as they were
        [1.0, 1.0]
    """

    lacking: ClassVar[str] = "has no layers of units with exact conditionals given some units"
    remedy: ClassVar[str] = "Use a harmonium, such as RBM, HopfieldBoltzmann or DeepBoltzmann"

    @abstractmethod
    def clamped_sweep(
        self,
        state: Float[Tensor, "*batch size"],
        observed: Bool[Tensor, "*batch size"],
        temperature: float,
        generator: Generator | None = None,
    ) -> Float[Tensor, "*batch size"]:
        """Draws as :meth:`sweep` does, but leave observed units as they are: exact given them."""


class ConcaveConvex(Capability):
    """An energy given as E = U − A with U and A convex, which has a step that cannot go uphill.

    Reference: Yuille & Rangarajan 2003, doi:10.1162/08997660360581958.

    Examples:
        >>> class Quartic(ConcaveConvex):
        ...     "E(s) = s⁴/4 − s²/2: at T = 0 the step is argmin s⁴/4 − s₀ s."
        ...     def forward(self, state):
        ...         return (state**4 / 4 - state**2 / 2).sum(-1)
        ...     def cccp_update(self, state):
        ...         return state.sign() * state.abs() ** (1 / 3)
        >>> import isinglass as ig
        >>> ig.recall(Quartic(), torch.tensor([0.1, -2.0]), ig.CCCP()).state.round(decimals=3)
        tensor([ 1., -1.])
    """

    lacking: ClassVar[str] = "is not given as a difference of two convex functions"
    remedy: ClassVar[str] = "Descend it with another kernel, or by gradient: energy.grad(state)"

    @abstractmethod
    def cccp_update(self, state: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch size"]:
        """Takes one concave–convex step, argmin_s U(s) − s·∂A(s₀), which never raises E = U − A."""


class Tractable(Capability):
    """An energy whose log-partition function log Z is a closed form, or a sum over its states.

    Examples:
        >>> class Coins(Tractable):
        ...     "E(s) = −½ Σ s on three spins; log Z = 3 log 2cosh(1/2T)."
        ...     def forward(self, state):
        ...         return -0.5 * state.sum(-1)
        ...     def exact_log_partition(self, temperature=None):
        ...         field = torch.tensor(0.5 / (temperature or self.temperature)).double()
        ...         return 3 * (2 * field.cosh()).log()
        >>> import isinglass as ig
        >>> print(ig.log_partition(Coins()))
        log Z = 2.439785063 (exact)
    """

    lacking: ClassVar[str] = "has no closed form of log Z and no list of states"
    remedy: ClassVar[str] = "Estimate it: log_partition(energy, method='ais')"

    @abstractmethod
    def exact_log_partition(self, temperature: float | None = None) -> Tensor:
        """Computes log Z = log Σ_s exp(−E(s)/T), in float64, a tensor of no dimensions.

        Raises:
            IntractableError: If the states of this one are too many, or Z is infinite.
        """

    def log_states_summed(self) -> float:
        """Returns the log of how many states are summed over; 0 for a closed form."""
        return 0.0


class Annealable(Capability):
    """An energy that names a path to exp(−E/T) from a distribution that is drawn exactly.

    Examples:
        >>> import isinglass as ig
        >>> path = ig.RBM(ig.Bernoulli(3), ig.Bernoulli(2), scale=0.0).path()
        >>> path.draw_base(10).shape, round(float(path.base_log_partition.exp()))  # all 2⁵ alike
        (torch.Size([10, 5]), 32)
    """

    lacking: ClassVar[str] = "names no path from a distribution that is drawn exactly"
    remedy: ClassVar[str] = (
        "Use an energy of units, or inherit isinglass.core.Annealable and define path"
    )

    @abstractmethod
    def path(
        self, temperature: float | None = None, data: Float[Tensor, "n d"] | None = None
    ) -> AnnealingPath:
        """Builds the path to exp(−E/T), for annealed importance sampling and replica exchange.

        Args:
            temperature: T of the wanted end; None is the energy's own.
            data: Visible states whose means the exact end is given, which shortens the path.
        """


class Serializable(Described, Capability):
    """An energy that can be saved: its configuration and its tensors build it again.

    Examples:
        >>> class Bowl(Serializable):
        ...     def __init__(self, size):
        ...         super().__init__()
        ...         self.center = torch.nn.Parameter(torch.zeros(size))
        ...     def forward(self, state):
        ...         return (state - self.center).square().sum(-1)
        ...     def config(self):
        ...         return {"size": len(self.center)}
        >>> Bowl.from_config(Bowl(3).config())
        Bowl()
    """

    lacking: ClassVar[str] = "does not say how it is saved"
    remedy: ClassVar[str] = (
        "Inherit isinglass.core.Serializable and define config, and from_config where it is not "
        "cls(**config)"
    )

    @abstractmethod
    def config(self) -> dict[str, object]:
        """Returns what :meth:`from_config` needs to build an empty twin: JSON values only."""

    @classmethod
    def from_config(cls, config: dict[str, object]) -> Serializable:
        """Builds an energy of the same shape, whose tensors are then filled from the file."""
        return cls(**config)

    def description(self) -> dict[str, object]:
        """Returns the configuration, for the state dict; numbers are there by themselves."""
        numbers = getattr(self, "numbers", ())
        return {name: value for name, value in self.config().items() if name not in numbers}


class Trainable(Capability):
    """An energy that learns by contrast with samples: it names its sampler, and its visible units.

    The defaults are those of an energy without hidden units, for which F = E; one that has hidden
    units overrides the first four methods.

    Reference: Hinton 2002, doi:10.1162/089976602760128018.

    Examples:
        >>> import isinglass as ig
        >>> machine = ig.RBM(ig.Bernoulli(3), ig.Bernoulli(2))
        >>> data, chains = torch.ones(4, 3), torch.zeros(8, 5)
        >>> loss, chains = machine.persistent_contrastive_loss(data, chains)
        >>> loss.backward()
        >>> chains.shape, type(machine.default_sampler()).__name__
        (torch.Size([8, 5]), 'BlockGibbs')
    """

    lacking: ClassVar[str] = "names no kernel that samples it"
    remedy: ClassVar[str] = "Give a kernel: HMC() or MALA() for real states"

    @abstractmethod
    def default_sampler(self) -> Kernel:
        """Returns the kernel that samples this energy unless another is named.

        Its state is its own affair: whoever moves chains by it only hands the state back.
        """

    def check_visible(self, visible: Float[Tensor, "*batch d"]) -> None:
        """Refuses what is no visible state of this energy: what it may learn from.

        Raises:
            IsinglassError: The subclass that names what is wrong.
        """
        self.check_state(visible)

    def check_normalizable(self) -> None:
        """Refuses an energy whose states run away, from which nothing can be drawn.

        Raises:
            IntractableError: If it is seen that Z is infinite.
        """

    def extend(self, visible: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch size"]:
        """Returns a state with this visible part and hidden units at zero, to be moved."""
        return visible

    def visible_part(self, state: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch d"]:
        """Returns the visible units of a state: all of them, unless some are hidden."""
        return state

    def free_energy(
        self, visible: Float[Tensor, "*batch d"], temperature: float | None = None
    ) -> Float[Tensor, "*batch"]:
        """Computes F_T(v) = −T log Σ_h exp(−E(v, h)/T); without hidden units, E itself.

        Args:
            visible: Visible states, ``(*batch, d)``.
            temperature: T; None is the energy's own.

        Raises:
            IntractableError: If the hidden units cannot be summed out.
        """
        self.check_state(visible)
        return self.energy_at(visible, self.temperature if temperature is None else temperature)

    def positive_phase(self, visible: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """Computes what learning lowers on data: F(v), or a variational bound on it from above."""
        return self.free_energy(visible)

    def negative_phase(self, state: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch"]:
        """Computes what learning raises on samples: F(v) where there is one, else E(v, h)."""
        return self.free_energy(self.visible_part(state))

    def contrastive_loss(
        self, visible: Float[Tensor, "batch d"], state: Float[Tensor, "chains size"]
    ) -> Float[Tensor, ""]:
        """Computes (⟨positive phase⟩ − ⟨negative phase⟩)/T, whose gradient is that of −log p(data).

        The gradient is what matters, and is that of :meth:`positive_phase` and
        :meth:`negative_phase`; the value only says how far apart data and samples lie. States
        are not checked, as learning calls this in every step.

        Raises:
            ShapeError: If there is no row of data, or no chain.
        """
        check_means(visible=visible, state=state)
        gap = self.positive_phase(visible).mean() - self.negative_phase(state.detach()).mean()
        return gap / self.temperature

    def persistent_contrastive_loss(
        self,
        visible: Float[Tensor, "batch d"],
        state: Float[Tensor, "chains size"],
        steps: int = 1,
        generator: Generator | None = None,
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "chains size"]]:
        """Computes the contrastive loss with chains moved on by the sampler, and returns both.

        Raises:
            ShapeError: If there is no row of data, or no chain.
        """
        check_means(visible=visible, state=state)
        with torch.no_grad():
            kernel = self.default_sampler()
            kernel_state = kernel.init(self, state)
            for _ in range(steps):
                kernel_state, _ = kernel.step(self, kernel_state, self.temperature, generator)
        return self.contrastive_loss(visible, kernel_state.position), kernel_state.position


def as_trainable(energy: Energy) -> Trainable:
    """Returns the energy as one that learns; a plain one has visible units alone, and F = E.

    Its sampler is then still missing: an objective that needs one has to be given a kernel.

    Examples:
        >>> class Bowl(Energy):
        ...     def forward(self, state):
        ...         return state.square().sum(-1) / 2
        >>> as_trainable(Bowl()).free_energy(torch.ones(2, 3))
        tensor([1.5000, 1.5000])
    """
    return energy if isinstance(energy, Trainable) else _AllVisible(energy)


class _AllVisible(Trainable):
    """A plain energy, all of whose units are visible, as one that learns."""

    def __init__(self, energy: Energy) -> None:
        super().__init__()
        # Not a submodule: the view owns no parameters, and takes none away from the energy.
        self._viewed = (energy,)

    @property
    def temperature(self) -> float:
        return self._viewed[0].temperature

    @property
    def layers(self) -> tuple[Unit, ...]:
        return self._viewed[0].layers

    def forward(self, state: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch"]:
        return cast("Tensor", self._viewed[0](state))

    def energy_at(
        self, state: Float[Tensor, "*batch size"], temperature: float
    ) -> Float[Tensor, "*batch"]:
        return self._viewed[0].energy_at(state, temperature)

    def check_state(self, state: Float[Tensor, "*batch size"]) -> None:
        self._viewed[0].check_state(state)

    def default_sampler(self) -> Kernel:
        return require(self._viewed[0], Trainable).default_sampler()
