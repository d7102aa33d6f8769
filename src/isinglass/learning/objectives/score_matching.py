"""Score matching: learn the slope of log p, which needs neither log Z nor samples."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Float
from isinglass._support.validation import check_count, check_positive, check_rows
from isinglass.core.capabilities import as_trainable
from isinglass.core.energy import Energy
from isinglass.dynamics.kernels._gradient import check_real, normal_like
from isinglass.errors import IntractableError
from isinglass.learning.objectives.base import Objective

__all__ = ["DenoisingScoreMatching", "SlicedScoreMatching"]


@dataclass(frozen=True)
class DenoisingScoreMatching(Objective):
    r"""Learn to point from noisy data back to clean: J = ½ ⟨|ψ(ṽ) − (v − ṽ)/σ²|²⟩.

    with the score ψ(v) = −∂F(v)/∂v / T and ṽ = v + σε, ε ~ N(0, 1). Up to a constant it is the
    squared distance of ψ from the score of the data smoothed by σ, so what is learned is the
    smoothed density: of Gaussian data with variance s², one with variance s² + σ². Noise of that
    size is also what the energy knows to take away: v ≈ ṽ + σ²ψ(ṽ).

    For real visible units. One gradient of F an example, and a backward pass through it.

    Reference: Vincent 2011, doi:10.1162/NECO_a_00142.

    Args:
        sigma: σ > 0, in units of the data. Smaller is truer to the data and noisier to learn.

    Raises:
        ParameterError: If ``sigma`` is not above zero.

    Examples:
        >>> import isinglass as ig
        >>> rbm = ig.RBM(ig.Gaussian(2), ig.Bernoulli(4))
        >>> generator = torch.Generator().manual_seed(0)
        >>> data = torch.randn(50, 2, generator=generator)
        >>> loss, _ = DenoisingScoreMatching(sigma=0.3).loss(rbm, data, {}, generator)
        >>> loss.backward()
        >>> rbm.weight.grad.shape
        torch.Size([4, 2])
    """

    sigma: float

    def __post_init__(self) -> None:
        check_positive("sigma", self.sigma)

    def loss(
        self,
        energy: Energy,
        batch: Float[Tensor, "batch d"],
        memory: dict[str, Tensor],
        generator: Generator | None = None,
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Computes J, noise drawn anew; nothing is remembered.

        Raises:
            ShapeError: If the batch is not rows.
            DomainError: If it is not made of states of the energy.
            IntractableError: If visible units are discrete or bounded, or F is not known.
        """
        _check(energy, batch)
        noise = normal_like(batch, generator)
        _, score = _score(energy, batch + self.sigma * noise)
        return (score + noise / self.sigma).square().sum(-1).mean() / 2, memory


@dataclass(frozen=True)
class SlicedScoreMatching(Objective):
    r"""Match the score on random lines: J = ⟨½|ψ(v)|² + uᵀ(∂ψ/∂v)u⟩, u of random signs.

    with ψ(v) = −∂F(v)/∂v / T. The mean over u is Hyvärinen's objective, ½|ψ|² + tr ∂ψ/∂v, whose
    minimum is the data's own density, not smoothed; each projection u costs one product with the
    Hessian. For real visible units and an F that is smooth to the second derivative: through
    ReLU the trace is lost.

    Reference: Song et al. 2019, arXiv:1905.07088 (with reduced variance); Hyvärinen 2005.

    Args:
        projections: How many lines for each example.

    Raises:
        ParameterError: If ``projections`` is not a whole number of at least one.

    Examples:
        >>> import isinglass as ig
        >>> rbm = ig.RBM(ig.Gaussian(2), ig.Bernoulli(4))
        >>> loss, _ = SlicedScoreMatching().loss(rbm, torch.randn(50, 2), {})
        >>> loss.backward()
    """

    projections: int = 1

    def __post_init__(self) -> None:
        check_count("projections", self.projections)

    def loss(
        self,
        energy: Energy,
        batch: Float[Tensor, "batch d"],
        memory: dict[str, Tensor],
        generator: Generator | None = None,
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Computes J, lines drawn anew; nothing is remembered.

        Raises:
            ShapeError: If the batch is not rows.
            DomainError: If it is not made of states of the energy.
            IntractableError: If visible units are discrete or bounded, or F is not known.
        """
        _check(energy, batch)
        rows = batch.repeat(self.projections, 1)
        signs = normal_like(rows, generator).sign()
        visible, score = _score(energy, rows)
        with torch.enable_grad():
            along = (score * signs + 0 * visible).sum()  # a graph even where ψ is constant
            (curved,) = torch.autograd.grad(along, visible, create_graph=True)
        return (score.square().sum(-1) / 2 + (curved * signs).sum(-1)).mean(), memory


def _check(energy: Energy, batch: Tensor) -> None:
    try:
        check_real(energy.layers[:1], whole_line=True)
    except IntractableError as error:
        remedy = "Learn by PersistentCD() or, of discrete units, PseudoLikelihood()"
        raise IntractableError(error.found, remedy) from error
    check_rows(batch)


def _score(energy: Energy, visible: Tensor) -> tuple[Tensor, Tensor]:
    """The leaf ψ is taken at, and ψ = −∂F/∂v / T, which can be differentiated again."""
    with torch.enable_grad():
        leaf = visible.detach().requires_grad_()
        free = as_trainable(energy).free_energy(leaf).sum() / energy.temperature
        (slope,) = torch.autograd.grad(free, leaf, create_graph=True)
        return leaf, -slope
