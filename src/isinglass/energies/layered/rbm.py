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
        visible: Kind and size of the visible units, such as ``Bernoulli(64)``.
        hidden: Kind and size of the hidden units.
        scale: Standard deviation of the initial weights.
        generator: Source of the initial weights; None is torch's global one.

    Raises:
        ParameterError: If a layer is no unit, or ``scale`` is negative or not finite.

    Examples:
        Learn two patterns of six bits, sample what was learned, and complete a row:

        >>> import torch, isinglass as ig
        >>> generator = torch.Generator().manual_seed(0)
        >>> data = torch.tensor([[1.0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]]).repeat(200, 1)
        >>> rbm = ig.RBM(ig.Bernoulli(6), ig.Bernoulli(2), generator=generator)
        >>> report = ig.learning.fit(
        ...     rbm, data, epochs=40, batch_size=50, progress=False, generator=generator,
        ...     optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.05))
        >>> draws = rbm.sample(1000, generator=generator)  # (1000, 6), of 0 and 1
        >>> bool((draws[:, 0] == draws[:, 1]).float().mean() > 0.8)
        True
        >>> free = rbm.free_energy(torch.tensor([[1.0, 1, 1, 0, 0, 0], [1, 0, 1, 0, 1, 0]]))
        >>> bool(free[0] < free[1])  # low is likely
        True
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
        """Returns an RBM of the same layers."""
        return cls(*(Unit.from_config(layer) for layer in config["layers"]))
