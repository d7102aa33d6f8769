"""Expectation–maximization as one more loss, so that it is fitted like any other."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from isinglass._support.typing import Float
from isinglass._support.validation import check_weight
from isinglass.core.energy import Energy
from isinglass.energies import HopfieldBoltzmann
from isinglass.errors import ParameterError
from isinglass.learning.em import em_step
from isinglass.learning.objectives.base import Objective

__all__ = ["ExpectationMaximization"]


@dataclass(frozen=True)
class ExpectationMaximization(Objective):
    """EM of a Hopfield–Boltzmann machine of one group and one draw, as a gradient.

        ∇θ = θ − EM(θ)

    so that plain gradient descent with step 1, its optimizer unless another is named, is EM: with
    all examples in one batch the likelihood never falls. Smaller steps on smaller batches are
    stepwise EM. The memories must differ at the start: see
    :func:`~isinglass.learning.seed_memories`.

    Reference: Dempster, Laird & Rubin 1977, doi:10.1111/j.2517-6161.1977.tb01600.x; Cappé &
    Moulines 2009, doi:10.1111/j.1467-9868.2009.00698.x (stepwise).

    Args:
        pseudo_count: How many imagined examples at the data's mean every memory is given.

    Raises:
        ParameterError: If ``pseudo_count`` is negative or not finite.

    Examples:
        >>> import isinglass as ig
        >>> machine = ig.HopfieldBoltzmann(ig.Bernoulli(3), memories=2)
        >>> data = torch.tensor([[1.0, 1, 0], [0, 0, 1]])
        >>> loss, _ = ExpectationMaximization(pseudo_count=1.0).loss(machine, data, {})
        >>> torch.allclose(loss, -machine.log_prob(data).mean())
        True
    """

    centered: ClassVar[bool] = False
    batch_size: ClassVar[int | None] = None
    pseudo_count: float = 0.0

    def __post_init__(self) -> None:
        check_weight("pseudo_count", self.pseudo_count)

    def loss(
        self,
        energy: Energy,
        batch: Float[Tensor, "batch d"],
        memory: dict[str, Tensor],
        generator: Generator | None = None,
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Computes the mean negative log-likelihood, with EM's step for a gradient.

        Raises:
            ParameterError: If the energy is no Hopfield–Boltzmann machine.
            IntractableError: If it has several groups or draws.
        """
        if not isinstance(energy, HopfieldBoltzmann):
            raise ParameterError(f"a {type(energy).__name__}", "Use PersistentCD()")
        after = copy.deepcopy(energy)
        log_likelihood = em_step(after, batch, pseudo_count=self.pseudo_count)
        pairs = zip(energy.parameters(), after.parameters(), strict=True)
        move = torch.stack([(old - new.detach()).square().sum() / 2 for old, new in pairs]).sum()
        return move - move.detach() - log_likelihood, memory

    def optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Returns plain descent at rate 1: the loss has the whole step of EM for a gradient."""
        return torch.optim.SGD(parameters, lr=1.0)
