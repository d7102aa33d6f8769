"""The one abstraction: a number for every state, differentiable, without a temperature inside."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Generator, Tensor, nn

from isinglass._support.typing import Bool, Float
from isinglass._support.validation import check_finite
from isinglass.core.path import AnnealingPath
from isinglass.errors import IntractableError
from isinglass.units import Unit

__all__ = ["Energy"]


class Energy(nn.Module, ABC):
    """A function from states to energies; low means likely, remembered, wanted.

    Only :meth:`forward` is required. Temperature belongs to the kernel that moves the state,
    never to the energy: p(s) ∝ exp(−E(s)/T) for whichever T the kernel runs at.

    Reference: LeCun et al. 2006, "A tutorial on energy-based learning".

    Examples:
        >>> class Bowl(Energy):
        ...     def forward(self, state):
        ...         return state.square().sum(-1) / 2
        >>> Bowl().grad(torch.tensor([[3.0, -4.0]]))
        tensor([[ 3., -4.]])
    """

    @property
    def temperature(self) -> float:
        """T at which the energy's own quantities are stated unless another is given."""
        return 1.0

    @property
    def layers(self) -> tuple[Unit, ...]:
        """The units side by side in a state, visible first; none where any real vector is one."""
        return ()

    @abstractmethod
    def forward(self, state: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch"]:
        """E(s), one number a row."""

    def energy_at(
        self, state: Float[Tensor, "*batch size"], temperature: float
    ) -> Float[Tensor, "*batch"]:
        """E(s) as a kernel at this temperature sees it: E, but for averaged one-hot units.

        Their counts have a multiplicity, which depends on how many draws T = 1/(mβ) stands for.
        """
        return self(state)

    def grad(self, state: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch size"]:
        """∂E/∂s by automatic differentiation; families with a closed form override it.

        The result is for moving states: only closed forms can be differentiated again.
        """
        return self.energy_and_grad(state)[1]

    def energy_and_grad(
        self, state: Float[Tensor, "*batch size"]
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch size"]]:
        """E and ∂E/∂s in one pass, for moving states."""
        with torch.enable_grad():
            leaf = state.detach().requires_grad_()
            energy = self(leaf)
            (slope,) = torch.autograd.grad(energy.sum(), leaf)
        return energy.detach(), slope

    def check_state(self, state: Float[Tensor, "*batch size"]) -> None:
        """Refuse states that this energy is not defined on.

        Raises:
            IsinglassError: The subclass that names what is wrong.
        """
        check_finite("the state", state)

    def check_visible(self, visible: Float[Tensor, "*batch d"]) -> None:
        """Refuse what is no visible state of this energy: what it may learn from.

        Raises:
            IsinglassError: The subclass that names what is wrong.
        """
        self.check_state(visible)

    def extend(self, visible: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch size"]:
        """A state of all units with this visible part, for a kernel to move; hidden ones at zero.

        Without hidden units it is the visible state itself.
        """
        return visible

    def visible_part(self, state: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch d"]:
        """The visible units of a state: all of them, unless some are hidden."""
        return state

    def free_energy(
        self, visible: Float[Tensor, "*batch d"], temperature: float | None = None
    ) -> Float[Tensor, "*batch"]:
        """F_T(v) = −T log Σ_h exp(−E(v, h)/T); without hidden units, E itself.

        Args:
            visible: Visible states, ``(*batch, d)``.
            temperature: T; None is the energy's own.

        Raises:
            IntractableError: If the hidden units cannot be summed out.
        """
        self.check_state(visible)
        return self.energy_at(visible, self.temperature if temperature is None else temperature)

    def positive_phase(self, visible: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """What learning lowers on data: F(v), or a variational bound on it from above."""
        return self.free_energy(visible)

    def negative_phase(self, state: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch"]:
        """What learning raises on states of the model's own: F(v) where there is one, else E."""
        return self.free_energy(self.visible_part(state))

    def contrastive_loss(
        self, visible: Float[Tensor, "batch d"], state: Float[Tensor, "chains size"]
    ) -> Float[Tensor, ""]:
        """(⟨data energy⟩ − ⟨fantasy energy⟩)/T: its gradient is that of −log p(data), in nats.

        The gradient is what matters, and is that of :meth:`positive_phase` and
        :meth:`negative_phase`; the value only says how far apart data and fantasies lie. States
        are not checked, as learning calls this in every step.
        """
        gap = self.positive_phase(visible).mean() - self.negative_phase(state.detach()).mean()
        return gap / self.temperature

    def persistent_contrastive_loss(
        self,
        visible: Float[Tensor, "batch d"],
        state: Float[Tensor, "chains size"],
        steps: int = 1,
        generator: Generator | None = None,
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "chains size"]]:
        """The contrast with chains moved on by the energy's own sampler, and where they are now.

        Raises:
            IntractableError: If it has none.
        """
        with torch.no_grad():
            kernel = self.default_sampler()
            kernel_state = kernel.init(self, state)
            for _ in range(steps):
                kernel_state, _ = kernel.step(self, kernel_state, self.temperature, generator)
        return self.contrastive_loss(visible, kernel_state.position), kernel_state.position

    def default_sampler(self) -> Any:
        """The kernel that samples this energy unless another is named.

        Raises:
            IntractableError: If it has none.
        """
        raise IntractableError(
            "this energy names no kernel that samples it",
            "Give a kernel: HMC() or MALA() for real states",
        )

    def exact_log_partition(self, temperature: float | None = None) -> Tensor:
        """log Z = log Σ_s exp(−E(s)/T), in closed form or by enumeration, in float64, no dims.

        Raises:
            IntractableError: If there is no closed form and too many states.
        """
        raise IntractableError(
            "there is no closed form and no list of states",
            "Estimate it: log_partition(energy, method='ais')",
        )

    def log_states_summed(self) -> float:
        """Log of how many states :meth:`exact_log_partition` sums over; 0 if it does not say."""
        return 0.0

    def path(
        self, temperature: float | None = None, data: Float[Tensor, "n d"] | None = None
    ) -> AnnealingPath:
        """A way from independent units, drawn exactly, to exp(−E/T): for annealing and exchange.

        Args:
            temperature: T of the wanted end; None is the energy's own.
            data: Visible states whose means the exact end is given, which shortens the way.

        Raises:
            IntractableError: If the energy names none.
        """
        raise IntractableError(
            "this energy names no way from a distribution that is drawn exactly",
            "Define path(), or use an energy of units",
        )

    def cccp_update(self, state: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch size"]:
        """One concave–convex step: argmin_s U(s) − s·∂A(s₀), which never raises E = U − A.

        Reference: Yuille & Rangarajan 2003, doi:10.1162/08997660360581958.

        Raises:
            IntractableError: If this energy is not given as convex minus convex.
        """
        raise IntractableError(
            "this energy is not given as a difference of two convex functions",
            "Descend it with another kernel, or by gradient: energy.grad(state)",
        )

    def sweep(
        self,
        state: Float[Tensor, "*batch size"],
        temperature: float,
        generator: Generator | None = None,
    ) -> Float[Tensor, "*batch size"]:
        """Draw every layer of units given its neighbours, once; T = 0 is the deterministic update.

        Raises:
            IntractableError: If this energy has no layers whose conditionals are exact.
        """
        raise IntractableError(
            "this energy has no layers of units with exact conditionals",
            "Use a harmonium, or a kernel that needs only the energy and its gradient",
        )

    def clamped_sweep(
        self,
        state: Float[Tensor, "*batch size"],
        observed: Bool[Tensor, "*batch size"],
        temperature: float,
        generator: Generator | None = None,
    ) -> Float[Tensor, "*batch size"]:
        """A :meth:`sweep` in which observed units keep their values: exact given them.

        Raises:
            IntractableError: If this energy has no layers whose conditionals are exact.
        """
        raise IntractableError(
            "this energy has no layers of units with exact conditionals given some units",
            "Use a harmonium, such as RBM, HopfieldBoltzmann or DeepBoltzmann",
        )

    def config(self) -> dict[str, Any]:
        """What :meth:`from_config` needs to build an empty twin: JSON values only.

        Raises:
            IntractableError: If the class does not say how it is saved.
        """
        raise IntractableError(
            "this class does not say how it is saved",
            "Define config(), and from_config() where it is not cls(**config)",
        )

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Energy:
        """An energy of the same shape, whose tensors are then filled from the file."""
        return cls(**config)
