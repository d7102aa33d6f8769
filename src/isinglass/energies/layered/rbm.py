"""The restricted Boltzmann machine: a harmonium of two layers."""

from __future__ import annotations

from typing import Any

from torch import Generator, Tensor

from isinglass.energies.layered.harmonium import Harmonium
from isinglass.units import Unit

__all__ = ["RBM"]


class RBM(Harmonium):
    """Restricted Boltzmann machine: two layers of any kinds, F(v) = U(v) − b·v − A_T(c + Wv).

    With bits on both sides, F(v) = −b·v − Σ_j T log(1 + exp((w_j·v + c_j)/T)).

    Reference: Smolensky 1986; Hinton 2002, doi:10.1162/089976602760128018.

    Args:
        visible: Kind and size of the visible units.
        hidden: Kind and size of the hidden units.
        scale: Standard deviation of the initial weights.
        generator: Source of the initial weights; None is torch's global one.

    Examples:
        >>> import torch, isinglass as ig
        >>> rbm = ig.RBM(ig.Bernoulli(64), ig.Bernoulli(16))
        >>> rbm.free_energy(torch.zeros(3, 64)).shape
        torch.Size([3])
    """

    def __init__(
        self,
        visible: Unit,
        hidden: Unit,
        *,
        scale: float = 0.01,
        generator: Generator | None = None,
    ) -> None:
        super().__init__([visible, hidden], [(0, 1)], scale=scale, generator=generator)

    @property
    def weight(self) -> Tensor:
        """W, one hidden unit a row: ``(hidden, visible)``."""
        return self.weights[0]

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> RBM:
        """An RBM of the same layers."""
        return cls(*(Unit.from_config(layer) for layer in config["layers"]))
