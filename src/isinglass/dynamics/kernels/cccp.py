"""The concave–convex procedure: a step that cannot go uphill."""

from __future__ import annotations

from typing import ClassVar

from torch import Generator, Tensor

from isinglass.core.capabilities import ConcaveConvex, require
from isinglass.core.energy import Energy
from isinglass.core.kernel import Memoryless, descending_only

__all__ = ["CCCP"]


class CCCP(Memoryless):
    """The concave–convex step s ← argmin U(s) − s·∂A(s₀): never raises E = U − A.

    For a modern Hopfield net it is attention, ξ ← Xᵀ softmax(βXξ).

    Reference: Yuille & Rangarajan 2003, doi:10.1162/08997660360581958; Ramsauer et al. 2020,
    arXiv:2008.02217, Theorem 1.

    Examples:
        >>> import torch, isinglass as ig
        >>> memory = ig.ModernHopfield(torch.eye(2), beta=50.0)
        >>> memory.recall(torch.tensor([[0.9, 0.2]]), kernel=CCCP()).state.round(decimals=3)
        tensor([[1., 0.]])
    """

    monotone: ClassVar[bool] = True
    converges: ClassVar[bool] = True

    def transition(
        self, energy: Energy, state: Tensor, temperature: float, generator: Generator | None
    ) -> Tensor:
        """Takes one concave–convex step, by the energy's ``cccp_update``.

        Raises:
            ParameterError: If the temperature is not zero.
            IntractableError: If the energy is not given as convex minus convex.
        """
        descending_only(temperature)
        return require(energy, ConcaveConvex).cccp_update(state)
