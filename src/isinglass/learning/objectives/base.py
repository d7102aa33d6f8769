"""What a step of learning descends."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from isinglass._support.typing import Float
from isinglass.core.energy import Energy

__all__ = ["Objective"]


class Objective(ABC):
    """A loss whose gradient moves an energy's parameters toward the data.

    Only :meth:`loss` is required. What an objective remembers from step to step, such as
    persistent chains, is a dictionary of tensors that it is handed and hands back: it is saved
    with a checkpoint, and the objective itself holds settings alone.

    ``centered`` says whether :func:`~isinglass.learning.fit` may center the gradient, and
    ``batch_size`` what it takes unless told otherwise, None being all examples at once. One that
    draws from the energy says ``samples``: the energy then has to be one that can be drawn from.

    Examples:
        >>> class Lower(Objective):
        ...     "Only lower the energy of the data: a bad idea, as nothing else is raised."
        ...     def loss(self, energy, batch, memory, generator=None):
        ...         return energy.positive_phase(batch).mean(), memory
        >>> import torch, isinglass as ig
        >>> rbm = ig.RBM(ig.Bernoulli(3), ig.Bernoulli(2))
        >>> loss, memory = Lower().loss(rbm, torch.ones(5, 3), {})
        >>> loss.backward()
    """

    centered: ClassVar[bool] = True
    samples: ClassVar[bool] = False
    batch_size: ClassVar[int | None] = 100

    def init(
        self, energy: Energy, data: Float[Tensor, "n d"], generator: Generator | None = None
    ) -> dict[str, Tensor]:
        """Returns what to remember before the first step; nothing unless the objective says so."""
        return {}

    @abstractmethod
    def loss(
        self,
        energy: Energy,
        batch: Float[Tensor, "batch d"],
        memory: dict[str, Tensor],
        generator: Generator | None = None,
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Computes a loss for ``backward()``, in nats a sample, and what to remember next."""

    def optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Builds the optimizer that descends this loss unless the user names another."""
        return torch.optim.Adam(parameters, lr=2e-3)
