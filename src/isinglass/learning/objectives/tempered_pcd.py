"""Persistent chains that trade places along a path, so that they get from mode to mode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Float
from isinglass._support.validation import check_count
from isinglass.core.capabilities import as_trainable
from isinglass.core.energy import Energy
from isinglass.dynamics.kernels.replica_exchange import ReplicaExchange, Replicas
from isinglass.learning.objectives.base import Objective
from isinglass.learning.objectives.contrastive_divergence import start_chains

__all__ = ["TemperedPCD"]


@dataclass(frozen=True)
class TemperedPCD(Objective):
    """PCD whose chains are the λ = 1 end of replica exchange along the energy's path.

    What is drawn afresh at λ = 0 in every step travels up to the model, so that chains reach modes
    that block Gibbs alone would leave undervisited. A step costs ``levels`` times that of
    :class:`~isinglass.learning.PersistentCD` with as many chains, so fewer chains are usual.

    Reference: Desjardins et al. 2010, "Tempered Markov chain Monte Carlo for training of restricted
    Boltzmann machines"; Cho, Raiko & Ilin 2010, doi:10.1109/IJCNN.2010.5596837.

    Args:
        levels: How many levels of the path, evenly spaced.
        steps: Exchange steps for every step of learning.
        chains: How many sets of replicas are kept, in every process of a group.

    Raises:
        ParameterError: If a count is not a whole number of at least one, or of two levels.

    Examples:
        >>> import isinglass as ig
        >>> rbm, data = ig.RBM(ig.Bernoulli(4), ig.Bernoulli(2)), torch.ones(8, 4)
        >>> objective = TemperedPCD(levels=5, chains=16)
        >>> memory = objective.init(rbm, data)
        >>> loss, memory = objective.loss(rbm, data, memory)
        >>> memory["chains"].shape, memory["replicas"].shape
        (torch.Size([16, 6]), torch.Size([16, 5, 6]))
    """

    samples: ClassVar[bool] = True
    levels: int = 8
    steps: int = 1
    chains: int = 50

    def __post_init__(self) -> None:
        check_count("levels", self.levels, least=2)
        check_count("steps", self.steps)
        check_count("chains", self.chains)

    @torch.no_grad()
    def init(
        self, energy: Energy, data: Float[Tensor, "n d"], generator: Generator | None = None
    ) -> dict[str, Tensor]:
        """Starts chains at examples, with replicas at the other levels."""
        start = start_chains(energy, data, self.chains, generator)
        kernel = ReplicaExchange(energy, self.levels, generator=generator)
        return _remember(kernel.init(energy, start))

    def loss(
        self,
        energy: Energy,
        batch: Float[Tensor, "batch d"],
        memory: dict[str, Tensor],
        generator: Generator | None = None,
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Computes the contrastive loss of the batch and the chains, moved on.

        Raises:
            IntractableError: If the energy has no path.
        """
        with torch.no_grad():
            kernel = ReplicaExchange(energy, self.levels)
            kernel_state = Replicas(
                memory["chains"], *(memory[name] for name in Replicas._fields[1:])
            )
            for _ in range(self.steps):
                kernel_state, _ = kernel.step(energy, kernel_state, energy.temperature, generator)
        return as_trainable(energy).contrastive_loss(
            batch, kernel_state.position
        ), memory | _remember(kernel_state)


def _remember(kernel_state: Replicas) -> dict[str, Tensor]:
    return {"chains": kernel_state.position} | dict(
        zip(Replicas._fields[1:], kernel_state[1:], strict=True)
    )
