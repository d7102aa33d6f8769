"""Block Gibbs: every layer of units drawn given its neighbors."""

from __future__ import annotations

from typing import ClassVar

from torch import Generator, Tensor

from isinglass.core.capabilities import Gibbs, require
from isinglass.core.energy import Energy
from isinglass.core.kernel import Memoryless

__all__ = ["BlockGibbs"]


class BlockGibbs(Memoryless):
    """Draw each layer from exp(−E/T) given the others; exact at every temperature.

    For a Hopfield–Boltzmann machine at T = 1/(mβ) the two draws are

        n | v ~ Multinomial(m, softmax(β X v))     look m patterns up, by attention weight
        v | n ~ exp((Xᵀn/m)·v/T − U(v)/T)          copy their average, with thermal noise

    and at T = 0 the step is the Hopfield update, one attention head.

    Reference: Geman & Geman 1984, doi:10.1109/TPAMI.1984.4767596.

    Examples:
        >>> import torch, isinglass as ig
        >>> memory = ig.ModernHopfield(torch.eye(3), beta=2.0)
        >>> kernel = BlockGibbs()
        >>> kernel_state = kernel.init(memory, torch.zeros(5, 3))
        >>> generator = torch.Generator().manual_seed(0)
        >>> kernel_state, _ = kernel.step(memory, kernel_state, 1 / (4 * 2.0), generator)  # m = 4
        >>> kernel_state.position.shape
        torch.Size([5, 3])
    """

    leaves_invariant: ClassVar[bool] = True
    monotone: ClassVar[bool] = True
    converges: ClassVar[bool] = True

    def transition(
        self, energy: Energy, state: Tensor, temperature: float, generator: Generator | None
    ) -> Tensor:
        """Takes one sweep over all layers.

        Raises:
            IntractableError: If the energy has no layers with exact conditionals.
            ParameterError: If the machine has no exact step at this temperature.
        """
        return require(energy, Gibbs).sweep(state, temperature, generator)
