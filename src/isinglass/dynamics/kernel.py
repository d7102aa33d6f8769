"""What a kernel is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Generator, Tensor

from isinglass._shapes import Float
from isinglass.checks import check_count, check_temperature
from isinglass.energy import Energy
from isinglass.errors import ParameterError

__all__ = ["Kernel", "Position", "run"]


class Position(NamedTuple):
    """What a memoryless kernel carries from step to step: the state alone.

    Kernels that need more carry their own named tuple, whose first field is ``state`` and whose
    every tensor has the batch first, so that rows can be picked out.
    """

    state: Tensor


class Kernel(ABC):
    """A way to move a state on an energy, by ``init`` once and ``step`` as often as wanted.

    A step returns ``(position, info)``: the position is what the next step needs, the info is
    for looking. ``exact`` declares that a step at T > 0 leaves exp(−E/T) unchanged;
    ``monotone`` that a step at T = 0 never raises E. The laws in :mod:`isinglass.testing` hold
    both declarations to account.

    Examples:
        >>> class Downhill(Kernel):
        ...     def step(self, energy, position, temperature=0.0, generator=None):
        ...         return Position(position.state - 0.1 * energy.grad(position.state)), {}
        >>> import isinglass as ig
        >>> memory = ig.ModernHopfield(torch.eye(2), beta=20.0)
        >>> found = memory.recall(torch.tensor([0.9, 0.2]), kernel=Downhill(), max_steps=1000)
        >>> found.state.round(decimals=3), bool(found.converged)
        (tensor([1., 0.]), True)
    """

    exact: ClassVar[bool] = False
    monotone: ClassVar[bool] = False

    def init(self, energy: Energy, state: Float[Tensor, "batch size"]) -> Any:
        """The position to start from."""
        return Position(state)

    @abstractmethod
    def step(
        self,
        energy: Energy,
        position: Any,
        temperature: float = 0.0,
        generator: Generator | None = None,
    ) -> tuple[Any, dict[str, Tensor]]:
        """Move every row once."""

    def default_max_steps(self, size: int) -> int:
        """How many steps recall allows a row of ``size`` units unless told otherwise."""
        return 100


def descending_only(kernel: Kernel, temperature: float) -> None:
    """Refuse T > 0 for a kernel that only descends.

    Raises:
        ParameterError: If the temperature is not zero.
    """
    if temperature != 0:
        raise ParameterError(
            f"{type(kernel).__name__}.step",
            f"temperature = {temperature}, but this kernel only descends",
            "Use temperature=0, or sample with BlockGibbs or SingleSite",
        )


@torch.no_grad()
def run(
    kernel: Kernel,
    energy: Energy,
    state: Float[Tensor, "batch size"],
    *,
    steps: int,
    temperature: float,
    generator: Generator | None = None,
) -> Float[Tensor, "batch size"]:
    """Take ``steps`` steps of a kernel and return the last state.

    Args:
        kernel: How to move.
        energy: What to move on.
        state: Where to start, one chain a row.
        steps: How many steps to take.
        temperature: T, in units of the energy.
        generator: Source of randomness; None is torch's global one.

    Raises:
        ParameterError: If ``steps`` or ``temperature`` is negative.
        DomainError: If the state is not one the energy is defined on.

    Examples:
        >>> import isinglass as ig
        >>> from isinglass.dynamics import BlockGibbs
        >>> rbm = ig.RBM(ig.Bit(4), ig.Bit(3))
        >>> start = torch.zeros(10, 7)
        >>> run(BlockGibbs(), rbm, start, steps=5, temperature=1.0).shape
        torch.Size([10, 7])
    """
    check_count("run", "steps", steps, least=0)
    check_temperature("run", temperature)
    energy.check_state("run", state)
    position = kernel.init(energy, state)
    for _ in range(steps):
        position, _ = kernel.step(energy, position, temperature, generator)
    return position.state
