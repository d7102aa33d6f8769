"""Contrastive divergence: the gradient on data less that on fantasies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from isinglass._support.typing import Float
from isinglass._support.validation import check_count, check_rows
from isinglass.core.capabilities import as_trainable
from isinglass.core.energy import Energy
from isinglass.dynamics import Kernel
from isinglass.errors import ParameterError
from isinglass.learning.objectives.base import Objective

__all__ = ["ContrastiveDivergence", "PersistentCD", "contrastive_loss", "start_chains"]


def contrastive_loss(
    energy: Energy, data: Float[Tensor, "batch d"], fantasies: Float[Tensor, "chains d"]
) -> Float[Tensor, ""]:
    r"""Computes ⟨F⟩_data − ⟨F⟩_model, whose gradient is that of −T log-likelihood a sample.

        −∂/∂θ (⟨F⟩_data − ⟨F⟩_model) = ⟨−∂F/∂θ⟩_data − ⟨−∂F/∂θ⟩_model

    With one-hot hidden units −∂F/∂x_μ = softmax_μ(βXv) v: each memory moves toward the
    data it is responsible for and away from its own fantasies. With Gaussian hidden units the
    data term is Hebb's rule and the model term Hopfield's unlearning; with bits it is contrastive
    divergence.

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
        >>> rbm = ig.RBM(ig.Bernoulli(4), ig.Bernoulli(2))
        >>> loss = contrastive_loss(rbm.marginal(), torch.ones(8, 4), torch.zeros(8, 4))
        >>> loss.backward()
        >>> rbm.biases[0].grad  # data minus model, downhill
        tensor([-1., -1., -1., -1.])
    """
    if not isinstance(energy, Energy):
        raise ParameterError(f"a {type(energy).__name__}", "Give an energy of states")
    for states in (data, fantasies):
        check_rows(states)
        energy.check_state(states)
    return energy(data).mean() - energy(fantasies.detach()).mean()


@dataclass(frozen=True)
class ContrastiveDivergence(Objective):
    """CD-k: the data's energy down, that of fantasies up which are k steps away from the data.

    Cheap and steady, but biased: what lies far from all data is never raised, and a machine
    trained long by CD-1 has low likelihood.

    Reference: Hinton 2002, doi:10.1162/089976602760128018.

    Args:
        steps: k, how many steps of the kernel each example is moved.
        kernel: What moves them; None is the energy's own sampler.

    Raises:
        ParameterError: If ``steps`` is not a whole number of at least one.

    Examples:
        >>> import isinglass as ig
        >>> rbm = ig.RBM(ig.Bernoulli(4), ig.Bernoulli(2))
        >>> loss, _ = ContrastiveDivergence(steps=1).loss(rbm, torch.ones(8, 4), {})
        >>> loss.backward()
    """

    samples: ClassVar[bool] = True
    steps: int = 1
    kernel: Kernel | None = None

    def __post_init__(self) -> None:
        check_count("steps", self.steps)

    def loss(
        self,
        energy: Energy,
        batch: Float[Tensor, "batch d"],
        memory: dict[str, Tensor],
        generator: Generator | None = None,
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Computes the contrastive loss of the batch and its reconstructions."""
        with torch.no_grad():
            start = as_trainable(energy).extend(batch)
        return as_trainable(energy).contrastive_loss(
            batch, _move(self, energy, start, generator)
        ), memory


@dataclass(frozen=True)
class PersistentCD(Objective):
    """PCD-k: the fantasies are chains that go on from step to step.

    As long as the weights change slowly beside the chains, these are samples of the model and
    the gradient is that of the likelihood. Where modes lie far apart the chains fall behind:
    lower the learning rate, take more steps, or use
    :class:`~isinglass.learning.TemperedPCD`.

    Reference: Younes 1999, doi:10.1080/17442509908834179; Tieleman 2008,
    doi:10.1145/1390156.1390290.

    Args:
        steps: k, steps of the kernel for every step of learning.
        chains: How many chains are kept, in every process of a group.
        kernel: What moves them; None is the energy's own sampler.

    Raises:
        ParameterError: If a count is not a whole number of at least one.

    Examples:
        >>> import isinglass as ig
        >>> rbm, data = ig.RBM(ig.Bernoulli(4), ig.Bernoulli(2)), torch.ones(8, 4)
        >>> objective = PersistentCD(steps=5, chains=16)
        >>> memory = objective.init(rbm, data)
        >>> loss, memory = objective.loss(rbm, data, memory)
        >>> memory["chains"].shape
        torch.Size([16, 6])
    """

    samples: ClassVar[bool] = True
    steps: int = 1
    chains: int = 100
    kernel: Kernel | None = None

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        check_count("chains", self.chains)

    def init(
        self, energy: Energy, data: Float[Tensor, "n d"], generator: Generator | None = None
    ) -> dict[str, Tensor]:
        """Starts chains at examples; hidden units are drawn by a first step."""
        chains = start_chains(energy, data, self.chains, generator)
        if as_trainable(energy).visible_part(chains).shape != chains.shape:
            chains = _move(self, energy, chains, generator)
        return {"chains": chains}

    def loss(
        self,
        energy: Energy,
        batch: Float[Tensor, "batch d"],
        memory: dict[str, Tensor],
        generator: Generator | None = None,
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Computes the contrastive loss of the batch and the chains, moved on."""
        if self.kernel is None:
            loss, chains = as_trainable(energy).persistent_contrastive_loss(
                batch, memory["chains"], self.steps, generator
            )
            return loss, memory | {"chains": chains}
        chains = _move(self, energy, memory["chains"], generator)
        return as_trainable(energy).contrastive_loss(batch, chains), memory | {"chains": chains}


@torch.no_grad()
def start_chains(
    energy: Energy, data: Float[Tensor, "n d"], count: int, generator: Generator | None = None
) -> Float[Tensor, "chains size"]:
    """Draws examples at random, and makes states of all units of them.

    Examples:
        >>> import isinglass as ig
        >>> start_chains(ig.RBM(ig.Bernoulli(2), ig.Bernoulli(2)), torch.ones(5, 2), 1)
        tensor([[1., 1., 0., 0.]])
    """
    chosen = torch.randint(len(data), (count,), device=data.device, generator=generator)
    return as_trainable(energy).extend(data[chosen])


@torch.no_grad()
def _move(
    objective: ContrastiveDivergence | PersistentCD,
    energy: Energy,
    state: Tensor,
    generator: Generator | None,
) -> Tensor:
    kernel = objective.kernel or as_trainable(energy).default_sampler()
    kernel_state = kernel.init(energy, state)
    for _ in range(objective.steps):
        kernel_state, _ = kernel.step(energy, kernel_state, energy.temperature, generator)
    return kernel_state.position
