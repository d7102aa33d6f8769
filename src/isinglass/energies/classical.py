"""The classical Hopfield network of spins."""

from __future__ import annotations

from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from isinglass._shapes import Float, Int
from isinglass.checks import check_features
from isinglass.dynamics import Kernel, SingleSite
from isinglass.energies.memory import Memory
from isinglass.units import Spin

__all__ = ["ClassicalHopfield"]


class ClassicalHopfield(Memory):
    """The classical network of spins: E(v) = −½ vᵀWv with Hebb's W = Σ_μ x_μ x_μᵀ, W_ii = 0.

    On spins −½ Σ_μ (x_μ·v)² differs from it by the constant Nd/2, which the diagonal would add.
    It recalls by flipping one unit at a time (:class:`~isinglass.dynamics.SingleSite`), by
    parallel steps (:class:`~isinglass.dynamics.Synchronous`, which may fall into 2-cycles), or
    by concave–convex steps with the diagonal kept, which never raise E.

    Reference: Hopfield 1982, doi:10.1073/pnas.79.8.2554.

    Args:
        patterns: ``(N, d)`` of ±1, one pattern a row; spins cannot be learned by gradient.

    Raises:
        ShapeError: If there is no pattern or the tensor is not a matrix.
        DomainError: If a value is not −1 or +1.

    Examples:
        >>> patterns = torch.tensor([[1.0, 1, 1, 1, -1, -1], [1.0, -1, 1, -1, 1, -1]])
        >>> memory = ClassicalHopfield(patterns)
        >>> cue = torch.tensor([1.0, 1, 1, -1, -1, -1])  # the first pattern, one unit wrong
        >>> memory.recall(cue).state
        tensor([ 1.,  1.,  1.,  1., -1., -1.])
    """

    weight: Tensor
    default_kernel: ClassVar[type[Kernel]] = SingleSite

    def __init__(self, patterns: Tensor) -> None:
        super().__init__(patterns, Spin)
        self.register_buffer("weight", torch.empty(0), persistent=False)
        _hebbian(self)
        self.register_load_state_dict_post_hook(_hebbian)

    def forward(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """E(v) = −½ vᵀWv."""
        check_features("ClassicalHopfield", state, self.unit.size)
        return -(state * self.local_field(state)).sum(-1) / 2

    def grad(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """∂E/∂v = −Wv."""
        return -self.local_field(state)

    def local_field(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """Wv, the field on every spin."""
        return state @ self.weight

    def moved_field(
        self,
        field: Float[Tensor, "batch d"],
        state: Float[Tensor, "batch d"],
        site: Int[Tensor, " batch"],
        change: Float[Tensor, " batch"],
    ) -> Float[Tensor, "batch d"]:
        """Wv after spin ``site`` of each row changed by ``change``: a row of W is added."""
        return field + change.unsqueeze(-1) * self.weight[site]

    def cccp_update(self, state: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """v ← sign(Σ_μ x_μ (x_μ·v)): the diagonal kept, so that W is positive and E cannot rise."""
        return self.unit.settle(self.local_field(state) + len(self.patterns) * state, state)


def _hebbian(memory: nn.Module, *_: object) -> None:
    """W = Σ_μ x_μ x_μᵀ with a zero diagonal: units that agree are joined (Hebb 1949)."""
    patterns = cast("ClassicalHopfield", memory).patterns.detach()
    memory.weight = (patterns.mT @ patterns).fill_diagonal_(0.0)
