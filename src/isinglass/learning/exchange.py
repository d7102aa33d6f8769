"""Persistent chains that trade places along a path, so that they get from mode to mode."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from isinglass._shapes import Float
from isinglass.checks import check_count
from isinglass.dynamics.exchange import ReplicaExchange, Replicas
from isinglass.energy import Energy
from isinglass.learning.contrastive import start_chains
from isinglass.learning.objective import Objective

__all__ = ["PersistentExchange"]


@dataclass(frozen=True)
class PersistentExchange(Objective):
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
        >>> rbm, data = ig.RBM(ig.Bit(4), ig.Bit(2)), torch.ones(8, 4)
        >>> objective = PersistentExchange(levels=5, chains=16)
        >>> memory = objective.init(rbm, data)
        >>> loss, memory = objective.loss(rbm, data, memory)
        >>> memory["chains"].shape, memory["replicas"].shape
        (torch.Size([16, 6]), torch.Size([16, 5, 6]))
    """

    levels: int = 8
    steps: int = 1
    chains: int = 50

    def __post_init__(self) -> None:
        check_count(type(self).__name__, "levels", self.levels, least=2)
        check_count(type(self).__name__, "steps", self.steps)
        check_count(type(self).__name__, "chains", self.chains)

    @torch.no_grad()
    def init(
        self, energy: Energy, data: Float[Tensor, "n d"], generator: Generator | None = None
    ) -> dict[str, Tensor]:
        """Chains that start at examples, with replicas at the other levels."""
        start = start_chains(energy, data, self.chains, generator)
        kernel = ReplicaExchange(energy, self.levels, generator=generator)
        return _remembered(kernel.init(energy, start))

    def loss(
        self,
        energy: Energy,
        batch: Float[Tensor, "batch d"],
        memory: dict[str, Tensor],
        generator: Generator | None = None,
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """The contrast of the batch and the chains, moved on.

        Raises:
            IntractableError: If the energy has no path.
        """
        with torch.no_grad():
            kernel = ReplicaExchange(energy, self.levels)
            position = Replicas(memory["chains"], *(memory[name] for name in Replicas._fields[1:]))
            for _ in range(self.steps):
                position, _ = kernel.step(energy, position, energy.temperature, generator)
        return energy.contrast(batch, position.state), memory | _remembered(position)


def _remembered(position: Replicas) -> dict[str, Tensor]:
    return {"chains": position.state} | dict(zip(Replicas._fields[1:], position[1:], strict=True))
