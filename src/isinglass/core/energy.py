"""The energy: a number for every state, differentiable, without a temperature inside."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from isinglass._support.typing import Float
from isinglass._support.validation import check_finite, check_kind
from isinglass.units import Unit

__all__ = ["Energy", "check_energy"]


class Energy(nn.Module, ABC):
    """A function from states to energies; low means likely, remembered, wanted.

    Only :meth:`forward` is required. Temperature belongs to the kernel that moves the state,
    never to the energy: p(s) ∝ exp(−E(s)/T) for whichever T the kernel runs at. What only some
    energies have, such as an exact log Z or a Gibbs sweep, they inherit from the mixins in
    :mod:`isinglass.core.capabilities`.

    Reference: LeCun et al. 2006, "A tutorial on energy-based learning".

    Examples:
        >>> class Bowl(Energy):
        ...     def forward(self, state):
        ...         return state.square().sum(-1) / 2
        >>> Bowl().grad(torch.tensor([[3.0, -4.0]]))
        tensor([[ 3., -4.]])
    """

    #: What to do instead where a class lacks a capability, by the capability's name; for errors.
    instead: ClassVar[Mapping[str, str]] = {}

    @property
    def temperature(self) -> float:
        """T > 0, at which the energy's own quantities are stated unless another is given."""
        return 1.0

    @property
    def layers(self) -> tuple[Unit, ...]:
        """The units side by side in a state, visible first; none where any real vector is one."""
        return ()

    @abstractmethod
    def forward(self, state: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch"]:
        """Computes E(s), one number for every row."""

    def energy_at(
        self, state: Float[Tensor, "*batch size"], temperature: float
    ) -> Float[Tensor, "*batch"]:
        """Computes E(s) as a kernel at temperature T sees it: E, but for multinomial units.

        Their counts have a multiplicity, which depends on how many draws T = 1/(mβ) stands for.
        """
        return self(state)

    def grad(self, state: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch size"]:
        """Computes ∂E/∂s by automatic differentiation; families with a closed form override it.

        The result is for moving states: only closed forms can be differentiated again.
        """
        return self.energy_and_grad(state)[1]

    def energy_and_grad(
        self, state: Float[Tensor, "*batch size"]
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch size"]]:
        """Computes E and ∂E/∂s in one pass, for moving states."""
        with torch.enable_grad():
            leaf = state.detach().requires_grad_()
            energy = self(leaf)
            (slope,) = torch.autograd.grad(energy.sum(), leaf)
        return energy.detach(), slope

    def check_state(self, state: Float[Tensor, "*batch size"]) -> None:
        """Refuses states that this energy is not defined on.

        Raises:
            IsinglassError: The subclass that names what is wrong.
        """
        check_finite("the state", state)


def check_energy(energy: object) -> None:
    """Refuses what is no energy, such as its class or a module of another kind.

    Raises:
        ParameterError: If it is none.
    """
    check_kind("energy", energy, Energy, "an energy object, such as ModernHopfield(patterns)")
