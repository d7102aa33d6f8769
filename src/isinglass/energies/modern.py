"""The modern continuous Hopfield network, one head of attention."""

from __future__ import annotations

from typing import Any

from torch import Generator, Tensor

from isinglass._shapes import Float
from isinglass.checks import check_features, check_positive
from isinglass.energies.memory import Memory
from isinglass.units import AveragedOneHot

__all__ = ["ModernHopfield"]


class ModernHopfield(Memory):
    """The modern continuous network: E(ξ) = ½|ξ|² − β⁻¹ log Σ_μ exp(β x_μ·ξ).

    One step, ξ ← Xᵀ softmax(βXξ), is one head of a Transformer's attention. It is the one-group
    Hopfield–Boltzmann machine with Gaussian visible units, its hidden softmax summed out, so at
    T = 1/(mβ) it can also be sampled exactly, m look-ups at a time.

    Reference: Ramsauer et al. 2020, arXiv:2008.02217.

    Args:
        patterns: ``(N, d)``, one pattern a row; an ``nn.Parameter`` is learned.
        beta: β > 0, inverse temperature of the softmax, in inverse units of x·x. Larger recalls
            single patterns, smaller blends of them.

    Raises:
        ShapeError: If there is no pattern or the tensor is not a matrix.
        DomainError: If a value is not finite.
        ParameterError: If ``beta`` is not above zero.

    Examples:
        >>> memory = ModernHopfield(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), beta=8.0)
        >>> found = memory.recall(torch.tensor([[0.8, 0.3]]))
        >>> found.state.round(decimals=3), bool(found.converged)
        (tensor([[1., 0.]]), True)
    """

    def __init__(self, patterns: Tensor, beta: float = 1.0) -> None:
        super().__init__(patterns)
        self.beta = beta

    @property
    def beta(self) -> float:
        """β; may be set anew."""
        return self._beta

    @beta.setter
    def beta(self, beta: float) -> None:
        self._beta = check_positive(type(self).__name__, "beta", beta)

    @property
    def hidden(self) -> AveragedOneHot:
        """The softmax over patterns, as an area of units."""
        return AveragedOneHot(beta=self.beta, size=len(self.patterns))

    def forward(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """E(ξ) = ½|ξ|² − lse_β(Xξ)."""
        check_features("ModernHopfield", state, self.unit.size)
        return self.unit.base_energy(state) - self.hidden.log_partition(state @ self.patterns.mT)

    def grad(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """∂E/∂ξ = ξ − Xᵀ softmax(βXξ)."""
        return state - self.cccp_update(state)

    def cccp_update(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """ξ ← Xᵀ softmax(βXξ)."""
        return self.sweep(state, 0.0)

    def sweep(
        self,
        state: Float[Tensor, "*batch d"],
        temperature: float,
        generator: Generator | None = None,
    ) -> Float[Tensor, "*batch d"]:
        """Look up m = 1/(βT) patterns by attention weight, then copy their average with noise.

        Raises:
            ParameterError: If T is not 1/(mβ) for a whole m.
        """
        lookup = self.hidden.sample(state @ self.patterns.mT, temperature, generator)
        return self.unit.sample(lookup @ self.patterns, temperature, generator)

    def config(self) -> dict[str, Any]:
        """The shape of the patterns, and β."""
        return super().config() | {"beta": self.beta}
