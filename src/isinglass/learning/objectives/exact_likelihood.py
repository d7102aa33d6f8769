"""Maximum likelihood by gradient, where the partition function is at hand."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator, Tensor

from isinglass._support.typing import Float
from isinglass.core.capabilities import Tractable, as_trainable, require
from isinglass.core.energy import Energy
from isinglass.errors import IntractableError
from isinglass.learning.objectives.base import Objective

__all__ = ["ExactGradient"]

REMEDY = "Learn by PersistentCD() or, of real units, DenoisingScoreMatching(sigma)"


@dataclass(frozen=True)
class ExactGradient(Objective):
    """−⟨log p(v)⟩ = ⟨F(v)⟩/T + log Z of the data, differentiated as it stands.

    log Z is :meth:`~isinglass.Energy.exact_log_partition`: a closed form, as for a
    Hopfield–Boltzmann machine of one group and one draw, or a sum over all states of the smaller
    side of a machine, once a step. With a variational data energy it is a bound from above.

    Reference: Ackley, Hinton & Sejnowski 1985, doi:10.1207/s15516709cog0901_7.

    Examples:
        >>> import torch, isinglass as ig
        >>> machine = ig.HopfieldBoltzmann(ig.Spin(3), memories=2)
        >>> data = torch.ones(5, 3)
        >>> loss, _ = ExactGradient().loss(machine, data, {})
        >>> torch.allclose(loss, -machine.log_prob(data).mean())
        True
    """

    def loss(
        self,
        energy: Energy,
        batch: Float[Tensor, "batch d"],
        memory: dict[str, Tensor],
        generator: Generator | None = None,
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Computes the mean negative log-likelihood.

        Raises:
            IntractableError: If the energy's partition function cannot be had exactly, or
                carries no gradient.
        """
        positive = as_trainable(energy).positive_phase(batch).mean() / energy.temperature
        try:
            log_z = require(energy, Tractable).exact_log_partition()
        except IntractableError as error:
            raise IntractableError(error.found, REMEDY) from error
        if positive.requires_grad and not log_z.requires_grad:
            raise IntractableError("a log Z that carries no gradient", REMEDY)
        return positive + log_z.to(positive), memory
