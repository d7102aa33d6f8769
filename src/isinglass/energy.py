"""The one abstraction: a number for every state, differentiable, without a temperature inside."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Generator, Tensor, nn

from isinglass._shapes import Float
from isinglass.checks import check_finite
from isinglass.errors import IntractableError

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
        with torch.enable_grad():
            leaf = state.detach().requires_grad_()
            return torch.autograd.grad(self(leaf).sum(), leaf)[0]

    def check_state(self, operation: str, state: Float[Tensor, "*batch size"]) -> None:
        """Refuse states that this energy is not defined on.

        Raises:
            IsinglassError: The subclass that names what is wrong.
        """
        check_finite(operation, "the state", state)

    def cccp_update(self, state: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch size"]:
        """One concave–convex step: argmin_s U(s) − s·∂A(s₀), which never raises E = U − A.

        Reference: Yuille & Rangarajan 2003, doi:10.1162/08997660360581958.

        Raises:
            IntractableError: If this energy is not given as convex minus convex.
        """
        raise IntractableError(
            f"{type(self).__name__}.cccp_update",
            "this energy is not given as a difference of two convex functions",
            "Descend it with another kernel, or by gradient: energy.grad(state)",
        )

    def sweep(
        self,
        state: Float[Tensor, "*batch size"],
        temperature: float,
        generator: Generator | None = None,
    ) -> Float[Tensor, "*batch size"]:
        """Draw every area of units given its neighbours, once; T = 0 is the deterministic update.

        Raises:
            IntractableError: If this energy has no areas whose conditionals are exact.
        """
        raise IntractableError(
            f"{type(self).__name__}.sweep",
            "this energy has no areas of units with exact conditionals",
            "Use a harmonium, or a kernel that needs only the energy and its gradient",
        )

    def config(self) -> dict[str, Any]:
        """What :meth:`from_config` needs to build an empty twin: JSON values only.

        Raises:
            IntractableError: If the class does not say how it is saved.
        """
        raise IntractableError(
            f"{type(self).__name__}.config",
            "this class does not say how it is saved",
            "Define config(), and from_config() where it is not cls(**config)",
        )

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Energy:
        """An energy of the same shape, whose tensors are then filled from the file."""
        return cls(**config)
