"""Learning by contrast: what the data remind a machine of, less what its fantasies do."""

from __future__ import annotations

from torch import Tensor

from isinglass._shapes import Float
from isinglass.checks import check_rows
from isinglass.energy import Energy
from isinglass.errors import ParameterError

__all__ = ["contrastive_loss"]


def contrastive_loss(
    energy: Energy, data: Float[Tensor, "batch d"], fantasies: Float[Tensor, "chains d"]
) -> Float[Tensor, ""]:
    r"""⟨F⟩_data − ⟨F⟩_model, whose gradient is that of −T log-likelihood a sample.

        −∂/∂θ (⟨F⟩_data − ⟨F⟩_model) = ⟨−∂F/∂θ⟩_data − ⟨−∂F/∂θ⟩_model

    With one-hot hidden units −∂F/∂x_μ = softmax_μ(βXv) v: each memory moves toward what reminds
    it of itself and away from its own fantasies. With Gaussian hidden units the data term is
    Hebb's rule and the model term Hopfield's unlearning; with bits it is contrastive divergence.

    Reference: Hinton 2002, doi:10.1162/089976602760128018; Hopfield, Feinstein & Palmer 1983,
    doi:10.1038/304158a0.

    Args:
        energy: F, an energy of visible states, such as ``rbm.marginal()``.
        data: ``(batch, d)``.
        fantasies: ``(chains, d)``, samples of the model, from a kernel.

    Raises:
        ShapeError: If data or fantasies are not rows, or have the wrong number of features.
        DomainError: If they are not states of the energy.
        ParameterError: If ``energy`` is not an energy.

    Returns:
        A scalar to call ``backward()`` on; its value is not a likelihood.

    Examples:
        >>> import torch, isinglass as ig
        >>> rbm = ig.RBM(ig.Bit(4), ig.Bit(2))
        >>> loss = contrastive_loss(rbm.marginal(), torch.ones(8, 4), torch.zeros(8, 4))
        >>> loss.backward()
        >>> rbm.biases[0].grad  # data minus model, downhill
        tensor([-1., -1., -1., -1.])
    """
    operation = "contrastive_loss"
    if not isinstance(energy, Energy):
        raise ParameterError(operation, f"a {type(energy).__name__}", "Give an energy of states")
    for states in (data, fantasies):
        check_rows(operation, states)
        energy.check_state(operation, states)
    return energy(data).mean() - energy(fantasies.detach()).mean()
